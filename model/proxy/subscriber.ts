/**
 * The way out to one client: messages pushed by topic shards, into packets, within the client's window; and the subscriber's answers, back to the shards.
 *
 * A place of a queue that was handed over before is known again: after a failover the new owner pushes from the last position it knows, and on one connection
 * nothing is sent twice [MQTT-4.4.0-1]. The packet id is a function of the place (`packetIdOf`), so every proxy gives a message the same.
 *
 * A QoS 2 delivery goes through the states `sent`, `received` (PUBREC came), `released` (PUBREL left), `done`. That a PUBREC came is durable at the shard before its PUBREL
 * leaves, and PUBRELs leave in the order in which the PUBRECs came [MQTT-4.6.0-4]. What was received on an earlier connection enters as `received`, by the shard's word.
 *
 * Nothing here survives the connection, and nothing is sent again on a timer.
 */
import { packetIdOf, type ShardCounts, shardOfPacketId } from '../shards.ts'
import { appended, NONE } from '../small-list.ts'
import { SmallMap } from '../small-map.ts'
import type { StoredMessage } from '../wire/messages.ts'
import { encodeAcknowledgement, encodePublish } from '../wire/mqtt-codec.ts'
import type { Properties, ProtocolVersion, QoS } from '../wire/packets.ts'
import { messageExpiryIn } from '../wire/properties.ts'
import { TakenPlaces } from './taken-places.ts'
import { AliasesToClient } from './topic-aliases.ts'

export interface Delivery {
  readonly shard: number
  /** The place in the session's queue at the shard; 0 for a QoS 0 message that has none. */
  readonly sequence: number
  readonly qos: QoS
  readonly retain: boolean
  /** It may have been sent to this client on an earlier connection. */
  readonly dup: boolean
  readonly subscriptionIdentifiers: readonly number[]
  readonly message: StoredMessage
  /** When this proxy got it, on its monotonic clock. */
  readonly receivedAtMs: number
  /** How long it had been stored then. */
  readonly waitedMs: number
}

export interface SubscriberPorts {
  nowMs(): number
  /** Whether a message may leave for this client now. */
  canDeliver(): boolean
  write(bytes: Buffer): void
  /** The client has the message, or will never take it: the shard is done with the place. */
  acknowledge(shard: number, sequence: number): void
  /** The message expired before it left for the client: the shard is done with the place. */
  expired(shard: number, sequence: number): void
  /** PUBREC came: to be made durable, which `release` answers. */
  received(shard: number, sequence: number): void
}

export interface SubscriberOptions {
  readonly counts: ShardCounts
  readonly version: ProtocolVersion
  /** Receive Maximum: deliveries of QoS 1 and 2 without PUBACK or PUBCOMP [MQTT-3.3.4-9]. */
  readonly windowSize: number
  readonly maximumPacketBytes: number
  /** What the client allows, and we want. */
  readonly topicAliasMaximum: number
}

/** `unknown`: no packet of ours has this id. `wrong-type`: one has, and this is not the answer to it. */
export type AnswerVerdict = 'expected' | 'unknown' | 'wrong-type'

/** A QoS 2 delivery that has been sent, on this connection or an earlier one. */
interface Handshake {
  readonly packetId: number
  readonly sequence: number
  state: 'sent' | 'received' | 'released' | 'done'
  /** The shard has said that PUBREC is durable. */
  durable: boolean
  /** Stands in `releases`. */
  queued: boolean
}

const REFUSED_FROM = 0x80
/** What a topic alias costs in a PUBLISH: its property id and two bytes. A topic that is no longer than this needs none. */
const TOPIC_ALIAS_BYTES = 3
const NO_PROPERTIES: Properties = {}

export class Subscriber {
  private readonly options: SubscriberOptions
  private readonly ports: SubscriberPorts
  private waiting: Delivery[] = NONE
  /** QoS 1, by packet id: the place, of the shard that the id belongs to. */
  private readonly inFlight = new SmallMap<number, number>()
  /** QoS 2, by packet id. Undefined while there are none. */
  private handshakes: SmallMap<number, Handshake> | undefined
  /** PUBRELs to send, in the order of the PUBRECs. Undefined before the first. */
  private releases: Handshake[] | undefined
  /** By shard: the places handed over on this connection. */
  private readonly taken = new SmallMap<number, TakenPlaces>()
  private aliases: AliasesToClient | undefined
  /** By packet id, the last place that expired here. */
  private expired: SmallMap<number, number> | undefined

  constructor(options: SubscriberOptions, ports: SubscriberPorts) {
    this.options = options
    this.ports = ports
  }

