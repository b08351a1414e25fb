/**
 * One client's connection: from CONNECT to the close, through the states `awaiting-connect`, `opening-session`, `connected`, `closed`.
 *
 * Promises: nothing that an acknowledgement reveals is only here; and nothing leaves for the client (acknowledgement, message, PINGRESP) but while the owner of its session
 * has confirmed it in the present term and holds its word (`canSend`). What is ready meanwhile waits; a client whose session stays out of reach is closed by the proxy.
 * CONNECT is judged in `handshake.ts`; what packets of a connected client do is in `connected-session.ts`, what may leave and when in `outlet.ts`.
 */
import { emit } from '../events.ts'
import type { CloseReason, Connection } from '../host.ts'
import type { MessageOf } from '../wire/messages.ts'
import { encodePacket, type Malformed, PacketReader, type PacketSink } from '../wire/mqtt-codec.ts'
import type { Connect, Disconnect, Packet, ProtocolVersion } from '../wire/packets.ts'
import { ConnectedSession } from './connected-session.ts'
import { Farewell } from './farewell.ts'
import { encodeConnack, type Handshake, judgeConnect } from './handshake.ts'
import { type Holding, holding } from './holding.ts'
import { Outlet } from './outlet.ts'
import type { ProxyContext } from './proxy-context.ts'
import { connackCode, reason } from './reasons.ts'
import type { ReceivedPublishesPorts } from './received-publishes.ts'
import { SessionOpening } from './session-opening.ts'
import type { ShardDomain } from './shard-domain.ts'
import type { Delivery } from './subscriber.ts'
import type { TlsClient } from './tls-handshakes.ts'

/** Packets taken before CONNACK beyond which the connection is not read. */
const EARLY_PACKETS_LIMIT = 100
/** A keepalive's grace [MQTT-3.1.2-22]. */
const KEEPALIVE_GRACE = 1.5

export class ClientConnection implements TlsClient, PacketSink, ReceivedPublishesPorts {
  readonly handle: number
  clientId = ''
  version: ProtocolVersion = 4
  epoch = 0
  incarnation = 0
  sessionDomain!: ShardDomain
  sessionExpirySeconds = 0
  /** What becomes of the will when the region is told of the end. A client that never had its CONNACK has left none behind. */
  willAtEnd: 'discarded' | 'due' = 'discarded'
  /** The session was there before this connection. */
  wasResumed = false
  /** When the client last said something; before its CONNECT is there, when it came. */
  private lastReceivedMs: number
  /** Silence after which the client counts as gone, in ms; 0: never. */
  private silenceLimitMs = 0
  private state: 'awaiting-connect' | 'opening-session' | 'connected' | 'closed' = 'awaiting-connect'
  private readonly context: ProxyContext
  private readonly connection: Connection
  private readonly reader: PacketReader
  private readonly outlet: Outlet
  private maximumPacketBytes = Number.MAX_SAFE_INTEGER
  private opening: SessionOpening | undefined
  private early: Packet[] = []
  /** Undefined before CONNACK. */
  private session: ConnectedSession | undefined
  /** Of `holding`, all that apply. */
  private held = 0
  /** What was read and waits for the rate of its client: a publish, and whatever came after it. Undefined where nothing does. */
  private postponed: Packet[] | undefined

  constructor(context: ProxyContext, connection: Connection, handle: number) {
    this.context = context
    this.connection = connection
    this.handle = handle
    this.outlet = new Outlet(context, this, connection)
    this.lastReceivedMs = context.host.nowMs()
    this.reader = new PacketReader({ receiver: 'server', maximumPacketBytes: context.settings.proxy.maximumPacketBytes })
  }

  // The socket

  onData(_connection: Connection, bytes: Buffer): void {
    this.reader.read(bytes, this)
    // Section 3.1.4 counts the time until CONNECT from the connection's beginning, whatever comes in between.
    if (this.state !== 'awaiting-connect') this.lastReceivedMs = this.context.host.nowMs()
  }

  onDrain(): void {
    this.outlet.onDrain()
    this.flush()
  }

  onClose(_connection: Connection, closeReason: CloseReason): void {
    const goodbye = this.postponed?.find(({ type }) => type === 'disconnect')
    // It was received before the end: the will is not due [MQTT-3.14.4-3].
    if (goodbye !== undefined) this.session?.onPacket(goodbye)
    this.finish(`connection ${closeReason}`)
  }

  /** Its handshake is a real one, or broken. */
  onForeignTls(): void {
    this.finish('TLS that is not the modelled one: no cryptography is spoken here', 'reset')
  }

