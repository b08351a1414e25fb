/**
 * What a topic shard's log says, folded: the queues and subscriptions of sessions, the retained messages, what of each publisher is stored, where the messages are. Changed by
 * records only (`apply…`, in the order of the log), the same way when they are written and when they are replayed, so that a new owner has the same queues
 * and places; `snapshot` and `restore` stand for all records before a checkpoint.
 *
 * Who is connected is not the log's to know: the feeder sets a queue's attachment.
 */
import { RECORD_BODY_OFFSET, RESTORED } from '../volume/log-record.ts'
import { Reader } from '../wire/codec.ts'
import type { Subscription } from '../wire/messages.ts'
import { parseShared } from '../wire/topic.ts'
import { Fences, rememberMessageId } from './fences.ts'
import { type MessageHead, MessageIndex, peekMessage } from './message-index.ts'
import { RetainedRegister } from './retained-register.ts'
import { SessionQueue } from './session-queue.ts'
import { SharedGroups } from './shared-groups.ts'
import { type Match, SubscriptionIndex } from './subscription-index.ts'
import {
  type AbsentRecord,
  type AgedRecord,
  absentRecord,
  agedRecord,
  type ExpiredRecord,
  expiredRecord,
  type MessageRecord,
  messageRecord,
  positionsRecord,
  type ReceivedRecord,
  receivedRecord,
  type SessionRemovedRecord,
  type SubscriptionsRecord,
  segmentIndexRecord,
  sessionRemovedRecord,
  subscriptionsRecord,
  type TopicCheckpoint,
  topicRecordType,
} from './topic-records.ts'

const KEPT_CHECKPOINTS = 128

export interface Member {
  readonly queue: SessionQueue
  readonly subscription: Subscription
}

export class TopicState {
  /** The greatest age that the log speaks of. */
  ageMs = 0
  readonly fences = new Fences()
  readonly queues = new Map<string, SessionQueue>()
  readonly subscriptions = new SubscriptionIndex<SessionQueue>()
  readonly groups = new SharedGroups()
  readonly retained = new RetainedRegister()
  readonly index = new MessageIndex()
  /** Where checkpoints begin, ascending: a trace starts from one. */
  checkpoints: readonly number[] = []

  /** One record of the log. Checkpoints are not among them. */
  replay(offset: number, type: number, body: Buffer): void {
    const reader = new Reader(body)
    switch (type) {
      case topicRecordType.message: {
        const record = messageRecord.read(reader)
        this.applyMessage(offset, record, peekMessage(record.message))
        break
      }
      case topicRecordType.retained: {
        const record = messageRecord.read(reader)
        this.applyRetained(offset, record, peekMessage(record.message))
        break
      }
      case topicRecordType.subscriptions:
        this.applySubscriptions(offset, subscriptionsRecord.read(reader))
        break
      case topicRecordType.sessionRemoved:
        this.applySessionRemoved(offset, sessionRemovedRecord.read(reader))
        break
      case topicRecordType.received:
        this.applyReceived(receivedRecord.read(reader))
        break
      case topicRecordType.positions:
        for (const { clientId, base, beyond } of positionsRecord.read(reader).positions) {
          this.queues.get(clientId)?.restorePosition(base, beyond)
        }
        break
      case topicRecordType.expired:
        this.applyExpired(expiredRecord.read(reader))
        break
      case RESTORED:
        for (const queue of this.queues.values()) queue.skipWhatIsLost()
        break
      case topicRecordType.absent:
        this.applyAbsent(absentRecord.read(reader))
        break
      case topicRecordType.aged:
        this.applyAged(agedRecord.read(reader))
        break
      case topicRecordType.segmentIndex:
        this.index.sealed(segmentIndexRecord.read(reader), offset, body.length + RECORD_BODY_OFFSET)
        break
    }
  }

  /** @returns the sessions that subscribe to the topic, shared subscriptions aside. */
  applyMessage(offset: number, record: MessageRecord, head: MessageHead): readonly Match<SessionQueue>[] {
    const { topic, publisher, qos, retain } = head
    const { epoch, sequence, messageId, ageMs } = record
    this.ageMs = Math.max(this.ageMs, ageMs)
    if (sequence === 0) this.fences.of(publisher, ageMs).willEpoch = epoch
    else {
      const fence = this.fences.raise(publisher, epoch, ageMs)
      if (fence !== undefined) fence.sequence = sequence
      if (messageId > 0) rememberMessageId(this.fences.of(publisher, ageMs), messageId, record.openFrom)
    }
    this.index.add(topic, offset, record)
    if (retain) this.applyRetained(offset, record, head)
    const matches = this.subscriptions.match(topic)
    for (const match of matches) {
      const grant = match.session.clientId === publisher ? match.own : match
      if (grant === undefined) continue
      const granted = Math.min(qos, grant.qos)
      if (granted > 0) match.session.push(offset, granted, retain && grant.retainAsPublished, grant.subscriptionIdentifiers)
    }
    for (const { share, clientId } of record.chosen) this.pushShared(clientId, share, offset, qos, retain)
    return matches
  }

  applyRetained(offset: number, { ageMs, epoch }: MessageRecord, { topic, publisher, qos, clearsRetained }: MessageHead): void {
    this.ageMs = Math.max(this.ageMs, ageMs)
    if (clearsRetained) this.retained.clear({ topic, publisher, epoch })
    else this.retained.set({ topic, offset, publisher, epoch, qos })
  }

  member(share: string, clientId: string): Member | undefined {
    const queue = this.queues.get(clientId)
    const subscription = queue === undefined ? undefined : this.groups.get(share)?.members.get(queue)
    return queue === undefined || subscription === undefined ? undefined : { queue, subscription }
  }

