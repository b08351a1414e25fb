/**
 * A topic shard: stores messages, keeps the subscriptions and queues of the sessions that want them and the retained message of each topic.
 *
 * Promises: a message is answered `stored` only when a majority of copies has synced it, and pushed only then; each (client, epoch, sequence), each QoS 2 message id of a client
 * and each will is stored at most once; an older epoch of a client than the newest seen is refused. All state that has to survive is `TopicState`, a fold of the log.
 * Left out: QoS 0 messages are not stored, but for the register of those with RETAIN, and wills.
 */
import type { Host } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import type { Volume } from '../volume/volume.ts'
import type { Link } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'
import { parseShared } from '../wire/topic.ts'
import { Checkpoints } from './checkpoint.ts'
import { DeliveryBatch } from './delivery-batch.ts'
import { type MessageHead, peekMessage } from './message-index.ts'
import { QueueFeeder, type QueueFeederOwner } from './queue-feeder.ts'
import { QueueJournal, type QueueJournalOwner } from './queue-journal.ts'
import type { SessionQueue } from './session-queue.ts'
import type { Shard } from './shard.ts'
import type { Match } from './subscription-index.ts'
import { type HousekeepingOwner, TopicHousekeeping } from './topic-housekeeping.ts'
import {
  type MessageRecord,
  messageRecord,
  RECORD_VERSION,
  receivedRecord,
  type SessionRemovedRecord,
  sessionRemovedRecord,
  subscriptionsRecord,
  type TopicCheckpoint,
  topicCheckpoint,
  topicRecordType,
} from './topic-records.ts'
import { identifiersOf, TopicState } from './topic-state.ts'
import { TraceDesk, type TraceDeskOwner } from './trace-desk.ts'

type Chosen = MessageRecord['chosen']
const NOBODY: Chosen = []
const NO_BYTES = Buffer.alloc(0)

type SessionAttach = MessageOf<'attach'>['sessions'][number]
type SessionAttached = MessageOf<'attached'>['sessions'][number]
const FENCED: SessionAttached = { outcome: 'fenced', queueEnd: 0 }

export class TopicShard implements Shard, QueueFeederOwner, QueueJournalOwner, HousekeepingOwner, TraceDeskOwner {
  volume!: Volume
  readonly state = new TopicState()
  isServing = false
  private readonly host: Host
  private readonly shard: number
  private readonly feeder: QueueFeeder
  private readonly journal: QueueJournal
  private readonly housekeeping: TopicHousekeeping
  private readonly traces: TraceDesk
  private readonly checkpoints: Checkpoints<TopicCheckpoint>
  private ageBaseMs = 0
  private servingSinceMs = 0
  /** Messages of QoS 0 that wait for a retained one before them to be durable, or are that one. */
  private heldBack = 0

  constructor(host: Host, shard: number, settings: ServiceSettings) {
    this.host = host
    this.shard = shard
    this.feeder = new QueueFeeder(host, shard, this)
    this.journal = new QueueJournal(host, this)
    this.housekeeping = new TopicHousekeeping(host, this, settings.broker)
    this.traces = new TraceDesk(host, this)
    this.checkpoints = new Checkpoints(host, settings.broker.checkpointBytes, {
      name: 'topic shard',
      recordType: topicRecordType.checkpoint,
      field: topicCheckpoint,
      isAllInState: false,
      snapshot: () => {
        this.journal.logExpired()
        return this.state.snapshot(this.ageMs(), this.volume.endOffset)
      },
      restore: (checkpoint) => this.state.restore(checkpoint),
    })
  }

  replay(offset: number, type: number, _version: number, body: Buffer): void {
    if (!this.checkpoints.replay(type, body)) this.state.replay(offset, type, body)
  }

  serve(volume: Volume): void {
    this.volume = volume
    this.isServing = true
    this.servingSinceMs = this.host.nowMs()
    this.checkpoints.attached(volume)
    this.ageBaseMs = this.state.ageMs
    this.state.served(volume.trimOffset)
    this.housekeeping.start()
  }

  close(): void {
    this.isServing = false
    this.journal.close()
    this.housekeeping.close()
    this.feeder.close()
    this.traces.close()
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
      case 'traceMessage':
        this.trace(link, message, reply)
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
      case 'expired':
        this.expired(link, message)
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
    return this.ageBaseMs + this.host.nowMs() - this.servingSinceMs
  }

  // Publishing

