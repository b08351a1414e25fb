/**
 * The witness's ear for what clients send: which messages were published and when first, which received ones were acknowledged, which subscriptions may be in
 * force. The client's own conduct is taken as it comes; a client that sends rubbish is no fault of the service, and is read no further.
 */
import type { IConnectPacket, ISubscribePacket, Packet } from 'mqtt-packet'
import { appended, NONE } from './collections.ts'
import type { AcknowledgementKind, FrameSink, PublishFrame } from './decoder.ts'
import { IntervalSet } from './intervals.ts'
import type { Ledger } from './ledger.ts'
import { isPayloadHeader, publisherAt, sequenceAt } from './payload.ts'
import { aliased, expiryOf, type Listeners, sessionOf } from './sides.ts'
import {
  type Connection,
  type Flow,
  FOR_EVER,
  NEVER,
  NOTHING,
  type OpenSubscribe,
  type OpenUnsubscribe,
  type Publication,
  type Session,
  type Subscription,
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
      if (frame.retain) {
        if (flow.retained === undefined) flow.retained = new IntervalSet()
        flow.retained.add(sequence)
      }
    } else if (frame.retain && topicName !== undefined) this.ledger.topic(topicName).foreignRetained = true
    if (frame.qos === 0) {
      if (flow !== undefined) this.published(flow, sequence, undefined, session, frame)
      return
    }
    const open = session.outgoing.get(frame.packetId)
    if (open !== undefined && open.flow === flow && open.sequence === sequence) {
      if (open.connectionId === connection.id) connection.resentHere = true
      // It says that it has no PUBREC, though one may have reached its socket when it did not listen any more.
      open.received = false
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
      releaseSent: false,
      mistakable: open?.qos === 2 && frame.qos === 2,
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
    const expiry = frame.expirySeconds < 0 ? FOR_EVER : expiryOf(frame.expirySeconds)
    const inOrder = sequence > flow.sent.max
    if (flow.firstIncarnation === NEVER) {
      flow.firstIncarnation = session.incarnation
      const first = flow.wills === undefined
      flow.payloadBytes = first || flow.payloadBytes === size ? size : -1
      flow.expirySeconds = first || flow.expirySeconds === expiry ? expiry : -1
    } else {
      if (flow.payloadBytes !== size) flow.payloadBytes = -1
      if (flow.expirySeconds !== expiry) flow.expirySeconds = -1
      if (inOrder && flow.incarnationOf(sequence) !== session.incarnation) {
        if (flow.laterIncarnations === undefined) flow.laterIncarnations = []
        flow.laterIncarnations.push(sequence, session.incarnation)
      }
    }
    const fresh = flow.sent.add(sequence)
    if (fresh) {
      ledger.totals.published++
      if (publication === undefined) ledger.totals.publishedAtMostOnce++
      else if (publication.qos === 2) ledger.totals.publishedExactlyOnce++
    }
    if (!inOrder) ledger.republished(flow, sequence, session.incarnation)
    const kind = fresh ? 'new' : 'republished'
    for (const check of this.hear.publishSent) check.onPublishSent(this.connection, flow, sequence, publication, kind, this.timeUs)
  }

  onAcknowledgement(kind: AcknowledgementKind, packetId: number, reasonCode: number): void {
    const connection = this.connection
    const session = connection.session
    if (session === undefined) return
    if (kind === 'pubrel') {
      const publication = session.outgoing.get(packetId)
      if (publication !== undefined) publication.releaseSent = true
      for (const check of this.hear.releaseSent) check.onReleaseSent(connection, packetId, publication, this.timeUs)
      return
    }
    const incoming = session.incoming.get(packetId)
    if (incoming === undefined) return
    if (kind === 'pubrec' && reasonCode < 0x80) incoming.received = true
    else {
      session.incoming.delete(packetId)
      if (incoming.connectionId === connection.id) connection.openIncoming--
    }
    for (const check of this.hear.acknowledgementSent) check.onAcknowledgementSent(connection, incoming, this.timeUs)
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
        connection.topicAliasMaximum = packet.properties?.topicAliasMaximum ?? 0
        connection.keepaliveSeconds = packet.keepalive ?? 0
        connection.named = packet.clientId !== ''
        connection.asksResponseInformation = packet.properties?.requestResponseInformation === true
        connection.authenticates = packet.properties?.authenticationMethod !== undefined
        connection.connectSentAtUs = this.timeUs
        if (packet.will !== undefined) this.will(packet.will)
        for (const check of this.hear.connectSent) check.onConnectSent(connection, this.timeUs)
        connection.client.connects++
        return
      }
      case 'subscribe': {
        this.subscribe(packet)
        return
      }
      case 'unsubscribe': {
        const session = sessionOf(this.ledger, connection)
        for (const filter of packet.unsubscriptions) this.ledger.leave(session, filter)
        const open: OpenUnsubscribe = { packetId: packet.messageId ?? 0, filters: packet.unsubscriptions }
        connection.openUnsubscribes = appended(connection.openUnsubscribes, open)
        for (const check of this.hear.unsubscribeSent) check.onUnsubscribeSent(session, this.timeUs)
        return
      }
      case 'disconnect': {
        connection.clientDisconnected = true
        connection.goodbye = packet.reasonCode ?? 0
        connection.goodbyeAtUs = this.timeUs
        const expiry = packet.properties?.sessionExpiryInterval
        if (expiry !== undefined && connection.session !== undefined) {
          connection.session.expirySeconds = expiryOf(expiry)
        }
        return
      }
      default:
    }
  }

  private subscribe(packet: ISubscribePacket): void {
    const connection = this.connection
    const session = sessionOf(this.ledger, connection)
    const identifier = packet.properties?.subscriptionIdentifier ?? 0
    const fresh: boolean[] = []
    const subscriptions: Subscription[] = []
    for (const each of packet.subscriptions) {
      const known = session.subscription(each.topic)
      fresh.push(session.connections === 1 && (known === undefined || known.gone))
      subscriptions.push(this.ledger.request(session, each.topic, each.qos, each.nl === true, each.rap === true, identifier))
    }
    const open: OpenSubscribe = {
      packetId: packet.messageId ?? 0,
      subscriptions,
      requestedQos: packet.subscriptions.map((each) => each.qos),
      retainHandling: connection.version === 5 ? packet.subscriptions.map((each) => each.rh ?? 0) : NONE,
      fresh,
      sentAtUs: this.timeUs,
    }
    connection.openSubscribes = appended(connection.openSubscribes, open)
    for (const check of this.hear.subscribeSent) check.onSubscribeSent(connection, open, this.timeUs)
  }

  /** It may be published from now on: the service may find the connection ended before its client does. */
  private will(will: NonNullable<IConnectPacket['will']>): void {
    const payload = typeof will.payload === 'string' ? Buffer.from(will.payload) : will.payload
    if (!isPayloadHeader(payload, 0, payload.length)) {
      if (will.retain === true) this.ledger.topic(will.topic).foreignRetained = true
      return
    }
    const sequence = sequenceAt(payload, 0)
    const flow = this.ledger.flow(publisherAt(payload, 0), will.topic, will.qos ?? 0)
    const expiry = expiryOf(will.properties?.messageExpiryInterval ?? FOR_EVER)
    if (flow.sent.max < 0) {
      flow.payloadBytes = payload.length
      flow.expirySeconds = expiry
    } else {
      if (flow.payloadBytes !== payload.length) flow.payloadBytes = -1
      if (flow.expirySeconds !== expiry) flow.expirySeconds = -1
    }
    flow.sent.add(sequence)
    if (flow.wills === undefined) flow.wills = new IntervalSet()
    flow.wills.add(sequence)
    if (will.retain === true) {
      if (flow.retained === undefined) flow.retained = new IntervalSet()
      flow.retained.add(sequence)
    }
    const delaySeconds = expiryOf(will.properties?.willDelayInterval ?? 0)
    this.connection.will = { flow, sequence, retain: will.retain === true, expires: expiry !== FOR_EVER, delaySeconds, seenAtUs: NEVER }
  }

  onPing(): void {
    this.connection.openPings++
  }

  onMalformed(): void {}
}
