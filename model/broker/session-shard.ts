/**
 * A session shard: which sessions exist, who holds each, what each subscribes to, which QoS 2 packet ids it has open, and its connection's will.
 *
 * Promises: every CONNECT gets an epoch greater than any before it in this shard, durably, before it is answered; and before that the former connection of the same
 * client has been silenced (`Takeovers`), so that after a CONNACK nothing leaves through the old connection. A session that is over is taken out of every topic shard that may
 * hold a queue for it, however often that has to be tried (`Outbox`).
 * A QoS 2 packet id means one message until it is released, over reconnects and failovers (`ReceivedIds`).
 * A will fires once its connection is lost and its delay or its session over, at most once, and is then sent until it is stored (`Outbox`). Only a will whose
 * connection is over by the log fires: a connection that a new owner still believes in has its will.
 * Age, not wall time, counts towards expiry and will delay; while nobody owns the shard no age passes, so a session may live longer than asked, never shorter, and
 * a will may come later.
 * What it knows is in `SessionTable`, which only records of the log change.
 */
import { emit } from '../events.ts'
import type { Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import type { ShardCounts } from '../shards.ts'
import { RESTORED } from '../volume/log-record.ts'
import type { Volume } from '../volume/volume.ts'
import type { Link } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'
import { Checkpoints } from './checkpoint.ts'
import { peekMessage } from './message-index.ts'
import { isSameAttempt, LostAttempts } from './open-attempts.ts'
import { Outbox, type OutboxCaller } from './outbox.ts'
import type { ProxyLeases } from './proxy-leases.ts'
import { type EndedSession, endErrand, type FiredWill, willErrand } from './session-errands.ts'
import { SessionQueries, type SessionQueriesOwner } from './session-queries.ts'
import { appendSessionRecord, readSessionRecord, SESSION_CHECKPOINT, type SessionRecord, sessionCheckpoint } from './session-records.ts'
import { expiryAgeMs, type Session, SessionTable, willAgeMs } from './session-table.ts'
import type { Shard } from './shard.ts'
import { Takeovers } from './takeovers.ts'

const SHORTEST_AGE_LOG_INTERVAL_MS = 5000
const LONGEST_AGE_LOG_INTERVAL_MS = 60_000

type Reply = (message: Message) => void

interface Opening {
  readonly request: MessageOf<'openSession'>
  readonly link: Link
  readonly reply: Reply
}

export class SessionShard implements Shard, SessionQueriesOwner {
  private readonly host: Host
  private readonly settings: ServiceSettings
  private readonly leases: Pick<ProxyLeases, 'silence' | 'remainingMs'>
  readonly table: SessionTable
  isServing = false
  private readonly ended: Outbox<EndedSession>
  private readonly firedWills: Outbox<FiredWill>
  private readonly checkpoints: Checkpoints<ReturnType<SessionTable['snapshot']>>
  private readonly opening = new Map<string, Opening>()
  private readonly lostAttempts: LostAttempts
  private readonly takeovers: Takeovers
  private readonly queries: SessionQueries
  private volume!: Volume
  private timer: Timer | undefined
  private timerAtAgeMs = Number.POSITIVE_INFINITY
  private ageBaseMs = 0
  private servingSinceMs = 0

  constructor(
    host: Host,
    counts: ShardCounts,
    settings: ServiceSettings,
    leases: Pick<ProxyLeases, 'silence' | 'remainingMs'>,
    caller: OutboxCaller,
  ) {
    this.host = host
    this.settings = settings
    this.leases = leases
    const ended = endErrand(({ incarnation }) => this.log({ name: 'cleaned', incarnation }))
    const willStored = willErrand(counts, ({ clientId, epoch }) => this.log({ name: 'willStored', clientId, epoch }))
    this.ended = new Outbox(host, caller, ended)
    this.firedWills = new Outbox(host, caller, willStored)
    this.table = new SessionTable(counts, this.ended, this.firedWills)
    this.lostAttempts = new LostAttempts(host)
    this.takeovers = new Takeovers(host, settings, leases)
    this.queries = new SessionQueries(host, this, settings.console.requestTimeoutMs / 2)
    this.checkpoints = new Checkpoints(host, settings.broker.checkpointBytes, {
      name: 'session shard',
      recordType: SESSION_CHECKPOINT,
      field: sessionCheckpoint,
      isAllInState: true,
      snapshot: () => this.table.snapshot(Math.floor(this.ageMs())),
      restore: (state) => this.table.restore(state),
    })
  }

  replay(_offset: number, type: number, _version: number, body: Buffer): void {
    if (this.checkpoints.replay(type, body)) return
    if (type === RESTORED) this.table.skipWhatIsLost()
    const record = readSessionRecord(type, body)
    if (record !== undefined) this.table.apply(record)
  }

  serve(volume: Volume): void {
    this.volume = volume
    this.isServing = true
    this.ageBaseMs = this.table.ageMs
    this.servingSinceMs = this.host.nowMs()
    this.takeovers.serve(volume.handedOver)
    this.checkpoints.attached(volume)
    this.ended.start(volume)
    this.firedWills.start(volume)
    // A proxy that does not speak up for its clients within the time after which it would have closed them has lost them.
    this.host.setTimer(this.settings.proxy.unreachableCloseMs + this.settings.proxy.sessionLeaseMs, () => this.loseConnections(undefined))
    this.onAge()
  }

  close(): void {
    this.isServing = false
    this.takeovers.close()
    this.timer?.cancel()
    this.ended.stop()
    this.firedWills.stop()
    this.opening.clear()
  }

  onRequest(link: Link, message: Message, reply: Reply): void {
    switch (message.name) {
      case 'openSession':
        this.open({ request: message, link, reply })
        break
      case 'setSubscriptions':
        this.setSubscriptions(message, reply)
        break
      case 'receivePublish':
        this.receivePublish(message, reply)
        break
      case 'releasePublish':
        this.releasePublish(message, reply)
        break
      case 'closeSession':
        this.closeSession(message, reply)
        break
      case 'resumeSessions':
        this.resume(link, message, reply)
        break
      case 'listSessions':
        this.queries.list(message, reply)
        break
      case 'kickFromShard':
        this.queries.kick(message, reply)
        break
    }
    this.checkpoints.writeIfDue(this.volume)
  }

  onNotice(): void {}

  onLinkDown(link: Link): void {
    if (!this.isServing) return
    this.host.setTimer(this.leases.remainingMs(link) + 1, () => this.loseConnections(link))
  }

  private ageMs(): number {
    return this.isServing ? this.ageBaseMs + this.host.nowMs() - this.servingSinceMs : this.table.ageMs
  }

  /** Says so once all that was appended is durable. What changed nothing waits for nothing, so the word of an owner also needs its lease. */
  answer(reply: Reply, message: Message, notOwner: Message): void {
    this.volume.whenDurable(() => reply(this.volume.leaseValid() ? message : notOwner))
  }

  private log(record: SessionRecord): void {
    this.host.work('record', 1)
    appendSessionRecord(this.volume, record)
    this.table.apply(record)
  }

  // Opening

  private open(opening: Opening): void {
    const { clientId } = opening.request
    const session = this.table.get(clientId)
    if (session?.connected && isSameAttempt(session, opening.request) && !this.opening.has(clientId)) {
      session.link = opening.link
      this.answerOpened(session, opening.reply)
      return
    }
    if (this.lostAttempts.has(clientId, opening.request)) {
      this.host.reached('open of a lost attempt refused')
      this.answer(opening.reply, refusal('superseded'), refusal('not-owner'))
      return
    }
    const waiting = this.opening.get(clientId)
    this.opening.set(clientId, opening)
    if (waiting !== undefined) {
      if (!isSameAttempt(waiting.request, opening.request)) waiting.reply(refusal('superseded'))
      return
    }
    if (session !== undefined && this.takeovers.isDueFor(session)) {
      this.takeovers.begin(session, () => this.finishOpen(clientId))
      return
    }
    // What was due before this CONNECT is due in spite of it.
    if (session?.connected === false) this.act(session)
    this.finishOpen(clientId)
  }

  private finishOpen(clientId: string): void {
    const { request, link, reply } = this.opening.get(clientId)!
    this.opening.delete(clientId)
    const former = this.table.get(clientId)
    const sessionPresent = former !== undefined && !request.cleanStart && this.outlivesConnection(former)
    if (former !== undefined) this.giveWay(former, sessionPresent)
    const epoch = this.table.lastEpoch + 1
    const incarnation = sessionPresent ? former.incarnation : epoch
    const { expirySeconds, proxy, bootId, handle, will } = request
    const sinceMs = Math.max(0, Math.floor(this.host.wallMs()))
    this.log({ name: 'opened', clientId, epoch, incarnation, expirySeconds, sessionPresent, proxy, bootId, handle, will, sinceMs })
    const session = this.table.get(clientId)!
    session.link = link
    if (this.host.recording) emit(this.host, { kind: 'session-opened', clientId, epoch, proxy, sessionPresent })
    this.answerOpened(session, reply)
  }

  /** To a new connection, which takes the session on or begins another. A will with a delay goes with a connection that came back in time [MQTT-3.1.3-9]. */
  private giveWay(former: Session, goesOn: boolean): void {
    if (former.will !== undefined) {
      if (goesOn && former.will.delaySeconds > 0) this.tellDropped(former, 'reconnected')
      else {
        if (former.connected) this.logDisconnected(former, former.expirySeconds, 'kept')
        this.fireWill(former)
      }
    }
    if (!goesOn) this.end(former)
  }

  private answerOpened(session: Session, reply: Reply): void {
    const { sessionPresent, epoch, incarnation, subscriptions, topicShards } = session
    this.answer(
      reply,
      { name: 'sessionOpened', outcome: 'opened', sessionPresent, epoch, incarnation, subscriptions, topicShards },
      refusal('not-owner'),
    )
  }

  private resume(link: Link, request: MessageOf<'resumeSessions'>, reply: Reply): void {
    const superseded: number[] = []
    const lost: number[] = []
    for (const { clientId, epoch, handle } of request.sessions) {
      const session = this.table.get(clientId)
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

  // What a connection does

  private setSubscriptions(request: MessageOf<'setSubscriptions'>, reply: Reply): void {
    const { clientId, epoch, version, subscriptions } = request
    const session = this.table.get(clientId)
    if (session === undefined || session.epoch !== epoch) {
      reply({ name: 'answer', outcome: 'fenced' })
      return
    }
    if (version > session.version) this.log({ name: 'subscriptions', clientId, version, subscriptions })
    this.answer(reply, { name: 'answer', outcome: 'done' }, { name: 'answer', outcome: 'not-owner' })
  }

  private receivePublish(request: MessageOf<'receivePublish'>, reply: Reply): void {
    const { clientId, epoch, packetId } = request
    const session = this.table.get(clientId)
    const answer = (outcome: MessageOf<'publishReceived'>['outcome'], messageId: number, openFrom: number) =>
      this.answer(
        reply,
        { name: 'publishReceived', outcome, messageId, openFrom },
        { name: 'publishReceived', outcome: 'not-owner', messageId: 0, openFrom: 0 },
      )
    if (session === undefined || session.epoch !== epoch) {
      answer('fenced', 0, 0)
      return
    }
    const known = session.received?.messageIdOf(packetId)
    if (known !== undefined) this.host.reached('QoS 2 packet id in use recognised')
    else if (session.received?.isFull() === true) {
      answer('quota', 0, 0)
      return
    }
    const messageId = known ?? this.table.lastMessageId + 1
    if (known === undefined) this.log({ name: 'received', clientId, packetId, messageId })
    answer('received', messageId, session.received?.openFrom() ?? messageId)
  }

  private releasePublish(request: MessageOf<'releasePublish'>, reply: Reply): void {
    const { clientId, epoch, packetId, messageId } = request
    const session = this.table.get(clientId)
    const answer = (outcome: MessageOf<'publishReleased'>['outcome']) =>
      this.answer(reply, { name: 'publishReleased', outcome }, { name: 'publishReleased', outcome: 'not-owner' })
    if (session === undefined || session.epoch !== epoch) {
      answer('fenced')
      return
    }
    const known = session.received?.messageIdOf(packetId)
    if (known !== undefined) {
      const isMeant = messageId === 0 ? known <= session.leftUpTo : known === messageId
      if (isMeant) this.log({ name: 'released', clientId, packetId })
      // It was asked before, and comes over a link that was given up: the packet id stands for another message by now.
      else this.host.reached('late release of a QoS 2 packet id ignored')
    }
    answer('released')
  }

  // Closing

  private closeSession(request: MessageOf<'closeSession'>, reply: Reply): void {
    const opening = this.opening.get(request.clientId)
    if (request.epoch === 0 && opening !== undefined && isSameAttempt(opening.request, request)) {
      // Not opened yet: to be told again once it is.
      reply({ name: 'answer', outcome: 'not-owner' })
      return
    }
    const session = this.table.get(request.clientId)
    if (session !== undefined && (session.epoch === request.epoch || (request.epoch === 0 && isSameAttempt(session, request)))) {
      if (session.connected) this.disconnect(session, request.expirySeconds, request.will)
      else this.disconnectLate(session, request)
    }
    this.answer(reply, { name: 'answer', outcome: 'done' }, { name: 'answer', outcome: 'not-owner' })
  }

  /** Connections on a link that is down, or those for which nobody has spoken up. */
  private loseConnections(link: Link | undefined): void {
    if (!this.isServing) return
    for (const session of [...this.table.sessions.values()]) {
      if (session.connected && session.link === link) this.disconnect(session, session.expirySeconds, 'due')
    }
    this.checkpoints.writeIfDue(this.volume)
  }

  private disconnect(session: Session, expirySeconds: number, will: 'discarded' | 'due'): void {
    const { will: stored } = session
    if (stored !== undefined && will === 'discarded') this.tellDropped(session, 'discarded')
    if (expirySeconds > 0 || stored !== undefined) this.logDisconnected(session, expirySeconds, will === 'due' ? 'kept' : 'discarded')
    if (expirySeconds === 0 && session.will === undefined) this.end(session)
    else this.act(session)
    this.armTimer(this.nextAgeMs(session))
  }

  /** The connection was lost for us before its DISCONNECT came through: a will that has not fired is gone [MQTT-3.14.4-3], the session expires as the client said. */
  private disconnectLate(session: Session, { expirySeconds, will }: MessageOf<'closeSession'>): void {
    const isDiscarded = will === 'discarded' && session.will !== undefined
    if (!isDiscarded && expirySeconds === session.expirySeconds) return
    const { clientId, disconnectedAgeMs: ageMs } = session
    if (isDiscarded) this.tellDropped(session, 'discarded')
    this.log({ name: 'disconnected', clientId, expirySeconds, ageMs, will: isDiscarded ? 'discarded' : 'kept' })
    this.act(session)
    this.armTimer(this.nextAgeMs(session))
  }

  private logDisconnected({ clientId }: Session, expirySeconds: number, will: 'discarded' | 'kept'): void {
    this.log({ name: 'disconnected', clientId, expirySeconds, ageMs: Math.floor(this.ageMs()), will })
  }

  private fireWill(session: Session): void {
    const { clientId, epoch, will } = session
    this.lostAttempts.add(clientId, session)
    this.log({ name: 'willFired', clientId, epoch })
    if (this.host.recording) emit(this.host, { kind: 'will-fired', clientId, epoch, topic: peekMessage(will!.message).topic })
  }

  private tellDropped({ clientId, epoch }: Session, why: 'discarded' | 'reconnected'): void {
    if (this.host.recording) emit(this.host, { kind: 'will-dropped', clientId, epoch, why })
  }

  private end(session: Session): void {
    const { clientId, incarnation, epoch, topicShards } = session
    this.log({ name: 'ended', clientId, incarnation, epoch, topicShards })
    if (this.host.recording) emit(this.host, { kind: 'session-ended', clientId, incarnation })
  }

  /** Whether the session is still there once its connection is not: a takeover ends one with expiry 0 too [MQTT-3.1.4-3; v3.1.1 MQTT-3.1.2-6]. */
  private outlivesConnection(session: Session): boolean {
    return session.connected ? session.expirySeconds > 0 : expiryAgeMs(session) > this.ageMs()
  }

  // Age

  /** Does what a session without connection is old enough for: its will fires, it ends. */
  private act(session: Session): void {
    const ageMs = this.ageMs()
    if (willAgeMs(session) <= ageMs) this.fireWill(session)
    if (expiryAgeMs(session) <= ageMs) this.end(session)
  }

  private nextAgeMs(session: Session): number {
    if (this.table.get(session.clientId) !== session) return Number.POSITIVE_INFINITY
    const dueAgeMs = Math.min(willAgeMs(session), expiryAgeMs(session))
    return Math.min(dueAgeMs, this.table.ageMs + ageLogIntervalMs(session))
  }

  /** One timer, for what comes first. */
  private armTimer(atAgeMs: number): void {
    if (atAgeMs >= this.timerAtAgeMs) return
    this.timer?.cancel()
    this.timerAtAgeMs = atAgeMs
    this.timer = this.host.setTimer(Math.max(0, atAgeMs - this.ageMs()) + 1, () => this.onAge())
  }

  private onAge(): void {
    this.timerAtAgeMs = Number.POSITIVE_INFINITY
    const away = [...this.table.sessions.values()].filter((session) => !session.connected)
    const ageMs = Math.floor(this.ageMs())
    if (away.some((session) => ageMs >= this.table.ageMs + ageLogIntervalMs(session))) this.log({ name: 'aged', ageMs })
    // A CONNECT that is being served decides over the session itself.
    let nextAgeMs = Number.POSITIVE_INFINITY
    for (const session of away) {
      if (this.opening.has(session.clientId)) continue
      this.act(session)
      nextAgeMs = Math.min(nextAgeMs, this.nextAgeMs(session))
    }
    this.armTimer(nextAgeMs)
    this.checkpoints.writeIfDue(this.volume)
  }
}

/** How often the age is logged for a session without connection: a failover adds no more than this, and the time without an owner, to what it waits for. */
function ageLogIntervalMs(session: Session): number {
  const waitMs = Math.min(willAgeMs(session), expiryAgeMs(session)) - session.disconnectedAgeMs
  if (waitMs === Number.POSITIVE_INFINITY) return waitMs
  return Math.min(LONGEST_AGE_LOG_INTERVAL_MS, Math.max(SHORTEST_AGE_LOG_INTERVAL_MS, waitMs / 20))
}

function refusal(outcome: 'not-owner' | 'superseded'): Message {
  return { name: 'sessionOpened', outcome, sessionPresent: false, epoch: 0, incarnation: 0, subscriptions: [], topicShards: [] }
}
