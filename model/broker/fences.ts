/**
 * What a topic shard remembers of each client that publishes: the newest session epoch it has seen, how many of that epoch's appends it holds, the QoS 2
 * message ids it has stored, the epoch of the last will.
 *
 * All but the epoch of an attach, which concerns connections and not what is stored, follows from the records of the log.
 * A message id is remembered until the publisher has released it (`openFrom` of a later publish says so), or for as long as messages are kept; so is the last will,
 * which a session shard repeats until it has an answer.
 */
import type { TopicCheckpoint } from './topic-records.ts'

export interface Fence {
  epoch: number
  /** Of `epoch`. */
  sequence: number
  /** Sessions up to this incarnation are over: they cannot attach any more. */
  endedIncarnation: number
  /** The epoch of the connection whose will was stored last. */
  willEpoch: number
  usedAgeMs: number
  /** Rising but for publishes that overtook each other. */
  messageIds: Set<number> | undefined
}

/** Outlives by far every request that may still be under way for the epoch it refuses. */
const KEPT_MS = 600_000

export class Fences {
  private readonly fences = new Map<string, Fence>()

  get(clientId: string): Fence | undefined {
    return this.fences.get(clientId)
  }

  /** The client's fence, as it is. */
  of(clientId: string, ageMs: number): Fence {
    let fence = this.fences.get(clientId)
    if (fence === undefined) {
      fence = { epoch: 0, sequence: 0, endedIncarnation: 0, willEpoch: 0, usedAgeMs: ageMs, messageIds: undefined }
      this.fences.set(clientId, fence)
    }
    fence.usedAgeMs = Math.max(fence.usedAgeMs, ageMs)
    return fence
  }

  /** @returns the fence, raised to `epoch`; undefined when a newer epoch of the client was seen. */
  raise(clientId: string, epoch: number, ageMs: number): Fence | undefined {
    const fence = this.of(clientId, ageMs)
    if (epoch < fence.epoch) return undefined
    if (epoch > fence.epoch) {
      fence.epoch = epoch
      fence.sequence = 0
    }
    return fence
  }

  /** Forgets who has not been heard of for long. @param isNeeded for a client whose queue is here. */
  forgetIdle(ageMs: number, retentionMs: number, isNeeded: (clientId: string) => boolean): void {
    for (const [clientId, { usedAgeMs, messageIds, willEpoch }] of this.fences) {
      const keptMs = messageIds === undefined && willEpoch === 0 ? KEPT_MS : Math.max(KEPT_MS, retentionMs)
      if (usedAgeMs + keptMs < ageMs && !isNeeded(clientId)) this.fences.delete(clientId)
    }
  }

  snapshot(): TopicCheckpoint['fences'] {
    return Array.from(this.fences, ([clientId, { messageIds, usedAgeMs, ...fence }]) => ({
      clientId,
      ...fence,
      usedAgeMs: Math.floor(usedAgeMs),
      messageIds: messageIds === undefined ? [] : [...messageIds],
    }))
  }

  restore(fences: TopicCheckpoint['fences']): void {
    for (const { clientId, messageIds, ...fence } of fences) {
      this.fences.set(clientId, { ...fence, messageIds: messageIds.length === 0 ? undefined : new Set(messageIds) })
    }
  }
}

/** A QoS 2 message was stored; ids below `openFrom` cannot come again. */
export function rememberMessageId(fence: Fence, messageId: number, openFrom: number): void {
  fence.messageIds ??= new Set()
  for (const known of fence.messageIds) {
    if (known >= openFrom) break
    fence.messageIds.delete(known)
  }
  fence.messageIds.add(messageId)
}
