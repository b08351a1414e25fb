/** What runs in the thread of a planted copy: a scenario, seed by seed, until the promise that the bug breaks is violated. */
import { parentPort, workerData } from 'node:worker_threads'
import type { PromiseId } from '../checks/promise.ts'
import { runScenario } from '../scenarios/runner.ts'
import type { Scenario } from '../scenarios/scenario.ts'
import { prepareFor } from './twin.ts'

export interface Play {
  readonly scenario: Scenario
  readonly seeds: readonly number[]
  readonly breaks: PromiseId
}

export interface Played {
  /** Where the promise was violated, and how. */
  readonly caught: { readonly seed: number; readonly text: string } | undefined
  /** Other promises that were violated before that. */
  readonly others: readonly PromiseId[]
}

function play({ scenario, seeds, breaks }: Play): Played {
  const others = new Set<PromiseId>()
  for (const seed of seeds) {
    const { promises } = runScenario(scenario, { seed, recording: true, prepare: prepareFor(scenario.name) })
    const violation = promises.find(({ id }) => id === breaks)!.violations[0]
    if (violation !== undefined) return { caught: { seed, text: violation.text }, others: [...others] }
    for (const { id, verdict } of promises) if (verdict === 'violated') others.add(id)
  }
  return { caught: undefined, others: [...others] }
}

parentPort!.postMessage(play(workerData as Play))
