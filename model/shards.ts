/**
 * How names map to shards. Topic shards come first, session shards after them; a shard lives on the volume of the same number.
 * The counts are fixed for the life of a region: packet ids are derived from them (`packetIdOf`).
 */
import { fnv1a } from './wire/hash.ts'
import { hasWildcard, parseShared } from './wire/topic.ts'

export interface ShardCounts {
  readonly topicShards: number
  readonly sessionShards: number
}

export function shardTotal(counts: ShardCounts): number {
  return counts.topicShards + counts.sessionShards
}

export function isTopicShard(counts: ShardCounts, shard: number): boolean {
  return shard < counts.topicShards
}

export function shardOfTopic(counts: ShardCounts, topic: string): number {
  return fnv1a(topic) % counts.topicShards
}

export function shardOfClient(counts: ShardCounts, clientId: string): number {
  return counts.topicShards + (fnv1a(clientId) % counts.sessionShards)
}

/** Every topic shard that may hold a topic which the filter matches; of a shared subscription, the filter behind the share name. */
export function shardsOfFilter(counts: ShardCounts, filter: string): readonly number[] {
  const plain = parseShared(filter)?.filter ?? filter
  if (!hasWildcard(plain)) return [shardOfTopic(counts, plain)]
  return Array.from({ length: counts.topicShards }, (_, shard) => shard)
}

/** How many packet ids each topic shard has to itself. */
function packetIdWidth(counts: ShardCounts): number {
  return Math.floor(65_535 / counts.topicShards)
}

/**
 * The packet id of the message at a place of a session's queue at a topic shard. Every proxy computes the same, so a message keeps its id
 * over reconnects and failovers [MQTT-4.4.0-1] and no id has to be stored. Unique while fewer places than `packetIdWidth` are open.
 */
export function packetIdOf(counts: ShardCounts, shard: number, sequence: number): number {
  const width = packetIdWidth(counts)
  return 1 + shard * width + (sequence % width)
}

/** The topic shard whose messages have this packet id. */
export function shardOfPacketId(counts: ShardCounts, packetId: number): number {
  return Math.floor((packetId - 1) / packetIdWidth(counts))
}
