/**
 * A client's publishes on their way into the region, and their acknowledgements. PUBACKs leave in the order in which their PUBLISHes came [MQTT-4.6.0-2], PUBRECs in
 * the order of theirs [MQTT-4.6.0-3]; neither waits for the other. What follows PUBREC is not kept here: it belongs to the session.
 */
import { appended, NONE } from '../small-list.ts'
import { SmallMap } from '../small-map.ts'
import type { AppendStream } from './publish-lane.ts'

/** A QoS 2 publish of this connection, until PUBCOMP or a PUBREC that refuses has left. */
export interface Exchange {
  state: 'storing' | 'acknowledged' | 'refused' | 'releasing'
  /** 0 before the session shard has said it, and of what was refused. */
  messageId: number
  /** What each of its PUBRECs says, whenever it may leave; undefined until that is decided. */
  reasonCode: number | undefined
  /** Of the PUBLISH, and of each repetition that came before `reasonCode` was there. */
  slots: Slot[]
}

/** The place of one publish's acknowledgement. */
export interface Slot {
  readonly packetId: number
  /** Undefined for QoS 1. */
  readonly exchange: Exchange | undefined
  /** Undefined until the topic shard has answered. */
  reasonCode: number | undefined
}

interface ReadyAcknowledgement {
  readonly packetId: number
  /** Of a PUBREC; undefined with a PUBACK. */
  readonly exchange: Exchange | undefined
  readonly reasonCode: number
}

export class Inbound {
  private pubacks: Slot[] = NONE
  private pubrecs: Slot[] = NONE
  /** By topic shard. */
  private readonly streams = new SmallMap<number, AppendStream>()

  /** Publishes without PUBACK or PUBREC yet. */
  get open(): number {
    return this.pubacks.length + this.pubrecs.length
  }

  streamTo(shard: number, clientId: string, epoch: number): AppendStream {
    let stream = this.streams.get(shard)
    if (stream === undefined) {
      stream = { clientId, epoch, last: 0, confirmed: 0, abandoned: false }
      this.streams.set(shard, stream)
    }
    return stream
  }

  /** The connection is over. */
  abandon(): void {
    for (const stream of this.streams.values()) stream.abandoned = true
  }

  receivedQoS1(packetId: number): Slot {
    const slot: Slot = { packetId, exchange: undefined, reasonCode: undefined }
    this.pubacks = appended(this.pubacks, slot)
    return slot
  }

  receivedQoS2(packetId: number, exchange: Exchange): Slot {
    const slot: Slot = { packetId, exchange, reasonCode: undefined }
    this.pubrecs = appended(this.pubrecs, slot)
    return slot
  }

  /** Takes out the next acknowledgement that may leave. */
  takeReady(): ReadyAcknowledgement | undefined {
    return takeHead(this.pubacks) ?? takeHead(this.pubrecs)
  }
}

function takeHead(slots: Slot[]): ReadyAcknowledgement | undefined {
  const head = slots[0]
  if (head?.reasonCode === undefined) return undefined
  slots.shift()
  return { packetId: head.packetId, exchange: head.exchange, reasonCode: head.reasonCode }
}
