import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { zoneOutageRuns } from './arbitrary.ts'
import { explore } from './explore.ts'
import { runScenario } from './runner.ts'

const runs = Number(process.env.SQUALL_RUNS ?? 100)
/** Fixed where a change is judged, so that it answers for itself and not for the luck of the draw; left out, every exploration is a new one. */
const { SQUALL_EXPLORATION_SEED: fixedSeed } = process.env

test(`whichever zone goes dark, however and for however long: what was acknowledged survives, and clients are served in time (${runs} runs)`, () => {
  explore(zoneOutageRuns, {
    runs,
    ...(fixedSeed === undefined ? {} : { seed: Number(fixedSeed) }),
    // Of very few runs less than half may be bad luck: one in six is an outage too short for any client to lose its connection.
    exercised: runs < 20 ? [] : ['acked-survives', 'reconnect-in-time'],
    folder: process.env.SQUALL_FAILURES ?? fileURLToPath(new URL('../failures', import.meta.url)),
    play: (scenario, seed) => runScenario(scenario, { seed, recording: true }),
  })
})
