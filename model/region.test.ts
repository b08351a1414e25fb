import { describe, expect, test } from 'vitest'
import { Resolver } from './cloud/resolver.ts'
import { defaultRegion, planRegion } from './region.ts'
import { Stage } from './region-stage.test-support.ts'
import { defaultSettings, ports } from './settings.ts'

describe('the plan of a region', () => {
  test('has one machine of every role in each of three zones by default, and a proxy that stands by', () => {
    const { machines, shardCount } = planRegion(defaultRegion)
    for (const zone of ['az1', 'az2', 'az3']) {
      const inZone = machines.filter((machine) => machine.zone === zone)
      const roles = inZone.filter(({ standby }) => standby !== true).map((machine) => machine.role)
      expect([...roles].sort()).toEqual(['broker', 'console', 'dns', 'instance-group', 'load-balancer', 'nameserver', 'proxy', 'volume'])
      expect(inZone.flatMap(({ role, standby }) => (standby === true ? [role] : []))).toEqual(['proxy'])
    }
    expect(machines.length).toBe(27)
    expect(shardCount).toBe(12)
  })

  test('numbers machines through the zones and gives each an address of its own', () => {
    const plan = planRegion({ ...defaultRegion, zones: 5, brokersPerZone: 3, proxiesPerZone: 20, nameserversPerZone: 2 })
    const names = new Set(plan.machines.map((machine) => machine.name))
    const addresses = new Set(plan.machines.map((machine) => machine.address))
    expect(names.size).toBe(plan.machines.length)
    expect(addresses.size).toBe(plan.machines.length)
    expect(plan.machines.find((machine) => machine.name === 'broker-4')?.zone).toBe('az2')
    expect(plan.machines.filter((machine) => machine.role === 'volume').length).toBe(5)
    expect(plan.nameservers.length).toBe(10)
    expect(plan.brokers.map(({ name }) => name)).toContain('broker-15')
  })

  test('puts every machine into the network of its own zone, so that a zone that is lost takes its own machines and no others', () => {
    for (const machine of planRegion(defaultRegion).machines) {
      const number = machine.zone.replace('az', '')
      expect(machine.address.startsWith(`10.${number}.`), `${machine.name} in ${machine.zone} has ${machine.address}`).toBe(true)
    }
    for (const role of ['broker', 'proxy', 'nameserver', 'volume', 'load-balancer', 'dns', 'console', 'instance-group']) {
      const zones = planRegion(defaultRegion).machines.flatMap((each) => (each.role === role && each.standby !== true ? [each.zone] : []))
      expect(zones, role).toEqual(['az1', 'az2', 'az3'])
    }
  })

  test('tells which shard holds a topic', () => {
    const plan = planRegion({ ...defaultRegion, topicShards: 4 })
    const shards = Array.from({ length: 100 }, (_, i) => plan.shardOfTopic(`data/${i}`))
    expect(new Set(shards)).toEqual(new Set([0, 1, 2, 3]))
  })
})

describe('a region', () => {
  test('costs at most 100 events a simulated second at rest', () => {
    const stage = new Stage()
    const before = stage.world.counters().events
    stage.run(60_000)
    expect((stage.world.counters().events - before) / 60).toBeLessThanOrEqual(100)
  })

  test('serves clients by its domain name, through any of its load balancers', () => {
    const stage = new Stage()
    let addresses: readonly string[] = []
    const resolver = new Resolver(stage.clientHost, stage.plan.dnsServers, { cache: 'ttl' })
    stage.clientHost.setTimer(0, () =>
      resolver.resolve(stage.plan.accessName, (answer) => {
        addresses = answer
      }),
    )
    stage.until(() => addresses.length > 0, 'the answer of the DNS')
    expect([...addresses].sort()).toEqual(stage.plan.machines.filter(({ role }) => role === 'load-balancer').map(({ address }) => address))
    const clients = addresses.map((host, i) => stage.connect({ clientId: `client-${i}`, address: { host, port: ports.mqtt } }))
    for (const client of clients) stage.subscribe(client, ['news'])
    stage.publish(clients[0]!, 'news', 'to all')
    stage.until(() => clients.every((client) => client.messages.length === 1), 'the message at every client')
  })

  test('with several machines of a role in a zone, and few shards, works as well', () => {
    const stage = new Stage({ region: { nameserversPerZone: 2, brokersPerZone: 2, proxiesPerZone: 2, topicShards: 1, sessionShards: 1 } })
    const [first, last] = [stage.connect({ clientId: 'first', proxy: 1 }), stage.connect({ clientId: 'last', proxy: 6 })]
    stage.subscribe(last, ['#'])
    stage.publish(first, 'a', 'x')
    stage.until(() => last.messages.length === 1, 'the message')
  })

  test('outlives the loss of a zone: its shards move, its sessions are taken in elsewhere, nothing acknowledged is lost', () => {
    const stage = new Stage()
    const options = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    const subscriber = stage.connect({ clientId: 'subscriber', proxy: 2, ...options })
    stage.subscribe(subscriber, ['#'])
    const topics = Array.from({ length: 12 }, (_, i) => `t/${i}`)
    for (const topic of topics) stage.publish(publisher, topic, `before ${topic}`)
    stage.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    const atRisk = topics.map((topic) => publisher.publish(topic, `during ${topic}`))
    stage.until(() => atRisk.every((packetId) => publisher.pubackOf(packetId) !== undefined), 'every PUBACK', 10_000)
    const back = stage.connect({ clientId: 'subscriber', proxy: 1, ...options })
    expect(back.connack?.sessionPresent).toBe(true)
    const expected = topics.flatMap((topic) => [`before ${topic}`, `during ${topic}`]).sort()
    stage.until(() => new Set([...subscriber.messages, ...back.messages]).size === expected.length, 'every message')
    for (const topic of topics) expect(stage.stored(topic)).toEqual([`before ${topic}`, `during ${topic}`])
  })

  test('is the same twice from one seed, and another from another', () => {
    const digestOf = (seed: number) => {
      const stage = new Stage({ seed })
      const client = stage.connect({ clientId: 'client' })
      stage.subscribe(client, ['#'])
      for (let i = 0; i < 20; i++) stage.publish(client, `t/${i}`, `m${i}`)
      stage.failOver(0)
      return stage.world.counters().digest
    }
    const digest = digestOf(7)
    expect(digestOf(7)).toBe(digest)
    expect(digestOf(8)).not.toBe(digest)
  })
})

test('default settings keep every lease within what stands behind it', () => {
  const { broker, nameserver, proxy, volume } = defaultSettings
  expect(proxy.sessionLeaseMs).toBeLessThanOrEqual(volume.leaseMs)
  expect(proxy.pingIntervalMs * 2).toBeLessThanOrEqual(proxy.sessionLeaseMs)
  expect(volume.leaseRenewIntervalMs * 2).toBeLessThan(volume.leaseMs)
  expect(broker.heartbeatIntervalMs * 2).toBeLessThan(nameserver.expiryMs)
})
