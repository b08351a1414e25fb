import { describe, expect, test } from 'vitest'
import { createSimWorld } from '../../sim/world.ts'
import type { Host } from '../host.ts'
import { defaultSettings, ports, type ServiceSettings } from '../settings.ts'
import type { VirtualWorld } from '../world.ts'
import { bootNameserver } from './nameserver.ts'
import { Registration, type ServedShard } from './registration.ts'

const addresses = [1, 2, 3].map((zone) => ({ host: `10.${zone}.0.2`, port: ports.nameserver }))

/** A region of three nameservers, and brokers that do nothing but register. */
class Region {
  readonly world: VirtualWorld = createSimWorld({ seed: 1, recording: true })
  readonly registrations = new Map<string, Registration>()
  readonly hosts = new Map<string, Host>()
  readonly serving = new Map<string, readonly ServedShard[]>()
  readonly ticks = new Map<string, number>()

  /** What each broker found shard 0 to be at its ticks. */
  readonly found = new Map<string, (number | undefined)[]>()
  private readonly settings: ServiceSettings

  constructor(shardCount = 2, settings: ServiceSettings = defaultSettings) {
    this.settings = settings
    addresses.forEach(({ host }, index) => {
      this.world.addMachine({
        name: `nameserver-${index + 1}`,
        zone: `az${index + 1}`,
        role: 'nameserver',
        address: host,
        cores: 2,
        boot: bootNameserver({ settings, shardCount }),
      })
    })
  }

  addBroker(zone: number, serving: readonly ServedShard[] = []): void {
    const broker = `broker-${zone}`
    this.serving.set(broker, serving)
    this.world.addMachine({
      name: broker,
      zone: `az${zone}`,
      role: 'broker',
      address: `10.${zone}.0.3`,
      cores: 2,
      boot: (host) => {
        this.hosts.set(broker, host)
        const registration = new Registration(host, {
          broker,
          address: { host: host.address, port: ports.broker },
          nameservers: addresses,
          settings: this.settings,
          serving: () => this.serving.get(broker)!,
          attaching: () => [],
          onTick: () => {
            this.ticks.set(broker, (this.ticks.get(broker) ?? 0) + 1)
            this.found.set(broker, [...(this.found.get(broker) ?? []), registration.ownerless(0)?.epoch])
          },
        })
        this.registrations.set(broker, registration)
        return {}
      },
    })
  }

  serve(broker: string, serving: readonly ServedShard[]): void {
    this.serving.set(broker, serving)
    this.registrations.get(broker)!.changed()
  }

  runTo(seconds: number): void {
    this.world.run(seconds * 1_000_000)
  }

  crash(...machines: string[]): () => void {
    return this.world.apply({ kind: 'crash', machines })
  }

  of(broker: string): Registration {
    return this.registrations.get(broker)!
  }
}

