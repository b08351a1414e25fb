/**
 * Many devices on one machine: MQTT clients that stay connected, subscribe, and publish at a steady rate; the process that the client machines of a run boot.
 * A device may have a will, may subscribe again and again to be sent retained messages, and may be away for a time, in which it publishes nothing.
 *
 * Each publish, and the will of each connection, carries (publisher, sequence). After each CONNACK, once its subscriptions are in force, a client publishes a probe to a topic of its own that it
 * subscribes to: when the probe comes back, the client is served again. Devices keep time: what a device missed while it stood still is skipped, not made up for.
 * Sequences, and the time since the first start, survive a restart of the machine, as flash and a real-time clock would have it; sessions' in-flight messages do not.
 * One resolver for each kind of cache serves all clients of the machine. The machine's own work costs nothing: each device is a machine of its own in life.
 */
import { encodePayload } from '../checks/payload.ts'
import { MqttClient } from '../model/client/client.ts'
import { type ClientCounters, createClientCounters } from '../model/client/counters.ts'
import type { ConnectionEnding, MqttClientListener, SubscriptionRequest } from '../model/client/options.ts'
import { clientProfiles, type ProfileName } from '../model/client/profiles.ts'
import { Resolver, type ResolverCache } from '../model/cloud/resolver.ts'
import type { Address, Boot, Host, Timer } from '../model/host.ts'
import type { ProtocolVersion, QoS, Will } from '../model/wire/packets.ts'
import type { TlsVersion } from '../model/wire/tls-flights.ts'

export interface FleetPublishing {
  readonly topic: string
  readonly qos: QoS
  readonly intervalMs: number
  readonly payloadBytes: number
  readonly retain: boolean
  /** MQTT 5: the Message Expiry Interval. */
  readonly expirySeconds?: number
}

export interface FleetWill {
  readonly qos: QoS
  readonly retain: boolean
  /** MQTT 5: the Will Delay Interval. */
  readonly delaySeconds: number
}

export interface FleetAway {
  readonly atMs: number
  readonly forMs: number
  readonly ending: ConnectionEnding
}

export interface FleetClient {
  /** The publisher number; the client id is `client-<number>`. */
  readonly number: number
  readonly profile: ProfileName
  readonly version: ProtocolVersion
  readonly cleanStart: boolean
  readonly sessionExpirySeconds: number
  /** That of the profile where absent. */
  readonly keepaliveSeconds?: number
  /** That of the profile where absent. */
  readonly resolverCache?: ResolverCache
  /** A connection that it gives up stays open. */
  readonly leavesSocketsOpen: boolean
  /** Over TLS of this version, as cost and round trips. */
  readonly tls?: TlsVersion
  readonly username?: string
  readonly password?: string
  readonly subscribe: readonly SubscriptionRequest[]
  /** How often it subscribes again to what it subscribed to. */
  readonly subscribeAgainMs?: number
  readonly publish: FleetPublishing | undefined
  readonly will?: FleetWill
  /** When it is away, in order of time. */
  readonly away: readonly FleetAway[]
  /** It goes, and comes back, at most this much later. */
  readonly awayStaggerMs: number
  readonly startAtMs: number
  /** The client starts at `startAtMs` and at most this much later. */
  readonly connectStaggerMs: number
  /** When it disconnects for good. */
  readonly stopAtMs?: number
}

/** Numbers to watch while a run goes on. The checks do not use them. */
export interface FleetStatistics {
  readonly counters: ClientCounters
  /** Clients that are connected. */
  connected: number
  /** Probes that came back. */
  probesReturned: number
}

export function createFleetStatistics(): FleetStatistics {
  return { counters: createClientCounters(), connected: 0, probesReturned: 0 }
}

export interface FleetConfig {
  readonly clients: readonly FleetClient[]
  readonly accessName: string
  readonly port: number
  readonly dnsServers: readonly Address[]
  /** No workload is published after this; connections stay up, and probes still follow a reconnect. Times count from the machine's first start. */
  readonly publishUntilMs: number
  /** Shared by all machines of a run. */
  readonly statistics: FleetStatistics
}

export function clientIdOf(number: number): string {
  return `client-${number}`
}

export function probeTopicOf(number: number): string {
  return `probe/${clientIdOf(number)}`
}

export function willTopicOf(number: number): string {
  return `will/${clientIdOf(number)}`
}

const PROBE_PAYLOAD_BYTES = 16
const WILL_PAYLOAD_BYTES = 32

