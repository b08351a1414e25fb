import { describe, expect, test } from 'vitest'
import { encodeAcknowledgement, encodePacket, encodePublish, type Malformed, PacketReader } from './mqtt-codec.ts'
import type { Packet, ProtocolVersion, Publish } from './packets.ts'
import { messageExpiryIn } from './properties.ts'
import type { Role } from './reason-codes.ts'

interface Outcome {
  readonly packets: Packet[]
  readonly problems: Malformed[]
}

function readAll(chunks: readonly Buffer[], receiver: Role, version?: ProtocolVersion, maximumPacketBytes = 1 << 20): Outcome {
  const reader = new PacketReader(version === undefined ? { receiver, maximumPacketBytes } : { receiver, maximumPacketBytes, version })
  const outcome: Outcome = { packets: [], problems: [] }
  for (const chunk of chunks) {
    reader.read(chunk, { onPacket: (packet) => outcome.packets.push(packet), onMalformed: (problem) => outcome.problems.push(problem) })
  }
  return outcome
}

/** Numbers are bytes, texts are strings with their length before them, `hex` is what it says. */
type Part = number | string | Buffer
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

function bytesOf(...parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === 'number') return Buffer.from([part])
      if (typeof part !== 'string') return part
      const text = Buffer.from(part)
      return Buffer.concat([Buffer.from([text.length >>> 8, text.length & 0xff]), text])
    }),
  )
}

/** A frame with a remaining length of up to 16,383. */
function frame(firstByte: number, ...parts: readonly Part[]): Buffer {
  const body = bytesOf(...parts)
  const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >>> 7]
  return Buffer.concat([Buffer.from([firstByte, ...length]), body])
}

const none = Buffer.alloc(0)
const payload = Buffer.from('hello')
const plain = { qos: 0, dup: false, retain: false, packetId: 0 } as const
const publish3: Publish = { type: 'publish', topic: 'a/b', payload, ...plain }
const publish5: Publish = { ...publish3, rawProperties: none }

const userProperties = [
  ['b', '1'],
  ['a', '2'],
  ['b', '0'],
] as const
const userPropertyBytes = bytesOf(0x26, 'b', '1', 0x26, 'a', '2', 0x26, 'b', '0')

type Row = readonly [name: string, receiver: Role, version: ProtocolVersion, packet: Packet, bytes: Buffer]

const connect = { type: 'connect', cleanStart: true, keepAliveSeconds: 10, clientId: 'c' } as const
const messageProperties = {
  payloadFormatIndicator: 1,
  messageExpiryInterval: 0x01020304,
  contentType: 'text',
  responseTopic: 'r/t',
  correlationData: hex('00ff'),
  userProperties,
} as const
const messagePropertyBytes = bytesOf(1, 1, 2, hex('01020304'), 3, 'text', 8, 'r/t', 9, hex('0002 00ff'), userPropertyBytes)

const connectPropertyBytes = bytesOf(
  ...[0x11, hex('ffffffff'), 0x21, 0, 1, 0x27, hex('00000001'), 0x22, 0, 0, 0x19, 1, 0x17, 0, userPropertyBytes],
  ...[0x15, 'm', 0x16, hex('000100')],
)
const connackPropertyBytes = bytesOf(
  ...[0x11, hex('00000001'), 0x21, hex('ffff'), 0x24, 1, 0x25, 0, 0x27, hex('00000002'), 0x12, 'i', 0x22, 0, 3, 0x1f, 'line\nline'],
  ...[userPropertyBytes, 0x28, 1, 0x29, 0, 0x2a, 1, 0x13, 0, 4, 0x1a, 'r', 0x1c, 's', 0x15, 'm', 0x16, 0, 0],
)

