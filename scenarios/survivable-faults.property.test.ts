import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { survivableFaultRuns } from './arbitrary.ts'
import { explore } from './explore.ts'
import { runScenario } from './runner.ts'

const runs = Number(process.env.SQUALL_RUNS ?? 60)
/** Fixed where a change is judged, so that it answers for itself and not for the luck of the draw; left out, every exploration is a new one. */
const { SQUALL_EXPLORATION_SEED: fixedSeed } = process.env

test(`whatever a region claims to withstand: every promise holds, one fault at a time (${runs} runs)`, () => {
  explore(survivableFaultRuns, {
    runs,
    ...(fixedSeed === undefined ? {} : { seed: Number(fixedSeed) }),
    folder: process.env.SQUALL_FAILURES ?? fileURLToPath(new URL('../failures', import.meta.url)),
    play: (scenario, seed) => runScenario(scenario, { seed, recording: true }),
  })
})
