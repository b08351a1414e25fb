/**
 * One client's connection: from CONNECT to the close, through the states `awaiting-connect`, `opening-session`, `connected`, `closed`.
 *
 * Promises: nothing that an acknowledgement reveals is only here; and nothing leaves for the client (acknowledgement, message, PINGRESP) but while the owner of its session
 * has confirmed it in the present term and holds its word (`canSend`). What is ready meanwhile waits; a client whose session stays out of reach is closed by the proxy.
 */
import { emit } from '../events.ts'
import type { CloseReason, Connection, ConnectionHandler, Host } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { type ShardCounts, shardOfTopic } from '../shards.ts'
import { Writer } from '../wire/codec.ts'
import { type MessageOf, storedMessageField } from '../wire/messages.ts'
import { encodeAcknowledgement, encodePacket, type Malformed, PacketReader, type PacketSink } from '../wire/mqtt-codec.ts'
import type { Connect, Packet, ProtocolVersion, Publish } from '../wire/packets.ts'
import { Inbound } from './inbound.ts'
import type { PublishLane } from './publish-lane.ts'
import type { ShardDomain } from './shard-domain.ts'
import { answerSubscribe, answerUnsubscribe } from './subscribe-handler.ts'
import { type Delivery, Subscriber, type SubscriberPorts } from './subscriber.ts'
import { Subscriptions } from './subscriptions.ts'

/** What a connection asks of the proxy around it. */
export interface ProxyContext {
  readonly host: Host
  readonly counts: ShardCounts
  readonly settings: ServiceSettings
  domainOf(shard: number): ShardDomain
  sessionDomainOf(clientId: string): ShardDomain
  laneOf(shard: number): PublishLane
  acknowledge(shard: number, handle: number, sequence: number): void
  refreshRoutes(): void
  newClientId(): string
  /** The connection is over; what the region has to know of it is told. */
  onClosed(client: ClientConnection): void
  /** A connection that is over had asked for its session, and will never know the answer. */
  onAbandoned(client: ClientConnection): void
}

/** MQTT 5 reason codes that the proxy gives of itself [MQTT 5.0, 2.4]. */
export const reason = {
  success: 0x00,
  noMatchingSubscribers: 0x10,
  protocolError: 0x82,
  implementationSpecific: 0x83,
  unsupportedProtocolVersion: 0x84,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  serverShuttingDown: 0x8b,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicAliasInvalid: 0x94,
  quotaExceeded: 0x97,
  qosNotSupported: 0x9b,
  sharedSubscriptionsNotSupported: 0x9e,
} as const

/** Publishes in flight from one client beyond which its connection is not read. */
const INBOUND_LIMIT = 1000
/** Packets taken before CONNACK beyond which the connection is not read. */
const EARLY_PACKETS_LIMIT = 100
const OPEN_RETRY_MS = 200
/** A keepalive's grace [MQTT-3.1.2-22]. */
const KEEPALIVE_GRACE = 1.5
const NEVER_EXPIRES = 0xffff_ffff
const NO_BYTES = Buffer.alloc(0)

const writer = new Writer()

export class ClientConnection implements ConnectionHandler, PacketSink, SubscriberPorts {
  readonly handle: number
  clientId = ''
  version: ProtocolVersion = 4
  epoch = 0
  incarnation = 0
  sessionDomain!: ShardDomain
  /** The term of the session's shard in which its owner last confirmed this connection. */
  confirmedTerm = -1
  /** The term in which the session has been asked for without an answer yet. */
  private askingTerm = -1
  lastReceivedMs: number
  /** Silence after which the client counts as gone, in ms; 0: never. */
  silenceLimitMs = 0
  private state: 'awaiting-connect' | 'opening-session' | 'connected' | 'closed' = 'awaiting-connect'
  private readonly context: ProxyContext
  private readonly connection: Connection
  private readonly reader: PacketReader
  private connect: Connect | undefined
  private early: Packet[] = []
  private connack: Buffer | undefined
  /** The session was there before this connection. */
  private resumed = false
  private pingsOwed = 0
  private expirySeconds = 0
  private inbound: Inbound | undefined
  private subscriber: Subscriber | undefined
  private subscriptions: Subscriptions | undefined
  private backedUp = false
  private held = false
  private suspended = false

