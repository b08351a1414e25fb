/**
 * Where the stored messages of each topic are in a shard's log: the newest stretch in memory, finished stretches (segments) as index records in the log itself,
 * of which only the borders stay in memory. So a checkpoint, and with it a failover, does not grow with what is retained.
 *
 * A segment is given up as a whole, once its newest message is past its retention. So it is finished when it is long, or old: the trickle of a quiet shard would else stay for years.
 * So is a stretch without any message, which counts from its end: connections come and go, and what queues hold of retained messages stands there too, and is kept no shorter than messages.
 */

import { RECORD_BODY_OFFSET, recordLengthAt } from '../volume/log-record.ts'
import type { Volume } from '../volume/volume.ts'
import { Reader, type Value } from '../wire/codec.ts'
import { messageExpiryIn } from '../wire/properties.ts'
import { messageRecord, RECORD_VERSION, segmentIndexRecord, type TopicCheckpoint, topicRecordType } from './topic-records.ts'

export const SEAL_AT_MESSAGES = 8192
/** How much of the log one read fetches at the most: many small messages, or at least one of the largest. */
const READ_BYTES = 512 * 1024
/** Messages that lie further apart are read by themselves: what is between them has to be fetched and checked too. */
const GAP_BYTES = 16 * 1024
/** Room for the last message of a read, whose length is not known before. */
const LAST_MESSAGE_BYTES = 4096
const CACHED_INDEXES = 4
/** An answer to a query holds no more bytes of messages than this, and at least one message: it has to fit a frame. */
const QUERY_BYTES = 4 << 20
/** Messages read at a time where most are outside the time asked for. */
const READ_AHEAD = 64

type Segment = TopicCheckpoint['segments'][number]
type SegmentIndex = Value<typeof segmentIndexRecord>

export interface FoundMessage {
  readonly offset: number
  readonly storedAtMs: number
  /** The shard's age when it was stored. */
  readonly ageMs: number
  readonly message: Buffer
}

export interface MessageQuery {
  readonly topic: string
  readonly fromMs: number
  readonly toMs: number
  readonly afterOffset: number
  readonly limit: number
}

export class MessageIndex {
  /** By topic: where its messages are. */
  private open = new Map<string, number[]>()
  private openCount = 0
  private openFrom = 0
  private openEarliestMs = Number.MAX_SAFE_INTEGER
  private openLatestMs = 0
  /** The shard's age at the first message of the present stretch, and at its last; without one, at its beginning or a little before. */
  private openOldestAgeMs = 0
  private openNewestAgeMs = 0
  private segments: Segment[] = []
  private readonly cache = new Map<number, SegmentIndex>()

  add(topic: string, offset: number, { storedAtMs, ageMs }: { readonly storedAtMs: number; readonly ageMs: number }): void {
    const offsets = this.open.get(topic)
    if (offsets === undefined) this.open.set(topic, [offset])
    else offsets.push(offset)
    if (this.openCount === 0) this.openOldestAgeMs = ageMs
    this.openNewestAgeMs = ageMs
    this.openCount++
    if (storedAtMs < this.openEarliestMs) this.openEarliestMs = storedAtMs
    if (storedAtMs > this.openLatestMs) this.openLatestMs = storedAtMs
  }

  /** Writes the index of the present stretch to the log, once it is long enough, or its first message so old, or it as a whole. The record is applied when it is replayed too (`sealed`). */
  sealIfDue(volume: Volume, ageMs: number, segmentAgeMs: number): void {
    if (this.openCount < SEAL_AT_MESSAGES && ageMs - this.openOldestAgeMs < segmentAgeMs) return
    const index: SegmentIndex = {
      fromOffset: this.openFrom,
      toOffset: volume.endOffset,
      earliestMs: this.openEarliestMs,
      latestMs: this.openLatestMs,
      newestAgeMs: this.openCount === 0 ? Math.floor(ageMs) : this.openNewestAgeMs,
      topics: [...this.open].map(([topic, offsets]) => ({ topic, offsets })),
    }
    const before = volume.endOffset
    const offset = volume.append(topicRecordType.segmentIndex, RECORD_VERSION, (writer) => segmentIndexRecord.write(writer, index))
    this.sealed(index, offset, volume.endOffset - before)
  }

