import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createSimWorld } from '../../sim/world.ts'
import type { ServiceEvent } from '../events.ts'
import type { Host } from '../host.ts'
import { defaultSettings, ports, type ServiceSettings } from '../settings.ts'
import { Link } from '../wire/link.ts'
import type { MessageOf, ReplyOf } from '../wire/messages.ts'
import type { VirtualWorld } from '../world.ts'
import { bootNameserver } from './nameserver.ts'

const nameserver = { host: '10.1.0.2', port: ports.nameserver }

type Request = MessageOf<'register'> | MessageOf<'heartbeat'> | MessageOf<'pullRoutes'>
type Reply = ReplyOf<Request['name']>

/** Requests to be sent at times (ms since the start), each over its own or a shared link, and their replies in the order of the requests. */
interface Step {
  readonly atMs: number
  readonly request: Request
  /** Links are dialled at the start, in the order of their numbers. */
  readonly link?: number
}

function worldWithNameserver(shardCount: number, seed = 1, own: Partial<ServiceSettings['nameserver']> = {}): VirtualWorld {
  const world = createSimWorld({ seed, recording: true })
  world.addMachine({
    name: 'nameserver-1',
    zone: 'az1',
    role: 'nameserver',
    address: nameserver.host,
    cores: 2,
    boot: bootNameserver({ settings: { ...defaultSettings, nameserver: { ...defaultSettings.nameserver, ...own } }, shardCount }),
  })
  return world
}

function play(world: VirtualWorld, steps: readonly Step[], untilMs = 60_000): (Reply | undefined)[] {
  const replies: (Reply | undefined)[] = steps.map(() => undefined)
  world.addMachine({
    name: 'caller',
    zone: 'az1',
    role: 'caller',
    address: '10.1.0.9',
    cores: 2,
    boot: (host: Host) => {
      const links = new Map<number, Link>()
      const linkCount = Math.max(...steps.map((step) => step.link ?? 0)) + 1
      for (let n = 0; n < linkCount; n++) host.setTimer(n * 10, () => links.set(n, Link.dial(host, nameserver, {})))
      steps.forEach((step, index) => {
        host.setTimer(step.atMs, () => {
          links.get(step.link ?? 0)!.request(step.request, 1000, (outcome) => {
            if (outcome.kind === 'reply') replies[index] = outcome.message
          })
        })
      })
      return {}
    },
  })
  world.run(untilMs * 1000)
  return replies
}

function register(
  broker: string,
  serving: readonly (readonly [shard: number, epoch: number])[],
  bootId = 1,
  attaching: readonly number[] = [],
): MessageOf<'register'> {
  return {
    name: 'register',
    broker,
    bootId,
    zone: 'az1',
    host: `10.1.1.${broker.charCodeAt(0) - 96}`,
    port: 10911,
    serving: serving.map(([shard, epoch]) => ({ shard, epoch })),
    attaching,
  }
}

function heartbeat(broker: string, bootId = 1): MessageOf<'heartbeat'> {
  return { name: 'heartbeat', broker, bootId }
}

function pull(instance = 0, version = 0): MessageOf<'pullRoutes'> {
  return { name: 'pullRoutes', instance, version }
}

const answered = (reply: Reply | undefined) => reply as MessageOf<'heartbeatAnswer'>
const pulled = (reply: Reply | undefined) => reply as MessageOf<'routes'>
const ownersOf = (reply: Reply | undefined) => pulled(reply).entries.map(({ shard, epoch, broker }) => [shard, epoch, broker])

function eventsOf(world: VirtualWorld): ServiceEvent[] {
  const kinds = ['broker-registered', 'broker-silent', 'route-changed']
  return world.history.filter(({ event }) => kinds.includes(event.kind)).map(({ event }) => event as ServiceEvent)
}

/** Heartbeats of `broker` every second, so that it is never silent. */
function beats(broker: string, fromMs: number, toMs: number): Step[] {
  const steps: Step[] = []
  for (let atMs = fromMs; atMs <= toMs; atMs += 1000) steps.push({ atMs, request: heartbeat(broker) })
  return steps
}

