import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LatencyHistogram, summarise } from './histogram.ts'

describe('times as a histogram', () => {
  test('have percentiles by nearest rank, and buckets of which the empty ones are left out', () => {
    const summary = summarise([400_000, 1000, 2000, 3000])
    expect(summary).toEqual({
      p50: 2,
      p90: 400,
      p99: 400,
      max: 400,
      count: 4,
      buckets: [
        { upToMs: 1, count: 1 },
        { upToMs: 2, count: 1 },
        { upToMs: 5, count: 1 },
        { upToMs: 500, count: 1 },
      ],
    })
    expect(summarise([])).toEqual({ p50: 0, p90: 0, p99: 0, max: 0, count: 0, buckets: [] })
  })

  test('kept by buckets alone have percentiles that are never too low, and at most an eighth too high', () => {
    const times = fc.array(fc.integer({ min: 1, max: 60_000_000 }), { minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(times, fc.constantFrom(0.5, 0.9, 0.99), (timesUs, share) => {
        const histogram = new LatencyHistogram()
        for (const timeUs of timesUs) histogram.add(timeUs)
        const sorted = [...timesUs].sort((a, b) => a - b)
        const exact = sorted[Math.ceil(share * sorted.length) - 1]!
        expect(histogram.quantile(share)).toBeGreaterThanOrEqual(exact)
        expect(histogram.quantile(share)).toBeLessThanOrEqual(exact * 1.125)
        expect(histogram.summary()).toMatchObject({ count: timesUs.length, max: sorted.at(-1)! / 1000 })
      }),
    )
  })
})
