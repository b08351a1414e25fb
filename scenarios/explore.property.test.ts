import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { planRegion } from '../model/region.ts'
import { zoneOutageRuns } from './arbitrary.ts'
import { regionSpec } from './cast.ts'
import { explore } from './explore.ts'
import { loadScenario } from './load.ts'
import { type RunOptions, runScenario } from './runner.ts'
import type { Scenario } from './scenario.ts'

const folder = mkdtempSync(join(tmpdir(), 'squall-failures-'))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Nameservers that take ten minutes to call a broker silent: its shards stay where they are while its zone is dark. */
function withSleepyNameservers(scenario: Scenario): Pick<RunOptions, 'region'> {
  const spec = regionSpec(scenario)
  const sleepy = planRegion({ ...spec, settings: { ...spec.settings, nameserver: { ...spec.settings.nameserver, expiryMs: 600_000 } } })
  return {
    region: (plan) => ({
      ...plan,
      machines: plan.machines.map((machine) =>
        machine.role === 'nameserver' ? { ...machine, boot: sleepy.machines.find(({ name }) => name === machine.name)!.boot } : machine,
      ),
    }),
  }
}

test('a planted bug is found, shrunk to the smallest outage that shows it, and told with a scenario file and the command that plays it again', () => {
  let message = ''
  try {
    explore(zoneOutageRuns, {
      runs: 30,
      folder,
      seed: 1,
      play: (scenario, seed) => runScenario(scenario, { seed, recording: true, ...withSleepyNameservers(scenario) }),
    })
  } catch (error) {
    message = (error as Error).message
  }
  const [file] = readdirSync(folder)
  expect(message.split('\n')[0]).toMatch(/is violated: /)
  expect(message).toContain(`Play it again:  npx squall run ${join(folder, file!)} --seed `)
  expect(message).toMatch(/Explore again: {2}fast-check seed 1, path "/)

  const text = readFileSync(join(folder, file!), 'utf8')
  expect(message).toContain(text.trimEnd().split('\n').join('\n  '))
  const scenario = loadScenario(text, { file: file!, name: 'found' })
  expect(scenario.clients).toHaveLength(1)
  expect(message).toContain(`--seed ${scenario.seed}\n`)
  const play = (options: Pick<RunOptions, 'region'>) => runScenario(scenario, { seed: scenario.seed!, recording: true, ...options })
  expect(play(withSleepyNameservers(scenario)).verdict).toBe('violated')
  expect(play({}).verdict).not.toBe('violated')
})