  sealed(index: SegmentIndex, indexOffset: number, indexLength: number): void {
    const { fromOffset, toOffset, earliestMs, latestMs, newestAgeMs } = index
    this.segments.push({ fromOffset, toOffset, earliestMs, latestMs, newestAgeMs, indexOffset, indexLength })
    this.open = new Map()
    this.openCount = 0
    this.openFrom = toOffset
    this.openEarliestMs = Number.MAX_SAFE_INTEGER
    this.openLatestMs = 0
    this.openOldestAgeMs = newestAgeMs
  }

  /** Forgets the segments that are past the retention. Ages of messages are whole milliseconds, rounded down. @returns the offset below which nothing is kept. */
  expire(ageMs: number, retentionMs: number): number {
    const newestPast = Math.floor(ageMs) - retentionMs
    let keepFrom = this.segments[0]?.fromOffset ?? this.openFrom
    while (this.segments.length > 0 && this.segments[0]!.newestAgeMs < newestPast) keepFrom = this.segments.shift()!.toOffset
    return keepFrom
  }

  /** What the log does not hold any more: a checkpoint may be from before the trim. */
  dropBefore(offset: number): void {
    while (this.segments.length > 0 && this.segments[0]!.toOffset <= offset) this.segments.shift()
  }

  snapshot(): Omit<TopicCheckpoint, 'ageMs' | 'fences' | 'queues' | 'retained' | 'checkpoints'> {
    return {
      segments: [...this.segments],
      openFrom: this.openFrom,
      open: [...this.open].map(([topic, offsets]) => ({ topic, offsets: [...offsets] })),
      openEarliestMs: this.openEarliestMs,
      openLatestMs: this.openLatestMs,
      openOldestAgeMs: this.openOldestAgeMs,
      openNewestAgeMs: this.openNewestAgeMs,
    }
  }

  restore(checkpoint: TopicCheckpoint): void {
    this.segments = [...checkpoint.segments]
    this.openFrom = checkpoint.openFrom
    this.open = new Map(checkpoint.open.map(({ topic, offsets }) => [topic, [...offsets]]))
    this.openCount = checkpoint.open.reduce((sum, entry) => sum + entry.offsets.length, 0)
    this.openEarliestMs = checkpoint.openEarliestMs
    this.openLatestMs = checkpoint.openLatestMs
    this.openOldestAgeMs = checkpoint.openOldestAgeMs
    this.openNewestAgeMs = checkpoint.openNewestAgeMs
  }

  /** Finds durable messages in the order of the log. `undefined`: the log could not be read. */
  query(
    volume: Volume,
    query: MessageQuery,
    done: (found: { messages: readonly FoundMessage[]; more: boolean } | undefined) => void,
  ): void {
    const segments = this.segments.filter(
      (segment) => segment.toOffset > query.afterOffset && segment.latestMs >= query.fromMs && segment.earliestMs <= query.toMs,
    )
    const messages: FoundMessage[] = []
    let bytes = 0
    const collect = (offsets: readonly number[], next: () => void): void => {
      const from = Math.max(query.afterOffset + 1, volume.trimOffset)
      const wanted = offsets.filter((offset) => offset >= from && offset < volume.durableOffset)
      const step = (at: number): void => {
        if (at >= wanted.length) {
          next()
          return
        }
        const room = query.limit + 1 - messages.length
        readMessages(volume, wanted.slice(at, at + Math.max(room, READ_AHEAD)), QUERY_BYTES, (found) => {
          if (found === undefined) {
            done(undefined)
            return
          }
          for (const message of found) {
            if (message.storedAtMs < query.fromMs || message.storedAtMs > query.toMs) continue
            if (messages.length === query.limit || (bytes > 0 && bytes + message.message.length > QUERY_BYTES)) {
              done({ messages, more: true })
              return
            }
            bytes += message.message.length
            messages.push(message)
          }
          step(at + found.length)
        })
      }
      step(0)
    }
    const visit = (i: number): void => {
      if (i === segments.length) {
        collect(this.open.get(query.topic) ?? [], () => done({ messages, more: false }))
        return
      }
      this.load(volume, segments[i]!, (index) => {
        if (index === undefined) done(undefined)
        else collect(index.topics.find((entry) => entry.topic === query.topic)?.offsets ?? [], () => visit(i + 1))
      })
    }
    visit(0)
  }

