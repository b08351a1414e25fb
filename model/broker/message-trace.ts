/**
 * What became of a stored message, from records that are in the log anyway: whose queues it went into, who said that it has it, and when.
 *
 * The log is folded once more, aside, from the checkpoint before the message on: the state then tells the places that the message got, and the records after it what became of those.
 * What the log does not say yet (acknowledgements are logged within a second, that a message was sent is not logged at all) the living queues do.
 * A restore from a backup point gives what waits new places (`skipWhatIsLost`), and takes away what was logged after that point: such a trace goes on, and is not whole.
 * Left out: subscribers that the message is QoS 0 for, since nobody keeps account of those; deliveries as a retained message; that a message was too large for a subscriber, which counts
 * as acknowledged [MQTT-3.1.2-25].
 */
import type { Host } from '../host.ts'
import { RECORD_BODY_OFFSET, RESTORED, recordLengthAt, scanRecords } from '../volume/log-record.ts'
import type { Volume } from '../volume/volume.ts'
import { Reader } from '../wire/codec.ts'
import type { MessageOf } from '../wire/messages.ts'
import { CheckpointReader } from './checkpoint.ts'
import { type FoundMessage, peekMessage } from './message-index.ts'
import { BEYOND_ANY_LOSS, type SessionQueue } from './session-queue.ts'
import {
  checkpointRecord,
  expiredRecord,
  messageRecord,
  positionsRecord,
  receivedRecord,
  sessionRemovedRecord,
  topicCheckpoint,
  topicRecordType,
} from './topic-records.ts'
import { TopicState } from './topic-state.ts'

const CHUNK_BYTES = 256 * 1024
/** How much of the log is read for one trace, unless said otherwise. */
const MOST_BYTES = 64 << 20
/** Where the message's record is looked at first. */
const FIRST_LOOK_BYTES = 4096

export type Trace = Pick<MessageOf<'messageTraced'>, 'storedAtMs' | 'message' | 'isWhole' | 'deliveries'>

interface Place {
  readonly queue: SessionQueue
  sequence: number
  readonly qos: number
  state: Trace['deliveries'][number]['state']
  /** Nothing more will be known of it. */
  isSettled: boolean
  receivedAtMs: number
  acknowledgedAtMs: number
}

/** What the log says of the deliveries. */
interface Account {
  readonly places: readonly Place[]
  readonly isWhole: boolean
  /** Nothing that is in the log was left out, but for what is done with. */
  readonly isReadToEnd: boolean
}

/**
 * `none`: no message is stored at the offset. `unreadable`: the log could not be read now, or nobody wants it any more.
 * @param isWanted asked before each read
 */
export function traceMessage(
  host: Host,
  volume: Volume,
  state: TopicState,
  offset: number,
  isWanted: () => boolean,
  done: (trace: Trace | 'none' | 'unreadable') => void,
  mostBytes = MOST_BYTES,
): void {
  find(volume, state, offset, (found) => {
    if (found === undefined) {
      done('none')
      return
    }
    const { storedAtMs, message } = found
    const start = startBefore(volume, state, offset)
    if (start === undefined) {
      done({ storedAtMs, message, isWhole: false, deliveries: [] })
      return
    }
    new Tracer(host, volume, offset, mostBytes, isWanted).read(start, (account) => {
      if (account === undefined) {
        done('unreadable')
        return
      }
      const { places, isWhole, isReadToEnd } = account
      for (const place of places) {
        const queue = state.queues.get(place.queue.clientId)
        if (place.isSettled) continue
        if (isReadToEnd || stands(place, queue, offset)) consultQueue(place, queue)
        else if (place.state === 'waiting') place.state = 'unknown'
      }
      const deliveries = places.map(({ queue, sequence, qos, state: is, receivedAtMs, acknowledgedAtMs }) => ({
        clientId: queue.clientId,
        sequence,
        qos,
        state: is,
        receivedAtMs,
        acknowledgedAtMs,
      }))
      done({ storedAtMs, message, isWhole, deliveries })
    })
  })
}

