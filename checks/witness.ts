/**
 * The witness: sees the raw bytes at every client's socket, decodes both directions, and tells the checks what was published, acknowledged and delivered.
 * It keeps the state of `state.ts`; what it cannot know, because a packet may or may not have been processed, it keeps as unknown.
 *
 * A session is surely there when a CONNACK said so, its expiry has not run out since the server last spoke on it, and no CONNECT that would end it is left
 * unanswered. It is surely not there when no CONNECT was ever sent. All else is unknown.
 * Left out: the client's own conduct is taken as it comes; a client that loses its memory is not known as such.
 */
import type { Packet } from 'mqtt-packet'
import type { CloseReason } from '../model/host.ts'
import type { SocketObserver } from '../model/world.ts'
import type { Check, Delivery, SessionKnowledge } from './check.ts'
import { type AcknowledgementKind, DEAD_STREAM, Decoder, type FrameSink, type PublishFrame } from './decoder.ts'
import type { Ledger } from './ledger.ts'
import { isGenuinePayload, isPayloadHeader, publisherAt, sequenceAt } from './payload.ts'
import { Connection, FOR_EVER, type Flow, type Incoming, type Inflow, NEVER, NOTHING, type OpenSubscribe, type OpenUnsubscribe, type Publication, type Session } from './state.ts'

const SWEEP_INTERVAL_US = 1_000_000

/** Those of the checks that listen to each event; a message must not pay for the deaf ones. */
function listeners(checks: readonly Check[]) {
  const hearing = <K extends keyof Check>(name: K) =>
    checks.filter((check): check is Check & Required<Pick<Check, K>> => check[name] !== undefined)
  return {
    connectStarted: hearing('onConnectStarted'),
    connectionOpened: hearing('onConnectionOpened'),
    connectSent: hearing('onConnectSent'),
    connack: hearing('onConnack'),
    closed: hearing('onClosed'),
    publishSent: hearing('onPublishSent'),
    answered: hearing('onAnswered'),
    delivery: hearing('onDelivery'),
    phantom: hearing('onPhantom'),
    acknowledgementSent: hearing('onAcknowledgementSent'),
    spoken: hearing('onSpoken'),
    serverPublish: hearing('onServerPublish'),
    serverAcknowledgement: hearing('onServerAcknowledgement'),
    serverPingresp: hearing('onServerPingresp'),
    serverPacket: hearing('onServerPacket'),
    serverMalformed: hearing('onServerMalformed'),
    sweep: hearing('onSweep'),
  }
}

export class Witness implements SocketObserver {
  private readonly ledger: Ledger
  private readonly hear: ReturnType<typeof listeners>
  private readonly connections = new Map<number, Connection>()
  private readonly decoder = new Decoder()
  private readonly toServer: FrameSink
  private readonly toClient: FrameSink
  /** The connection and time of the bytes at hand. */
  private connection!: Connection
  private timeUs = 0
  private nextSweepUs = SWEEP_INTERVAL_US
  private readonly delivery = {} as Delivery

  constructor(ledger: Ledger, checks: readonly Check[]) {
    this.ledger = ledger
    this.hear = listeners(checks)
    this.toServer = {
      onPublish: (frame) => this.publishSent(frame),
      onAcknowledgement: (kind, packetId, reasonCode) => this.acknowledgementSent(kind, packetId, reasonCode),
      onPing: () => {
        this.connection.openPings++
      },
      onPacket: (packet) => this.packetSent(packet),
      // A client that sends rubbish is no fault of the service; its stream is read no further.
      onMalformed: () => {},
    }
    this.toClient = {
      onPublish: (frame) => this.publishReceived(frame),
      onAcknowledgement: (kind, packetId, reasonCode, frameBytes) => this.acknowledgementReceived(kind, packetId, reasonCode, frameBytes),
      onPing: (kind) => this.pingReceived(kind),
      onPacket: (packet, frameBytes) => this.packetReceived(packet, frameBytes),
      onMalformed: (statement, text) => {
        for (const check of this.hear.serverMalformed) check.onServerMalformed(this.connection, statement, text, this.timeUs)
      },
    }
  }

