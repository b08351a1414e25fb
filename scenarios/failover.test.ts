import { describe, expect, test } from 'vitest'
import type { ServiceEvent } from '../model/events.ts'
import { defaultSettings } from '../model/settings.ts'
import type { Fault, HistoryEntry, WorldEvent } from '../model/world.ts'
import { gatherFailover } from './failover.ts'

const machines = [
  { name: 'broker-1', zone: 'az1', role: 'broker' },
  { name: 'broker-2', zone: 'az2', role: 'broker' },
  { name: 'proxy-1', zone: 'az1', role: 'proxy' },
  { name: 'proxy-2', zone: 'az2', role: 'proxy' },
]
const outage: Fault = { kind: 'zone-outage', zone: 'az2', form: 'power' }

type Told = readonly [seconds: number, machine: string, event: ServiceEvent | WorldEvent]

const attached = (volume: number, epoch: number): ServiceEvent => ({ kind: 'volume-attached', volume, epoch, size: 0, repairedCopies: 0 })
const adopted = (shard: number, epoch: number): ServiceEvent => ({ kind: 'routes-adopted', shard, epoch, broker: 'broker-1' })
const found = (shard: number, epoch: number): ServiceEvent => ({ kind: 'owner-found-silent', shard, epoch })

function failoverOf(...told: readonly Told[]) {
  const history: HistoryEntry[] = told.map(([seconds, machine, event], sequence) => ({
    timeUs: seconds * 1_000_000,
    sequence,
    machine,
    event: event as HistoryEntry['event'],
  }))
  return gatherFailover(history, machines, defaultSettings)
}

const before: readonly Told[] = [
  [1, 'broker-1', attached(0, 1)],
  [1, 'broker-2', attached(1, 1)],
  [10, 'world', { kind: 'fault-applied', fault: outage }],
]
const takenOver: readonly Told[] = [
  [13, 'broker-1', found(1, 2)],
  [13.5, 'broker-1', attached(1, 2)],
]

describe('the failover of the service', () => {
  test('lasts from the fault to the next owner, and on until the proxies know it', () => {
    expect(failoverOf(...before, ...takenOver, [14, 'proxy-1', adopted(1, 2)])).toMatchObject({
      shards: 1,
      shardFailover: { p50: 3500, p90: 3500, max: 3500, count: 1, buckets: [{ upToMs: 5000, count: 1 }] },
      routeRefresh: { max: 500, count: 1, buckets: [{ upToMs: 500, count: 1 }] },
      ownerlessMs: 3500,
      routesMs: 500,
      expiryMs: 3000,
      heartbeatIntervalMs: 1000,
      routePullIntervalMs: 1000,
    })
  })

  test('counts an owner that comes back and takes its shards again', () => {
    const back: readonly Told[] = [
      [40, 'world', { kind: 'fault-healed', fault: outage }],
      [41, 'broker-2', found(1, 2)],
      [41, 'broker-2', attached(1, 2)],
    ]
    expect(failoverOf(...before, ...back)).toMatchObject({ shards: 1, ownerlessMs: 31_000 })
  })

  test('does not wait for a proxy that was out of order itself', () => {
    const back: readonly Told[] = [
      [14, 'proxy-1', adopted(1, 2)],
      [40, 'world', { kind: 'fault-healed', fault: outage }],
      [41, 'proxy-2', adopted(1, 2)],
    ]
    expect(failoverOf(...before, ...takenOver, ...back)).toMatchObject({ routesMs: 500 })
  })

  test('does not wait for a proxy that was started later', () => {
    const started: readonly Told[] = [
      [14, 'proxy-1', adopted(1, 2)],
      [41, 'proxy-2', { kind: 'process-started', bootId: 1 }],
      [41.1, 'proxy-2', adopted(1, 2)],
    ]
    expect(failoverOf(...before, ...takenOver, ...started)).toMatchObject({ routesMs: 500 })
  })

  test('is nothing where no owner was struck, or it went on, or a shard was handed over by plan', () => {
    expect(failoverOf([1, 'broker-1', attached(0, 1)], [10, 'world', { kind: 'fault-applied', fault: outage }])).toBeUndefined()
    expect(failoverOf(...before, [40, 'world', { kind: 'fault-healed', fault: outage }])).toBeUndefined()
    expect(failoverOf(...before, [50, 'broker-1', attached(1, 2)])).toBeUndefined()
  })

  test('counts from the fault that the owner did not get over', () => {
    const pause: Fault = { kind: 'pause', machines: ['broker-2'] }
    const first: readonly Told[] = [
      [1, 'broker-2', attached(1, 1)],
      [5, 'world', { kind: 'fault-applied', fault: pause }],
      [6, 'world', { kind: 'fault-healed', fault: pause }],
      [10, 'world', { kind: 'fault-applied', fault: outage }],
      [11, 'world', { kind: 'fault-applied', fault: pause }],
    ]
    expect(failoverOf(...first, ...takenOver)).toMatchObject({ ownerlessMs: 3500 })
  })
})
