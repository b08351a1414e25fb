/**
 * Generators of runs for property tests: scenario data as people write it, so that what fails can be shrunk, read, edited and committed.
 *
 * Everything shrinks towards nothing: fewer clients, a shorter and earlier outage, the plainer workload, of which each part (retained messages, a will, a time
 * away, a shared subscription, ...) is taken out by itself. The seed of a run does not shrink: a smaller seed is not a simpler run. Times are whole quarter seconds.
 *
 * What a version does not have is left out of what was drawn, so that every run that is generated is legal.
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

type FaultFile = NonNullable<ScenarioFile['faults']>[number]
type GroupFile = NonNullable<ScenarioFile['clients']>[number]
type Ending = 'disconnect' | 'disconnect-with-will' | 'drop'

/** Mostly nothing, to which it shrinks. */
function sometimes<T>(value: fc.Arbitrary<T>, oneIn: number): fc.Arbitrary<T | undefined> {
  return fc.oneof({ withCrossShrink: true }, { arbitrary: fc.constant(undefined), weight: oneIn - 1 }, { arbitrary: value, weight: 1 })
}

const qos = fc.constantFrom(1 as const, 2 as const, 0 as const)

/** Of what is published and of what is subscribed: most clients of a service use one for both. */
const qosPair = fc.oneof(
  { withCrossShrink: true },
  {
    arbitrary: fc.constantFrom({ publishQos: 1 as const, subscribeQos: 1 as const }, { publishQos: 2 as const, subscribeQos: 2 as const }),
    weight: 1,
  },
  { arbitrary: fc.record({ publishQos: qos, subscribeQos: qos }), weight: 1 },
)

const will = fc.record({ qos, retain: fc.boolean(), delay: fc.constantFrom('0s', '1s', '5s') })

const away = fc.record({
  at: time(8_000, 14_000),
  for: time(250, 8_000),
  ending: fc.constantFrom('disconnect' as const, 'drop' as const, 'disconnect-with-will' as const),
})

const clientGroup: fc.Arbitrary<GroupFile> = fc
  .record({
    count: fc.integer({ min: 1, max: 10 }),
    profile: fc.constantFrom('recommended' as const, 'recommended' as const, 'mqtt.js' as const),
    version: fc.constantFrom(5 as const, 5 as const, 5 as const, '3.1.1' as const, '3.1.1' as const, '3.1.1' as const, '3.1' as const),
    cleanStart: fc.boolean(),
    sessionExpiry: sometimes(fc.constantFrom('0s', '10s'), 4),
    every: fc.constantFrom('1s', '500ms', '200ms'),
    qos: qosPair,
    payloadBytes: fc.constantFrom(16, 64, 1500),
    expiry: sometimes(fc.constantFrom('30s', '2s'), 6),
    retain: sometimes(fc.constant(true), 3),
    topics: fc.constantFrom(
      'ring' as const,
      'ring' as const,
      'ring' as const,
      'fan-in' as const,
      'fan-in' as const,
      'wills' as const,
      'wills' as const,
    ),
    share: sometimes(fc.constantFrom('one', 'two'), 3),
    again: sometimes(fc.constantFrom('5s', '2s'), 3),
    will: sometimes(will, 2),
    away: sometimes(away, 3),
  })
  .map((drawn) => {
    const isOf5 = drawn.version === 5
    // A shared subscription to one client's topic has nobody to share with.
    const share = isOf5 && drawn.topics !== 'ring' ? drawn.share : undefined
    const again = share === undefined ? drawn.again : undefined
    const withWill = isOf5 && drawn.away?.ending === 'disconnect-with-will'
    const will = drawn.will === undefined || isOf5 ? drawn.will : { qos: drawn.will.qos, retain: drawn.will.retain }
    return {
      count: drawn.count,
      profile: drawn.profile,
      version: drawn.version,
      cleanStart: drawn.cleanStart,
      ...(isOf5 && drawn.sessionExpiry !== undefined ? { sessionExpiry: drawn.sessionExpiry } : {}),
      publish: {
        qos: drawn.qos.publishQos,
        every: replaysTooSlowly(drawn) ? '500ms' : drawn.every,
        payloadBytes: drawn.payloadBytes,
        ...(drawn.retain === undefined ? {} : { retain: drawn.retain }),
        ...(isOf5 && drawn.expiry !== undefined ? { expiry: drawn.expiry } : {}),
      },
      subscribe: {
        qos: drawn.qos.subscribeQos,
        topics: drawn.topics,
        ...(share === undefined ? {} : { share }),
        ...(again === undefined ? {} : { again }),
      },
      ...(will === undefined ? (withWill ? { will: { qos: 1 as const } } : {}) : { will }),
      ...(drawn.away === undefined ? {} : { away: [{ ...drawn.away, ending: endingOf(drawn.away.ending, isOf5) }] }),
    }
  })

/**
 * MQTT.js replays what it has queued one message after the other, each at QoS 2 two round trips long, and subscribes only then: of five messages a second that come in
 * meanwhile it works off so few that it would not be back before the run ends, whatever the service does.
 */
function replaysTooSlowly({ profile, qos, every }: { profile: string; qos: { publishQos: number }; every: string }): boolean {
  return profile === 'mqtt.js' && qos.publishQos === 2 && every === '200ms'
}

function endingOf(drawn: Ending, isOf5: boolean): Ending {
  return drawn === 'disconnect-with-will' && !isOf5 ? 'drop' : drawn
}

