/** What a topic shard writes to its log. Type 1 is the volume's own; a type number is never used again for another record. */
import { bool, bytes, list, record, u8, u32, u53, utf8, type Value } from '../wire/codec.ts'
import { subscriptionField } from '../wire/messages.ts'

export const RECORD_VERSION = 1

export const topicRecordType = { message: 2, subscriptions: 3, sessionRemoved: 4, positions: 5, checkpoint: 6, segmentIndex: 7 } as const

/** A stored message: who published it in which session epoch, and the message as the proxy encoded it. */
export const messageRecord = record({ epoch: u32, sequence: u32, storedAtMs: u53, message: bytes })

/** The session's subscriptions that concern this shard, replacing the former ones. */
export const subscriptionsRecord = record({
  clientId: utf8,
  incarnation: u32,
  epoch: u32,
  version: u32,
  subscriptions: list(subscriptionField),
})

export const sessionRemovedRecord = record({ clientId: utf8, incarnation: u32 })

/** How far subscribers have acknowledged: everything below `base`, and the places in `beyond`. */
export const positionsRecord = record({ positions: list(record({ clientId: utf8, base: u53, beyond: list(u53) })) })

/** A piece of a checkpoint; `last` ends it. All pieces stand together in the log. */
export const checkpointRecord = record({ first: bool, last: bool, bytes })

/** Where each topic's messages of a finished stretch of the log are. */
export const segmentIndexRecord = record({
  fromOffset: u53,
  toOffset: u53,
  earliestMs: u53,
  latestMs: u53,
  sealedAgeMs: u53,
  topics: list(record({ topic: utf8, offsets: list(u53) })),
})

/** The whole state of a topic shard, but for the messages. */
export const topicCheckpoint = record({
  ageMs: u53,
  fences: list(record({ clientId: utf8, epoch: u32, sequence: u32, endedIncarnation: u32, usedAgeMs: u53 })),
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
    }),
  ),
  segments: list(
    record({ fromOffset: u53, toOffset: u53, earliestMs: u53, latestMs: u53, sealedAgeMs: u53, indexOffset: u53, indexLength: u32 }),
  ),
  openFrom: u53,
  open: list(record({ topic: utf8, offsets: list(u53) })),
  openEarliestMs: u53,
  openLatestMs: u53,
})
export type TopicCheckpoint = Value<typeof topicCheckpoint>
