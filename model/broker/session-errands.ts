/** The two errands of a session shard: wills that have fired, for the topic shard of their topic; sessions that are over, for every topic shard that may hold a queue of theirs. */
import { type ShardCounts, shardOfTopic } from '../shards.ts'
import { peekMessage } from './message-index.ts'
import type { Errand } from './outbox.ts'

export interface FiredWill {
  readonly clientId: string
  /** Of the connection whose will it was: unique in a session shard. */
  readonly epoch: number
  readonly message: Buffer
}

/** The topic shard knows a repetition by the epoch, as long as it gets the wills of one client in their order. */
export function willErrand(counts: ShardCounts, onDone: (will: FiredWill) => void): Errand<FiredWill> {
  return {
    key: ({ epoch }) => epoch,
    shards: ({ message }) => [shardOfTopic(counts, peekMessage(message).topic)],
    call: (caller, shard, { clientId, epoch, message }, answered) =>
      caller.call(shard, { name: 'publishWill', shard, clientId, epoch, message }, (outcome) =>
        answered(outcome.kind === 'reply' && outcome.message.outcome === 'stored'),
      ),
    onDone,
  }
}

export interface EndedSession {
  readonly clientId: string
  /** Unique in a session shard. */
  readonly incarnation: number
  readonly epoch: number
  readonly topicShards: readonly number[]
}

/** Not before the end is durable: a new owner that knew nothing of it would present a session whose messages are gone. */
export function endErrand(onDone: (ended: EndedSession) => void): Errand<EndedSession> {
  return {
    key: ({ incarnation }) => incarnation,
    shards: ({ topicShards }) => topicShards,
    call: (caller, shard, { clientId, incarnation, epoch }, answered) =>
      caller.call(shard, { name: 'endSession', shard, clientId, incarnation, epoch }, (outcome) =>
        answered(outcome.kind === 'reply' && outcome.message.outcome === 'done'),
      ),
    onDone,
  }
}
