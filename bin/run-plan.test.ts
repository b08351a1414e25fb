import { describe, expect, test } from 'vitest'
import { catalogueNames } from '../scenarios/catalogue.ts'
import { BadInput } from './exit.ts'
import { namesToPlay, seedsFor, seedsLeftOut, workOrder } from './run-plan.ts'

describe('which scenarios are played', () => {
  test('those that are named, in their order', () => {
    expect(namesToPlay(['calm', 'az-outage'], {})).toEqual(['calm', 'az-outage'])
  })

  test('the whole catalogue, where all are asked for', () => {
    expect(namesToPlay([], { all: true })).toEqual(catalogueNames())
  })

  const catalogue = () => [
    { name: 'calm', seed: undefined, tags: ['baseline'] },
    { name: 'outage', seed: undefined, tags: ['zone', 'power'] },
    { name: 'storm', seed: undefined, tags: ['storm', 'power'] },
  ]

  test('of the catalogue those that have one of the tags', () => {
    expect(namesToPlay([], { all: true, tag: ['zone'] }, catalogue)).toEqual(['outage'])
    expect(namesToPlay([], { all: true, tag: ['baseline', 'power'] }, catalogue)).toEqual(['calm', 'outage', 'storm'])
  })

  test.each<[string, () => unknown, string]>([
    ['none', () => namesToPlay([], {}), 'no scenario is named. allowed: names from `squall list`, scenario files, or --all'],
    [
      'all and some by name',
      () => namesToPlay(['calm'], { all: true }),
      '--all plays every scenario of the catalogue, and takes no names: calm',
    ],
    ['a tag of nothing', () => namesToPlay(['calm'], { tag: ['zone'] }), '--tag chooses among all scenarios: squall run --all --tag zone'],
    [
      'a tag that none has',
      () => namesToPlay([], { all: true, tag: ['zoen'] }, catalogue),
      'no scenario has the tag zoen. known: baseline, power, storm, zone. Did you mean zone?',
    ],
  ])('%s is bad input', (_, choose, message) => {
    expect(choose).toThrow(BadInput)
    expect(choose).toThrow(message)
  })
})

describe('on which seeds', () => {
  const quick = { name: 'quick', seed: undefined, tags: ['zone'] }
  const slow = { name: 'slow', seed: 7, tags: ['zone', 'slow'] }

  test('on the one that is asked for, else that of the file, else 1', () => {
    expect([seedsFor(slow, { seed: 3 }), seedsFor(slow, { all: true }), seedsFor(quick, {})]).toEqual([[3], [7], [1]])
  })

  test('on all that are asked for, but of the whole catalogue the slow ones on the first only', () => {
    const choice = { all: true, seeds: [4, 6] } as const
    expect([seedsFor(quick, choice), seedsFor(slow, choice)]).toEqual([[4, 5, 6], [4]])
    expect(seedsLeftOut([quick, slow], choice)).toEqual(['slow'])
  })

  test('a slow one that is named plays all that are asked for', () => {
    expect(seedsFor(slow, { seeds: [4, 6] })).toEqual([4, 5, 6])
    expect(seedsLeftOut([slow], { seeds: [4, 6] })).toEqual([])
  })

  test('nothing is left out of a single seed', () => {
    expect(seedsLeftOut([slow], { all: true, seeds: [4, 4] })).toEqual([])
    expect(seedsLeftOut([slow], { all: true })).toEqual([])
  })
})

test('slow runs are begun first, and the others in the order asked for', () => {
  expect(workOrder([false, true, false, true, false])).toEqual([1, 3, 0, 2, 4])
})
