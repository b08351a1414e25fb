/**
 * The witness's ear for what clients receive: sessions accepted, publishes answered, messages delivered, subscriptions granted. What cannot be known, because
 * a packet may or may not have been processed, is kept as unknown.
 *
 * A session is surely there when a CONNACK said so, its expiry has not run out since the server last spoke on it, and no CONNECT that would end it is left
 * unanswered. It is surely not there when no CONNECT was ever sent. All else is unknown. MQTT 3.1 has no session present flag: there the session goes on where it
 * is surely there, and where that is unknown it may, so that whatever it would explain is legal and nothing is due to it.
 */
import type { Packet } from 'mqtt-packet'
import type { Delivery, SessionKnowledge } from './check.ts'
import type { AcknowledgementKind, Decoder, FrameSink, PublishFrame } from './decoder.ts'
import type { Ledger } from './ledger.ts'
import { isGenuinePayload, publisherAt, sequenceAt } from './payload.ts'
import { aliased, expiryOf, type Listeners } from './sides.ts'
import { type Connection, type Flow, type Incoming, type Inflow, NEVER, type Session } from './state.ts'

export class FromServer implements FrameSink {
  /** The connection and time of the bytes at hand. */
  connection!: Connection
  timeUs = 0
  private readonly ledger: Ledger
  private readonly hear: Listeners
  private readonly decoder: Decoder
  private readonly delivery = {} as Delivery

  constructor(ledger: Ledger, hear: Listeners, decoder: Decoder) {
    this.ledger = ledger
    this.hear = hear
    this.decoder = decoder
  }

  onMalformed(statement: string, text: string): void {
    for (const check of this.hear.serverMalformed) check.onServerMalformed(this.connection, statement, text, this.timeUs)
  }

  private spoken(what: string): void {
    const connection = this.connection
    const sentAtUs = this.decoder.frameSentAtUs
    connection.lastSpokenUs = sentAtUs
    connection.lastSpoken = what
    if (connection.session !== undefined) connection.session.lastProofUs = sentAtUs
    for (const check of this.hear.spoken) check.onSpoken(connection, sentAtUs, this.timeUs)
  }

  /** Over a connection that its client has left. */
  private spokenToNobody(what: string): void {
    const connection = this.connection
    const sentAtUs = this.decoder.frameSentAtUs
    connection.lastSpokenUs = sentAtUs
    connection.lastSpoken = what
    for (const check of this.hear.spoken) check.onSpoken(connection, sentAtUs, this.timeUs)
  }

  onPublish(frame: PublishFrame): void {
    const connection = this.connection
    if (connection.left) {
      this.spokenToNobody('PUBLISH')
      return
    }
    for (const check of this.hear.serverPublish) check.onServerPublish(connection, frame, this.timeUs)
    this.spoken('PUBLISH')
    const session = connection.session
    const topicName = frame.topicAlias === 0 ? frame.topic : aliased(connection, 'aliasesToClient', frame)
    if (session === undefined || topicName === undefined) return
    const { bytes, payloadStart, payloadEnd, qos } = frame
    let flow: Flow | undefined
    let sequence = 0
    let inflow = session.lastInflow
    if (!isGenuinePayload(bytes, payloadStart, payloadEnd))
      this.phantom(topicName, 'its payload is not, byte for byte, one that was published')
    else {
      const publisher = publisherAt(bytes, payloadStart)
      sequence = sequenceAt(bytes, payloadStart)
      flow = inflow?.flow
      if (flow === undefined || flow.topic.name !== topicName || flow.publisher !== publisher || !flow.sent.has(sequence)) {
        flow = this.ledger.flowThatSent(publisher, topicName, sequence)
        inflow = flow === undefined ? undefined : this.ledger.inflow(session, flow)
        session.lastInflow = inflow
      }
      if (flow === undefined) this.phantom(topicName, `publisher ${publisher} never sent its message ${sequence} to this topic`)
      else if (flow.payloadBytes !== -1 && flow.payloadBytes !== payloadEnd - payloadStart) {
        this.phantom(topicName, `its payload has ${payloadEnd - payloadStart} bytes, and ${flow.payloadBytes} were published`)
      }
    }
    const repeated = qos > 0 && this.received(session, frame.packetId, flow, sequence, qos)
    if (flow !== undefined) this.delivered(session, inflow!, flow, sequence, frame, repeated)
  }

  private phantom(topicName: string, why: string): void {
    for (const check of this.hear.phantom) check.onPhantom(this.connection, topicName, why, this.timeUs)
  }

