import { describe, expect, test } from 'vitest'
import type { ServiceEvent } from '../model/events.ts'
import type { Fault, HistoryEntry, MachineSpec, WorldEvent } from '../model/world.ts'
import { gatherFacts } from './facts.ts'
import { faultText } from './fault-text.ts'
import { tellStory } from './story.ts'

const machines = [
  ...[1, 2, 3].flatMap((zone) =>
    ['nameserver', 'broker', 'proxy', 'load-balancer', 'volume'].map((role) => ({ name: `${role}-${zone}`, zone: `az${zone}`, role })),
  ),
  { name: 'clients-1', zone: 'internet', role: 'client' },
  { name: 'auditor', zone: 'ops', role: 'auditor' },
] as unknown as readonly MachineSpec[]

function history(...entries: readonly (readonly [number, string, ServiceEvent | WorldEvent])[]): readonly HistoryEntry[] {
  return entries.map(([ms, machine, event], index) => ({ timeUs: ms * 1000, sequence: index + 1, machine, event }))
}

const outage: Fault = { kind: 'zone-outage', zone: 'az2', form: 'power' }
const client = (n: number, from: string, to: string): ServiceEvent => ({
  kind: 'client-state-changed',
  clientId: `client-${n}`,
  from,
  to,
  why: 'x',
})

const run = history(
  [4000, 'proxy-2', { kind: 'client-connected', clientId: 'client-1', version: 5 }],
  [4100, 'proxy-2', { kind: 'client-connected', clientId: 'client-2', version: 5 }],
  [4200, 'proxy-1', { kind: 'client-connected', clientId: 'client-3', version: 5 }],
  [4300, 'broker-2', { kind: 'volume-attached', volume: 4, epoch: 1, size: 0, repairedCopies: 0 }],
  [20_000, 'world', { kind: 'fault-applied', fault: outage }],
  [21_000, 'broker-1', { kind: 'copy-state-changed', volume: 1, copy: 'volume-2', state: 'unreachable' }],
  [21_001, 'broker-1', { kind: 'copy-state-changed', volume: 2, copy: 'volume-2', state: 'unreachable' }],
  [22_000, 'nameserver-3', { kind: 'broker-silent', broker: 'broker-2', silentMs: 3000 }],
  [22_250, 'nameserver-1', { kind: 'broker-silent', broker: 'broker-2', silentMs: 3000 }],
  [23_000, 'broker-3', { kind: 'volume-attached', volume: 4, epoch: 2, size: 9, repairedCopies: 0 }],
  [23_100, 'clients-1', client(1, 'connected', 'backing-off')],
  [23_200, 'clients-1', client(2, 'connected', 'backing-off')],
  [23_300, 'proxy-1', { kind: 'routes-adopted', shard: 4, epoch: 2, broker: 'broker-3' }],
  [23_300, 'proxy-1', { kind: 'routes-adopted', shard: 5, epoch: 1, broker: 'broker-1' }],
  [23_400, 'load-balancer-1', { kind: 'connections-reset', target: 'proxy-2', count: 7 }],
  [25_000, 'clients-1', client(1, 'awaiting-connack', 'connected')],
  [26_500, 'clients-1', client(2, 'awaiting-connack', 'connected')],
  [60_000, 'world', { kind: 'fault-healed', fault: outage }],
  [60_500, 'auditor', { kind: 'routes-adopted', shard: 4, epoch: 2, broker: 'broker-3' }],
  [61_000, 'broker-1', { kind: 'copy-state-changed', volume: 1, copy: 'volume-2', state: 'live' }],
)