describe('ownerless', () => {
  test('is unknown while the nameservers are young, and then what nobody ever served has epoch 0', () => {
    const region = new Region()
    region.addBroker(1)
    region.runTo(2.9)
    expect(region.of('broker-1').ownerless(0)).toBeUndefined()
    region.runTo(4.5)
    expect(region.of('broker-1').ownerless(0)).toEqual({ epoch: 0 })
    expect(region.ticks.get('broker-1')).toBeGreaterThan(0)
  })

  test('ends when some broker serves the shard and has told the nameservers', () => {
    const region = new Region()
    region.addBroker(1)
    region.addBroker(2)
    region.runTo(5)
    expect(region.of('broker-2').ownerless(0)).toEqual({ epoch: 0 })
    region.serve('broker-1', [{ shard: 0, epoch: 1 }])
    region.runTo(6.5)
    expect(region.of('broker-2').ownerless(0)).toBeUndefined()
    expect(region.of('broker-2').ownerless(1)).toEqual({ epoch: 0 })
  })

  test('is said of the shards of a broker that died, with their epoch, after one expiry and not before', () => {
    const region = new Region()
    region.addBroker(1, [
      { shard: 0, epoch: 7 },
      { shard: 1, epoch: 3 },
    ])
    region.addBroker(2)
    region.runTo(10)
    expect(region.of('broker-2').ownerless(0)).toBeUndefined()
    region.crash('broker-1')
    region.runTo(11.5)
    expect(region.of('broker-2').ownerless(0)).toBeUndefined()
    region.runTo(15)
    expect(region.of('broker-2').ownerless(0)).toEqual({ epoch: 7 })
    expect(region.of('broker-2').ownerless(1)).toEqual({ epoch: 3 })
  })

  test('needs a majority of all nameservers, dead ones counted', () => {
    const region = new Region()
    region.addBroker(1)
    region.runTo(5)
    region.crash('nameserver-1')
    region.runTo(8)
    expect(region.of('broker-1').ownerless(0)).toEqual({ epoch: 0 })
    region.crash('nameserver-2')
    region.runTo(11)
    expect(region.of('broker-1').ownerless(0)).toBeUndefined()
  })

  test('is not said on answers to an earlier heartbeat, which slow heartbeats make old', () => {
    const slow: ServiceSettings = {
      ...defaultSettings,
      nameserver: { ...defaultSettings.nameserver, expiryMs: 25_000 },
      broker: { ...defaultSettings.broker, heartbeatIntervalMs: 20_000 },
    }
    const region = new Region(2, slow)
    region.addBroker(1)
    region.addBroker(2)
    region.runTo(46)
    expect(region.found.get('broker-2')).toContain(0)
    region.serve('broker-1', [{ shard: 0, epoch: 1 }])
    region.runTo(47)
    region.found.clear()
    // The first answer that tells of it comes while those of the two other nameservers, 20 s old, still call the shard ownerless.
    region.runTo(90)
    expect(region.found.get('broker-2')!.length).toBeGreaterThanOrEqual(6)
    expect(new Set(region.found.get('broker-2'))).toEqual(new Set([undefined]))
  })

  test('is not said on the word of nameservers that have just started', () => {
    const region = new Region()
    region.addBroker(1, [{ shard: 0, epoch: 1 }])
    region.addBroker(2)
    region.runTo(5)
    // Broker 1 cannot tell the nameservers that start anew what it serves.
    region.world.apply({ kind: 'partition', from: ['broker-1'], to: ['nameserver-1', 'nameserver-2'], bothWays: true })
    region.world.apply({ kind: 'restart', machines: ['nameserver-1', 'nameserver-2'] })
    region.runTo(7.5)
    expect(region.of('broker-2').ownerless(0)).toBeUndefined()
    region.runTo(10)
    expect(region.of('broker-2').ownerless(0)).toEqual({ epoch: 0 })
  })

  test('is not said by a broker that hears no nameserver', () => {
    const region = new Region()
    region.addBroker(1)
    region.runTo(5)
    region.world.apply({ kind: 'zone-outage', zone: 'az2', form: 'isolated' })
    region.world.apply({ kind: 'zone-outage', zone: 'az3', form: 'isolated' })
    region.runTo(7)
    expect(region.of('broker-1').ownerless(0)).toBeUndefined()
  })
})

describe('alive', () => {
  test('names the brokers that a majority hears, sorted, and drops one that died', () => {
    const region = new Region()
    region.addBroker(3)
    region.addBroker(1)
    region.addBroker(2)
    region.runTo(5)
    expect(region.of('broker-3').alive()).toEqual(['broker-1', 'broker-2', 'broker-3'])
    region.crash('broker-1')
    region.runTo(10)
    expect(region.of('broker-3').alive()).toEqual(['broker-2', 'broker-3'])
  })

  test('is the broker itself where no nameserver is heard', () => {
    const region = new Region()
    region.addBroker(1)
    region.addBroker(2)
    region.runTo(5)
    expect(region.of('broker-1').alive()).toEqual(['broker-1', 'broker-2'])
    region.crash('nameserver-1', 'nameserver-2', 'nameserver-3')
    region.runTo(8)
    expect(region.of('broker-1').alive()).toEqual(['broker-1'])
  })
})