  /** Whether it is the same delivery as one before: the same message, its packet identifier neither acknowledged nor, at QoS 2, released. */
  private received(session: Session, packetId: number, flow: Flow | undefined, sequence: number, qos: number): boolean {
    const connection = this.connection
    const open: Incoming | undefined = session.incoming.get(packetId)
    if (open !== undefined && open.flow === flow && open.sequence === sequence) {
      if (open.connectionId !== connection.id) connection.openIncoming++
      open.connectionId = connection.id
      return open.releasedOn === NEVER
    }
    if (open === undefined || open.connectionId !== connection.id) connection.openIncoming++
    session.incoming.set({ packetId, flow, sequence, qos, connectionId: connection.id, received: false, releasedOn: NEVER })
    return false
  }

  private delivered(session: Session, inflow: Inflow, flow: Flow, sequence: number, frame: PublishFrame, repeated: boolean): void {
    const delivery = this.delivery
    delivery.connection = this.connection
    delivery.session = session
    delivery.inflow = inflow
    delivery.flow = flow
    delivery.sequence = sequence
    delivery.qos = frame.qos
    delivery.dup = frame.dup
    delivery.packetId = frame.packetId
    delivery.repeated = repeated
    delivery.mayBeRetained = frame.retain && this.ledger.mayKeepRetain(inflow)
    delivery.frame = frame
    delivery.first = !inflow.delivered.has(sequence)
    delivery.timeUs = this.timeUs
    if (frame.retain && !delivery.mayBeRetained) {
      for (const check of this.hear.retainedDelivery) check.onRetainedDelivery(delivery)
      return
    }
    const listening = this.hear.delivery
    for (let i = 0; i < listening.length; i++) listening[i]!.onDelivery(delivery)
    if (delivery.first) {
      inflow.delivered.add(sequence)
      this.ledger.totals.delivered++
    } else this.ledger.totals.duplicates++
    if (inflow.groups !== undefined) for (const group of inflow.groups) group.delivered.add(sequence)
  }

  onAcknowledgement(kind: AcknowledgementKind, packetId: number, reasonCode: number, frameBytes: number): void {
    const connection = this.connection
    if (connection.left) {
      this.spokenToNobody(kind.toUpperCase())
      return
    }
    for (const check of this.hear.serverAcknowledgement) check.onServerAcknowledgement(connection, kind, packetId, frameBytes, this.timeUs)
    this.spoken(kind.toUpperCase())
    const session = connection.session
    if (kind === 'pubrel') {
      const incoming = session?.incoming.get(packetId)
      if (incoming !== undefined) incoming.releasedOn = connection.id
      return
    }
    const publication = session?.outgoing.get(packetId)
    if (session === undefined || publication === undefined) return
    const accepted = reasonCode < 0x80
    if (publication.connectionId === connection.id) {
      if (kind === 'puback') connection.pubackOrder = publication.order
      if (kind === 'pubrec' && !publication.received) connection.pubrecOrder = publication.order
    }
    const answers = publication.qos === 1 ? kind === 'puback' : kind === 'pubrec' && !publication.received
    if (kind === 'pubrec' && accepted) publication.received = true
    else session.outgoing.delete(packetId)
    if (!answers || publication.flow === undefined) return
    let first = false
    if (accepted && !publication.mistakable) {
      first = this.ledger.acknowledged(publication.flow, publication.sequence, this.timeUs)
      if (first) this.ledger.totals.acknowledged++
    }
    for (const check of this.hear.answered) check.onAnswered(connection, publication, accepted, first, this.timeUs, reasonCode)
  }

  onPing(kind: 'pingreq' | 'pingresp'): void {
    const connection = this.connection
    if (kind === 'pingreq') {
      for (const check of this.hear.serverMalformed) check.onServerMalformed(connection, 'MQTT-3.12', 'PINGREQ from a server', this.timeUs)
      return
    }
    if (connection.left) return
    for (const check of this.hear.serverPingresp) check.onServerPingresp(connection, this.timeUs)
    if (connection.openPings > 0) connection.openPings--
    if (connection.session !== undefined) connection.session.lastProofUs = this.decoder.frameSentAtUs
  }

