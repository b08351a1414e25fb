/**
 * An MQTT 3.1, 3.1.1 or 5 client with the habits of a profile: it resolves the access name, connects, keeps alive, notices dead paths, backs off, reconnects,
 * subscribes again and sends again, for as long as it runs. QoS 0 and 1 both ways.
 *
 * Promises: a packet id belongs to one open publish or subscribe; publishes go out in the order of `publish`, resends first [MQTT-4.4.0-1, MQTT-4.6.0-1];
 * an MQTT 5 server's Receive Maximum [MQTT-3.3.4-7], Maximum Packet Size, Maximum QoS, Retain Available and Server Keep Alive are respected; a QoS 1 message is acknowledged after the
 * application has had it [MQTT-4.3.2-4]. An idle client has one timer; a busy one moves it once an acknowledgement timeout, not once a packet.
 *
 * Left out: UNSUBSCRIBE, topic aliases, enhanced authentication (its AUTH counts as a violation), TLS.
 */
import { emit } from '../events.ts'
import type { CloseReason, Connection, ConnectionHandler, Host, RandomStream, Timer } from '../host.ts'
import { encodeAcknowledgement, encodePacket, encodePublish, type Malformed, PacketReader, type PacketSink } from '../wire/mqtt-codec.ts'
import type { Acknowledgement, Connack, Packet, ProtocolVersion, Publish, Suback } from '../wire/packets.ts'
import { Backoff } from './backoff.ts'
import { cleanStartOf, encodeConnect, keepaliveSecondsOf, refusalIsOfThisServer, versionOf } from './connect.ts'
import { countReason, reasonText } from './counters.ts'
import type { MqttClientListener, MqttClientOptions, OutgoingMessage, SubscriptionRequest } from './options.ts'
import { OutgoingPublish, OutgoingStore } from './outgoing.ts'
import { pingTimeoutMsOf } from './profiles.ts'
import { type ServerLimits, serverLimitsOf, unlimited } from './server-limits.ts'
import { Subscriptions } from './subscriptions.ts'

export type ClientState = 'idle' | 'resolving' | 'connecting' | 'awaiting-connack' | 'connected' | 'backing-off' | 'stopped'

const NEVER = Number.POSITIVE_INFINITY
const NO_PING = -1
/** Half a microsecond: a sum of fractions may fall short of its deadline by a rounding error. */
const TIMER_SLACK_MS = 0.0005
/** Of the 65,535 packet ids, those that publishes may hold: the rest is for subscribes, so that there is always one to find. */
const PUBLISHES_IN_FLIGHT_AT_MOST = 65_000
/** Fixed header and the largest Remaining Length [MQTT 2.1.4]. */
const PROTOCOL_MAXIMUM_PACKET_BYTES = 268_435_460

/** Of connections left behind; the oldest beyond these is reset. */
const LEFT_OPEN_AT_MOST = 2
/** Has what was left behind. */
const NOBODY: ConnectionHandler = { onData: () => {}, onClose: () => {} }

const PINGREQ = encodePacket({ type: 'pingreq' }, 5)

export class MqttClient implements ConnectionHandler, PacketSink {
  private readonly host: Host
  private readonly options: MqttClientOptions
  private readonly listener: MqttClientListener
  private currentState: ClientState = 'idle'
  private connection: Connection | undefined
  /** Oldest first; some may be closed by now. */
  private leftOpen: Connection[] | undefined
  private reader: PacketReader | undefined
  private writable = true
  private ready = false
  private limits: ServerLimits = unlimited

  /** Addresses of the present round that were not tried yet are those from `nextAddress` on. */
  private addresses: readonly string[] | undefined
  private nextAddress = 0
  /** Counts rounds, so that a late answer of the resolver is known as late. */
  private round = 0
  private backoff: Backoff | undefined
  private random: RandomStream | undefined

