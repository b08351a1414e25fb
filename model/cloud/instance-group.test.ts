import { describe, expect, test } from 'vitest'
import { Stage, type StageOptions } from '../region-stage.test-support.ts'
import { ports } from '../settings.ts'
import type { Fault, HistoryEntry } from '../world.ts'

const outage = (zone: string): Fault => ({ kind: 'zone-outage', zone, form: 'power' })
const controlCut = (zone: string): Fault => ({
  kind: 'zone-outage',
  zone,
  form: 'control-plane',
  roles: ['nameserver', 'console', 'instance-group'],
})

/** A region, and what its instance group does there. Its own proxies are 1 to 3; 4 to 6 stand by, one a zone. */
class Group extends Stage {
  constructor({ settings, ...options }: StageOptions = {}) {
    super({ ...options, settings: { ...settings, loadBalancer: { slowStartMs: 0, drainMs: 10_000, ...settings?.loadBalancer } } })
    this.run(5000)
  }

  /** What became of replacements, in order: `proxy-5 starting`. */
  get changes(): readonly string[] {
    return this.events('replacement-changed').map(({ event }) => {
      const { instance, to } = event as unknown as { readonly instance: string; readonly to: string }
      return `${instance} ${to}`
    })
  }

  get lost(): readonly string[] {
    return this.events('instance-lost').map(({ event }) => (event as unknown as { readonly instance: string }).instance)
  }

  /** Controllers in the order in which they began to act. */
  get acted(): readonly string[] {
    return this.events('controller-changed').flatMap(({ machine, event }) =>
      (event as unknown as { readonly acting: boolean }).acting ? [machine] : [],
    )
  }

  get targetChanges(): readonly HistoryEntry[] {
    return this.world.history.filter(({ event }) => ['target-registered', 'target-draining', 'target-removed'].includes(event.kind))
  }

  /** The last change of each target at one node of the load balancer. */
  targetsOf(node: string): Readonly<Record<string, string>> {
    const last: Record<string, string> = {}
    for (const { machine, event } of this.targetChanges) {
      if (machine === node) last[(event as unknown as { readonly target: string }).target] = event.kind
    }
    return last
  }

  /** Which proxies take `count` clients that come over a node of the load balancer. */
  served(zone: number, count = 12): readonly string[] {
    const before = this.events('client-connected').length
    const address = { host: `10.${zone}.0.120`, port: ports.mqtt }
    for (let n = 0; n < count; n++) this.connect({ clientId: `over-${zone}-${before}-${n}`, address })
    return [
      ...new Set(
        this.events('client-connected')
          .slice(before)
          .map(({ machine }) => machine),
      ),
    ].sort()
  }

  /** As `until`, looked at ten times a second. */
  wait(condition: () => boolean, what: string, withinMs: number): void {
    for (let waitedMs = 0; !condition(); waitedMs += 100) {
      if (waitedMs >= withinMs) throw new Error(`waited ${withinMs} ms in vain for ${what}`)
      this.run(100)
    }
  }

  waitFor(change: string, times = 1): void {
    this.wait(() => this.changes.filter((each) => each === change).length >= times, change, 120_000)
  }
}

