import { describe, expect, test } from 'vitest'
import { type Recovery, RecoveryTimes } from './recovery.ts'

const MS = 1000
const terms = ['detection', 'edge', 'backOff', 'connect', 'sessionLoad', 'service'] as const

function measured(changes: Partial<Recovery> = {}) {
  const times = new RecoveryTimes()
  times.lost({
    faultUs: 0,
    lostUs: 3000 * MS,
    triedInVainUs: 2000 * MS,
    startedUs: 5500 * MS,
    openedUs: 5540 * MS,
    connackUs: 5600 * MS,
    servedUs: 5700 * MS,
    ...changes,
  })
  return times.measures()
}

describe('the way back of a client', () => {
  test('is split into terms that add up', () => {
    const measures = measured()
    expect(terms.map((term) => measures[term].max)).toEqual([3000, 2000, 500, 40, 60, 100])
    expect(measures.total.max).toBe(5700)
    expect(measures.backOffAndConnect.max).toBe(2540)
  })

  test('adds up too where the connection that brought service back was begun before the old one was given up', () => {
    const measures = measured({ startedUs: 1000 * MS, openedUs: 1040 * MS, triedInVainUs: 0 })
    expect(terms.map((term) => measures[term].max)).toEqual([3000, 0, 0, 0, 2600, 100])
    expect(measures.total.max).toBe(5700)
  })

  test('has a term for the TLS handshake, where there is one', () => {
    const measures = measured({ securedUs: 5585 * MS })
    expect(terms.map((term) => measures[term].max)).toEqual([3000, 2000, 500, 40, 15, 100])
    expect(measures.tls).toMatchObject({ max: 45, count: 1 })
    expect(measured().tls.count).toBe(0)
  })

  test('is counted apart where it lost its connection once more without another fault', () => {
    const times = new RecoveryTimes()
    times.lostAgain(1000 * MS, 1800 * MS)
    const measures = times.measures()
    expect(measures.again).toMatchObject({ max: 800, count: 1 })
    expect(measures.total.count).toBe(0)
  })

  test('of one that was only stuck has a service term alone', () => {
    const times = new RecoveryTimes()
    times.stuck(1000 * MS, 1800 * MS)
    const measures = times.measures()
    expect(measures.service).toMatchObject({ max: 800, count: 1, buckets: [{ upToMs: 1000, count: 1 }] })
    expect(measures.edge.count + measures.detection.count).toBe(0)
  })
})
