import { describe, expect, test } from 'vitest'
import type { AccessRules } from '../model/access.ts'
import { planRegion } from '../model/region.ts'
import type { HistoryEntry, WorldEvent } from '../model/world.ts'
import { regionSpec } from './cast.ts'
import { loadScenario } from './load.ts'
import { type RunOptions, runScenario } from './runner.ts'

function load(text: string) {
  return loadScenario(text, { file: 'test.yaml', name: 'test' })
}

const small = load(`
title: A broker dies
clients: [{ count: 6, publish: { every: 500ms } }]
workload: { settle: 6s, drain: 3s }
faults: [{ kind: crash, machines: broker-1, at: 9s, for: 6s }]
`)

function play(options: Partial<RunOptions> = {}) {
  return runScenario(small, { seed: 5, recording: false, ...options })
}

describe('a run', () => {
  test('is a function of scenario and seed: the same with recording and without, and after other seeds', () => {
    const first = play()
    play({ seed: 6 })
    const again = play({ recording: true })
    expect(again.digest).toBe(first.digest)
    expect(again.events).toBe(first.events)
    expect(again.measures).toEqual(first.measures)
    expect(play({ seed: 6 }).digest).not.toBe(first.digest)
  })

  test('puts faults in force and takes them out at their times, and reads back what was acknowledged', () => {
    const { history, audit, measures, story } = play({ recording: true })
    const faults = history.flatMap(({ timeUs, event }: HistoryEntry) => {
      const { kind } = event as WorldEvent
      return kind === 'fault-applied' || kind === 'fault-healed' ? [[timeUs, kind]] : []
    })
    expect(faults).toEqual([
      [9_000_000, 'fault-applied'],
      [15_000_000, 'fault-healed'],
    ])
    expect(measures.messagesAcknowledged).toBeGreaterThan(100)
    expect(audit).toMatchObject({ unanswered: [], malformed: [] })
    expect(audit.messages).toBeGreaterThanOrEqual(measures.messagesAcknowledged)
    expect(story[0]).toEqual({ timeUs: 9_000_000, tone: 'fault', text: 'the process of broker-1 dies' })
  })

  test('says so when a fault finds nobody, adds machines that stood by, and upgrades one after the other', () => {
    const scenario = load(`
title: Coming and going
clients: [{ count: 4 }]
workload: { settle: 5s, drain: 3s }
faults:
  - { kind: together, at: 9s, for: 4s, faults: [{ kind: power-loss, machines: broker-1 }, { kind: restart, machines: 1 of broker-1, after: 1s }] }
  - { kind: scale-out, role: proxy, zone: az1, at: 10s }
  - { kind: rolling-upgrade, machines: role nameserver, at: 14s, grace: 1s, startUp: 1s, pause: 1s }
`)
    const { history, promises, story } = runScenario(scenario, { seed: 1, recording: true })
    const told = history.flatMap(({ timeUs, machine, event }: HistoryEntry) => {
      const known = event as WorldEvent
      if (known.kind === 'fault-found-nobody') return [`${timeUs / 1e6} ${known.faultKind} found no ${known.wanted}`]
      return known.kind === 'process-started' && timeUs > 9e6 && machine !== 'auditor'
        ? [`${timeUs / 1e6} ${machine} v${known.version ?? 1}`]
        : []
    })
    expect(told).toEqual([
      '10 restart found no 1 of broker-1',
      '10 proxy-4 v1',
      '13 broker-1 v1',
      '15 nameserver-1 v2',
      '18 nameserver-2 v2',
      '21 nameserver-3 v2',
    ])
    expect(story.map(({ text }) => text)).toContain('restart was due for 1 of broker-1, and no such machine is running')
    expect(promises.filter(({ verdict }) => verdict === 'violated')).toEqual([])
  })

  test('in which nobody is served puts little to the test, and says so', () => {
    const { verdict, measures, promises } = play({
      region: (plan) => ({
        ...plan,
        machines: plan.machines.map((machine) => (machine.role === 'broker' ? { ...machine, boot: () => ({}) } : machine)),
      }),
    })
    expect(measures.messagesAcknowledged).toBe(0)
    expect(promises.find(({ id }) => id === 'acked-delivered')!.verdict).toBe('not-exercised')
    expect(verdict).not.toBe('held')
  })

  test('in which a process spins without end goes on without it, and names it', () => {
    const { verdict, promises } = play({
      region: (plan) => ({
        ...plan,
        machines: plan.machines.map((machine) => {
          if (machine.name !== 'dns-3') return machine
          const boot: typeof machine.boot = (host) => {
            const spin = (): void => void host.setTimer(0, spin)
            host.setTimer(10_000, spin)
            return machine.boot(host)
          }
          return { ...machine, boot }
        }),
      }),
    })
    const crash = promises.find(({ id }) => id === 'no-crash')!
    expect(verdict).toBe('violated')
    expect(crash.violations[0]!.text).toContain('The process on dns-3 ended')
  })

  test.each<[string, Partial<AccessRules>]>([
    ['users', { users: new Map() }],
    ['topics', { topics: new Set() }],
  ])('lets nobody publish where the control plane knows none of the %s that its clients were given', (_, missing) => {
    const spec = regionSpec(small)
    const strangers = planRegion({ ...spec, access: { ...spec.access, ...missing } })
    const { measures } = play({
      region: (plan) => ({
        ...plan,
        machines: plan.machines.map((machine) =>
          machine.role === 'proxy' ? { ...machine, boot: strangers.machines.find(({ name }) => name === machine.name)!.boot } : machine,
        ),
      }),
    })
    expect(measures.messagesAcknowledged).toBe(0)
    expect(play().measures.messagesAcknowledged).toBeGreaterThan(100)
  })

  test('goes on as if nothing were when wall clocks jump, those of every role there and back', () => {
    const quiet = `
title: Clocks jump
region: { topicShards: 2, sessionShards: 2 }
clients:
  - { count: 4, publish: { qos: 2, every: 500ms, retain: true, expiry: 30s }, subscribe: { qos: 2, again: 2s }, will: { delay: 2s }, away: [{ at: 12s, for: 4s, ending: drop }] }
workload: { duration: 12s, settle: 4s, drain: 3s }
`
    const jumps = `faults:
  - { kind: clock-jump, machines: [role broker, role proxy, role volume, role nameserver], by: 26h, at: 10s }
  - { kind: clock-jump, machines: [role broker, role proxy, role volume, role nameserver], by: -52h, at: 14s }
`
    const calm = runScenario(load(quiet), { seed: 2, recording: false })
    const jumped = runScenario(load(quiet + jumps), { seed: 2, recording: false })
    expect(calm.measures.messagesDelivered).toBeGreaterThan(100)
    expect(jumped.measures).toEqual(calm.measures)
    expect(jumped.promises.filter(({ verdict }) => verdict === 'violated')).toEqual([])
  })

  test('tells how far it is', () => {
    const acts = new Map<string, number>()
    play({ onProgress: (act, seconds) => void acts.set(act, seconds) })
    expect([...acts.keys()]).toEqual(['warm-up', 'faults', 'healed', 'drain', 'audit'])
    expect(acts.get('warm-up')).toBe(8)
    expect(acts.get('faults')).toBe(15)
    expect(acts.get('drain')).toBeGreaterThanOrEqual(24)
  })
})
