import { describe, expect, test } from 'vitest'
import { promiseIds, type Violation } from '../checks/promise.ts'
import type { RunResult } from '../scenarios/result.ts'
import { runScenario } from '../scenarios/runner.ts'
import { type PlantedBug, parseBug, readBugs, scenarioOf } from './bugs.ts'
import { plant } from './plant.ts'
import { prepareFor } from './twin.ts'

const bugs = readBugs()

function firstViolation(result: RunResult, bug: PlantedBug): Violation | undefined {
  return result.promises.find(({ id }) => id === bug.breaks)!.violations[0]
}

describe('a planted bug is caught', () => {
  for (const bug of bugs) {
    test(`${bug.title}: by ${bug.breaks}`, async () => {
      const scenario = scenarioOf(bug.scenario)
      const planted = await plant(bug.id, bug.patch)
      try {
        const seen = new Set<string>()
        for (const seed of bug.seeds) {
          const result = planted.runScenario(scenario, { seed, recording: true, prepare: prepareFor(scenario.name) })
          const violation = firstViolation(result, bug)
          if (violation !== undefined) {
            console.log(`${bug.title} (${bug.id}, ${bug.scenario}, seed ${seed})\n  ${bug.breaks}: ${violation.text}`)
            return
          }
          for (const { id, verdict } of result.promises) if (verdict === 'violated') seen.add(id)
        }
        expect.fail(`${bug.breaks} held on all seeds ${bug.seeds.join(', ')}; violated were: ${[...seen].join(', ') || 'none'}`)
      } finally {
        planted.remove()
      }
    })
  }
})

describe('without a bug everything holds', () => {
  const seedsOf = new Map<string, Set<number>>()
  for (const { scenario, seeds } of bugs) {
    // Regressions are played beside where they stand.
    if (scenario.startsWith('scenarios/')) continue
    const all = seedsOf.get(scenario) ?? new Set()
    for (const seed of seeds) all.add(seed)
    seedsOf.set(scenario, all)
  }
  for (const [name, seeds] of seedsOf) {
    test(`in ${name}, seeds ${[...seeds].join(', ')}`, () => {
      const scenario = scenarioOf(name)
      for (const seed of seeds) {
        const result = runScenario(scenario, { seed, recording: true, prepare: prepareFor(scenario.name) })
        const violations = result.promises.flatMap(({ violations }) => violations.map(({ text }) => text))
        expect({ seed, violations, verdict: result.verdict }).toEqual({ seed, violations: [], verdict: 'held' })
      }
    })
  }
})

test('every promise has a planted bug that it catches', () => {
  expect(promiseIds.filter((id) => !bugs.some(({ breaks }) => breaks === id))).toEqual([])
})

test('a patch that does not fit the service, or says nothing of itself, fails loudly', async () => {
  const head = 'Title: a\nStory: b\n  c\nBreaks: no-crash\nScenario: calm\nSeeds: 1..2\n\n'
  expect(parseBug('a', head)).toMatchObject({ title: 'a', story: 'b c', breaks: 'no-crash', seeds: [1, 2] })
  expect(() => parseBug('a', head.replace('no-crash', 'no-cash'))).toThrow('a.patch: breaks no-cash; promises are acked-survives')
  expect(() => parseBug('a', head.replace('Story: b\n  c\n', ''))).toThrow('expected Title, Story, Breaks')
  const diff = '--- a/model/shards.ts\n+++ b/model/shards.ts\n@@ -1,1 +1,1 @@\n-what was never there\n+x\n'
  await expect(plant('does-not-fit', head + diff)).rejects.toThrow(
    /does-not-fit\.patch does not apply to the service any more:\nerror: patch failed/,
  )
  await expect(plant('empty', head)).rejects.toThrow('does not apply')
})