describe('the story of a run', () => {
  test('tells what happened, who noticed, what moved and when the last client was back, in time order', () => {
    expect(tellStory(run, machines).map(({ timeUs, tone, text }) => `${timeUs / 1e6} ${tone}: ${text}`)).toEqual([
      '20 fault: zone az2 loses power, with 2 clients on a proxy in it',
      '21 trouble: broker-1 loses the copy on volume-2 of 2 volumes',
      '22 notice: nameserver-1 and nameserver-3 call broker-2 silent, the last 0.25 s later',
      '23 move: broker-3 takes over 1 shard',
      '23.1 client: 2 clients lose their connection, the last 0.10 s later',
      '23.3 move: proxy-1 learns the new owners',
      '23.4 notice: load-balancer-1 resets 7 connections to proxy-2',
      '26.5 client: the last of 2 clients is connected again, 6.50 s after the event',
      '60 heal: zone az2 has power again',
      '61 move: the copy on volume-2 has caught up for 1 volume',
    ])
  })

  test('tells that a target is let in slowly, and that one is drained', () => {
    const entries = history(
      [9000, 'world', { kind: 'fault-applied', fault: outage }],
      [10_000, 'load-balancer-1', { kind: 'target-draining', target: 'proxy-1', connections: 3 }],
      [11_000, 'load-balancer-1', { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 }],
      [11_500, 'load-balancer-3', { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 }],
    )
    const [, ...lines] = tellStory(entries, machines).map(({ text }) => text)
    expect(lines).toEqual([
      'load-balancer-1 sends nothing new to proxy-1, which keeps what it has',
      'load-balancer-1 and load-balancer-3 let proxy-2 in slowly, over 30 s',
    ])
  })

  test('tells how volumes are, which shards go over in order, and to which point a lost disk goes back', () => {
    const health = (ms: number, volume: number, state: 'degraded' | 'whole'): readonly [number, string, ServiceEvent] => [
      ms,
      'broker-1',
      { kind: 'volume-health-changed', volume, epoch: 1, health: state, copiesWhole: 2, copies: 3 },
    ]
    const entries = history(
      [8000, 'broker-1', { kind: 'backup-taken', volume: 4, epoch: 1, offset: 700, copies: ['volume-2', 'volume-3'] }],
      [9000, 'world', { kind: 'fault-applied', fault: outage }],
      health(10_000, 1, 'degraded'),
      health(10_500, 2, 'degraded'),
      [11_000, 'broker-1', { kind: 'volume-lost', volume: 3, epoch: 1, reason: 'destroyed' }],
      [12_000, 'broker-2', { kind: 'volume-restored', volume: 4, epoch: 2, offset: 700, pointAtMs: 1, from: 'volume-3' }],
      [13_000, 'broker-1', { kind: 'shard-handed-over', shard: 5, epoch: 1, to: 'broker-2', why: 'rebalancing' }],
      health(14_000, 1, 'whole'),
    )
    const [, ...lines] = tellStory(entries, machines).map(({ text }) => text)
    expect(lines).toEqual([
      '2 volumes are degraded: a majority of the copies is left, the last 0.50 s later',
      'broker-1 closes 1 shard whose only copy has come back empty',
      'volume 4 goes back to its backup point of 8.00 s (offset 700) on volume-3: what came after is lost',
      'broker-1 hands 1 shard over in order, for a fair spread',
      '1 volume is whole again',
    ])
  })

  test('begins a new line after a long pause', () => {
    const silent = (ms: number): readonly [number, string, ServiceEvent] => [
      ms,
      'nameserver-1',
      { kind: 'broker-silent', broker: 'broker-2', silentMs: 3000 },
    ]
    const entries = history([10_000, 'world', { kind: 'fault-applied', fault: outage }], silent(12_000), silent(40_000))
    expect(tellStory(entries, machines).map(({ timeUs }) => timeUs / 1e6)).toEqual([10, 12, 40])
  })

  test('tells what the instance group does, step by step', () => {
    const step = (ms: number, to: Extract<ServiceEvent, { kind: 'replacement-changed' }>['to']) =>
      [ms, 'instance-group-1', { kind: 'replacement-changed', instance: 'proxy-4', zone: 'az1', to }] as const
    const entries = history(
      [1000, 'instance-group-1', { kind: 'instance-lost', instance: 'proxy-2', silentMs: 11_000 }],
      step(1001, 'starting'),
      step(2000, 'in-service'),
      [3000, 'instance-group-1', { kind: 'capacity-short', missing: 2 }],
      [3500, 'instance-group-1', { kind: 'address-moved', address: '10.2.0.150', from: 'load-balancer-2', to: 'load-balancer-1' }],
      step(4000, 'draining'),
      step(5000, 'stopped'),
    )
    expect(tellStory(entries, machines).map(({ tone, text }) => `${tone}: ${text}`)).toEqual([
      'notice: instance-group-1 calls proxy-2 lost, silent for 11.0 s',
      'move: proxy-4 is started in az1, in place of a lost proxy',
      'move: proxy-4 is in service, and the load balancers are told',
      'trouble: no zone has room for 2 replacements of lost proxies',
      'move: the access address 10.2.0.150 moves from load-balancer-2 to load-balancer-1',
      'move: proxy-4 is needed no more: it gets nothing new, and is stopped later',
      'move: proxy-4 is stopped, and stands by again',
    ])
  })

  test('is empty where nothing went wrong', () => {
    expect(tellStory(run.slice(0, 4), machines)).toEqual([])
  })
})

test('the facts of a run count what was struck, moved and lost', () => {
  expect(gatherFacts(run, machines)).toEqual({ clientsStruck: 2, shardsMoved: 1, copiesLost: 2, faults: 1 })
})

test.each<[Fault, string]>([
  [{ kind: 'crash', machines: ['broker-1', 'broker-2'] }, 'the process of broker-1 and broker-2 dies'],
  [
    { kind: 'partition', from: ['broker-1'], to: ['proxy-1'], bothWays: true },
    'no packet from broker-1 reaches proxy-1, nor the other way',
  ],
  [
    { kind: 'link', from: ['broker-1'], to: ['proxy-1'], addedLatencyMs: 20, lossProbability: 0.01 },
    'the network between broker-1 and proxy-1 is 20 ms slower and losing 1.0% of packets',
  ],
  [{ kind: 'clock-jump', machines: ['a'], byMs: -90_000 }, 'the clock of a jumps 90 s back'],
  [{ kind: 'disk-stall', machines: ['a', 'b', 'c', 'd', 'e', 'f'] }, 'the disk of a, b, c and 3 others stalls'],
])('a fault is told in words: %j', (fault, text) => {
  expect(faultText(fault, 'applied')).toBe(text)
})
