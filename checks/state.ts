/**
 * What the witnesses know of clients, connections, sessions and messages, as seen at the clients' sockets. The witness writes it, the checks read it.
 *
 * A message is its publisher and sequence. A flow is what one publisher sent to one topic at one QoS; an inflow is a flow as one subscriber session gets it.
 * Both keep intervals of sequences, never a record a message; single messages are held only while they are open.
 */

import { appended, NONE, OpenPackets, without } from './collections.ts'
import type { PendingBytes } from './decoder.ts'
import { IntervalSet } from './intervals.ts'
import { TlsRecords } from './tls-records.ts'

/** What the scenario says of a client. */
export interface ClientFacts {
  /** The publisher number in its payloads. */
  readonly number: number
  readonly version: 3 | 4 | 5
  readonly cleanStart: boolean
  /** For how long the service keeps its session; 3.x with clean session 0 says nothing of it on the wire. May be `Infinity`. */
  readonly sessionExpirySeconds: number
  /** How long it takes this client at most to notice that its connection is dead: when something was open, and when nothing was. */
  readonly detectionOpenMs: number
  readonly detectionIdleMs: number
  /** Its own budget for `reconnect-in-time`, in place of the scenario's. */
  readonly reconnectMs?: number
  /** It connects over TLS: a handshake stands before its first packet, and the server's. */
  readonly tls?: boolean
  /** When it is away, by its own decision: nobody has to serve it. */
  readonly away?: readonly { readonly fromMs: number; readonly toMs: number }[]
}

export const NEVER = -1
/** Above every sequence. All numbers here stay small integers where they can, because each that does not costs 16 bytes more. */
export const NOTHING = 0x7fff_ffff
/** Seconds, in place of infinity: 68 years. */
export const FOR_EVER = 0x7fff_ffff

export class Topic {
  readonly name: string
  flows: readonly Flow[] = NONE
  /** Subscriptions whose filter is this very name. */
  subscriptions: Subscription[] | undefined = undefined
  /** Filters with wildcards that match it. */
  wildcards: WildcardFilter[] | undefined = undefined
  /** Something was published to it with RETAIN that is none of our messages: it may have emptied the register, or be in it. */
  foreignRetained = false

  constructor(name: string) {
    this.name = name
  }
}

export interface WildcardFilter {
  readonly filter: string
  subscriptions: Subscription[]
  readonly topics: Topic[]
}

/** What one publisher sent to one topic at one QoS. */
export class Flow {
  readonly publisher: number
  readonly topic: Topic
  readonly qos: number
  readonly sent = new IntervalSet()
  readonly acked = new IntervalSet()
  /** What the auditor read back, once it did. */
  stored: IntervalSet | undefined = undefined
  inflows: Inflow[] | undefined = undefined
  /** The publisher's incarnation that sent first, and pairs (first sequence, incarnation) of later ones. */
  firstIncarnation = NEVER
  laterIncarnations: number[] | undefined = undefined
  /** Sequences that were published more than once, and the incarnation of the last time. */
  republished: Map<number, number> | undefined = undefined
  /** Payload size while all were equal, else -1. */
  payloadBytes = 0
  /** Message Expiry Interval while all were equal, else -1; `FOR_EVER` where none was given. */
  expirySeconds = FOR_EVER
  /** Those that were published with RETAIN. */
  retained: IntervalSet | undefined = undefined
  /** Those that are wills: published by the service, once at most, and acknowledged to nobody. */
  wills: IntervalSet | undefined = undefined
  /** Something was acknowledged, or was found undelivered, since the last sweep. */
  active = false
  lastAckUs = NEVER
  /** The lowest sequence acknowledged out of order since the last sweep. */
  lateAck = NOTHING
  /** The greatest sequence sent before the fault of this number (`Ledger.faultNumber`). */
  faultNumber = 0
  sentBeforeFault = -1

  constructor(publisher: number, topic: Topic, qos: number) {
    this.publisher = publisher
    this.topic = topic
    this.qos = qos
  }

  incarnationOf(sequence: number): number {
    const later = this.laterIncarnations
    if (later !== undefined) {
      for (let i = later.length - 2; i >= 0; i -= 2) if (later[i]! <= sequence) return later[i + 1]!
    }
    return this.firstIncarnation
  }
}

/** A flow as one subscriber session gets it. */
export class Inflow {
  readonly session: Session
  readonly flow: Flow
  readonly delivered = new IntervalSet()
  /** Acknowledged messages from this sequence on are due. */
  dueFrom = NOTHING
  /** Below `dueFrom`, and due because they were published anew after the SUBACK. */
  extraDue: IntervalSet | undefined = undefined
  /** Every due message below was delivered when last looked at. */
  settled = 0
  /** The lowest due message found undelivered, and since when it is that. */
  pendingSequence = NEVER
  pendingSinceUs = 0
  /** The greatest QoS of the subscriptions that may be in force for it, or -1. */
  maximumQos = -1
  /** Once the last of them was surely gone: messages up to this one may still come. */
  leftoverUpTo = -1
  /** For messages from here on it is known which subscriptions, with which options, were in force. */
  constantFrom = NOTHING
  /** The greatest QoS that they granted, or -1. */
  grantedQos = -1
  /** What the shared groups that the session is a member of, or was, got of the flow. */
  groups: readonly Inflow[] | undefined = undefined

