/**
 * Generators of runs for property tests: scenario data as people write it, so that what fails can be shrunk, read, edited and committed.
 *
 * Everything shrinks towards nothing: fewer clients, a shorter and earlier outage, the plainer workload. The seed of a run does not shrink: a smaller seed
 * is not a simpler run. Times are whole quarter seconds.
 */
import fc from 'fast-check'
import { formatDuration } from './fields.ts'
import type { ScenarioFile } from './scenario.ts'

export interface GeneratedRun {
  readonly scenario: ScenarioFile
  readonly seed: number
}

const STEP_MS = 250

function time(fromMs: number, toMs: number): fc.Arbitrary<string> {
  return fc.integer({ min: fromMs / STEP_MS, max: toMs / STEP_MS }).map((steps) => formatDuration(steps * STEP_MS))
}

type GroupFile = NonNullable<ScenarioFile['clients']>[number]

const clientGroup: fc.Arbitrary<GroupFile> = fc
  .record({
    count: fc.integer({ min: 1, max: 12 }),
    profile: fc.constantFrom('recommended' as const, 'recommended' as const, 'mqtt.js' as const),
    version: fc.constantFrom(5 as const, '3.1.1' as const),
    cleanStart: fc.boolean(),
    every: fc.constantFrom('1s', '500ms', '200ms'),
    publishQos: fc.constantFrom(1 as const, 1 as const, 1 as const, 0 as const),
    payloadBytes: fc.constantFrom(16, 64, 1500),
    topics: fc.constantFrom('ring' as const, 'ring' as const, 'fan-in' as const),
  })
  .map(({ count, profile, version, cleanStart, every, publishQos, payloadBytes, topics }) => ({
    count,
    profile,
    version,
    cleanStart,
    publish: { qos: publishQos, every, payloadBytes },
    subscribe: { topics },
  }))

const outage = fc.record({
  zone: fc.constantFrom('az1', 'az2', 'az3'),
  form: fc.constantFrom('isolated' as const, 'power' as const),
  at: time(8_000, 14_000),
  for: time(250, 24_000),
})

/** A zone goes dark once, in one form or the other, for a moment or longer than every timeout of the service, with clients of all habits at work. */
export const zoneOutageRuns: fc.Arbitrary<GeneratedRun> = fc
  .record({
    outage,
    clients: fc.array(clientGroup, { minLength: 1, maxLength: 3 }),
    topicShards: fc.integer({ min: 1, max: 4 }),
    sessionShards: fc.integer({ min: 1, max: 3 }),
    seed: fc.noShrink(fc.noBias(fc.integer({ min: 0, max: 0xffff_ffff }))),
  })
  .map(({ outage, clients, topicShards, sessionShards, seed }) => ({
    seed,
    scenario: {
      title: 'A zone goes dark',
      region: { topicShards, sessionShards },
      clients,
      workload: { warmUp: '8s', settle: '15s', drain: '6s' },
      faults: [{ kind: 'zone-outage' as const, ...outage }],
    },
  }))
