/**
 * A session shard: which sessions exist, who holds each, what each subscribes to.
 *
 * Promises: every CONNECT gets an epoch greater than any before it in this shard, durably, before it is answered; and before that the former connection of the same
 * client has been silenced (`ProxyLeases`), so that after a CONNACK nothing leaves through the old connection. A session that is over is taken out of
 * every topic shard that may hold a queue for it, however often that has to be tried.
 * Age, not wall time, counts towards expiry; while nobody owns the shard no age passes, so a session may live longer than asked, never shorter.
 * Left out: QoS 2 identifiers and wills, the next guests of this log.
 */
import { emit } from '../events.ts'
import type { Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { type ShardCounts, shardsOfFilter } from '../shards.ts'
import type { Volume } from '../volume/volume.ts'
import { Reader } from '../wire/codec.ts'
import type { Link } from '../wire/link.ts'
import type { Message, MessageOf, Subscription } from '../wire/messages.ts'
import { appendCheckpoint, CheckpointReader, CheckpointTrigger } from './checkpoint.ts'
import type { ProxyLeases } from './proxy-leases.ts'
import { SessionCleanups } from './session-cleanups.ts'
import {
  cleanedRecord,
  disconnectedRecord,
  endedRecord,
  openedRecord,
  sessionCheckpoint,
  sessionRecordType,
  sessionSubscriptionsRecord,
} from './session-records.ts'
import type { Shard } from './shard.ts'
import type { ShardCaller } from './shard-caller.ts'
import { checkpointRecord, RECORD_VERSION } from './topic-records.ts'

/** Session Expiry Interval of a session that does not expire [MQTT-3.1.2.11.2]. */
const NEVER_EXPIRES = 0xffff_ffff

interface Session {
  readonly clientId: string
  readonly incarnation: number
  epoch: number
  expirySeconds: number
  proxy: string
  bootId: number
  handle: number
  /** What the last open answered. */
  sessionPresent: boolean
  version: number
  subscriptions: readonly Subscription[]
  /** Topic shards that may keep a queue for this session. */
  topicShards: readonly number[]
  /** By the log: opened, and not closed since. */
  connected: boolean
  /** The link on which the connection was opened or validated; undefined after a failover until the proxy has spoken up. */
  link: Link | undefined
  disconnectedAgeMs: number
}

interface Opening {
  readonly request: MessageOf<'openSession'>
  readonly link: Link
  readonly reply: (message: Message) => void
}

export class SessionShard implements Shard {
  private readonly host: Host
  private readonly counts: ShardCounts
  private readonly settings: ServiceSettings
  private readonly leases: ProxyLeases
  private readonly cleanups: SessionCleanups
  private volume!: Volume
  private serving = false
  private pristine = true
  private lastEpoch = 0
  private readonly sessions = new Map<string, Session>()
  private readonly opening = new Map<string, Opening>()
  private readonly checkpointReader = new CheckpointReader()
  private readonly checkpoints: CheckpointTrigger
  private expiryTimer: Timer | undefined
  private expiryAtAgeMs = Number.POSITIVE_INFINITY
  private ageBaseMs = 0
  private servingSinceMs = 0

  constructor(host: Host, counts: ShardCounts, settings: ServiceSettings, leases: ProxyLeases, caller: ShardCaller) {
    this.host = host
    this.counts = counts
    this.settings = settings
    this.leases = leases
    this.checkpoints = new CheckpointTrigger(settings.broker.checkpointBytes)
    this.cleanups = new SessionCleanups(host, caller, (incarnation) => {
      this.append(sessionRecordType.cleaned, (writer) => cleanedRecord.write(writer, { incarnation }))
    })
  }

  replay(_offset: number, type: number, _version: number, body: Buffer): void {
    const reader = new Reader(body)
    if (type !== sessionRecordType.checkpoint) this.pristine = false
    switch (type) {
      case sessionRecordType.opened:
        this.applyOpened(openedRecord.read(reader))
        break
      case sessionRecordType.subscriptions: {
        const record = sessionSubscriptionsRecord.read(reader)
        const session = this.sessions.get(record.clientId)
        if (session !== undefined) this.applySubscriptions(session, record.version, record.subscriptions)
        break
      }
      case sessionRecordType.disconnected: {
        const record = disconnectedRecord.read(reader)
        this.ageBaseMs = Math.max(this.ageBaseMs, record.ageMs)
        const session = this.sessions.get(record.clientId)
        if (session !== undefined) this.applyDisconnected(session, record.expirySeconds, record.ageMs)
        break
      }
      case sessionRecordType.ended: {
        const record = endedRecord.read(reader)
        this.sessions.delete(record.clientId)
        this.cleanups.add(record)
        break
      }
      case sessionRecordType.cleaned:
        this.cleanups.done(cleanedRecord.read(reader).incarnation)
        break
      case sessionRecordType.checkpoint: {
        const whole = this.checkpointReader.take(checkpointRecord.read(reader))
        if (whole !== undefined) this.restore(whole)
        break
      }
    }
  }

  serve(volume: Volume): void {
    this.volume = volume
    this.serving = true
    this.servingSinceMs = this.host.nowMs()
    this.checkpoints.attached(volume)
    this.cleanups.start()
    // A proxy that does not speak up for its clients within the time after which it would have closed them has lost them.
    this.host.setTimer(this.settings.proxy.unreachableCloseMs + this.settings.proxy.sessionLeaseMs, () => {
      if (!this.serving) return
      for (const session of [...this.sessions.values()])
        if (session.connected && session.link === undefined) this.disconnect(session, session.expirySeconds)
    })
    this.expireSessions()
  }

  close(): void {
    this.serving = false
    this.expiryTimer?.cancel()
    this.cleanups.stop()
    this.opening.clear()
  }

  onRequest(link: Link, message: Message, reply: (message: Message) => void): void {
    switch (message.name) {
      case 'openSession':
        this.open({ request: message, link, reply })
        break
      case 'setSubscriptions':
        this.setSubscriptions(message, reply)
        break
      case 'closeSession':
        this.closeSession(message, reply)
        break
      case 'resumeSessions':
        this.resume(link, message, reply)
        break
    }
  }

  onNotice(): void {}

  onLinkDown(link: Link): void {
    if (!this.serving) return
    this.host.setTimer(this.leases.remainingMs(link) + 1, () => {
      if (!this.serving) return
      for (const session of [...this.sessions.values()]) if (session.link === link) this.disconnect(session, session.expirySeconds)
    })
  }

  private ageMs(): number {
    return this.serving ? this.ageBaseMs + this.host.nowMs() - this.servingSinceMs : this.ageBaseMs
  }

  /** Says so once all that was appended is durable. What changed nothing waits for nothing, so the word of an owner also needs its lease. */
  private answer(reply: (message: Message) => void, message: Message, notOwner: Message): void {
    this.volume.whenDurable(() => reply(this.volume.leaseValid() ? message : notOwner))
  }

  private append(type: number, write: Parameters<Volume['append']>[2]): void {
    this.host.work('record', 1)
    this.volume.append(type, RECORD_VERSION, write)
  }

  // Opening

  private open(opening: Opening): void {
    const { clientId } = opening.request
    const session = this.sessions.get(clientId)
    if (session?.connected && isSameAttempt(session, opening.request) && !this.opening.has(clientId)) {
      session.link = opening.link
      this.answerOpened(session, opening.reply)
      return
    }
    const waiting = this.opening.get(clientId)
    this.opening.set(clientId, opening)
    if (waiting !== undefined) {
      if (!isSameAttempt(waiting.request, opening.request)) waiting.reply(refusal('superseded'))
      return
    }
    if (session === undefined || !session.connected || session.link === undefined) {
      this.finishOpen(clientId)
      return
    }
    this.leases.silence(session.link, { clientId, epoch: session.epoch, handle: session.handle }, (by) => {
      if (!this.serving) return
      if (this.host.recording) emit(this.host, { kind: 'session-taken-over', clientId, epoch: session.epoch, by })
      this.host.reached(by === 'kicked' ? 'session taken over by kick' : 'session taken over after the lease ended')
      this.finishOpen(clientId)
    })
  }

  private finishOpen(clientId: string): void {
    const { request, link, reply } = this.opening.get(clientId)!
    this.opening.delete(clientId)
    const former = this.sessions.get(clientId)
    const sessionPresent = former !== undefined && !request.cleanStart && this.outlivesConnection(former)
    if (former !== undefined && !sessionPresent) this.end(former)
    const epoch = this.lastEpoch + 1
    const record = {
      clientId,
      epoch,
      incarnation: sessionPresent ? former.incarnation : epoch,
      expirySeconds: request.expirySeconds,
      sessionPresent,
      proxy: request.proxy,
      bootId: request.bootId,
      handle: request.handle,
    }
    this.append(sessionRecordType.opened, (writer) => openedRecord.write(writer, record))
    const session = this.applyOpened(record)
    session.link = link
    if (this.host.recording) emit(this.host, { kind: 'session-opened', clientId, epoch, proxy: request.proxy, sessionPresent })
    this.answerOpened(session, reply)
    if (this.checkpoints.due(this.volume)) this.checkpoint()
  }

  private applyOpened(record: ReturnType<typeof openedRecord.read>): Session {
    this.lastEpoch = Math.max(this.lastEpoch, record.epoch)
    let session = this.sessions.get(record.clientId)
    if (session === undefined || session.incarnation !== record.incarnation) {
      session = {
        clientId: record.clientId,
        incarnation: record.incarnation,
        epoch: record.epoch,
        expirySeconds: record.expirySeconds,
        proxy: record.proxy,
        bootId: record.bootId,
        handle: record.handle,
        sessionPresent: record.sessionPresent,
        version: 0,
        subscriptions: [],
        topicShards: [],
        connected: true,
        link: undefined,
        disconnectedAgeMs: 0,
      }
      this.sessions.set(record.clientId, session)
      return session
    }
    session.epoch = record.epoch
    session.expirySeconds = record.expirySeconds
    session.sessionPresent = record.sessionPresent
    session.proxy = record.proxy
    session.bootId = record.bootId
    session.handle = record.handle
    session.connected = true
    session.link = undefined
    session.version = 0
    return session
  }

  private answerOpened(session: Session, reply: (message: Message) => void): void {
    const { sessionPresent, epoch, incarnation, subscriptions } = session
    this.answer(
      reply,
      { name: 'sessionOpened', outcome: 'opened', sessionPresent, epoch, incarnation, subscriptions },
      refusal('not-owner'),
    )
  }

  private resume(link: Link, request: MessageOf<'resumeSessions'>, reply: (message: Message) => void): void {
    const superseded: number[] = []
    const lost: number[] = []
    for (const { clientId, epoch, handle } of request.sessions) {
      const session = this.sessions.get(clientId)
      if (session !== undefined && (session.epoch !== epoch || this.opening.has(clientId))) superseded.push(handle)
      else if (session === undefined || !session.connected) lost.push(handle)
      else {
        session.link = link
        session.handle = handle
      }
    }
    this.answer(
      reply,
      { name: 'sessionsResumed', outcome: 'done', superseded, lost },
      { name: 'sessionsResumed', outcome: 'not-owner', superseded: [], lost: [] },
    )
  }

  // Subscriptions

  private setSubscriptions(request: MessageOf<'setSubscriptions'>, reply: (message: Message) => void): void {
    const session = this.sessions.get(request.clientId)
    if (session === undefined || session.epoch !== request.epoch) {
      reply({ name: 'answer', outcome: 'fenced' })
      return
    }
    if (request.version > session.version) {
      const { clientId, version, subscriptions } = request
      this.append(sessionRecordType.subscriptions, (writer) =>
        sessionSubscriptionsRecord.write(writer, { clientId, version, subscriptions }),
      )
      this.applySubscriptions(session, version, subscriptions)
    }
    this.answer(reply, { name: 'answer', outcome: 'done' }, { name: 'answer', outcome: 'not-owner' })
    if (this.checkpoints.due(this.volume)) this.checkpoint()
  }

  private applySubscriptions(session: Session, version: number, subscriptions: readonly Subscription[]): void {
    session.version = version
    session.subscriptions = subscriptions
    for (const { filter } of subscriptions) {
      const unknown = shardsOfFilter(this.counts, filter).filter((shard) => !session.topicShards.includes(shard))
      if (unknown.length > 0) session.topicShards = session.topicShards.concat(unknown)
    }
  }

  // Closing

  private closeSession(request: MessageOf<'closeSession'>, reply: (message: Message) => void): void {
    const opening = this.opening.get(request.clientId)
    if (request.epoch === 0 && opening !== undefined && isSameAttempt(opening.request, request)) {
      // Not opened yet: to be told again once it is.
      reply({ name: 'answer', outcome: 'not-owner' })
      return
    }
    const session = this.sessions.get(request.clientId)
    if (session?.connected === true && (session.epoch === request.epoch || (request.epoch === 0 && isSameAttempt(session, request)))) {
      this.disconnect(session, request.expirySeconds)
    }
    this.answer(reply, { name: 'answer', outcome: 'done' }, { name: 'answer', outcome: 'not-owner' })
  }

  private disconnect(session: Session, expirySeconds: number): void {
    if (expirySeconds === 0) {
      this.end(session)
      return
    }
    const { clientId } = session
    const ageMs = Math.floor(this.ageMs())
    this.append(sessionRecordType.disconnected, (writer) => disconnectedRecord.write(writer, { clientId, expirySeconds, ageMs }))
    this.applyDisconnected(session, expirySeconds, ageMs)
    this.armExpiry(this.expiryAgeMs(session))
  }

  private applyDisconnected(session: Session, expirySeconds: number, ageMs: number): void {
    session.connected = false
    session.link = undefined
    session.expirySeconds = expirySeconds
    session.disconnectedAgeMs = ageMs
  }

  private end(session: Session): void {
    const record = {
      clientId: session.clientId,
      incarnation: session.incarnation,
      epoch: session.epoch,
      topicShards: session.topicShards,
    }
    this.append(sessionRecordType.ended, (writer) => endedRecord.write(writer, record))
    this.sessions.delete(session.clientId)
    this.cleanups.add(record)
    if (this.host.recording) emit(this.host, { kind: 'session-ended', clientId: session.clientId, incarnation: session.incarnation })
  }

  private expiryAgeMs(session: Session): number {
    if (session.connected || session.expirySeconds === NEVER_EXPIRES) return Number.POSITIVE_INFINITY
    return session.disconnectedAgeMs + session.expirySeconds * 1000
  }

  /** Whether the session is still there once its connection is not: a takeover ends one with expiry 0 too [MQTT-3.1.4-3; v3.1.1 MQTT-3.1.2-6]. */
  private outlivesConnection(session: Session): boolean {
    return session.connected ? session.expirySeconds > 0 : !this.isExpired(session)
  }

  private isExpired(session: Session): boolean {
    return this.expiryAgeMs(session) <= this.ageMs()
  }

  /** One timer, for the session that expires first. */
  private armExpiry(atAgeMs: number): void {
    if (atAgeMs >= this.expiryAtAgeMs) return
    this.expiryTimer?.cancel()
    this.expiryAtAgeMs = atAgeMs
    this.expiryTimer = this.host.setTimer(Math.max(0, atAgeMs - this.ageMs()) + 1, () => this.expireSessions())
  }

  private expireSessions(): void {
    this.expiryAtAgeMs = Number.POSITIVE_INFINITY
    let earliestAgeMs = Number.POSITIVE_INFINITY
    for (const session of [...this.sessions.values()]) {
      // A CONNECT that is being served decides over the session itself.
      if (this.opening.has(session.clientId)) continue
      if (this.isExpired(session)) this.end(session)
      else earliestAgeMs = Math.min(earliestAgeMs, this.expiryAgeMs(session))
    }
    this.armExpiry(earliestAgeMs)
  }

  // Checkpoints

  private checkpoint(): void {
    const state = {
      ageMs: Math.floor(this.ageMs()),
      lastEpoch: this.lastEpoch,
      sessions: [...this.sessions.values()],
      cleanups: this.cleanups.snapshot(),
    }
    appendCheckpoint(this.volume, this.checkpoints, sessionRecordType.checkpoint, (writer) => sessionCheckpoint.write(writer, state))
  }

  private restore(bytes: Buffer): void {
    if (!this.pristine) return
    this.pristine = false
    this.host.reached('session shard restored from a checkpoint')
    const reader = new Reader(bytes)
    const state = sessionCheckpoint.read(reader)
    if (!reader.complete()) throw new Error('checkpoint of a session shard does not decode')
    this.ageBaseMs = state.ageMs
    this.lastEpoch = state.lastEpoch
    for (const session of state.sessions) {
      this.sessions.set(session.clientId, { ...session, link: undefined })
    }
    for (const cleanup of state.cleanups) this.cleanups.add(cleanup)
  }
}

function isSameAttempt(
  a: { readonly proxy: string; readonly bootId: number; readonly handle: number },
  b: { readonly proxy: string; readonly bootId: number; readonly handle: number },
): boolean {
  return a.handle === b.handle && a.bootId === b.bootId && a.proxy === b.proxy
}

function refusal(outcome: 'not-owner' | 'superseded'): Message {
  return { name: 'sessionOpened', outcome, sessionPresent: false, epoch: 0, incarnation: 0, subscriptions: [] }
}