const rows: readonly Row[] = [
  // CONNECT
  ['CONNECT 3.1', 'server', 3, { ...connect, version: 3 }, frame(0x10, 'MQIsdp', 3, 2, 0, 10, 'c')],
  ['CONNECT 3.1.1', 'server', 4, { ...connect, version: 4 }, frame(0x10, 'MQTT', 4, 2, 0, 10, 'c')],
  ['CONNECT 3.1.1 with an empty client id', 'server', 4, { ...connect, version: 4, clientId: '' }, frame(0x10, 'MQTT', 4, 2, 0, 10, '')],
  ['CONNECT 5', 'server', 5, { ...connect, version: 5 }, frame(0x10, 'MQTT', 5, 2, 0, 10, 0, 'c')],
  [
    'CONNECT 5 with an empty client id for a session to keep',
    'server',
    5,
    { ...connect, version: 5, clientId: '', cleanStart: false },
    frame(0x10, 'MQTT', 5, 0, 0, 10, 0, ''),
  ],
  [
    'CONNECT 3.1.1 with will, user name and password',
    'server',
    4,
    {
      ...connect,
      version: 4,
      cleanStart: false,
      keepAliveSeconds: 65535,
      will: { topic: 'w/é', payload: hex('00'), qos: 2, retain: true },
      username: 'u',
      password: hex('ff00'),
    },
    frame(0x10, 'MQTT', 4, 0xf4, 255, 255, 'c', 'w/é', hex('000100'), 'u', hex('0002ff00')),
  ],
  [
    'CONNECT 5 with a password and no user name',
    'server',
    5,
    { ...connect, version: 5, password: hex('01') },
    frame(0x10, 'MQTT', 5, 0x42, 0, 10, 0, 'c', hex('000101')),
  ],
  [
    'CONNECT 5 with every property',
    'server',
    5,
    {
      ...connect,
      version: 5,
      properties: {
        sessionExpiryInterval: 0xffffffff,
        receiveMaximum: 1,
        maximumPacketSize: 1,
        topicAliasMaximum: 0,
        requestResponseInformation: 1,
        requestProblemInformation: 0,
        userProperties,
        authenticationMethod: 'm',
        authenticationData: hex('00'),
      },
      will: { topic: 'w', payload: none, qos: 0, retain: false, properties: { willDelayInterval: 5, ...messageProperties } },
    },
    frame(
      ...([0x10, 'MQTT', 5, 6, 0, 10, connectPropertyBytes.length, connectPropertyBytes, 'c'] as const),
      ...[5 + messagePropertyBytes.length, 0x18, hex('00000005'), messagePropertyBytes, 'w', ''],
    ),
  ],
  // CONNACK
  ['CONNACK 3.1.1', 'client', 4, { type: 'connack', sessionPresent: true, reasonCode: 0 }, hex('20020100')],
  ['CONNACK 3.1.1 refusing', 'client', 4, { type: 'connack', sessionPresent: false, reasonCode: 5 }, hex('20020005')],
  ['CONNACK 5 [MQTT-2.2.2-1]', 'client', 5, { type: 'connack', sessionPresent: false, reasonCode: 0x84 }, hex('2003008400')],
  [
    'CONNACK 5 with every property',
    'client',
    5,
    {
      type: 'connack',
      sessionPresent: true,
      reasonCode: 0,
      properties: {
        sessionExpiryInterval: 1,
        receiveMaximum: 65535,
        maximumQoS: 1,
        retainAvailable: 0,
        maximumPacketSize: 2,
        assignedClientIdentifier: 'i',
        topicAliasMaximum: 3,
        reasonString: 'line\nline',
        userProperties,
        wildcardSubscriptionAvailable: 1,
        subscriptionIdentifierAvailable: 0,
        sharedSubscriptionAvailable: 1,
        serverKeepAlive: 4,
        responseInformation: 'r',
        serverReference: 's',
        authenticationMethod: 'm',
        authenticationData: none,
      },
    },
    frame(0x20, 1, 0, connackPropertyBytes.length, connackPropertyBytes),
  ],
  // PUBLISH
  ['PUBLISH 3.1.1, QoS 0 [MQTT-2.2.1-2] [MQTT-3.3.2-1]', 'server', 4, publish3, hex('300a 0003 612f62 68656c6c6f')],
  ['PUBLISH 3.1, QoS 0, retained, empty', 'client', 3, { ...publish3, payload: none, retain: true }, frame(0x31, 'a/b')],
  [
    'PUBLISH 3.1.1, QoS 1, repeated',
    'server',
    4,
    { ...publish3, qos: 1, dup: true, packetId: 65535 },
    frame(0x3a, 'a/b', hex('ffff'), payload),
  ],
  ['PUBLISH 3.1.1, QoS 2', 'client', 4, { ...publish3, qos: 2, packetId: 1 }, frame(0x34, 'a/b', 0, 1, payload)],
  ['PUBLISH to a long topic', 'server', 4, { ...publish3, topic: 'long/'.repeat(30) }, frame(0x30, 'long/'.repeat(30), payload)],
  [
    'PUBLISH to a topic beyond ASCII [MQTT-1.5.4-3]',
    'server',
    4,
    { ...publish3, topic: '\ufeffé/𝄞/\uffff' },
    frame(0x30, '\ufeffé/𝄞/\uffff', payload),
  ],
  [
    'PUBLISH with a remaining length of two bytes',
    'server',
    4,
    { ...publish3, payload: Buffer.alloc(200, 7) },
    frame(0x30, 'a/b', Buffer.alloc(200, 7)),
  ],
  ['PUBLISH 5 [MQTT-2.2.1-2] [MQTT-2.2.2-1]', 'server', 5, publish5, frame(0x30, 'a/b', 0, payload)],
  [
    'PUBLISH 5 with every property of a message',
    'server',
    5,
    { ...publish3, qos: 1, packetId: 7, properties: messageProperties, rawProperties: messagePropertyBytes },
    frame(0x32, 'a/b', 0, 7, messagePropertyBytes.length, messagePropertyBytes, payload),
  ],
  [
    'PUBLISH 5 with an alias instead of a topic',
    'server',
    5,
    { ...publish5, topic: '', properties: { topicAlias: 2 } },
    frame(0x30, '', 3, 0x23, 0, 2, payload),
  ],
  [
    'PUBLISH 5 to a client with several subscription identifiers',
    'client',
    5,
    { ...publish5, properties: { subscriptionIdentifiers: [1, 128, 268435455] } },
    frame(0x30, 'a/b', 10, 0x0b, 1, 0x0b, hex('8001'), 0x0b, hex('ffffff7f'), payload),
  ],
  // Acknowledgements
  ['PUBACK 3.1.1', 'server', 4, { type: 'puback', packetId: 0x1234, reasonCode: 0 }, hex('40021234')],
  ['PUBREC 3.1', 'client', 3, { type: 'pubrec', packetId: 1, reasonCode: 0 }, hex('50020001')],
  ['PUBREL 3.1.1', 'server', 4, { type: 'pubrel', packetId: 2, reasonCode: 0 }, hex('62020002')],
  ['PUBCOMP 3.1.1', 'client', 4, { type: 'pubcomp', packetId: 3, reasonCode: 0 }, hex('70020003')],
  ['PUBACK 5, short', 'server', 5, { type: 'puback', packetId: 1, reasonCode: 0 }, hex('40020001')],
  ['PUBACK 5 with a code', 'client', 5, { type: 'puback', packetId: 1, reasonCode: 0x10 }, hex('4003000110')],
  ['PUBREL 5 with a code', 'server', 5, { type: 'pubrel', packetId: 1, reasonCode: 0x92 }, hex('6203000192')],
  [
    'PUBREC 5 with properties',
    'server',
    5,
    { type: 'pubrec', packetId: 1, reasonCode: 0x97, properties: { reasonString: 'no', userProperties } },
    frame(0x50, 0, 1, 0x97, 5 + userPropertyBytes.length, 0x1f, 'no', userPropertyBytes),
  ],
  // SUBSCRIBE and UNSUBSCRIBE
  [
    'SUBSCRIBE 3.1.1',
    'server',
    4,
    {
      type: 'subscribe',
      packetId: 10,
      subscriptions: [
        { filter: 'a/+', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
        { filter: '#', qos: 2, noLocal: false, retainAsPublished: false, retainHandling: 0 },
      ],
    },
    frame(0x82, 0, 10, 'a/+', 1, '#', 2),
  ],
  [
    'SUBSCRIBE 3.1.1 to what only MQTT 5 would call a bad shared subscription',
    'server',
    4,
    {
      type: 'subscribe',
      packetId: 10,
      subscriptions: [{ filter: '$share/g', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
    },
    frame(0x82, 0, 10, '$share/g', 0),
  ],
  [
    'SUBSCRIBE 5 with options and an identifier',
    'server',
    5,
    {
      type: 'subscribe',
      packetId: 10,
      properties: { subscriptionIdentifiers: [300], userProperties },
      subscriptions: [
        { filter: 'a', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
        { filter: '$share/g/a', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 1 },
      ],
    },
    frame(0x82, 0, 10, 3 + userPropertyBytes.length, 0x0b, hex('ac02'), userPropertyBytes, 'a', 0x2e, '$share/g/a', 0x10),
  ],
  ['SUBACK 3.1.1', 'client', 4, { type: 'suback', packetId: 10, reasonCodes: [0, 1, 2, 0x80] }, hex('9006000a00010280')],
  [
    'SUBACK 5',
    'client',
    5,
    { type: 'suback', packetId: 10, reasonCodes: [2, 0xa2], properties: { reasonString: 'x' } },
    frame(0x90, 0, 10, 4, 0x1f, 'x', 2, 0xa2),
  ],
  ['UNSUBSCRIBE 3.1.1', 'server', 4, { type: 'unsubscribe', packetId: 11, filters: ['a', 'b/#'] }, frame(0xa2, 0, 11, 'a', 'b/#')],
  [
    'UNSUBSCRIBE 5',
    'server',
    5,
    { type: 'unsubscribe', packetId: 11, filters: ['$share/g/a'], properties: { userProperties } },
    frame(0xa2, 0, 11, userPropertyBytes.length, userPropertyBytes, '$share/g/a'),
  ],
  ['UNSUBACK 3.1.1', 'client', 4, { type: 'unsuback', packetId: 11, reasonCodes: [] }, hex('b002000b')],
  ['UNSUBACK 5', 'client', 5, { type: 'unsuback', packetId: 11, reasonCodes: [0, 0x11] }, hex('b005000b000011')],
  // The rest
  ['PINGREQ', 'server', 4, { type: 'pingreq' }, hex('c000')],
  ['PINGRESP', 'client', 5, { type: 'pingresp' }, hex('d000')],
  ['DISCONNECT 3.1.1', 'server', 4, { type: 'disconnect', reasonCode: 0 }, hex('e000')],
  ['DISCONNECT 5, short', 'server', 5, { type: 'disconnect', reasonCode: 0 }, hex('e000')],
  ['DISCONNECT 5 from a server', 'client', 5, { type: 'disconnect', reasonCode: 0x8e }, hex('e0018e')],
  [
    'DISCONNECT 5 from a client with properties',
    'server',
    5,
    { type: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 9 } },
    frame(0xe0, 4, 5, 0x11, hex('00000009')),
  ],
  [
    'AUTH',
    'server',
    5,
    { type: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'm', authenticationData: hex('07') } },
    frame(0xf0, 0x18, 8, 0x15, 'm', 0x16, hex('000107')),
  ],
  ['AUTH, success, short', 'client', 5, { type: 'auth', reasonCode: 0 }, hex('f000')],
]

/** A server learns the version from CONNECT; of other packets the test says it. */
const versionToSay = (receiver: Role, version: ProtocolVersion, packet: Packet): ProtocolVersion | undefined =>
  receiver === 'server' && packet.type === 'connect' ? undefined : version

describe.each(rows)('%s', (_name, receiver, version, packet, bytes) => {
  const said = versionToSay(receiver, version, packet)

  test('decodes', () => {
    expect(readAll([bytes], receiver, said)).toEqual({ packets: [packet], problems: [] })
  })

  test('encodes', () => {
    expect(encodePacket(packet, version).toString('hex')).toBe(bytes.toString('hex'))
  })

  test('comes back from a round trip', () => {
    expect(readAll([encodePacket(packet, version)], receiver, said)).toEqual({ packets: [packet], problems: [] })
  })

  test('decodes the same wherever it is cut in two', () => {
    for (let cut = 0; cut <= bytes.length; cut++) {
      const outcome = readAll([bytes.subarray(0, cut), bytes.subarray(cut)], receiver, said)
      expect(outcome, `cut at ${cut}`).toEqual({ packets: [packet], problems: [] })
    }
  })

  test('is waited for when its end is missing', () => {
    expect(readAll([bytes.subarray(0, -1)], receiver, said)).toEqual({ packets: [], problems: [] })
  })
})

describe('what may be said in more than one way', () => {
  test.each([
    ['PUBACK with a code of 0', 'server', hex('4003000100'), { type: 'puback', packetId: 1, reasonCode: 0 }],
    ['PUBACK with empty properties', 'server', hex('400400010000'), { type: 'puback', packetId: 1, reasonCode: 0 }],
    ['DISCONNECT with a code of 0', 'server', hex('e00100'), { type: 'disconnect', reasonCode: 0 }],
    ['DISCONNECT with empty properties', 'client', hex('e0028900'), { type: 'disconnect', reasonCode: 0x89 }],
  ] as const)('%s', (_name, receiver, bytes, packet) => {
    expect(readAll([bytes], receiver, 5)).toEqual({ packets: [packet], problems: [] })
  })

  test('MQTT 3.1 does not use the flags of CONNECT, and its strings may be missing', () => {
    const bytes = frame(0x14, 'MQIsdp', 3, 0xc3, 0, 10, 'c')
    expect(readAll([bytes], 'server')).toEqual({ packets: [{ ...connect, version: 3 }], problems: [] })
  })

  test('MQTT 3.1 sets DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE', () => {
    const bytes = Buffer.concat([hex('6a020001'), frame(0x8a, 0, 1, 'a', 0), frame(0xaa, 0, 1, 'a')])
    expect(readAll([bytes], 'server', 3).packets.map((packet) => packet.type)).toEqual(['pubrel', 'subscribe', 'unsubscribe'])
  })

  test('a client identifier of any length from 1 to 23 characters is taken, and a longer one too [MQTT-3.1.3-5]', () => {
    const allowed = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
    const clientIds = [...Array.from({ length: 23 }, (_, i) => allowed.slice(i, 2 * i + 1)), allowed]
    for (const clientId of clientIds) {
      expect(readAll([frame(0x10, 'MQTT', 5, 2, 0, 10, 0, clientId)], 'server').packets).toEqual([{ ...connect, version: 5, clientId }])
      expect(readAll([frame(0x10, 'MQIsdp', 3, 2, 0, 10, clientId)], 'server').packets).toEqual([{ ...connect, version: 3, clientId }])
    }
  })
})

describe('reading', () => {
  const stream = Buffer.concat(
    rows.filter(([, receiver, version]) => receiver === 'server' && version === 4).map(([, , , , bytes]) => bytes),
  )
  const expected = rows.filter(([, receiver, version]) => receiver === 'server' && version === 4).map(([, , , packet]) => packet)

  test('many packets in one chunk, in chunks of every size, and byte by byte', () => {
    for (const size of [stream.length, 1, 2, 3, 5, 7, 64, 100]) {
      const chunks: Buffer[] = []
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size))
      expect(readAll(chunks, 'server', 4), `chunks of ${size}`).toEqual({ packets: expected, problems: [] })
    }
  })

  test('the version comes from CONNECT and is there when its packet is handed over', () => {
    const reader = new PacketReader({ receiver: 'server', maximumPacketBytes: 100 })
    expect(reader.version).toBeUndefined()
    const seen: unknown[] = []
    reader.read(Buffer.concat([frame(0x10, 'MQTT', 5, 2, 0, 10, 0, 'c'), frame(0x30, 'a/b', 0, payload)]), {
      onPacket: (packet) => seen.push(reader.version, packet),
      onMalformed: (problem) => seen.push(problem),
    })
    expect(seen).toEqual([5, { ...connect, version: 5 }, 5, publish5])
  })

  test('a payload in one chunk is a view of it; one in several is put together', () => {
    const bytes = frame(0x30, 'a/b', payload)
    const whole = readAll([bytes], 'server', 4).packets[0] as Publish
    expect(whole.payload.buffer).toBe(bytes.buffer)
    const cut = readAll([bytes.subarray(0, 8), bytes.subarray(8)], 'server', 4).packets[0] as Publish
    expect(cut.payload).toEqual(payload)
  })

  test('packets that were cut keep their bytes while later ones arrive', () => {
    const bytes = Buffer.concat([frame(0x30, 'a/b', Buffer.from('one')), frame(0x30, 'a/b', Buffer.from('two'))])
    const { packets } = readAll(
      [...bytes].map((byte) => Buffer.from([byte])),
      'server',
      4,
    )
    expect(packets.map((packet) => (packet as Publish).payload.toString())).toEqual(['one', 'two'])
  })

  test.each([1, 3, 1000])('stop from inside a callback ends the callbacks, with chunks of %i', (size) => {
    const bytes = Buffer.concat([hex('c000'), hex('c000'), hex('c000')])
    const reader = new PacketReader({ receiver: 'server', maximumPacketBytes: 100, version: 4 })
    const seen: unknown[] = []
    for (let at = 0; at < bytes.length; at += size) {
      reader.read(bytes.subarray(at, at + size), {
        onPacket: (packet) => {
          seen.push(packet.type)
          if (seen.length === 2) reader.stop()
        },
        onMalformed: (problem) => seen.push(problem),
      })
    }
    expect(seen).toEqual(['pingreq', 'pingreq'])
  })

  test('nothing comes after a bad frame', () => {
    const { packets, problems } = readAll([hex('c000 40020000 c000'), hex('c000')], 'server', 4)
    expect(packets).toEqual([{ type: 'pingreq' }])
    expect(problems.map((problem) => problem.statement)).toEqual(['MQTT-2.2.1-3'])
  })

  test('a packet of the maximum size is taken, one byte more is refused on its header', () => {
    const fits = frame(0x30, 'a/b', Buffer.alloc(93))
    expect(fits.length).toBe(100)
    expect(readAll([fits], 'server', 4, 100).packets).toHaveLength(1)
    const tooLarge = frame(0x30, 'a/b', Buffer.alloc(94)).subarray(0, 2)
    expect(readAll([tooLarge], 'server', 4, 100).problems).toEqual([
      expect.objectContaining({ reasonCode: 0x95, statement: 'MQTT-3.2.2-15' }),
    ])
    expect(readAll([tooLarge], 'client', 4, 100).problems).toEqual([
      expect.objectContaining({ reasonCode: 0x95, statement: 'MQTT-3.1.2-24' }),
    ])
  })

  test('a header that announces 256 MiB keeps no more than came', () => {
    const reader = new PacketReader({ receiver: 'server', maximumPacketBytes: 300 << 20, version: 4 })
    const sink = {
      onPacket: () => {
        throw new Error('no packet is whole')
      },
      onMalformed: (problem: Malformed) => {
        throw new Error(problem.text)
      },
    }
    const before = process.memoryUsage().arrayBuffers
    reader.read(hex('30ffffff7f'), sink)
    for (let i = 0; i < 100; i++) reader.read(Buffer.from('0003612f62'), sink)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
  })

  test('a megabyte byte by byte takes time linear in its length', () => {
    const whole = encodePacket({ ...publish3, payload: Buffer.alloc(1 << 20, 3) }, 4)
    const reader = new PacketReader({ receiver: 'server', maximumPacketBytes: 2 << 20, version: 4 })
    let bytes = 0
    const sink = { onPacket: (packet: Packet) => (bytes += (packet as Publish).payload.length), onMalformed: () => undefined }
    // Copying all that came with each byte would be 500 GB: minutes, where this takes a fraction of a second.
    for (let at = 0; at < whole.length; at++) reader.read(whole.subarray(at, at + 1), sink)
    expect(bytes).toBe(1 << 20)
  })
})

