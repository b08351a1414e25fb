/**
 * The packets of one message alone: the floor itself, and the service's own codec and the witnesses' decoder on the same packets. One unit is a message in and out:
 * PUBLISH and PUBACK twice, each generated once and parsed once.
 */
import { Decoder, type FrameSink } from '../checks/decoder.ts'
import { encodePayload } from '../checks/payload.ts'
import { encodeAcknowledgement, encodePublish, PacketReader, type PacketSink } from '../model/wire/mqtt-codec.ts'
import { type Bench, Comparison, type Measurement, type Row, timeMs } from './harness.ts'
import { reference } from './reference-load.ts'

const MESSAGES = 5000
const version = reference.protocolVersion
const payload = encodePayload(1, 1, reference.payloadBytes)

function publish(packetId: number): Buffer {
  return encodePublish({ topic: 'data/123', payload, qos: 1, dup: false, retain: false, packetId }, version)
}

function serviceCodec(): (messages: number) => void {
  let parsed = 0
  const sink: PacketSink = {
    onPacket: () => {
      parsed++
    },
    onMalformed: (problem) => {
      throw new Error(problem.text)
    },
  }
  const readers = (['server', 'client', 'client', 'server'] as const).map(
    (receiver) => new PacketReader({ receiver, maximumPacketBytes: 1 << 20, version }),
  )
  return (messages) => {
    parsed = 0
    for (let i = 0; i < messages; i++) {
      const packetId = 1 + (i % 65_535)
      readers[0]!.read(publish(packetId), sink)
      readers[1]!.read(encodeAcknowledgement('puback', packetId, 0, version), sink)
      readers[2]!.read(publish(packetId), sink)
      readers[3]!.read(encodeAcknowledgement('puback', packetId, 0, version), sink)
    }
    if (parsed !== 4 * messages) throw new Error(`the codec read ${parsed} packets of ${4 * messages}`)
  }
}

/** The witnesses only read: the packets are made before. */
function witnessDecoder(): (messages: number) => void {
  const packets = Array.from({ length: 1000 }, (_, i) => [publish(1 + i), encodeAcknowledgement('puback', 1 + i, 0, version)] as const)
  const decoder = new Decoder()
  let parsed = 0
  const sink: FrameSink = {
    onPublish: () => {
      parsed++
    },
    onAcknowledgement: () => {
      parsed++
    },
    onPing: () => {},
    onPacket: () => {},
    onMalformed: (_statement, text) => {
      throw new Error(text)
    },
  }
  const stream = { version }
  return (messages) => {
    parsed = 0
    for (let i = 0; i < messages; i++) {
      const [message, acknowledgement] = packets[i % packets.length]!
      for (let direction = 0; direction < 2; direction++) {
        decoder.decode(undefined, message, 0, stream, sink)
        decoder.decode(undefined, acknowledgement, 0, stream, sink)
      }
    }
    if (parsed !== 4 * messages) throw new Error(`the decoder read ${parsed} packets of ${4 * messages}`)
  }
}

function measure(bench: Bench, variant: string, work: (messages: number) => void): Row {
  for (let i = 0; i < 10; i++) work(MESSAGES)
  const comparison = new Comparison(bench.floor)
  for (let round = 0; round < bench.rounds; round++) {
    bench.progress(`${variant}, round ${round + 1} of ${bench.rounds}`)
    comparison.add(
      MESSAGES,
      timeMs(() => work(MESSAGES)),
    )
  }
  return comparison.row({ measurement: codec.name, variant, per: 'message' })
}

function measureFloor(bench: Bench): Row {
  const comparison = new Comparison(bench.floor)
  // Beside itself: its ratio says how much the machine's noise is worth.
  for (let round = 0; round < bench.rounds; round++) comparison.add(1, bench.floor.sample() / 1000)
  return comparison.row({
    measurement: codec.name,
    variant: 'mqtt-packet (the floor)',
    per: 'message',
    notes: ({ median }) => ({ 'messages/s': 1e6 / median }),
  })
}

export const codec: Measurement = {
  name: 'codec',
  summary: 'the packets of a message alone: mqtt-packet (the floor), our codec, the decoder of the checks',
  run: (bench) => [
    measureFloor(bench),
    measure(bench, 'model/wire, both ways', serviceCodec()),
    measure(bench, 'checks, reading only', witnessDecoder()),
  ],
}
