/**
 * Sends what waits in the queues to the proxies of connected sessions: in the order of places, within each queue's window, read back from the log where it is older.
 *
 * Promises: a place leaves only when it is durable, and while the lease on the volume holds; a place that may have been sent before says DUP [MQTT-3.3.1-1], one of QoS 0
 * is then not sent again; what the subscriber has received (PUBREC) is not sent again but released; a message that expired before its first sending is dropped
 * [MQTT-3.3.2-5], and that is in the log before anything after it leaves: another owner would take it for sent, and send it again behind what came after it [MQTT-4.6.0-6].
 */
import type { Host, Timer } from '../host.ts'
import type { Volume } from '../volume/volume.ts'
import type { Link } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'
import { DeliveryBatch, type Target, target } from './delivery-batch.ts'
import { expirySecondsOf, type FoundMessage, readMessages } from './message-index.ts'
import { type Attachment, QUEUE_WINDOW, type SessionQueue } from './session-queue.ts'

const RETRY_MS = 200
/** How much is read back from the log for one session before it is sent. */
const READ_BYTES = 1 << 20

export interface QueueFeederOwner {
  readonly volume: Volume
  ageMs(): number
  /** A place was acknowledged, by the subscriber or because it is of no more use. */
  onAcknowledged(queue: SessionQueue): void
  /** Places were dropped that no subscriber has seen. Holds the queue until that is in the log, and drains it then. */
  onExpired(queue: SessionQueue, places: readonly number[]): void
  /** From here on nothing of the queue is sent, until it is connected again. */
  onDetached(queue: SessionQueue): void
}

/** What a subscription grants of a message that is at hand. */
export interface Grant {
  readonly qos: number
  readonly retainAsPublished: boolean
  readonly subscriptionIdentifiers: readonly number[]
}

export class QueueFeeder {
  private readonly host: Host
  private readonly shard: number
  private readonly owner: QueueFeederOwner
  private readonly byHandle = new Map<Link, Map<number, SessionQueue>>()
  private retryTimer: Timer | undefined
  private closed = false

  constructor(host: Host, shard: number, owner: QueueFeederOwner) {
    this.host = host
    this.shard = shard
    this.owner = owner
  }

  close(): void {
    this.closed = true
    this.retryTimer?.cancel()
    for (const handles of this.byHandle.values()) for (const queue of handles.values()) queue.attachment = undefined
    this.byHandle.clear()
  }

  onLinkDown(link: Link): void {
    const handles = this.byHandle.get(link)
    if (handles === undefined) return
    for (const queue of [...handles.values()]) this.disconnect(queue)
    this.byHandle.delete(link)
  }

  queueAt(link: Link, handle: number): SessionQueue | undefined {
    return this.byHandle.get(link)?.get(handle)
  }

  connect(queue: SessionQueue, link: Link, handle: number): void {
    const present = queue.attachment
    const same = present !== undefined && present.link === link && present.generation === link.generation && present.handle === handle
    if (!same) {
      this.disconnect(queue)
      queue.attachment = { link, generation: link.generation, handle, next: queue.base, reading: false }
      let handles = this.byHandle.get(link)
      if (handles === undefined) {
        handles = new Map()
        this.byHandle.set(link, handles)
      }
      handles.set(handle, queue)
      const received = queue.receivedPlaces()
      if (received.length > 0)
        this.release(
          link,
          received.map((sequence) => ({ handle, sequence })),
        )
    }
    this.drain(queue)
  }

  disconnect(queue: SessionQueue): void {
    const attachment = queue.attachment
    if (attachment === undefined) return
    this.byHandle.get(attachment.link)?.delete(attachment.handle)
    queue.attachment = undefined
    this.owner.onDetached(queue)
  }

  /** Tells a proxy that PUBREL may leave. */
  release(link: Link, places: MessageOf<'release'>['places']): void {
    link.notify({ name: 'release', shard: this.shard, places })
  }

  /** Adds the session to the batch of a message that just became durable, or that nobody stores (`offset` -1), unless something older waits for it. */
  offer(batch: DeliveryBatch, queue: SessionQueue, grant: Grant, offset: number, retain: boolean): void {
    const { attachment } = queue
    if (attachment === undefined) return
    if (grant.qos === 0 || offset < 0) {
      batch.add(attachment, target(attachment.handle, 0, 0, retain && grant.retainAsPublished, false, grant.subscriptionIdentifiers))
      return
    }
    const sequence = attachment.next
    if (attachment.reading || sequence >= queue.end || queue.offsetAt(sequence) !== offset) return
    if (sequence - queue.base >= QUEUE_WINDOW || !queue.isDurable(sequence, this.owner.volume.durableOffset)) return
    batch.add(attachment, this.targetOf(queue, attachment, sequence))
    attachment.next = sequence + 1
  }