  /** A message from a topic shard. */
  take(delivery: Delivery): void {
    const { shard, sequence } = delivery
    if (sequence === 0) {
      // QoS 0: now or never.
      if (this.ports.canDeliver()) this.send(delivery, 0)
    } else if (!this.markTaken(shard, sequence)) this.takeAgain(shard, sequence)
    else {
      this.waiting = appended(this.waiting, delivery)
      this.flush()
    }
  }

  /** The shard's word that PUBREC for this place is durable. */
  release(shard: number, sequence: number): void {
    const packetId = packetIdOf(this.options.counts, shard, sequence)
    const handshake = this.handshakes?.get(packetId)
    if (handshake?.sequence === sequence) {
      handshake.durable = true
      this.flushReleases()
      return
    }
    const waitingAt = this.waitingAt(shard, sequence)
    // Delivered before its shard knew better: the client has it from an earlier connection.
    if (waitingAt >= 0) this.waiting.splice(waitingAt, 1)
    else if (!this.markTaken(shard, sequence)) {
      this.ports.acknowledge(shard, sequence)
      return
    }
    const carriedOver: Handshake = { packetId, sequence, state: 'received', durable: true, queued: false }
    this.addHandshake(carriedOver)
    this.queueRelease(carriedOver)
  }

  /** Whether the client accepts or refuses the message, it is done with it [MQTT-4.4.0-2]. */
  onPuback(packetId: number, _reasonCode: number): AnswerVerdict {
    const sequence = this.inFlight.get(packetId)
    if (sequence === undefined) return this.isInUse(packetId) ? 'wrong-type' : 'unknown'
    this.inFlight.delete(packetId)
    this.ports.acknowledge(shardOfPacketId(this.options.counts, packetId), sequence)
    this.flush()
    return 'expected'
  }

  onPubrec(packetId: number, reasonCode: number): AnswerVerdict {
    const handshake = this.handshakes?.get(packetId)
    if (handshake === undefined) return this.isInUse(packetId) ? 'wrong-type' : 'unknown'
    if (reasonCode >= REFUSED_FROM) this.finish(handshake)
    else if (handshake.state === 'sent') {
      handshake.state = 'received'
      this.ports.received(shardOfPacketId(this.options.counts, packetId), handshake.sequence)
      this.queueRelease(handshake)
    } else if (handshake.state === 'released' && !handshake.queued) this.queueRelease(handshake)
    return 'expected'
  }

  onPubcomp(packetId: number): AnswerVerdict {
    const handshake = this.handshakes?.get(packetId)
    if (handshake === undefined) return this.isInUse(packetId) ? 'wrong-type' : 'unknown'
    if (handshake.state !== 'released') return 'wrong-type'
    this.finish(handshake)
    return 'expected'
  }

  /** Sends what waits, as far as the window and the session's state allow. */
  flush(): void {
    this.flushReleases()
    if (this.waiting.length === 0) return
    let taken = 0
    while (taken < this.waiting.length && this.ports.canDeliver()) {
      const delivery = this.waiting[taken]!
      const packetId = delivery.qos === 0 ? 0 : packetIdOf(this.options.counts, delivery.shard, delivery.sequence)
      if (packetId > 0 && !this.hasRoomFor(packetId)) break
      taken++
      this.send(delivery, packetId)
    }
    if (taken === this.waiting.length) this.waiting = NONE
    else if (taken > 0) this.waiting = this.waiting.slice(taken)
  }

  private flushReleases(): void {
    const { releases } = this
    if (releases === undefined) return
    let gone = 0
    for (; gone < releases.length; gone++) {
      const handshake = releases[gone]!
      if (handshake.state !== 'done') {
        if (!handshake.durable || !this.ports.canDeliver()) break
        handshake.state = 'released'
        this.ports.write(encodeAcknowledgement('pubrel', handshake.packetId, 0, this.options.version))
      }
      handshake.queued = false
    }
    if (gone > 0) releases.splice(0, gone)
  }

  private queueRelease(handshake: Handshake): void {
    handshake.queued = true
    if (this.releases === undefined) this.releases = [handshake]
    else this.releases.push(handshake)
    this.flushReleases()
  }

  /** A place that came before on this connection: its shard has a new owner, which knows less than we do. */
  private takeAgain(shard: number, sequence: number): void {
    const packetId = packetIdOf(this.options.counts, shard, sequence)
    const handshake = this.handshakes?.get(packetId)
    if (handshake?.sequence === sequence) {
      if (handshake.state !== 'sent') this.ports.received(shard, sequence)
    } else if (this.inFlight.get(packetId) !== sequence && this.waitingAt(shard, sequence) < 0) {
      if (this.expired?.get(packetId) === sequence) this.ports.expired(shard, sequence)
      else this.ports.acknowledge(shard, sequence)
    }
  }

