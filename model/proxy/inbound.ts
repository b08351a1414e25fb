/**
 * A client's publishes on their way into the region, and their acknowledgements. PUBACKs leave in the order in which their PUBLISHes came [MQTT-4.6.0-2], PUBRECs in
 * the order of theirs [MQTT-4.6.0-3]; neither waits for the other. What follows PUBREC is not kept here: it belongs to the session.
 */
import { appended, NONE } from '../small-list.ts'
import { SmallMap } from '../small-map.ts'
import type { AppendStream } from './publish-lane.ts'

/** The place of one publish's acknowledgement. */
export interface Slot {
  readonly packetId: number
  /** Undefined until the topic shard has answered. */
  reasonCode: number | undefined
}

interface ReadyAcknowledgement {
  readonly kind: 'puback' | 'pubrec'
  readonly packetId: number
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

  received(packetId: number, qos: 1 | 2): Slot {
    const slot: Slot = { packetId, reasonCode: undefined }
    if (qos === 1) this.pubacks = appended(this.pubacks, slot)
    else this.pubrecs = appended(this.pubrecs, slot)
    return slot
  }

  /** Takes out the next acknowledgement that may leave. */
  takeReady(): ReadyAcknowledgement | undefined {
    return takeHead('puback', this.pubacks) ?? takeHead('pubrec', this.pubrecs)
  }
}

function takeHead(kind: ReadyAcknowledgement['kind'], slots: Slot[]): ReadyAcknowledgement | undefined {
  const head = slots[0]
  if (head?.reasonCode === undefined) return undefined
  slots.shift()
  return { kind, packetId: head.packetId, reasonCode: head.reasonCode }
}