describe('encoding a PUBLISH that a server forwards', () => {
  const received = readAll(
    [frame(0x32, 'a/b', 0, 7, 3 + messagePropertyBytes.length, 0x23, 0, 1, messagePropertyBytes, payload)],
    'server',
    5,
  ).packets[0] as Publish
  const fields = { topic: 'a/b', payload, qos: 1, dup: false, retain: false, packetId: 9, rawProperties: received.rawProperties! } as const

  function forwarded(properties?: Publish['properties']): Publish {
    const bytes = encodePublish(properties === undefined ? fields : { ...fields, properties }, 5)
    const { packets, problems } = readAll([bytes], 'client', 5)
    expect(problems).toEqual([])
    return packets[0] as Publish
  }

  test("the message's own properties are kept as they stand, without alias and identifiers [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]", () => {
    expect(received.rawProperties).toEqual(messagePropertyBytes)
    expect(forwarded().rawProperties).toEqual(messagePropertyBytes)
    expect(forwarded().properties).toEqual(messageProperties)
  })

  test('alias and identifiers in the middle are taken out too', () => {
    const bytes = frame(0x30, 'a/b', 17, 1, 1, 0x0b, 5, 3, 'x', 0x23, 0, 1, 0x0b, 6, 9, 'y', payload)
    const packet = readAll([bytes], 'client', 5).packets[0] as Publish
    expect(packet.rawProperties).toEqual(bytesOf(1, 1, 3, 'x', 9, 'y'))
    expect(packet.properties?.subscriptionIdentifiers).toEqual([5, 6])
  })

  test('what belongs to the connection is added', () => {
    const properties = { subscriptionIdentifiers: [1, 2], topicAlias: 3 }
    expect(forwarded(properties).properties).toEqual({ ...messageProperties, ...properties })
    expect(forwarded(properties).rawProperties).toEqual(messagePropertyBytes)
  })

  test('the expiry takes the place of the one that came [MQTT-3.3.2-6]', () => {
    expect(messageExpiryIn(received.rawProperties!)).toBe(0x01020304)
    expect(forwarded({ messageExpiryInterval: 60 }).properties).toEqual({ ...messageProperties, messageExpiryInterval: 60 })
    expect(messageExpiryIn(forwarded({ messageExpiryInterval: 60 }).rawProperties!)).toBe(60)
    expect(received.rawProperties, 'what came is not written to').toEqual(messagePropertyBytes)
  })

  test('an expiry is added where none came', () => {
    const bytes = encodePublish({ ...fields, rawProperties: userPropertyBytes, properties: { messageExpiryInterval: 0 } }, 5)
    const packet = readAll([bytes], 'client', 5).packets[0] as Publish
    expect(packet.properties).toEqual({ userProperties, messageExpiryInterval: 0 })
    expect(messageExpiryIn(userPropertyBytes)).toBeUndefined()
  })

  test('to a 3.x subscriber no property goes', () => {
    const { packets } = readAll([encodePublish({ ...fields, properties: { topicAlias: 1 } }, 4)], 'client', 4)
    expect(packets).toEqual([{ ...publish3, qos: 1, packetId: 9 }])
  })
})