describe('an instance group', () => {
  test('at rest has the first controller act, and changes nothing', () => {
    const group = new Group()
    group.run(120_000)
    expect(group.acted).toEqual(['instance-group-1'])
    expect([group.changes, group.lost, group.targetChanges]).toEqual([[], [], []])
  })

  test('replaces the proxies of a lost zone in the others, where clients then find them', () => {
    const group = new Group()
    group.apply(outage('az3'))
    const sinceMs = group.nowMs
    group.waitFor('proxy-4 in-service')
    const { lostAfterMs, startUpMs, probeIntervalMs } = group.settings.instanceGroup
    expect(group.nowMs - sinceMs).toBeGreaterThan(lostAfterMs + startUpMs)
    expect(group.nowMs - sinceMs).toBeLessThan(lostAfterMs + startUpMs + probeIntervalMs + 6000)
    group.run(5000)
    expect([group.lost, group.changes]).toEqual([['proxy-3'], ['proxy-4 starting', 'proxy-4 in-service']])
    expect(group.served(1)).toEqual(['proxy-1', 'proxy-2', 'proxy-4'])
    expect(group.served(2)).toEqual(['proxy-1', 'proxy-2', 'proxy-4'])
  })

  test('has the next controller do so where the lost zone is that of the one that acts', () => {
    const group = new Group()
    const heal = group.apply(outage('az1'))
    group.waitFor('proxy-5 in-service')
    expect(group.acted).toEqual(['instance-group-1', 'instance-group-2'])
    heal()
    group.run(20_000)
    expect(group.acted).toEqual(['instance-group-1', 'instance-group-2', 'instance-group-1'])
    group.run(100_000)
    expect(group.changes).toEqual(['proxy-5 starting', 'proxy-5 in-service', 'proxy-5 draining', 'proxy-5 stopped'])
    expect(group.served(1)).toEqual(['proxy-1', 'proxy-2', 'proxy-3'])
  })

  test('replaces a single proxy that failed in its own zone', () => {
    const group = new Group()
    group.apply({ kind: 'crash', machines: ['proxy-2'] })
    group.waitFor('proxy-5 in-service')
    expect(group.changes).toEqual(['proxy-5 starting', 'proxy-5 in-service'])
  })

  test('takes a replacement back when the zone is there again: it is drained first, and can be started another time', () => {
    const group = new Group()
    const heal = group.apply(outage('az3'))
    group.waitFor('proxy-4 in-service')
    group.run(5000)
    const client = group.connect({ clientId: 'kept', proxy: 4 })
    group.served(1)
    heal()
    const healedMs = group.nowMs
    group.waitFor('proxy-4 draining')
    expect(group.nowMs - healedMs).toBeGreaterThan(group.settings.instanceGroup.takeBackAfterMs)
    group.run(8000)
    expect(client.closed).toBeUndefined()
    expect(group.targetsOf('load-balancer-1')['proxy-4']).toBe('target-draining')
    expect(group.served(1)).toEqual(['proxy-1', 'proxy-2', 'proxy-3'])
    group.waitFor('proxy-4 stopped')
    group.wait(() => !group.world.isRunning('proxy-4'), 'the end of its process', 10_000)
    expect(group.targetsOf('load-balancer-1')['proxy-4']).toBe('target-removed')
    group.run(30_000)
    group.apply(outage('az3'))
    group.waitFor('proxy-4 in-service', 2)
    group.run(5000)
    expect(group.served(2)).toEqual(['proxy-1', 'proxy-2', 'proxy-4'])
  })

  test('calls a start-up off when the lost proxy is back before it is over', () => {
    const group = new Group()
    const heal = group.apply(outage('az3'))
    group.waitFor('proxy-4 starting')
    heal()
    group.run(60_000)
    expect(group.changes).toEqual(['proxy-4 starting', 'proxy-4 called-off'])
    expect(group.world.isRunning('proxy-4')).toBe(false)
  })

  test('leaves alone who is silent for a short while', () => {
    const group = new Group()
    const heal = group.apply({ kind: 'crash', machines: ['proxy-2'] })
    group.run(9000)
    heal()
    group.run(60_000)
    expect([group.lost, group.changes]).toEqual([[], []])
  })

  test('does nothing while its control plane is cut off, and makes up for it after', () => {
    const group = new Group()
    const heals = ['az1', 'az2', 'az3'].map((zone) => group.apply(controlCut(zone)))
    group.run(15_000)
    group.apply({ kind: 'power-loss', machines: ['proxy-3'] })
    group.run(120_000)
    expect([group.lost, group.changes, group.targetChanges]).toEqual([[], [], []])
    expect(group.served(1)).toEqual(['proxy-1', 'proxy-2'])
    for (const heal of heals) heal()
    group.waitFor('proxy-6 in-service')
  })

  test('is stopped by the loss of a majority of controllers, and by that of one in a region of one zone', () => {
    const group = new Group()
    for (const zone of ['az1', 'az2']) group.apply(controlCut(zone))
    group.run(15_000)
    group.apply({ kind: 'crash', machines: ['proxy-3'] })
    group.run(90_000)
    expect(group.changes).toEqual([])
    const single = new Group({ region: { zones: 1, proxiesPerZone: 2 } })
    single.apply(controlCut('az1'))
    single.run(90_000)
    expect([single.acted, single.lost, single.changes]).toEqual([['instance-group-1'], [], []])
  })

  test('says so when no zone that is well has room, and takes what room there is', () => {
    const group = new Group({ region: { proxiesPerZone: 3 } })
    group.apply(outage('az3'))
    group.run(60_000)
    expect(group.lost).toEqual(['proxy-7', 'proxy-8', 'proxy-9'])
    expect(group.changes.filter((change) => change.endsWith('in-service'))).toEqual(['proxy-10 in-service', 'proxy-11 in-service'])
    expect(group.events('capacity-short').map(({ event }) => event)).toEqual([{ kind: 'capacity-short', missing: 1 }])
  })

  test('counts a proxy that was scaled out as its own, and one that was scaled in no more', () => {
    const group = new Group({ region: { standby: [{ role: 'proxy', zone: 'az1' }] } })
    group.apply({ kind: 'scale-out', machines: ['proxy-4'] })
    group.run(15_000)
    group.apply({ kind: 'scale-in', machines: ['proxy-2'], graceMs: 1000 })
    group.run(60_000)
    expect([group.lost, group.changes]).toEqual([[], []])
    expect(group.targetsOf('load-balancer-3')).toEqual({ 'proxy-2': 'target-removed' })
    group.apply({ kind: 'power-loss', machines: ['proxy-4'] })
    group.waitFor('proxy-6 in-service')
    expect([group.lost, group.changes]).toEqual([['proxy-4'], ['proxy-6 starting', 'proxy-6 in-service']])
  })

  test('brings up no more replacements than are missing where two controllers act at once', () => {
    const group = new Group()
    group.apply({ kind: 'partition', from: ['instance-group-1'], to: ['instance-group-2'], bothWays: true })
    group.run(40_000)
    expect(group.acted).toEqual(['instance-group-1', 'instance-group-2'])
    const heal = group.apply({ kind: 'power-loss', machines: ['proxy-3'] })
    group.run(60_000)
    expect(group.changes.filter((change) => change.endsWith('starting'))).toEqual(['proxy-6 starting'])
    expect(group.served(1)).toEqual(['proxy-1', 'proxy-2', 'proxy-6'])
    heal()
    group.run(150_000)
    expect(group.world.isRunning('proxy-6')).toBe(false)
    expect(group.served(2)).toEqual(['proxy-1', 'proxy-2', 'proxy-3'])
  })

  test('has a node that was started again take the set that is in force, and a controller that was go on from its versions', () => {
    const group = new Group()
    group.apply(outage('az3'))
    group.waitFor('proxy-4 in-service')
    for (const machines of [['load-balancer-2'], ['instance-group-1']]) group.apply({ kind: 'restart', machines })
    group.run(30_000)
    expect(group.served(2)).toEqual(['proxy-1', 'proxy-2', 'proxy-4'])
    group.apply({ kind: 'crash', machines: ['proxy-1'] })
    group.waitFor('proxy-5 in-service')
    group.run(5000)
    expect(group.served(1)).toEqual(['proxy-2', 'proxy-4', 'proxy-5'])
  })

  test('is not there where zones have no room for more', () => {
    const group = new Group({ settings: { instanceGroup: { spareInstancesPerZone: 0 } } })
    expect(group.plan.machines.filter(({ role, standby }) => role === 'instance-group' || standby === true)).toEqual([])
  })
})
