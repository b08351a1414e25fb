/**
 * The witness's ear for what clients send: which messages were published and when first, which received ones were acknowledged, which subscriptions may be in
 * force. The client's own conduct is taken as it comes; a client that sends rubbish is no fault of the service, and is read no further.
 */
import type { Packet } from 'mqtt-packet'
import { appended } from './collections.ts'
import type { AcknowledgementKind, FrameSink, PublishFrame } from './decoder.ts'
import type { Ledger } from './ledger.ts'
import { isPayloadHeader, publisherAt, sequenceAt } from './payload.ts'
import { aliased, expiryOf, type Listeners, sessionOf } from './sides.ts'
import {
  type Connection,
  type Flow,
  NEVER,
  NOTHING,
  type OpenSubscribe,
  type OpenUnsubscribe,
  type Publication,
  type Session,
} from './state.ts'

export class FromClient implements FrameSink {
  /** The connection and time of the bytes at hand. */
  connection!: Connection
  timeUs = 0
  private readonly ledger: Ledger
  private readonly hear: Listeners

  constructor(ledger: Ledger, hear: Listeners) {
    this.ledger = ledger
    this.hear = hear
  }

  onPublish(frame: PublishFrame): void {
    const connection = this.connection
    const session = sessionOf(this.ledger, connection)
    const topicName = frame.topicAlias === 0 ? frame.topic : aliased(connection, 'aliasesToServer', frame)
    const start = frame.payloadStart
    let flow: Flow | undefined
    let sequence = 0
    if (topicName !== undefined && isPayloadHeader(frame.bytes, start, frame.payloadEnd)) {
      sequence = sequenceAt(frame.bytes, start)
      flow = this.ledger.flow(publisherAt(frame.bytes, start), topicName, frame.qos)
    }
    if (frame.qos === 0) {
      if (flow !== undefined) this.published(flow, sequence, undefined, session, frame)
      return
    }
    const open = session.outgoing.get(frame.packetId)
    if (open !== undefined && open.flow === flow && open.sequence === sequence) {
      if (open.connectionId === connection.id) connection.resentHere = true
      open.connectionId = connection.id
      open.order = ++connection.publishOrder
      if (flow === undefined) return
      for (const check of this.hear.publishSent) check.onPublishSent(connection, flow, sequence, open, 'resent', this.timeUs)
      return
    }
    const publication: Publication = {
      packetId: frame.packetId,
      flow,
      sequence,
      qos: frame.qos,
      firstSentAtUs: this.timeUs,
      connectionId: connection.id,
      order: ++connection.publishOrder,
      received: false,
    }
    // The id of a publish that was given up comes back: it takes its place at the end of the order.
    if (open !== undefined) session.outgoing.delete(frame.packetId)
    session.outgoing.set(publication)
    if (flow !== undefined) this.published(flow, sequence, publication, session, frame)
  }

  private published(flow: Flow, sequence: number, publication: Publication | undefined, session: Session, frame: PublishFrame): void {
    const ledger = this.ledger
    if (flow.faultNumber !== ledger.faultNumber) {
      flow.faultNumber = ledger.faultNumber
      flow.sentBeforeFault = flow.sent.max
    }
    const size = frame.payloadEnd - frame.payloadStart
    const inOrder = sequence > flow.sent.max
    if (flow.firstIncarnation === NEVER) {
      flow.firstIncarnation = session.incarnation
      flow.payloadBytes = size
    } else {
      if (flow.payloadBytes !== size) flow.payloadBytes = -1
      if (inOrder && flow.incarnationOf(sequence) !== session.incarnation) {
        if (flow.laterIncarnations === undefined) flow.laterIncarnations = []
        flow.laterIncarnations.push(sequence, session.incarnation)
      }
    }
    const fresh = flow.sent.add(sequence)
    if (fresh) {
      ledger.totals.published++
      if (publication === undefined) ledger.totals.publishedAtMostOnce++
    }
    if (!inOrder) ledger.republished(flow, sequence, session.incarnation)
    const kind = fresh ? 'new' : 'republished'
    for (const check of this.hear.publishSent) check.onPublishSent(this.connection, flow, sequence, publication, kind, this.timeUs)
  }

  onAcknowledgement(kind: AcknowledgementKind, packetId: number, reasonCode: number): void {
    const connection = this.connection
    const session = connection.session
    if (session === undefined) return
    if (kind === 'pubrel') return
    const incoming = session.incoming.get(packetId)
    if (incoming === undefined) return
    if (kind === 'pubrec' && reasonCode < 0x80) incoming.received = true
    else {
      session.incoming.delete(packetId)
      if (incoming.connectionId === connection.id) connection.openIncoming--
    }
    for (const check of this.hear.acknowledgementSent) check.onAcknowledgementSent(connection, packetId, this.timeUs)
  }

  onPacket(packet: Packet): void {
    const connection = this.connection
    switch (packet.cmd) {
      case 'connect': {
        const version = packet.protocolVersion ?? 4
        connection.version = version
        connection.cleanStart = packet.clean ?? true
        const stated = packet.properties?.sessionExpiryInterval
        if (version === 5) connection.expirySeconds = expiryOf(stated ?? 0)
        else connection.expirySeconds = connection.cleanStart ? 0 : expiryOf(connection.client.facts.sessionExpirySeconds)
        connection.receiveMaximum = packet.properties?.receiveMaximum ?? 65_535
        connection.maximumPacketBytes = packet.properties?.maximumPacketSize ?? NOTHING
        connection.connectSentAtUs = this.timeUs
        for (const check of this.hear.connectSent) check.onConnectSent(connection, this.timeUs)
        connection.client.connects++
        return
      }
      case 'subscribe': {
        const session = sessionOf(this.ledger, connection)
        const subscriptions = packet.subscriptions.map((each) => this.ledger.request(session, each.topic, each.qos, each.nl === true))
        const open: OpenSubscribe = {
          packetId: packet.messageId ?? 0,
          subscriptions,
          requestedQos: packet.subscriptions.map((each) => each.qos),
        }
        connection.openSubscribes = appended(connection.openSubscribes, open)
        return
      }
      case 'unsubscribe': {
        const session = sessionOf(this.ledger, connection)
        for (const filter of packet.unsubscriptions) this.ledger.leave(session, filter)
        const open: OpenUnsubscribe = { packetId: packet.messageId ?? 0, filters: packet.unsubscriptions }
        connection.openUnsubscribes = appended(connection.openUnsubscribes, open)
        return
      }
      case 'disconnect': {
        connection.clientDisconnected = true
        const expiry = packet.properties?.sessionExpiryInterval
        if (expiry !== undefined && connection.session !== undefined) {
          connection.session.expirySeconds = expiryOf(expiry)
        }
        return
      }
      default:
    }
  }

  onPing(): void {
    this.connection.openPings++
  }

  onMalformed(): void {}
}
