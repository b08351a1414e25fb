/** What the parts of a client (publishing, receiving, subscriptions) ask of the whole. `MqttClient` is the only one. */
import type { Connection, Host } from '../host.ts'
import type { ProtocolVersion } from '../wire/packets.ts'
import type { MqttClientListener, MqttClientOptions } from './options.ts'
import type { ServerLimits } from './server-limits.ts'

export interface ClientCore {
  readonly host: Host
  readonly options: MqttClientOptions
  readonly listener: MqttClientListener
  readonly version: ProtocolVersion
  /** Of the server that accepted last. */
  readonly limits: ServerLimits
  /** The connection that CONNACK accepted. Compared before and after a call of the application, which may end it. */
  readonly accepted: Connection | undefined
  /** Whether the connection wants more bytes at present. */
  readonly writable: boolean
  /** Packet ids of QoS 2 messages that the application has had and the server has not released; made with the first. */
  unreleased: Set<number> | undefined
  /** Writes a packet to the present connection. */
  send(bytes: Buffer): void
  /** As `send`, for a packet whose answer must come within the acknowledgement timeout. */
  sendForAnswer(bytes: Buffer, nowMs: number): void
  /** The server answered something: it is alive. */
  answered(): void
  /** Sends what waits and may now be sent. */
  pump(): void
  /** The next packet id that nothing open holds [MQTT-2.2.1-3]. */
  unusedPacketId(): number
  /** Ends the connection: the server broke the protocol. */
  violated(what: string, reasonCode: number): void
}
