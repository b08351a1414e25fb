/** For tests: a client on a fake host, and what its application was told; the server's side speaks through a codec that the client does not share. */
import { generate, type Packet, parser } from 'mqtt-packet'
import type { ProtocolVersion, QoS } from '../wire/packets.ts'
import { MqttClient } from './client.ts'
import { type ClientCounters, createClientCounters } from './counters.ts'
import { type FakeConnection, FakeHost, type PeerCodec, type PeerPacket } from './fake-host.ts'
import type { MqttClientOptions, OutgoingMessage } from './options.ts'
import { clientProfiles } from './profiles.ts'

export const ADDRESSES = ['10.1.0.1', '10.2.0.1', '10.3.0.1']

/** The server's side speaks through a codec that the client does not share. */
function peerCodec(protocolVersion: ProtocolVersion): PeerCodec {
  return {
    encode: (packet) => generate(packet as unknown as Packet, { protocolVersion }),
    decoder(onPacket) {
      const bytesTo = parser({ protocolVersion })
      bytesTo.on('packet', (packet) => onPacket(packet as unknown as PeerPacket))
      bytesTo.on('error', (error) => {
        throw error
      })
      return (bytes) => bytesTo.parse(bytes)
    },
  }
}

export interface Bench {
  readonly host: FakeHost
  readonly client: MqttClient
  readonly counters: ClientCounters
  /** What the application was told, in order. */
  readonly told: string[]
  /** What the application does when it is told. */
  onMessage: (() => void) | undefined
  onPublished: (() => void) | undefined
  /** How often a name was resolved. */
  resolved(): number
  /** Opens the present connection and answers its CONNECT. */
  accept(fields?: { sessionPresent?: boolean; properties?: object }): FakeConnection
}

export function setUp(options: Partial<MqttClientOptions> & { addresses?: readonly string[] } = {}): Bench {
  const { addresses = ADDRESSES, ...clientOptions } = options
  const profile = options.profile ?? clientProfiles.recommended
  const version: ProtocolVersion = options.version ?? profile.version
  const host = new FakeHost(peerCodec(version))
  const told: string[] = []
  const counters = createClientCounters()
  let resolved = 0
  const resolver = {
    resolve(_name: string, done: (addresses: readonly string[]) => void): void {
      resolved++
      host.setTimer(0, () => done(addresses))
    },
  }
  const client = new MqttClient(
    host.port,
    { clientId: 'client-1', profile, accessName: 'mqtt.example', port: 1883, resolver, counters, ...clientOptions },
    {
      onConnected: (sessionPresent) => told.push(`connected ${sessionPresent}`),
      onReady: () => told.push('ready'),
      onClosed: (reason) => told.push(`closed: ${reason}`),
      onMessage: (topic, payload, qos, dup) => {
        told.push(`message ${topic} ${payload.toString()} qos ${qos}${dup ? ' dup' : ''}`)
        bench.onMessage?.()
      },
      onPublished: (token, reasonCode) => {
        told.push(`published ${token} ${reasonCode}`)
        bench.onPublished?.()
      },
    },
  )
  const bench: Bench = {
    onMessage: undefined,
    onPublished: undefined,
    host,
    client,
    counters,
    told,
    resolved: () => resolved,
    accept({ sessionPresent = false, properties } = {}) {
      const connection = host.last
      connection.open()
      const codes = version === 5 ? { reasonCode: 0 } : { returnCode: 0 }
      connection.send({ cmd: 'connack', sessionPresent, ...codes, ...(properties === undefined ? {} : { properties }) })
      return connection
    },
  }
  client.start()
  host.advance(0)
  return bench
}

export function message(text: string, qos: QoS = 1, retain = false): OutgoingMessage {
  return { topic: 'data/1', payload: Buffer.from(text), qos, retain }
}

export const texts = (connection: FakeConnection) => connection.ofType('publish').map((packet) => String(packet.payload))
export const ids = (connection: FakeConnection) => connection.ofType('publish').map((packet) => packet.messageId as number)
export const acknowledge = (connection: FakeConnection, messageId: number, reasonCode = 0) =>
  connection.send({ cmd: 'puback', messageId, reasonCode })