/** One that listens and is never away: by it is seen what becomes of the others' wills and of everybody's messages. */
const listener: fc.Arbitrary<GroupFile> = fc
  .record({ qos: fc.constantFrom(1 as const, 2 as const), topics: fc.constantFrom('wills' as const, 'wills' as const, 'fan-in' as const) })
  .map((subscribe) => ({ count: 1, publish: 'none' as const, subscribe }))

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
    listener: sometimes(listener, 2),
    topicShards: fc.integer({ min: 1, max: 4 }),
    sessionShards: fc.integer({ min: 1, max: 3 }),
    seed: fc.noShrink(fc.noBias(fc.integer({ min: 0, max: 0xffff_ffff }))),
  })
  .map(({ outage, clients, listener, topicShards, sessionShards, seed }) => ({
    seed,
    scenario: {
      title: 'A zone goes dark',
      region: { topicShards, sessionShards },
      clients: listener === undefined ? clients : [...clients, listener],
      workload: { warmUp: '8s', settle: '15s', drain: '6s' },
      faults: [{ kind: 'zone-outage' as const, ...outage }],
    },
  }))

const zone = fc.constantFrom('az1', 'az2', 'az3')
const oneMachine = fc.constantFrom(
  '1 of role broker',
  '1 of role proxy',
  '1 of role volume',
  '1 of role nameserver',
  '1 of role load-balancer',
)
const factor = fc.integer({ min: 2, max: 20 })

const outageForms = ['power', 'isolated', 'cut-from-zones', 'cut-from-internet', 'control-plane', 'nothing-in', 'nothing-out'] as const

/** What a region of three zones claims to withstand, in the shapes in which it does: one zone, one machine, one disk (`fault-modes.ts`). Only what it does, not when. */
const survivableShapes = fc.oneof(
  fc.record({ kind: fc.constant('zone-outage' as const), zone, form: fc.constantFrom(...outageForms) }),
  fc.record({
    kind: fc.constant('zone-outage' as const),
    zone,
    form: fc.constant('brown-out' as const),
    slowdown: factor,
    loss: fc.constantFrom(0, 0.01, 0.05),
  }),
  fc.record({ kind: fc.constant('zone-outage' as const), zone, form: fc.constant('gradual' as const), over: time(1000, 12_000) }),
  fc.record({ kind: fc.constantFrom('crash' as const, 'power-loss' as const, 'pause' as const), machines: oneMachine }),
  fc.record({ kind: fc.constant('slow' as const), machines: oneMachine, factor }),
  fc.record({
    kind: fc.constantFrom('disk-stall' as const, 'disk-full' as const, 'sync-failure' as const),
    machines: fc.constant('1 of role volume'),
  }),
  fc.record({ kind: fc.constant('disk-slow' as const), machines: fc.constant('1 of role volume'), factor }),
  fc.record({ kind: fc.constantFrom('dns-silent' as const, 'dns-stale' as const), machines: fc.constant('1 of role dns') }),
  fc.record({
    kind: fc.constant('clock-drift' as const),
    machines: fc.constantFrom('role broker', '1 of role nameserver', 'all'),
    partsPerMillion: fc.integer({ min: -100_000, max: 100_000 }),
  }),
  fc.record({ kind: fc.constant('nat-timeout' as const), idle: fc.constantFrom('2s', '15s', '60s') }),
)

const survivableMoments = fc.oneof(
  fc.record({ kind: fc.constant('restart' as const), machines: oneMachine }),
  fc.record({
    kind: fc.constant('connection-reset' as const),
    from: fc.constantFrom('role client', 'role broker'),
    to: fc.constant('all'),
  }),
  fc.record({ kind: fc.constant('clock-jump' as const), machines: oneMachine, by: fc.constantFrom('1h', '-1h', '3s') }),
  fc.record({ kind: fc.constant('address-change' as const) }),
  fc.record({ kind: fc.constant('rolling-upgrade' as const), machines: fc.constantFrom('role proxy', 'role broker', 'role nameserver') }),
  fc.record({ kind: fc.constant('scale-in' as const), machines: fc.constantFrom('1 of role proxy', '1 of role broker') }),
  fc.record({ kind: fc.constant('scale-out' as const), role: fc.constantFrom('proxy' as const, 'broker' as const), zone }),
)

const survivableFault: fc.Arbitrary<FaultFile> = fc.oneof(
  {
    arbitrary: fc.tuple(survivableShapes, time(8_000, 14_000), time(250, 20_000)).map(([what, at, lasts]) => ({ ...what, at, for: lasts })),
    weight: 2,
  },
  { arbitrary: fc.tuple(survivableMoments, time(8_000, 14_000)).map(([what, at]) => ({ ...what, at })), weight: 1 },
)

/** One fault that a region claims to withstand, of any kind, with clients of all habits at work. */
export const survivableFaultRuns: fc.Arbitrary<GeneratedRun> = fc
  .record({
    fault: survivableFault,
    clients: fc.array(clientGroup, { minLength: 1, maxLength: 2 }),
    seed: fc.noShrink(fc.noBias(fc.integer({ min: 0, max: 0xffff_ffff }))),
  })
  .map(({ fault, clients, seed }) => ({
    seed,
    scenario: {
      title: 'Something breaks that a region withstands',
      clients,
      workload: { warmUp: '8s', settle: '20s', drain: '6s' },
      faults: [fault],
    },
  }))