  private timer: Timer | undefined
  private timerAtMs = NEVER
  /** Of the attempt or the wait at hand. */
  private deadlineMs = NEVER
  private attemptStartedMs = 0
  private lastSentMs = 0
  private lastAnswerMs = 0
  private pingSentMs = NO_PING

  private outgoing: OutgoingStore | undefined
  private subscriptions: Subscriptions | undefined
  private lastPacketId = 0

  constructor(host: Host, options: MqttClientOptions, listener: MqttClientListener) {
    this.host = host
    this.options = options
    this.listener = listener
  }

  get state(): ClientState {
    return this.currentState
  }

  get clientId(): string {
    return this.options.clientId
  }

  /** Publishes that the server has not acknowledged, sent or not. */
  get unacknowledged(): number {
    return this.outgoing === undefined ? 0 : this.outgoing.openCount + this.outgoing.waitingCount
  }

  start(): void {
    if (this.currentState !== 'idle') throw new Error(`${this.clientId}: start() in state ${this.currentState}, expected idle`)
    this.beginRound('started')
  }

  /** Disconnects in order, for good. No further callback. */
  stop(): void {
    if (this.currentState === 'stopped') return
    const connected = this.currentState === 'connected'
    this.become('stopped', 'stopped')
    if (connected) this.connection!.write(encodePacket({ type: 'disconnect', reasonCode: 0 }, this.version))
    for (const connection of this.leftOpen ?? []) connection.reset()
    this.leftOpen = undefined
    this.release(connected ? 'close' : 'reset')
    this.timer?.cancel()
  }

  /**
   * Sends a message now or, where it must wait for the connection or the window, later.
   * @returns false when it was dropped: QoS 0 without a connection (for most profiles), or too many wait.
   */
  publish(message: OutgoingMessage, token = 0): boolean {
    const { counters, profile } = this.options
    counters.published++
    if (this.currentState === 'stopped') return this.dropped()
    if (message.qos === 0 && this.currentState === 'connected' && !this.replaying) {
      this.sendAtMostOnce(new OutgoingPublish(message, token))
      return true
    }
    if (message.qos === 0 && !profile.queuesQoS0) return this.dropped()
    this.outgoing ??= new OutgoingStore()
    if (this.outgoing.waitingCount >= profile.queueLimit) return this.dropped()
    this.outgoing.enqueue(new OutgoingPublish(message, token))
    this.pump()
    return true
  }

  /** Adds subscriptions, or replaces those of the same filters, and keeps them in force over reconnects. */
  subscribe(requests: readonly SubscriptionRequest[]): void {
    this.subscriptions ??= new Subscriptions()
    for (const request of requests) this.subscriptions.add(request)
    if (!this.replaying) this.sendWantedSubscriptions()
  }

  // The connection's callbacks.

  onOpen(connection: Connection): void {
    if (connection !== this.connection) return
    this.become('awaiting-connack', 'open')
    this.send(encodeConnect(this.options))
    this.deadlineMs = this.attemptStartedMs + this.options.profile.connectTimeoutMs
    this.arm(this.deadlineMs)
  }

  onData(connection: Connection, bytes: Buffer): void {
    if (connection === this.connection) this.reader!.read(bytes, this)
  }

  onDrain(connection: Connection): void {
    if (connection !== this.connection) return
    this.writable = true
    this.pump()
  }

  onClose(connection: Connection, reason: CloseReason): void {
    if (connection === this.connection) this.lose(`connection ${reason}`, 'gone')
  }

  // The codec's callbacks.

  onPacket(packet: Packet): void {
    if (this.currentState === 'awaiting-connack') {
      if (packet.type === 'connack') this.onConnack(packet)
      else this.violated(`${packet.type} before CONNACK [MQTT-3.2.0-1]`, 0x82)
      return
    }
    switch (packet.type) {
      case 'publish':
        this.onPublish(packet)
        return
      case 'puback':
        this.onPuback(packet)
        return
      case 'suback':
        this.onSuback(packet)
        return
      case 'pingresp':
        this.answered()
        this.pingSentMs = NO_PING
        return
      case 'disconnect':
        countReason(this.options.counters, 'disconnect', packet.reasonCode)
        this.lose(reasonText('disconnect', packet.reasonCode), 'close')
        return
      default:
        this.violated(`${packet.type} out of place`, 0x82)
    }
  }