/** What a machine keeps over restarts of its process. */
interface Kept {
  readonly nextSequences: Uint32Array
  firstBootWallMs: number | undefined
}

/** What the clients of one machine share. */
interface Machine {
  readonly host: Host
  readonly config: FleetConfig
  /** By how much the time since the first start is ahead of the process's own. */
  readonly sinceFirstStartMs: number
  readonly nextSequences: Uint32Array
}

class Device implements MqttClientListener {
  private readonly machine: Machine
  private readonly spec: FleetClient
  private readonly index: number
  private readonly client: MqttClient
  private nextPublishMs = 0
  private connected = false
  /** Connected, and its subscriptions are in force. */
  private ready = false
  private away = false
  private probe = -1
  private publishTimer: Timer | undefined
  private subscribeTimer: Timer | undefined

  constructor(machine: Machine, index: number, resolver: Resolver) {
    const { host, config } = machine
    const spec = config.clients[index]!
    this.machine = machine
    this.spec = spec
    this.index = index
    this.client = new MqttClient(
      host,
      {
        clientId: clientIdOf(spec.number),
        profile: clientProfiles[spec.profile],
        version: spec.version,
        cleanStart: spec.cleanStart,
        sessionExpirySeconds: spec.sessionExpirySeconds,
        ...(spec.keepaliveSeconds === undefined ? {} : { keepaliveSeconds: spec.keepaliveSeconds }),
        leavesSocketsOpen: spec.leavesSocketsOpen,
        ...(spec.tls === undefined ? {} : { tls: spec.tls }),
        ...(spec.username === undefined ? {} : { username: spec.username }),
        ...(spec.password === undefined ? {} : { password: Buffer.from(spec.password) }),
        ...(spec.will === undefined ? {} : { will: () => this.nextWill(spec.will!) }),
        accessName: config.accessName,
        port: config.port,
        resolver,
        counters: config.statistics.counters,
      },
      this,
    )
    const random = host.random(`workload ${clientIdOf(spec.number)}`)
    const startMs = spec.startAtMs + random.next() * spec.connectStaggerMs
    const phase = random.next()
    host.setTimer(this.delayUntil(this.planAway(startMs)), () => this.start())
    if (spec.stopAtMs !== undefined) host.setTimer(this.delayUntil(spec.stopAtMs), () => this.stop())
    if (spec.publish !== undefined) {
      this.nextPublishMs = startMs + phase * spec.publish.intervalMs
      this.awaitNextPublish(spec.publish.intervalMs)
    }
    if (spec.subscribeAgainMs !== undefined) this.awaitNextSubscribe(spec.subscribeAgainMs, startMs + random.next() * spec.subscribeAgainMs)
  }

  stop(): void {
    this.publishTimer?.cancel()
    this.subscribeTimer?.cancel()
    this.client.stop()
    this.noteConnected(false)
  }

  onConnected(): void {
    this.noteConnected(true)
  }

  onReady(): void {
    this.ready = true
    this.probe = this.publish({ topic: probeTopicOf(this.spec.number), qos: 1, payloadBytes: PROBE_PAYLOAD_BYTES, retain: false })
  }

  onClosed(): void {
    this.ready = false
    this.noteConnected(false)
  }

  onMessage(topic: string, payload: Buffer): void {
    if (this.probe < 0 || topic !== probeTopicOf(this.spec.number)) return
    if (!payload.equals(encodePayload(this.spec.number, this.probe, PROBE_PAYLOAD_BYTES))) return
    this.probe = -1
    this.machine.config.statistics.probesReturned++
  }

  onPublished(): void {}

  private start(): void {
    if (this.client.state !== 'idle') return
    this.client.subscribe([...this.spec.subscribe, { filter: probeTopicOf(this.spec.number), qos: 1 }])
    this.client.start()
  }

  /**
   * Sets the timers of its times away, as far as they are still to come.
   * @returns when it starts: where its machine was started again while it is away, at the end of that.
   */
  private planAway(startMs: number): number {
    if (this.spec.away.length === 0) return startMs
    const { host } = this.machine
    const random = host.random(`away ${clientIdOf(this.spec.number)}`)
    const nowMs = this.nowMs()
    let startsAtMs = startMs
    for (const { atMs, forMs, ending } of this.spec.away) {
      const fromMs = atMs + random.next() * this.spec.awayStaggerMs
      const toMs = fromMs + forMs
      if (nowMs >= toMs) continue
      if (nowMs >= fromMs) {
        startsAtMs = toMs
        continue
      }
      host.setTimer(this.delayUntil(fromMs), () => this.goAway(ending))
      host.setTimer(this.delayUntil(toMs), () => this.comeBack())
    }
    return startsAtMs
  }

