import { describe, expect, test } from 'vitest'
import { decodePayload } from '../checks/payload.ts'
import { detectionBoundMs } from '../model/client/profile.ts'
import { clientProfiles } from '../model/client/profiles.ts'
import { bootDnsServer } from '../model/cloud/dns-server.ts'
import type { Boot, Connection, Host } from '../model/host.ts'
import { defaultSettings, ports } from '../model/settings.ts'
import { encodeAcknowledgement, encodePacket, encodePublish, PacketReader } from '../model/wire/mqtt-codec.ts'
import type { Packet, Publish } from '../model/wire/packets.ts'
import { topicMatches } from '../model/wire/topic.ts'
import { INTERNET, type VirtualWorld } from '../model/world.ts'
import { createSimWorld } from '../sim/world.ts'
import { bootFleet, createFleetStatistics, type FleetClient, type FleetStatistics } from './fleet.ts'

interface Arrival {
  readonly timeUs: number
  readonly clientId: string
  readonly packet: Packet
}

/** A server of one process: enough of MQTT for clients to be served, and a log of what they sent. Sessions die with it. */
function bootTinyServer(world: () => VirtualWorld, log: Arrival[]): Boot {
  return (host: Host) => {
    const filters = new Map<string, string[]>()
    const connections = new Map<string, Connection>()
    let packetId = 0
    host.listen(ports.mqtt, (connection) => {
      const reader = new PacketReader({ receiver: 'server', maximumPacketBytes: 65_536 })
      let clientId = ''
      const send = (packet: Packet) => connection.write(encodePacket(packet, reader.version!))
      const deliver = (packet: Publish) => {
        for (const [subscriber, wanted] of filters) {
          if (!wanted.some((filter) => topicMatches(filter, packet.topic))) continue
          packetId = (packetId % 0xffff) + 1
          connections.get(subscriber)?.write(encodePublish({ ...packet, dup: false, packetId }, 5))
        }
      }
      const sink = {
        onMalformed() {
          throw new Error('the fleet sent a malformed packet')
        },
        onPacket(packet: Packet) {
          if (packet.type === 'connect') clientId = packet.clientId
          log.push({ timeUs: world().nowUs(), clientId, packet })
          if (packet.type === 'connect') {
            connections.set(clientId, connection)
            send({ type: 'connack', sessionPresent: filters.has(clientId), reasonCode: 0 })
          } else if (packet.type === 'subscribe') {
            filters.set(
              clientId,
              packet.subscriptions.map(({ filter }) => filter),
            )
            send({ type: 'suback', packetId: packet.packetId, reasonCodes: packet.subscriptions.map(({ qos }) => qos) })
          } else if (packet.type === 'publish') {
            if (packet.qos === 1) connection.write(encodeAcknowledgement('puback', packet.packetId, 0, reader.version!))
            if (packet.qos === 2) connection.write(encodeAcknowledgement('pubrec', packet.packetId, 0, reader.version!))
            deliver(packet)
          } else if (packet.type === 'pubrel') {
            connection.write(encodeAcknowledgement('pubcomp', packet.packetId, 0, reader.version!))
          } else if (packet.type === 'pingreq') send({ type: 'pingresp' })
        },
      }
      return { onData: (_connection, bytes) => reader.read(bytes, sink), onClose: () => connections.delete(clientId) }
    })
    return {}
  }
}

function client(number: number, fields: Partial<FleetClient> = {}): FleetClient {
  return {
    number,
    profile: 'recommended',
    version: 5,
    cleanStart: false,
    sessionExpirySeconds: 3600,
    leavesSocketsOpen: false,
    subscribe: [{ filter: `data/${number + 1}`, qos: 1 }],
    publish: { topic: `data/${number}`, qos: 1, intervalMs: 1000, payloadBytes: 40, retain: false },
    away: [],
    awayStaggerMs: 0,
    startAtMs: 100,
    connectStaggerMs: 0,
    ...fields,
  }
}

interface Stage {
  readonly world: VirtualWorld
  readonly log: Arrival[]
  readonly statistics: FleetStatistics
  publishes(clientId: string): { timeUs: number; topic: string; sequence: number }[]
  of(clientId: string, type: Packet['type']): Arrival[]
}

