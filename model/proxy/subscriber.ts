/**
 * The way out to one client: messages pushed by topic shards, into packets, within the client's window.
 *
 * A place of a queue that was handed over before is known again: after a failover the new owner pushes from the last position it knows, and on one connection
 * nothing is sent twice [MQTT-4.4.0-1]. The packet id is a function of the place (`packetIdOf`), so every proxy gives a message the same.
 */
import { packetIdOf, type ShardCounts, shardOfPacketId } from '../shards.ts'
import { SmallMap } from '../small-map.ts'
import type { StoredMessage } from '../wire/messages.ts'
import { encodePublish } from '../wire/mqtt-codec.ts'
import type { ProtocolVersion, QoS } from '../wire/packets.ts'

export interface Delivery {
  readonly shard: number
  /** The place in the session's queue at the shard; 0 for QoS 0. */
  readonly sequence: number
  readonly qos: QoS
  readonly retain: boolean
  readonly dup: boolean
  readonly subscriptionIdentifiers: readonly number[]
  readonly message: StoredMessage
}

export interface SubscriberPorts {
  /** Whether a message may leave for this client now. */
  canDeliver(): boolean
  write(bytes: Buffer): void
  /** The client has the message, or will never take it. */
  acknowledge(shard: number, sequence: number): void
}

export class Subscriber {
  private readonly counts: ShardCounts
  private readonly version: ProtocolVersion
  private readonly windowSize: number
  private readonly maximumPacketBytes: number
  private readonly ports: SubscriberPorts
  private waiting: Delivery[] = []
  /** By packet id: the place, of the shard that the id belongs to. */
  private readonly inFlight = new SmallMap<number, number>()
  /** By shard: the highest place handed over on this connection. */
  private readonly highest = new SmallMap<number, number>()

  constructor(counts: ShardCounts, version: ProtocolVersion, windowSize: number, maximumPacketBytes: number, ports: SubscriberPorts) {
    this.counts = counts
    this.version = version
    this.windowSize = windowSize
    this.maximumPacketBytes = maximumPacketBytes
    this.ports = ports
  }

  take(delivery: Delivery): void {
    if (delivery.qos === 0) {
      if (!this.ports.canDeliver()) return
      const bytes = this.encode(delivery, 0)
      if (bytes.length <= this.maximumPacketBytes) this.ports.write(bytes)
      return
    }
    const { shard, sequence } = delivery
    if (sequence <= (this.highest.get(shard) ?? 0)) {
      if (!this.isOpen(delivery)) this.ports.acknowledge(shard, sequence)
      return
    }
    this.highest.set(shard, sequence)
    this.waiting.push(delivery)
    this.flush()
  }

  /** Sends what waits, as far as the window and the session's state allow. */
  flush(): void {
    let taken = 0
    while (taken < this.waiting.length && this.inFlight.size < this.windowSize && this.ports.canDeliver()) {
      const delivery = this.waiting[taken++]!
      const packetId = packetIdOf(this.counts, delivery.shard, delivery.sequence)
      const bytes = this.encode(delivery, packetId)
      if (bytes.length > this.maximumPacketBytes) {
        // As if it had been sent, says the standard [MQTT-3.1.2-25].
        this.ports.acknowledge(delivery.shard, delivery.sequence)
        continue
      }
      this.inFlight.set(packetId, delivery.sequence)
      this.ports.write(bytes)
    }
    if (taken === this.waiting.length) this.waiting.length = 0
    else if (taken > 0) this.waiting = this.waiting.slice(taken)
  }

  onPuback(packetId: number): void {
    const sequence = this.inFlight.get(packetId)
    if (sequence === undefined) return
    this.inFlight.delete(packetId)
    this.ports.acknowledge(shardOfPacketId(this.counts, packetId), sequence)
    if (this.waiting.length > 0) this.flush()
  }

  private isOpen({ shard, sequence }: Delivery): boolean {
    if (this.inFlight.has(packetIdOf(this.counts, shard, sequence))) return true
    return this.waiting.some((delivery) => delivery.shard === shard && delivery.sequence === sequence)
  }

  private encode(delivery: Delivery, packetId: number): Buffer {
    const { message, qos, retain, dup, subscriptionIdentifiers } = delivery
    return encodePublish(
      {
        topic: message.topic,
        payload: message.payload,
        qos,
        dup,
        retain,
        packetId,
        rawProperties: message.properties,
        ...(subscriptionIdentifiers.length > 0 ? { properties: { subscriptionIdentifiers } } : {}),
      },
      this.version,
    )
  }
}
