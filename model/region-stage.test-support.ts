/**
 * A whole region in the simulator, and clients that a test plays by hand: for stories about sessions, messages and failovers. Nothing is faked but the clients.
 */
import { createSimWorld } from '../sim/world.ts'
import { type Asked, ConsoleClient, type ConsoleRequest } from './console/console-client.ts'
import type { Address, Host } from './host.ts'
import { defaultRegion, planRegion, type RegionPlan, type RegionSpec } from './region.ts'
import { ScriptedClient, type ScriptedConnect, type ScriptedFilter, type ScriptedPublish } from './scripted-client.test-support.ts'
import { defaultSettings, ports, type ServiceSettings } from './settings.ts'
import { shardOfClient } from './shards.ts'
import { Reader } from './wire/codec.ts'
import { Link, type Outcome } from './wire/link.ts'
import { type MessageOf, type ReplyOf, type RequestName, type StoredMessage, storedMessageField } from './wire/messages.ts'
import type { Fault, Heal, HistoryEntry, VirtualWorld } from './world.ts'
import { INTERNET } from './world.ts'

type SettingsChange = { readonly [Part in keyof ServiceSettings]?: Partial<ServiceSettings[Part]> }

export interface StageOptions {
  readonly seed?: number
  readonly region?: Partial<Omit<RegionSpec, 'settings'>>
  readonly settings?: SettingsChange
}

export interface ConnectOptions extends ScriptedConnect {
  /** Number of the proxy to connect to, 1 by default. */
  readonly proxy?: number
  /** Where to connect instead of a proxy. */
  readonly address?: Address
}

export interface QueryOptions {
  readonly fromMs?: number
  readonly toMs?: number
  readonly afterOffset?: number
  readonly limit?: number
  readonly broker?: string
}

const PATIENCE_MS = 20_000
const STEP_US = 1000
/** For routes and pings to reach every proxy after the shards stand. */
const SETTLE_MS = 1500
const ASK_TIMEOUT_MS = 5000
/** For a console that is asked in vain and then another. */
const CONSOLE_PATIENCE_MS = 60_000

export class Stage {
  readonly world: VirtualWorld
  readonly plan: RegionPlan
  readonly settings: ServiceSettings
  private readonly spec: RegionSpec
  private readonly links = new Map<string, Link>()
  private readonly sentTo = new Map<ScriptedClient, number[]>()
  private console: ConsoleClient | undefined
  private readonly sentToConnection: number[][] = []
  /** The machine that the clients stand on. */
  clientHost!: Host
  /** A machine of the service's operators, from which brokers and consoles can be reached. */
  insideHost!: Host

  /** A region at work: every shard is served and every proxy knows where. */
  constructor(options: StageOptions = {}) {
    this.settings = withChanges(options.settings ?? {})
    this.spec = { ...defaultRegion, ...options.region, settings: this.settings }
    this.plan = planRegion(this.spec)
    this.world = createSimWorld({ seed: options.seed ?? 1, recording: true })
    for (const machine of this.plan.machines) this.world.addMachine(machine)
    this.world.observeSockets('client', {
      onConnect: (connectionId) => {
        this.sentToConnection[connectionId] = []
      },
      onOpen() {},
      onSent() {},
      onReceived: (connectionId, _bytes, _timeUs, sentAtUs) => this.sentToConnection[connectionId]!.push(sentAtUs / 1000),
      onClosed() {},
    })
    this.world.addMachine({
      name: 'clients-1',
      zone: INTERNET,
      role: 'client',
      address: '203.0.0.1',
      cores: 64,
      boot: (host) => {
        this.clientHost = host
        return {}
      },
    })
    this.world.addMachine({
      name: 'inside-1',
      zone: 'ops',
      role: 'inside',
      address: '10.255.0.1',
      cores: 64,
      boot: (host) => {
        this.insideHost = host
        return {}
      },
    })
    this.until(() => this.allServed(), 'every shard to be served')
    this.run(SETTLE_MS)
  }

  // Time

  run(ms: number): void {
    this.world.run(this.world.nowUs() + ms * 1000)
  }

  /** Lets time pass until a condition holds, looked at once a millisecond. */
  until(condition: () => boolean, what: string, withinMs: number = PATIENCE_MS): void {
    const deadlineUs = this.world.nowUs() + withinMs * 1000
    while (!condition()) {
      if (this.world.nowUs() >= deadlineUs) throw new Error(`waited ${withinMs} ms in vain for ${what}`)
      this.world.run(this.world.nowUs() + STEP_US)
    }
  }

  get nowMs(): number {
    return this.world.nowUs() / 1000
  }

  // The region

  apply(fault: Fault): Heal {
    return this.world.apply(fault)
  }