  constructor(session: Session, flow: Flow) {
    this.session = session
    this.flow = flow
  }

  /** A message below `dueFrom` was published anew while a subscription is in force. */
  addExtraDue(sequence: number): void {
    if (this.session.ended || this.dueFrom === NOTHING || sequence >= this.dueFrom) return
    if (this.extraDue === undefined) this.extraDue = new IntervalSet()
    this.extraDue.add(sequence)
  }
}

export class Subscription {
  readonly session: Session
  readonly filter: string
  requestedQos: number
  /** Before the SUBACK -1. */
  grantedQos = -1
  /** When the first SUBACK came. */
  grantedAtUs = NEVER
  noLocal: boolean
  retainAsPublished = false
  /** It was so at some time. */
  everRetainAsPublished = false
  /** Its subscription identifier, or 0; and those that it had before. */
  identifier = 0
  formerIdentifiers: readonly number[] = NONE
  /** A SUBSCRIBE for it was sent that is not answered. */
  asked = true
  /** UNSUBSCRIBE was sent. */
  leaving = false
  /** UNSUBACK was received, or the SUBACK refused it. */
  gone = false

  constructor(session: Session, filter: string, requestedQos: number, noLocal: boolean) {
    this.session = session
    this.filter = filter
    this.requestedQos = requestedQos
    this.noLocal = noLocal
  }
}

/** A publish of the client with QoS 1 or 2 that is not answered yet. */
export interface Publication {
  readonly packetId: number
  /** Undefined where the payload is not one of ours. */
  readonly flow: Flow | undefined
  readonly sequence: number
  readonly qos: number
  readonly firstSentAtUs: number
  /** The connection it was last sent on, and its place in the order of that connection's publishes. */
  connectionId: number
  order: number
  /** PUBREC was received. */
  received: boolean
  /** The client sent PUBREL. */
  releaseSent: boolean
  /** Its packet identifier was still that of another message of QoS 2: the service may take it for that one. */
  readonly mistakable: boolean
}

/** A message with QoS 1 or 2 that the client has received and not acknowledged. */
export interface Incoming {
  readonly packetId: number
  readonly flow: Flow | undefined
  readonly sequence: number
  readonly qos: number
  /** The connection it was last received on. */
  connectionId: number
  /** The client sent PUBREC. */
  received: boolean
  /** The connection that PUBREL was last received on, or -1. */
  releasedOn: number
}

/** The message that the service is to publish when a connection ends without a goodbye. */
export interface Will {
  readonly flow: Flow
  readonly sequence: number
  readonly retain: boolean
  readonly expires: boolean
  readonly delaySeconds: number
  /** When a subscriber first received it. */
  seenAtUs: number
}

/** Those who share a filter of the form `$share/{group}/{filter}`. */
export interface SharedGroup {
  /** Stands for the members in the inflows of what the group as a whole got. */
  readonly hub: Session
  members: Subscription[]
  /** Some member is surely in force, each that may be is granted QoS 1 or 2, and none is about to leave. */
  sure: boolean
}

const FEW = 8

/** One incarnation of a client's session, from a CONNACK with session present 0 to its end. */
export class Session {
  readonly client: Client
  /** Unique among all sessions. */
  readonly incarnation: number
  /** 0: it ends with its connection. */
  expirySeconds = 0
  subscriptions: readonly Subscription[] = NONE
  inflows: readonly Inflow[] = NONE
  lastInflow: Inflow | undefined = undefined
  readonly outgoing = new OpenPackets<Publication>()
  readonly incoming = new OpenPackets<Incoming>()
  /** It ended, or may have. */
  ended = false
  /** When the server last spoke to it on a connection. */
  lastProofUs = 0
  connections = 0
  private inflowsByFlow: Map<Flow, Inflow> | undefined = undefined

  constructor(client: Client, incarnation: number) {
    this.client = client
    this.incarnation = incarnation
  }

  inflowOf(flow: Flow): Inflow | undefined {
    if (this.inflowsByFlow !== undefined) return this.inflowsByFlow.get(flow)
    const inflows = this.inflows
    for (let i = 0; i < inflows.length; i++) if (inflows[i]!.flow === flow) return inflows[i]
    return undefined
  }

  addInflow(inflow: Inflow): void {
    this.inflows = appended(this.inflows as Inflow[], inflow)
    if (this.inflowsByFlow !== undefined) this.inflowsByFlow.set(inflow.flow, inflow)
    else if (this.inflows.length > FEW) this.inflowsByFlow = new Map(this.inflows.map((each) => [each.flow, each]))
  }

