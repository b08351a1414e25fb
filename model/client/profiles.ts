/**
 * Reconnect habits as data: what a client does when its connection is silent, lost or refused. `recommended` is what we advise; the others
 * do what real clients do, also where that is unwise. Facts about real clients carry their source.
 *
 * Left out: TLS, WebSocket, and what depends on the application (retrying a failed subscribe is taken as done by every application).
 */
import type { ResolverCache } from '../cloud/resolver.ts'
import type { ProtocolVersion } from '../wire/packets.ts'

/** How long to wait between rounds of attempts. */
export type ReconnectPolicy =
  | { readonly kind: 'fixed'; readonly periodMs: number }
  | {
      readonly kind: 'exponential'
      readonly firstMs: number
      readonly capMs: number
      /** The lower cap that holds for `earlyForMs` after the connection was lost. */
      readonly earlyCapMs: number
      readonly earlyForMs: number
      /** `full`: uniform between nothing and the wait of this round. */
      readonly jitter: 'full' | 'none'
    }

export interface ClientProfile {
  readonly name: string
  readonly version: ProtocolVersion
  readonly cleanStart: boolean
  /** MQTT 5 only; 0 ends the session with the connection. */
  readonly sessionExpirySeconds: number
  readonly keepaliveSeconds: number
  /**
   * What the keepalive counts from. `answers`: the last acknowledgement or PINGRESP; any answer also stands for the PINGRESP.
   * `sends-and-answers`: the older of the last packet sent and the last answer, so that whoever only sends notices a dead path too.
   */
  readonly keepaliveFrom: 'answers' | 'sends-and-answers'
  /** How long a PINGREQ may stay unanswered. */
  readonly pingTimeoutMs: number | 'half-keepalive'
  /** Closes the connection when a PUBLISH, PUBREL, SUBSCRIBE or UNSUBSCRIBE is unacknowledged for so long; undefined waits for ever. */
  readonly acknowledgeTimeoutMs: number | undefined
  /** From the SYN to CONNACK, for one address. */
  readonly connectTimeoutMs: number
  readonly reconnect: ReconnectPolicy
  /** How many addresses of one answer are tried in a round, in the order of the answer; each round resolves again. */
  readonly addresses: 'all' | 'first'
  /** How long an address that is not the last one may leave the SYN unanswered; undefined: as long as `connectTimeoutMs`. */
  readonly addressTimeoutMs: number | undefined
  /** Whether the next address is tried only when no TCP connection comes about, or also when CONNACK stays away or refuses. */
  readonly nextAddressOn: 'connect-failure' | 'any-failure'
  readonly onConnackError: 'close' | 'wait-for-server'
  readonly resolverCache: ResolverCache
  /** MQTT 3.1 has no session-present flag: the first then always subscribes, the second only with clean sessions. */
  readonly resubscribe: 'when-session-absent' | 'always-if-clean'
  /**
   * What becomes of unacknowledged publishes when the server kept no session. `publish-again`: new publications with new packet ids; those of QoS 2 whose
   * PUBREC came are done with. `same-ids`: PUBLISH and PUBREL are sent as if the session were there.
   */
  readonly unacknowledgedWithoutSession: 'publish-again' | 'same-ids'
  readonly resendSetsDup: boolean
  /** Sends what waited one message at a time, each after the acknowledgement of the one before, and subscribes only then. */
  readonly replayOneByOne: boolean
  /** Unacknowledged publishes at a time; an MQTT 5 server's Receive Maximum may lower it. */
  readonly inFlightLimit: number
  /** Messages that wait for a connection or for the window; the newest is dropped beyond it. */
  readonly queueLimit: number
  readonly queuesQoS0: boolean
  /** The client's own Receive Maximum (MQTT 5); undefined leaves it at 65,535. */
  readonly receiveMaximum: number | undefined
}

