import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { IntervalSet, missingRuns } from './intervals.ts'

const values = fc.array(fc.nat(60), { maxLength: 80 })

function setOf(numbers: readonly number[]): IntervalSet {
  const set = new IntervalSet()
  for (const number of numbers) set.add(number)
  return set
}

describe('IntervalSet', () => {
  test('agrees with a plain set of numbers, whatever the order in which they came', () => {
    fc.assert(
      fc.property(values, (numbers) => {
        const set = new IntervalSet()
        const plain = new Set<number>()
        for (const number of numbers) {
          expect(set.add(number)).toBe(!plain.has(number))
          plain.add(number)
        }
        expect(set.size).toBe(plain.size)
        expect(set.max).toBe(plain.size === 0 ? -1 : Math.max(...plain))
        let runs = 0
        for (let n = 0; n <= 61; n++) {
          expect(set.has(n)).toBe(plain.has(n))
          if (plain.has(n) && !plain.has(n - 1)) runs++
        }
        expect(set.runs).toBe(runs)
      }),
    )
  })

  test('finds what one set has and the other has not', () => {
    fc.assert(
      fc.property(values, values, fc.nat(60), (required, present, from) => {
        const missing = [...new Set(required)].filter((n) => n >= from && !present.includes(n)).sort((a, b) => a - b)
        expect(setOf(required).firstMissingFrom(setOf(present), from)).toBe(missing[0] ?? -1)
        const found = missingRuns(setOf(required), setOf(present), from, 1000)
        expect(found.count).toBe(missing.length)
        expect(found.runs.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i))).toEqual(missing)
      }),
    )
  })

  test('numbers in a row are one run, however many', () => {
    const set = new IntervalSet()
    for (let n = 0; n < 100_000; n++) set.add(n)
    expect(set.runs).toBe(1)
    expect(set.size).toBe(100_000)
  })

  test('works beyond 32 bits of sign', () => {
    const set = setOf([4_294_967_294, 4_294_967_295, 5])
    expect(set.has(4_294_967_295)).toBe(true)
    expect(set.runs).toBe(2)
  })
})
