/**
 * The connection of a client over time: rounds of attempts, CONNECT and CONNACK, keepalive, giving up what is silent, backing off, and going away and coming back.
 * Its states, and its clock. What flows over an accepted connection is the matter of `MqttClient`.
 *
 * Promises: at most one connection is listened to; one timer, which a busy client moves once an acknowledgement timeout, not once a packet.
 */
import { emit } from '../events.ts'
import type { CloseReason, Connection, ConnectionHandler, Host, Timer } from '../host.ts'
import { encodePacket, type Malformed, type PacketReader, type PacketSink } from '../wire/mqtt-codec.ts'
import type { Connack, Packet, ProtocolVersion } from '../wire/packets.ts'
import { clientHello, TlsEnd } from '../wire/tls-flights.ts'
import { cleanStartOf, encodeConnect, keepaliveSecondsOf, readerOf, refusalIsOfThisServer, resumedOf, versionOf } from './connect.ts'
import { countReason, reasonText } from './counters.ts'
import { Dialer } from './dialer.ts'
import { Keepalive } from './keepalive.ts'
import { leaveBehind } from './left-behind.ts'
import type { ClientState, ConnectionEnding, MqttClientListener, MqttClientOptions } from './options.ts'
import { type ServerLimits, serverLimitsOf, unlimited } from './server-limits.ts'

const NEVER = Number.POSITIVE_INFINITY
/** Half a microsecond: a sum of fractions may fall short of its deadline by a rounding error. */
const TIMER_SLACK_MS = 0.0005

const PINGREQ = encodePacket({ type: 'pingreq' }, 5)

/** Abstract rather than a port, because there are many clients: a part of its own would be an object more for each. */
export abstract class ReconnectingConnection implements ConnectionHandler, PacketSink {
  readonly host: Host
  readonly options: MqttClientOptions
  readonly listener: MqttClientListener
  /** Of the server that accepted last. */
  limits: ServerLimits = unlimited
  /** Whether the connection wants more bytes at present. */
  writable = true
  /** `onReady` was told of the present connection. */
  protected ready = false

  private currentState: ClientState = 'idle'
  private readonly dialer: Dialer
  private connection: Connection | undefined
  /** Oldest first; some may be closed by now. */
  private leftOpen: Connection[] | undefined
  private reader: PacketReader | undefined
  /** While the handshake is under way. */
  private tls: TlsEnd | undefined

  private readonly keepalive = new Keepalive()
  private timer: Timer | undefined
  private timerAtMs = NEVER
  /** Of the attempt or the wait at hand. */
  private deadlineMs = NEVER
  private attemptStartedMs = 0

  constructor(host: Host, options: MqttClientOptions, listener: MqttClientListener) {
    this.host = host
    this.options = options
    this.listener = listener
    this.dialer = new Dialer(host, options)
  }

  /** Sends what waits and may now be sent. */
  abstract pump(): void
  /** A packet behind CONNACK, other than PINGRESP and DISCONNECT. */
  protected abstract onSessionPacket(packet: Packet): void
  /** CONNACK accepted. `resumed`: into the session of before; `kept`: the client relies on the subscriptions that were granted in it. */
  protected abstract onSession(resumed: boolean, kept: boolean): void
  /** When the packet that has waited longest for its answer was written; infinite when there is none. */
  protected abstract oldestUnansweredMs(): number

  get state(): ClientState {
    return this.currentState
  }

  get clientId(): string {
    return this.options.clientId
  }

  get version(): ProtocolVersion {
    return versionOf(this.options)
  }

  get accepted(): Connection | undefined {
    return this.currentState === 'connected' ? this.connection : undefined
  }

  start(): void {
    if (this.currentState !== 'idle') throw new Error(`${this.clientId}: start() in state ${this.currentState}, expected idle`)
    this.beginRound('started')
  }

  /** Disconnects in order, for good. No further callback. */
  stop(): void {
    if (this.currentState === 'stopped') return
    this.leave('stopped', 'disconnect', 'stopped')
    for (const connection of this.leftOpen ?? []) connection.reset()
    this.leftOpen = undefined
  }

  /**
   * The device is switched off the network, and is on again with `comeBack`. It keeps its session's state; what is published meanwhile waits, or is dropped, as
   * without a connection. The application is told that the connection closed. Does nothing before `start`, when away, and after `stop`.
   */
  goAway(ending: ConnectionEnding): void {
    if (this.currentState === 'idle' || this.currentState === 'away' || this.currentState === 'stopped') return
    const connected = this.currentState === 'connected'
    this.leave('away', ending, ending)
    if (connected) this.listener.onClosed(`went away: ${ending}`)
  }

