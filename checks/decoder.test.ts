import fc from 'fast-check'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { DEAD_STREAM, Decoder, type FrameSink, type PendingBytes } from './decoder.ts'

type Seen = Record<string, unknown>

/** Feeds chunks to a decoder and notes all that it says, as plain values. */
function decodeChunks(chunks: readonly Buffer[], version: number): Seen[] {
  const decoder = new Decoder()
  const seen: Seen[] = []
  const sink: FrameSink = {
    onPublish: (frame) =>
      seen.push({
        cmd: 'publish',
        topic: frame.topic,
        qos: frame.qos,
        dup: frame.dup,
        retain: frame.retain,
        messageId: frame.packetId,
        payload: frame.bytes.subarray(frame.payloadStart, frame.payloadEnd).toString('hex'),
        sentAtUs: decoder.frameSentAtUs,
      }),
    onAcknowledgement: (kind, messageId, reasonCode) => seen.push({ cmd: kind, messageId, reasonCode }),
    onPing: (kind) => seen.push({ cmd: kind }),
    onPacket: (packet) => seen.push({ cmd: packet.cmd, messageId: packet.messageId }),
    onMalformed: (statement, text) => seen.push({ cmd: 'malformed', statement, text }),
  }
  let pending: PendingBytes | undefined
  chunks.forEach((chunk, index) => {
    pending = decoder.decode(pending, chunk, index, { version }, sink)
  })
  if (seen.at(-1)?.cmd === 'malformed') expect(pending).toBe(DEAD_STREAM)
  return seen
}

const topic = fc.stringMatching(/^[a-zäß€/]{1,12}$/)
const version = fc.constantFrom(3, 4, 5)
const packetId = fc.integer({ min: 1, max: 65_535 })

const publish = fc
  .record({
    topic,
    qos: fc.constantFrom(0, 1, 2),
    retain: fc.boolean(),
    dup: fc.boolean(),
    messageId: packetId,
    payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    properties: fc.option(
      fc.record({
        messageExpiryInterval: fc.nat(1000),
        contentType: fc.constant('text/plain'),
        userProperties: fc.constant({ a: 'b' }),
        subscriptionIdentifier: fc.integer({ min: 1, max: 100_000 }),
      }),
      { nil: undefined },
    ),
  })
  .map((fields) => ({
    cmd: 'publish',
    ...fields,
    dup: fields.qos > 0 && fields.dup,
    messageId: fields.qos > 0 ? fields.messageId : undefined,
  }))
const acknowledgement = fc
  .record({ cmd: fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'), messageId: packetId, refused: fc.boolean() })
  .map(({ cmd, messageId, refused }) => ({ cmd, messageId, reasonCode: refused ? (/ack|rec/.test(cmd) ? 0x80 : 0x92) : 0 }))
const others = fc.constantFrom(
  { cmd: 'pingreq' },
  { cmd: 'pingresp' },
  { cmd: 'suback', messageId: 3, granted: [0, 1] },
  { cmd: 'connack', sessionPresent: true, returnCode: 0, reasonCode: 0 },
)
const packets = fc.array(fc.oneof(publish, acknowledgement, others), { maxLength: 6 })

function generate(packet: object, protocolVersion: number): Buffer {
  return mqttPacket.generate(packet as Packet, { protocolVersion })
}

/** What mqtt-packet's own parser says of the same bytes: the second opinion. */
function secondOpinion(bytes: Buffer, protocolVersion: number): Seen[] {
  const seen: Seen[] = []
  const parser = mqttPacket.parser({ protocolVersion })
  parser.on('packet', (packet) => {
    if (packet.cmd === 'publish') {
      seen.push({
        cmd: 'publish',
        topic: packet.topic,
        qos: packet.qos,
        dup: packet.dup,
        retain: packet.retain,
        messageId: packet.messageId ?? 0,
        payload: (packet.payload as Buffer).toString('hex'),
      })
    } else if (/^pub/.test(packet.cmd)) {
      seen.push({ cmd: packet.cmd, messageId: packet.messageId, reasonCode: (packet as { reasonCode?: number }).reasonCode ?? 0 })
    } else if (/^ping/.test(packet.cmd)) seen.push({ cmd: packet.cmd })
    else seen.push({ cmd: packet.cmd, messageId: packet.messageId })
  })
  parser.parse(bytes)
  return seen
}

describe('decoder', () => {
  test('agrees with mqtt-packet, however the bytes are cut', () => {
    fc.assert(
      fc.property(packets, version, fc.array(fc.nat(400), { maxLength: 8 }), (list, v, cuts) => {
        const bytes = Buffer.concat(list.map((packet) => generate(packet, v)))
        const points = [...new Set([0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length])].sort((a, b) => a - b)
        const chunks = points.slice(1).map((point, i) => bytes.subarray(points[i], point))
        const seen = decodeChunks(chunks, v).map(({ sentAtUs: _, ...rest }) => rest)
        expect(seen).toEqual(secondOpinion(bytes, v))
      }),
      { numRuns: 400 },
    )
  })

  test('a packet counts as sent when its first byte was', () => {
    const bytes = generate({ cmd: 'publish', topic: 'a', qos: 0, payload: Buffer.alloc(40), retain: false, dup: false }, 4)
    const seen = decodeChunks([Buffer.concat([bytes, bytes.subarray(0, 5)]), bytes.subarray(5, 30), bytes.subarray(30)], 4)
    expect(seen.map((packet) => packet.sentAtUs)).toEqual([0, 0])
  })

  test.each([
    ['QoS 3', '3603000161', 'MQTT-3.3.1-4'],
    ['DUP with QoS 0', '3803000161', 'MQTT-3.3.1-2'],
    ['packet identifier 0', '32050001610000', 'MQTT-2.2.1-4'],
    ['a wildcard in the topic', '300300012b', 'MQTT-3.3.2-2'],
    ['an empty topic', '30020000', 'MQTT-4.7.3-1'],
    ['a topic that passes the end', '3003000961', 'MQTT-3.3.2-1'],
    ['no room for a topic', '300100', 'MQTT-3.3.2-1'],
    ['PUBACK with a flag', '41020001', 'MQTT-2.1.3-1'],
    ['PUBACK with identifier 0', '40020000', 'MQTT-2.2.1-5'],
    ['PUBACK of one byte', '400101', 'MQTT-2.2.1-5'],
    ['PUBACK with an unknown reason', '400400010500', 'MQTT-3.4.2-1'],
    ['PINGRESP with a payload', 'd00100', 'MQTT-2.1.4'],
    ['a remaining length of five bytes', '30ffffffff01', 'MQTT-1.5.5-1'],
    ['CONNACK with reserved bits', '20020200', 'MQTT-4.13.1-1'],
  ])('%s is malformed, and nothing after it is read', (_, hex, statement) => {
    const seen = decodeChunks([Buffer.from(hex, 'hex'), Buffer.from('d000', 'hex')], hex === '400400010500' ? 5 : 4)
    expect(seen.map((packet) => packet.cmd)).toEqual(['malformed'])
    expect(seen[0]).toMatchObject({ statement })
  })

  test('any bytes at all end in packets or a report, never in an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), version, (bytes, v) => {
        decodeChunks([Buffer.from(bytes)], v)
      }),
      { numRuns: 3000 },
    )
  })
})