/** Whoever asks may name any offset, so the index has to know of a message there. */
function find(volume: Volume, state: TopicState, offset: number, done: (found: FoundMessage | undefined) => void): void {
  if (offset < volume.trimOffset || offset >= volume.durableOffset) {
    done(undefined)
    return
  }
  volume.read(offset, FIRST_LOOK_BYTES, (bytes) => {
    const length = bytes === undefined ? 0 : recordLengthAt(bytes, 0)
    if (bytes === undefined || length <= 0 || bytes[RECORD_BODY_OFFSET - 2] !== topicRecordType.message) {
      done(undefined)
      return
    }
    const { topic } = peekMessage(messageRecord.read(new Reader(bytes, RECORD_BODY_OFFSET, length)).message)
    const exactly = { topic, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, afterOffset: offset - 1, limit: 1 }
    state.index.query(volume, exactly, (found) => {
      const first = found?.messages[0]
      done(first?.offset === offset ? first : undefined)
    })
  })
}

/** The last checkpoint that is known before the message, or where the log began; undefined: what there was before it is not kept. */
function startBefore(volume: Volume, { checkpoints }: TopicState, offset: number): number | undefined {
  for (let i = checkpoints.length - 1; i >= 0; i--) {
    const at = checkpoints[i]!
    if (at <= offset && at >= volume.trimOffset) return at
  }
  return volume.trimOffset === 0 ? 0 : undefined
}

/** Whether the place that an early part of the log tells of is still that of the message. */
function stands({ sequence, queue: { incarnation } }: Place, queue: SessionQueue | undefined, offset: number): boolean {
  if (queue === undefined || queue.incarnation !== incarnation) return false
  return sequence >= queue.base && sequence < queue.end && queue.offsetAt(sequence) === offset
}

/** What the log does not say yet. */
function consultQueue(place: Place, queue: SessionQueue | undefined): void {
  const { sequence } = place
  if (queue === undefined || queue.incarnation !== place.queue.incarnation) place.state = 'ended'
  else if (queue.isExpired(sequence)) place.state = 'expired'
  else if (queue.isAcknowledged(sequence)) place.state = 'acknowledged'
  else if (queue.isReceived(sequence)) place.state = 'received'
  else if (sequence <= queue.maybeSentUpTo) place.state = 'sent'
}

class Tracer {
  private readonly host: Host
  private readonly volume: Volume
  private readonly offset: number
  private readonly mostBytes: number
  private readonly isWanted: () => boolean
  private readonly state = new TopicState()
  private readonly checkpoint = new CheckpointReader()
  private isPristine = true
  /** A restore from a backup point came after the message. */
  private isCut = false
  private bytesRead = 0
  private readonly places: Place[] = []

  constructor(host: Host, volume: Volume, offset: number, mostBytes: number, isWanted: () => boolean) {
    this.host = host
    this.volume = volume
    this.offset = offset
    this.mostBytes = mostBytes
    this.isWanted = isWanted
  }

  /** `done` without an account: the log could not be read, or is not to be. */
  read(from: number, done: (account: Account | undefined) => void): void {
    const { volume } = this
    const isOver = from > this.offset && this.places.every(({ isSettled }) => isSettled)
    const isReadToEnd = isOver || from >= volume.durableOffset
    if (isReadToEnd || this.bytesRead >= this.mostBytes) {
      done({ places: this.places, isWhole: from > this.offset && !this.isCut && isReadToEnd, isReadToEnd })
      return
    }
    if (!this.isWanted()) {
      done(undefined)
      return
    }
    volume.read(from, CHUNK_BYTES, (bytes) => {
      if (bytes === undefined || bytes.length === 0) {
        done(undefined)
        return
      }
      const { records } = scanRecords(bytes, 0, (at, type, _version, body) => this.take(from + at, type, body))
      this.host.work('record', records)
      this.bytesRead += bytes.length
      this.read(from + bytes.length, done)
    })
  }