  crash(...machines: readonly string[]): Heal {
    return this.apply({ kind: 'crash', machines })
  }

  /** No packet between a machine and the others of a set, either way. */
  part(from: readonly string[], to: readonly string[]): Heal {
    return this.apply({ kind: 'partition', from, to, bothWays: true })
  }

  events(kind: string, machine?: string): readonly HistoryEntry[] {
    return this.world.history.filter((entry) => entry.event.kind === kind && (machine === undefined || entry.machine === machine))
  }

  /** The broker that began to serve a shard last. */
  ownerOf(shard: number): string {
    const entries = this.servingEntries().filter((entry) => shardOfEntry(entry) === shard)
    const last = entries.at(-1)
    if (last === undefined) throw new Error(`nobody has served shard ${shard}`)
    return last.machine
  }

  /** How often a shard has begun to be served. */
  timesServed(shard: number): number {
    return this.servingEntries().filter((entry) => shardOfEntry(entry) === shard).length
  }

  /** Kills the owner of a shard and waits until another broker serves it. */
  failOver(shard: number): Heal {
    const before = this.timesServed(shard)
    const heal = this.crash(this.ownerOf(shard))
    this.until(() => this.timesServed(shard) > before, `shard ${shard} to be served again`)
    return heal
  }

  shardOfTopic(topic: string): number {
    return this.plan.shardOfTopic(topic)
  }

  sessionShardOf(clientId: string): number {
    return shardOfClient(this.spec, clientId)
  }

  /** A topic of the given topic shard. */
  topicOn(shard: number, prefix = 'topic'): string {
    for (let i = 0; ; i++) if (this.shardOfTopic(`${prefix}/${i}`) === shard) return `${prefix}/${i}`
  }

  /** A client id whose session shard the given broker serves. */
  clientIdServedBy(broker: string, prefix = 'client'): string {
    for (let i = 0; ; i++) if (this.ownerOf(this.sessionShardOf(`${prefix}-${i}`)) === broker) return `${prefix}-${i}`
  }

  proxyAddress(proxy: number): Address {
    const spec = this.plan.machines.find((machine) => machine.name === `proxy-${proxy}`)
    if (spec === undefined) throw new Error(`there is no proxy-${proxy}`)
    return { host: spec.address, port: ports.mqtt }
  }

  get proxies(): readonly string[] {
    return this.plan.machines.filter((machine) => machine.role === 'proxy').map((machine) => machine.name)
  }

  get brokers(): readonly string[] {
    return this.plan.machines.filter((machine) => machine.role === 'broker').map((machine) => machine.name)
  }

  // Clients

  /** Opens a connection and sends nothing. */
  open(options: ConnectOptions = {}): ScriptedClient {
    const client = new ScriptedClient(this.clientHost, options.address ?? this.proxyAddress(options.proxy ?? 1), options)
    this.sentTo.set(client, this.sentToConnection.at(-1)!)
    return client
  }

  /** When the bytes that came to a client left the proxy: true times, which the network's delays do not blur. */
  sentToMs(client: ScriptedClient): readonly number[] {
    return this.sentTo.get(client)!
  }

  /** Sends CONNECT, and does not wait. */
  dial(options: ConnectOptions = {}): ScriptedClient {
    const client = this.open(options)
    client.connect(options)
    return client
  }

  /** A client that has its CONNACK. */
  connect(options: ConnectOptions = {}): ScriptedClient {
    const client = this.dial(options)
    this.until(() => client.connack !== undefined || client.closed !== undefined, `CONNACK for ${options.clientId ?? 'scripted'}`)
    if (client.connack === undefined) throw new Error(`the connection closed without CONNACK: ${client.closed!.reason}`)
    return client
  }

  /** Subscribes, waits for SUBACK and gives its codes. */
  subscribe(client: ScriptedClient, filters: readonly (string | ScriptedFilter)[], subscriptionIdentifier?: number): readonly number[] {
    const packetId = client.subscribe(filters, subscriptionIdentifier)
    const answer = () => client.of('suback').find((packet) => packet.packetId === packetId)
    this.until(() => answer() !== undefined, `SUBACK for ${JSON.stringify(filters)}`)
    return answer()!.reasonCodes
  }

  /** Publishes and waits for the last acknowledgement. QoS 1 unless said otherwise. */
  publish(client: ScriptedClient, topic: string, payload: string | Buffer, qos: 1 | 2 = 1, given: ScriptedPublish = {}): number {
    const before = client.received.length
    const packetId = client.publish(topic, payload, qos, given)
    const last = qos === 1 ? 'puback' : 'pubcomp'
    const isThere = () => client.received.slice(before).some((packet) => packet.type === last && packet.packetId === packetId)
    this.until(isThere, `${last.toUpperCase()} for ${topic}`)
    return packetId
  }

