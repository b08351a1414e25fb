/**
 * The vocabulary of reconnect habits: what a client can do when its connection is silent, lost or refused, as data. `profiles.ts` says who does what.
 *
 * Left out: WebSocket, caching of failed look-ups, back-off that several clients of one process share, and what depends on the application (retrying a failed
 * subscribe is taken as done by every application).
 */
import type { ResolverCache } from '../cloud/resolver.ts'
import type { ProtocolVersion } from '../wire/packets.ts'

/**
 * What becomes of the wait of a round. `full`: uniform between nothing and the wait; `none`: the wait itself; else uniform between these two shares of it.
 */
export type Jitter = 'full' | 'none' | { readonly fromShare: number; readonly toShare: number }

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
      readonly jitter: Jitter
      /** The first round after a loss comes without a wait; the second waits `firstMs`. */
      readonly firstAtOnce: boolean
    }

export interface ClientProfile {
  readonly name: string
  readonly version: ProtocolVersion
  readonly cleanStart: boolean
  /** MQTT 5 only; 0 ends the session with the connection. */
  readonly sessionExpirySeconds: number
  readonly keepaliveSeconds: number
  /**
   * What the keepalive counts from. `answers`: the last acknowledgement or PINGRESP. `sends-and-answers`: the older of the last packet sent and the last answer, so
   * that whoever only sends notices a dead path too. `sends-and-receipts`: the older of the last packet sent and the last packet of any kind received.
   * What is counted from, other than a send, also stands for the PINGRESP, but with `sends-and-answers`.
   */
  readonly keepaliveFrom: 'answers' | 'sends-and-answers' | 'sends-and-receipts'
  /** The keepalive is looked at only so often, counted from CONNACK; undefined: at the very time. */
  readonly keepaliveCheckMs: number | undefined
  /** How long a PINGREQ may stay unanswered. */
  readonly pingTimeoutMs: number | 'half-keepalive' | 'keepalive'
  /** Closes the connection when a PUBLISH, PUBREL, SUBSCRIBE or UNSUBSCRIBE is unacknowledged for so long; undefined waits for ever. */
  readonly acknowledgeTimeoutMs: number | undefined
  /** From the SYN to CONNACK, for one address; to the TCP open, where CONNACK has a time of its own. */
  readonly connectTimeoutMs: number
  /** From the TCP open to CONNACK; undefined: what is left of `connectTimeoutMs`. */
  readonly connackTimeoutMs: number | 'keepalive' | undefined
  readonly reconnect: ReconnectPolicy
  /** How many addresses of one answer are tried in a round, in the order of the answer; each round resolves again. */
  readonly addresses: 'all' | 'first'
  /**
   * How long an address that is not the last one may leave the SYN unanswered; undefined: as long as `connectTimeoutMs`. `equal-share`: that time is for all
   * addresses together, in equal parts.
   */
  readonly addressTimeoutMs: number | 'equal-share' | undefined
  /** Whether the next address is tried only when no TCP connection comes about, or also when CONNACK stays away or refuses. */
  readonly nextAddressOn: 'connect-failure' | 'any-failure'
  readonly onConnackError: 'close' | 'wait-for-server'
  readonly resolverCache: ResolverCache
  /** For how long the process keeps an answer of its resolver, in its order, whatever its TTL; undefined: it asks each time. */
  readonly ownAddressCacheMs: number | undefined
  /**
   * When granted subscriptions are asked for again. MQTT 3.1 has no session-present flag: there the first always subscribes, the second only with clean sessions.
   * `on-each-connect`: the library does nothing, and the application subscribes in its connect callback, whatever that says of the session.
   */
  readonly resubscribe: 'when-session-absent' | 'always-if-clean' | 'on-each-connect'
  /**
   * What becomes of unacknowledged publishes when the server kept no session. `publish-again`: new publications with new packet ids; those of QoS 2 whose
   * PUBREC came are done with. `same-ids`: PUBLISH and PUBREL are sent as if the session were there. `drop`: they, and those that wait, are given up;
   * `drop-if-clean`: where the client asked for a clean start, and `same-ids` otherwise.
   */
  readonly unacknowledgedWithoutSession: 'publish-again' | 'same-ids' | 'drop' | 'drop-if-clean'
  readonly resendSetsDup: boolean
  /** Sends what waited one message at a time, each after the acknowledgement of the one before, and subscribes only then. */
  readonly replayOneByOne: boolean
  /** Unacknowledged publishes at a time; an MQTT 5 server's Receive Maximum may lower it. */
  readonly inFlightLimit: number
  /** Messages that wait for a connection or for the window; the newest is dropped beyond it. 0: what cannot be sent at once is refused. */
  readonly queueLimit: number
  readonly queuesQoS0: boolean
  /** The client's own Receive Maximum (MQTT 5); undefined leaves it at 65,535. */
  readonly receiveMaximum: number | undefined
}

/** How long a PINGREQ may stay unanswered, given the keepalive in force. */
export function pingTimeoutMsOf(profile: ClientProfile, keepaliveSeconds: number): number {
  if (profile.pingTimeoutMs === 'half-keepalive') return keepaliveSeconds * 500
  return profile.pingTimeoutMs === 'keepalive' ? keepaliveSeconds * 1000 : profile.pingTimeoutMs
}

/**
 * The longest a client of this profile takes to notice that its path is dead, in ms from the last answer it received, where nothing tells it (no FIN, no RST).
 * `somethingOpen`: a PUBLISH or SUBSCRIBE is unacknowledged. Infinite with keepalive 0 and nothing else to notice it by.
 */
export function detectionBoundMs(profile: ClientProfile, somethingOpen: boolean, keepaliveSeconds = profile.keepaliveSeconds): number {
  const byKeepaliveMs = keepaliveSeconds === 0 ? Number.POSITIVE_INFINITY : keepaliveBoundMs(profile, keepaliveSeconds)
  if (!somethingOpen || profile.acknowledgeTimeoutMs === undefined) return byKeepaliveMs
  return Math.min(profile.acknowledgeTimeoutMs, byKeepaliveMs)
}

function keepaliveBoundMs(profile: ClientProfile, keepaliveSeconds: number): number {
  const pingTimeoutMs = pingTimeoutMsOf(profile, keepaliveSeconds)
  const { keepaliveCheckMs } = profile
  if (keepaliveCheckMs === undefined) return keepaliveSeconds * 1000 + pingTimeoutMs
  return keepaliveSeconds * 1000 + keepaliveCheckMs + Math.ceil(pingTimeoutMs / keepaliveCheckMs) * keepaliveCheckMs
}
