import { fileURLToPath } from 'node:url'
import { test } from 'vitest'
import { zoneOutageRuns } from './arbitrary.ts'
import { explore } from './explore.ts'
import { runScenario } from './runner.ts'

const runs = Number(process.env.SQUALL_RUNS ?? 100)

test(`whichever zone goes dark, however and for however long: what was acknowledged survives, and clients are served in time (${runs} runs)`, () => {
  explore(zoneOutageRuns, {
    runs,
    // Of very few runs less than half may be bad luck: one in six is an outage too short for any client to lose its connection.
    exercised: runs < 20 ? [] : ['acked-survives', 'reconnect-in-time'],
    folder: process.env.SQUALL_FAILURES ?? fileURLToPath(new URL('../failures', import.meta.url)),
    play: (scenario, seed) => runScenario(scenario, { seed, recording: true }),
  })
})
