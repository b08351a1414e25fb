import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { PromiseId } from '../checks/promise.ts'
import { zoneOutageRuns } from './arbitrary.ts'
import { type ExploreOptions, explore } from './explore.ts'
import { loadScenario } from './load.ts'
import type { RunResult } from './result.ts'
import type { Scenario } from './scenario.ts'

const folder = mkdtempSync(join(tmpdir(), 'squall-failures-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function broken(id: PromiseId, kind: string): RunResult {
  const violation = {
    promise: id,
    atUs: 1,
    text: `something is ${kind}`,
    evidence: [{ timeUs: 1_500_000, text: 'it was seen' }],
    signature: `${id}: ${kind}`,
  }
  return { promises: [{ id, verdict: 'violated', exercised: 1, violations: [violation], violationCount: 1 }] } as unknown as RunResult
}
const fine = { promises: [] } as unknown as RunResult

function outageOf(scenario: Scenario) {
  const [fault] = scenario.faults
  if (fault?.kind !== 'zone-outage') throw new Error('not an outage')
  return fault
}

function messageOf(options: Pick<ExploreOptions, 'play'>): string {
  try {
    explore(zoneOutageRuns, { runs: 300, folder, seed: 11, ...options })
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('nothing was found')
}

describe('an exploration', () => {
  test('in which nothing breaks says nothing', () => {
    explore(zoneOutageRuns, { runs: 20, folder, play: () => fine })
  })

  test('fails where nothing breaks because too few runs put to the test what they are for', () => {
    let runs = 0
    const everySo = (many: number) => () => {
      const exercised = runs++ % many === 0 ? 3 : 0
      return {
        promises: [
          { id: 'acked-survives', verdict: 'held', exercised: 1, violations: [] },
          { id: 'reconnect-in-time', verdict: exercised > 0 ? 'held' : 'not-exercised', exercised, violations: [] },
        ],
      } as unknown as RunResult
    }
    const options = { runs: 20, folder, exercised: { 'acked-survives': 1, 'reconnect-in-time': 0.5 } }
    expect(() => explore(zoneOutageRuns, { ...options, play: () => fine })).toThrow('only 0 of 20 runs put acked-survives to the test')
    expect(() => explore(zoneOutageRuns, { ...options, play: everySo(3) })).toThrow('only 7 of 20 runs put reconnect-in-time to the test')
    runs = 0
    explore(zoneOutageRuns, { ...options, play: everySo(2) })
  })

  test('ends at the smallest run that breaks the promise, and tells it', () => {
    const message = messageOf({
      play: (scenario) => {
        const { zone, form, for: lastingMs } = outageOf(scenario)
        return zone === 'az3' && form === 'power' && lastingMs! >= 6000 ? broken('acked-survives', 'lost') : fine
      },
    })
    const file = /npx squall run (\S+) --seed (\d+)/.exec(message)
    const scenario = loadScenario(readFileSync(file![1]!, 'utf8'), { file: 'found.yaml', name: 'found' })
    expect(outageOf(scenario)).toEqual({ kind: 'zone-outage', zone: 'az3', form: 'power', at: 8000, for: 6000 })
    expect(scenario.clients).toMatchObject([
      { count: 1, profile: 'recommended', version: 5, cleanStart: false, publish: { qos: 1, every: 1000 } },
    ])
    expect(scenario.seed).toBe(Number(file![2]))
    expect(message.split('\n').slice(0, 2)).toEqual(['acked-survives is violated: something is lost', '      1.500 s  it was seen'])
  })

  test('does not take another failure for a smaller one of the same kind', () => {
    const message = messageOf({
      play: (scenario) => {
        const lastingMs = outageOf(scenario).for!
        if (lastingMs >= 12_000) return broken('acked-survives', 'lost')
        return lastingMs >= 2000 ? fine : broken('progress', 'slow')
      },
    })
    expect(message).toMatch(/^(acked-survives[\s\S]*for: 12s|progress[\s\S]*for: 250ms)/)
  })

  test('tells a run that broke off as well', () => {
    const message = messageOf({
      play: () => {
        throw new Error('no room left at 0x1234')
      },
    })
    expect(message).toMatch(/^the run broke off: no room left at 0x1234\n/)
  })

  test('tells a generator that makes what is no scenario, with the place', () => {
    const illegal = zoneOutageRuns.map(({ scenario, seed }) => ({ seed, scenario: { ...scenario, region: { zones: 0 } } }))
    expect(() => explore(illegal, { runs: 1, folder, seed: 11, play: () => fine })).toThrow(
      /^the run broke off: generated\.yaml:3:10: region\.zones: /,
    )
  })
})
