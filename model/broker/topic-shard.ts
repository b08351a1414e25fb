/**
 * A topic shard: stores messages, keeps the subscriptions and queues of the sessions that want them, pushes them to the proxies of connected sessions.
 *
 * Promises: a message is answered `stored` only when a majority of copies has synced it, and pushed only then; each (client, epoch, sequence) is stored
 * at most once, in order; an older epoch of a client than the newest seen is refused. State is changed only by records of the log, in the log's order
 * (`apply`), so a new owner that replays it comes to the same queues and places.
 * Left out: QoS 0 messages are never stored; retained messages and shared subscriptions are the data path's next guests.
 */
import type { Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { RECORD_BODY_OFFSET } from '../volume/log-record.ts'
import type { Volume } from '../volume/volume.ts'
import { Reader, type Writer } from '../wire/codec.ts'
import type { Link } from '../wire/link.ts'
import type { Message, MessageOf, Subscription } from '../wire/messages.ts'
import { appendCheckpoint, CheckpointReader, CheckpointTrigger } from './checkpoint.ts'
import { DeliveryBatch, type Target, target } from './delivery-batch.ts'
import { type MessageHead, MessageIndex, peekMessage, readMessages } from './message-index.ts'
import { type Attachment, QUEUE_WINDOW, SessionQueue } from './session-queue.ts'
import type { Shard } from './shard.ts'
import { type Match, SubscriptionIndex } from './subscription-index.ts'
import {
  checkpointRecord,
  messageRecord,
  positionsRecord,
  RECORD_VERSION,
  segmentIndexRecord,
  sessionRemovedRecord,
  subscriptionsRecord,
  topicCheckpoint,
  topicRecordType,
} from './topic-records.ts'

/** The newest epoch of a client that this shard has seen, and how many of that epoch's appends it holds. */
interface Fence {
  epoch: number
  sequence: number
  /** Sessions up to this incarnation are over: they cannot attach any more. */
  endedIncarnation: number
  usedAgeMs: number
}

const POSITIONS_INTERVAL_MS = 1000
const DRAIN_RETRY_MS = 200
/** How much is read back from the log for one session before it is sent. */
const DRAIN_BYTES = 1 << 20
const HOUSEKEEPING_INTERVAL_MS = 60_000
/** A fence outlives by far every request that may still be under way for the epoch it refuses. */
const FENCE_KEPT_MS = 600_000

export class TopicShard implements Shard {
  private readonly host: Host
  private readonly shard: number
  private readonly settings: ServiceSettings
  private volume!: Volume
  private serving = false
  private pristine = true
  private readonly fences = new Map<string, Fence>()
  private readonly queues = new Map<string, SessionQueue>()
  private readonly subscriptions = new SubscriptionIndex<SessionQueue>()
  private readonly index = new MessageIndex()
  private readonly byHandle = new Map<Link, Map<number, SessionQueue>>()
  private readonly dirty = new Set<SessionQueue>()
  private positionsTimer: Timer | undefined
  private drainTimer: Timer | undefined
  private housekeepingTimer: Timer | undefined
  private readonly checkpointReader = new CheckpointReader()
  private readonly checkpoints: CheckpointTrigger
  private ageBaseMs = 0
  private servingSinceMs = 0

  constructor(host: Host, shard: number, settings: ServiceSettings) {
    this.host = host
    this.shard = shard
    this.settings = settings
    this.checkpoints = new CheckpointTrigger(settings.broker.checkpointBytes)
  }

  replay(offset: number, type: number, _version: number, body: Buffer): void {
    const reader = new Reader(body)
    if (type !== topicRecordType.checkpoint) this.pristine = false
    switch (type) {
      case topicRecordType.message: {
        const record = messageRecord.read(reader)
        this.applyMessage(offset, record.epoch, record.sequence, record.storedAtMs, peekMessage(record.message))
        break
      }
      case topicRecordType.subscriptions: {
        const record = subscriptionsRecord.read(reader)
        this.applySubscriptions(record.clientId, record.incarnation, record.epoch, record.version, record.subscriptions)
        break
      }
      case topicRecordType.sessionRemoved: {
        const record = sessionRemovedRecord.read(reader)
        this.applySessionRemoved(record.clientId, record.incarnation)
        break
      }
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
    for (const queue of this.queues.values()) {
      queue.maybeSentUpTo = queue.end - 1
      queue.dropBefore(volume.trimOffset)
    }
    this.housekeepingTimer = this.host.setTimer(HOUSEKEEPING_INTERVAL_MS, () => this.keepHouse())
  }

  close(): void {
    this.serving = false
    this.positionsTimer?.cancel()
    this.drainTimer?.cancel()
    this.housekeepingTimer?.cancel()
    this.byHandle.clear()
    for (const queue of this.queues.values()) queue.attachment = undefined
  }

  onRequest(link: Link, message: Message, reply: (message: Message) => void): void {
    switch (message.name) {
      case 'publish':
        this.publish(message, reply)
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
      case 'detach':
        this.detach(link, message.handle, message.epoch)
        break
    }
  }

  onLinkDown(link: Link): void {
    const handles = this.byHandle.get(link)
    if (handles === undefined) return
    for (const queue of handles.values()) queue.attachment = undefined
    this.byHandle.delete(link)
  }

  private ageMs(): number {
    return this.serving ? this.ageBaseMs + this.host.nowMs() - this.servingSinceMs : this.ageBaseMs
  }

  // Publishing

  private publish(request: MessageOf<'publish'>, reply: (message: Message) => void): void {
    const fence = this.fence(request.clientId, request.epoch)
    if (fence === undefined) {
      reply({ name: 'published', outcome: 'fenced', offset: 0, matched: false })
      return
    }
    if (request.sequence > Math.max(fence.sequence, request.confirmed) + 1) {
      reply({ name: 'published', outcome: 'gap', offset: 0, matched: false })
      return
    }
    if (request.sequence <= fence.sequence) {
      // A repetition of what the log already holds, though perhaps not yet on a majority.
      this.host.reached('repeated append recognised')
      this.volume.whenDurable(() => reply({ name: 'published', outcome: 'stored', offset: 0, matched: true }))
      return
    }
    this.host.work('record', 1)
    const storedAtMs = Math.max(0, Math.floor(this.host.wallMs()))
    const { epoch, sequence, message } = request
    const offset = this.volume.append(topicRecordType.message, RECORD_VERSION, (writer) =>
      messageRecord.write(writer, { epoch, sequence, storedAtMs, message }),
    )
    const head = peekMessage(message)
    const matches = this.applyMessage(offset, epoch, sequence, storedAtMs, head)
    this.volume.whenDurable(() => {
      if (!this.serving) return
      reply({ name: 'published', outcome: 'stored', offset, matched: matches.length > 0 })
      this.push(offset, message, head, matches)
    })
    this.index.sealIfFull(this.volume, this.ageMs())
    if (this.checkpoints.due(this.volume)) this.checkpoint()
  }

  /** QoS 0: to the sessions connected now, once, from nowhere but this hand. */
  private passOn(notice: MessageOf<'publish'>): void {
    if (!this.volume.leaseValid() || this.fence(notice.clientId, notice.epoch) === undefined) return
    const { topic, publisher, retain } = peekMessage(notice.message)
    const batch = new DeliveryBatch(this.shard, notice.message, 0)
    for (const match of this.subscriptions.match(topic)) {
      const grant = match.session.clientId === publisher ? match.own : match
      const attachment = match.session.attachment
      if (grant === undefined || attachment === undefined) continue
      batch.add(attachment, target(attachment.handle, 0, 0, retain && grant.retainAsPublished, false, grant.subscriptionIdentifiers))
    }
    batch.send()
  }

  /** @returns the fence, raised to `epoch`; undefined when a newer epoch of the client was seen. */
  private fence(clientId: string, epoch: number): Fence | undefined {
    let fence = this.fences.get(clientId)
    if (fence === undefined) {
      fence = { epoch, sequence: 0, endedIncarnation: 0, usedAgeMs: 0 }
      this.fences.set(clientId, fence)
    }
    if (epoch < fence.epoch) {
      this.host.reached('older session epoch refused')
      return undefined
    }
    if (epoch > fence.epoch) {
      fence.epoch = epoch
      fence.sequence = 0
    }
    fence.usedAgeMs = this.ageMs()
    return fence
  }

  private applyMessage(
    offset: number,
    epoch: number,
    sequence: number,
    storedAtMs: number,
    { topic, publisher, qos, retain }: MessageHead,
  ): readonly Match<SessionQueue>[] {
    const fence = this.fence(publisher, epoch)
    if (fence !== undefined) fence.sequence = sequence
    this.index.add(topic, offset, storedAtMs)
    const matches = this.subscriptions.match(topic)
    for (const match of matches) {
      const grant = match.session.clientId === publisher ? match.own : match
      if (grant === undefined) continue
      const granted = Math.min(qos, grant.qos)
      if (granted > 0) match.session.push(offset, granted, retain && grant.retainAsPublished, grant.subscriptionIdentifiers)
    }
    return matches
  }

  /** Sends a message that just became durable to the sessions that have nothing older waiting. */
  private push(offset: number, message: Buffer, { publisher, retain }: MessageHead, matches: readonly Match<SessionQueue>[]): void {
    if (matches.length === 0) return
    if (!this.volume.leaseValid()) {
      this.drainAllLater()
      return
    }
    const batch = new DeliveryBatch(this.shard, message, 0)
    for (const match of matches) {
      const queue = match.session
      const attachment = queue.attachment
      const grant = queue.clientId === publisher ? match.own : match
      if (attachment === undefined || grant === undefined) continue
      if (grant.qos === 0) {
        batch.add(attachment, target(attachment.handle, 0, 0, retain && grant.retainAsPublished, false, grant.subscriptionIdentifiers))
        continue
      }
      const sequence = attachment.next
      if (attachment.reading || sequence >= queue.end || queue.offsetAt(sequence) !== offset) continue
      if (sequence - queue.base >= QUEUE_WINDOW) continue
      batch.add(attachment, this.targetOf(queue, attachment, sequence))
      attachment.next = sequence + 1
    }
    batch.send()
  }

  private targetOf(queue: SessionQueue, attachment: Attachment, sequence: number): Target {
    const dup = sequence <= queue.maybeSentUpTo
    if (!dup) queue.maybeSentUpTo = sequence
    return target(attachment.handle, sequence, queue.qosAt(sequence), queue.retainAt(sequence), dup, queue.identifiersAt(sequence))
  }

  /** Sends what the session has waiting, as far as its window allows, reading older messages back from the log. */
  private drain(queue: SessionQueue): void {
    const attachment = queue.attachment
    if (attachment === undefined || attachment.reading || !this.serving) return
    const offsets: number[] = []
    const sequences: number[] = []
    const limit = Math.min(queue.end, queue.base + QUEUE_WINDOW)
    for (let sequence = Math.max(attachment.next, queue.base); sequence < limit; sequence++) {
      const offset = queue.offsetAt(sequence)
      if (offset >= this.volume.durableOffset) break
      if (queue.isAcknowledged(sequence)) {
        if (offsets.length === 0) attachment.next = sequence + 1
        continue
      }
      offsets.push(offset)
      sequences.push(sequence)
    }
    if (offsets.length === 0) return
    attachment.reading = true
    readMessages(this.volume, offsets, DRAIN_BYTES, (messages) => {
      if (!this.serving || queue.attachment !== attachment) return
      attachment.reading = false
      if (messages === undefined || !this.volume.leaseValid()) {
        this.drainAllLater()
        return
      }
      for (let i = 0; i < messages.length; i++) {
        const sequence = sequences[i]!
        attachment.next = sequence + 1
        if (queue.isAcknowledged(sequence)) continue
        const batch = new DeliveryBatch(this.shard, messages[i]!.message, 0)
        batch.add(attachment, this.targetOf(queue, attachment, sequence))
        batch.send()
      }
      this.drain(queue)
    })
  }

  /** After a read failed, or while the lease is in doubt. */
  private drainAllLater(): void {
    this.drainTimer ??= this.host.setTimer(DRAIN_RETRY_MS, () => {
      this.drainTimer = undefined
      for (const queue of this.queues.values()) if (queue.attachment !== undefined && queue.attachment.next < queue.end) this.drain(queue)
    })
  }

  private acknowledge(link: Link, notice: MessageOf<'acknowledge'>): void {
    const handles = this.byHandle.get(link)
    if (handles === undefined) return
    for (const { handle, sequence } of notice.places) {
      const queue = handles.get(handle)
      if (queue === undefined || !queue.acknowledge(sequence)) continue
      this.dirty.add(queue)
      if (queue.attachment !== undefined && queue.attachment.next < queue.end) this.drain(queue)
    }
    if (this.dirty.size > 0) this.positionsTimer ??= this.host.setTimer(POSITIONS_INTERVAL_MS, () => this.logPositions())
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
    const fence = this.fence(clientId, epoch)
    const known = this.queues.get(clientId)
    if (fence === undefined || incarnation <= fence.endedIncarnation || (known !== undefined && known.incarnation > incarnation)) {
      reply({ name: 'attached', outcome: 'fenced', queueEnd: 0 })
      return
    }
    if (known !== undefined && known.incarnation < incarnation) this.removeSession(known)
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
        this.connect(adopted, link, request.handle)
      }
      reply({ name: 'attached', outcome: 'done', queueEnd: adopted?.end ?? 0 })
    })
  }

  private adopt(request: MessageOf<'attach'>, queue: SessionQueue | undefined): void {
    const { clientId, incarnation, epoch, version, subscriptions } = request
    if (queue?.hasSubscriptions(subscriptions)) {
      queue.epoch = epoch
      queue.version = version
      return
    }
    this.host.work('record', 1)
    this.volume.append(topicRecordType.subscriptions, RECORD_VERSION, (writer) =>
      subscriptionsRecord.write(writer, { clientId, incarnation, epoch, version, subscriptions }),
    )
    this.applySubscriptions(clientId, incarnation, epoch, version, subscriptions)
  }

  private applySubscriptions(
    clientId: string,
    incarnation: number,
    epoch: number,
    version: number,
    subscriptions: readonly Subscription[],
  ): void {
    let queue = this.queues.get(clientId)
    if (queue === undefined) {
      queue = new SessionQueue(clientId, incarnation, epoch)
      this.queues.set(clientId, queue)
    }
    for (const former of queue.subscriptions) this.subscriptions.remove(queue, former.filter)
    for (const subscription of subscriptions) this.subscriptions.add(queue, subscription)
    queue.subscriptions = subscriptions
    queue.epoch = epoch
    queue.version = version
  }

  private connect(queue: SessionQueue, link: Link, handle: number): void {
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
    }
    this.drain(queue)
  }

  private detach(link: Link, handle: number, epoch: number): void {
    const queue = this.byHandle.get(link)?.get(handle)
    if (queue !== undefined && queue.epoch <= epoch) this.disconnect(queue)
  }

  private disconnect(queue: SessionQueue): void {
    const attachment = queue.attachment
    if (attachment === undefined) return
    this.byHandle.get(attachment.link)?.delete(attachment.handle)
    queue.attachment = undefined
  }

  private endSession(request: MessageOf<'endSession'>, reply: (message: Message) => void): void {
    const queue = this.queues.get(request.clientId)
    const fence = this.fences.get(request.clientId)
    if (fence !== undefined) fence.endedIncarnation = Math.max(fence.endedIncarnation, request.incarnation)
    else {
      this.fences.set(request.clientId, {
        epoch: request.incarnation,
        sequence: 0,
        endedIncarnation: request.incarnation,
        usedAgeMs: this.ageMs(),
      })
    }
    if (queue !== undefined && queue.incarnation <= request.incarnation) this.removeSession(queue)
    this.volume.whenDurable(() => reply({ name: 'answer', outcome: this.volume.leaseValid() ? 'done' : 'not-owner' }))
  }

  private removeSession(queue: SessionQueue): void {
    const { clientId, incarnation } = queue
    this.volume.append(topicRecordType.sessionRemoved, RECORD_VERSION, (writer) =>
      sessionRemovedRecord.write(writer, { clientId, incarnation }),
    )
    this.applySessionRemoved(clientId, incarnation)
  }

  private applySessionRemoved(clientId: string, incarnation: number): void {
    const queue = this.queues.get(clientId)
    if (queue === undefined || queue.incarnation > incarnation) return
    for (const subscription of queue.subscriptions) this.subscriptions.remove(queue, subscription.filter)
    this.disconnect(queue)
    this.queues.delete(clientId)
    this.dirty.delete(queue)
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
      fences: [...this.fences].map(([clientId, fence]) => ({ clientId, ...fence, usedAgeMs: Math.floor(fence.usedAgeMs) })),
      queues: [...this.queues.values()].map((queue) => queue.snapshot()),
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
    for (const { clientId, ...fence } of state.fences) this.fences.set(clientId, { ...fence })
    for (const snapshot of state.queues) {
      const queue = SessionQueue.restore(snapshot)
      this.queues.set(queue.clientId, queue)
      for (const subscription of queue.subscriptions) this.subscriptions.add(queue, subscription)
    }
    this.index.restore(state)
  }

  private keepHouse(): void {
    const ageMs = this.ageMs()
    for (const [clientId, fence] of this.fences) {
      if (fence.usedAgeMs + FENCE_KEPT_MS < ageMs && !this.queues.has(clientId)) this.fences.delete(clientId)
    }
    const keepFrom = Math.min(this.index.expire(ageMs, this.settings.broker.retentionMs), this.volume.markOffset)
    if (keepFrom > this.volume.trimOffset) {
      this.volume.trim(keepFrom)
      for (const queue of this.queues.values()) {
        queue.dropBefore(keepFrom)
        this.drain(queue)
      }
    }
    this.housekeepingTimer = this.host.setTimer(HOUSEKEEPING_INTERVAL_MS, () => this.keepHouse())
  }
}