  onMalformed(problem: Malformed): void {
    this.violated(`${problem.text} [${problem.statement}]`, problem.reasonCode)
  }

  private get version(): ProtocolVersion {
    return versionOf(this.options)
  }

  private get keepaliveSeconds(): number {
    return this.limits.keepaliveSeconds ?? keepaliveSecondsOf(this.options)
  }

  private get replaying(): boolean {
    return this.outgoing !== undefined && this.outgoing.replayLeft > 0
  }

  // Getting connected.

  private beginRound(why: string): void {
    this.backoff ??= new Backoff(this.options.profile.reconnect, this.host.nowMs())
    this.become('resolving', why)
    const round = ++this.round
    this.options.resolver.resolve(this.options.accessName, (addresses) => {
      if (round === this.round && this.currentState === 'resolving') this.onAddresses(addresses)
    })
  }

  private onAddresses(addresses: readonly string[]): void {
    if (addresses.length === 0) {
      this.options.counters.connectFailures++
      this.backOff('no address')
      return
    }
    this.addresses = this.options.profile.addresses === 'all' ? addresses : addresses.slice(0, 1)
    this.nextAddress = 0
    this.connectNext('resolved')
  }

  private connectNext(why: string): void {
    const { profile, port, clientId } = this.options
    const host = this.addresses![this.nextAddress++]!
    const isLast = this.nextAddress >= this.addresses!.length
    this.become('connecting', why)
    this.attemptStartedMs = this.host.nowMs()
    this.deadlineMs = this.attemptStartedMs + (isLast ? profile.connectTimeoutMs : (profile.addressTimeoutMs ?? profile.connectTimeoutMs))
    this.writable = true
    this.reader = new PacketReader({
      receiver: 'client',
      maximumPacketBytes: this.options.maximumPacketBytes ?? PROTOCOL_MAXIMUM_PACKET_BYTES,
      version: this.version,
    })
    this.connection = this.host.connect({ host, port }, this, clientId)
    this.arm(this.deadlineMs)
  }

  private onConnack(packet: Connack): void {
    const { counters, profile } = this.options
    if (packet.reasonCode !== 0) {
      countReason(counters, 'connack', packet.reasonCode)
      if (profile.onConnackError === 'wait-for-server') {
        this.deadlineMs = NEVER
        return
      }
      if (!refusalIsOfThisServer(packet.reasonCode, this.version)) this.addresses = undefined
      this.lose(reasonText('connack', packet.reasonCode), 'close')
      return
    }
    if (packet.sessionPresent && cleanStartOf(this.options)) {
      this.violated('session present after a clean start [MQTT-3.2.2-2]', 0x82)
      return
    }
    this.onAccepted(packet)
  }

  private onAccepted(packet: Connack): void {
    const { counters, profile } = this.options
    this.addresses = undefined
    this.backoff = undefined
    this.deadlineMs = NEVER
    this.limits = serverLimitsOf(packet.properties)
    this.become('connected', packet.sessionPresent ? 'session present' : 'no session')
    this.answered()
    counters.connects++

    const knowsPresence = this.version !== 3
    const resumed = knowsPresence ? packet.sessionPresent : !cleanStartOf(this.options)
    if (resumed) counters.sessionsResumed++
    if (this.outgoing !== undefined) {
      if (resumed || profile.unacknowledgedWithoutSession === 'same-ids')
        this.outgoing.resume(profile.resendSetsDup, profile.replayOneByOne)
      else counters.publishedAgain += this.outgoing.startOver()
    }
    const subscriptionsKept = resumed && (knowsPresence || profile.resubscribe === 'always-if-clean')
    this.subscriptions?.restart(subscriptionsKept)
    if (!this.replaying) this.sendWantedSubscriptions()

    const connection = this.connection
    this.listener.onConnected(resumed)
    if (connection !== this.connection) return
    this.pump()
    this.arm(this.nextDeadlineMs())
  }

