/** What an application gives a client and is told by it. */
import type { Resolver } from '../cloud/resolver.ts'
import type { ProtocolVersion, Will } from '../wire/packets.ts'
import type { ClientCounters } from './counters.ts'
import type { ClientProfile } from './profiles.ts'

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
  readonly will?: Will
  /**
   * A connection that the client gives up by its own decision stays open, and whatever comes over it is ignored: as with a device that changed its network, or whose
   * TCP forgets. Otherwise it is reset.
   */
  readonly leavesSocketsOpen?: boolean
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
  onMessage(topic: string, payload: Buffer, qos: 0 | 1, dup: boolean, retain: boolean): void
  /** A QoS 1 publish is done with; a reason code of 0x80 or more refused it. */
  onPublished(token: number, reasonCode: number): void
}

export interface OutgoingMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1
  readonly retain: boolean
}

export interface SubscriptionRequest {
  readonly filter: string
  readonly qos: 0 | 1
}