  constructor(context: ProxyContext, connection: Connection, handle: number) {
    this.context = context
    this.connection = connection
    this.handle = handle
    this.lastReceivedMs = context.host.nowMs()
    this.reader = new PacketReader({ receiver: 'server', maximumPacketBytes: context.settings.proxy.maximumPacketBytes })
  }

  // The socket

  onData(_connection: Connection, bytes: Buffer): void {
    this.lastReceivedMs = this.context.host.nowMs()
    this.reader.read(bytes, this)
  }

  onDrain(): void {
    this.backedUp = false
    this.flush()
  }

  onClose(_connection: Connection, closeReason: CloseReason): void {
    this.finish(`connection ${closeReason}`)
  }

  onPacket(packet: Packet): void {
    this.context.host.work('packet', 1)
    switch (this.state) {
      case 'awaiting-connect':
        if (packet.type === 'connect') this.begin(packet)
        else this.finish('first packet is not CONNECT', 'reset')
        break
      case 'opening-session':
        // A client may send before CONNACK [MQTT-3.1.4-5]; it waits here, and soon in the client's own buffers.
        this.early.push(packet)
        if (this.early.length > EARLY_PACKETS_LIMIT) this.hold()
        break
      case 'connected':
        this.handlePacket(packet)
        break
      case 'closed':
        break
    }
  }

  onMalformed(problem: Malformed): void {
    if (this.state === 'awaiting-connect') this.refuseMalformedConnect(problem)
    else if (this.state === 'opening-session' && this.version === 5) this.refuse(problem.reasonCode, problem.text)
    else if (this.state === 'opening-session') this.finish(problem.text, 'close')
    else this.disconnect(problem.reasonCode, `${problem.text} [${problem.statement}]`)
  }

  // CONNECT

  private begin(packet: Connect): void {
    this.connect = packet
    this.version = packet.version
    this.clientId = packet.clientId
    if (packet.clientId === '') {
      if (packet.version !== 5 && !packet.cleanStart) {
        this.refuse(0x02, 'empty client id with a session to keep [MQTT-3.1.3-8]')
        return
      }
      this.clientId = this.context.newClientId()
    }
    if (packet.version === 5) this.expirySeconds = packet.properties?.sessionExpiryInterval ?? 0
    else this.expirySeconds = packet.cleanStart ? 0 : NEVER_EXPIRES
    this.silenceLimitMs = packet.keepAliveSeconds * 1000 * KEEPALIVE_GRACE
    this.state = 'opening-session'
    this.sessionDomain = this.context.sessionDomainOf(this.clientId)
    this.sessionDomain.clients.add(this)
    this.openSession()
  }

  /** Asks for the session; asked again, it is the same attempt by (proxy, boot, handle). */
  private openSession(): void {
    const { sessionDomain: domain, context } = this
    const { term } = domain
    if (this.state !== 'opening-session' || !domain.up || this.askingTerm === term) return
    this.askingTerm = term
    domain.broker!.link.request(
      {
        name: 'openSession',
        shard: domain.shard,
        clientId: this.clientId,
        proxy: context.host.machine,
        bootId: context.host.bootId,
        handle: this.handle,
        cleanStart: this.connect!.cleanStart,
        expirySeconds: this.expirySeconds,
        will: undefined,
      },
      context.settings.proxy.requestTimeoutMs,
      (outcome) => {
        if (this.askingTerm === term) this.askingTerm = -1
        if (this.state !== 'opening-session') {
          if (outcome.kind === 'reply' && outcome.message.outcome === 'opened') this.openedTooLate(outcome.message.epoch, term)
          // It may have been opened all the same, for nobody.
          else if (outcome.kind === 'unknown' && this.isClosed() && !this.wasConnected) context.onAbandoned(this)
          return
        }
        if (outcome.kind === 'reply' && outcome.message.outcome === 'opened') this.opened(outcome.message, term)
        else if (outcome.kind === 'reply' && outcome.message.outcome === 'superseded') this.superseded()
        else {
          context.refreshRoutes()
          context.host.setTimer(OPEN_RETRY_MS, () => this.openSession())
        }
      },
    )
  }

