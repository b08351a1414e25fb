/**
 * A client's publishes, from PUBLISH to the last acknowledgement: who may publish what and how much at once, and the QoS 1 and QoS 2 exchanges.
 *
 * QoS 2: the session shard says which message the packet id stands for, then the topic shard stores it, then PUBREC leaves; PUBREL is durable at the session shard before PUBCOMP.
 * On one connection a packet id that has not been released is the same publication and is stored once; over connections that is the session shard's knowledge.
 * A refusal is decided before anything of the message is kept.
 *
 * Above the quota of messages a second, MQTT 5 is answered 0x97 (Quota exceeded) where there is an acknowledgement to say it in. What has none, and what the client sends again, which may be
 * stored already, waits until the rate allows it, and the connection is not read meanwhile. Nobody is sent away: a client would come back with all that was not acknowledged.
 */
import { publishRefusal, type User } from '../access.ts'
import { emit } from '../events.ts'
import { shardOfTopic } from '../shards.ts'
import { SmallMap } from '../small-map.ts'
import { encodeAcknowledgement } from '../wire/mqtt-codec.ts'
import type { Publish } from '../wire/packets.ts'
import type { ClientConnection } from './client-connection.ts'
import { reasonOf } from './handshake.ts'
import { holding } from './holding.ts'
import { type Exchange, Inbound, type Slot } from './inbound.ts'
import { MessageRate } from './message-rate.ts'
import type { ProxyContext } from './proxy-context.ts'
import { REFUSALS_FROM, reason } from './reasons.ts'
import { ReceivedPublishes } from './received-publishes.ts'
import { encodePublication } from './stored-message.ts'
import { AliasesFromClient } from './topic-aliases.ts'

export class Publishing {
  private readonly context: ProxyContext
  private readonly client: ClientConnection
  private readonly user: User | 'anyone'
  private readonly inbound = new Inbound()
  /** Undefined before the first packet of QoS 2. */
  private received: ReceivedPublishes | undefined
  /** By packet id. Undefined before the first. */
  private exchanges: SmallMap<number, Exchange> | undefined
  private aliases: AliasesFromClient | undefined
  /** What the client has used up of our Receive Maximum: QoS 1 before PUBACK, QoS 2 before PUBCOMP (MQTT 5.0 section 4.9). */
  private quotaUsed = 0
  /** Undefined before the first publish under a quota. */
  private rate: MessageRate | undefined
  /** PUBRELs without an answer yet. */
  private releasing = 0

  constructor(context: ProxyContext, client: ClientConnection, user: User | 'anyone') {
    this.context = context
    this.client = client
    this.user = user
  }

  onPublish(packet: Publish): void {
    const exchange = packet.qos === 2 ? this.exchanges?.get(packet.packetId) : undefined
    const waitMs = exchange === undefined ? this.waitForRate() : 0
    if (waitMs > 0 && (this.client.version !== 5 || packet.qos === 0 || packet.dup)) {
      this.client.postpone(packet, waitMs)
      return
    }
    const topic = packet.properties?.topicAlias === undefined ? packet.topic : this.resolveAlias(packet, packet.properties.topicAlias)
    if (topic === undefined) return
    if (packet.qos > 0 && !this.admit(exchange === undefined)) return
    if (exchange !== undefined) {
      this.repeated(packet.packetId, exchange)
      return
    }
    const refusal = waitMs > 0 ? reason.quotaExceeded : this.refusalOf(packet, topic)
    if (refusal !== undefined) this.refuse(packet, topic, refusal)
    else if (packet.qos === 0) this.passOn(packet, topic)
    else if (packet.qos === 1) this.append(packet, topic, this.inbound.receivedQoS1(packet.packetId), 0, 0)
    else this.receive(packet, topic)
  }

  /** @returns 0 where one more publish is within the quota, and counted */
  private waitForRate(): number {
    const { messagesPerSecond } = this.context.quotas
    if (messagesPerSecond === 0) return 0
    const nowMs = this.context.host.nowMs()
    this.rate ??= new MessageRate(messagesPerSecond, nowMs)
    return this.rate.admit(messagesPerSecond, nowMs) ? 0 : this.rate.waitMs(messagesPerSecond)
  }

  /** @returns undefined where the alias is none, and the connection is over */
  private resolveAlias(packet: Publish, alias: number): string | undefined {
    const { topicAliasMaximum } = this.context.settings.proxy
    this.aliases ??= new AliasesFromClient(topicAliasMaximum)
    const topic = this.aliases.resolve(packet.topic, alias)
    if (topic !== undefined) return topic
    if (alias > topicAliasMaximum) this.client.disconnect(reason.topicAliasInvalid, 'topic alias above the maximum [MQTT-3.3.2-9]')
    // "It is a Protocol Error" (section 3.3.2.3.4).
    else this.client.disconnect(reason.protocolError, 'topic alias that stands for no topic')
    return undefined
  }

