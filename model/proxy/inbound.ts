/** A client's publishes on their way into the region, and their acknowledgements, which leave in the order in which the publishes came [MQTT-4.6.0-2]. */

interface Slot {
  readonly packetId: number
  /** Undefined until the topic shard has answered. */
  reasonCode: number | undefined
}

export class Inbound {
  private slots: Slot[] = []
  /** Appends sent so far in this session epoch, by topic shard. */
  private readonly sequences = new Map<number, number>()

  /** Publishes without an acknowledgement yet. */
  get open(): number {
    return this.slots.length
  }

  nextSequence(shard: number): number {
    const sequence = (this.sequences.get(shard) ?? 0) + 1
    this.sequences.set(shard, sequence)
    return sequence
  }

  received(packetId: number): (reasonCode: number) => void {
    const slot: Slot = { packetId, reasonCode: undefined }
    this.slots.push(slot)
    return (reasonCode) => {
      slot.reasonCode = reasonCode
    }
  }

  /** Takes out the next acknowledgement that may leave. */
  takeReady(): { readonly packetId: number; readonly reasonCode: number } | undefined {
    const head = this.slots[0]
    if (head?.reasonCode === undefined) return undefined
    this.slots.shift()
    return { packetId: head.packetId, reasonCode: head.reasonCode }
  }
}
