import { describe, expect, test } from 'vitest'
import { Reader, Writer } from '../wire/codec.ts'
import { storedMessageField } from '../wire/messages.ts'
import { type FoundMessage, MessageIndex, type MessageQuery } from './message-index.ts'
import { LogInMemory } from './shard-stage.test-support.ts'
import { messageRecord, RECORD_VERSION, topicCheckpoint, topicRecordType } from './topic-records.ts'

const SEALED_AT = 8192
const RETENTION_MS = 1000
const SEGMENT_AGE_MS = 400

class Archive {
  readonly log = new LogInMemory()
  index = new MessageIndex()
  ageMs = 0

  constructor() {
    // As in a real log, the first record is not a message.
    this.log.append(1, 1, (writer) => writer.u32(1))
  }

  /** Stores a message whose text is its own time. */
  store(topic: string, storedAtMs: number): void {
    const writer = new Writer().begin()
    storedMessageField.write(writer, {
      topic,
      publisher: 'p',
      qos: 1,
      retain: false,
      publishedAtMs: storedAtMs,
      properties: Buffer.alloc(0),
      payload: Buffer.from(`${storedAtMs}`),
    })
    const message = Buffer.from(writer.finish())
    const offset = this.log.append(topicRecordType.message, RECORD_VERSION, (record) =>
      messageRecord.write(record, { epoch: 1, sequence: 1, messageId: 0, openFrom: 0, ageMs: this.ageMs, storedAtMs, chosen: [], message }),
    )
    this.index.add(topic, offset, { storedAtMs, ageMs: this.ageMs })
    this.sealIfDue()
  }

  sealIfDue(): void {
    this.index.sealIfDue(this.log.asVolume, this.ageMs, SEGMENT_AGE_MS)
  }

  find(query: Partial<MessageQuery>): { readonly messages: readonly FoundMessage[]; readonly more: boolean } | undefined {
    let answer: { readonly messages: readonly FoundMessage[]; readonly more: boolean } | undefined
    const whole = { topic: 'a', fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, afterOffset: 0, limit: 100_000 }
    this.index.query(this.log.asVolume, { ...whole, ...query }, (found) => {
      answer = found
    })
    return answer
  }

  times(query: Partial<MessageQuery> = {}): readonly number[] | undefined {
    return this.find(query)?.messages.map(({ storedAtMs }) => storedAtMs)
  }

