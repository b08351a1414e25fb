import { describe, expect, test } from 'vitest'
import { createSimWorld } from '../../sim/world.ts'
import type { Host } from '../host.ts'
import { defaultSettings, ports } from '../settings.ts'
import { Link } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'
import type { VirtualWorld } from '../world.ts'
import { RouteTable } from './route-table.ts'

type Entry = MessageOf<'routes'>['entries'][number]

const addresses = [1, 2, 3].map((zone) => ({ host: `10.${zone}.0.2`, port: ports.nameserver }))

function entry(shard: number, epoch: number, broker: string): Entry {
  return { shard, epoch, broker, host: `10.9.0.${epoch}`, port: ports.broker }
}

/** A proxy with a route table, and nameservers that say what the test tells them to. */
class Region {
  readonly world: VirtualWorld = createSimWorld({ seed: 1, recording: true })
  readonly entries: Entry[][] = [[], [], []]
  readonly version = [0, 0, 0]
  /** How often each nameserver was asked. */
  readonly pulls = [0, 0, 0]
  readonly changes: number[] = []
  table!: RouteTable

  constructor(pulling: 'periodic' | 'on-demand' = 'periodic') {
    addresses.forEach(({ host }, index) => {
      this.world.addMachine({
        name: `nameserver-${index + 1}`,
        zone: `az${index + 1}`,
        role: 'nameserver',
        address: host,
        cores: 2,
        boot: (host) => this.bootTold(host, index),
      })
    })
    this.world.addMachine({
      name: 'proxy-1',
      zone: 'az1',
      role: 'proxy',
      address: '10.1.0.4',
      cores: 2,
      boot: (host) => {
        this.table = new RouteTable(host, addresses, defaultSettings, pulling, (shard) => this.changes.push(shard))
        return {}
      },
    })
  }

  say(nameserver: number, ...entries: Entry[]): void {
    this.entries[nameserver - 1] = entries
    this.version[nameserver - 1]!++
  }

  runTo(seconds: number): void {
    this.world.run(seconds * 1_000_000)
  }

  totalPulls(): number {
    return this.pulls.reduce((sum, count) => sum + count, 0)
  }

  private bootTold(host: Host, index: number): object {
    const onRequest = (_link: Link, message: Message, reply: (message: Message) => void) => {
      if (message.name !== 'pullRoutes') return
      this.pulls[index]!++
      const version = this.version[index]!
      const unchanged = message.instance === 77 && message.version === version
      reply({ name: 'routes', instance: 77, version, young: false, unchanged, entries: unchanged ? [] : this.entries[index]! })
    }
    host.listen(ports.nameserver, (connection) => Link.accept(host, connection, { onRequest }))
    return {}
  }
}