describe('a registration', () => {
  test('comes back after its nameserver restarts', () => {
    const region = new Region()
    region.addBroker(1, [{ shard: 0, epoch: 4 }])
    region.runTo(5)
    region.world.apply({ kind: 'restart', machines: ['nameserver-1', 'nameserver-2', 'nameserver-3'] })
    region.runTo(7)
    const routes = region.world.history.filter(({ event, timeUs }) => event.kind === 'route-changed' && timeUs > 5_000_000)
    expect(routes.map(({ machine, event }) => [machine, event])).toEqual(
      expect.arrayContaining([1, 2, 3].map((n) => [`nameserver-${n}`, { kind: 'route-changed', shard: 0, epoch: 4, broker: 'broker-1' }])),
    )
    region.runTo(11)
    expect(region.of('broker-1').ownerless(0)).toBeUndefined()
    expect(region.of('broker-1').ownerless(1)).toEqual({ epoch: 0 })
  })

  test('comes back after its broker was paused for longer than the expiry', () => {
    const region = new Region()
    region.addBroker(1, [{ shard: 0, epoch: 4 }])
    region.addBroker(2)
    region.runTo(5)
    const heal = region.world.apply({ kind: 'pause', machines: ['broker-1'] })
    region.runTo(9)
    expect(region.of('broker-2').alive()).toEqual(['broker-2'])
    expect(region.of('broker-2').ownerless(0)).toEqual({ epoch: 4 })
    heal()
    region.runTo(11.5)
    expect(region.of('broker-2').alive()).toEqual(['broker-1', 'broker-2'])
    expect(region.of('broker-2').ownerless(0)).toBeUndefined()
  })

  test('tells, after a partition, what changed during it', () => {
    const region = new Region()
    region.addBroker(1)
    region.addBroker(2)
    region.runTo(5)
    const heal = region.world.apply({
      kind: 'partition',
      from: ['broker-1'],
      to: ['nameserver-1', 'nameserver-2', 'nameserver-3'],
      bothWays: true,
    })
    region.runTo(6)
    region.serve('broker-1', [{ shard: 1, epoch: 2 }])
    region.runTo(12)
    expect(region.of('broker-2').ownerless(1)).toEqual({ epoch: 0 })
    heal()
    region.runTo(16)
    expect(region.of('broker-2').ownerless(1)).toBeUndefined()
    expect(region.of('broker-2').alive()).toEqual(['broker-1', 'broker-2'])
  })

  test('is told once of all that changes in one instant, as it is in the end', () => {
    const region = new Region()
    region.addBroker(1)
    region.runTo(5.2)
    const eventsFor = (changes: number, fromEpoch: number) => {
      const before = region.world.counters().events
      const nowUs = region.world.nowUs()
      for (let change = 0; change < changes; change++) region.serve('broker-1', [{ shard: 0, epoch: fromEpoch + change }])
      region.world.run(nowUs + 100_000)
      return region.world.counters().events - before
    }
    const ofOne = eventsFor(1, 1)
    expect(eventsFor(20, 2)).toBe(ofOne)
    const told = region.world.history.flatMap(({ event }) =>
      event.kind === 'route-changed' ? [(event as unknown as { epoch: number }).epoch] : [],
    )
    expect(told).toEqual([1, 1, 1, 21, 21, 21])
  })

  test('costs few events when nothing happens', () => {
    const region = new Region()
    for (const zone of [1, 2, 3]) region.addBroker(zone)
    region.runTo(10)
    const before = region.world.counters().events
    region.runTo(20)
    // Three brokers, three nameservers: a heartbeat and its answer are two deliveries; and a timer each.
    expect((region.world.counters().events - before) / 10).toBeLessThanOrEqual(35)
  })
})