  /** What no server answers for: the round goes on with the next address, or ends. */
  private attemptFailed(from: ClientState, why: string): void {
    this.options.counters.connectFailures++
    const addresses = this.addresses
    const triesOn = from === 'connecting' || this.options.profile.nextAddressOn === 'any-failure'
    if (triesOn && addresses !== undefined && this.nextAddress < addresses.length) this.connectNext(why)
    else this.backOff(why)
  }

  private backOff(why: string): void {
    this.addresses = undefined
    this.backoff ??= new Backoff(this.options.profile.reconnect, this.host.nowMs())
    this.become('backing-off', why)
    const nowMs = this.host.nowMs()
    this.deadlineMs = nowMs + this.backoff.nextMs(nowMs, () => this.randomStream())
    this.arm(this.deadlineMs)
  }

  private randomStream(): RandomStream {
    this.random ??= this.host.random(`client ${this.clientId}`)
    return this.random
  }

  // Losing the connection.

  /** The connection at hand is over. `gone`: it is closed already. `give-up`: nothing is heard of the server. */
  private lose(why: string, how: 'close' | 'reset' | 'gone' | 'give-up'): void {
    const from = this.currentState
    this.release(how)
    if (from !== 'connected') {
      this.attemptFailed(from, why)
      return
    }
    this.options.counters.connectionsLost++
    this.backOff(why)
    this.listener.onClosed(why)
  }

  private release(how: 'close' | 'reset' | 'gone' | 'give-up'): void {
    this.reader?.stop()
    this.reader = undefined
    if (how === 'close') this.connection?.close()
    else if (how === 'reset') this.connection?.reset()
    else if (how === 'give-up') this.giveUp(this.connection!)
    this.connection = undefined
    this.pingSentMs = NO_PING
    this.ready = false
  }

  private giveUp(connection: Connection): void {
    if (this.options.leavesSocketsOpen !== true || this.currentState === 'connecting') {
      connection.reset()
      return
    }
    connection.handler = NOBODY
    this.leftOpen ??= []
    this.leftOpen.push(connection)
    if (this.leftOpen.length > LEFT_OPEN_AT_MOST) this.leftOpen.shift()!.reset()
  }

  /** The server broke the protocol: an MQTT 5 client says so, and closes (MQTT 5, section 4.13.1). */
  private violated(what: string, reasonCode: number): void {
    this.options.counters.protocolViolations++
    if (this.version === 5 && this.currentState === 'connected') {
      this.connection!.write(encodePacket({ type: 'disconnect', reasonCode }, 5))
    }
    this.lose(`protocol violation: ${what}`, 'close')
  }

  // Messages in.

  private onPublish(packet: Publish): void {
    if (packet.qos === 2) {
      this.violated('PUBLISH with QoS 2, which no subscription asked for [MQTT-3.8.4-8]', 0x9b)
      return
    }
    if (packet.properties?.topicAlias !== undefined) {
      this.violated('topic alias, though the maximum is 0 [MQTT-3.3.2-11]', 0x94)
      return
    }
    this.options.counters.received++
    const connection = this.connection
    this.listener.onMessage(packet.topic, packet.payload, packet.qos, packet.dup, packet.retain)
    if (packet.qos === 1 && connection === this.connection) this.send(encodeAcknowledgement('puback', packet.packetId, 0, this.version))
  }

  // Messages out.

  private dropped(): false {
    this.options.counters.dropped++
    return false
  }