  onPacket(packet: Packet, frameBytes: number): void {
    const connection = this.connection
    if (connection.left) {
      this.onPacketForNobody(packet)
      return
    }
    for (const check of this.hear.serverPacket) check.onServerPacket(connection, packet, frameBytes, this.timeUs)
    switch (packet.cmd) {
      case 'connack':
        if ((packet.reasonCode ?? packet.returnCode ?? 0) !== 0) connection.serverEnded = 'connack'
        else if (connection.connackAtUs === NEVER) {
          const granted = packet.properties?.sessionExpiryInterval
          if (granted !== undefined) connection.expirySeconds = expiryOf(granted)
          connection.keepaliveSeconds = packet.properties?.serverKeepAlive ?? connection.keepaliveSeconds
          this.accepted(connection.version === 3 && !connection.cleanStart ? undefined : packet.sessionPresent)
        }
        return
      case 'suback': {
        this.spoken('SUBACK')
        const open = take(connection.openSubscribes, packet.messageId)
        const codes = packet.granted as readonly number[]
        open?.subscriptions.forEach((subscription, index) => {
          const code = codes[index]
          if (code === undefined || subscription.session.ended) return
          if (subscription.grantedAtUs === NEVER) subscription.grantedAtUs = this.timeUs
          this.ledger.grant(subscription, code)
        })
        if (open !== undefined) for (const check of this.hear.subscribed) check.onSubscribed(connection, open, codes, this.timeUs)
        return
      }
      case 'unsuback': {
        this.spoken('UNSUBACK')
        const open = take(connection.openUnsubscribes, packet.messageId)
        for (const filter of open?.filters ?? []) this.ledger.left(connection.session!, filter)
        return
      }
      case 'disconnect':
        connection.serverEnded = 'disconnect'
        return
      default:
    }
  }

  private onPacketForNobody(packet: Packet): void {
    const connection = this.connection
    if (packet.cmd === 'suback' || packet.cmd === 'unsuback') this.spokenToNobody(packet.cmd.toUpperCase())
    if (packet.cmd !== 'connack' || (packet.reasonCode ?? packet.returnCode ?? 0) !== 0 || connection.connackAtUs !== NEVER) return
    connection.connackAtUs = this.timeUs
    connection.connackSentAtUs = this.decoder.frameSentAtUs
    if (connection.cleanStart || connection.expirySeconds === 0) connection.client.strayEnd = true
    for (const check of this.hear.lateConnack) check.onLateConnack(connection, this.timeUs)
  }

  private accepted(present: boolean | undefined): void {
    const connection = this.connection
    const client = connection.client
    const sentAtUs = this.decoder.frameSentAtUs
    const former = client.session
    const knowledge = this.knowledge(connection, former, sentAtUs)
    const early = connection.session
    let session: Session
    if (present !== false && former !== undefined && !connection.cleanStart) {
      session = former
      if (present || knowledge === 'surely-there') session.ended = false
      else this.ledger.end(session, false)
      if (early !== undefined) this.adopt(session, early)
    } else {
      session = early ?? this.ledger.newSession(client)
      if (former !== undefined) this.ledger.end(former, true)
    }
    session.expirySeconds = connection.expirySeconds
    session.connections++
    session.lastProofUs = sentAtUs
    connection.session = session
    connection.connackAtUs = this.timeUs
    connection.connackSentAtUs = sentAtUs
    client.session = session
    client.current = connection
    if (client.accepted > 0) this.ledger.totals.reconnects++
    client.accepted++
    for (const check of this.hear.connack) check.onConnack(connection, present, knowledge, former, this.timeUs)
  }

  private knowledge(connection: Connection, former: Session | undefined, sentAtUs: number): SessionKnowledge {
    const client = connection.client
    if (client.connects <= 1) return 'surely-none'
    if (former === undefined || former.expirySeconds === 0 || client.strayEnd) return 'unknown'
    for (const rival of client.connections) {
      const open = rival !== connection && rival.connackAtUs === NEVER && rival.connectSentAtUs !== NEVER
      if (open && (rival.cleanStart || rival.expirySeconds === 0)) return 'unknown'
    }
    return sentAtUs - former.lastProofUs < former.expirySeconds * 1_000_000 ? 'surely-there' : 'unknown'
  }

  /** What was sent ahead of a CONNACK belongs to the session that it told of. */
  private adopt(session: Session, early: Session): void {
    for (const publication of early.outgoing.values()) {
      const open = session.outgoing.get(publication.packetId)
      if (open !== undefined && open.flow === publication.flow && open.sequence === publication.sequence) {
        open.connectionId = publication.connectionId
        open.order = publication.order
      } else session.outgoing.set(publication)
    }
    for (const each of early.subscriptions) {
      this.ledger.request(session, each.filter, each.requestedQos, each.noLocal, each.retainAsPublished, each.identifier)
    }
    const open = this.connection.openSubscribes
    if (open !== undefined) {
      this.connection.openSubscribes = open.map((each) => ({
        ...each,
        subscriptions: each.subscriptions.map((subscription) => session.subscription(subscription.filter) ?? subscription),
      }))
    }
    this.ledger.end(early, true)
  }
}

function take<T extends { readonly packetId: number }>(open: T[] | undefined, packetId: number | undefined): T | undefined {
  const at = open?.findIndex((each) => each.packetId === packetId) ?? -1
  return at < 0 ? undefined : open!.splice(at, 1)[0]
}
