import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { type GeneratedRun, survivableFaultRuns, zoneOutageRuns } from './arbitrary.ts'
import { faultModes } from './fault-modes.ts'
import { loadScenario } from './load.ts'

test('generated faults that a region withstands are all of the kinds that it does, and of no other, and load', () => {
  const kinds = new Set<string>()
  for (const { scenario } of fc.sample(survivableFaultRuns, { numRuns: 600, seed: 1 })) {
    const [fault] = loadScenario(stringify(scenario), { file: 'generated.yaml', name: 'generated' }).faults
    kinds.add(fault!.kind)
  }
  const survivable = Object.entries(faultModes).flatMap(([kind, mode]) => (mode === 'survivable' ? [kind] : []))
  // Only DNS uses datagrams that clients need, and dns-silent takes more than their loss does.
  expect([...kinds].sort()).toEqual(survivable.filter((kind) => kind !== 'datagram-loss').sort())
})

describe('generated zone outages', () => {
  const sample = fc.sample(zoneOutageRuns, { numRuns: 400, seed: 1 })
  const share = (holds: (run: (typeof sample)[number]) => boolean): number => sample.filter(holds).length / sample.length

  test('are scenarios that load', () => {
    for (const { scenario } of sample) {
      expect(loadScenario(stringify(scenario), { file: 'generated.yaml', name: 'generated' }).faults).toHaveLength(1)
    }
  })

  test('spread over zones, forms, lengths and kinds of clients', () => {
    for (const zone of ['az1', 'az2', 'az3']) expect(share(({ scenario }) => outageOf(scenario).zone === zone)).toBeGreaterThan(0.2)
    for (const form of ['power', 'isolated']) expect(share(({ scenario }) => outageOf(scenario).form === form)).toBeGreaterThan(0.3)
    const lengthMs = (run: (typeof sample)[number]): number => loadedOutage(run.scenario)
    expect(share((run) => lengthMs(run) <= 2000)).toBeGreaterThan(0.05)
    expect(share((run) => lengthMs(run) >= 12_000)).toBeGreaterThan(0.25)
    const groups = sample.flatMap(({ scenario }) => scenario.clients ?? [])
    const groupShare = (holds: (group: (typeof groups)[number]) => boolean): number => groups.filter(holds).length / groups.length
    expect(groupShare((group) => group.profile === 'mqtt.js')).toBeGreaterThan(0.2)
    expect(groupShare((group) => group.cleanStart === true)).toBeGreaterThan(0.3)
    expect(groupShare((group) => group.cleanStart === false)).toBeGreaterThan(0.3)
    expect(groupShare((group) => group.version === 5)).toBeGreaterThan(0.3)
    expect(groupShare((group) => group.version === '3.1.1')).toBeGreaterThan(0.3)
    expect(groupShare((group) => typeof group.subscribe === 'object' && group.subscribe.topics === 'fan-in')).toBeGreaterThan(0.2)
    for (const qos of [0, 1, 2]) {
      expect(groupShare((group) => typeof group.publish === 'object' && group.publish.qos === qos)).toBeGreaterThan(0.1)
      expect(groupShare((group) => typeof group.subscribe === 'object' && group.subscribe.qos === qos)).toBeGreaterThan(0.1)
    }
    expect(groupShare((group) => group.version === '3.1')).toBeGreaterThan(0.05)
    expect(groupShare((group) => group.sessionExpiry !== undefined)).toBeGreaterThan(0.05)
    expect(groupShare((group) => typeof group.publish === 'object' && group.publish.retain === true)).toBeGreaterThan(0.2)
    expect(groupShare((group) => typeof group.publish === 'object' && group.publish.expiry !== undefined)).toBeGreaterThan(0.03)
    expect(groupShare((group) => typeof group.subscribe === 'object' && group.subscribe.again !== undefined)).toBeGreaterThan(0.15)
    expect(groupShare((group) => typeof group.subscribe === 'object' && group.subscribe.share !== undefined)).toBeGreaterThan(0.03)
    expect(groupShare((group) => typeof group.subscribe === 'object' && group.subscribe.topics === 'wills')).toBeGreaterThan(0.1)
    expect(groupShare((group) => group.will?.delay !== undefined && group.will.delay !== '0s')).toBeGreaterThan(0.05)
    for (const ending of ['disconnect', 'drop', 'disconnect-with-will'])
      expect(groupShare((group) => group.away?.[0]?.ending === ending)).toBeGreaterThan(0.01)
    expect(
      share(({ scenario }) => scenario.clients!.some(({ publish, subscribe }) => qosOf(publish) === 2 && qosOf(subscribe) === 2)),
    ).toBeGreaterThan(0.4)
    expect(share(({ scenario }) => scenario.clients!.some(({ publish }) => publish === 'none'))).toBeGreaterThan(0.3)
    const retainedAndRead = ({ scenario: { clients } }: (typeof sample)[number]): boolean =>
      clients!.some((group) => typeof group.publish === 'object' && group.publish.retain === true) &&
      clients!.some((group) => typeof group.subscribe === 'object' && group.subscribe.again !== undefined)
    expect(share(retainedAndRead)).toBeGreaterThan(0.2)
    expect(new Set(sample.map(({ seed }) => seed)).size).toBeGreaterThan(395)
  })

  test('shrink to one client that publishes and subscribes plainly', () => {
    const failing = fc.check(
      fc.property(zoneOutageRuns, () => false),
      { numRuns: 1, seed: 3 },
    )
    expect((failing.counterexample as [GeneratedRun])[0].scenario.clients).toEqual([
      {
        count: 1,
        profile: 'recommended',
        version: 5,
        cleanStart: false,
        publish: { qos: 1, every: '1s', payloadBytes: 16 },
        subscribe: { qos: 1, topics: 'ring' },
      },
    ])
  })

  test('shrink to one part where only that one matters', () => {
    const isShared = ({ scenario }: (typeof sample)[number]): boolean =>
      scenario.clients!.some((group) => typeof group.subscribe === 'object' && group.subscribe.share !== undefined)
    const failing = fc.check(
      fc.property(zoneOutageRuns, (run) => !isShared(run)),
      { numRuns: 200, seed: 3 },
    )
    expect((failing.counterexample as [GeneratedRun])[0].scenario.clients).toEqual([
      {
        count: 1,
        profile: 'recommended',
        version: 5,
        cleanStart: false,
        publish: { qos: 1, every: '1s', payloadBytes: 16 },
        subscribe: { qos: 1, topics: expect.stringMatching(/^(fan-in|wills)$/), share: expect.any(String) },
      },
    ])
  })

  test('stay as they are for a seed of fast-check, so that what it found once is found again', () => {
    expect(fc.sample(zoneOutageRuns, { numRuns: 1, seed: 7 })).toMatchSnapshot()
  })
})

function qosOf(habit: 'none' | { readonly qos?: number | undefined } | undefined): number | undefined {
  return typeof habit === 'object' ? habit.qos : undefined
}

type Sampled = ReturnType<typeof fc.sample<{ readonly scenario: import('./scenario.ts').ScenarioFile }>>[number]['scenario']

function outageOf(scenario: Sampled): { readonly zone: string; readonly form?: string | undefined; readonly for?: string | undefined } {
  const [fault] = scenario.faults!
  if (fault?.kind !== 'zone-outage') throw new Error('not an outage')
  return fault
}

function loadedOutage(scenario: Sampled): number {
  const [fault] = loadScenario(stringify(scenario), { file: 'generated.yaml', name: 'generated' }).faults
  if (fault?.kind !== 'zone-outage') throw new Error('not an outage')
  return fault.for!
}