  /** The index as the next owner has it: from a checkpoint that went through bytes. */
  static restored(from: Archive): MessageIndex {
    const writer = new Writer().begin()
    topicCheckpoint.write(writer, { ageMs: 0, fences: [], queues: [], retained: [], checkpoints: [], ...from.index.snapshot() })
    const index = new MessageIndex()
    index.restore(topicCheckpoint.read(new Reader(writer.finish())))
    return index
  }
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

describe('the message index', () => {
  test('finds a topic over sealed and open stretches, in order, whatever lies between', () => {
    const archive = new Archive()
    for (let i = 0; i < 2 * SEALED_AT + 100; i++) archive.store(i % 1000 === 7 ? 'rare' : 'a', i)
    expect(archive.times({ topic: 'rare' })).toEqual(range(0, 2 * SEALED_AT + 100).filter((i) => i % 1000 === 7))
    expect(archive.times()?.length).toBe(2 * SEALED_AT + 100 - 17)
    expect(archive.times({ topic: 'never' })).toEqual([])
    archive.index = Archive.restored(archive)
    expect(archive.times()?.length).toBe(2 * SEALED_AT + 100 - 17)
  })

  test('leaves out the stretches whose times lie outside, unread', () => {
    const archive = new Archive()
    for (let i = 0; i < 2 * SEALED_AT; i++) archive.store('a', i)
    archive.log.reads = 0
    expect(archive.times({ fromMs: 3 * SEALED_AT })).toEqual([])
    expect(archive.log.reads).toBe(0)
    expect(archive.times({ fromMs: SEALED_AT - 2, toMs: SEALED_AT + 1 })).toEqual(range(SEALED_AT - 2, SEALED_AT + 2))
  })

  test('says that there is more when there is, and goes on after the last offset given', () => {
    const archive = new Archive()
    for (let i = 0; i < 250; i++) archive.store('a', i)
    const pages: number[] = []
    let afterOffset = 0
    for (;;) {
      const found = archive.find({ limit: 100, afterOffset })!
      pages.push(found.messages.length)
      if (!found.more) break
      afterOffset = found.messages.at(-1)!.offset
    }
    expect(pages).toEqual([100, 100, 50])
    expect(archive.find({ limit: 250 })!.more).toBe(false)
  })

  test('finishes a stretch whose first message is old enough, be it ever so short, and counts its retention from its newest', () => {
    const archive = new Archive()
    const lengths = () => archive.index.snapshot().segments.map(({ newestAgeMs }) => newestAgeMs)
    archive.sealIfDue()
    for (const ageMs of [0, 100, SEGMENT_AGE_MS - 1]) {
      archive.ageMs = ageMs
      archive.store('a', ageMs)
    }
    expect(lengths()).toEqual([])
    archive.index = Archive.restored(archive)
    archive.ageMs = SEGMENT_AGE_MS
    archive.sealIfDue()
    archive.sealIfDue()
    expect(lengths()).toEqual([SEGMENT_AGE_MS - 1])
    archive.ageMs = 700
    archive.store('a', 700)
    expect(archive.times()).toEqual([0, 100, SEGMENT_AGE_MS - 1, 700])
    archive.index.expire(SEGMENT_AGE_MS - 1 + RETENTION_MS + 0.9, RETENTION_MS)
    expect(archive.times()).toEqual([0, 100, SEGMENT_AGE_MS - 1, 700])
    archive.index.expire(SEGMENT_AGE_MS + RETENTION_MS, RETENTION_MS)
    expect(archive.times()).toEqual([700])
  })

  test('finishes a stretch without a message too, and gives it up when its end is past the retention', () => {
    const archive = new Archive()
    archive.ageMs = SEGMENT_AGE_MS - 1
    archive.sealIfDue()
    expect(archive.index.snapshot().segments).toEqual([])
    archive.ageMs = SEGMENT_AGE_MS + 50.5
    const end = archive.log.endOffset
    archive.sealIfDue()
    expect(archive.index.snapshot().segments).toMatchObject([{ fromOffset: 0, toOffset: end, newestAgeMs: SEGMENT_AGE_MS + 50 }])
    archive.index = Archive.restored(archive)
    archive.store('a', 7)
    archive.sealIfDue()
    expect(archive.times()).toEqual([7])
    expect(archive.index.expire(SEGMENT_AGE_MS + 50 + RETENTION_MS, RETENTION_MS)).toBe(0)
    expect(archive.index.expire(SEGMENT_AGE_MS + 51 + RETENTION_MS, RETENTION_MS)).toBe(end)
    expect(archive.times()).toEqual([7])
  })

  test('forgets what was sealed before the retention, and says where the log may begin', () => {
    const archive = new Archive()
    for (let i = 0; i < SEALED_AT; i++) archive.store('a', i)
    archive.ageMs = 500
    for (let i = SEALED_AT; i < 2 * SEALED_AT + 10; i++) archive.store('a', i)
    expect(archive.index.expire(RETENTION_MS, RETENTION_MS)).toBeLessThan(100)
    const keepFrom = archive.index.expire(RETENTION_MS + 1, RETENTION_MS)
    archive.log.trimOffset = keepFrom
    expect(archive.times()).toEqual(range(SEALED_AT, 2 * SEALED_AT + 10))
    archive.log.trimOffset = archive.index.expire(10 * RETENTION_MS, RETENTION_MS)
    expect(archive.times()).toEqual(range(2 * SEALED_AT, 2 * SEALED_AT + 10))
  })

  test('restored from before a trim knows no more than the log holds', () => {
    const archive = new Archive()
    for (let i = 0; i < 2 * SEALED_AT + 10; i++) archive.store('a', i)
    const restored = Archive.restored(archive)
    archive.log.trimOffset = archive.index.expire(10 * RETENTION_MS, RETENTION_MS)
    archive.index = restored
    expect(archive.find({})).toBeUndefined()
    restored.dropBefore(archive.log.trimOffset)
    expect(archive.times()).toEqual(range(2 * SEALED_AT, 2 * SEALED_AT + 10))
  })
})
