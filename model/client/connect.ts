/** The CONNECT of a client, and what a refusing CONNACK says about where to go next. */
import { encodePacket } from '../wire/mqtt-codec.ts'
import type { Properties, ProtocolVersion } from '../wire/packets.ts'
import type { MqttClientOptions } from './options.ts'

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
      ...(options.will === undefined ? {} : { will: options.will }),
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

/** Whether another server may well accept what this one refused: unavailable, busy, use another server, server moved, connection rate exceeded. */
export function refusalIsOfThisServer(reasonCode: number, version: ProtocolVersion): boolean {
  if (version < 5) return reasonCode === 3
  return reasonCode === 0x88 || reasonCode === 0x89 || reasonCode === 0x9c || reasonCode === 0x9d || reasonCode === 0x9f
}