  onPacket(packet: Packet): void {
    this.context.host.work('packet', 1)
    switch (this.state) {
      case 'awaiting-connect':
        if (packet.type === 'connect') this.begin(packet)
        else this.finish('first packet is not CONNECT [MQTT-3.1.0-1]', 'reset')
        break
      case 'opening-session':
        // A client may send before CONNACK (section 3.1.4); it waits here, and soon in the client's own buffers.
        this.early.push(packet)
        if (this.early.length > EARLY_PACKETS_LIMIT) this.hold(holding.early)
        break
      case 'connected':
        if (this.postponed === undefined) this.session!.onPacket(packet)
        else this.postponed.push(packet)
        break
      case 'closed':
        break
    }
  }

  onMalformed(problem: Malformed): void {
    const why = `${problem.text} [${problem.statement}]`
    if (this.state === 'connected') this.disconnect(problem.reasonCode, why)
    else if (this.state === 'opening-session' && this.version === 5) this.refuse(connackCode(problem.reasonCode, 5), why)
    else if (this.state === 'awaiting-connect' && problem.refusal !== undefined) {
      this.version = problem.refusal.version
      this.refuse(problem.refusal.reasonCode, why)
    } else this.finish(why, 'close')
  }

  // CONNECT

  private begin(packet: Connect): void {
    const { context } = this
    const { host, settings } = context
    this.version = packet.version
    this.clientId = packet.clientId
    this.maximumPacketBytes = packet.properties?.maximumPacketSize ?? Number.MAX_SAFE_INTEGER
    const judgement = judgeConnect(packet, context.access, settings.proxy, () => context.newClientId(), host.wallMs())
    if (judgement.kind === 'refused') {
      this.refuse(connackCode(judgement.reasonCode, this.version), judgement.why)
      return
    }
    if (!context.hasRoom()) {
      // 3.x has no word for a quota; that the server is not available for this client comes closest.
      const tooMany = this.version === 5 ? reason.quotaExceeded : reason.serverUnavailable
      this.refuse(connackCode(tooMany, this.version), 'more connections than the quota allows')
      return
    }
    const { handshake } = judgement
    if (encodeConnack(handshake, false, settings.proxy).length > this.maximumPacketBytes) {
      this.finish('CONNACK is larger than the client takes [MQTT-3.1.2-24]', 'close')
      return
    }
    this.clientId = handshake.clientId
    this.sessionExpirySeconds = handshake.expirySeconds
    this.silenceLimitMs = handshake.keepaliveSeconds * 1000 * KEEPALIVE_GRACE
    this.state = 'opening-session'
    this.sessionDomain = context.sessionDomainOf(this.clientId)
    this.sessionDomain.clients.add(this)
    this.opening = new SessionOpening(context, this, handshake)
    this.opening.ask()
  }

  opened(opened: MessageOf<'sessionOpened'>, handshake: Handshake, term: number): void {
    const { context, version, outlet } = this
    this.state = 'connected'
    this.opening = undefined
    this.epoch = opened.epoch
    this.incarnation = opened.incarnation
    this.wasResumed = opened.sessionPresent
    outlet.confirmedTerm = term
    outlet.welcome(encodeConnack(handshake, opened.sessionPresent, context.settings.proxy))
    const session = new ConnectedSession(context, this, outlet, handshake, opened)
    this.session = session
    if (context.host.recording) emit(context.host, { kind: 'client-connected', clientId: this.clientId, version })
    this.flush()
    const early = this.early
    this.early = []
    this.readOn(holding.early)
    this.take(early)
  }

  /** The client ends the connection. */
  onDisconnect({ reasonCode, properties }: Disconnect): void {
    const expirySeconds = properties?.sessionExpiryInterval
    if (expirySeconds !== undefined) {
      // A session that was to end with its connection cannot be prolonged by DISCONNECT (section 3.14.2.2.2).
      if (this.sessionExpirySeconds === 0 && expirySeconds > 0) {
        this.disconnect(reason.protocolError, 'session expiry raised from zero in DISCONNECT')
        return
      }
      this.sessionExpirySeconds = expirySeconds
    }
    if (reasonCode === reason.success) this.willAtEnd = 'discarded'
    this.finish('DISCONNECT received', 'farewell')
  }

  // What the shards say

  deliver(delivery: Delivery): void {
    if (this.state === 'connected') this.session!.deliver(delivery)
  }

  release(shard: number, sequence: number): void {
    if (this.state === 'connected') this.session!.release(shard, sequence)
  }

  // The session's word

  /** The shard of the session, or of a subscription, has a new owner or a new link to it. */
  onTerm(domain: ShardDomain): void {
    if (this.state === 'opening-session') this.opening!.ask()
    else if (this.state === 'connected') {
      if (domain === this.sessionDomain) this.outlet.noteSuspension()
      this.session!.onTerm(domain)
    }
  }