describe('a route table', () => {
  test('knows the routes soon after the start, and tells of each', () => {
    const region = new Region()
    region.say(2, entry(0, 1, 'broker-1'), entry(5, 2, 'broker-2'))
    region.runTo(0.1)
    expect(region.table.owner(0)).toEqual({ epoch: 1, broker: 'broker-1', address: { host: '10.9.0.1', port: ports.broker } })
    expect(region.table.owner(5)?.broker).toBe('broker-2')
    expect(region.table.owner(1)).toBeUndefined()
    expect(region.changes).toEqual([0, 5])
    const adopted = region.world.history.filter(({ event }) => event.kind === 'routes-adopted').map(({ event }) => event)
    expect(adopted[0]).toEqual({ kind: 'routes-adopted', shard: 0, epoch: 1, broker: 'broker-1' })
  })

  test('hears every nameserver within one pull interval each, one pull an interval', () => {
    const region = new Region()
    region.runTo(10)
    const before = [...region.pulls]
    region.say(3, entry(0, 1, 'broker-1'))
    region.runTo(13.1)
    expect(region.table.owner(0)?.epoch).toBe(1)
    region.runTo(16)
    expect(region.pulls.map((count, index) => count - before[index]!)).toEqual([2, 2, 2])
  })

  test('never goes back to a lower epoch, whichever nameserver lags behind', () => {
    const region = new Region()
    for (const nameserver of [1, 2, 3]) region.say(nameserver, entry(0, 3, 'broker-1'))
    region.runTo(2)
    region.say(2, entry(0, 4, 'broker-2'))
    region.runTo(6)
    // The others have newer versions, and still not the newer owner.
    region.say(1, entry(0, 3, 'broker-1'), entry(1, 1, 'broker-1'))
    region.say(3, entry(0, 3, 'broker-1'), entry(2, 1, 'broker-1'))
    region.runTo(10)
    expect(region.table.owner(0)).toMatchObject({ epoch: 4, broker: 'broker-2' })
    expect(region.table.owner(1)?.epoch).toBe(1)
    expect(region.table.owner(2)?.epoch).toBe(1)
    expect(region.changes.filter((shard) => shard === 0)).toEqual([0, 0])
  })

  test('keeps the owner it has where another claims the same epoch', () => {
    const region = new Region()
    region.say(1, entry(0, 3, 'broker-1'))
    region.runTo(2)
    region.say(2, { ...entry(0, 3, 'broker-2'), host: '10.9.9.9' })
    region.runTo(6)
    expect(region.table.owner(0)?.broker).toBe('broker-1')
    expect(region.changes).toEqual([0])
  })

  test('asks all nameservers at once after an error, and hears of a move within milliseconds', () => {
    const region = new Region()
    for (const nameserver of [1, 2, 3]) region.say(nameserver, entry(0, 1, 'broker-1'))
    region.runTo(10)
    region.say(3, entry(0, 2, 'broker-2'))
    region.table.refreshNow()
    region.runTo(10.02)
    expect(region.table.owner(0)?.epoch).toBe(2)
  })

  test('asks once for a burst of errors, and once more at the end of 100 ms', () => {
    const region = new Region()
    region.runTo(10)
    const before = region.totalPulls()
    for (let n = 0; n < 50; n++) region.table.refreshNow()
    region.runTo(10.05)
    region.table.refreshNow()
    region.runTo(10.08)
    const first = region.totalPulls() - before
    expect(first).toBeGreaterThanOrEqual(3)
    expect(first).toBeLessThanOrEqual(4)
    region.runTo(10.2)
    const both = region.totalPulls() - before
    expect(both).toBeGreaterThanOrEqual(6)
    expect(both).toBeLessThanOrEqual(7)
  })

  test('pulls only when asked to where that is all it is for', () => {
    const region = new Region('on-demand')
    region.runTo(10)
    expect(region.totalPulls()).toBe(3)
    region.say(1, entry(0, 1, 'broker-1'))
    region.runTo(20)
    expect(region.table.owner(0)).toBeUndefined()
    region.table.refreshNow()
    region.runTo(20.02)
    expect(region.table.owner(0)?.epoch).toBe(1)
  })

  test('goes on with the nameservers that are left, without a turn lost on a dead one', () => {
    const region = new Region()
    region.runTo(5)
    region.world.apply({ kind: 'crash', machines: ['nameserver-1', 'nameserver-2'] })
    region.runTo(6)
    const before = region.pulls[2]!
    region.runTo(12)
    expect(region.pulls[2]! - before).toBe(6)
  })

  test('gives up a connection on which a nameserver is silent, and asks the others instead', () => {
    const region = new Region()
    region.runTo(5)
    const heal = region.world.apply({ kind: 'partition', from: ['proxy-1'], to: ['nameserver-1', 'nameserver-2'], bothWays: true })
    region.runTo(10)
    const before = region.pulls[2]!
    region.runTo(16)
    expect(region.pulls[2]! - before).toBe(6)
    heal()
    region.runTo(18.5)
    const all = [...region.pulls]
    region.runTo(24.5)
    expect(region.pulls.map((count, index) => count - all[index]!)).toEqual([2, 2, 2])
  })

  test('keeps what it knows when no nameserver is left, and learns anew when they are back', () => {
    const region = new Region()
    region.say(1, entry(0, 1, 'broker-1'))
    region.runTo(2)
    const heal = region.world.apply({ kind: 'crash', machines: ['nameserver-1', 'nameserver-2', 'nameserver-3'] })
    region.runTo(20)
    expect(region.table.owner(0)?.epoch).toBe(1)
    region.say(2, entry(0, 2, 'broker-2'))
    heal()
    region.runTo(22)
    expect(region.table.owner(0)?.epoch).toBe(2)
  })
})