function play(clients: readonly FleetClient[], publishUntilMs = 10_000, seed = 1): Stage {
  const world = createSimWorld({ seed, recording: false })
  const log: Arrival[] = []
  const statistics = createFleetStatistics()
  const machine = (name: string, role: string, zone: string, address: string, boot: Boot) =>
    world.addMachine({ name, role, zone, address, cores: 2, boot })
  machine(
    'dns-1',
    'dns',
    'az1',
    '10.1.0.53',
    bootDnsServer({ settings: defaultSettings, names: [{ name: 'mqtt.example', access: 'public', addresses: ['10.1.0.1'] }] }),
  )
  machine(
    'server',
    'server',
    'az1',
    '10.1.0.1',
    bootTinyServer(() => world, log),
  )
  const fleet = bootFleet({
    clients,
    accessName: 'mqtt.example',
    port: ports.mqtt,
    dnsServers: [{ host: '10.1.0.53', port: ports.dns }],
    publishUntilMs,
    statistics,
  })
  machine('clients-1', 'client', INTERNET, '203.0.113.1', fleet)
  const of = (clientId: string, type: Packet['type']) =>
    log.filter((arrival) => arrival.clientId === clientId && arrival.packet.type === type)
  return {
    world,
    log,
    statistics,
    of,
    publishes: (clientId) =>
      of(clientId, 'publish').map(({ timeUs, packet }) => {
        const { topic, payload } = packet as Publish
        const known = decodePayload(payload)!
        expect(clientId).toBe(`client-${known.publisher}`)
        return { timeUs, topic, sequence: known.sequence }
      }),
  }
}

type Sent<T extends Packet['type']> = Extract<Packet, { type: T }>

/** The packets of one type, as they were sent. */
function sent<T extends Packet['type']>(stage: Stage, clientId: string, type: T): readonly Sent<T>[] {
  return stage.of(clientId, type).map(({ packet }) => packet as Sent<T>)
}

const sequences = (publishes: readonly { sequence: number }[]) => publishes.map(({ sequence }) => sequence)