  get confirmedTerm(): number {
    return this.outlet.confirmedTerm
  }

  /** The owner of the session said, in this term, that this connection is the one. */
  confirmed(term: number): void {
    this.outlet.confirmedTerm = term
    this.flush()
  }

  /** Sends what has been waiting for the session's word or for room. */
  flush(): void {
    const { outlet } = this
    if (!outlet.open()) return
    if (outlet.sendConnack()) this.willAtEnd = 'due'
    this.session!.sendAcknowledgements()
    outlet.sendAnswers()
    this.session!.sendMessages()
  }

  /** While the session's word holds. */
  write(bytes: Buffer): void {
    this.outlet.write(bytes)
  }

  /** An answer to a request, given when the session's word holds; dropped with the connection. */
  sendWhenConfirmed(answer: Buffer): void {
    if (answer.length > this.maximumPacketBytes) {
      this.disconnect(reason.packetTooLarge, 'an answer is larger than the client takes [MQTT-3.1.2-24]')
      return
    }
    this.outlet.addAnswer(answer)
    this.flush()
  }

  // The end

  isClosed(): boolean {
    return this.state === 'closed'
  }

  get isOpening(): boolean {
    return this.state === 'opening-session'
  }

  get isConnected(): boolean {
    return this.state === 'connected'
  }

  /** Whether the region knows of this connection, so that its end has to be told. */
  get wasConnected(): boolean {
    return this.epoch > 0
  }

  domainOf(shard: number): ShardDomain {
    return this.context.domainOf(shard)
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
    } else if (this.silenceLimitMs > 0 && this.held === 0 && nowMs - this.lastReceivedMs > this.silenceLimitMs) {
      this.disconnect(reason.keepAliveTimeout, 'keepalive timeout [MQTT-3.1.2-22]')
    }
  }

  /** The server's own end of a connection; MQTT 5 clients are told why. */
  disconnect(reasonCode: number, why: string): void {
    if (this.isClosed()) return
    if (this.state === 'opening-session') {
      this.refuse(connackCode(reason.serverUnavailable, this.version), why)
      return
    }
    if (this.version === 5 && this.state === 'connected' && !this.outlet.isWelcomePending) {
      this.writeIfItFits(encodePacket({ type: 'disconnect', reasonCode }, 5))
    }
    this.finish(why, 'close')
  }

  /** @param reasonCode of a CONNACK of the client's version */
  private refuse(reasonCode: number, why: string): void {
    this.writeIfItFits(encodePacket({ type: 'connack', sessionPresent: false, reasonCode }, this.version))
    this.finish(why, 'close')
  }

  private writeIfItFits(lastWord: Buffer): void {
    if (lastWord.length <= this.maximumPacketBytes) this.write(lastWord)
  }

  private finish(why: string, ending?: 'close' | 'reset' | 'farewell'): void {
    if (this.isClosed()) return
    const { context, connection } = this
    this.state = 'closed'
    this.reader.stop()
    this.session?.abandon()
    this.sessionDomain?.clients.delete(this)
    if (ending === 'close') connection.close()
    else if (ending === 'reset') connection.reset()
    if (context.host.recording && this.clientId !== '') {
      emit(context.host, { kind: 'client-closed', clientId: this.clientId, reason: why })
    }
    if (ending !== 'farewell') context.onClosed(this)
    else {
      const farewell = new Farewell(context.host, connection)
      context.onClosed(this, () => farewell.end())
    }
  }

  /** Stops reading: the client has to wait. */
  hold(why: Holding): void {
    if (this.held === 0) this.connection.pause()
    this.held |= why
  }

  /** The packet at hand, and all that come after it, are taken so much later. */
  postpone(packet: Packet, forMs: number): void {
    this.hold(holding.rate)
    this.postponed = [packet]
    this.context.host.setTimer(forMs, () => {
      const packets = this.postponed
      this.postponed = undefined
      if (packets === undefined || !this.isConnected) return
      this.take(packets)
      if (this.postponed === undefined) this.readOn(holding.rate)
    })
  }

  /** What waited, as far as it need not wait again. */
  private take(packets: Packet[]): void {
    for (let taken = 0; taken < packets.length && this.isConnected; taken++) {
      this.session!.onPacket(packets[taken]!)
      if (this.postponed === undefined) continue
      packets.splice(0, taken)
      this.postponed = packets
      return
    }
  }

  /** Reads again, where nothing else stands against it. */
  readOn(why: Holding): void {
    if ((this.held & why) === 0) return
    this.held &= ~why
    if (this.held !== 0) return
    // While it was not read, nobody can say that it was silent.
    this.lastReceivedMs = this.context.host.nowMs()
    this.connection.resume()
  }
}