  private publish(request: MessageOf<'publish'>, reply: (message: Message) => void): void {
    const { clientId, epoch, sequence, confirmed, messageId, openFrom, message } = request
    const fence = this.state.fences.raise(clientId, epoch, this.ageMs())
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
    if (epoch <= this.state.fences.of(clientId, this.ageMs()).willEpoch) {
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
    this.housekeeping.finishSegmentIfDue()
    const { epoch, sequence, messageId, openFrom, message } = publication
    const head = peekMessage(message)
    this.host.work('record', 1)
    const chosen = this.chooseMembers(head.topic, head.qos === 0 ? 'connected' : 'anyone')
    const { ageMs, storedAtMs } = this.stamp()
    const record = { epoch, sequence, messageId, openFrom, ageMs, storedAtMs, chosen, message }
    const offset = this.volume.append(topicRecordType.message, RECORD_VERSION, (writer) => messageRecord.write(writer, record))
    const matches = this.state.applyMessage(offset, record, head)
    const matched = matches.length > 0 || chosen.length > 0
    this.volume.whenDurable(() => {
      if (!this.isServing) return
      reply({ name: 'published', outcome: 'stored', offset, matched })
      if (matched) this.push(offset, message, head, matches, chosen)
    })
    this.checkpoints.writeIfDue(this.volume)
  }

  private stamp(): { ageMs: number; storedAtMs: number } {
    return { ageMs: Math.floor(this.ageMs()), storedAtMs: this.wallMs() }
  }

  /** For people who read traces; nothing is decided by it. */
  wallMs(): number {
    return Math.max(0, Math.floor(this.host.wallMs()))
  }

  /**
   * QoS 0: to the sessions connected now, once, from nowhere but this hand; the register of its topic keeps it where it is retained. That one leaves when the register surely
   * has it: a subscriber that has seen it would otherwise find the former one there after a failover [MQTT-3.3.1-5]. What comes behind it keeps its place [MQTT-4.6.0-5].
   */
  private passOn({ clientId, epoch, message }: MessageOf<'publish'>): void {
    if (!this.volume.leaseValid() || this.state.fences.raise(clientId, epoch, this.ageMs()) === undefined) return
    const head = peekMessage(message)
    const matches = this.state.subscriptions.match(head.topic)
    const chosen = this.chooseMembers(head.topic, 'connected')
    if (head.retain) this.retain({ epoch, ...this.stamp(), message }, head)
    else if (this.heldBack === 0) {
      this.push(-1, message, head, matches, chosen)
      return
    }
    this.heldBack++
    this.volume.whenDurable(() => {
      this.heldBack--
      if (this.isServing) this.push(-1, message, head, matches, chosen)
    })
  }

  private chooseMembers(topic: string, wanted: 'connected' | 'anyone'): Chosen {
    const groups = this.state.groups.match(topic)
    if (groups.length === 0) return NOBODY
    return groups.flatMap((group) => {
      const member = group.choose(wanted)
      return member === undefined ? [] : [{ share: group.share, clientId: member.clientId }]
    })
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
      const member = this.state.member(share, clientId)
      if (member === undefined) continue
      const grant = { ...member.subscription, subscriptionIdentifiers: identifiersOf(member.subscription) }
      this.feeder.offer(batch, member.queue, grant, at, retain)
    }
    batch.send()
  }

  /** For the register of the topic alone. */
  retain(
    { epoch, ageMs, storedAtMs, message }: Pick<MessageRecord, 'epoch' | 'ageMs' | 'storedAtMs' | 'message'>,
    head: MessageHead,
  ): void {
    const record = { epoch, sequence: 0, messageId: 0, openFrom: 0, ageMs, storedAtMs, chosen: NOBODY, message }
    const offset = this.volume.append(topicRecordType.retained, RECORD_VERSION, (writer) => messageRecord.write(writer, record))
    this.state.applyRetained(offset, record, head)
  }

  // What the feeder, the journal and the housekeeping tell

  onAcknowledged(queue: SessionQueue): void {
    this.journal.onAcknowledged(queue)
  }

  onExpired(queue: SessionQueue, places: readonly number[]): void {
    this.journal.onExpired(queue, places)
    this.volume.whenDurable(() => {
      if (this.isServing) this.feeder.drain(queue)
    })
  }

  onDetached(queue: SessionQueue): void {
    this.journal.onDetached(queue)
  }

  onLogged(): void {
    this.checkpoints.writeIfDue(this.volume)
  }

  writeCheckpoint(): void {
    this.checkpoints.write(this.volume)
  }

  onTrimmed(): void {
    for (const queue of this.state.queues.values()) this.feeder.drain(queue)
  }