  /** Sends what waits. Once a replay is over, whatever was the last of it, the subscriptions follow. */
  private pump(): void {
    this.sendWaiting()
    if (this.ready || this.replaying) return
    this.sendWantedSubscriptions()
    this.becomeReady()
  }

  private sendWaiting(): void {
    const outgoing = this.outgoing
    if (outgoing === undefined) return
    const { profile } = this.options
    const window = Math.min(profile.inFlightLimit, this.limits.receiveMaximum, PUBLISHES_IN_FLIGHT_AT_MOST)
    while (this.writable && this.currentState === 'connected') {
      const publish = outgoing.next(window)
      if (publish === undefined) return
      if (publish.qos === 0) {
        outgoing.settled()
        this.sendAtMostOnce(publish)
      } else this.sendAtLeastOnce(outgoing, publish)
    }
  }

  private sendAtLeastOnce(outgoing: OutgoingStore, publish: OutgoingPublish): void {
    const { counters, profile } = this.options
    const isNew = publish.packetId === 0
    const packetId = isNew ? this.unusedPacketId() : publish.packetId
    publish.packetId = packetId
    const bytes = encodePublish(publish, this.version)
    const refusal = this.limits.refusalOf(publish, bytes.length)
    if (refusal !== 0) {
      outgoing.abandon(publish)
      counters.refused++
      this.listener.onPublished(publish.token, refusal)
      return
    }
    const nowMs = this.host.nowMs()
    outgoing.sent(publish, nowMs)
    if (isNew) counters.sent++
    else counters.resent++
    this.send(bytes)
    if (profile.acknowledgeTimeoutMs !== undefined) this.arm(nowMs + profile.acknowledgeTimeoutMs)
  }

  private sendAtMostOnce(publish: OutgoingPublish): void {
    const bytes = encodePublish(publish, this.version)
    if (this.limits.refusalOf(publish, bytes.length) !== 0) {
      this.options.counters.refused++
      return
    }
    this.options.counters.sent++
    this.send(bytes)
  }

  private onPuback(packet: Acknowledgement): void {
    const { counters } = this.options
    const publish = this.outgoing?.acknowledge(packet.packetId)
    if (publish === undefined) {
      counters.unexpectedAcknowledgements++
      return
    }
    this.answered()
    if (packet.reasonCode >= 0x80) {
      counters.refused++
      countReason(counters, 'puback', packet.reasonCode)
    } else counters.acknowledged++
    const connection = this.connection
    this.listener.onPublished(publish.token, packet.reasonCode)
    if (connection !== this.connection) return
    this.pump()
  }

  /** The next id that neither an open publish nor an open subscribe holds [MQTT-2.2.1-3]. */
  private unusedPacketId(): number {
    let packetId = this.lastPacketId
    do packetId = packetId === 0xffff ? 1 : packetId + 1
    while (this.outgoing?.holds(packetId) === true || this.subscriptions?.holds(packetId) === true)
    this.lastPacketId = packetId
    return packetId
  }

  // Subscriptions.

  private sendWantedSubscriptions(): void {
    if (this.currentState !== 'connected' || this.subscriptions === undefined) return
    const wanted = this.subscriptions.wanted()
    if (wanted.length === 0) return
    const packetId = this.unusedPacketId()
    const nowMs = this.host.nowMs()
    this.subscriptions.asked(packetId, wanted, nowMs)
    const requests = wanted.map(
      ({ filter, qos }) => ({ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }) as const,
    )
    this.send(encodePacket({ type: 'subscribe', packetId, subscriptions: requests }, this.version))
    const { acknowledgeTimeoutMs } = this.options.profile
    if (acknowledgeTimeoutMs !== undefined) this.arm(nowMs + acknowledgeTimeoutMs)
  }