  addSubscription(subscription: Subscription): void {
    this.subscriptions = appended(this.subscriptions as Subscription[], subscription)
  }

  removeSubscription(subscription: Subscription): void {
    this.subscriptions = without(this.subscriptions, subscription)
  }

  subscription(filter: string): Subscription | undefined {
    const subscriptions = this.subscriptions
    for (let i = 0; i < subscriptions.length; i++) if (subscriptions[i]!.filter === filter) return subscriptions[i]
    return undefined
  }

  /** When the first of its publishes that are still open was first sent, or -1. */
  oldestOpenUs(): number {
    for (const publication of this.outgoing.values()) return publication.firstSentAtUs
    return NEVER
  }
}

export class Client {
  readonly id: string
  readonly facts: ClientFacts
  /** Connections it has not seen the end of, oldest first. */
  connections: readonly Connection[] = NONE
  /** The latest that was accepted, while it is open. */
  current: Connection | undefined = undefined
  session: Session | undefined = undefined
  /** Accepted connections so far. */
  accepted = 0
  /** CONNECTs sent so far. */
  connects = 0
  /** A CONNECT that ends the session went unanswered: it may be processed at any later time. */
  strayEnd = false
  /** Filters of SUBSCRIBEs on connections that were never acknowledged: they may be in force. */
  looseFilters: string[] | undefined = undefined
  /** Where it last connected from. */
  machine: string | undefined = undefined
  /** It ended its last connection with DISCONNECT: it does not want to be served. */
  retired = false

  constructor(id: string, facts: ClientFacts) {
    this.id = id
    this.facts = facts
  }

  connecting(connection: Connection): void {
    this.connections = appended(this.connections as Connection[], connection)
  }

  disconnected(connection: Connection): void {
    this.connections = without(this.connections, connection)
  }
}

export interface OpenSubscribe {
  readonly packetId: number
  readonly subscriptions: readonly Subscription[]
  /** As the client asked for each, at the time. */
  readonly requestedQos: readonly number[]
  readonly retainHandling: readonly number[]
  /** Whether the session surely had no such subscription before. */
  readonly fresh: readonly boolean[]
  readonly sentAtUs: number
}

export interface OpenUnsubscribe {
  readonly packetId: number
  readonly filters: readonly string[]
}

export class Connection {
  readonly id: number
  readonly client: Client
  readonly machine: string
  readonly startedAtUs: number
  openedAtUs = NEVER
  connectSentAtUs = NEVER
  /** When the CONNACK arrived, and when the server wrote it; only an accepting one. */
  connackAtUs = NEVER
  connackSentAtUs = NEVER
  version = 0
  cleanStart = false
  expirySeconds = 0
  receiveMaximum = 65_535
  maximumPacketBytes = NOTHING
  topicAliasMaximum = 0
  keepaliveSeconds = 0
  will: Will | undefined = undefined
  /** What its CONNECT says of the CONNACK: the client has a name, asks for response information, names an authentication method. */
  named = true
  asksResponseInformation = false
  authenticates = false
  /** Before the CONNACK, one made for what was sent ahead of it. */
  session: Session | undefined = undefined
  /** A CONNACK with an error code, or DISCONNECT, was received: nothing may follow. */
  serverEnded: 'connack' | 'disconnect' | undefined = undefined
  clientDisconnected = false
  /** The reason code of the client's DISCONNECT, and when it was sent. */
  goodbye = NEVER
  goodbyeAtUs = NEVER
  /** Its client began another one while it was open: the server may not know that nobody listens any more. */
  left = false
  closed = false
  /** While a handshake may stand before what is said; of TLS clients only. */
  tlsToServer: TlsRecords | undefined = undefined
  tlsToClient: TlsRecords | undefined = undefined
  toServer: PendingBytes | undefined = undefined
  toClient: PendingBytes | undefined = undefined
  openPings = 0
  /** Identifiers of PUBRELs for which no publish is known. */
  strayReleases: Set<number> | undefined = undefined
  openSubscribes: OpenSubscribe[] | undefined = undefined
  openUnsubscribes: OpenUnsubscribe[] | undefined = undefined
  /** Messages with QoS above 0 received on this connection and not acknowledged. */
  openIncoming = 0
  publishOrder = 0
  /** The client sent a PUBLISH again on this same connection. */
  resentHere = false
  /** Places in the publish order of the latest PUBACK and PUBREC. */
  pubackOrder = 0
  pubrecOrder = 0
  /** When the server wrote the last packet that only a session's owner may send. */
  lastSpokenUs = NEVER
  lastSpoken = ''
  aliasesToServer: Map<number, string> | undefined = undefined
  aliasesToClient: Map<number, string> | undefined = undefined

  constructor(id: number, client: Client, machine: string, startedAtUs: number) {
    this.id = id
    this.client = client
    this.machine = machine
    this.startedAtUs = startedAtUs
    if (client.facts.tls !== true) return
    this.tlsToServer = new TlsRecords()
    this.tlsToClient = new TlsRecords()
  }
}