  /**
   * Counts a publish of QoS 1 or 2 against Receive Maximum.
   * @returns false where an MQTT 5 client exceeds it, and the connection is over [MQTT-3.3.4-7]
   */
  private admit(isNew: boolean): boolean {
    const { receiveMaximum } = this.context.settings.proxy
    if (this.client.version === 5 && ((isNew && this.quotaUsed >= receiveMaximum) || this.inbound.open >= receiveMaximum)) {
      this.client.disconnect(reason.receiveMaximumExceeded, 'more publishes at once than Receive Maximum allows [MQTT-3.3.4-7]')
      return false
    }
    if (isNew) this.quotaUsed++
    // A client of 3.x knows no such limit: it waits.
    if (this.client.version !== 5 && this.waitingForUs >= receiveMaximum) this.client.hold(holding.publishes)
    return true
  }

  private get waitingForUs(): number {
    return this.inbound.open + this.releasing
  }

  private refusalOf(packet: Publish, topic: string): number | undefined {
    if (packet.payload.length > this.context.settings.proxy.maximumPayloadBytes) return reason.quotaExceeded
    const refusal = publishRefusal(this.context.access, this.user, topic)
    return refusal === undefined ? undefined : reasonOf(refusal)
  }

  private refuse(packet: Publish, topic: string, reasonCode: number): void {
    const { client, context } = this
    const { host } = context
    if (host.recording) emit(host, { kind: 'publish-refused', clientId: client.clientId, topic, reasonCode })
    const tooLarge = reasonCode === reason.quotaExceeded
    // 3.x has no word for a refusal [v3.1.1 MQTT-3.3.5-2]; for QoS 0 there is none either, and only what costs us is worth the connection.
    if (packet.qos === 0 ? tooLarge : client.version !== 5) client.disconnect(reasonCode, `publish to ${topic} refused: ${reasonCode}`)
    else if (packet.qos === 1) this.answer(this.inbound.receivedQoS1(packet.packetId), reasonCode)
    else if (packet.qos === 2) this.refuseExchange(packet.packetId, reasonCode)
  }

  /** After a PUBREC that refuses, the packet id is free [MQTT-4.3.3-9]: also of what an earlier connection may have left under it. */
  private refuseExchange(packetId: number, reasonCode: number): void {
    const exchange = this.begin(packetId)
    if (!this.client.wasResumed) this.settle(exchange, reasonCode)
    else this.sessionsIds().release(packetId, 0, () => this.settle(exchange, reasonCode))
  }

  /** QoS 0: now or never. With RETAIN it still gets into the topic's register, in the log's order. */
  private passOn(packet: Publish, topic: string): void {
    const { context, client } = this
    const shard = shardOfTopic(context.counts, topic)
    const message = encodePublication(packet, topic, client.clientId, context.host.wallMs())
    context
      .laneOf(shard)
      .passOn({ shard, clientId: client.clientId, epoch: client.epoch, sequence: 0, confirmed: 0, messageId: 0, openFrom: 0, message })
  }

  private append(packet: Publish, topic: string, target: Slot | Exchange, messageId: number, openFrom: number): void {
    const { context, client } = this
    const shard = shardOfTopic(context.counts, topic)
    const message = encodePublication(packet, topic, client.clientId, context.host.wallMs())
    const stream = this.inbound.streamTo(shard, client.clientId, client.epoch)
    context.laneOf(shard).append({
      stream,
      sequence: ++stream.last,
      messageId,
      openFrom,
      message,
      done: (result, matched) => {
        if (client.isClosed()) return
        if (result === 'fenced') client.superseded()
        else if (result === 'gap') client.disconnect(reason.implementationSpecific, 'an earlier publish is missing at its shard')
        else {
          // With QoS 2 it may be said that nobody subscribes, and is not: a repetition, which is not matched again, has to be answered alike.
          if ('slots' in target) this.settle(target, reason.success)
          else this.answer(target, !matched && client.version === 5 ? reason.noMatchingSubscribers : reason.success)
        }
      },
    })
  }

  // QoS 2

  private sessionsIds(): ReceivedPublishes {
    this.received ??= new ReceivedPublishes(this.context.settings.proxy.requestTimeoutMs, this.client)
    return this.received
  }

