import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MessageRate } from './message-rate.ts'

test('an even stream at the rate is never refused', () => {
  const rate = new MessageRate(10, 0)
  const admitted = Array.from({ length: 500 }, (_, i) => rate.admit(10, i * 100))
  expect(admitted.every((each) => each)).toBe(true)
})

test('no stretch of time admits more than its rate and a second beyond', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200 }),
      (perSecond, gaps) => {
        const rate = new MessageRate(perSecond, 0)
        let nowMs = 0
        const admittedMs: number[] = []
        for (const gap of gaps) {
          nowMs += gap
          if (rate.admit(perSecond, nowMs)) admittedMs.push(nowMs)
        }
        for (let from = 0; from < admittedMs.length; from++) {
          for (let to = from; to < admittedMs.length; to++) {
            const seconds = (admittedMs[to]! - admittedMs[from]!) / 1000
            expect(to - from + 1).toBeLessThanOrEqual(perSecond * (1 + seconds) + 1e-6)
          }
        }
      },
    ),
  )
})

test('a lower rate holds at once', () => {
  const rate = new MessageRate(100, 0)
  expect(Array.from({ length: 5 }, () => rate.admit(2, 0))).toEqual([true, true, false, false, false])
})
