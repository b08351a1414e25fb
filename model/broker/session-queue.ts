/**
 * One session's queue at one topic shard: which messages are due to it, in the order of the log, each at a place (`sequence`, from 1) that never changes.
 *
 * The queue is a pure function of the log: subscription and message records in order give the same places on every owner. So a place, and with it the
 * packet id, is durable as soon as the record is that gave it. What the subscriber acknowledged is logged lazily: losing the newest of it means sending again;
 * that it has received a QoS 2 message is logged before it is told to forget the packet id (PUBREL).
 */
import type { Link } from '../wire/link.ts'
import type { Subscription } from '../wire/messages.ts'
import type { TopicCheckpoint } from './topic-records.ts'

/** How many places beyond the lowest unacknowledged one may be with the proxy. Below `packetIdWidth`, or ids would collide. */
export const QUEUE_WINDOW = 64

/** Where a session's messages go at present. */
export interface Attachment {
  readonly link: Link
  readonly generation: number
  readonly handle: number
  /** The next place to send. */
  next: number
  /** A read of older messages is under way; nothing else is sent meanwhile, so that order is kept. */
  reading: boolean
}

const COMPACT_AT = 1024
/** More places than a queue gets between two backup points. */
export const BEYOND_ANY_LOSS = 1 << 20
/** Leaves offsets 50 bits. */
const META = 8
/** Above the QoS. */
const RETAIN = 4

export class SessionQueue {
  readonly clientId: string
  readonly incarnation: number
  epoch: number
  version: number
  subscriptions: readonly Subscription[] = []
  attachment: Attachment | undefined
  /** The lowest place that is not acknowledged. */
  base = 1
  /** Places up to here may have been sent by this or an earlier owner: sending them again says DUP [MQTT-3.3.1-1]. */
  maybeSentUpTo = 0
  /** By the log: places from here on have not been sent, as nobody was connected. 0 while somebody may be. */
  absentFrom = 0
  /** From some place on, a message's offset times `META` plus its QoS and retain flag. */
  private messages: number[] = []
  /** Of those, how many lie before `base`. */
  private skipped = 0
  private identifiers: Map<number, readonly number[]> | undefined
  private beyond: Set<number> | undefined
  /** Places of QoS 2 messages that the subscriber has received (PUBREC) and not completed. */
  private received: Set<number> | undefined
  /** Places that are done with as their messages expired unsent, where the log does not surely say so yet. */
  private expired: Set<number> | undefined
  /** Places that came by a shared subscription. */
  private shared: Map<number, string> | undefined
  /** Places from `from` on were given by the record at `until`, not by that of their message. */
  private hold: { readonly from: number; readonly until: number } | undefined

  constructor(clientId: string, incarnation: number, epoch: number) {
    this.clientId = clientId
    this.incarnation = incarnation
    this.epoch = epoch
    this.version = 0
  }

  /** One past the last place. */
  get end(): number {
    return this.base + this.messages.length - this.skipped
  }

  /** Whether these are the subscriptions it has, in whatever order. */
  hasSubscriptions(subscriptions: readonly Subscription[]): boolean {
    if (subscriptions.length !== this.subscriptions.length) return false
    const byFilter = new Map(this.subscriptions.map((subscription) => [subscription.filter, subscription]))
    return subscriptions.every((subscription) => {
      const other = byFilter.get(subscription.filter)
      return (
        other !== undefined &&
        other.qos === subscription.qos &&
        other.noLocal === subscription.noLocal &&
        other.retainAsPublished === subscription.retainAsPublished &&
        other.retainHandling === subscription.retainHandling &&
        other.subscriptionIdentifier === subscription.subscriptionIdentifier
      )
    })
  }

  /** @returns the place given to the message. */
  push(offset: number, qos: number, retain: boolean, identifiers: readonly number[]): number {
    const sequence = this.end
    this.messages.push(offset * META + (retain ? RETAIN : 0) + qos)
    if (identifiers.length > 0) {
      this.identifiers ??= new Map()
      this.identifiers.set(sequence, identifiers)
    }
    return sequence
  }

  /** The message at this place came by a shared subscription. */
  markShared(sequence: number, share: string): void {
    this.shared ??= new Map()
    this.shared.set(sequence, share)
  }

  /** Places from `from` on are durable only when the log is beyond the record at `recordOffset`. */
  holdUntil(from: number, recordOffset: number): void {
    this.hold = { from: Math.min(from, this.hold?.from ?? from), until: recordOffset }
  }

  /** Whether the place, and with it the packet id, would survive: the log is durable up to `durableOffset`. */
  isDurable(sequence: number, durableOffset: number): boolean {
    if (this.hold !== undefined) {
      if (this.hold.until < durableOffset) this.hold = undefined
      else if (sequence >= this.hold.from) return false
    }
    return this.offsetAt(sequence) < durableOffset
  }

  offsetAt(sequence: number): number {
    return Math.floor(this.messageAt(sequence) / META)
  }

  qosAt(sequence: number): number {
    return this.messageAt(sequence) % RETAIN
  }

  retainAt(sequence: number): boolean {
    return this.messageAt(sequence) % META >= RETAIN
  }

  identifiersAt(sequence: number): readonly number[] {
    return this.identifiers?.get(sequence) ?? NONE
  }

  isAcknowledged(sequence: number): boolean {
    return sequence < this.base || this.beyond?.has(sequence) === true
  }

  isReceived(sequence: number): boolean {
    return this.received?.has(sequence) === true
  }

  /** Whether PUBREC for this place is news: a QoS 2 message stands there, not received and not completed. */
  isReceivable(sequence: number): boolean {
    return sequence < this.end && !this.isAcknowledged(sequence) && !this.isReceived(sequence) && this.qosAt(sequence) === 2
  }

