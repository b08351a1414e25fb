/**
 * The sessions of a shard as its log tells them. Changed by records only (`apply`), the same way when they are written and when they are replayed, so that
 * a new owner has what the old one had; `snapshot` and `restore` stand for all records before a checkpoint.
 *
 * The link of a connection is the exception: no log knows it, and a new owner learns it from the proxy.
 */
import { type ShardCounts, shardsOfFilter } from '../shards.ts'
import type { Link } from '../wire/link.ts'
import type { StoredWill, Subscription } from '../wire/messages.ts'
import type { Outbox } from './outbox.ts'
import { ReceivedIds } from './received-ids.ts'
import type { EndedSession, FiredWill } from './session-errands.ts'
import type { SessionCheckpoint, SessionRecord, SessionRecordOf } from './session-records.ts'

/** Session Expiry Interval of a session that does not expire [MQTT-3.1.2.11.2]. */
const NEVER_EXPIRES = 0xffff_ffff

export interface Session {
  readonly clientId: string
  readonly incarnation: number
  epoch: number
  expirySeconds: number
  proxy: string
  bootId: number
  handle: number
  /** Wall clock when the connection of `epoch` was opened. */
  sinceMs: number
  /** What the last open answered. */
  sessionPresent: boolean
  /** Of the connection of `epoch`, neither discarded nor fired. */
  will: StoredWill | undefined
  version: number
  subscriptions: readonly Subscription[]
  /** Topic shards that may keep a queue for this session. */
  topicShards: readonly number[]
  /** By the log: opened, and not closed since. */
  connected: boolean
  /** The link on which the connection was opened or validated; undefined after a failover until the proxy has spoken up. */
  link: Link | undefined
  disconnectedAgeMs: number
  /** The last message id of the shard when the connection of `epoch` was opened: what earlier ones left has none above it. */
  leftUpTo: number
  /** Undefined until it publishes with QoS 2. */
  received: ReceivedIds | undefined
}

/** When the session ends by itself. */
export function expiryAgeMs(session: Session): number {
  if (session.connected || session.expirySeconds === NEVER_EXPIRES) return Number.POSITIVE_INFINITY
  return session.disconnectedAgeMs + session.expirySeconds * 1000
}

/** When its will fires by itself: the delay after the connection, or the end of the session, whichever comes first [MQTT-3.1.2-8]. */
export function willAgeMs(session: Session): number {
  if (session.connected || session.will === undefined) return Number.POSITIVE_INFINITY
  return Math.min(expiryAgeMs(session), session.disconnectedAgeMs + session.will.delaySeconds * 1000)
}

export class SessionTable {
  lastEpoch = 0
  lastMessageId = 0
  /** The greatest age that the log speaks of. */
  ageMs = 0
  readonly sessions = new Map<string, Session>()
  private readonly counts: ShardCounts
  private readonly ended: Outbox<EndedSession>
  private readonly firedWills: Outbox<FiredWill>

  constructor(counts: ShardCounts, ended: Outbox<EndedSession>, firedWills: Outbox<FiredWill>) {
    this.counts = counts
    this.ended = ended
    this.firedWills = firedWills
  }

  get(clientId: string): Session | undefined {
    return this.sessions.get(clientId)
  }

  apply(record: SessionRecord): void {
    switch (record.name) {
      case 'opened':
        this.opened(record)
        return
      case 'cleaned':
        this.ended.done(record.incarnation)
        return
      case 'willStored':
        this.firedWills.done(record.epoch)
        return
      case 'aged':
        this.ageMs = Math.max(this.ageMs, record.ageMs)
        return
      case 'ended':
        this.sessions.delete(record.clientId)
        this.ended.add(record)
        return
    }
    const session = this.sessions.get(record.clientId)
    if (session === undefined) return
    switch (record.name) {
      case 'subscriptions':
        this.subscribed(session, record)
        return
      case 'disconnected':
        this.ageMs = Math.max(this.ageMs, record.ageMs)
        session.connected = false
        session.link = undefined
        session.expirySeconds = record.expirySeconds
        session.disconnectedAgeMs = record.ageMs
        if (record.will === 'discarded') session.will = undefined
        return
      case 'received':
        this.lastMessageId = Math.max(this.lastMessageId, record.messageId)
        session.received ??= new ReceivedIds()
        session.received.add(record.packetId, record.messageId)
        return
      case 'released':
        session.received?.release(record.packetId)
        return
      case 'willFired':
        if (session.will === undefined) return
        this.firedWills.add({ clientId: record.clientId, epoch: record.epoch, message: session.will.message })
        session.will = undefined
        return
    }
  }