  private finish(handshake: Handshake): void {
    const { packetId, sequence } = handshake
    handshake.state = 'done'
    this.handshakes!.delete(packetId)
    if (this.handshakes!.size === 0) this.handshakes = undefined
    this.ports.acknowledge(shardOfPacketId(this.options.counts, packetId), sequence)
    this.flush()
  }

  private addHandshake(handshake: Handshake): void {
    this.handshakes ??= new SmallMap()
    this.handshakes.set(handshake.packetId, handshake)
  }

  private hasRoomFor(packetId: number): boolean {
    return this.inFlight.size + (this.handshakes?.size ?? 0) < this.options.windowSize && !this.isInUse(packetId)
  }

  private isInUse(packetId: number): boolean {
    return this.inFlight.has(packetId) || this.handshakes?.has(packetId) === true
  }

  private waitingAt(shard: number, sequence: number): number {
    return this.waiting.findIndex((delivery) => delivery.shard === shard && delivery.sequence === sequence)
  }

  /** @returns false where the place was taken before. */
  private markTaken(shard: number, sequence: number): boolean {
    const places = this.taken.get(shard)
    if (places !== undefined) return places.add(sequence)
    this.taken.set(shard, new TakenPlaces(sequence))
    return true
  }

  // One message into one packet

  /** Sends the message, or drops what must not be sent, as if it had been. */
  private send(delivery: Delivery, packetId: number): void {
    const { shard, sequence, qos, dup, message } = delivery
    const expirySeconds = message.properties.length === 0 ? undefined : this.expirySecondsLeft(delivery)
    if (expirySeconds === 0 && !dup) {
      if (sequence > 0) this.expire(shard, sequence)
      return
    }
    // A QoS 0 message that may have been sent before is not sent again.
    const dropped = qos === 0 && dup
    if (!dropped && this.writePublish(delivery, packetId, expirySeconds)) {
      if (qos === 1) this.inFlight.set(packetId, sequence)
      else if (qos === 2) this.addHandshake({ packetId, sequence, state: 'sent', durable: false, queued: false })
      if (qos > 0) return
    }
    if (sequence > 0) this.ports.acknowledge(shard, sequence)
  }

  private expire(shard: number, sequence: number): void {
    this.expired ??= new SmallMap()
    this.expired.set(packetIdOf(this.options.counts, shard, sequence), sequence)
    this.ports.expired(shard, sequence)
  }

  /** What is left of the message expiry interval now [MQTT-3.3.2-6]; 0 when it has passed. */
  private expirySecondsLeft({ message, waitedMs, receivedAtMs }: Delivery): number | undefined {
    const interval = messageExpiryIn(message.properties)
    if (interval === undefined) return undefined
    return Math.max(0, interval - Math.floor((waitedMs + this.ports.nowMs() - receivedAtMs) / 1000))
  }

  /** @returns false, and writes nothing, where the packet is larger than the client takes [MQTT-3.1.2-24] */
  private writePublish(delivery: Delivery, packetId: number, expirySeconds: number | undefined): boolean {
    const { version, topicAliasMaximum, maximumPacketBytes } = this.options
    const { topic } = delivery.message
    let bytes: Buffer | undefined
    if (version === 5 && topicAliasMaximum > 0 && topic.length > TOPIC_ALIAS_BYTES) {
      this.aliases ??= new AliasesToClient(topicAliasMaximum)
      const known = this.aliases.aliasOf(topic)
      const alias = known ?? this.aliases.nextAlias()
      bytes = this.encode(delivery, packetId, expirySeconds, known === undefined ? topic : '', alias)
      if (bytes.length <= maximumPacketBytes) this.aliases.used(topic, alias)
      else bytes = undefined
    }
    bytes ??= this.encode(delivery, packetId, expirySeconds, topic, undefined)
    if (bytes.length > maximumPacketBytes) return false
    this.ports.write(bytes)
    return true
  }

  private encode(
    delivery: Delivery,
    packetId: number,
    expirySeconds: number | undefined,
    topic: string,
    topicAlias: number | undefined,
  ): Buffer {
    const { message, qos, retain, subscriptionIdentifiers } = delivery
    const plain = expirySeconds === undefined && topicAlias === undefined && subscriptionIdentifiers.length === 0
    const properties: Properties = plain
      ? NO_PROPERTIES
      : {
          ...(expirySeconds === undefined ? {} : { messageExpiryInterval: expirySeconds }),
          ...(topicAlias === undefined ? {} : { topicAlias }),
          ...(subscriptionIdentifiers.length === 0 ? {} : { subscriptionIdentifiers }),
        }
    return encodePublish(
      {
        topic,
        payload: message.payload,
        qos,
        // [MQTT-3.3.1-2]
        dup: qos > 0 && delivery.dup,
        retain,
        packetId,
        rawProperties: message.properties,
        properties,
      },
      this.options.version,
    )
  }
}