  // Acknowledgements

  private acknowledge(link: Link, notice: MessageOf<'acknowledge'>): void {
    for (const { handle, sequence } of notice.places) {
      const queue = this.feeder.queueAt(link, handle)
      if (queue === undefined || !queue.acknowledge(sequence)) continue
      this.journal.onAcknowledged(queue)
      if (queue.attachment !== undefined && queue.attachment.next < queue.end) this.feeder.drain(queue)
    }
  }

  /** At the proxy, where it waited for room. */
  private expired(link: Link, notice: MessageOf<'expired'>): void {
    for (const { handle, sequence } of notice.places) {
      const queue = this.feeder.queueAt(link, handle)
      if (queue === undefined || !queue.expire(sequence)) continue
      this.journal.onExpiredAtProxy(queue, sequence)
      this.feeder.drain(queue)
    }
  }

  /** PUBREC: from PUBREL on the subscriber may take the packet id for another message, so this has to be durable first. */
  private received(link: Link, notice: MessageOf<'received'>): void {
    const attached = notice.places.filter(({ handle }) => this.feeder.queueAt(link, handle) !== undefined)
    if (attached.length === 0) return
    const places = attached
      .map(({ handle, sequence }) => ({ queue: this.feeder.queueAt(link, handle)!, sequence }))
      .filter(({ queue, sequence }) => queue.isReceivable(sequence))
      .map(({ queue: { clientId }, sequence }) => ({ clientId, sequence }))
    if (places.length > 0) {
      this.host.work('record', 1)
      const record = { places, atMs: this.wallMs() }
      this.volume.append(topicRecordType.received, RECORD_VERSION, (writer) => receivedRecord.write(writer, record))
      this.state.applyReceived(record)
    }
    const { generation } = link
    this.volume.whenDurable(() => {
      if (!this.isServing || link.generation !== generation) return
      const still = attached.filter(({ handle }) => this.feeder.queueAt(link, handle) !== undefined)
      if (still.length > 0) this.feeder.release(link, still)
    })
  }

  // Sessions

  private attach(link: Link, { sessions }: MessageOf<'attach'>, reply: (message: Message) => void): void {
    const admitted = sessions.map((session) => this.admit(session))
    this.volume.whenDurable(() => {
      if (!this.isServing) return
      // What changed nothing waited for nothing, so the word of an owner also needs its lease.
      if (!this.volume.leaseValid()) {
        reply({ name: 'attached', outcome: 'not-owner', sessions: [] })
        return
      }
      const answers = sessions.map(({ clientId, epoch, handle }, at): SessionAttached => {
        const queue = admitted[at]
        if (queue === 'fenced') return FENCED
        // A newer attach of the same session may have come while this one was being made durable.
        if (queue !== undefined && this.state.queues.get(clientId) === queue && this.state.fences.get(clientId)?.epoch === epoch) {
          this.feeder.connect(queue, link, handle)
        }
        return { outcome: 'done', queueEnd: queue?.end ?? 0 }
      })
      reply({ name: 'attached', outcome: 'done', sessions: answers })
    })
  }

  /** @returns the session's queue, if it has one here; written, but perhaps not durable yet. */
  private admit(session: SessionAttach): SessionQueue | undefined | 'fenced' {
    const { clientId, incarnation, epoch, version } = session
    const fence = this.state.fences.raise(clientId, epoch, this.ageMs())
    const known = this.state.queues.get(clientId)
    if (fence === undefined || incarnation <= fence.endedIncarnation || (known !== undefined && known.incarnation > incarnation))
      return 'fenced'
    if (known !== undefined && known.incarnation < incarnation) this.removeSession(clientId, known.incarnation)
    const queue = this.state.queues.get(clientId)
    const newer = queue === undefined || epoch > queue.epoch || (epoch === queue.epoch && version > queue.version)
    if (newer && (queue !== undefined || session.subscriptions.length > 0)) this.adopt(session, queue)
    const admitted = this.state.queues.get(clientId)
    if (admitted !== undefined) this.journal.onAttaching(admitted)
    return admitted
  }

  private adopt(session: SessionAttach, queue: SessionQueue | undefined): void {
    const { clientId, incarnation, epoch, version, subscriptions } = session
    const sendRetained = retainedDue(session, queue)
    if (sendRetained.length === 0 && queue?.hasSubscriptions(subscriptions)) {
      queue.epoch = epoch
      queue.version = version
      return
    }
    this.host.work('record', 1)
    const record = { clientId, incarnation, epoch, version, subscriptions, sendRetained }
    const offset = this.volume.append(topicRecordType.subscriptions, RECORD_VERSION, (writer) => subscriptionsRecord.write(writer, record))
    this.state.applySubscriptions(offset, record)
  }