  private goAway(ending: ConnectionEnding): void {
    if (this.client.state === 'idle' || this.client.state === 'stopped') return
    this.away = true
    this.ready = false
    this.client.goAway(ending)
    this.noteConnected(false)
  }

  private comeBack(): void {
    if (!this.away) return
    this.away = false
    if (this.client.state !== 'stopped') this.client.comeBack()
  }

  private takeSequence(): number {
    const { nextSequences } = this.machine
    const sequence = nextSequences[this.index]!
    nextSequences[this.index] = sequence + 1
    return sequence
  }

  /** @returns the sequence that it was published with. */
  private publish({ topic, qos, payloadBytes, retain, expirySeconds }: Omit<FleetPublishing, 'intervalMs'>): number {
    const sequence = this.takeSequence()
    const payload = encodePayload(this.spec.number, sequence, payloadBytes)
    const properties = expirySeconds === undefined ? {} : { properties: { messageExpiryInterval: expirySeconds } }
    this.client.publish({ topic, payload, qos, retain, ...properties }, sequence)
    return sequence
  }

  /** The will of the next connection. */
  private nextWill({ qos, retain, delaySeconds }: FleetWill): Will {
    const payload = encodePayload(this.spec.number, this.takeSequence(), WILL_PAYLOAD_BYTES)
    const properties = delaySeconds === 0 ? {} : { properties: { willDelayInterval: delaySeconds } }
    return { topic: willTopicOf(this.spec.number), payload, qos, retain, ...properties }
  }

  /** What is retained is read once more after publishing has stopped. */
  private awaitNextSubscribe(periodMs: number, dueMs: number): void {
    if (dueMs > this.machine.config.publishUntilMs + periodMs) return
    this.subscribeTimer = this.machine.host.setTimer(this.delayUntil(dueMs), () => {
      if (this.ready) this.client.subscribe(this.spec.subscribe)
      this.awaitNextSubscribe(periodMs, Math.max(dueMs, this.nowMs()) + periodMs)
    })
  }

  private awaitNextPublish(intervalMs: number): void {
    const lateMs = this.nowMs() - this.nextPublishMs
    if (lateMs > 0) this.nextPublishMs += Math.ceil(lateMs / intervalMs) * intervalMs
    if (this.nextPublishMs > this.machine.config.publishUntilMs) return
    this.publishTimer = this.machine.host.setTimer(this.delayUntil(this.nextPublishMs), () => this.onPublishDue())
  }

  private onPublishDue(): void {
    const publishing = this.spec.publish!
    if (!this.away) this.publish(publishing)
    this.nextPublishMs += publishing.intervalMs
    this.awaitNextPublish(publishing.intervalMs)
  }

  private nowMs(): number {
    return this.machine.host.nowMs() + this.machine.sinceFirstStartMs
  }

  private delayUntil(timeMs: number): number {
    return Math.max(0, timeMs - this.nowMs())
  }

  private noteConnected(connected: boolean): void {
    if (this.connected === connected) return
    this.connected = connected
    this.machine.config.statistics.connected += connected ? 1 : -1
  }
}

/** The clients of one machine. One call makes one machine: what it keeps over restarts lives in the returned Boot. */
export function bootFleet(config: FleetConfig): Boot {
  const kept: Kept = { nextSequences: new Uint32Array(config.clients.length), firstBootWallMs: undefined }
  return (host) => {
    const wallMs = host.wallMs()
    kept.firstBootWallMs ??= wallMs
    const machine: Machine = { host, config, sinceFirstStartMs: wallMs - kept.firstBootWallMs, nextSequences: kept.nextSequences }
    const resolvers = new Map<ResolverCache, Resolver>()
    const resolverFor = (cache: ResolverCache): Resolver => {
      const known = resolvers.get(cache)
      if (known !== undefined) return known
      const resolver = new Resolver(host, config.dnsServers, { cache })
      resolvers.set(cache, resolver)
      return resolver
    }
    const devices = config.clients.map(
      (spec, index) => new Device(machine, index, resolverFor(spec.resolverCache ?? clientProfiles[spec.profile].resolverCache)),
    )
    return {
      stop(done) {
        for (const device of devices) device.stop()
        done()
      },
    }
  }
}