  private targetOf(queue: SessionQueue, attachment: Attachment, sequence: number): Target {
    const dup = sequence <= queue.maybeSentUpTo
    if (!dup) queue.maybeSentUpTo = sequence
    return target(attachment.handle, sequence, queue.qosAt(sequence), queue.retainAt(sequence), dup, queue.identifiersAt(sequence))
  }

  /** Sends what the session has waiting, as far as its window allows. */
  drain(queue: SessionQueue): void {
    const attachment = queue.attachment
    if (attachment === undefined || attachment.reading || this.closed) return
    // What was dropped, or acknowledged over an earlier attachment, is not come to again.
    attachment.next = Math.max(attachment.next, queue.base)
    const { volume } = this.owner
    const offsets: number[] = []
    const sequences: number[] = []
    const limit = Math.min(queue.end, queue.base + QUEUE_WINDOW)
    for (let sequence = attachment.next; sequence < limit; sequence++) {
      if (!this.isToBeSent(queue, sequence)) {
        if (offsets.length === 0) attachment.next = sequence + 1
        continue
      }
      const offset = queue.offsetAt(sequence)
      // A retained message stands further up in the log: it is read by itself.
      if (!queue.isDurable(sequence, volume.durableOffset) || offset < (offsets[offsets.length - 1] ?? 0)) break
      offsets.push(offset)
      sequences.push(sequence)
    }
    if (offsets.length === 0) {
      // What was of no more use has made room in the window.
      if (attachment.next < queue.end && limit < Math.min(queue.end, queue.base + QUEUE_WINDOW)) this.drain(queue)
      return
    }
    attachment.reading = true
    readMessages(volume, offsets, READ_BYTES, (messages) => {
      if (this.closed || queue.attachment !== attachment) return
      attachment.reading = false
      if (messages === undefined || !volume.leaseValid()) {
        this.drainAllLater()
        return
      }
      const expired = this.dropExpired(queue, sequences, messages)
      if (expired.length > 0) this.owner.onExpired(queue, expired)
      else for (let i = 0; i < messages.length; i++) this.send(queue, attachment, sequences[i]!, messages[i]!)
      this.drain(queue)
    })
  }

  /** Drops the place where it is of no more use. */
  private isToBeSent(queue: SessionQueue, sequence: number): boolean {
    if (queue.isAcknowledged(sequence) || queue.isReceived(sequence)) return false
    const trimmed = queue.offsetAt(sequence) < this.owner.volume.trimOffset
    const sentBefore = sequence <= queue.maybeSentUpTo && queue.qosAt(sequence) === 0
    if (trimmed || sentBefore) this.drop(queue, sequence)
    return !trimmed && !sentBefore
  }

  private drop(queue: SessionQueue, sequence: number): void {
    if (queue.acknowledge(sequence)) this.owner.onAcknowledged(queue)
  }

  /** @returns their places. */
  private dropExpired(queue: SessionQueue, sequences: readonly number[], messages: readonly FoundMessage[]): readonly number[] {
    const expired: number[] = []
    for (const [i, { ageMs, message }] of messages.entries()) {
      const sequence = sequences[i]!
      if (sequence <= queue.maybeSentUpTo || queue.isAcknowledged(sequence) || !isExpired(message, this.waitedMs(ageMs))) continue
      this.host.reached('message expired in its queue')
      if (queue.expire(sequence)) expired.push(sequence)
    }
    return expired
  }

  private waitedMs(ageMs: number): number {
    return Math.max(0, Math.floor(this.owner.ageMs() - ageMs))
  }

  private send(queue: SessionQueue, attachment: Attachment, sequence: number, { ageMs, message }: FoundMessage): void {
    attachment.next = sequence + 1
    if (queue.isAcknowledged(sequence) || queue.isReceived(sequence)) return
    const batch = new DeliveryBatch(this.shard, message, this.waitedMs(ageMs))
    batch.add(attachment, this.targetOf(queue, attachment, sequence))
    batch.send()
  }

  /** After a read failed, or while the lease is in doubt. */
  drainAllLater(): void {
    this.retryTimer ??= this.host.setTimer(RETRY_MS, () => {
      this.retryTimer = undefined
      for (const handles of this.byHandle.values()) {
        for (const queue of handles.values()) if (queue.attachment !== undefined && queue.attachment.next < queue.end) this.drain(queue)
      }
    })
  }
}

function isExpired(message: Buffer, waitedMs: number): boolean {
  const expirySeconds = expirySecondsOf(message)
  return expirySeconds !== undefined && waitedMs >= expirySeconds * 1000
}
