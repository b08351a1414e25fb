/** What a topic shard writes to its log. Type 1 is the volume's own; a type number is never used again for another record. */
import { bool, bytes, type Field, list, record, u8, u32, u53, utf8, type Value } from '../wire/codec.ts'
import { subscriptionField } from '../wire/messages.ts'

export const RECORD_VERSION = 1

export const topicRecordType = {
  message: 2,
  subscriptions: 3,
  sessionRemoved: 4,
  positions: 5,
  checkpoint: 6,
  segmentIndex: 7,
  retained: 8,
  received: 9,
  absent: 10,
  aged: 11,
  expired: 12,
} as const

/**
 * A stored message: who published it in which session epoch, and the message as the proxy encoded it. `sequence` 0: a will, of the connection of that epoch.
 * `messageId` is 0 but for QoS 2. `ageMs`: the shard's age when it was stored, from which its expiry counts. `chosen`: for each shared subscription the member that gets it.
 * The record of type `retained` has the same body: it only sets the topic's register.
 */
export interface MessageRecord {
  readonly epoch: number
  readonly sequence: number
  readonly messageId: number
  readonly openFrom: number
  readonly ageMs: number
  readonly storedAtMs: number
  readonly chosen: Value<typeof chosenField>
  readonly message: Buffer
}
const chosenField = list(record({ share: utf8, clientId: utf8 }))

/** By hand, not by `record`: most of what is logged are these. */
export const messageRecord: Field<MessageRecord> = {
  write(writer, { epoch, sequence, messageId, openFrom, ageMs, storedAtMs, chosen, message }) {
    writer.u32(epoch)
    writer.u32(sequence)
    writer.u53(messageId)
    writer.u53(openFrom)
    writer.u53(ageMs)
    writer.u53(storedAtMs)
    chosenField.write(writer, chosen)
    writer.bytes(message)
  },
  read: (reader) => ({
    epoch: reader.u32(),
    sequence: reader.u32(),
    messageId: reader.u53(),
    openFrom: reader.u53(),
    ageMs: reader.u53(),
    storedAtMs: reader.u53(),
    chosen: chosenField.read(reader),
    message: reader.bytes(),
  }),
}

/** The session's subscriptions that concern this shard, replacing the former ones; the retained messages of those named go into its queue. */
export const subscriptionsRecord = record({
  clientId: utf8,
  incarnation: u32,
  epoch: u32,
  version: u32,
  subscriptions: list(subscriptionField),
  sendRetained: list(utf8),
})
export type SubscriptionsRecord = Value<typeof subscriptionsRecord>

/** A session is over. Other members of its groups inherit what was waiting for it by a shared subscription. */
export const sessionRemovedRecord = record({
  clientId: utf8,
  incarnation: u32,
  heirs: list(record({ sequence: u53, share: utf8, clientId: utf8 })),
})
export type SessionRemovedRecord = Value<typeof sessionRemovedRecord>

/** QoS 2 messages that subscribers have said to have received (PUBREC): they get PUBREL from now on, never the message again. `atMs`: wall clock, for traces. */
export const receivedRecord = record({ places: list(record({ clientId: utf8, sequence: u53 })), atMs: u53 })
export type ReceivedRecord = Value<typeof receivedRecord>

/** How far subscribers have acknowledged: everything below `base`, and the places in `beyond`. `atMs`: wall clock, for traces. */
export const positionsRecord = record({ positions: list(record({ clientId: utf8, base: u53, beyond: list(u53) })), atMs: u53 })

/** Places of messages that expired before they were sent: they are done with, and nobody had them. `atMs`: wall clock, for traces. Stands before the position that counts them in. */
export const expiredRecord = record({ places: list(record({ clientId: utf8, sequence: u53 })), atMs: u53 })
export type ExpiredRecord = Value<typeof expiredRecord>

/** Sessions without connection: places from `from` on have not been sent to them. 0: connected again, from here on anything may have been. */
export const absentRecord = record({ sessions: list(record({ clientId: utf8, from: u53 })) })
export type AbsentRecord = Value<typeof absentRecord>

/** How old the shard is, where no message says so: what waits goes on ageing with a new owner. */
export const agedRecord = record({ ageMs: u53 })
export type AgedRecord = Value<typeof agedRecord>

/** A piece of a checkpoint; `last` ends it. All pieces stand together in the log. */
export const checkpointRecord = record({ first: bool, last: bool, bytes })

/** Where each topic's messages of a finished stretch of the log are. */
export const segmentIndexRecord = record({
  fromOffset: u53,
  toOffset: u53,
  earliestMs: u53,
  latestMs: u53,
  newestAgeMs: u53,
  topics: list(record({ topic: utf8, offsets: list(u53) })),
})

/** The whole state of a topic shard, but for the messages. */
export const topicCheckpoint = record({
  ageMs: u53,
  fences: list(
    record({
      clientId: utf8,
      epoch: u32,
      sequence: u32,
      endedIncarnation: u32,
      willEpoch: u32,
      usedAgeMs: u53,
      messageIds: list(u53),
    }),
  ),
  queues: list(
    record({
      clientId: utf8,
      incarnation: u32,
      epoch: u32,
      version: u32,
      subscriptions: list(subscriptionField),
      base: u53,
      offsets: list(u53),
      meta: list(u8),
      identifiers: list(record({ sequence: u53, identifiers: list(u32) })),
      beyond: list(u53),
      absentFrom: u53,
      received: list(u53),
      shared: list(record({ sequence: u53, share: utf8 })),
    }),
  ),
  retained: list(record({ topic: utf8, offset: u53, publisher: utf8, epoch: u32, qos: u8 })),
  segments: list(
    record({ fromOffset: u53, toOffset: u53, earliestMs: u53, latestMs: u53, newestAgeMs: u53, indexOffset: u53, indexLength: u32 }),
  ),
  openFrom: u53,
  open: list(record({ topic: utf8, offsets: list(u53) })),
  openEarliestMs: u53,
  openLatestMs: u53,
  openOldestAgeMs: u53,
  openNewestAgeMs: u53,
  /** Where some of the checkpoints in the log begin, this one last. */
  checkpoints: list(u53),
})
export type TopicCheckpoint = Value<typeof topicCheckpoint>
