/**
 * The QoS 2 packet ids that one session has open as a publisher, and the message id behind each.
 *
 * Promises: a packet id means the same message until it is released, whoever asks and through whichever connection [MQTT-4.3.3-10]; after that it means a new one
 * [MQTT-4.3.3-12]. How many ids of the session the topic shards must remember at the most is bounded (`isFull`), by what was allocated since the oldest open one.
 */
import { SmallMap } from '../small-map.ts'

/** Packet ids are 16 bits and never 0, so a client that releases what it was told to never has more than this between its oldest and its newest. */
const MOST_IDS = 65_535

export interface ReceivedId {
  readonly packetId: number
  readonly messageId: number
  /** The how many-th id of this session it is. */
  readonly ordinal: number
}

export class ReceivedIds {
  private allocated: number
  /** In the order of their message ids, as they are opened in that order. */
  private readonly open = new SmallMap<number, ReceivedId>()

  constructor(allocated = 0, open: readonly ReceivedId[] = []) {
    this.allocated = allocated
    for (const id of open) this.open.set(id.packetId, id)
  }

  messageIdOf(packetId: number): number | undefined {
    return this.open.get(packetId)?.messageId
  }

  add(packetId: number, messageId: number): void {
    this.open.set(packetId, { packetId, messageId, ordinal: ++this.allocated })
  }

  /** @returns whether it was open. */
  release(packetId: number): boolean {
    return this.open.delete(packetId)
  }

  /** The lowest open message id: all below it are released. */
  openFrom(): number | undefined {
    return this.oldest()?.messageId
  }

  /** Whether one id more would be too many since the oldest open one. */
  isFull(): boolean {
    const oldest = this.oldest()
    return oldest !== undefined && this.allocated + 1 - oldest.ordinal > MOST_IDS
  }

  snapshot(): { readonly allocatedIds: number; readonly openIds: readonly ReceivedId[] } {
    return { allocatedIds: this.allocated, openIds: [...this.open.values()] }
  }

  private oldest(): ReceivedId | undefined {
    for (const id of this.open.values()) return id
    return undefined
  }
}
