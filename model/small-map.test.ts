import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SmallMap } from './small-map.ts'

test('it does what a Map does, below and above the size from which it is one', () => {
  const step = fc.record({
    kind: fc.constantFrom('set' as const, 'set' as const, 'delete' as const),
    key: fc.nat(7),
    value: fc.option(fc.nat(), { nil: undefined }),
  })
  let largest = 0
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
      const map = new Map<number, number | undefined>()
      const small = new SmallMap<number, number | undefined>()
      for (const { kind, key, value } of steps) {
        if (kind === 'set') {
          map.set(key, value)
          small.set(key, value)
        } else expect(small.delete(key)).toBe(map.delete(key))
        largest = Math.max(largest, map.size)
        expect(small.size).toBe(map.size)
        expect([...small]).toEqual([...map])
        expect([...small.values()]).toEqual([...map.values()])
        for (let each = 0; each <= 8; each++) {
          expect(small.has(each)).toBe(map.has(each))
          expect(small.get(each)).toBe(map.get(each))
        }
      }
    }),
  )
  expect(largest).toBeGreaterThan(5)
})

test('one that was emptied shares nothing with another', () => {
  const one = new SmallMap<string, number>()
  one.set('a', 1)
  one.delete('a')
  const other = new SmallMap<string, number>()
  one.set('b', 2)
  expect([...other]).toEqual([])
})