/** What we advise; numbers of the project's design. */
const recommended: ClientProfile = {
  name: 'recommended',
  version: 5,
  cleanStart: false,
  sessionExpirySeconds: 3600,
  keepaliveSeconds: 10,
  keepaliveFrom: 'sends-and-answers',
  pingTimeoutMs: 3000,
  acknowledgeTimeoutMs: 3000,
  connectTimeoutMs: 2000,
  reconnect: { kind: 'exponential', firstMs: 500, capMs: 30_000, earlyCapMs: 2000, earlyForMs: 10_000, jitter: 'full' },
  addresses: 'all',
  addressTimeoutMs: undefined,
  nextAddressOn: 'any-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  resubscribe: 'when-session-absent',
  unacknowledgedWithoutSession: 'publish-again',
  resendSetsDup: true,
  replayOneByOne: false,
  inFlightLimit: 64,
  queueLimit: 1000,
  queuesQoS0: false,
  receiveMaximum: 100,
}

/** MQTT.js 5.14.1 with its default options on Node 20 or later. */
const mqttJs: ClientProfile = {
  name: 'mqtt.js',
  // src/lib/client.ts, defaultConnectOptions: protocolVersion 4, clean true, keepalive 60, reconnectPeriod 1000, connectTimeout 30 s.
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 60,
  // src/lib/KeepaliveManager.ts: a timer of half the keepalive; the second tick pings, the third closes. It starts anew with each
  // acknowledgement and PINGRESP (src/lib/handlers/index.ts), not with what is sent or published to it.
  keepaliveFrom: 'answers',
  pingTimeoutMs: 'half-keepalive',
  acknowledgeTimeoutMs: undefined,
  connectTimeoutMs: 30_000,
  // src/lib/client.ts, _setupReconnect: setInterval, no back-off, no jitter.
  reconnect: { kind: 'fixed', periodMs: 1000 },
  // nodejs.org/api/net.html, socket.connect: autoSelectFamily (on since 20) tries all addresses in sequence, each but the last for 250 ms.
  addresses: 'all',
  addressTimeoutMs: 250,
  nextAddressOn: 'connect-failure',
  // src/lib/handlers/connack.ts: emits `error` and leaves the connection as it is, unless reconnectOnConnackError is set.
  onConnackError: 'wait-for-server',
  resolverCache: 'ttl',
  // src/lib/client.ts, _resubscribe: when clean, or from 3.1.1 on when the session was absent.
  resubscribe: 'always-if-clean',
  // src/lib/client.ts, _onConnect: replays the outgoing store whatever CONNACK said, PUBLISH and PUBREL unchanged (so without DUP), the next
  // one when the last is acknowledged; `connect`, and with it _resubscribe, comes after the whole store.
  unacknowledgedWithoutSession: 'same-ids',
  resendSetsDup: false,
  replayOneByOne: true,
  // No limit of its own. The queue has none either; ours keeps a simulated outage within memory.
  inFlightLimit: 65_535,
  queueLimit: 1000,
  // src/lib/client.ts: queueQoSZero defaults to true.
  queuesQoS0: true,
  receiveMaximum: undefined,
}

export type ProfileName = 'recommended' | 'mqtt.js'

export const clientProfiles: Readonly<Record<ProfileName, ClientProfile>> = { recommended, 'mqtt.js': mqttJs }

/** How long a PINGREQ may stay unanswered, given the keepalive in force. */
export function pingTimeoutMsOf(profile: ClientProfile, keepaliveSeconds: number): number {
  return profile.pingTimeoutMs === 'half-keepalive' ? keepaliveSeconds * 500 : profile.pingTimeoutMs
}

/**
 * The longest a client of this profile takes to notice that its path is dead, in ms from the last answer it received, where nothing tells it (no FIN, no RST).
 * `somethingOpen`: a PUBLISH or SUBSCRIBE is unacknowledged. Infinite with keepalive 0 and nothing else to notice it by.
 */
export function detectionBoundMs(profile: ClientProfile, somethingOpen: boolean, keepaliveSeconds = profile.keepaliveSeconds): number {
  const byKeepaliveMs =
    keepaliveSeconds === 0 ? Number.POSITIVE_INFINITY : keepaliveSeconds * 1000 + pingTimeoutMsOf(profile, keepaliveSeconds)
  if (!somethingOpen || profile.acknowledgeTimeoutMs === undefined) return byKeepaliveMs
  return Math.min(profile.acknowledgeTimeoutMs, byKeepaliveMs)
}
