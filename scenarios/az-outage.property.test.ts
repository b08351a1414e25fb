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
    // One run in six has an outage too short for any client to lose its connection, and not every group of clients has each habit. Of very few runs less may be bad luck.
    exercised:
      runs < 50
        ? {}
        : {
            'acked-survives': 0.5,
            'reconnect-in-time': 0.5,
            'session-kept': 0.5,
            'qos2-exactly-once': 0.2,
            'qos0-at-most-once': 0.08,
            'retained-last': 0.2,
            'will-once': 0.1,
          },
    folder: process.env.SQUALL_FAILURES ?? fileURLToPath(new URL('../failures', import.meta.url)),
    play: (scenario, seed) => runScenario(scenario, { seed, recording: true }),
  })
})
