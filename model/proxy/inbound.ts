/** A client's publishes on their way into the region, and their acknowledgements, which leave in the order in which the publishes came [MQTT-4.6.0-2]. */
import { SmallMap } from '../small-map.ts'
import type { AppendStream } from './publish-lane.ts'

/** The place of one publish's acknowledgement. */
export interface Slot {
  readonly packetId: number
  /** Undefined until the topic shard has answered. */
  reasonCode: number | undefined
}

export class Inbound {
  private slots: Slot[] = []
  /** By topic shard. */
  private readonly streams = new SmallMap<number, AppendStream>()

  /** Publishes without an acknowledgement yet. */
  get open(): number {
    return this.slots.length
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

  received(packetId: number): Slot {
    const slot: Slot = { packetId, reasonCode: undefined }
    // Most clients have one publish under way: `push` would make room for sixteen more.
    if (this.slots.length === 0) this.slots = [slot]
    else this.slots.push(slot)
    return slot
  }

  /** Takes out the next acknowledgement that may leave. */
  takeReady(): { readonly packetId: number; readonly reasonCode: number } | undefined {
    const head = this.slots[0]
    if (head?.reasonCode === undefined) return undefined
    this.slots.shift()
    return { packetId: head.packetId, reasonCode: head.reasonCode }
  }
}