  /** True time goes on; every observation calls this first. */
  tick(timeUs: number): void {
    this.ledger.nowUs = timeUs
    if (timeUs < this.nextSweepUs) return
    this.nextSweepUs = timeUs + SWEEP_INTERVAL_US
    this.sweep(timeUs)
  }

  sweep(timeUs: number): void {
    this.ledger.sweep(timeUs)
    for (const check of this.hear.sweep) check.onSweep(timeUs)
  }

  onConnect(connectionId: number, machine: string, label: string, timeUs: number): void {
    this.tick(timeUs)
    const client = this.ledger.client(label)
    const connection = new Connection(connectionId, client, machine, timeUs)
    this.connections.set(connectionId, connection)
    client.connecting(connection)
    client.retired = false
    client.machine = machine
    for (const check of this.hear.connectStarted) check.onConnectStarted(connection, timeUs)
  }

  onOpen(connectionId: number, timeUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    connection.openedAtUs = timeUs
    for (const check of this.hear.connectionOpened) check.onConnectionOpened(connection, timeUs)
  }

  onSent(connectionId: number, bytes: Buffer, timeUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    this.connection = connection
    this.timeUs = timeUs
    connection.toServer = this.decoder.decode(connection.toServer, bytes, timeUs, connection, this.toServer)
  }

  onReceived(connectionId: number, bytes: Buffer, timeUs: number, sentAtUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    this.connection = connection
    this.timeUs = timeUs
    connection.toClient = this.decoder.decode(connection.toClient, bytes, sentAtUs, connection, this.toClient)
  }

  onClosed(connectionId: number, reason: CloseReason, by: 'self' | 'peer', timeUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    this.connections.delete(connectionId)
    connection.closed = true
    connection.toServer = DEAD_STREAM
    connection.toClient = DEAD_STREAM
    const client = connection.client
    client.disconnected(connection)
    if (client.current === connection) client.current = undefined
    if (connection.connackAtUs === NEVER) this.closedUnaccepted(connection)
    else if (client.current === undefined && connection.session === client.session && connection.session?.expirySeconds === 0) {
      this.ledger.end(connection.session)
    }
    if (connection.clientDisconnected && client.connections.length === 0) client.retired = true
    for (const check of this.hear.closed) check.onClosed(connection, reason, by, timeUs)
  }

  /** What it sent may still be processed, or have been. */
  private closedUnaccepted(connection: Connection): void {
    const client = connection.client
    if (connection.serverEnded !== undefined || connection.connectSentAtUs === NEVER) return
    if (connection.cleanStart || connection.expirySeconds === 0) client.strayEnd = true
    for (const subscription of connection.session?.subscriptions ?? []) {
      if (client.looseFilters === undefined) client.looseFilters = []
      if (!client.looseFilters.includes(subscription.filter)) client.looseFilters.push(subscription.filter)
    }
  }

  // From the client

  private publishSent(frame: PublishFrame): void {
    const connection = this.connection
    const session = this.sessionOf(connection)
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
    if (fresh) ledger.totals.published++
    if (!inOrder) ledger.republished(flow, sequence, session.incarnation)
    const kind = fresh ? 'new' : 'republished'
    for (const check of this.hear.publishSent) check.onPublishSent(this.connection, flow, sequence, publication, kind, this.timeUs)
  }

