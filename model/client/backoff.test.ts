import { describe, expect, test } from 'vitest'
import { Backoff } from './backoff.ts'
import { detectionBoundMs } from './profile.ts'
import { clientProfiles } from './profiles.ts'

const drawing = (value: number) => () => ({ next: () => value, below: () => 0 })

describe('the back-off', () => {
  test('of `recommended` doubles from 0.5 s to 2 s in the first 10 s, then on to 30 s', () => {
    const backoff = new Backoff(clientProfiles.recommended.reconnect, 1000)
    const almostAll = drawing(1 - Number.EPSILON)
    const early = [0, 1, 2, 3, 9].map((second) => backoff.nextMs(1000 + second * 1000, almostAll))
    expect(early.map(Math.round)).toEqual([500, 1000, 2000, 2000, 2000])
    const late = [10, 20, 30, 60, 90, 120].map((second) => backoff.nextMs(1000 + second * 1000, almostAll))
    expect(late.map(Math.round)).toEqual([4000, 8000, 16_000, 30_000, 30_000, 30_000])
  })

  test('of `recommended` is spread over the whole wait, down to nothing', () => {
    expect(new Backoff(clientProfiles.recommended.reconnect, 0).nextMs(0, drawing(0))).toBe(0)
    expect(new Backoff(clientProfiles.recommended.reconnect, 0).nextMs(0, drawing(0.25))).toBe(125)
  })

  test('of `mqtt.js` is one second, always, and draws no random number', () => {
    const backoff = new Backoff(clientProfiles['mqtt.js'].reconnect, 0)
    const waits = [0, 1000, 60_000].map((nowMs) =>
      backoff.nextMs(nowMs, () => {
        throw new Error('drew a random number')
      }),
    )
    expect(waits).toEqual([1000, 1000, 1000])
  })

  test('without jitter gives the whole wait', () => {
    const policy = {
      kind: 'exponential',
      firstMs: 100,
      capMs: 300,
      earlyCapMs: 300,
      earlyForMs: 0,
      jitter: 'none',
      firstAtOnce: false,
    } as const
    const backoff = new Backoff(policy, 0)
    expect([0, 1, 2].map((nowMs) => backoff.nextMs(nowMs, drawing(0)))).toEqual([100, 200, 300])
  })
})

describe('the bound of detection', () => {
  test('is the acknowledgement timeout with something open, else keepalive and ping timeout', () => {
    expect(detectionBoundMs(clientProfiles.recommended, true)).toBe(3000)
    expect(detectionBoundMs(clientProfiles.recommended, false)).toBe(13_000)
    expect(detectionBoundMs(clientProfiles['mqtt.js'], true)).toBe(90_000)
    expect(detectionBoundMs(clientProfiles['mqtt.js'], false)).toBe(90_000)
  })

  test('follows a keepalive other than that of the profile', () => {
    expect(detectionBoundMs(clientProfiles['mqtt.js'], false, 20)).toBe(30_000)
    expect(detectionBoundMs(clientProfiles.recommended, false, 0)).toBe(Number.POSITIVE_INFINITY)
    expect(detectionBoundMs(clientProfiles.recommended, true, 0)).toBe(3000)
  })
})