  private begin(packetId: number): Exchange {
    const exchange: Exchange = { state: 'storing', messageId: 0, reasonCode: undefined, slots: [] }
    exchange.slots = [this.inbound.receivedQoS2(packetId, exchange)]
    this.exchanges ??= new SmallMap()
    this.exchanges.set(packetId, exchange)
    return exchange
  }

  private receive(packet: Publish, topic: string): void {
    const exchange = this.begin(packet.packetId)
    this.sessionsIds().receive(packet.packetId, (answer) => {
      if (answer.kind === 'received') {
        exchange.messageId = answer.messageId
        this.append(packet, topic, exchange, answer.messageId, answer.openFrom)
      } else if (this.client.version === 5) this.settle(exchange, reason.quotaExceeded)
      else this.client.disconnect(reason.quotaExceeded, 'too many QoS 2 publishes without PUBREL')
    })
  }

  /** The packet id is in use: with DUP or without, it is the same publication [MQTT-4.3.3-10]. */
  private repeated(packetId: number, exchange: Exchange): void {
    if (exchange.state === 'releasing') {
      this.client.disconnect(reason.protocolError, 'PUBLISH with a packet id whose PUBREL is not answered yet [MQTT-4.3.3-6]')
      return
    }
    const slot = this.inbound.receivedQoS2(packetId, exchange)
    // What is decided may still wait for an earlier PUBREC to leave [MQTT-4.6.0-3], or for the session's word.
    if (exchange.reasonCode === undefined) exchange.slots.push(slot)
    else this.answer(slot, exchange.reasonCode)
  }

  onPubrel(packetId: number): void {
    const exchange = this.exchanges?.get(packetId)
    if (exchange?.state === 'storing') {
      this.client.disconnect(reason.protocolError, 'PUBREL before PUBREC [MQTT-4.3.3-4]')
      return
    }
    if (exchange !== undefined) exchange.state = 'releasing'
    this.releasing++
    // No Receive Maximum counts PUBRELs whose packet ids are not known here.
    if (this.waitingForUs > this.context.settings.proxy.receiveMaximum) this.client.hold(holding.publishes)
    this.sessionsIds().release(packetId, exchange?.messageId ?? 0, () => {
      this.releasing--
      this.end(packetId)
      // Also where the packet id stood for nothing: that is no error when a PUBREL comes again after its PUBCOMP was lost (section 3.7.2.1).
      this.client.sendWhenConfirmed(encodeAcknowledgement('pubcomp', packetId, reason.success, this.client.version))
      this.readOn()
    })
  }

  // Acknowledgements

  private settle(exchange: Exchange, reasonCode: number): void {
    exchange.reasonCode = reasonCode
    for (const slot of exchange.slots) slot.reasonCode = reasonCode
    exchange.slots = []
    this.client.flush()
  }

  private answer(slot: Slot, reasonCode: number): void {
    slot.reasonCode = reasonCode
    this.client.flush()
  }

  /** Sends what may leave; called while the session's word holds. */
  sendAcknowledgements(): void {
    const { inbound, client } = this
    for (let ready = inbound.takeReady(); ready !== undefined; ready = inbound.takeReady()) {
      const { packetId, exchange, reasonCode } = ready
      if (exchange === undefined) {
        this.quotaUsed--
        client.write(encodeAcknowledgement('puback', packetId, reasonCode, client.version))
      } else if (this.mayBeAnswered(packetId, exchange)) {
        if (reasonCode >= REFUSALS_FROM) this.refused(packetId, exchange)
        else exchange.state = 'acknowledged'
        client.write(encodeAcknowledgement('pubrec', packetId, reasonCode, client.version))
      }
    }
    this.readOn()
  }

  /**
   * Whether a PUBREC, which may have waited behind another while an earlier one of its exchange left, still says something: not after PUBREL, and not once the packet id
   * stands for another message, whose PUBREC the client would take it for.
   */
  private mayBeAnswered(packetId: number, exchange: Exchange): boolean {
    if (exchange.state === 'releasing') return false
    return exchange.state !== 'refused' || this.exchanges?.get(packetId) === undefined
  }

  private refused(packetId: number, exchange: Exchange): void {
    if (exchange.state !== 'refused') this.end(packetId)
    exchange.state = 'refused'
  }

  private end(packetId: number): void {
    if (this.exchanges?.delete(packetId) === true) this.quotaUsed--
  }

  private readOn(): void {
    if (this.waitingForUs < this.context.settings.proxy.receiveMaximum / 2) this.client.readOn(holding.publishes)
  }

  /** The session's shard has a new owner, or a new link to it. */
  onSessionTerm(): void {
    this.received?.restart()
  }

  /** The connection is over. */
  abandon(): void {
    this.inbound.abandon()
  }
}