  private acknowledgementSent(kind: AcknowledgementKind, packetId: number, reasonCode: number): void {
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

  private packetSent(packet: Packet): void {
    const connection = this.connection
    switch (packet.cmd) {
      case 'connect': {
        const version = packet.protocolVersion ?? 4
        connection.version = version
        connection.cleanStart = packet.clean ?? true
        const stated = packet.properties?.sessionExpiryInterval
        if (version === 5) connection.expirySeconds = Math.min(stated ?? 0, FOR_EVER)
        else connection.expirySeconds = connection.cleanStart ? 0 : Math.min(connection.client.facts.sessionExpirySeconds, FOR_EVER)
        connection.receiveMaximum = packet.properties?.receiveMaximum ?? 65_535
        connection.maximumPacketBytes = packet.properties?.maximumPacketSize ?? NOTHING
        connection.connectSentAtUs = this.timeUs
        for (const check of this.hear.connectSent) check.onConnectSent(connection, this.timeUs)
        connection.client.connects++
        return
      }
      case 'subscribe': {
        const session = this.sessionOf(connection)
        const subscriptions = packet.subscriptions.map((each) => this.ledger.request(session, each.topic, each.qos, each.nl === true))
        const open: OpenSubscribe = { packetId: packet.messageId ?? 0, subscriptions, requestedQos: packet.subscriptions.map((each) => each.qos) }
        if (connection.openSubscribes === undefined) connection.openSubscribes = []
        connection.openSubscribes.push(open)
        return
      }
      case 'unsubscribe': {
        const session = this.sessionOf(connection)
        for (const filter of packet.unsubscriptions) this.ledger.leave(session, filter)
        const open: OpenUnsubscribe = { packetId: packet.messageId ?? 0, filters: packet.unsubscriptions }
        if (connection.openUnsubscribes === undefined) connection.openUnsubscribes = []
        connection.openUnsubscribes.push(open)
        return
      }
      case 'disconnect': {
        connection.clientDisconnected = true
        const expiry = packet.properties?.sessionExpiryInterval
        if (expiry !== undefined && connection.session !== undefined) {
          connection.session.expirySeconds = Math.min(expiry, FOR_EVER)
        }
        return
      }
      default:
    }
  }

  /** The session of a connection; where no CONNACK has come yet, one to hold what was sent ahead of it. */
  private sessionOf(connection: Connection): Session {
    if (connection.session === undefined) connection.session = this.ledger.newSession(connection.client)
    return connection.session
  }

  // From the server

  private spoken(what: string): void {
    const connection = this.connection
    const sentAtUs = this.decoder.frameSentAtUs
    connection.lastSpokenUs = sentAtUs
    connection.lastSpoken = what
    if (connection.session !== undefined) connection.session.lastProofUs = sentAtUs
    for (const check of this.hear.spoken) check.onSpoken(connection, sentAtUs, this.timeUs)
  }

  private publishReceived(frame: PublishFrame): void {
    const connection = this.connection
    for (const check of this.hear.serverPublish) check.onServerPublish(connection, frame, this.timeUs)
    this.spoken('PUBLISH')
    const session = connection.session
    const topicName = frame.topicAlias === 0 ? frame.topic : aliased(connection, 'aliasesToClient', frame)
    if (session === undefined || topicName === undefined) return
    const { bytes, payloadStart, payloadEnd, qos } = frame
    let flow: Flow | undefined
    let sequence = 0
    let inflow = session.lastInflow
    if (!isGenuinePayload(bytes, payloadStart, payloadEnd)) this.phantom(topicName, 'its payload is not, byte for byte, one that was published')
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
    if (qos > 0) this.received(session, frame.packetId, flow, sequence, qos)
    if (flow !== undefined) this.delivered(session, inflow!, flow, sequence, frame)
  }

  private phantom(topicName: string, why: string): void {
    for (const check of this.hear.phantom) check.onPhantom(this.connection, topicName, why, this.timeUs)
  }

  private received(session: Session, packetId: number, flow: Flow | undefined, sequence: number, qos: number): void {
    const connection = this.connection
    const open: Incoming | undefined = session.incoming.get(packetId)
    if (open !== undefined && open.flow === flow && open.sequence === sequence) {
      if (open.connectionId !== connection.id) connection.openIncoming++
      open.connectionId = connection.id
      return
    }
    if (open === undefined || open.connectionId !== connection.id) connection.openIncoming++
    session.incoming.set({ packetId, flow, sequence, qos, connectionId: connection.id, received: false })
  }

  private delivered(session: Session, inflow: Inflow, flow: Flow, sequence: number, frame: PublishFrame): void {
    const delivery = this.delivery
    delivery.connection = this.connection
    delivery.session = session
    delivery.inflow = inflow
    delivery.flow = flow
    delivery.sequence = sequence
    delivery.qos = frame.qos
    delivery.dup = frame.dup
    delivery.first = !inflow.delivered.has(sequence)
    delivery.timeUs = this.timeUs
    const listening = this.hear.delivery
    for (let i = 0; i < listening.length; i++) listening[i]!.onDelivery(delivery)
    if (delivery.first) {
      inflow.delivered.add(sequence)
      this.ledger.totals.delivered++
    } else this.ledger.totals.duplicates++
  }

  private acknowledgementReceived(kind: AcknowledgementKind, packetId: number, reasonCode: number, frameBytes: number): void {
    const connection = this.connection
    for (const check of this.hear.serverAcknowledgement) check.onServerAcknowledgement(connection, kind, packetId, frameBytes, this.timeUs)
    this.spoken(kind.toUpperCase())
    const session = connection.session
    const publication = session?.outgoing.get(packetId)
    if (session === undefined || publication === undefined || kind === 'pubrel') return
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
    if (accepted) {
      first = this.ledger.acknowledged(publication.flow, publication.sequence, this.timeUs)
      if (first) this.ledger.totals.acknowledged++
    }
    for (const check of this.hear.answered) check.onAnswered(connection, publication, accepted, first, this.timeUs)
  }

  private pingReceived(kind: 'pingreq' | 'pingresp'): void {
    const connection = this.connection
    if (kind === 'pingreq') {
      for (const check of this.hear.serverMalformed) check.onServerMalformed(connection, 'MQTT-3.12', 'PINGREQ from a server', this.timeUs)
      return
    }
    for (const check of this.hear.serverPingresp) check.onServerPingresp(connection, this.timeUs)
    if (connection.openPings > 0) connection.openPings--
    if (connection.session !== undefined) connection.session.lastProofUs = this.decoder.frameSentAtUs
  }

  private packetReceived(packet: Packet, frameBytes: number): void {
    const connection = this.connection
    for (const check of this.hear.serverPacket) check.onServerPacket(connection, packet, frameBytes, this.timeUs)
    switch (packet.cmd) {
      case 'connack':
        if ((packet.reasonCode ?? packet.returnCode ?? 0) !== 0) connection.serverEnded = 'connack'
        else if (connection.connackAtUs === NEVER) {
          const granted = packet.properties?.sessionExpiryInterval
          if (granted !== undefined) connection.expirySeconds = Math.min(granted, FOR_EVER)
          this.accepted(packet.sessionPresent)
        }
        return
      case 'suback': {
        this.spoken('SUBACK')
        const open = take(connection.openSubscribes, packet.messageId)
        const codes = packet.granted as readonly number[]
        open?.subscriptions.forEach((subscription, index) => {
          const code = codes[index]
          if (code !== undefined && !subscription.session.ended) this.ledger.grant(subscription, code)
        })
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

  private accepted(present: boolean): void {
    const connection = this.connection
    const client = connection.client
    const sentAtUs = this.decoder.frameSentAtUs
    const former = client.session
    const knowledge = this.knowledge(connection, former, sentAtUs)
    const early = connection.session
    let session: Session
    if (present && former !== undefined && !connection.cleanStart) {
      session = former
      session.ended = false
      if (early !== undefined) this.adopt(session, early)
    } else {
      session = early ?? this.ledger.newSession(client)
      if (former !== undefined) this.ledger.end(former)
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
    for (const each of early.subscriptions) this.ledger.request(session, each.filter, each.requestedQos, each.noLocal)
    const open = this.connection.openSubscribes
    if (open !== undefined) {
      this.connection.openSubscribes = open.map((each) => ({
        ...each,
        subscriptions: each.subscriptions.map((subscription) => session.subscription(subscription.filter) ?? subscription),
      }))
    }
    this.ledger.end(early)
  }
}

function take<T extends { readonly packetId: number }>(open: T[] | undefined, packetId: number | undefined): T | undefined {
  const at = open?.findIndex((each) => each.packetId === packetId) ?? -1
  return at < 0 ? undefined : open!.splice(at, 1)[0]
}

/** Resolves a topic alias, or learns it. */
function aliased(connection: Connection, key: 'aliasesToServer' | 'aliasesToClient', frame: PublishFrame): string | undefined {
  if (frame.topic === '') return connection[key]?.get(frame.topicAlias)
  let aliases = connection[key]
  if (aliases === undefined) {
    aliases = new Map()
    connection[key] = aliases
  }
  aliases.set(frame.topicAlias, frame.topic)
  return frame.topic
}