describe('encoding', () => {
  test('an acknowledgement carries a code in MQTT 5 only, and only when it is not 0', () => {
    expect(encodeAcknowledgement('puback', 1, 0, 5)).toEqual(hex('40020001'))
    expect(encodeAcknowledgement('puback', 1, 0x10, 5)).toEqual(hex('4003000110'))
    expect(encodeAcknowledgement('puback', 1, 0x10, 4)).toEqual(hex('40020001'))
    expect(encodeAcknowledgement('pubrel', 0x1234, 0, 4)).toEqual(hex('62021234'))
  })

  test('what was written is not written to again, over more than one slab', () => {
    const written = Array.from({ length: 2000 }, (_, i) =>
      encodePublish({ ...publish3, payload: Buffer.from(`number ${i}`.padEnd(60)) }, 4),
    )
    const { packets } = readAll(written, 'client', 4)
    expect(packets.map((packet) => (packet as Publish).payload.toString().trimEnd())).toEqual(written.map((_, i) => `number ${i}`))
  })

  test('packets larger than a slab', () => {
    const large = { ...publish5, payload: Buffer.alloc(300_000, 1) }
    const packet = readAll([encodePacket(large, 5)], 'client', 5).packets[0] as Publish
    expect(packet.payload.equals(large.payload)).toBe(true)
  })

  const subscription = { filter: 'a', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
  test.each<[string, Packet, ProtocolVersion]>([
    ['a topic of more than 65,535 bytes [MQTT-4.7.3-3]', { ...publish3, topic: 'x'.repeat(65_536) }, 4],
    ['a topic of fewer characters but more bytes', { ...publish3, topic: '€'.repeat(21_846) }, 4],
    ['packet identifier 0', { ...publish3, qos: 1 }, 4],
    ['packet identifier 65,536', { type: 'suback', packetId: 65_536, reasonCodes: [0] }, 4],
    ['packet identifier 1.5', { ...publish3, qos: 1, packetId: 1.5 }, 4],
    ['a topic with U+0000 [MQTT-1.5.4-2] [MQTT-4.7.3-2]', { ...publish3, topic: 'a\u0000' }, 4],
    [
      'a user property with half a surrogate pair [MQTT-1.5.4-1] [MQTT-1.5.7-1]',
      { ...publish3, properties: { userProperties: [['\ud800x', '']] } },
      5,
    ],
    [
      'a long reason string with U+0000',
      { type: 'puback', packetId: 1, reasonCode: 0, properties: { reasonString: `${'x'.repeat(70)}\u0000` } },
      5,
    ],
    ['keep alive of 65,536 s', { ...connect, version: 4, keepAliveSeconds: 65_536 }, 4],
    ['DUP with QoS 0 [MQTT-3.3.1-2] [MQTT-4.3.1-1]', { ...publish3, dup: true }, 4],
    ['a foreign property', { ...publish3, properties: { receiveMaximum: 1 } }, 5],
    ['a property out of its range', { ...publish3, properties: { topicAlias: 0 } }, 5],
    ['a property with a fraction', { ...publish3, properties: { messageExpiryInterval: 0.5 } }, 5],
    ['an overlong user property', { ...publish3, properties: { userProperties: [['', 'x'.repeat(65_536)]] } }, 5],
    ['overlong correlation data', { ...publish3, properties: { correlationData: Buffer.alloc(65_536) } }, 5],
    ['an overlong password', { ...connect, version: 4, username: '', password: Buffer.alloc(65_536) }, 4],
    [
      'two subscription identifiers in SUBSCRIBE',
      { type: 'subscribe', packetId: 1, subscriptions: [subscription], properties: { subscriptionIdentifiers: [1, 2] } },
      5,
    ],
    ['AUTH before MQTT 5', { type: 'auth', reasonCode: 0 }, 4],
  ])('%s is a fault of the caller and throws', (_name, packet, version) => {
    expect(() => encodePacket(packet, version)).toThrow(RangeError)
    // Nothing of it is left in the way of the next packet.
    expect(encodePacket({ type: 'puback', packetId: 1, reasonCode: 0 }, 4)).toEqual(hex('40020001'))
  })

  test('a packet over 256 MiB is a fault of the caller and throws', () => {
    const endless = { length: 0x1000_0000 } as unknown as Buffer
    expect(() => encodePublish({ ...publish3, payload: endless }, 4)).toThrow(RangeError)
  })
})
