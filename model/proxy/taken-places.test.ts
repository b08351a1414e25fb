import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TakenPlaces } from './taken-places.ts'

test('a place has come exactly when it was added, in whatever order places come', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 })), (places) => {
      const taken = new TakenPlaces()
      const all = new Set<number>()
      for (const place of places) {
        taken.add(place)
        all.add(place)
        for (let other = 0; other <= 61; other++) expect(taken.has(other)).toBe(all.has(other))
      }
    }),
  )
})

test('of very many gaps the oldest are forgotten, and no place that has come', () => {
  const taken = new TakenPlaces()
  for (let place = 1; place <= 400; place += 2) taken.add(place)
  for (let place = 1; place <= 400; place += 2) expect(taken.has(place)).toBe(true)
  expect(taken.has(2)).toBe(true)
  expect(taken.has(398)).toBe(false)
  expect(taken.has(400)).toBe(false)
})
