/**
 * A proxy: takes clients in, speaks MQTT with them, and passes everything on to the shards. It keeps nothing that has to survive it.
 *
 * This file ties the parts together: client connections, shard domains (who serves what, and may we speak for it), publish lanes, broker links, routes.
 */
import type { AccessRules } from '../access.ts'
import { accessOf, type Quotas } from '../console/service-rules.ts'
import type { Address, Boot, Host, Listener, Process } from '../host.ts'
import { RouteTable } from '../nameserver/route-table.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { isTopicShard, type ShardCounts, shardOfClient, shardTotal } from '../shards.ts'
import { Reader } from '../wire/codec.ts'
import { deliveryFlag } from '../wire/delivery-flags.ts'
import { storedMessage } from '../wire/hot-bodies.ts'
import type { MessageOf, RulesDocument } from '../wire/messages.ts'
import type { QoS } from '../wire/packets.ts'
import { type BrokerLink, BrokerLinks, type BrokerLinksOwner } from './broker-links.ts'
import { ClientConnection } from './client-connection.ts'
import { Departure, type DepartureOwner } from './departure.ts'
import type { ProxyContext } from './proxy-context.ts'
import { PublishLane } from './publish-lane.ts'
import { reason } from './reasons.ts'
import { RulesFollower } from './rules-follower.ts'
import { SessionClosings } from './session-closings.ts'
import { ShardDomain } from './shard-domain.ts'
import { TlsHandshakes } from './tls-handshakes.ts'

export interface ProxyConfig {
  readonly counts: ShardCounts
  readonly settings: ServiceSettings
  readonly nameservers: readonly Address[]
  readonly consoles: readonly Address[]
  /** Addresses of the load balancers' nodes, for the proxy to take itself out when it stops. */
  readonly balancers: readonly string[]
  /** In force until a console has told of newer ones. */
  readonly rules: RulesDocument
}

export function bootProxy(config: ProxyConfig): Boot {
  return (host) => new MqttProxy(host, config)
}

/** Sessions named in one `resumeSessions`. */
const RESUME_BATCH = 500

class MqttProxy implements Process, ProxyContext, BrokerLinksOwner, DepartureOwner {
  readonly host: Host
  readonly counts: ShardCounts
  /** With the limits that the rules set in place of the planned ones. */
  settings: ServiceSettings
  access: AccessRules
  quotas: Quotas
  private readonly follower: RulesFollower
  private readonly clients = new Map<number, ClientConnection>()
  private readonly domains: readonly ShardDomain[]
  private readonly lanes: readonly PublishLane[]
  private readonly brokers: BrokerLinks
  private readonly routes: RouteTable
  private readonly closings: SessionClosings
  private readonly handshakes: TlsHandshakes
  private readonly balancers: readonly string[]
  private departure: Departure | undefined
  /** Undefined while no broker is in reach: a proxy that can serve nobody refuses connections, so that probes see it and clients go elsewhere. */
  private listener: Listener | undefined
  private nextHandle = 1

  constructor(host: Host, config: ProxyConfig) {
    this.host = host
    this.counts = config.counts
    this.balancers = config.balancers
    this.settings = withQuotas(config.settings, config.rules.quotas)
    this.access = accessOf(config.rules)
    this.quotas = config.rules.quotas
    const { proxy } = config.settings
    this.brokers = new BrokerLinks(host, config.settings, this)
    this.domains = Array.from({ length: shardTotal(config.counts) }, (_, shard) => {
      return new ShardDomain(host, shard, proxy.requestTimeoutMs, () => this.routes.refreshNow())
    })
    this.lanes = this.domains.slice(0, config.counts.topicShards).map((domain) => new PublishLane(domain, proxy.requestTimeoutMs))
    this.routes = new RouteTable(host, config.nameservers, config.settings, 'periodic', (shard) => this.onRoute(shard))
    this.closings = new SessionClosings(proxy.requestTimeoutMs)
    this.handshakes = new TlsHandshakes(host)
    this.follower = new RulesFollower(host, config.consoles, config.rules, config.settings.console, () => this.onRules())
    this.listen()
    this.armTick(host.random('tick phase').next() * proxy.pingIntervalMs)
  }

  private listen(): void {
    this.listener ??= this.host.listen(ports.mqtt, (connection) => {
      this.host.work('connection', 1)
      const client = new ClientConnection(this, connection, this.nextHandle++)
      this.clients.set(client.handle, client)
      return this.handshakes.begin(client)
    })
  }

