/** What a session shard writes to its log. Type 1 is the volume's own; a type number is never used again for another record. */
import { bool, list, record, u16, u32, u53, utf8 } from '../wire/codec.ts'
import { subscriptionField } from '../wire/messages.ts'

export const sessionRecordType = { opened: 2, subscriptions: 3, disconnected: 4, ended: 5, cleaned: 6, checkpoint: 7 } as const

/** Which attempt of which proxy opened the session last: the same attempt, come again, gets the same answer. */
const opener = { proxy: utf8, bootId: u32, handle: u32 }

export const openedRecord = record({
  clientId: utf8,
  epoch: u32,
  incarnation: u32,
  expirySeconds: u32,
  sessionPresent: bool,
  ...opener,
})

export const sessionSubscriptionsRecord = record({ clientId: utf8, version: u32, subscriptions: list(subscriptionField) })

export const disconnectedRecord = record({ clientId: utf8, expirySeconds: u32, ageMs: u53 })

const cleanup = { clientId: utf8, incarnation: u32, epoch: u32, topicShards: list(u16) }

/** A session is over; the topic shards named may still keep a queue for it. */
export const endedRecord = record(cleanup)

/** They do not any more. */
export const cleanedRecord = record({ incarnation: u32 })

export const sessionCheckpoint = record({
  ageMs: u53,
  lastEpoch: u32,
  sessions: list(
    record({
      clientId: utf8,
      epoch: u32,
      incarnation: u32,
      expirySeconds: u32,
      sessionPresent: bool,
      ...opener,
      version: u32,
      subscriptions: list(subscriptionField),
      topicShards: list(u16),
      connected: bool,
      disconnectedAgeMs: u53,
    }),
  ),
  cleanups: list(record(cleanup)),
})