describe('a nameserver', () => {
  test('is young for one expiry, and not longer', () => {
    const replies = play(worldWithNameserver(2), [
      { atMs: 100, request: register('a', []) },
      { atMs: 2900, request: heartbeat('a') },
      { atMs: 3100, request: heartbeat('a') },
    ])
    expect(replies[0]).toMatchObject({ name: 'registered', young: true })
    expect(replies[1]).toMatchObject({ young: true })
    expect(replies[2]).toMatchObject({ young: false })
  })

  test('is young for as many expiries as it is told, also for none', () => {
    const steps: readonly Step[] = [
      { atMs: 100, request: register('a', []) },
      { atMs: 1400, request: heartbeat('a') },
      { atMs: 1600, request: heartbeat('a') },
    ]
    const youngOf = (unknownForExpiries: number) =>
      play(worldWithNameserver(1, 1, { unknownForExpiries }), steps).map((reply) => (reply as { readonly young: boolean }).young)
    expect(youngOf(1)).toEqual([true, true, true])
    expect(youngOf(0.5)).toEqual([true, true, false])
    expect(youngOf(0)).toEqual([false, false, false])
  })

  test('finds silence only at its scans, where it has an interval', () => {
    const silentAtMs = (scanIntervalMs: number) => {
      const world = worldWithNameserver(1, 1, { scanIntervalMs })
      play(world, [{ atMs: 2100, request: register('a', [[0, 1]]) }, ...beats('b', 200, 15_000)])
      return world.history.filter(({ event }) => event.kind === 'broker-silent').map(({ timeUs }) => Math.floor(timeUs / 1000 / 1000))
    }
    // Silent since 2.1 s, so for more than 3 s from 5.1 s on; b asks each second, at 0.2 s past.
    expect(silentAtMs(0)).toEqual([5])
    expect(silentAtMs(5000)).toEqual([10])
  })

  test('asks a broker that it does not know to register', () => {
    const replies = play(worldWithNameserver(1), [{ atMs: 100, request: heartbeat('a') }])
    expect(replies[0]).toMatchObject({ known: false, alive: [] })
  })

  test('calls a shard ownerless that nobody registered, and no longer once somebody did', () => {
    const replies = play(worldWithNameserver(3), [
      { atMs: 100, request: register('a', [[1, 7]]) },
      { atMs: 200, request: heartbeat('a') },
    ])
    const { ownerless, alive } = answered(replies[1])
    expect(ownerless).toEqual([
      { shard: 0, epoch: 0 },
      { shard: 2, epoch: 0 },
    ])
    expect(alive).toEqual(['a'])
  })

  test('calls a shard ownerless that its owner no longer lists, with the epoch it had', () => {
    const replies = play(worldWithNameserver(2), [
      {
        atMs: 100,
        request: register('a', [
          [0, 3],
          [1, 4],
        ]),
      },
      { atMs: 200, request: register('a', [[0, 3]]) },
      { atMs: 300, request: heartbeat('a') },
    ])
    expect(answered(replies[2]).ownerless).toEqual([{ shard: 1, epoch: 4 }])
  })

  test('does not call a shard ownerless while a broker that is heard says it is taking it over', () => {
    const replies = play(worldWithNameserver(2), [
      { atMs: 100, request: register('a', [], 1, [0]) },
      { atMs: 200, request: heartbeat('b') },
      { atMs: 300, request: register('a', [], 1, []) },
      { atMs: 400, request: heartbeat('b') },
    ])
    expect(answered(replies[1]).ownerless).toEqual([{ shard: 1, epoch: 0 }])
    expect(answered(replies[3]).ownerless).toEqual([
      { shard: 0, epoch: 0 },
      { shard: 1, epoch: 0 },
    ])
  })

  test('calls the shards of a silent broker ownerless after one expiry, and says so once', () => {
    const world = worldWithNameserver(1)
    const replies = play(world, [
      { atMs: 100, request: register('a', [[0, 3]]) },
      { atMs: 100, request: register('b', []) },
      ...beats('b', 1000, 6000),
    ])
    const afterSteps = replies.slice(2).map(answered)
    expect(afterSteps.map(({ ownerless }) => ownerless.length)).toEqual([0, 0, 0, 1, 1, 1])
    expect(afterSteps[3]).toMatchObject({ ownerless: [{ shard: 0, epoch: 3 }], alive: ['b'] })
    expect(eventsOf(world).filter(({ kind }) => kind === 'broker-silent')).toEqual([
      { kind: 'broker-silent', broker: 'a', silentMs: expect.any(Number) },
    ])
  })

  test('makes a broker that was silent register again before it counts as alive', () => {
    const world = worldWithNameserver(1)
    const replies = play(world, [
      { atMs: 100, request: register('a', [[0, 3]]) },
      { atMs: 5000, request: heartbeat('a') },
      { atMs: 5100, request: heartbeat('a') },
      { atMs: 5200, request: register('a', [[0, 3]]) },
      { atMs: 5300, request: heartbeat('a') },
    ])
    expect(answered(replies[1])).toMatchObject({ known: false, alive: [], ownerless: [{ shard: 0, epoch: 3 }] })
    expect(answered(replies[2])).toMatchObject({ known: false })
    expect(answered(replies[4])).toMatchObject({ known: true, alive: ['a'], ownerless: [] })
    expect(eventsOf(world).map(({ kind }) => kind)).toEqual(['broker-registered', 'route-changed', 'broker-silent', 'broker-registered'])
  })

  test('takes a higher epoch from whoever brings it, and never goes back to a lower one', () => {
    const replies = play(worldWithNameserver(1), [
      { atMs: 100, request: register('a', [[0, 3]]) },
      { atMs: 200, request: register('b', [[0, 4]]) },
      { atMs: 300, request: register('a', [[0, 3]]) },
      { atMs: 400, request: pull() },
      { atMs: 500, request: heartbeat('a') },
    ])
    expect(ownersOf(replies[3])).toEqual([[0, 4, 'b']])
    expect(answered(replies[4]).ownerless).toEqual([])
  })

  test('does not let a second broker take a route by the same epoch', () => {
    const replies = play(worldWithNameserver(1), [
      { atMs: 100, request: register('a', [[0, 3]]) },
      { atMs: 200, request: register('b', [[0, 3]]) },
      { atMs: 300, request: pull() },
    ])
    expect(ownersOf(replies[2])).toEqual([[0, 3, 'a']])
  })

  test('takes a newer start of a broker for the end of what the older one served', () => {
    const replies = play(worldWithNameserver(1), [
      { atMs: 100, request: register('a', [[0, 3]], 1) },
      { atMs: 200, request: register('a', [], 2) },
      { atMs: 300, request: heartbeat('a', 2) },
      { atMs: 400, request: heartbeat('a', 1) },
    ])
    expect(answered(replies[2])).toMatchObject({ known: true, ownerless: [{ shard: 0, epoch: 3 }] })
    expect(answered(replies[3])).toMatchObject({ known: false })
  })

  test('ignores a late word of an older start', () => {
    const replies = play(worldWithNameserver(1), [
      { atMs: 100, request: register('a', [], 2) },
      { atMs: 200, request: register('a', [[0, 9]], 1) },
      { atMs: 300, request: pull() },
    ])
    expect(pulled(replies[2]).entries).toEqual([])
  })

  test('ignores what was still under way on an older link', () => {
    const replies = play(worldWithNameserver(1), [
      { atMs: 100, link: 1, request: register('a', [[0, 3]]) },
      { atMs: 200, link: 0, request: register('a', []) },
      { atMs: 300, request: heartbeat('a') },
    ])
    expect(answered(replies[2]).ownerless).toEqual([])
  })

  test('keeps shards that it does not have out of the routes', () => {
    const replies = play(worldWithNameserver(1), [
      { atMs: 100, request: register('a', [[5, 3]]) },
      { atMs: 200, request: pull() },
    ])
    expect(pulled(replies[1]).entries).toEqual([])
  })

  test('sends routes only to those who do not have its newest version', () => {
    const seed = 5
    const first = pulled(play(worldWithNameserver(1, seed), [{ atMs: 100, request: pull() }])[0])
    const replies = play(worldWithNameserver(1, seed), [
      { atMs: 100, request: pull(first.instance, first.version) },
      { atMs: 200, request: register('a', [[0, 1]]) },
      { atMs: 300, request: pull(first.instance, first.version) },
      { atMs: 400, request: pull(first.instance, first.version + 1) },
      { atMs: 500, request: pull(first.instance + 1, first.version + 1) },
    ])
    expect(pulled(replies[0])).toMatchObject({ unchanged: true, entries: [] })
    expect(pulled(replies[2])).toMatchObject({ unchanged: false, version: first.version + 1 })
    expect(pulled(replies[2]).entries).toEqual([{ shard: 0, epoch: 1, broker: 'a', host: '10.1.1.1', port: 10911 }])
    expect(pulled(replies[3])).toMatchObject({ unchanged: true, entries: [] })
    expect(pulled(replies[4]).unchanged).toBe(false)
  })

  test('counts versions from another instance after a restart', () => {
    const world = worldWithNameserver(1)
    world.at(1_000_000, () => world.apply({ kind: 'restart', machines: ['nameserver-1'] }))
    const replies = play(world, [
      { atMs: 500, request: pull() },
      { atMs: 3000, request: pull() },
    ])
    expect(pulled(replies[1]).instance).not.toBe(pulled(replies[0]).instance)
  })

  test('drops the connection of a caller that asks what no nameserver is asked', () => {
    const world = worldWithNameserver(1)
    let downs = 0
    world.addMachine({
      name: 'stranger',
      zone: 'az1',
      role: 'stranger',
      address: '10.1.0.9',
      cores: 2,
      boot: (host) => {
        const link = Link.dial(host, nameserver, { onDown: () => downs++ })
        host.setTimer(100, () => link.request({ name: 'ping', proxy: 'p', bootId: 1 }, 1000, () => {}))
        return {}
      },
    })
    world.run(1_000_000)
    expect(downs).toBe(1)
  })

  test('keeps, for any order of registers, the highest epoch and the one who brought it first', () => {
    const registers = fc.array(
      fc.record({ broker: fc.constantFrom('a', 'b', 'c'), shard: fc.nat(1), epoch: fc.integer({ min: 1, max: 5 }) }),
      {
        minLength: 1,
        maxLength: 12,
      },
    )
    fc.assert(
      fc.property(registers, (words) => {
        const expected = new Map<number, readonly [number, number, string]>()
        const steps: Step[] = words.map(({ broker, shard, epoch }, index) => {
          if (epoch > (expected.get(shard)?.[1] ?? 0)) expected.set(shard, [shard, epoch, broker])
          return { atMs: 100 + index * 10, request: register(broker, [[shard, epoch]]) }
        })
        const replies = play(worldWithNameserver(2), [...steps, { atMs: 1000, request: pull() }], 2000)
        expect(ownersOf(replies.at(-1))).toEqual([...expected.values()].sort((a, b) => a[0] - b[0]))
      }),
      { numRuns: 40 },
    )
  })
})