  // The end

  stop(done: () => void, withinMs: number): void {
    this.departure ??= new Departure(this.host, this.balancers, withinMs, this, done)
  }

  stopAccepting(): void {
    this.listener?.close()
    this.listener = undefined
  }

  clientCount(): number {
    return this.clients.size
  }

  /** With a word, and their sessions' ends with them. */
  sendAway(count: number): void {
    for (const client of [...this.clients.values()].slice(0, count)) client.disconnect(reason.serverShuttingDown, 'proxy stops')
  }

  hasToldAll(): boolean {
    return this.closings.settled
  }

  // Rules

  private onRules(): void {
    const { rules } = this.follower
    this.settings = withQuotas(this.settings, rules.quotas)
    this.access = accessOf(rules)
    this.quotas = rules.quotas
  }

  hasRoom(): boolean {
    const { connectionsPerProxy } = this.quotas
    if (connectionsPerProxy === 0) return true
    let connections = 0
    for (let shard = this.counts.topicShards; shard < this.domains.length; shard++) connections += this.domains[shard]!.clients.size
    return connections < connectionsPerProxy
  }

  // What client connections ask for

  domainOf(shard: number): ShardDomain {
    return this.domains[shard]!
  }

  sessionDomainOf(clientId: string): ShardDomain {
    return this.domains[shardOfClient(this.counts, clientId)]!
  }

  laneOf(shard: number): PublishLane {
    return this.lanes[shard]!
  }

  acknowledge(shard: number, handle: number, sequence: number): void {
    this.domains[shard]!.broker?.acknowledge(shard, handle, sequence)
  }

  expired(shard: number, handle: number, sequence: number): void {
    this.domains[shard]!.broker?.expired(shard, handle, sequence)
  }

  received(shard: number, handle: number, sequence: number): void {
    this.domains[shard]!.broker?.received(shard, handle, sequence)
  }

  newClientId(): string {
    const random = this.host.random('assigned client ids')
    return `auto-${this.host.machine}-${this.host.bootId}-${this.nextHandle}-${random.below(0x7fff_ffff).toString(36)}`
  }

  onClosed(client: ClientConnection, told?: () => void): void {
    this.clients.delete(client.handle)
    if (client.wasConnected) this.tellClosed(client, told)
  }

  onAbandoned(client: ClientConnection): void {
    this.tellClosed(client)
  }

  private tellClosed(client: ClientConnection, told?: () => void): void {
    const { clientId, epoch, handle, sessionDomain, sessionExpirySeconds: expirySeconds, willAtEnd: will } = client
    const { machine: proxy, bootId } = this.host
    this.closings.add(sessionDomain, { clientId, epoch, proxy, bootId, handle, expirySeconds, will }, told)
  }

  // What brokers say

  onBrokerUp(broker: BrokerLink): void {
    for (const domain of this.domains) if (domain.broker === broker) this.newTerm(domain)
  }

  onBrokerAnswered(broker: BrokerLink): void {
    if (this.departure === undefined) this.listen()
    const nowMs = this.host.nowMs()
    for (const domain of this.domains) {
      if (domain.broker !== broker) continue
      if (!domain.isServedBy(broker)) {
        if (broker.serving.has(domain.shard)) this.routes.refreshNow()
        continue
      }
      domain.lastReachedMs = broker.lastPingSentMs
      if (domain.regained(nowMs)) for (const client of [...domain.clients]) client.flush()
    }
  }

  onDeliver(deliver: MessageOf<'deliver'>): void {
    const reader = new Reader(deliver.message)
    const message = storedMessage.read(reader)
    if (!reader.complete()) throw new Error(`shard ${deliver.shard} delivered a message that does not decode`)
    const receivedAtMs = this.host.nowMs()
    for (const { handle, sequence, qos, flags, subscriptionIdentifiers } of deliver.targets) {
      this.clients.get(handle)?.deliver({
        shard: deliver.shard,
        sequence,
        qos: qos as QoS,
        retain: (flags & deliveryFlag.retain) !== 0,
        dup: (flags & deliveryFlag.dup) !== 0,
        subscriptionIdentifiers,
        message,
        receivedAtMs,
        waitedMs: deliver.waitedMs,
      })
    }
  }

  onRelease({ shard, places }: MessageOf<'release'>): void {
    for (const { handle, sequence } of places) this.clients.get(handle)?.release(shard, sequence)
  }