  private load(volume: Volume, segment: Segment, done: (index: SegmentIndex | undefined) => void): void {
    const cached = this.cache.get(segment.indexOffset)
    if (cached !== undefined) {
      done(cached)
      return
    }
    volume.read(segment.indexOffset, segment.indexLength, (bytes) => {
      if (bytes === undefined || recordLengthAt(bytes, 0) <= 0) {
        done(undefined)
        return
      }
      const index = segmentIndexRecord.read(new Reader(bytes, RECORD_BODY_OFFSET))
      if (this.cache.size >= CACHED_INDEXES) this.cache.delete(this.cache.keys().next().value!)
      this.cache.set(segment.indexOffset, index)
      done(index)
    })
  }
}

/** Reads the messages at the given offsets (ascending), as many at a time as lie close together; the first at least, and no more once `enoughBytes` were read. */
export function readMessages(
  volume: Volume,
  offsets: readonly number[],
  enoughBytes: number,
  done: (messages: readonly FoundMessage[] | undefined) => void,
): void {
  const messages: FoundMessage[] = []
  let bytesRead = 0
  const step = (i: number, lastMessageBytes: number): void => {
    if (i >= offsets.length || bytesRead >= enoughBytes) {
      done(messages)
      return
    }
    const from = offsets[i]!
    let last = i
    while (
      last + 1 < offsets.length &&
      offsets[last + 1]! - offsets[last]! < GAP_BYTES &&
      offsets[last + 1]! - from < READ_BYTES - LAST_MESSAGE_BYTES
    )
      last++
    const length = Math.min(offsets[last]! - from + lastMessageBytes, volume.durableOffset - from)
    volume.read(from, length, (bytes) => {
      if (bytes === undefined) {
        done(undefined)
        return
      }
      let next = i
      while (next <= last) {
        const at = offsets[next]! - from
        const recordBytes = at < bytes.length ? recordLengthAt(bytes, at) : 0
        if (recordBytes <= 0) break
        const reader = new Reader(bytes, at + RECORD_BODY_OFFSET, at + recordBytes)
        const { storedAtMs, ageMs, message } = messageRecord.read(reader)
        messages.push({ offset: offsets[next]!, storedAtMs, ageMs, message })
        bytesRead += recordBytes
        next++
      }
      if (next > i) step(next, LAST_MESSAGE_BYTES)
      else if (lastMessageBytes < READ_BYTES) step(i, READ_BYTES)
      else done(undefined)
    })
  }
  step(0, LAST_MESSAGE_BYTES)
}

/** What a topic shard has to know of a stored message. */
export interface MessageHead {
  readonly topic: string
  readonly publisher: string
  readonly qos: number
  readonly retain: boolean
  /** Asked for of retained messages only: there is no payload, so the topic keeps none [MQTT-3.3.1-6]. */
  readonly clearsRetained: boolean
}

/** Reads the head alone. */
export function peekMessage(message: Buffer): MessageHead {
  const reader = new Reader(message)
  const topic = reader.utf8()
  const publisher = reader.utf8()
  const qos = reader.u8()
  const retain = reader.u8() === 1
  if (!retain) return { topic, publisher, qos, retain, clearsRetained: false }
  reader.u53()
  reader.bytes()
  return { topic, publisher, qos, retain, clearsRetained: reader.bytes().length === 0 }
}

/** The Message Expiry Interval of a stored message. */
export function expirySecondsOf(message: Buffer): number | undefined {
  const reader = new Reader(message)
  reader.utf8()
  reader.utf8()
  reader.u8()
  reader.u8()
  reader.u53()
  const properties = reader.bytes()
  return properties.length === 0 ? undefined : messageExpiryIn(properties)
}
