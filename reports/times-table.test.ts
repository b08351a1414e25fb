import { describe, expect, test } from 'vitest'
import { summarise } from '../checks/histogram.ts'
import { barsHead, barsRow, timesHead, timesRow } from './times-table.ts'

const times = summarise([300, 4_000_000, 4_500_000, 4_600_000, 900_000_000])

describe('times on a terminal', () => {
  test('are a row of percentiles, and bars for the buckets of their histogram', () => {
    expect([timesHead('clients'), timesRow('detection', times), barsHead('how the times spread'), barsRow('detection', times)]).toEqual([
      '                                 p50       p90       p99       max   clients',
      '  detection                   4.50 s     900 s     900 s     900 s         5',
      '  how the times spread    1 ms     10 ms    100 ms   1 s      10 s     100 s',
      '  detection               ▃▃                               ██                ▃▃',
    ])
  })

  test('fit into 80 columns', () => {
    for (const line of [timesHead('clients'), timesRow('  until messages flow', times), barsRow('x', times)])
      expect(line.length).toBeLessThanOrEqual(80)
  })

  test('that are not there are dashes and no bars', () => {
    expect(timesRow('connect', summarise([])).trim().split(/\s+/)).toEqual(['connect', '-', '-', '-', '-', '0'])
    expect(barsRow('connect', summarise([]))).toBe('  connect')
  })
})
