/**
 * What a check may hear. The witness calls these, in the order of true time; a check implements those it needs, and none of them costs anything where
 * nobody listens.
 */
import type { Packet } from 'mqtt-packet'
import type { CloseReason } from '../model/host.ts'
import type { Fault, HistoryEntry, MachineSpec } from '../model/world.ts'
import type { Ages } from './ages.ts'
import type { Calm } from './calm.ts'
import type { AcknowledgementKind, PublishFrame } from './decoder.ts'
import type { Disturbance } from './disturbance.ts'
import type { Ledger } from './ledger.ts'
import type { Findings, PromiseId } from './promise.ts'
import type { Client, ClientFacts, Connection, Flow, Incoming, Inflow, OpenSubscribe, Publication, Session } from './state.ts'

/** The acts of a run. */
export type Act = 'warm-up' | 'faults' | 'healed' | 'drained'

export interface CheckContext {
  /** By client id. */
  readonly clients: ReadonlyMap<string, ClientFacts>
  /** The region's machines and the clients': which promise is due where depends on what a fault takes away. */
  readonly machines: readonly Pick<MachineSpec, 'name' | 'zone' | 'role' | 'standby'>[]
  readonly budgets: {
    readonly reconnectMs: number
    readonly routesMs: number
    readonly progressMs: number
    readonly consoleMs: number
    readonly replacementMs: number
  }
  /** So many messages a 3.x client may leave unacknowledged before the service holds back. */
  readonly window3x: number
  /** How long messages are kept, how many of a shard make a segment at most and how long one goes on, and which shard a topic is in; `retention` is judged where it is given. */
  readonly retention?: {
    readonly retentionMs: number
    readonly segmentMessages: number
    readonly segmentMs: number
    shardOfTopic(topic: string): number
  }
  /** What the region's load balancers are set to, and its instance group: what `readmission` and `replaced` hold them to. */
  readonly loadBalancer: {
    readonly probe: 'tcp' | 'mqtt'
    readonly probeIntervalMs: number
    readonly probeTimeoutMs: number
    readonly unhealthyThreshold: number
    readonly healthyThreshold: number
    readonly slowStartMs: number
    readonly drainMs: number
    readonly crossZone: boolean
  }
  readonly instanceGroup: { readonly probeIntervalMs: number; readonly recheckIntervalMs: number; readonly takeBackAfterMs: number }
  /** How often brokers look whether the shards are fairly spread; 0 or absent: never. */
  readonly rebalanceIntervalMs?: number
  /** Which promises to check; all of them where absent. */
  readonly promises?: readonly PromiseId[]
}

/** What all checks share. */
export interface Shared {
  readonly context: CheckContext
  readonly ledger: Ledger
  readonly disturbance: Disturbance
  readonly calm: Calm
  readonly ages: Ages
}

/** A PUBLISH that a client received. There is one of these for all: what is to be kept is copied out. */
export interface Delivery {
  connection: Connection
  session: Session
  inflow: Inflow
  flow: Flow
  sequence: number
  qos: number
  dup: boolean
  /** 0 at QoS 0. */
  packetId: number
  /** This session did not have it before. */
  first: boolean
  /** The same delivery as before: its packet identifier was not released since. */
  repeated: boolean
  /** It has RETAIN, and a subscription with Retain As Published: it may be a live message as well as a retained one. */
  mayBeRetained: boolean
  /** The packet itself. */
  frame: PublishFrame
  timeUs: number
}

/** What the witness knows of a session when a CONNACK speaks of it. */
export type SessionKnowledge = 'surely-there' | 'surely-none' | 'unknown'

export interface Check extends Hearing {
  readonly findings: Findings
}

export interface Hearing {
  onConnectStarted?(connection: Connection, timeUs: number): void
  onConnectionOpened?(connection: Connection, timeUs: number): void
  onConnectSent?(connection: Connection, timeUs: number): void
  /**
   * An accepting CONNACK; `connection.session` is set. `present` is undefined where the CONNACK cannot tell. `former` is the session that was there before, as far
   * as we knew.
   */
  onConnack?(
    connection: Connection,
    present: boolean | undefined,
    knowledge: SessionKnowledge,
    former: Session | undefined,
    timeUs: number,
  ): void
  /** The client gave up the accepted connection that it had, and left it open: it begins another. */
  onLeft?(connection: Connection, timeUs: number): void
  /** An accepting CONNACK on a connection that its client had left: the session is its own now, and nobody is there. */
  onLateConnack?(connection: Connection, timeUs: number): void
  onClosed?(connection: Connection, reason: CloseReason, by: 'self' | 'peer', timeUs: number): void
  /** The client's process ended, or its machine lost power: it knows nothing any more of what it had open. */
  onStoreLost?(client: Client, timeUs: number): void

