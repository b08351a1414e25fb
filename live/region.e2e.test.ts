/**
 * The whole service on real sockets and files, with MQTT.js as its client. What holds in the simulator is shown to hold outside it: messages pass, a broker and a proxy may die.
 *
 * The settings are those of the default region divided by three to five: a failover then takes about two seconds of real time, and leases are still an order of magnitude longer than
 * the pauses of a busy test machine.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync, type IClientOptions, type IConnackPacket, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { defaultRegion, planRegion } from '../model/region.ts'
import { defaultSettings, ports, type ServiceSettings } from '../model/settings.ts'
import { createLiveWorld, type LiveWorld } from './world.ts'

const settings: ServiceSettings = {
  ...defaultSettings,
  nameserver: { ...defaultSettings.nameserver, expiryMs: 1000 },
  broker: { ...defaultSettings.broker, heartbeatIntervalMs: 250, takeoverStaggerMs: 200 },
  volume: { ...defaultSettings.volume, leaseMs: 1000, leaseRenewIntervalMs: 250, requestTimeoutMs: 700 },
  proxy: { ...defaultSettings.proxy, routePullIntervalMs: 250, pingIntervalMs: 250, sessionLeaseMs: 800, requestTimeoutMs: 800 },
  loadBalancer: { ...defaultSettings.loadBalancer, probeIntervalMs: 400, probeTimeoutMs: 300, unhealthyThreshold: 2, healthyThreshold: 1 },
}
const plan = planRegion({ ...defaultRegion, topicShards: 3, sessionShards: 3, settings })

describe('a region on real TCP sockets [MQTT-4.2-1]', () => {
  let directory = ''
  let world: LiveWorld
  const clients: MqttClient[] = []

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'squall-region-'))
    world = createLiveWorld({ directory, recording: true })
    for (const machine of plan.machines) world.addMachine(machine)
    await until(() => servedShards().size === plan.shardCount, 'every shard to be served')
    await until(() => healthyTargets() >= 9, 'every load balancer to see every proxy')
  })
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.endAsync(true)))
  })
  afterAll(async () => {
    const thrown = world.history.filter(({ event }) => event.kind === 'process-ended' && (event as { cause?: string }).cause === 'threw')
    await world.close()
    rmSync(directory, { recursive: true })
    expect(thrown).toEqual([])
  })

  async function until(condition: () => boolean, what: string, withinMs = 10_000): Promise<void> {
    const endMs = performance.now() + withinMs
    while (!condition()) {
      if (performance.now() > endMs) throw new Error(`waited ${withinMs} ms in vain for ${what}`)
      await sleep(10)
    }
  }

  /** Which broker serves each shard, by what brokers said last. */
  function servedShards(): ReadonlyMap<number, string> {
    const owners = new Map<number, string>()
    for (const { machine, event } of world.history) {
      const { kind, shard, to } = event as { kind: string; shard?: number; to?: string }
      if (kind === 'shard-state-changed' && shard !== undefined && to === 'serving') owners.set(shard, machine)
    }
    return owners
  }

  function healthyTargets(): number {
    const states = new Map<string, boolean>()
    for (const { machine, event } of world.history) {
      const { kind, target, healthy } = event as { kind: string; target?: string; healthy?: boolean }
      if (kind === 'target-state-changed') states.set(`${machine} ${target}`, healthy === true)
    }
    return [...states.values()].filter((healthy) => healthy).length
  }

  /** The proxy that a client was last connected through. */
  function proxyOf(clientId: string): string {
    const entry = world.history.findLast(
      ({ event }) => event.kind === 'client-connected' && (event as { clientId?: string }).clientId === clientId,
    )
    if (entry === undefined) throw new Error(`no proxy has seen ${clientId}`)
    return entry.machine
  }

  async function connect(zone: number, options: IClientOptions): Promise<MqttClient> {
    const { host, port } = world.externalAddress(`load-balancer-${zone}`, ports.mqtt)
    const client = await connectAsync(`mqtt://${host}:${port}`, {
      reconnectPeriod: 200,
      connectTimeout: 2000,
      resubscribe: false,
      ...options,
    })
    clients.push(client)
    return client
  }

  /** Collects the payloads that a client gets, as text. */
  function inboxOf(client: MqttClient): { readonly topic: string; readonly text: string; readonly qos: number }[] {
    const inbox: { topic: string; text: string; qos: number }[] = []
    client.on('message', (topic, payload, packet) => inbox.push({ topic, text: payload.toString(), qos: packet.qos }))
    return inbox
  }

  test.each([4, 5] as const)('takes MQTT.js in and carries its messages, QoS 0 and 1 (version %i)', async (protocolVersion) => {
    const subscriber = await connect(1, { protocolVersion, clientId: `subscriber-${protocolVersion}` })
    const publisher = await connect(3, { protocolVersion, clientId: `publisher-${protocolVersion}` })
    const inbox = inboxOf(subscriber)
    const granted = await subscriber.subscribeAsync({ [`v${protocolVersion}/+/state`]: { qos: 1 } })
    expect(granted.map(({ qos }) => qos)).toEqual([1])
    for (let i = 0; i < 30; i++) await publisher.publishAsync(`v${protocolVersion}/${i % 3}/state`, `stored ${i}`, { qos: 1 })
    await publisher.publishAsync(`v${protocolVersion}/0/state`, 'passing', { qos: 0 })
    await publisher.publishAsync(`v${protocolVersion}/0/other`, 'unwanted', { qos: 1 })
    await until(() => inbox.length >= 31, '31 messages')
    await sleep(200)
    expect(
      inbox
        .filter(({ qos }) => qos === 1)
        .map(({ text }) => text)
        .sort(),
    ).toEqual(Array.from({ length: 30 }, (_, i) => `stored ${i}`).sort())
    expect(inbox.filter(({ qos }) => qos === 0).map(({ text }) => text)).toEqual(['passing'])
  })

  test('goes on after a broker was killed, and every acknowledged message arrives', async () => {
    const victim = 'broker-2'
    const topics = Array.from({ length: 12 }, (_, i) => `load/${i}`)
    expect(
      [...servedShards()].some(([shard, broker]) => broker === victim && topics.some((topic) => plan.shardOfTopic(topic) === shard)),
    ).toBe(true)
    const subscriber = await connect(1, {
      protocolVersion: 5,
      clientId: 'subscriber',
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    })
    const publisher = await connect(2, {
      protocolVersion: 5,
      clientId: 'publisher',
      clean: false,
      properties: { sessionExpiryInterval: 600 },
    })
    const inbox = inboxOf(subscriber)
    await subscriber.subscribeAsync('load/#', { qos: 1 })
    const acknowledged = new Set<string>()
    const acknowledgedTopics = new Set<string>()
    let sequence = 0
    const publishOne = () => {
      const topic = topics[sequence % topics.length]!
      const text = `${topic} ${sequence++}`
      publisher.publish(topic, text, { qos: 1 }, (error) => {
        if (error !== undefined && error !== null) return
        acknowledged.add(text)
        acknowledgedTopics.add(topic)
      })
    }
    const timer = setInterval(publishOne, 5)
    await until(() => acknowledged.size >= 100, 'the first acknowledgements')
    const heal = world.apply({ kind: 'crash', machines: [victim] })
    await until(() => ![...servedShards().values()].includes(victim), 'its shards to be served elsewhere')
    acknowledgedTopics.clear()
    await until(() => acknowledgedTopics.size === topics.length, 'acknowledgements on every topic')
    clearInterval(timer)
    await until(() => acknowledged.size === sequence, 'every acknowledgement')
    await until(() => new Set(inbox.map(({ text }) => text)).size >= acknowledged.size, 'every message')
    const arrived = new Set(inbox.map(({ text }) => text))
    expect([...acknowledged].filter((text) => !arrived.has(text))).toEqual([])
    const registrations = () => world.history.filter(({ event }) => event.kind === 'broker-registered').length
    const before = registrations()
    heal()
    await until(() => registrations() >= before + plan.nameservers.length, 'the broker to be back')
  })

  test.each([3, 4, 5] as const)('carries QoS 2 once and in order (version %i)', async (version) => {
    const dialect = version === 3 ? { protocolId: 'MQIsdp' as const, protocolVersion: 3 as const } : { protocolVersion: version }
    const subscriber = await connect(2, { ...dialect, clientId: `twice-never-${version}` })
    const publisher = await connect(1, { ...dialect, clientId: `sends-once-${version}` })
    const inbox = inboxOf(subscriber)
    await subscriber.subscribeAsync(`once/${version}`, { qos: 2 })
    const texts = Array.from({ length: 20 }, (_, i) => `message ${i}`)
    await Promise.all(texts.map((text) => publisher.publishAsync(`once/${version}`, text, { qos: 2 })))
    await until(() => inbox.length >= texts.length, 'every message')
    await sleep(200)
    expect(inbox.map(({ text }) => text)).toEqual(texts)
    expect(new Set(inbox.map(({ qos }) => qos))).toEqual(new Set([2]))
  })

  test('sends the will of a client that is cut off, and of none that says goodbye', async () => {
    const heir = await connect(3, { protocolVersion: 5, clientId: 'heir' })
    const inbox = inboxOf(heir)
    await heir.subscribeAsync('wills/#', { qos: 1 })
    const withWill = (clientId: string) => {
      const will = { topic: `wills/${clientId}`, payload: Buffer.from(`${clientId} is gone`), qos: 1 as const, retain: false }
      return connect(1, { protocolVersion: 4, clientId, reconnectPeriod: 0, will })
    }
    const [polite, torn] = [await withWill('polite'), await withWill('torn')]
    await polite.endAsync()
    torn.stream.destroy()
    await until(() => inbox.length > 0, 'the will')
    await sleep(500)
    expect(inbox.map(({ topic, text }) => `${topic}: ${text}`)).toEqual(['wills/torn: torn is gone'])
  })

  test('keeps the last retained message of a topic for those who come later, until it is cleared', async () => {
    const publisher = await connect(1, { protocolVersion: 5, clientId: 'keeps' })
    await publisher.publishAsync('state/lamp', 'off', { qos: 1, retain: true })
    await publisher.publishAsync('state/lamp', 'on', { qos: 0, retain: true })
    await publisher.publishAsync('state/door', 'shut', { qos: 1, retain: true })
    await publisher.publishAsync('state/door', '', { qos: 1, retain: true })
    const late = await connect(2, { protocolVersion: 5, clientId: 'late' })
    const inbox = inboxOf(late)
    await late.subscribeAsync('state/+', { qos: 1 })
    await until(() => inbox.length > 0, 'the retained message')
    await sleep(300)
    expect(inbox.map(({ topic, text }) => `${topic}: ${text}`)).toEqual(['state/lamp: on'])
  })

  test('gives each message to one member of a shared subscription, across zones', async () => {
    const members = await Promise.all([1, 2, 3].map((zone) => connect(zone, { protocolVersion: 5, clientId: `worker-${zone}` })))
    const inboxes = members.map(inboxOf)
    for (const member of members) await member.subscribeAsync('$share/workers/jobs/#', { qos: 1 })
    const publisher = await connect(1, { protocolVersion: 5, clientId: 'employer' })
    const jobs = Array.from({ length: 30 }, (_, i) => `job ${i}`)
    for (const [i, job] of jobs.entries()) await publisher.publishAsync(`jobs/${i % 5}`, job, { qos: 1 })
    await until(() => inboxes.flat().length >= jobs.length, 'every job')
    await sleep(200)
    const done = inboxes.flat().map(({ text }) => text)
    expect(done.sort()).toEqual(jobs.sort())
    expect(inboxes.every((inbox) => inbox.length > 0)).toBe(true)
  })

  test('keeps a session and its subscriptions when the proxy of its client is killed', async () => {
    const options = { protocolVersion: 4, clientId: 'keeper', clean: false } as const
    const keeper = await connect(1, options)
    const connacks: IConnackPacket[] = []
    keeper.on('connect', (connack) => connacks.push(connack))
    const inbox = inboxOf(keeper)
    await keeper.subscribeAsync('kept/#', { qos: 1 })
    const publisher = await connect(2, { protocolVersion: 4, clientId: 'other' })
    const proxy = proxyOf('keeper')
    const closed = new Promise<void>((resolve) => keeper.once('close', () => resolve()))
    const heal = world.apply({ kind: 'crash', machines: [proxy] })
    await closed
    await publisher.publishAsync('kept/a', 'meanwhile', { qos: 1 })
    await until(() => connacks.length > 0, 'the client to be back')
    expect(connacks[0]!.sessionPresent).toBe(true)
    expect(proxyOf('keeper')).not.toBe(proxy)
    await publisher.publishAsync('kept/b', 'afterwards', { qos: 1 })
    await until(() => inbox.length >= 2, 'both messages')
    expect(inbox.map(({ text }) => text).sort()).toEqual(['afterwards', 'meanwhile'])
    heal()
  })
})