  private onSuback({ packetId, reasonCodes }: Suback): void {
    const { counters } = this.options
    const filters = this.subscriptions?.filtersOf(packetId) ?? 0
    if (filters === 0) {
      counters.unexpectedAcknowledgements++
      return
    }
    if (reasonCodes.length !== filters) {
      this.violated('SUBACK with a reason code for not every filter [MQTT-3.8.4-6]', 0x82)
      return
    }
    this.answered()
    this.subscriptions!.answered(packetId, reasonCodes)
    for (const reasonCode of reasonCodes) if (reasonCode >= 0x80) countReason(counters, 'suback', reasonCode)
    this.becomeReady()
  }

  private becomeReady(): void {
    if (this.currentState !== 'connected' || this.ready || this.replaying || this.subscriptions?.anyOpen === true) return
    this.ready = true
    this.listener.onReady()
  }

  // Time.

  private answered(): void {
    this.lastAnswerMs = this.host.nowMs()
    if (this.options.profile.keepaliveFrom === 'answers') this.pingSentMs = NO_PING
  }

  private send(bytes: Buffer): void {
    this.lastSentMs = this.host.nowMs()
    if (!this.connection!.write(bytes)) this.writable = false
  }

  private pingDueMs(): number {
    const keepaliveMs = this.keepaliveSeconds * 1000
    if (keepaliveMs === 0) return NEVER
    if (this.pingSentMs !== NO_PING) return this.pingSentMs + pingTimeoutMsOf(this.options.profile, this.keepaliveSeconds)
    const fromMs = this.options.profile.keepaliveFrom === 'answers' ? this.lastAnswerMs : Math.min(this.lastSentMs, this.lastAnswerMs)
    return fromMs + keepaliveMs
  }

  private acknowledgeDueMs(): number {
    const { acknowledgeTimeoutMs } = this.options.profile
    if (acknowledgeTimeoutMs === undefined) return NEVER
    return Math.min(this.outgoing?.oldestSentAtMs() ?? NEVER, this.subscriptions?.oldestSentAtMs() ?? NEVER) + acknowledgeTimeoutMs
  }

  private nextDeadlineMs(): number {
    return this.currentState === 'connected' ? Math.min(this.pingDueMs(), this.acknowledgeDueMs()) : this.deadlineMs
  }

  /** Sees to it that the timer fires at `atMs` at the latest. Where it fires earlier, `onTimer` sets it again. */
  private arm(atMs: number): void {
    if (this.timerAtMs <= atMs) return
    this.timer?.cancel()
    this.timerAtMs = atMs
    this.timer = this.host.setTimer(Math.max(0, atMs - this.host.nowMs()), () => this.onTimer())
  }

  private onTimer(): void {
    this.timer = undefined
    this.timerAtMs = NEVER
    const nowMs = this.host.nowMs() + TIMER_SLACK_MS
    switch (this.currentState) {
      case 'connecting':
      case 'awaiting-connack':
        if (nowMs >= this.deadlineMs) this.lose('connect timeout', 'give-up')
        break
      case 'backing-off':
        if (nowMs >= this.deadlineMs) this.beginRound('back-off over')
        break
      case 'connected':
        this.onTimerConnected(nowMs)
        break
    }
    if (this.currentState === 'resolving' || this.currentState === 'stopped') return
    const nextMs = this.nextDeadlineMs()
    if (nextMs !== NEVER) this.arm(nextMs)
  }

  private onTimerConnected(nowMs: number): void {
    const { counters } = this.options
    if (nowMs >= this.acknowledgeDueMs()) {
      counters.acknowledgeTimeouts++
      this.lose('acknowledgement timeout', 'give-up')
    } else if (nowMs >= this.pingDueMs()) {
      if (this.pingSentMs === NO_PING) {
        this.pingSentMs = this.host.nowMs()
        this.send(PINGREQ)
      } else {
        counters.pingTimeouts++
        this.lose('ping timeout', 'give-up')
      }
    }
  }

  private become(state: ClientState, why: string): void {
    if (this.host.recording)
      emit(this.host, { kind: 'client-state-changed', clientId: this.clientId, from: this.currentState, to: state, why })
    this.currentState = state
  }
}