  /** @returns the queue, where the message has got a place in it. */
  private pushShared(clientId: string, share: string, offset: number, qos: number, retain: boolean): SessionQueue | undefined {
    const member = this.member(share, clientId)
    const granted = member === undefined ? 0 : Math.min(qos, member.subscription.qos)
    if (member === undefined || granted === 0) return undefined
    const { queue, subscription } = member
    const sequence = queue.push(offset, granted, retain && subscription.retainAsPublished, identifiersOf(subscription))
    queue.markShared(sequence, share)
    return queue
  }

  applySubscriptions(offset: number, record: SubscriptionsRecord): void {
    const { clientId, incarnation, epoch, version, subscriptions, sendRetained } = record
    let queue = this.queues.get(clientId)
    if (queue === undefined) {
      queue = new SessionQueue(clientId, incarnation, epoch)
      this.queues.set(clientId, queue)
    }
    this.unsubscribe(queue)
    queue.subscriptions = subscriptions
    this.subscribe(queue)
    queue.epoch = epoch
    queue.version = version
    queue.absentFrom = 0
    const first = queue.end
    for (const filter of sendRetained) {
      const subscription = subscriptions.find((each) => each.filter === filter)
      if (subscription === undefined) continue
      for (const message of this.retained.matching(filter)) {
        if (subscription.noLocal && message.publisher === clientId) continue
        queue.push(message.offset, Math.min(message.qos, subscription.qos), true, identifiersOf(subscription))
      }
    }
    if (queue.end > first) queue.holdUntil(first, offset)
  }

  private subscribe(queue: SessionQueue): void {
    for (const subscription of queue.subscriptions) {
      if (parseShared(subscription.filter) === undefined) this.subscriptions.add(queue, subscription)
      else this.groups.add(queue, subscription)
    }
  }

  unsubscribe(queue: SessionQueue): void {
    for (const { filter } of queue.subscriptions) {
      if (parseShared(filter) === undefined) this.subscriptions.remove(queue, filter)
      else this.groups.remove(queue, filter)
    }
  }

  applyReceived({ places }: ReceivedRecord): void {
    for (const { clientId, sequence } of places) this.queues.get(clientId)?.receive(sequence)
  }

  private applyExpired({ places }: ExpiredRecord): void {
    for (const { clientId, sequence } of places) this.queues.get(clientId)?.acknowledge(sequence)
  }

  applyAbsent({ sessions }: AbsentRecord): void {
    for (const { clientId, from } of sessions) {
      const queue = this.queues.get(clientId)
      if (queue !== undefined) queue.absentFrom = from
    }
  }

  applyAged({ ageMs }: AgedRecord): void {
    this.ageMs = Math.max(this.ageMs, ageMs)
  }

  /** @returns the queue that is gone, and those that inherited something from it. */
  applySessionRemoved(
    offset: number,
    { clientId, incarnation, heirs }: SessionRemovedRecord,
  ): { readonly removed: SessionQueue | undefined; readonly heirs: ReadonlySet<SessionQueue> } {
    const inherited = new Set<SessionQueue>()
    const fence = this.fences.of(clientId, this.ageMs)
    fence.endedIncarnation = Math.max(fence.endedIncarnation, incarnation)
    const queue = this.queues.get(clientId)
    if (queue === undefined || queue.incarnation > incarnation) return { removed: undefined, heirs: inherited }
    this.unsubscribe(queue)
    for (const { sequence, share, clientId: heirId } of heirs) {
      const heir = this.pushShared(heirId, share, queue.offsetAt(sequence), queue.qosAt(sequence), queue.retainAt(sequence))
      if (heir === undefined) continue
      heir.holdUntil(heir.end - 1, offset)
      inherited.add(heir)
    }
    this.queues.delete(clientId)
    return { removed: queue, heirs: inherited }
  }

  /** @param offset where the checkpoint is going to stand. */
  snapshot(ageMs: number, offset: number): TopicCheckpoint {
    this.checkpoints = thinned([...this.checkpoints, offset])
    return {
      checkpoints: this.checkpoints,
      ageMs: Math.floor(ageMs),
      fences: this.fences.snapshot(),
      queues: [...this.queues.values()].map((queue) => queue.snapshot()),
      retained: this.retained.snapshot(),
      ...this.index.snapshot(),
    }
  }

  restore(checkpoint: TopicCheckpoint): void {
    this.ageMs = checkpoint.ageMs
    this.fences.restore(checkpoint.fences)
    for (const snapshot of checkpoint.queues) {
      const queue = SessionQueue.restore(snapshot)
      this.queues.set(queue.clientId, queue)
      this.subscribe(queue)
    }
    for (const message of checkpoint.retained) this.retained.set(message)
    this.index.restore(checkpoint)
    this.checkpoints = checkpoint.checkpoints
  }

  /** The log is served by a new owner: what it does not hold any more is gone, and the former owner may have sent anything to who was connected. */
  served(trimOffset: number): void {
    this.index.dropBefore(trimOffset)
    for (const { topic } of this.retained.before(trimOffset)) this.retained.delete(topic)
    for (const queue of this.queues.values()) {
      queue.maybeSentUpTo = queue.absentFrom > 0 ? queue.absentFrom - 1 : queue.end - 1
      queue.dropBefore(trimOffset)
    }
  }
}

/** Every second one is left out when they get many: what is read for a trace stays a small part of the log. */
function thinned(offsets: readonly number[]): readonly number[] {
  return offsets.length <= KEPT_CHECKPOINTS ? offsets : offsets.filter((_, i) => i % 2 === offsets.length % 2)
}

export function identifiersOf(subscription: Subscription): readonly number[] {
  return subscription.subscriptionIdentifier === 0 ? [] : [subscription.subscriptionIdentifier]
}