  onSubscribeSent?(connection: Connection, open: OpenSubscribe, timeUs: number): void
  /** The SUBACK of a SUBSCRIBE, with one code a filter. */
  onSubscribed?(connection: Connection, open: OpenSubscribe, codes: readonly number[], timeUs: number): void
  onUnsubscribeSent?(session: Session, timeUs: number): void

  /** First packets and repetitions; `kind` says which. `publication` is undefined for QoS 0. */
  onPublishSent?(
    connection: Connection,
    flow: Flow,
    sequence: number,
    publication: Publication | undefined,
    kind: 'new' | 'resent' | 'republished',
    timeUs: number,
  ): void
  /** PUBACK or the first PUBREC; `accepted` when its reason code is below 0x80. `first`: this message was not acknowledged before. */
  onAnswered?(connection: Connection, publication: Publication, accepted: boolean, first: boolean, timeUs: number, reasonCode: number): void
  /** The client sent PUBREL; `publication` is undefined where none of that identifier is known. */
  onReleaseSent?(connection: Connection, packetId: number, publication: Publication | undefined, timeUs: number): void
  /** A message of ours that was surely published; before it is counted as delivered. */
  onDelivery?(delivery: Delivery): void
  /** The same of a retained message that comes because of a SUBSCRIBE: it counts as no delivery of the message itself. */
  onRetainedDelivery?(delivery: Delivery): void
  /** A message that was never published so. */
  onPhantom?(connection: Connection, topic: string, why: string, timeUs: number): void
  /** The client acknowledged a message (PUBACK, PUBREC, PUBCOMP). */
  onAcknowledgementSent?(connection: Connection, incoming: Incoming, timeUs: number): void
  /** The server sent something that only the owner of the client's session may send. */
  onSpoken?(connection: Connection, sentAtUs: number, timeUs: number): void

  // Packets from the server, before the witness has taken them in.
  onServerPublish?(connection: Connection, frame: PublishFrame, timeUs: number): void
  onServerAcknowledgement?(connection: Connection, kind: AcknowledgementKind, packetId: number, frameBytes: number, timeUs: number): void
  onServerPingresp?(connection: Connection, timeUs: number): void
  onServerPacket?(connection: Connection, packet: Packet, frameBytes: number, timeUs: number): void
  onServerMalformed?(connection: Connection, statement: string, text: string, timeUs: number): void

  onFault?(fault: Fault, phase: 'applied' | 'healed', timeUs: number): void
  onProcessStarted?(machine: string, timeUs: number): void
  onProcessEnded?(machine: string, cause: 'injected' | 'threw' | 'stopped', error: string | undefined, timeUs: number): void
  onPowerLost?(machine: string, timeUs: number): void
  onEntry?(entry: HistoryEntry): void
  onAct?(act: Act, timeUs: number): void
  onCopies?(volume: number, logs: readonly CopyLog[]): void
  onAudited?(topic: string, publisher: number, sequence: number, payloadOk: boolean): void
  /** The oldest message that the service still had of a topic, as a look during the run found; undefined: none. */
  onOldest?(topic: string, oldest: OldestMessage | undefined, askedUs: number, timeUs: number): void
  onAuditEnded?(topic: string, failure: string | undefined): void

  /** About once a second of true time, after `Ledger.sweep`; the last one just before `finish`. */
  onSweep?(nowUs: number): void
  /** The observation ends. */
  finish?(timeUs: number): void
}

export interface OldestMessage {
  readonly publisher: number
  readonly sequence: number
}

/** The durable bytes of a volume's log on one machine. */
export interface CopyLog {
  readonly machine: string
  readonly bytes: Buffer
}

/** A client that should be served: it once began to connect, and did not say goodbye. */
export function wantsService(client: Client): boolean {
  return client.connects > 0 && !client.retired
}
