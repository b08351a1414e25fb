/**
 * A topic shard: stores messages, keeps the subscriptions and queues of the sessions that want them and the retained message of each topic.
 *
 * Promises: a message is answered `stored` only when a majority of copies has synced it, and pushed only then; each (client, epoch, sequence), each QoS 2 message id of a client
 * and each will is stored at most once; an older epoch of a client than the newest seen is refused. State is changed only by records of the log, in the log's order
 * (`apply…`), so a new owner that replays it comes to the same queues, places and registers.
 * Left out: QoS 0 messages are not stored, but for the register of those with RETAIN, and wills.
 */
import type { Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { RECORD_BODY_OFFSET } from '../volume/log-record.ts'
import type { Volume } from '../volume/volume.ts'
import { Reader, type Writer } from '../wire/codec.ts'
import type { Link } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'
import { parseShared } from '../wire/topic.ts'
import { appendCheckpoint, CheckpointReader, CheckpointTrigger } from './checkpoint.ts'
import { DeliveryBatch } from './delivery-batch.ts'
import { Fences, rememberMessageId } from './fences.ts'
import { type MessageHead, MessageIndex, peekMessage, readMessages } from './message-index.ts'
import { QueueFeeder, type QueueFeederOwner } from './queue-feeder.ts'
import { RetainedRegister } from './retained-register.ts'
import { SessionQueue } from './session-queue.ts'
import type { Shard } from './shard.ts'
import { SharedGroups } from './shared-groups.ts'
import { type Match, SubscriptionIndex } from './subscription-index.ts'
import {
  checkpointRecord,
  type MessageRecord,
  messageRecord,
  positionsRecord,
  RECORD_VERSION,
  receivedRecord,
  type SessionRemovedRecord,
  type SubscriptionsRecord,
  segmentIndexRecord,
  sessionRemovedRecord,
  subscriptionsRecord,
  topicCheckpoint,
  topicRecordType,
} from './topic-records.ts'

const POSITIONS_INTERVAL_MS = 1000
const HOUSEKEEPING_INTERVAL_MS = 60_000
/** Retained messages that are read at a time to be written again before the log is trimmed. */
const CARRIED_AT_ONCE = 64
const CARRIED_BYTES = 4 << 20

type Chosen = MessageRecord['chosen']
const NOBODY: Chosen = []

export class TopicShard implements Shard, QueueFeederOwner {
  volume!: Volume
  private readonly host: Host
  private readonly shard: number
  private readonly settings: ServiceSettings
  private serving = false
  private pristine = true
  private readonly fences = new Fences()
  private readonly queues = new Map<string, SessionQueue>()
  private readonly subscriptions = new SubscriptionIndex<SessionQueue>()
  private readonly groups = new SharedGroups()
  private readonly retained = new RetainedRegister()
  private readonly index = new MessageIndex()
  private readonly feeder: QueueFeeder
  private readonly dirty = new Set<SessionQueue>()
  private positionsTimer: Timer | undefined
  private housekeepingTimer: Timer | undefined
  private readonly checkpointReader = new CheckpointReader()
  private readonly checkpoints: CheckpointTrigger
  private ageBaseMs = 0
  private servingSinceMs = 0

  constructor(host: Host, shard: number, settings: ServiceSettings) {
    this.host = host
    this.shard = shard
    this.settings = settings
    this.feeder = new QueueFeeder(host, shard, this)
    this.checkpoints = new CheckpointTrigger(settings.broker.checkpointBytes)
  }

  replay(offset: number, type: number, _version: number, body: Buffer): void {
    const reader = new Reader(body)
    if (type !== topicRecordType.checkpoint) this.pristine = false
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
        for (const { clientId, sequence } of receivedRecord.read(reader).places) this.queues.get(clientId)?.receive(sequence)
        break
      case topicRecordType.positions:
        for (const position of positionsRecord.read(reader).positions) {
          this.queues.get(position.clientId)?.restorePosition(position.base, position.beyond)
        }
        break
      case topicRecordType.segmentIndex:
        this.index.sealed(segmentIndexRecord.read(reader), offset, body.length + RECORD_BODY_OFFSET)
        break
      case topicRecordType.checkpoint: {
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
    this.index.dropBefore(volume.trimOffset)
    for (const { topic } of this.retained.before(volume.trimOffset)) this.retained.delete(topic)
    for (const queue of this.queues.values()) {
      queue.maybeSentUpTo = queue.end - 1
      queue.dropBefore(volume.trimOffset)
    }
    this.housekeepingTimer = this.host.setTimer(HOUSEKEEPING_INTERVAL_MS, () => this.keepHouse())
  }

  close(): void {
    this.serving = false
    this.positionsTimer?.cancel()
    this.housekeepingTimer?.cancel()
    this.feeder.close()
  }

  onRequest(link: Link, message: Message, reply: (message: Message) => void): void {
    switch (message.name) {
      case 'publish':
        this.publish(message, reply)
        break
      case 'publishWill':
        this.publishWill(message, reply)
        break
      case 'attach':
        this.attach(link, message, reply)
        break
      case 'endSession':
        this.endSession(message, reply)
        break
      case 'queryMessages':
        this.query(message, reply)
        break
    }
  }

  onNotice(link: Link, message: Message): void {
    switch (message.name) {
      case 'publish':
        this.passOn(message)
        break
      case 'acknowledge':
        this.acknowledge(link, message)
        break
      case 'received':
        this.received(link, message)
        break
      case 'detach':
        this.detach(link, message.handle, message.epoch)
        break
    }
  }

  onLinkDown(link: Link): void {
    this.feeder.onLinkDown(link)
  }

  ageMs(): number {
    return this.serving ? this.ageBaseMs + this.host.nowMs() - this.servingSinceMs : this.ageBaseMs
  }

  // Publishing

  private publish(request: MessageOf<'publish'>, reply: (message: Message) => void): void {
    const { clientId, epoch, sequence, confirmed, messageId, openFrom, message } = request
    const fence = this.fences.raise(clientId, epoch, this.ageMs())
    if (fence === undefined) {
      this.host.reached('older session epoch refused')
      reply({ name: 'published', outcome: 'fenced', offset: 0, matched: false })
      return
    }
    if (sequence > Math.max(fence.sequence, confirmed) + 1) {
      reply({ name: 'published', outcome: 'gap', offset: 0, matched: false })
      return
    }
    if (sequence <= fence.sequence || (messageId > 0 && fence.messageIds?.has(messageId) === true)) {
      // A repetition of what the log already holds, though perhaps not yet on a majority.
      this.host.reached(sequence <= fence.sequence ? 'repeated append recognised' : 'QoS 2 message recognised in another session epoch')
      fence.sequence = Math.max(fence.sequence, sequence)
      this.volume.whenDurable(() => reply({ name: 'published', outcome: 'stored', offset: 0, matched: true }))
      return
    }
    this.store({ epoch, sequence, messageId, openFrom, message }, reply)
  }

  private publishWill({ clientId, epoch, message }: MessageOf<'publishWill'>, reply: (message: Message) => void): void {
    if (epoch <= this.fences.of(clientId, this.ageMs()).willEpoch) {
      this.host.reached('repeated will recognised')
      this.volume.whenDurable(() => reply({ name: 'published', outcome: 'stored', offset: 0, matched: true }))
      return
    }
    this.store({ epoch, sequence: 0, messageId: 0, openFrom: 0, message }, reply)
  }

  private store(
    publication: Pick<MessageRecord, 'epoch' | 'sequence' | 'messageId' | 'openFrom' | 'message'>,
    reply: (message: Message) => void,
  ): void {
    const { epoch, sequence, messageId, openFrom, message } = publication
    const head = peekMessage(message)
    this.host.work('record', 1)
    const chosen = this.chooseMembers(head.topic, head.qos === 0)
    const { ageMs, storedAtMs } = this.stamp()
    const record = { epoch, sequence, messageId, openFrom, ageMs, storedAtMs, chosen, message }
    const offset = this.volume.append(topicRecordType.message, RECORD_VERSION, (writer) => messageRecord.write(writer, record))
    const matches = this.applyMessage(offset, record, head)
    const matched = matches.length > 0 || chosen.length > 0
    this.volume.whenDurable(() => {
      if (!this.serving) return
      reply({ name: 'published', outcome: 'stored', offset, matched })
      if (matched) this.push(offset, message, head, matches, chosen)
    })
    this.index.sealIfFull(this.volume, this.ageMs())
    if (this.checkpoints.due(this.volume)) this.checkpoint()
  }

  private stamp(): { ageMs: number; storedAtMs: number } {
    return { ageMs: Math.floor(this.ageMs()), storedAtMs: Math.max(0, Math.floor(this.host.wallMs())) }
  }

  /** QoS 0: to the sessions connected now, once, from nowhere but this hand; the register of its topic keeps it where it is retained. */
  private passOn({ clientId, epoch, message }: MessageOf<'publish'>): void {
    if (!this.volume.leaseValid() || this.fences.raise(clientId, epoch, this.ageMs()) === undefined) return
    const head = peekMessage(message)
    if (head.retain) this.retain({ epoch, sequence: 0, messageId: 0, openFrom: 0, ...this.stamp(), chosen: NOBODY, message }, head)
    this.push(-1, message, head, this.subscriptions.match(head.topic), this.chooseMembers(head.topic, true))
  }

  private chooseMembers(topic: string, mustBeConnected: boolean): Chosen {
    const groups = this.groups.match(topic)
    if (groups.length === 0) return NOBODY
    return groups.flatMap((group) => {
      const member = group.choose(mustBeConnected)
      return member === undefined ? [] : [{ share: group.share, clientId: member.clientId }]
    })
  }

  private applyMessage(offset: number, record: MessageRecord, head: MessageHead): readonly Match<SessionQueue>[] {
    const { topic, publisher, qos, retain } = head
    const { epoch, sequence, messageId, ageMs } = record
    if (!this.serving) this.ageBaseMs = Math.max(this.ageBaseMs, ageMs)
    if (sequence === 0) this.fences.of(publisher, this.ageMs()).willEpoch = epoch
    else {
      const fence = this.fences.raise(publisher, epoch, this.ageMs())
      if (fence !== undefined) fence.sequence = sequence
      if (messageId > 0) rememberMessageId(this.fences.of(publisher, this.ageMs()), messageId, record.openFrom)
    }
    this.index.add(topic, offset, record.storedAtMs)
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

  /** @returns the queue, where the message has got a place in it. */
  private pushShared(clientId: string, share: string, offset: number, qos: number, retain: boolean): SessionQueue | undefined {
    const queue = this.queues.get(clientId)
    const subscription = queue === undefined ? undefined : this.groups.get(share)?.members.get(queue)
    if (queue === undefined || subscription === undefined) return undefined
    const granted = Math.min(qos, subscription.qos)
    if (granted === 0) return undefined
    const sequence = queue.push(offset, granted, retain && subscription.retainAsPublished, identifiersOf(subscription))
    queue.markShared(sequence, share)
    return queue
  }

  /** Sends a message that just became durable, or one of QoS 0 (`offset` -1), to the sessions that have nothing older waiting. */
  private push(offset: number, message: Buffer, head: MessageHead, matches: readonly Match<SessionQueue>[], chosen: Chosen): void {
    if (!this.volume.leaseValid()) {
      this.feeder.drainAllLater()
      return
    }
    const { publisher, qos, retain } = head
    const at = qos === 0 ? -1 : offset
    const batch = new DeliveryBatch(this.shard, message, 0)
    for (const match of matches) {
      const grant = match.session.clientId === publisher ? match.own : match
      if (grant !== undefined) this.feeder.offer(batch, match.session, grant, at, retain)
    }
    for (const { share, clientId } of chosen) {
      const queue = this.queues.get(clientId)
      const subscription = queue === undefined ? undefined : this.groups.get(share)?.members.get(queue)
      if (queue === undefined || subscription === undefined) continue
      const grant = { ...subscription, subscriptionIdentifiers: identifiersOf(subscription) }
      this.feeder.offer(batch, queue, grant, at, retain)
    }
    batch.send()
  }

  // Retained messages

  private retain(record: MessageRecord, head: MessageHead): void {
    const offset = this.volume.append(topicRecordType.retained, RECORD_VERSION, (writer) => messageRecord.write(writer, record))
    this.applyRetained(offset, record, head)
  }

  private applyRetained(offset: number, { ageMs }: MessageRecord, { topic, publisher, qos, clearsRetained }: MessageHead): void {
    if (!this.serving) this.ageBaseMs = Math.max(this.ageBaseMs, ageMs)
    if (clearsRetained) this.retained.delete(topic)
    else this.retained.set({ topic, offset, publisher, qos })
  }

  /** Writes retained messages that stand below `offset` again, so that the log can be trimmed there. */
  private carryRetained(offset: number, done: () => void): void {
    const old = this.retained.before(offset).slice(0, CARRIED_AT_ONCE)
    if (old.length === 0) {
      this.volume.whenDurable(done)
      return
    }
    readMessages(
      this.volume,
      old.map((each) => each.offset),
      CARRIED_BYTES,
      (found) => {
        // Unread they stay where they are, and so does the log, until the next time.
        if (found === undefined || !this.serving) return
        for (const { offset: from, storedAtMs, ageMs, message } of found) {
          const head = peekMessage(message)
          if (this.retained.get(head.topic)?.offset !== from) continue
          this.retain({ epoch: 0, sequence: 0, messageId: 0, openFrom: 0, ageMs, storedAtMs, chosen: NOBODY, message }, head)
        }
        this.carryRetained(offset, done)
      },
    )
  }

  // Acknowledgements

  private acknowledge(link: Link, notice: MessageOf<'acknowledge'>): void {
    for (const { handle, sequence } of notice.places) {
      const queue = this.feeder.queueAt(link, handle)
      if (queue === undefined || !queue.acknowledge(sequence)) continue
      this.onAcknowledged(queue)
      if (queue.attachment !== undefined && queue.attachment.next < queue.end) this.feeder.drain(queue)
    }
  }

  onAcknowledged(queue: SessionQueue): void {
    this.dirty.add(queue)
    this.positionsTimer ??= this.host.setTimer(POSITIONS_INTERVAL_MS, () => this.logPositions())
  }

  /** PUBREC: from PUBREL on the subscriber may take the packet id for another message, so this has to be durable first. */
  private received(link: Link, notice: MessageOf<'received'>): void {
    const attached = notice.places.filter(({ handle }) => this.feeder.queueAt(link, handle) !== undefined)
    if (attached.length === 0) return
    const places: { clientId: string; sequence: number }[] = []
    for (const { handle, sequence } of attached) {
      const queue = this.feeder.queueAt(link, handle)!
      if (queue.receive(sequence)) places.push({ clientId: queue.clientId, sequence })
    }
    if (places.length > 0) {
      this.host.work('record', 1)
      this.volume.append(topicRecordType.received, RECORD_VERSION, (writer) => receivedRecord.write(writer, { places }))
    }
    const { generation } = link
    this.volume.whenDurable(() => {
      if (!this.serving || link.generation !== generation) return
      const still = attached.filter(({ handle }) => this.feeder.queueAt(link, handle) !== undefined)
      if (still.length > 0) this.feeder.release(link, still)
    })
  }

  private logPositions(): void {
    this.positionsTimer = undefined
    const positions = [...this.dirty].filter((queue) => this.queues.get(queue.clientId) === queue).map((queue) => queue.position())
    this.dirty.clear()
    if (positions.length === 0) return
    this.volume.append(topicRecordType.positions, RECORD_VERSION, (writer) => positionsRecord.write(writer, { positions }))
    if (this.checkpoints.due(this.volume)) this.checkpoint()
  }

  // Sessions

  private attach(link: Link, request: MessageOf<'attach'>, reply: (message: Message) => void): void {
    const { clientId, incarnation, epoch, version } = request
    const fence = this.fences.raise(clientId, epoch, this.ageMs())
    const known = this.queues.get(clientId)
    if (fence === undefined || incarnation <= fence.endedIncarnation || (known !== undefined && known.incarnation > incarnation)) {
      reply({ name: 'attached', outcome: 'fenced', queueEnd: 0 })
      return
    }
    if (known !== undefined && known.incarnation < incarnation) this.removeSession(clientId, known.incarnation)
    const queue = this.queues.get(clientId)
    const newer = queue === undefined || epoch > queue.epoch || (epoch === queue.epoch && version > queue.version)
    if (newer && (queue !== undefined || request.subscriptions.length > 0)) this.adopt(request, queue)
    const adopted = this.queues.get(clientId)
    this.volume.whenDurable(() => {
      if (!this.serving) return
      // What changed nothing waited for nothing, so the word of an owner also needs its lease.
      if (!this.volume.leaseValid()) {
        reply({ name: 'attached', outcome: 'not-owner', queueEnd: 0 })
        return
      }
      // A newer attach of the same session may have come while this one was being made durable.
      if (adopted !== undefined && this.queues.get(clientId) === adopted && this.fences.get(clientId)?.epoch === epoch) {
        this.feeder.connect(adopted, link, request.handle)
      }
      reply({ name: 'attached', outcome: 'done', queueEnd: adopted?.end ?? 0 })
    })
  }

  private adopt(request: MessageOf<'attach'>, queue: SessionQueue | undefined): void {
    const { clientId, incarnation, epoch, version, subscriptions, sendRetained } = request
    if (sendRetained.length === 0 && queue?.hasSubscriptions(subscriptions)) {
      queue.epoch = epoch
      queue.version = version
      return
    }
    this.host.work('record', 1)
    const record = { clientId, incarnation, epoch, version, subscriptions, sendRetained }
    const offset = this.volume.append(topicRecordType.subscriptions, RECORD_VERSION, (writer) => subscriptionsRecord.write(writer, record))
    this.applySubscriptions(offset, record)
  }

  private applySubscriptions(offset: number, record: SubscriptionsRecord): void {
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

  private unsubscribe(queue: SessionQueue): void {
    for (const { filter } of queue.subscriptions) {
      if (parseShared(filter) === undefined) this.subscriptions.remove(queue, filter)
      else this.groups.remove(queue, filter)
    }
  }

  private detach(link: Link, handle: number, epoch: number): void {
    const queue = this.feeder.queueAt(link, handle)
    if (queue !== undefined && queue.epoch <= epoch) this.feeder.disconnect(queue)
  }

  private endSession({ clientId, incarnation }: MessageOf<'endSession'>, reply: (message: Message) => void): void {
    if ((this.fences.get(clientId)?.endedIncarnation ?? 0) < incarnation) this.removeSession(clientId, incarnation)
    this.volume.whenDurable(() => reply({ name: 'answer', outcome: this.volume.leaseValid() ? 'done' : 'not-owner' }))
  }

  private removeSession(clientId: string, incarnation: number): void {
    const record = { clientId, incarnation, heirs: this.heirsOf(this.queues.get(clientId), incarnation) }
    const offset = this.volume.append(topicRecordType.sessionRemoved, RECORD_VERSION, (writer) =>
      sessionRemovedRecord.write(writer, record),
    )
    const heirs = this.applySessionRemoved(offset, record)
    if (heirs.length === 0) return
    this.volume.whenDurable(() => {
      for (const heir of heirs) this.feeder.drain(heir)
    })
  }

  /** Who gets what the session leaves behind by its shared subscriptions. A QoS 2 message whose delivery was begun goes to nobody else [MQTT-4.8.2-5]. */
  private heirsOf(queue: SessionQueue | undefined, incarnation: number): SessionRemovedRecord['heirs'] {
    if (queue === undefined || queue.incarnation > incarnation) return []
    const places = queue.sharedPlaces()
    if (places.length === 0) return []
    this.unsubscribe(queue)
    return places.flatMap(({ sequence, share }) => {
      if (queue.qosAt(sequence) === 2 && sequence <= queue.maybeSentUpTo) return []
      const heir = this.groups.get(share)?.choose(false)
      return heir === undefined ? [] : [{ sequence, share, clientId: heir.clientId }]
    })
  }

  /** @returns the queues that got something. */
  private applySessionRemoved(offset: number, { clientId, incarnation, heirs }: SessionRemovedRecord): readonly SessionQueue[] {
    const fence = this.fences.of(clientId, this.ageMs())
    fence.endedIncarnation = Math.max(fence.endedIncarnation, incarnation)
    const queue = this.queues.get(clientId)
    if (queue === undefined || queue.incarnation > incarnation) return []
    this.unsubscribe(queue)
    const inherited = new Set<SessionQueue>()
    for (const { sequence, share, clientId: heirId } of heirs) {
      const heir = this.pushShared(heirId, share, queue.offsetAt(sequence), queue.qosAt(sequence), queue.retainAt(sequence))
      if (heir === undefined) continue
      heir.holdUntil(heir.end - 1, offset)
      inherited.add(heir)
    }
    this.feeder.disconnect(queue)
    this.queues.delete(clientId)
    this.dirty.delete(queue)
    return [...inherited]
  }

  // Query

  private query(request: MessageOf<'queryMessages'>, reply: (message: Message) => void): void {
    const notOwner = () => reply({ name: 'messagesFound', outcome: 'not-owner', messages: [], more: false })
    if (!this.volume.leaseValid()) {
      notOwner()
      return
    }
    this.index.query(this.volume, request, (found) => {
      if (found === undefined || !this.serving || !this.volume.leaseValid()) notOwner()
      else reply({ name: 'messagesFound', outcome: 'found', messages: found.messages, more: found.more })
    })
  }

  // Checkpoints and retention

  private checkpoint(): void {
    const state = {
      ageMs: Math.floor(this.ageMs()),
      fences: this.fences.snapshot(),
      queues: [...this.queues.values()].map((queue) => queue.snapshot()),
      retained: this.retained.snapshot(),
      ...this.index.snapshot(),
    }
    appendCheckpoint(this.volume, this.checkpoints, topicRecordType.checkpoint, (writer: Writer) => topicCheckpoint.write(writer, state))
  }

  /** Only of the checkpoint that the replay began with: a later one says what the records before it have said already. */
  private restore(bytes: Buffer): void {
    if (!this.pristine) return
    this.pristine = false
    this.host.reached('topic shard restored from a checkpoint')
    const reader = new Reader(bytes)
    const state = topicCheckpoint.read(reader)
    if (!reader.complete()) throw new Error(`checkpoint of shard ${this.shard} does not decode`)
    this.ageBaseMs = state.ageMs
    this.fences.restore(state.fences)
    for (const snapshot of state.queues) {
      const queue = SessionQueue.restore(snapshot)
      this.queues.set(queue.clientId, queue)
      this.subscribe(queue)
    }
    for (const message of state.retained) this.retained.set(message)
    this.index.restore(state)
  }

  private keepHouse(): void {
    const { retentionMs } = this.settings.broker
    const ageMs = this.ageMs()
    this.fences.forgetIdle(ageMs, retentionMs, (clientId) => this.queues.has(clientId))
    const keepFrom = Math.min(this.index.expire(ageMs, retentionMs), this.volume.markOffset)
    if (keepFrom > this.volume.trimOffset) this.carryRetained(keepFrom, () => this.trim(keepFrom))
    this.housekeepingTimer = this.host.setTimer(HOUSEKEEPING_INTERVAL_MS, () => this.keepHouse())
  }

  private trim(keepFrom: number): void {
    if (!this.serving) return
    this.volume.trim(keepFrom)
    for (const queue of this.queues.values()) {
      queue.dropBefore(keepFrom)
      this.feeder.drain(queue)
    }
  }
}

function identifiersOf(subscription: { readonly subscriptionIdentifier: number }): readonly number[] {
  return subscription.subscriptionIdentifier === 0 ? [] : [subscription.subscriptionIdentifier]
}