  private take(offset: number, type: number, body: Buffer): void {
    if (type === topicRecordType.checkpoint) {
      this.restore(body)
      return
    }
    this.isPristine = false
    this.state.replay(offset, type, body)
    if (offset === this.offset) for (const queue of this.state.queues.values()) this.addPlaces(queue)
    else if (offset > this.offset) this.follow(type, body)
  }

  /** The first checkpoint stands for what was before it; a later one says nothing new. */
  private restore(body: Buffer): void {
    const whole = this.checkpoint.take(checkpointRecord.read(new Reader(body)))
    if (whole === undefined || !this.isPristine) return
    this.isPristine = false
    this.state.restore(topicCheckpoint.read(new Reader(whole)))
  }

  /** A message gets at most one place of a queue by its own subscriptions and one by each group, all at the end. */
  private addPlaces(queue: SessionQueue): void {
    for (let sequence = queue.end - 1; sequence >= queue.base && queue.offsetAt(sequence) === this.offset; sequence--) {
      const qos = queue.qosAt(sequence)
      this.places.push({ queue, sequence, qos, state: 'waiting', isSettled: false, receivedAtMs: 0, acknowledgedAtMs: 0 })
    }
  }

  private follow(type: number, body: Buffer): void {
    if (type === topicRecordType.positions) {
      const { atMs } = positionsRecord.read(new Reader(body))
      for (const place of this.places) {
        if (place.isSettled || !place.queue.isAcknowledged(place.sequence)) continue
        settle(place, 'acknowledged')
        place.acknowledgedAtMs = atMs
      }
    } else if (type === topicRecordType.expired) {
      for (const { clientId, sequence } of expiredRecord.read(new Reader(body)).places) {
        const queue = this.state.queues.get(clientId)
        const place = this.places.find((each) => each.queue === queue && each.sequence === sequence)
        if (place !== undefined && !place.isSettled) settle(place, 'expired')
      }
    } else if (type === topicRecordType.received) {
      const { atMs } = receivedRecord.read(new Reader(body))
      for (const place of this.places) {
        if (place.state !== 'waiting' || !place.queue.isReceived(place.sequence)) continue
        place.state = 'received'
        place.receivedAtMs = atMs
      }
    } else if (type === topicRecordType.sessionRemoved) {
      for (const place of this.places) {
        const isGone = this.state.queues.get(place.queue.clientId) !== place.queue
        if (isGone && !place.isSettled) settle(place, 'ended')
      }
      const heirs = new Set(sessionRemovedRecord.read(new Reader(body)).heirs.map(({ clientId }) => clientId))
      for (const clientId of heirs) this.addInherited(this.state.queues.get(clientId))
    } else if (type === RESTORED) this.skipWhatIsLost()
  }

  /** As the queues have done. What a subscriber had received is done with. */
  private skipWhatIsLost(): void {
    this.isCut = true
    for (const place of this.places) {
      if (place.isSettled) continue
      if (place.state === 'received') settle(place, 'received')
      else place.sequence += BEYOND_ANY_LOSS
    }
  }

  private addInherited(queue: SessionQueue | undefined): void {
    if (queue === undefined) return
    const known = new Set(this.places.filter((place) => place.queue === queue).map(({ sequence }) => sequence))
    for (let sequence = queue.base; sequence < queue.end; sequence++) {
      if (queue.offsetAt(sequence) !== this.offset || known.has(sequence)) continue
      const qos = queue.qosAt(sequence)
      this.places.push({ queue, sequence, qos, state: 'waiting', isSettled: false, receivedAtMs: 0, acknowledgedAtMs: 0 })
    }
  }
}

function settle(place: Place, state: Place['state']): void {
  place.state = state
  place.isSettled = true
}
