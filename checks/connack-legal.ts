/**
 * What a CONNACK may say: its codes, and properties within their range and only where the CONNECT allows them (MQTT 5 section 3.2.2; MQTT 3.1.1 table 3.1).
 */
import type { IConnackPacket } from 'mqtt-packet'
import type { Connection } from './state.ts'

export interface Flaw {
  readonly statement: string
  readonly text: string
}

/** Table 3-1 of MQTT 5. */
const connectReasons: readonly number[] = [
  0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f,
]
const HIGHEST_RETURN_CODE = 5

export function connackFlaw(connection: Connection, packet: IConnackPacket): Flaw | undefined {
  const code = packet.reasonCode ?? packet.returnCode ?? 0
  if (connection.version !== 5) {
    if (code > HIGHEST_RETURN_CODE) return { statement: 'MQTT-3.2.2-8', text: `CONNACK with return code ${code}` }
    // Byte 1 is reserved in MQTT 3.1.
    if (connection.version === 3 && packet.sessionPresent)
      return { statement: 'MQTT-3.2.2-1', text: 'CONNACK with session present to a client of MQTT 3.1' }
    return undefined
  }
  if (!connectReasons.includes(code)) return { statement: 'MQTT-3.2.2-8', text: `CONNACK with reason code ${code}` }
  const properties = packet.properties
  if (properties === undefined) return code === 0 ? unnamed(connection, undefined) : undefined
  if (properties.receiveMaximum === 0) return { statement: 'MQTT-3.2.2.3.3', text: 'CONNACK with Receive Maximum 0' }
  if (properties.maximumPacketSize === 0) return { statement: 'MQTT-3.2.2.3.6', text: 'CONNACK with Maximum Packet Size 0' }
  const maximumQos = properties.maximumQoS
  if (maximumQos !== undefined && maximumQos !== 0 && maximumQos !== 1) {
    return { statement: 'MQTT-3.2.2-9', text: `CONNACK with Maximum QoS ${maximumQos}` }
  }
  if (properties.responseInformation !== undefined && !connection.asksResponseInformation) {
    return { statement: 'MQTT-3.1.2-28', text: 'CONNACK with response information that was not asked for' }
  }
  if (properties.authenticationMethod !== undefined && !connection.authenticates) {
    return { statement: 'MQTT-4.12.0-6', text: 'CONNACK with an authentication method, though the CONNECT named none' }
  }
  if (code !== 0) return undefined
  return unnamed(connection, properties.assignedClientIdentifier)
}

function unnamed(connection: Connection, assigned: string | undefined): Flaw | undefined {
  if (!connection.named && (assigned === undefined || assigned === '')) {
    return { statement: 'MQTT-3.2.2-16', text: 'CONNACK without the client identifier that it assigned' }
  }
  if (connection.named && assigned !== undefined) {
    return { statement: 'MQTT-3.2.2-16', text: 'CONNACK that assigns a client identifier, though the client has one' }
  }
  return undefined
}
