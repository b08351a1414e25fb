import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TakenPlaces } from './taken-places.ts'

test('a place has come exactly when it was added, in whatever order places come', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 200 }), ([first, ...places]) => {
      const taken = new TakenPlaces(first!)
      const all = new Set([first!])
      for (const place of places) {
        expect(taken.add(place)).toBe(!all.has(place))
        all.add(place)
      }
      for (let place = 0; place <= 61; place++) expect(taken.add(place)).toBe(!all.has(place))
    }),
  )
})

test('of very many gaps the oldest are forgotten, and no place that has come', () => {
  const taken = new TakenPlaces(1)
  for (let place = 3; place <= 400; place += 2) expect(taken.add(place)).toBe(true)
  for (let place = 1; place <= 400; place += 2) expect(taken.add(place)).toBe(false)
  expect(taken.add(2)).toBe(false)
  expect(taken.add(398)).toBe(true)
  expect(taken.add(400)).toBe(true)
})
