/** What an application gives a client, is told by it, and may ask of it. */
import type { Resolver } from '../cloud/resolver.ts'
import type { Properties, ProtocolVersion, QoS, Will } from '../wire/packets.ts'
import type { TlsVersion } from '../wire/tls-flights.ts'
import type { ClientCounters } from './counters.ts'
import type { ClientProfile } from './profile.ts'

export interface MqttClientOptions {
  readonly clientId: string
  readonly profile: ClientProfile
  /** Taken from the profile where absent, as the three that follow. */
  readonly version?: ProtocolVersion
  readonly cleanStart?: boolean
  readonly sessionExpirySeconds?: number
  readonly keepaliveSeconds?: number
  /** The largest packet the client takes; told to an MQTT 5 server. */
  readonly maximumPacketBytes?: number
  readonly username?: string
  readonly password?: Buffer
  /** Called for each CONNECT, so that each connection's will may carry a payload of its own. */
  readonly will?: () => Will
  /**
   * A connection that the client gives up by its own decision stays open, and whatever comes over it is ignored: as with a device that changed its network, or whose
   * TCP forgets. Otherwise it is reset.
   */
  readonly leavesSocketsOpen?: boolean
  /** Connects over TLS of this version: as cost and round trips, see `wire/tls-flights.ts`. */
  readonly tls?: TlsVersion
  readonly accessName: string
  readonly port: number
  readonly resolver: Pick<Resolver, 'resolve'>
  /** Many clients may count into one. */
  readonly counters: ClientCounters
}

/** What the application is told. It may call the client back from inside. */
export interface MqttClientListener {
  onConnected(sessionPresent: boolean): void
  /** Connected, and every subscription that was asked for has been answered by the server or is part of its session. Once a connection. */
  onReady(): void
  onClosed(reason: string): void
  /** A QoS 2 message comes here once, `dup` or not. */
  onMessage(topic: string, payload: Buffer, qos: QoS, dup: boolean, retain: boolean): void
  /** Once a QoS 1 or 2 publish: PUBACK or PUBREC has come; a reason code of 0x80 or more refused it. */
  onPublished(token: number, reasonCode: number): void
}

export interface OutgoingMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly retain: boolean
  /** MQTT 5 only, such as the message expiry interval and user properties. */
  readonly properties?: Properties
}

export interface SubscriptionRequest {
  /** May be `$share/group/filter`. */
  readonly filter: string
  readonly qos: QoS
  /** This and what follows: MQTT 5 only. */
  readonly noLocal?: boolean
  readonly retainAsPublished?: boolean
  readonly retainHandling?: 0 | 1 | 2
  readonly subscriptionIdentifier?: number
}

/**
 * How a device leaves the network. `disconnect`: DISCONNECT, which discards the will; the session lives on as CONNECT said. `disconnect-with-will`: DISCONNECT 0x04,
 * and before MQTT 5 as `drop`. `drop`: the connection closes without a word.
 */
export type ConnectionEnding = 'disconnect' | 'disconnect-with-will' | 'drop'

/** `securing`: the TLS handshake is under way. `away`: switched off the network by its user, with all that it keeps. */
export type ClientState =
  | 'idle'
  | 'resolving'
  | 'connecting'
  | 'securing'
  | 'awaiting-connack'
  | 'connected'
  | 'backing-off'
  | 'away'
  | 'stopped'
