/** What a session shard writes to its log. Type 1 is the volume's own; a type number is never used again for another record. */
import type { Volume } from '../volume/volume.ts'
import { bool, bytes, type Field, list, oneOf, optional, Reader, record, u16, u32, u53, utf8, type Value } from '../wire/codec.ts'
import { subscriptionField, willField } from '../wire/messages.ts'
import { RECORD_VERSION } from './topic-records.ts'

/** Which attempt of which proxy opened the session last: the same attempt, come again, gets the same answer. */
const opener = { proxy: utf8, bootId: u32, handle: u32 }

const cleanup = { clientId: utf8, incarnation: u32, epoch: u32, topicShards: list(u16) }

const sessionRecords = {
  /** `will` replaces the one of the former connection. `sinceMs`: wall clock, for people. */
  opened: {
    type: 2,
    body: record({
      clientId: utf8,
      epoch: u32,
      incarnation: u32,
      expirySeconds: u32,
      sessionPresent: bool,
      ...opener,
      will: optional(willField),
      sinceMs: u53,
    }),
  },
  subscriptions: { type: 3, body: record({ clientId: utf8, version: u32, subscriptions: list(subscriptionField) }) },
  /** A will that is `kept` is due when its delay after `ageMs` is over. */
  disconnected: { type: 4, body: record({ clientId: utf8, expirySeconds: u32, ageMs: u53, will: oneOf('discarded', 'kept') }) },
  /** A session is over; the topic shards named may still keep a queue for it. */
  ended: { type: 5, body: record(cleanup) },
  /** They do not any more. */
  cleaned: { type: 6, body: record({ incarnation: u32 }) },
  /** A QoS 2 packet id is in use, and for which message. */
  received: { type: 8, body: record({ clientId: utf8, packetId: u16, messageId: u53 }) },
  released: { type: 9, body: record({ clientId: utf8, packetId: u16 }) },
  /** The session's will is to be published now: it moves from the session to the outbox. */
  willFired: { type: 10, body: record({ clientId: utf8, epoch: u32 }) },
  /** The topic shard has it. */
  willStored: { type: 11, body: record({ clientId: utf8, epoch: u32 }) },
  /** How old the shard is: while a will or the end of a session waits, so that its time goes on with a new owner. */
  aged: { type: 12, body: record({ ageMs: u53 }) },
} as const

type Bodies = typeof sessionRecords
type RecordName = keyof Bodies
export type SessionRecordOf<N extends RecordName> = { readonly name: N } & Value<Bodies[N]['body']>
export type SessionRecord = { [N in RecordName]: SessionRecordOf<N> }[RecordName]

const nameOfType: ReadonlyMap<number, RecordName> = new Map(
  (Object.keys(sessionRecords) as RecordName[]).map((name) => [sessionRecords[name].type, name]),
)

export function appendSessionRecord(volume: Volume, entry: SessionRecord): void {
  const { type, body } = sessionRecords[entry.name]
  volume.append(type, RECORD_VERSION, (writer) => (body as unknown as Field<SessionRecord>).write(writer, entry))
}

/** @returns undefined for a record that is not one of these. */
export function readSessionRecord(type: number, bytesOfBody: Buffer): SessionRecord | undefined {
  const name = nameOfType.get(type)
  if (name === undefined) return undefined
  const reader = new Reader(bytesOfBody)
  const value = sessionRecords[name].body.read(reader)
  if (!reader.complete()) throw new Error(`record ${name} of a session shard does not decode`)
  return { name, ...value } as SessionRecord
}

export const SESSION_CHECKPOINT = 7

export const sessionCheckpoint = record({
  ageMs: u53,
  lastEpoch: u32,
  lastMessageId: u53,
  sessions: list(
    record({
      clientId: utf8,
      epoch: u32,
      incarnation: u32,
      expirySeconds: u32,
      sessionPresent: bool,
      ...opener,
      will: optional(willField),
      sinceMs: u53,
      version: u32,
      subscriptions: list(subscriptionField),
      topicShards: list(u16),
      connected: bool,
      disconnectedAgeMs: u53,
      leftUpTo: u53,
      allocatedIds: u53,
      openIds: list(record({ packetId: u16, messageId: u53, ordinal: u53 })),
    }),
  ),
  cleanups: list(record(cleanup)),
  /** In the order in which they fired. */
  firedWills: list(record({ clientId: utf8, epoch: u32, message: bytes })),
})
export type SessionCheckpoint = Value<typeof sessionCheckpoint>