  /**
   * The log goes on from a backup point, and epochs and message ids given after it are known elsewhere: fences of topic shards refuse older epochs, and take a known message id for
   * a repetition. So the next ones are beyond whatever can have been given meanwhile.
   */
  skipWhatIsLost(): void {
    this.lastEpoch += BEYOND_ANY_LOSS
    this.lastMessageId += BEYOND_ANY_LOSS
  }

  private opened(record: SessionRecordOf<'opened'>): void {
    const { clientId, incarnation, epoch, expirySeconds, sessionPresent, proxy, bootId, handle, will, sinceMs } = record
    this.lastEpoch = Math.max(this.lastEpoch, epoch)
    const session = this.sessions.get(clientId)
    if (session === undefined || session.incarnation !== incarnation) {
      this.sessions.set(clientId, {
        clientId,
        incarnation,
        epoch,
        expirySeconds,
        proxy,
        bootId,
        handle,
        sinceMs,
        sessionPresent,
        will: kept(will),
        version: 0,
        subscriptions: [],
        topicShards: [],
        connected: true,
        link: undefined,
        disconnectedAgeMs: 0,
        leftUpTo: this.lastMessageId,
        received: undefined,
      })
      return
    }
    session.epoch = epoch
    session.expirySeconds = expirySeconds
    session.sessionPresent = sessionPresent
    session.proxy = proxy
    session.bootId = bootId
    session.handle = handle
    session.sinceMs = sinceMs
    session.will = kept(will)
    session.connected = true
    session.link = undefined
    session.leftUpTo = this.lastMessageId
    session.version = 0
  }

  private subscribed(session: Session, { version, subscriptions }: SessionRecordOf<'subscriptions'>): void {
    session.version = version
    session.subscriptions = subscriptions
    for (const { filter } of subscriptions) {
      const unknown = shardsOfFilter(this.counts, filter).filter((shard) => !session.topicShards.includes(shard))
      if (unknown.length > 0) session.topicShards = session.topicShards.concat(unknown)
    }
  }

  snapshot(ageMs: number): SessionCheckpoint {
    return {
      ageMs,
      lastEpoch: this.lastEpoch,
      lastMessageId: this.lastMessageId,
      sessions: [...this.sessions.values()].map((session) => ({ ...session, ...(session.received?.snapshot() ?? NO_IDS) })),
      cleanups: this.ended.snapshot(),
      firedWills: this.firedWills.snapshot(),
    }
  }

  restore(state: SessionCheckpoint): void {
    this.ageMs = state.ageMs
    this.lastEpoch = state.lastEpoch
    this.lastMessageId = state.lastMessageId
    for (const { allocatedIds, openIds, ...session } of state.sessions) {
      const received = allocatedIds === 0 ? undefined : new ReceivedIds(allocatedIds, openIds)
      this.sessions.set(session.clientId, { ...session, will: kept(session.will), link: undefined, received })
    }
    for (const cleanup of state.cleanups) this.ended.add(cleanup)
    for (const will of state.firedWills) this.firedWills.add(will)
  }
}

/** A copy: what was read is a view of all that came with it, which would stay in memory for as long as the session. */
function kept(will: StoredWill | undefined): StoredWill | undefined {
  return will && { delaySeconds: will.delaySeconds, message: Buffer.from(will.message) }
}

/** More than are given between two backup points; an epoch is four bytes wide, and bears some thousand restores. */
const BEYOND_ANY_LOSS = 1 << 20

const NO_IDS = { allocatedIds: 0, openIds: [] } as const