describe('the fleet', () => {
  test('publishes at its interval with payloads that name publisher and sequence, after a probe of its own', () => {
    const { world, publishes, statistics, of } = play([client(3), client(4)])
    world.run(6_000_000)
    for (const clientId of ['client-3', 'client-4']) {
      const all = publishes(clientId)
      expect(sequences(all)).toEqual(all.map((_, index) => index))
      const probes = all.filter(({ topic }) => topic === `probe/${clientId}`)
      expect(probes).toHaveLength(1)
      const gaps = all
        .filter(({ topic }) => topic.startsWith('data/'))
        .map(({ timeUs }, index, list) => timeUs - (list[index - 1]?.timeUs ?? timeUs))
      expect(gaps.length).toBeGreaterThanOrEqual(5)
      // All but what waited for the connection come a second apart, give or take the network.
      for (const gap of gaps.slice(3)) expect(Math.abs(gap - 1_000_000)).toBeLessThan(200_000)
      const [subscribe] = of(clientId, 'subscribe')
      expect((subscribe!.packet as { subscriptions: readonly { filter: string }[] }).subscriptions.map(({ filter }) => filter)).toContain(
        `probe/${clientId}`,
      )
    }
    expect(statistics).toMatchObject({ connected: 2, probesReturned: 2 })
    expect(statistics.counters.received).toBeGreaterThan(5)
  })

  test('stops publishing in time and stays connected', () => {
    const { world, publishes, statistics, of } = play([client(0)], 3000)
    world.run(60_000_000)
    const last = publishes('client-0').at(-1)!
    expect(last.timeUs).toBeGreaterThan(2_000_000)
    expect(last.timeUs).toBeLessThan(3_300_000)
    expect(statistics.connected).toBe(1)
    expect(of('client-0', 'pingreq').length).toBeGreaterThanOrEqual(5)
  })

  test('comes back after the server was gone, subscribes and probes again, and leaves out no sequence', () => {
    const { world, publishes, statistics, of } = play([client(0)], 30_000)
    world.run(5_000_000)
    const heal = world.apply({ kind: 'crash', machines: ['server'] })
    world.run(9_000_000)
    expect(statistics.connected).toBe(0)
    heal()
    world.run(40_000_000)
    expect(statistics).toMatchObject({ connected: 1, probesReturned: 2 })
    expect(of('client-0', 'subscribe')).toHaveLength(2)
    const all = publishes('client-0')
    expect(new Set(sequences(all)).size).toBe(Math.max(...sequences(all)) + 1)
    expect(statistics.counters.dropped).toBe(0)
    expect(statistics.counters.acknowledged).toBe(new Set(sequences(all)).size)
  })

  test('disconnects a client for good at its time', () => {
    const { world, publishes, statistics, of } = play([client(0, { stopAtMs: 4000 }), client(1)])
    world.run(8_000_000)
    expect(of('client-0', 'disconnect')).toHaveLength(1)
    expect(publishes('client-0').at(-1)!.timeUs).toBeLessThan(4_100_000)
    expect(publishes('client-1').at(-1)!.timeUs).toBeGreaterThan(7_000_000)
    expect(statistics.counters.dropped).toBe(0)
    expect(statistics.connected).toBe(1)
  })

  test('publishes at QoS 2, retained, and with an expiry where it is told to', () => {
    const stage = play([
      client(0, { publish: { topic: 'data/0', qos: 2, intervalMs: 500, payloadBytes: 40, retain: true, expirySeconds: 30 } }),
    ])
    stage.world.run(5_000_000)
    const data = sent(stage, 'client-0', 'publish').filter(({ topic }) => topic === 'data/0')
    expect(data.length).toBeGreaterThan(5)
    for (const { qos, retain, properties } of data)
      expect({ qos, retain, properties }).toEqual({ qos: 2, retain: true, properties: { messageExpiryInterval: 30 } })
    expect(sent(stage, 'client-0', 'pubrel').length).toBeGreaterThanOrEqual(data.length - 1)
  })

  test('connects by user name and password, with a will whose payload is its own for each connection', () => {
    const stage = play([client(0, { username: 'user-0', password: 'secret', will: { qos: 2, retain: true, delaySeconds: 4 } })], 30_000)
    stage.world.run(3_000_000)
    stage.world.apply({ kind: 'restart', machines: ['server'] })
    stage.world.run(8_000_000)
    const connects = sent(stage, 'client-0', 'connect')
    expect(connects.length).toBeGreaterThanOrEqual(2)
    const taken = connects.map(({ will }) => decodePayload(will!.payload)!)
    expect(new Set(taken.map(({ sequence }) => sequence)).size).toBe(connects.length)
    for (const { publisher } of taken) expect(publisher).toBe(0)
    for (const { sequence } of taken) expect(sequences(stage.publishes('client-0'))).not.toContain(sequence)
    const { will, username, password } = connects[0]!
    expect({ ...will, payload: '' }).toEqual({
      topic: 'will/client-0',
      payload: '',
      qos: 2,
      retain: true,
      properties: { willDelayInterval: 4 },
    })
    expect([username, password!.toString()]).toEqual(['user-0', 'secret'])
  })

  test('subscribes again and again while it is connected, to what it subscribed to, and once more when publishing has stopped', () => {
    const stage = play([client(0, { subscribeAgainMs: 1000 })], 6000)
    stage.world.run(20_000_000)
    const again = stage.of('client-0', 'subscribe').slice(1)
    expect(again.length).toBeGreaterThanOrEqual(5)
    for (const { packet } of again) expect((packet as Sent<'subscribe'>).subscriptions.map(({ filter }) => filter)).toEqual(['data/1'])
    expect(again.at(-1)!.timeUs).toBeGreaterThan(6_000_000)
    expect(again.at(-1)!.timeUs).toBeLessThan(7_200_000)
  })

  test.each(['disconnect', 'disconnect-with-will', 'drop'] as const)(
    'is away for its time (%s), publishes nothing meanwhile, and comes back with its sequences',
    (ending) => {
      const away = [{ atMs: 3000, forMs: 4000, ending }]
      const stage = play([client(0, { away, awayStaggerMs: 500, will: { qos: 1, retain: false, delaySeconds: 0 } })], 12_000)
      stage.world.run(5_000_000)
      expect(stage.statistics.connected).toBe(0)
      stage.world.run(14_000_000)
      expect(stage.statistics).toMatchObject({ connected: 1, probesReturned: 2 })
      expect(sent(stage, 'client-0', 'disconnect').map(({ reasonCode }) => reasonCode)).toEqual(
        ending === 'drop' ? [] : [ending === 'disconnect' ? 0 : 4],
      )
      const [, back] = stage.of('client-0', 'connect')
      expect(back!.timeUs).toBeGreaterThanOrEqual(7_000_000)
      expect(back!.timeUs).toBeLessThan(7_600_000)
      const published = stage.publishes('client-0')
      expect(published.filter(({ timeUs }) => timeUs > 3_700_000 && timeUs < 7_000_000)).toEqual([])
      expect(new Set(sequences(published)).size).toBe(published.length)
      expect(published.at(-1)!.timeUs).toBeGreaterThan(11_000_000)
      expect(stage.statistics.counters.dropped).toBe(0)
    },
  )

  test('stays away when its machine is started again meanwhile, and does not go when its time is over', () => {
    const stage = play([client(0, { away: [{ atMs: 3000, forMs: 5000, ending: 'drop' }] })], 12_000)
    stage.world.run(4_000_000)
    stage.world.apply({ kind: 'restart', machines: ['clients-1'] })
    stage.world.run(7_900_000)
    expect(stage.of('client-0', 'connect')).toHaveLength(1)
    stage.world.run(9_000_000)
    expect(stage.of('client-0', 'connect')).toHaveLength(2)
    stage.world.apply({ kind: 'restart', machines: ['clients-1'] })
    stage.world.run(12_000_000)
    expect(stage.of('client-0', 'connect')).toHaveLength(3)
    expect(stage.publishes('client-0').at(-1)!.timeUs).toBeGreaterThan(11_000_000)
  })

  test('goes on with its sequences and its times after its machine was restarted', () => {
    const { world, publishes } = play([client(0)], 12_000)
    world.run(4_000_000)
    world.apply({ kind: 'restart', machines: ['clients-1'] })
    world.run(30_000_000)
    const all = publishes('client-0')
    expect(new Set(sequences(all)).size).toBe(all.length)
    expect(all.at(-1)!.timeUs).toBeGreaterThan(11_000_000)
    expect(all.at(-1)!.timeUs).toBeLessThan(12_300_000)
  })

  test('skips what was due while its machine stood still', () => {
    const { world, publishes } = play([client(0)], 30_000)
    world.run(5_000_000)
    const resume = world.apply({ kind: 'pause', machines: ['clients-1'] })
    world.run(15_000_000)
    resume()
    world.run(20_000_000)
    const published = publishes('client-0').filter(({ topic }) => topic === 'data/0')
    expect(new Set(sequences(published)).size).toBeLessThan(14)
  })

  test('gives each client the same times whoever else is there', () => {
    const times = (clients: readonly FleetClient[]) => {
      const stage = play(clients, 8000)
      stage.world.run(9_000_000)
      return stage.publishes('client-7').filter(({ topic }) => topic === 'data/7')
    }
    const alone = times([client(7, { connectStaggerMs: 2000 })])
    const among = times([client(1), client(7, { connectStaggerMs: 2000 }), client(9)])
    expect(sequences(among)).toEqual(sequences(alone))
    expect(alone.length).toBeGreaterThan(5)
    // The network's draws may differ, those of the workload may not.
    for (const [index, { timeUs }] of alone.entries()) expect(Math.abs(among[index]!.timeUs - timeUs)).toBeLessThan(100_000)
  })

  test.each([
    ['recommended', true, 1000],
    ['recommended', false, 0],
    ['mqtt.js', true, 0],
    ['mqtt.js', false, 0],
  ] as const)(
    'notices that the server went dark within the bound of its profile: %s, publishing: %s',
    (profile, publishing, openWithinMs) => {
      const fields = publishing ? {} : { publish: undefined }
      const { world, statistics } = play([client(0, { profile, ...fields })], 200_000)
      const darkAtUs = 5_300_000
      world.run(darkAtUs)
      expect(statistics.connected).toBe(1)
      world.apply({ kind: 'power-loss', machines: ['server'] })
      world.run(200_000_000, () => statistics.connected === 0)
      const noticedMs = (world.nowUs() - darkAtUs) / 1000
      const boundMs = openWithinMs + detectionBoundMs(clientProfiles[profile], publishing)
      expect(noticedMs).toBeLessThan(boundMs + 100)
      expect(noticedMs).toBeGreaterThan(boundMs / 3)
    },
  )

  test('does not connect all at once where a stagger is set', () => {
    const { world, log } = play(Array.from({ length: 20 }, (_, number) => client(number, { connectStaggerMs: 4000 })))
    world.run(6_000_000)
    const connects = log.filter(({ packet }) => packet.type === 'connect').map(({ timeUs }) => timeUs)
    expect(connects).toHaveLength(20)
    expect(Math.max(...connects) - Math.min(...connects)).toBeGreaterThan(2_000_000)
  })
})