  /** Ends `goAway`; does nothing otherwise. */
  comeBack(): void {
    if (this.currentState === 'away') this.beginRound('came back')
  }

  // The connection's callbacks.

  onOpen(connection: Connection): void {
    if (connection !== this.connection) return
    const { tls } = this.options
    if (tls === undefined) {
      this.sendConnect('open')
      return
    }
    this.become('securing', 'open')
    this.tls = new TlsEnd(tls)
    connection.write(clientHello(tls))
    // The libraries' connect timeouts are for the socket that they are given, TLS included.
    this.deadlineMs = this.attemptStartedMs + this.options.profile.connectTimeoutMs
    this.arm(this.deadlineMs)
  }

  onData(connection: Connection, bytes: Buffer): void {
    if (connection !== this.connection) return
    if (this.tls === undefined) this.reader!.read(bytes, this)
    else this.onTlsData(connection, bytes, this.tls)
  }

  private onTlsData(connection: Connection, bytes: Buffer, tls: TlsEnd): void {
    const progress = tls.read(bytes)
    if (progress.kind === 'waiting') return
    if (progress.kind === 'not-ours') {
      this.lose('TLS handshake failed', 'close')
      return
    }
    if (progress.answer !== undefined) connection.write(progress.answer)
    if (!progress.done) return
    this.tls = undefined
    this.sendConnect('secured')
    if (progress.rest.length > 0) this.onData(connection, progress.rest)
  }

  private sendConnect(why: string): void {
    this.become('awaiting-connack', why)
    this.send(encodeConnect(this.options))
    const { connectTimeoutMs, connackTimeoutMs } = this.options.profile
    if (connackTimeoutMs === undefined) this.deadlineMs = this.attemptStartedMs + connectTimeoutMs
    else this.deadlineMs = this.host.nowMs() + (connackTimeoutMs === 'keepalive' ? this.ownKeepaliveMs : connackTimeoutMs)
    this.arm(this.deadlineMs)
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
    if (this.options.profile.keepaliveFrom === 'sends-and-receipts') this.answered()
    if (this.currentState === 'awaiting-connack') {
      if (packet.type === 'connack') this.onConnack(packet)
      else this.violated(`${packet.type} before CONNACK [MQTT-3.2.0-1]`, 0x82)
    } else if (packet.type === 'pingresp') {
      this.answered()
      this.keepalive.pingAnswered()
    } else if (packet.type === 'disconnect') {
      countReason(this.options.counters, 'disconnect', packet.reasonCode)
      this.lose(reasonText('disconnect', packet.reasonCode), 'close')
    } else this.onSessionPacket(packet)
  }

  onMalformed(problem: Malformed): void {
    this.violated(`${problem.text} [${problem.statement}]`, problem.reasonCode)
  }

  // What the parts of a client ask for; see `ClientCore`.

  send(bytes: Buffer): void {
    this.keepalive.sent(this.host.nowMs())
    if (!this.connection!.write(bytes)) this.writable = false
  }

  sendForAnswer(bytes: Buffer, nowMs: number): void {
    this.send(bytes)
    const { acknowledgeTimeoutMs } = this.options.profile
    if (acknowledgeTimeoutMs !== undefined) this.arm(nowMs + acknowledgeTimeoutMs)
  }

  answered(): void {
    this.keepalive.answered(this.host.nowMs(), this.options.profile)
  }

  /** An MQTT 5 client says what was wrong, and closes (MQTT 5, section 4.13.1). */
  violated(what: string, reasonCode: number): void {
    this.options.counters.protocolViolations++
    if (this.version === 5) this.accepted?.write(encodePacket({ type: 'disconnect', reasonCode }, 5))
    this.lose(`protocol violation: ${what}`, 'close')
  }

  // Getting connected.

  private beginRound(why: string): void {
    this.become('resolving', why)
    this.dialer.beginRound((found) => {
      if (found) this.connectNext('resolved')
      else {
        this.options.counters.connectFailures++
        this.backOff('no address')
      }
    })
  }