  /** An answer after the one that counted, from an owner of another term, or after the client had gone. */
  private openedTooLate(epoch: number, term: number): void {
    if (this.state === 'connected' && epoch === this.epoch) {
      if (term > this.confirmedTerm) this.confirmed(term)
      return
    }
    this.epoch = epoch
    // The client did not wait: the session that was opened for it is closed again.
    if (this.isClosed()) this.context.onClosed(this)
    else this.superseded()
  }

  private opened(session: MessageOf<'sessionOpened'>, term: number): void {
    const { context } = this
    const connect = this.connect!
    this.state = 'connected'
    this.epoch = session.epoch
    this.incarnation = session.incarnation
    this.confirmedTerm = term
    const { proxy } = context.settings
    const window = this.version === 5 ? (connect.properties?.receiveMaximum ?? 65_535) : proxy.window3x
    const maximumPacketBytes = connect.properties?.maximumPacketSize ?? Number.MAX_SAFE_INTEGER
    this.subscriber = new Subscriber(context.counts, this.version, window, maximumPacketBytes, this)
    this.subscriptions = new Subscriptions(context.host, context.counts, proxy.requestTimeoutMs, this, session.subscriptions)
    this.resumed = session.sessionPresent
    this.connack = this.encodeConnack(session.sessionPresent)
    this.connect = undefined
    if (context.host.recording) emit(context.host, { kind: 'client-connected', clientId: this.clientId, version: this.version })
    this.flush()
    const early = this.early
    this.early = []
    this.unhold()
    for (const packet of early) if (!this.isClosed()) this.handlePacket(packet)
  }

  private encodeConnack(sessionPresent: boolean): Buffer {
    const { clientId, version } = this
    const properties =
      version === 5
        ? {
            maximumQoS: 1,
            retainAvailable: 0,
            sharedSubscriptionAvailable: 0,
            maximumPacketSize: this.context.settings.proxy.maximumPacketBytes,
            ...(this.connect!.clientId === '' ? { assignedClientIdentifier: clientId } : {}),
          }
        : undefined
    return encodePacket({ type: 'connack', sessionPresent, reasonCode: 0, ...(properties === undefined ? {} : { properties }) }, version)
  }

  // What the subscriber asks for

  canDeliver(): boolean {
    // CONNACK comes first [MQTT-3.2.0-1].
    return this.connack === undefined && !this.backedUp && this.canSend()
  }

  acknowledge(shard: number, sequence: number): void {
    this.context.acknowledge(shard, this.handle, sequence)
  }

  write(bytes: Buffer): void {
    if (!this.connection.write(bytes)) this.backedUp = true
  }

  // Packets of a connected client

  private handlePacket(packet: Packet): void {
    switch (packet.type) {
      case 'publish':
        this.onPublish(packet)
        break
      case 'puback':
        this.subscriber!.onPuback(packet.packetId)
        break
      case 'subscribe':
        answerSubscribe(this, this.subscriptions!, packet, this.context.settings.proxy.maximumFilters)
        break
      case 'unsubscribe':
        answerUnsubscribe(this, this.subscriptions!, packet)
        break
      case 'pingreq':
        this.pingsOwed++
        this.flush()
        break
      case 'disconnect':
        this.onDisconnect(packet.properties?.sessionExpiryInterval)
        break
      default:
        this.disconnect(reason.protocolError, `${packet.type} is not expected here`)
    }
  }