  /** PUBREC came. */
  receive(sequence: number): void {
    if (!this.isReceivable(sequence)) return
    this.received ??= new Set()
    this.received.add(sequence)
  }

  /** Ascending. */
  receivedPlaces(): readonly number[] {
    return this.received === undefined ? NONE : [...this.received].sort((a, b) => a - b)
  }

  /** What came by shared subscriptions and is not acknowledged. */
  sharedPlaces(): readonly { readonly sequence: number; readonly share: string }[] {
    return this.shared === undefined ? [] : Array.from(this.shared, ([sequence, share]) => ({ sequence, share }))
  }

  /** @returns false when it was acknowledged before, or never was a place. */
  acknowledge(sequence: number): boolean {
    if (sequence >= this.end || this.isAcknowledged(sequence)) return false
    this.received?.delete(sequence)
    this.shared?.delete(sequence)
    if (sequence !== this.base) {
      this.beyond ??= new Set()
      this.beyond.add(sequence)
      return true
    }
    this.advance()
    while (this.beyond?.delete(this.base)) this.advance()
    return true
  }

  /** The message expired before it was sent. @returns false where the place is done with already, or never was one. */
  expire(sequence: number): boolean {
    if (!this.acknowledge(sequence)) return false
    this.expired ??= new Set()
    this.expired.add(sequence)
    return true
  }

  isExpired(sequence: number): boolean {
    return this.expired?.has(sequence) === true
  }

  /** The log says it from now on. */
  expiryLogged(sequence: number): void {
    this.expired?.delete(sequence)
    if (this.expired?.size === 0) this.expired = undefined
  }

  /** Drops every place whose message lies before `offset`: its retention is over. */
  dropBefore(offset: number): void {
    while (this.base < this.end && this.offsetAt(this.base) < offset) this.acknowledge(this.base)
  }

  /**
   * The log goes on from a backup point: places after it were given to messages that are lost, and proxies and subscribers know them. Whatever waits, or comes, gets a place beyond those,
   * and is new to the subscriber; what it had received in part (PUBREC) is done with.
   */
  skipWhatIsLost(): void {
    for (const sequence of this.receivedPlaces()) this.acknowledge(sequence)
    const moved = <T>(places: Map<number, T> | undefined) =>
      places && new Map([...places].map(([at, value]) => [at + BEYOND_ANY_LOSS, value]))
    this.identifiers = moved(this.identifiers)
    this.shared = moved(this.shared)
    this.beyond = this.beyond && new Set([...this.beyond].map((place) => place + BEYOND_ANY_LOSS))
    this.base += BEYOND_ANY_LOSS
    if (this.hold !== undefined) this.hold = { from: this.hold.from + BEYOND_ANY_LOSS, until: this.hold.until }
  }

  /** Applies what was logged: all below `base` and the places `beyond` are acknowledged. */
  restorePosition(base: number, beyond: readonly number[]): void {
    while (this.base < base && this.base < this.end) this.acknowledge(this.base)
    for (const sequence of beyond) this.acknowledge(sequence)
  }

  position(): { clientId: string; base: number; beyond: readonly number[] } {
    return { clientId: this.clientId, base: this.base, beyond: this.beyond === undefined ? NONE : [...this.beyond] }
  }

  /** Plain data for a checkpoint. */
  snapshot(): TopicCheckpoint['queues'][number] {
    const identifiers =
      this.identifiers === undefined ? [] : [...this.identifiers].map(([sequence, list]) => ({ sequence, identifiers: list }))
    return {
      clientId: this.clientId,
      incarnation: this.incarnation,
      epoch: this.epoch,
      version: this.version,
      subscriptions: this.subscriptions,
      base: this.base,
      offsets: this.messages.slice(this.skipped).map((message) => Math.floor(message / META)),
      meta: this.messages.slice(this.skipped).map((message) => message % META),
      identifiers,
      beyond: this.beyond === undefined ? NONE : [...this.beyond],
      absentFrom: this.absentFrom,
      received: this.receivedPlaces(),
      shared: this.sharedPlaces(),
    }
  }

  static restore(snapshot: TopicCheckpoint['queues'][number]): SessionQueue {
    const queue = new SessionQueue(snapshot.clientId, snapshot.incarnation, snapshot.epoch)
    queue.version = snapshot.version
    queue.subscriptions = snapshot.subscriptions
    queue.base = snapshot.base
    queue.absentFrom = snapshot.absentFrom
    queue.messages = snapshot.offsets.map((offset, index) => offset * META + snapshot.meta[index]!)
    if (snapshot.identifiers.length > 0)
      queue.identifiers = new Map(snapshot.identifiers.map((entry) => [entry.sequence, entry.identifiers]))
    if (snapshot.beyond.length > 0) queue.beyond = new Set(snapshot.beyond)
    if (snapshot.received.length > 0) queue.received = new Set(snapshot.received)
    if (snapshot.shared.length > 0) queue.shared = new Map(snapshot.shared.map(({ sequence, share }) => [sequence, share]))
    return queue
  }

  private messageAt(sequence: number): number {
    return this.messages[sequence - this.base + this.skipped]!
  }

  private advance(): void {
    this.identifiers?.delete(this.base)
    this.base++
    this.skipped++
    if (this.skipped === this.messages.length) {
      this.messages.length = 0
      this.skipped = 0
    } else if (this.skipped >= COMPACT_AT && this.skipped * 2 >= this.messages.length) {
      this.messages = this.messages.slice(this.skipped)
      this.skipped = 0
    }
  }
}

const NONE: readonly number[] = []
