/** The CONNECT of a client, the reader of what it is sent, what an accepting CONNACK says about the session, and a refusing one about where to go next. */
import { encodePacket, PacketReader } from '../wire/mqtt-codec.ts'
import type { Properties, ProtocolVersion } from '../wire/packets.ts'
import type { MqttClientOptions } from './options.ts'

/** Fixed header and the largest Remaining Length [MQTT 2.1.4]. */
const PROTOCOL_MAXIMUM_PACKET_BYTES = 268_435_460

export function versionOf(options: MqttClientOptions): ProtocolVersion {
  return options.version ?? options.profile.version
}

export function cleanStartOf(options: MqttClientOptions): boolean {
  return options.cleanStart ?? options.profile.cleanStart
}

export function keepaliveSecondsOf(options: MqttClientOptions): number {
  return options.keepaliveSeconds ?? options.profile.keepaliveSeconds
}

export function encodeConnect(options: MqttClientOptions): Buffer {
  const version = versionOf(options)
  const properties = version === 5 ? connectProperties(options) : undefined
  return encodePacket(
    {
      type: 'connect',
      version,
      clientId: options.clientId,
      cleanStart: cleanStartOf(options),
      keepAliveSeconds: keepaliveSecondsOf(options),
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: options.password }),
      ...(options.will === undefined ? {} : { will: options.will() }),
      ...(properties === undefined ? {} : { properties }),
    },
    version,
  )
}

function connectProperties({ profile, sessionExpirySeconds, maximumPacketBytes }: MqttClientOptions): Properties {
  const expirySeconds = sessionExpirySeconds ?? profile.sessionExpirySeconds
  return {
    ...(expirySeconds === 0 ? {} : { sessionExpiryInterval: expirySeconds }),
    ...(profile.receiveMaximum === undefined ? {} : { receiveMaximum: profile.receiveMaximum }),
    ...(maximumPacketBytes === undefined ? {} : { maximumPacketSize: maximumPacketBytes }),
  }
}

/** For the packets of one connection. */
export function readerOf(options: MqttClientOptions): PacketReader {
  const maximumPacketBytes = options.maximumPacketBytes ?? PROTOCOL_MAXIMUM_PACKET_BYTES
  return new PacketReader({ receiver: 'client', maximumPacketBytes, version: versionOf(options) })
}

/** Whether a CONNACK that accepts does so into the session of before. MQTT 3.1 cannot say it: a session that was not to be clean is taken for kept. */
export function resumedOf(options: MqttClientOptions, sessionPresent: boolean): boolean {
  return versionOf(options) === 3 ? !cleanStartOf(options) : sessionPresent
}

/** Whether another server may well accept what this one refused: unavailable, busy, use another server, server moved, connection rate exceeded. */
export function refusalIsOfThisServer(reasonCode: number, version: ProtocolVersion): boolean {
  if (version < 5) return reasonCode === 3
  return reasonCode === 0x88 || reasonCode === 0x89 || reasonCode === 0x9c || reasonCode === 0x9d || reasonCode === 0x9f
}