  onKick(kick: MessageOf<'kickSession'>): void {
    const client = this.clients.get(kick.handle)
    if (client !== undefined && client.clientId === kick.clientId) client.superseded()
  }

  onDrop(drop: MessageOf<'dropConnection'>): void {
    const client = this.clients.get(drop.handle)
    if (client === undefined || client.clientId !== drop.clientId || client.epoch !== drop.epoch) return
    client.disconnect(drop.reasonCode, 'sent away by the console')
  }

  // Routes and terms

  private onRoute(shard: number): void {
    const domain = this.domains[shard]
    const owner = this.routes.owner(shard)
    if (domain === undefined || owner === undefined) return
    domain.broker = this.brokers.to(owner.address)
    domain.epoch = owner.epoch
    // Its last answer was given before the shard was there; nothing can be said in the shard's name until one names it.
    domain.broker.ping()
    this.newTerm(domain)
  }

  private newTerm(domain: ShardDomain): void {
    domain.beginTerm()
    if (isTopicShard(this.counts, domain.shard)) this.lanes[domain.shard]!.restart()
    else {
      this.resume(domain)
      this.closings.pursue(domain)
    }
    for (const client of [...domain.clients]) client.onTerm(domain)
  }

  /** Has the owner of a session shard confirm the connections that an earlier term knew. */
  private resume(domain: ShardDomain): void {
    if (!domain.up) return
    const waiting = [...domain.clients].filter((client) => client.isConnected && client.confirmedTerm !== domain.term)
    for (let at = 0; at < waiting.length; at += RESUME_BATCH) this.resumeBatch(domain, waiting.slice(at, at + RESUME_BATCH))
  }

  private resumeBatch(domain: ShardDomain, batch: readonly ClientConnection[]): void {
    const { term, shard } = domain
    const make = () => {
      const sessions = batch.filter((client) => !client.isClosed()).map(({ clientId, epoch, handle }) => ({ clientId, epoch, handle }))
      return sessions.length === 0 ? undefined : ({ name: 'resumeSessions', shard, sessions } as const)
    }
    domain.ask<'resumeSessions'>(make, this.settings.proxy.requestTimeoutMs, (outcome) => {
      if (domain.term !== term) return
      if (outcome.kind !== 'reply' || outcome.message.outcome !== 'done') {
        domain.retries.later(this, () => this.resume(domain))
        return
      }
      const superseded = new Set(outcome.message.superseded)
      const lost = new Set(outcome.message.lost)
      for (const client of batch) {
        if (client.isClosed()) continue
        if (superseded.has(client.handle)) client.superseded()
        else if (lost.has(client.handle)) client.sessionLost()
        else client.confirmed(term)
      }
    })
  }

  // Time

  private armTick(delayMs: number): void {
    this.host.setTimer(delayMs, () => {
      this.brokers.pingAll()
      this.closeUnreachable()
      const nowMs = this.host.nowMs()
      for (const client of [...this.clients.values()]) client.checkSilence(nowMs)
      for (const domain of this.domains) this.closings.pursue(domain)
      this.armTick(this.settings.proxy.pingIntervalMs)
    })
  }

  /** Clients whose session, or a shard that they subscribe at, has been out of reach for too long: elsewhere they may be served. */
  private closeUnreachable(): void {
    const nowMs = this.host.nowMs()
    const { unreachableCloseMs, pingIntervalMs } = this.settings.proxy
    if (this.domains.every(({ lastReachedMs }) => nowMs - lastReachedMs >= unreachableCloseMs + pingIntervalMs)) {
      this.listener?.close()
      this.listener = undefined
    }
    for (const domain of this.domains) {
      // Out of reach is counted from the first ping without an answer, an interval after the last that had one.
      if (domain.clients.size === 0 || nowMs - domain.lastReachedMs < unreachableCloseMs + pingIntervalMs) continue
      this.host.reached('client closed because its session is out of reach')
      for (const client of [...domain.clients]) client.disconnect(reason.serverBusy, `shard ${domain.shard} out of reach`)
    }
  }
}

function withQuotas(settings: ServiceSettings, { filtersPerClient, payloadBytes }: Quotas): ServiceSettings {
  return { ...settings, proxy: { ...settings.proxy, maximumFilters: filtersPerClient, maximumPayloadBytes: payloadBytes } }
}