  private detach(link: Link, handle: number, epoch: number): void {
    const queue = this.feeder.queueAt(link, handle)
    if (queue !== undefined && queue.epoch <= epoch) this.feeder.disconnect(queue)
  }

  private endSession({ clientId, incarnation }: MessageOf<'endSession'>, reply: (message: Message) => void): void {
    if ((this.state.fences.get(clientId)?.endedIncarnation ?? 0) < incarnation) this.removeSession(clientId, incarnation)
    this.volume.whenDurable(() => reply({ name: 'answer', outcome: this.volume.leaseValid() ? 'done' : 'not-owner' }))
  }

  private removeSession(clientId: string, incarnation: number): void {
    const record = { clientId, incarnation, heirs: this.heirsOf(this.state.queues.get(clientId), incarnation) }
    const offset = this.volume.append(topicRecordType.sessionRemoved, RECORD_VERSION, (writer) =>
      sessionRemovedRecord.write(writer, record),
    )
    const { removed, heirs } = this.state.applySessionRemoved(offset, record)
    if (removed !== undefined) this.feeder.disconnect(removed)
    if (heirs.size === 0) return
    this.volume.whenDurable(() => {
      for (const heir of heirs) this.feeder.drain(heir)
    })
  }

  /** Who gets what the session leaves behind by its shared subscriptions. A QoS 2 message whose delivery was begun goes to nobody else [MQTT-4.8.2-5]. */
  private heirsOf(queue: SessionQueue | undefined, incarnation: number): SessionRemovedRecord['heirs'] {
    if (queue === undefined || queue.incarnation > incarnation) return []
    const places = queue.sharedPlaces()
    if (places.length === 0) return []
    this.state.unsubscribe(queue)
    return places.flatMap(({ sequence, share }) => {
      if (queue.qosAt(sequence) === 2 && sequence <= queue.maybeSentUpTo) return []
      const heir = this.state.groups.get(share)?.choose('queued')
      return heir === undefined ? [] : [{ sequence, share, clientId: heir.clientId }]
    })
  }

  // Query

  private query(request: MessageOf<'queryMessages'>, reply: (message: Message) => void): void {
    const notOwner = () => reply({ name: 'messagesFound', outcome: 'not-owner', messages: [], more: false })
    if (!this.volume.leaseValid()) {
      notOwner()
      return
    }
    this.state.index.query(this.volume, request, (found) => {
      if (found === undefined || !this.isServing || !this.volume.leaseValid()) notOwner()
      else reply({ name: 'messagesFound', outcome: 'found', messages: found.messages, more: found.more })
    })
  }

  private trace(link: Link, { offset }: MessageOf<'traceMessage'>, reply: (message: MessageOf<'messageTraced'>) => void): void {
    const nothing = (outcome: 'none' | 'not-owner') =>
      reply({ name: 'messageTraced', outcome, storedAtMs: 0, message: NO_BYTES, isWhole: false, deliveries: [] })
    if (!this.volume.leaseValid()) {
      nothing('not-owner')
      return
    }
    this.traces.ask(link, offset, (trace) => {
      if (!this.isServing || !this.volume.leaseValid() || trace === 'unreadable') nothing('not-owner')
      else if (trace === 'none') nothing('none')
      else reply({ name: 'messageTraced', outcome: 'found', ...trace })
    })
  }
}

/**
 * The filters whose retained messages are to be sent. Retain handling 0: of each SUBSCRIBE; 1: where the subscription did not exist; 2: never [MQTT-3.3.1-9, MQTT-3.3.1-10,
 * MQTT-3.3.1-11]; a shared one gets none (section 4.8.2). Whether it existed is this shard's to say: the session's list is written before the shards answer, so that a
 * subscription may stand there whose SUBSCRIBE was cut off before this shard heard of it.
 */
function retainedDue({ subscriptions, touched }: SessionAttach, queue: SessionQueue | undefined): readonly string[] {
  const isKnown = (filter: string) => queue?.subscriptions.some((known) => known.filter === filter) === true
  return subscriptions
    .filter(({ filter, retainHandling }) => (retainHandling === 0 ? touched.includes(filter) : retainHandling === 1 && !isKnown(filter)))
    .map(({ filter }) => filter)
    .filter((filter) => parseShared(filter) === undefined)
}