  private onPublish(packet: Publish): void {
    if (packet.qos === 2) {
      this.disconnect(reason.qosNotSupported, 'QoS 2 is not offered [MQTT-3.2.2-11]')
      return
    }
    if (packet.properties?.topicAlias !== undefined) {
      this.disconnect(reason.topicAliasInvalid, 'topic alias above the maximum of 0 [MQTT-3.3.2-9]')
      return
    }
    const { context, clientId, epoch } = this
    const shard = shardOfTopic(context.counts, packet.topic)
    const message = this.encodeMessage(packet)
    const lane = context.laneOf(shard)
    if (packet.qos === 0) {
      lane.passOn({ shard, clientId, epoch, sequence: 0, confirmed: 0, messageId: 0, openFrom: 0, message })
      return
    }
    this.inbound ??= new Inbound()
    const slot = this.inbound.received(packet.packetId)
    if (this.inbound.open > INBOUND_LIMIT) this.hold()
    const stream = this.inbound.streamTo(shard, clientId, epoch)
    lane.append({
      stream,
      sequence: ++stream.last,
      message,
      done: (result, matched) => {
        if (this.isClosed()) return
        if (result === 'fenced') this.superseded()
        else if (result === 'gap') this.disconnect(reason.implementationSpecific, 'an earlier publish is missing at its shard')
        else {
          slot.reasonCode = !matched && this.version === 5 ? reason.noMatchingSubscribers : reason.success
          this.flush()
        }
      },
    })
  }

  private encodeMessage(packet: Publish): Buffer {
    writer.begin()
    storedMessageField.write(writer, {
      topic: packet.topic,
      publisher: this.clientId,
      qos: packet.qos,
      retain: packet.retain,
      publishedAtMs: Math.max(0, Math.floor(this.context.host.wallMs())),
      properties: packet.rawProperties ?? NO_BYTES,
      payload: packet.payload,
    })
    return writer.finish()
  }

  private onDisconnect(expirySeconds: number | undefined): void {
    if (expirySeconds !== undefined) {
      // A session that was to end with its connection cannot be prolonged by DISCONNECT [MQTT-3.1.2-23].
      if (this.expirySeconds === 0 && expirySeconds > 0) {
        this.disconnect(reason.protocolError, 'session expiry raised from zero in DISCONNECT')
        return
      }
      this.expirySeconds = expirySeconds
    }
    this.finish('DISCONNECT received', 'close')
  }

  deliver(delivery: Delivery): void {
    if (this.state !== 'connected') return
    // A new owner of the queue cannot know what the former one sent; this connection knows what was before its own time [MQTT-3.3.1-3].
    const dup = delivery.dup && this.resumed && this.subscriptions!.mayHaveBeenSent(delivery.shard, delivery.sequence)
    this.subscriber!.take(dup === delivery.dup ? delivery : { ...delivery, dup })
  }

  // The session's word

  /** The shard of the session, or of a subscription, has a new owner or a new link to it. */
  onTerm(domain: ShardDomain): void {
    if (this.state === 'opening-session') this.openSession()
    else if (this.state === 'connected') {
      if (domain === this.sessionDomain) this.noteSuspension()
      this.subscriptions!.pursueAll()
    }
  }

  /** The owner of the session said, in this term, that this connection is the one. */
  confirmed(term: number): void {
    this.confirmedTerm = term
    this.flush()
  }

  canSend(): boolean {
    if (this.state !== 'connected') return false
    const domain = this.sessionDomain
    return this.confirmedTerm === domain.term && domain.canSpeak(this.context.host.nowMs())
  }

  /** Sends what has been waiting for the session's word or for room. */
  flush(): void {
    if (!this.canSend()) {
      this.noteSuspension()
      return
    }
    if (this.suspended) {
      this.suspended = false
      if (this.context.host.recording) emit(this.context.host, { kind: 'session-resumed', clientId: this.clientId })
    }
    if (this.connack !== undefined) {
      this.write(this.connack)
      this.connack = undefined
    }
    this.sendAcknowledgements()
    while (this.pingsOwed > 0) {
      this.pingsOwed--
      this.write(encodePacket({ type: 'pingresp' }, this.version))
    }
    this.subscriber!.flush()
  }

