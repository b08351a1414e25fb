import { describe, expect, test } from 'vitest'
import { runScenario } from '../scenarios/runner.ts'
import { readBugs, scenarioOf } from './bugs.ts'
import { prepareFor } from './twin.ts'

describe('without a bug everything holds', () => {
  const seedsOf = new Map<string, Set<number>>()
  for (const { scenario, seeds } of readBugs()) {
    // Regressions are played beside where they stand, the catalogue by `tools/high-availability.mjs --check` and `squall run --all`.
    if (!scenario.startsWith('gallery/')) continue
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