  // Queries

  /** Asks the owner of the topic's shard, or the broker that is named. */
  query(topic: string, options: QueryOptions = {}): MessageOf<'messagesFound'> {
    const shard = this.shardOfTopic(topic)
    const { fromMs = 0, toMs = Number.MAX_SAFE_INTEGER, afterOffset = 0, limit = 1000, broker = this.ownerOf(shard) } = options
    return this.ask(broker, { name: 'queryMessages', shard, topic, fromMs, toMs, afterOffset, limit })
  }

  /** What a copy says of a shard's volume: its size, and where replay and the log begin. Asked for by an epoch that no copy promises. */
  copyOf(shard: number, copy = 'volume-1'): MessageOf<'volumePrepared'> {
    return this.ask(copy, { name: 'volumePrepare', volume: shard, epoch: 0, owner: 'nobody' })
  }

  /** A request of the region's own kind, to a broker or copy server. */
  private ask<N extends RequestName>(machine: string, request: MessageOf<N>): ReplyOf<N> {
    const link = this.linkTo(machine)
    this.until(() => link.up, `a link to ${machine}`)
    const outcomes: Outcome<ReplyOf<N>>[] = []
    this.insideHost.setTimer(0, () => link.request(request, ASK_TIMEOUT_MS, (outcome) => outcomes.push(outcome)))
    this.until(() => outcomes.length > 0, `the answer of ${machine}`)
    const outcome = outcomes[0]!
    if (outcome.kind !== 'reply') throw new Error(`${machine} did not answer: ${outcome.kind}`)
    return outcome.message
  }

  /** Asks the consoles, one after the other, until one has answered. */
  askConsole<N extends ConsoleRequest>(request: Asked<N>): ReplyOf<N> {
    this.console ??= new ConsoleClient(this.insideHost, this.plan.consoles)
    const answers: (ReplyOf<N> | undefined)[] = []
    const { console } = this
    this.insideHost.setTimer(0, () => console.ask(request, (answer) => answers.push(answer)))
    this.until(() => answers.length > 0, `a console to answer ${request.name}`, CONSOLE_PATIENCE_MS)
    const answer = answers[0]
    if (answer === undefined) throw new Error(`no console has answered ${request.name}`)
    return answer
  }

  /** All messages of a topic, page by page, as the texts of their payloads. */
  stored(topic: string, page = 500): string[] {
    const texts: string[] = []
    let afterOffset = 0
    for (;;) {
      const found = this.query(topic, { afterOffset, limit: page })
      if (found.outcome !== 'found') throw new Error(`the query was answered ${found.outcome}`)
      for (const { message, offset } of found.messages) {
        texts.push(decodeStored(message).payload.toString())
        afterOffset = offset
      }
      if (!found.more) return texts
    }
  }

  private linkTo(name: string): Link {
    let link = this.links.get(name)
    if (link === undefined) {
      const machine = this.plan.machines.find((spec) => spec.name === name)
      if (machine === undefined) throw new Error(`there is no ${name}`)
      link = Link.dial(this.insideHost, { host: machine.address, port: machine.role === 'volume' ? ports.volume : ports.broker }, {})
      this.links.set(name, link)
    }
    return link
  }

  private servingEntries(): readonly HistoryEntry[] {
    return this.events('shard-state-changed').filter((entry) => (entry.event as unknown as { readonly to: string }).to === 'serving')
  }

  private allServed(): boolean {
    return new Set(this.servingEntries().map(shardOfEntry)).size === this.plan.shardCount
  }
}

export function decodeStored(message: Buffer): StoredMessage {
  const reader = new Reader(message)
  const stored = storedMessageField.read(reader)
  if (!reader.complete()) throw new Error('a stored message does not decode')
  return stored
}

function shardOfEntry(entry: HistoryEntry): number {
  return (entry.event as unknown as { readonly shard: number }).shard
}

function withChanges(changes: SettingsChange): ServiceSettings {
  const { nameserver, broker, volume, proxy, loadBalancer, dns, instanceGroup, console } = defaultSettings
  return {
    nameserver: { ...nameserver, ...changes.nameserver },
    broker: { ...broker, ...changes.broker },
    volume: { ...volume, ...changes.volume },
    proxy: { ...proxy, ...changes.proxy },
    loadBalancer: { ...loadBalancer, ...changes.loadBalancer },
    dns: { ...dns, ...changes.dns },
    console: { ...console, ...changes.console },
    instanceGroup: { ...instanceGroup, ...changes.instanceGroup },
  }
}