  private sendAcknowledgements(): void {
    const { inbound } = this
    if (inbound === undefined) return
    for (let ready = inbound.takeReady(); ready !== undefined; ready = inbound.takeReady()) {
      this.write(encodeAcknowledgement('puback', ready.packetId, ready.reasonCode, this.version))
    }
    if (this.held && inbound.open < INBOUND_LIMIT / 2) this.unhold()
  }

  private noteSuspension(): void {
    if (this.state !== 'connected' || this.suspended) return
    this.suspended = true
    if (this.context.host.recording) emit(this.context.host, { kind: 'session-suspended', clientId: this.clientId })
  }

  /** An answer to a request, given when the session's word holds; dropped with the connection. */
  sendWhenConfirmed(bytes: Buffer): void {
    if (this.connack === undefined && this.canSend()) this.write(bytes)
    else {
      this.noteSuspension()
      this.context.host.setTimer(OPEN_RETRY_MS, () => {
        if (!this.isClosed()) this.sendWhenConfirmed(bytes)
      })
    }
  }

  // The end

  isClosed(): boolean {
    return this.state === 'closed'
  }

  domainOf(shard: number): ShardDomain {
    return this.context.domainOf(shard)
  }

  refreshRoutes(): void {
    this.context.refreshRoutes()
  }

  get sessionExpirySeconds(): number {
    return this.expirySeconds
  }

  get isConnected(): boolean {
    return this.state === 'connected'
  }

  /** Whether the region knows of this connection, so that its end has to be told. */
  get wasConnected(): boolean {
    return this.epoch > 0
  }

  /** The session was closed or ended meanwhile, as for one whose proxy was out of reach; nobody has taken it over. */
  sessionLost(): void {
    this.disconnect(reason.serverBusy, 'session lost')
  }

  /** Another connection has the session now. */
  superseded(): void {
    this.disconnect(reason.sessionTakenOver, 'session taken over')
  }

  checkSilence(nowMs: number): void {
    if (this.state === 'awaiting-connect') {
      if (nowMs - this.lastReceivedMs > this.context.settings.proxy.connectTimeoutMs) this.finish('no CONNECT in time', 'reset')
    } else if (this.silenceLimitMs > 0 && nowMs - this.lastReceivedMs > this.silenceLimitMs) {
      this.disconnect(reason.keepAliveTimeout, 'keepalive timeout')
    }
  }

  /** The server's own end of a connection; MQTT 5 clients are told why. */
  disconnect(reasonCode: number, why: string): void {
    if (this.isClosed()) return
    if (this.state === 'opening-session') {
      this.refuse(this.version === 5 ? reason.serverUnavailable : 0x03, why)
      return
    }
    if (this.version === 5 && this.state === 'connected' && this.connack === undefined) {
      this.write(encodePacket({ type: 'disconnect', reasonCode }, 5))
    }
    this.finish(why, 'close')
  }

  private refuse(reasonCode: number, why: string): void {
    this.write(encodePacket({ type: 'connack', sessionPresent: false, reasonCode }, this.version))
    this.finish(why, 'close')
  }

  private refuseMalformedConnect(problem: Malformed): void {
    const why = `${problem.text} [${problem.statement}]`
    if (problem.refusal === undefined) {
      this.finish(why, 'close')
      return
    }
    this.version = problem.refusal.version
    this.refuse(problem.refusal.reasonCode, why)
  }

  private finish(why: string, ending?: 'close' | 'reset'): void {
    if (this.isClosed()) return
    this.state = 'closed'
    this.reader.stop()
    if (ending === 'close') this.connection.close()
    if (ending === 'reset') this.connection.reset()
    this.inbound?.abandon()
    this.subscriptions?.detach()
    this.sessionDomain?.clients.delete(this)
    if (this.context.host.recording && this.clientId !== '') {
      emit(this.context.host, { kind: 'client-closed', clientId: this.clientId, reason: why })
    }
    this.context.onClosed(this)
  }

  private hold(): void {
    if (this.held) return
    this.held = true
    this.connection.pause()
  }

  private unhold(): void {
    if (!this.held) return
    this.held = false
    this.connection.resume()
  }
}