  private connectNext(why: string): void {
    const { port, clientId } = this.options
    const host = this.dialer.next()
    this.become('connecting', why)
    this.attemptStartedMs = this.host.nowMs()
    this.deadlineMs = this.attemptStartedMs + this.dialer.openTimeoutMs
    this.writable = true
    this.reader = readerOf(this.options)
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
      if (!refusalIsOfThisServer(packet.reasonCode, this.version)) this.dialer.endRound()
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
    const { counters } = this.options
    this.dialer.finish()
    this.deadlineMs = NEVER
    this.limits = serverLimitsOf(packet.properties)
    this.become('connected', packet.sessionPresent ? 'session present' : 'no session')
    this.keepalive.opened(this.host.nowMs())
    counters.connects++

    const resumed = resumedOf(this.options, packet.sessionPresent)
    if (resumed) counters.sessionsResumed++
    this.onSession(resumed, resumed && this.reliesOnSession)

    const connection = this.connection
    this.listener.onConnected(resumed)
    if (connection !== this.connection) return
    this.pump()
    this.arm(this.nextDeadlineMs())
  }

  /** Whether a client that resumed its session leaves the subscriptions as they were. */
  private get reliesOnSession(): boolean {
    const { resubscribe } = this.options.profile
    return resubscribe !== 'on-each-connect' && (this.version !== 3 || resubscribe === 'always-if-clean')
  }

  /** What no server answers for: the round goes on with the next address, or ends. */
  private attemptFailed(from: ClientState, why: string): void {
    this.options.counters.connectFailures++
    const triesOn = from === 'connecting' || this.options.profile.nextAddressOn === 'any-failure'
    if (triesOn && this.dialer.hasNext) this.connectNext(why)
    else this.backOff(why)
  }

  private backOff(why: string): void {
    this.dialer.endRound()
    this.become('backing-off', why)
    this.deadlineMs = this.host.nowMs() + this.dialer.nextWaitMs()
    this.arm(this.deadlineMs)
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
    this.tls = undefined
    if (how === 'close') this.connection?.close()
    else if (how === 'reset') this.connection?.reset()
    else if (how === 'give-up') this.giveUp(this.connection!)
    this.connection = undefined
    this.keepalive.pingAnswered()
    this.ready = false
  }

  private giveUp(connection: Connection): void {
    if (this.options.leavesSocketsOpen !== true || this.currentState === 'connecting') {
      connection.reset()
      return
    }
    this.leftOpen ??= []
    leaveBehind(connection, this.leftOpen)
  }

  /** By the client's own will: an attempt or a wait is given up, a connection ended as asked. */
  private leave(state: 'away' | 'stopped', ending: ConnectionEnding, why: string): void {
    const connection = this.accepted
    this.become(state, why)
    // Before MQTT 5 there is no DISCONNECT that asks for the will: only one that never comes.
    const saysSo = ending === 'disconnect' || (ending === 'disconnect-with-will' && this.version === 5)
    if (saysSo) connection?.write(encodePacket({ type: 'disconnect', reasonCode: ending === 'disconnect' ? 0 : 0x04 }, this.version))
    this.release(connection === undefined ? 'reset' : 'close')
    this.dialer.finish()
    this.deadlineMs = NEVER
    this.timer?.cancel()
    this.timer = undefined
    this.timerAtMs = NEVER
  }

  // Time.

  /** What it waits for CONNACK where the profile says `keepalive`; without one, as long as its connection lasts. */
  private get ownKeepaliveMs(): number {
    const keepaliveSeconds = keepaliveSecondsOf(this.options)
    return keepaliveSeconds === 0 ? NEVER : keepaliveSeconds * 1000
  }

  private pingDueMs(): number {
    return this.keepalive.dueMs(this.options.profile, this.limits.keepaliveSeconds ?? keepaliveSecondsOf(this.options))
  }

  private acknowledgeDueMs(): number {
    const { acknowledgeTimeoutMs } = this.options.profile
    if (acknowledgeTimeoutMs === undefined) return NEVER
    return this.oldestUnansweredMs() + acknowledgeTimeoutMs
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
      case 'securing':
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
    if (this.currentState === 'resolving') return
    const nextMs = this.nextDeadlineMs()
    if (nextMs !== NEVER) this.arm(nextMs)
  }

  private onTimerConnected(nowMs: number): void {
    const { counters } = this.options
    if (nowMs >= this.acknowledgeDueMs()) {
      counters.acknowledgeTimeouts++
      this.lose('acknowledgement timeout', 'give-up')
    } else if (nowMs >= this.pingDueMs()) {
      if (!this.keepalive.awaitsPingresp) {
        this.keepalive.pingSent(this.host.nowMs())
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
