import { describe, expect, test } from 'vitest'
import { type Malformed, PacketReader } from './mqtt-codec.ts'
import { rules } from './mqtt-rules.ts'
import type { ProtocolVersion } from './packets.ts'
import { carrier, propertyTable } from './properties.ts'
import { type Role, reasonCodeFlaw } from './reason-codes.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** Numbers are bytes, texts are strings with their length before them. */
type Part = number | string | Buffer

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

/** A frame with a remaining length of up to 127. */
function frame(firstByte: number, ...parts: readonly Part[]): Buffer {
  const body = bytesOf(...parts)
  return Buffer.concat([Buffer.from([firstByte, body.length]), body])
}

/** Properties with their length before them. */
function properties(...parts: readonly Part[]): Buffer {
  const body = bytesOf(...parts)
  return Buffer.concat([Buffer.from([body.length]), body])
}

function verdict(chunks: readonly Buffer[], receiver: Role, version: ProtocolVersion | undefined): Malformed | 'packet' | 'waiting' {
  const reader = new PacketReader({ receiver, maximumPacketBytes: 1000, ...(version === undefined ? {} : { version }) })
  const seen: (Malformed | 'packet')[] = []
  for (const chunk of chunks) reader.read(chunk, { onPacket: () => seen.push('packet'), onMalformed: (problem) => seen.push(problem) })
  expect(seen.length).toBeLessThanOrEqual(1)
  return seen[0] ?? 'waiting'
}

const server = 'server'
const client = 'client'

const connect4 = (flags: number, ...rest: readonly Part[]) => frame(0x10, 'MQTT', 4, flags, 0, 10, ...rest)
const connect5 = (flags: number, ...rest: readonly Part[]) => frame(0x10, 'MQTT', 5, flags, 0, 10, ...rest)
const ill = hex('0002 c080')
const surrogate = hex('0003 eda080')
const withNull = hex('0001 00')
const withControl = hex('0001 1f')

type Row = readonly [
  name: string,
  receiver: Role,
  version: ProtocolVersion | undefined,
  bytes: Buffer,
  reasonCode: number,
  statement: string,
]

const rows: readonly Row[] = [
  // Fixed header
  ['a first packet that is not CONNECT', server, undefined, frame(0x30, 'a'), 0x82, 'MQTT-3.1.0-1'],
  ['packet type 0', server, 4, hex('0000'), 0x82, 'section 2.1.2'],
  ['packet type 15 in 3.1.1', server, 4, hex('f000'), 0x82, 'section 2.1.2'],
  ['CONNACK to a server', server, 5, hex('2003000000'), 0x82, 'section 2.1.2'],
  ['SUBACK to a server', server, 4, hex('9003000100'), 0x82, 'section 2.1.2'],
  ['UNSUBACK to a server', server, 4, hex('b0020001'), 0x82, 'section 2.1.2'],
  ['PINGRESP to a server', server, 4, hex('d000'), 0x82, 'section 2.1.2'],
  ['CONNECT to a client', client, 4, connect4(2, 'c'), 0x82, 'section 2.1.2'],
  ['SUBSCRIBE to a client', client, 4, frame(0x82, 0, 1, 'a', 0), 0x82, 'section 2.1.2'],
  ['UNSUBSCRIBE to a client', client, 4, frame(0xa2, 0, 1, 'a'), 0x82, 'section 2.1.2'],
  ['PINGREQ to a client', client, 4, hex('c000'), 0x82, 'section 2.1.2'],
  ['DISCONNECT to a client of 3.1.1', client, 4, hex('e000'), 0x82, 'section 2.1.2'],
  ['CONNECT with a flag', server, undefined, hex('11 0d 00044d515454 04 02 000a 000163'), 0x81, 'MQTT-2.1.3-1'],
  ['PUBACK with a flag', server, 4, hex('41020001'), 0x81, 'MQTT-2.1.3-1'],
  ['PUBREL without its flag', server, 4, hex('60020001'), 0x81, 'MQTT-3.6.1-1'],
  ['SUBSCRIBE without its flag', server, 4, frame(0x80, 0, 1, 'a', 0), 0x81, 'MQTT-3.8.1-1'],
  ['UNSUBSCRIBE with DUP in 3.1.1', server, 4, frame(0xaa, 0, 1, 'a'), 0x81, 'MQTT-3.10.1-1'],
  ['DISCONNECT with a flag', server, 5, hex('e100'), 0x81, 'MQTT-3.14.1-1'],
  ['AUTH with a flag', server, 5, hex('f200'), 0x81, 'MQTT-3.15.1-1'],
  ['PUBLISH with QoS 3', server, 4, frame(0x36, 'a', 0, 1), 0x81, 'MQTT-3.3.1-4'],
  ['PUBLISH with DUP and QoS 0', server, 5, frame(0x38, 'a', 0), 0x81, 'MQTT-3.3.1-2'],
  ['a remaining length of two bytes where one does', server, 4, hex('c08000'), 0x81, 'MQTT-1.5.5-1'],
  ['a remaining length of four bytes where one does', server, 4, hex('30 83808000 000161'), 0x81, 'MQTT-1.5.5-1'],
  ['a remaining length of five bytes', server, 4, hex('c08080808001'), 0x81, 'section 1.5.5'],
  ['a packet above the maximum', server, 4, hex('30ffffff7f'), 0x95, 'MQTT-3.2.2-15'],
  ['PINGREQ with a payload', server, 4, hex('c00100'), 0x81, 'section 2.1.4'],
  ['PINGRESP with a payload', client, 4, hex('d00100'), 0x81, 'section 2.1.4'],

  // CONNECT
  ['an empty CONNECT', server, undefined, hex('1000'), 0x81, 'section 2.1.4'],
  ['CONNECT with another protocol name', server, undefined, frame(0x10, 'MQTU', 4, 2, 0, 10, 'c'), 0x84, 'MQTT-3.1.2-1'],
  ['CONNECT with a protocol name that goes on', server, undefined, frame(0x10, 'MQTTT', 4, 2, 0, 10, 'c'), 0x84, 'MQTT-3.1.2-1'],
  ['CONNECT MQTT with level 3', server, undefined, frame(0x10, 'MQTT', 3, 2, 0, 10, 'c'), 0x84, 'MQTT-3.1.2-2'],
  ['CONNECT MQIsdp with level 4', server, undefined, frame(0x10, 'MQIsdp', 4, 2, 0, 10, 'c'), 0x84, 'MQTT-3.1.2-2'],
  ['CONNECT with the bridge bit', server, undefined, frame(0x10, 'MQTT', 0x84, 2, 0, 10, 'c'), 0x84, 'MQTT-3.1.2-2'],
  ['CONNECT with a level to come', server, undefined, frame(0x10, 'MQTT', 6, 2, 0, 10, 'c'), 0x84, 'MQTT-3.1.2-2'],
  ['CONNECT with the reserved flag', server, undefined, connect4(3, 'c'), 0x81, 'MQTT-3.1.2-3'],
  ['CONNECT with will QoS and no will', server, undefined, connect4(0x0a, 'c'), 0x81, 'MQTT-3.1.2-11'],
  ['CONNECT with will retain and no will', server, undefined, connect5(0x22, 0, 'c'), 0x81, 'MQTT-3.1.2-13'],
  ['CONNECT with will QoS 3', server, undefined, connect4(0x1e, 'c', 'w', 'p'), 0x81, 'MQTT-3.1.2-12'],
  ['CONNECT with a password and no user name in 3.1.1', server, undefined, connect4(0x42, 'c', 'p'), 0x81, 'v3.1.1 MQTT-3.1.2-22'],
  [
    'CONNECT with a password and no user name in 3.1',
    server,
    undefined,
    frame(0x10, 'MQIsdp', 3, 0x42, 0, 10, 'c', 'p'),
    0x81,
    'v3.1.1 MQTT-3.1.2-22',
  ],
  ['CONNECT with a user name flag and no user name', server, undefined, connect4(0x82, 'c'), 0x81, 'section 2.1.4'],
  ['CONNECT with a will flag and no will', server, undefined, connect4(0x06, 'c'), 0x81, 'section 2.1.4'],
  ['CONNECT with a user name and no flag', server, undefined, connect4(2, 'c', 'u'), 0x81, 'section 2.1.4'],
  ['CONNECT 5 with bytes behind its end', server, undefined, connect5(2, 0, 'c', 0), 0x81, 'section 2.1.4'],
  ['CONNECT 3.1.1 without client id for a session to keep', server, undefined, connect4(0, ''), 0x85, 'v3.1.1 MQTT-3.1.3-8'],
  ['CONNECT 3.1 without client id', server, undefined, frame(0x10, 'MQIsdp', 3, 2, 0, 10, ''), 0x85, 'v3.1.1 MQTT-3.1.3-8'],
  ['CONNECT with an ill-formed client id', server, undefined, connect4(2, surrogate), 0x81, 'MQTT-1.5.4-1'],
  ['CONNECT 5 with an ill-formed client id', server, undefined, connect5(2, 0, surrogate), 0x85, 'MQTT-3.1.3-4'],
  ['CONNECT with U+0000 in the user name', server, undefined, connect4(0x82, 'c', withNull), 0x81, 'MQTT-1.5.4-2'],
  ['CONNECT with a control character in the user name', server, undefined, connect5(0x82, 0, 'c', withControl), 0x81, 'section 1.5.4'],
  ['CONNECT with an empty will topic', server, undefined, connect4(6, 'c', '', ''), 0x81, 'MQTT-4.7.3-1'],
  ['CONNECT with a wildcard in the will topic', server, undefined, connect4(6, 'c', 'w/#', ''), 0x81, 'MQTT-4.7.0-1'],
  ['CONNECT with an ill-formed will topic', server, undefined, connect4(6, 'c', ill, ''), 0x81, 'MQTT-1.5.4-1'],
  ['CONNECT 5 without a property length', server, undefined, connect5(2), 0x81, 'section 2.1.4'],
  ['CONNECT 5 with receive maximum 0', server, undefined, connect5(2, properties(0x21, 0, 0), 'c'), 0x82, 'section 2.2.2.2'],
  ['CONNECT 5 with maximum packet size 0', server, undefined, connect5(2, properties(0x27, hex('00000000')), 'c'), 0x82, 'section 2.2.2.2'],
  ['CONNECT 5 with request problem information 2', server, undefined, connect5(2, properties(0x17, 2), 'c'), 0x82, 'section 2.2.2.2'],
  ['CONNECT 5 with authentication data alone', server, undefined, connect5(2, properties(0x16, 0, 0), 'c'), 0x82, 'section 3.1.2.11.10'],
  ['CONNECT 5 with a foreign property', server, undefined, connect5(2, properties(0x23, 0, 1), 'c'), 0x81, 'section 2.2.2.2'],
  [
    'CONNECT 5 with will delay outside of the will',
    server,
    undefined,
    connect5(2, properties(0x18, hex('00000001')), 'c'),
    0x81,
    'section 2.2.2.2',
  ],
  [
    'CONNECT 5 with a will property given twice',
    server,
    undefined,
    connect5(6, 0, 'c', properties(0x18, hex('00000001'), 0x18, hex('00000001')), 'w', ''),
    0x82,
    'section 2.2.2.2',
  ],

  // CONNACK
  ['CONNACK with reserved flags', client, 5, hex('2003020000'), 0x81, 'MQTT-3.2.2-1'],
  ['CONNACK with session present and a refusal', client, 4, hex('20020105'), 0x82, 'MQTT-3.2.2-6'],
  ['CONNACK 3.1.1 with return code 6', client, 4, hex('20020006'), 0x82, 'MQTT-3.2.2-8'],
  ['CONNACK 5 with reason code 1', client, 5, hex('2003000100'), 0x82, 'MQTT-3.2.2-8'],
  ['CONNACK 5 without a property length', client, 5, hex('20020000'), 0x81, 'section 2.1.4'],
  ['CONNACK 3.1.1 with properties', client, 4, hex('2003000000'), 0x81, 'section 2.1.4'],
  ['CONNACK with maximum QoS 2', client, 5, hex('20050000022402'), 0x82, 'section 2.2.2.2'],

  // PUBLISH
  ['PUBLISH with an empty topic in 3.1.1', server, 4, frame(0x30, '', hex('61')), 0x81, 'MQTT-4.7.3-1'],
  ['PUBLISH with an empty topic and no alias', server, 5, frame(0x30, '', 0, hex('61')), 0x82, 'section 3.3.2.1'],
  ['PUBLISH with a wildcard', server, 4, frame(0x30, 'a/+', hex('61')), 0x81, 'MQTT-3.3.2-2'],
  ['PUBLISH with a wildcard in a long topic', client, 4, frame(0x30, `${'x'.repeat(90)}#`), 0x81, 'MQTT-3.3.2-2'],
  ['PUBLISH with an ill-formed topic', server, 4, frame(0x30, ill), 0x81, 'MQTT-1.5.4-1'],
  ['PUBLISH with U+0000 in the topic', server, 5, frame(0x30, withNull, 0), 0x81, 'MQTT-1.5.4-2'],
  ['PUBLISH with a control character in the topic', server, 5, frame(0x30, withControl, 0), 0x81, 'section 1.5.4'],
  ['PUBLISH with a topic that does not fit', server, 4, hex('3003 0002 61'), 0x81, 'section 2.1.4'],
  ['PUBLISH with half a topic length', server, 4, hex('3001 00'), 0x81, 'section 2.1.4'],
  ['an empty PUBLISH', server, 4, hex('3000'), 0x81, 'section 2.1.4'],
  ['PUBLISH with packet identifier 0', server, 4, frame(0x32, 'a', 0, 0), 0x82, 'MQTT-2.2.1-3'],
  ['PUBLISH without its packet identifier', server, 4, frame(0x32, 'a', 0), 0x81, 'section 2.1.4'],
  ['PUBLISH without a property length', server, 5, frame(0x30, 'a'), 0x81, 'section 2.1.4'],
  ['PUBLISH with a property length beyond its end', server, 5, frame(0x30, 'a', 3, 1, 0), 0x81, 'section 2.1.4'],
  ['PUBLISH with a property length that is not minimal', server, 5, frame(0x30, 'a', hex('8200'), 1, 0), 0x81, 'MQTT-1.5.5-1'],
  ['PUBLISH with a property cut by the property length', server, 5, frame(0x30, 'a', 4, 2, 0, 0, 0, 0, hex('61')), 0x81, 'section 2.1.4'],
  ['PUBLISH with a property identifier that is not minimal', server, 5, frame(0x30, 'a', properties(hex('8100'), 0)), 0x81, 'MQTT-1.5.5-1'],
  ['PUBLISH with payload format 2', server, 5, frame(0x30, 'a', properties(1, 2)), 0x82, 'section 2.2.2.2'],
  ['PUBLISH with expiry given twice', server, 5, frame(0x30, 'a', properties(2, 0, 0, 0, 1, 2, 0, 0, 0, 1)), 0x82, 'section 2.2.2.2'],
  ['PUBLISH with topic alias 0', server, 5, frame(0x30, 'a', properties(0x23, 0, 0)), 0x94, 'MQTT-3.3.2-8'],
  ['PUBLISH with two topic aliases', server, 5, frame(0x30, 'a', properties(0x23, 0, 1, 0x23, 0, 2)), 0x82, 'section 2.2.2.2'],
  ['PUBLISH with a wildcard in the response topic', server, 5, frame(0x30, 'a', properties(8, 'r/#')), 0x82, 'MQTT-3.3.2-14'],
  ['PUBLISH with an empty response topic', server, 5, frame(0x30, 'a', properties(8, '')), 0x82, 'MQTT-4.7.3-1'],
  ['PUBLISH with an ill-formed content type', server, 5, frame(0x30, 'a', properties(3, ill)), 0x81, 'MQTT-1.5.4-1'],
  ['PUBLISH with U+0000 in a user property', server, 5, frame(0x30, 'a', properties(0x26, 'k', withNull)), 0x81, 'MQTT-1.5.4-2'],
  ['PUBLISH with half a user property', server, 5, frame(0x30, 'a', properties(0x26, 'k')), 0x81, 'section 2.1.4'],
  ['PUBLISH with a foreign property', server, 5, frame(0x30, 'a', properties(0x1f, 'x')), 0x81, 'section 2.2.2.2'],
  ['PUBLISH with an unknown property', server, 5, frame(0x30, 'a', properties(4, 0)), 0x81, 'section 2.2.2.2'],
  ['PUBLISH to a server with a subscription identifier', server, 5, frame(0x30, 'a', properties(0x0b, 1)), 0x82, 'MQTT-3.3.4-6'],
  ['PUBLISH to a client with subscription identifier 0', client, 5, frame(0x30, 'a', properties(0x0b, 0)), 0x82, 'section 2.2.2.2'],

  // Acknowledgements
  ['PUBACK with packet identifier 0', server, 4, hex('40020000'), 0x82, 'MQTT-2.2.1-3'],
  ['an empty PUBACK', server, 5, hex('4000'), 0x81, 'section 2.1.4'],
  ['PUBREC of one byte', server, 4, hex('500100'), 0x81, 'section 2.1.4'],
  ['PUBCOMP 3.1.1 of three bytes', server, 4, hex('7003000100'), 0x81, 'section 2.1.4'],
  ['PUBACK with bytes behind its properties', server, 5, hex('40050001000000'), 0x81, 'section 2.1.4'],
  ['PUBACK with an unknown reason code', client, 5, hex('4003000101'), 0x82, 'MQTT-3.4.2-1'],
  ['PUBACK to a server that says no subscriber matches', server, 5, hex('4003000110'), 0x82, 'MQTT-3.4.2-1'],
  ['PUBREC with an unknown reason code', server, 5, hex('50030001ff'), 0x82, 'MQTT-3.5.2-1'],
  ['PUBREL with the code of a PUBREC', server, 5, hex('6203000180'), 0x82, 'MQTT-3.6.2-1'],
  ['PUBCOMP with an unknown reason code', client, 5, hex('7003000193'), 0x82, 'MQTT-3.7.2-1'],
  ['PUBACK with a foreign property', server, 5, hex('400600010002 0100'), 0x81, 'section 2.2.2.2'],
  ['PUBACK with two reason strings', server, 5, frame(0x40, 0, 1, 0, properties(0x1f, 'a', 0x1f, 'b')), 0x82, 'section 2.2.2.2'],

  // SUBSCRIBE, UNSUBSCRIBE and their answers
  ['SUBSCRIBE with packet identifier 0', server, 4, frame(0x82, 0, 0, 'a', 0), 0x82, 'MQTT-2.2.1-3'],
  ['SUBSCRIBE without a filter', server, 4, frame(0x82, 0, 1), 0x82, 'MQTT-3.8.3-2'],
  ['SUBSCRIBE 5 without a filter', server, 5, frame(0x82, 0, 1, 0), 0x82, 'MQTT-3.8.3-2'],
  ['SUBSCRIBE without options', server, 4, frame(0x82, 0, 1, 'a'), 0x81, 'section 2.1.4'],
  ['SUBSCRIBE to an empty filter', server, 4, frame(0x82, 0, 1, '', 0), 0x81, 'MQTT-4.7.3-1'],
  ['SUBSCRIBE to a#', server, 4, frame(0x82, 0, 1, 'ok', 0, 'a#', 0), 0x81, 'MQTT-4.7.1-1'],
  ['SUBSCRIBE to #/a', server, 5, frame(0x82, 0, 1, 0, '#/a', 0), 0x81, 'MQTT-4.7.1-1'],
  ['SUBSCRIBE to a+', server, 4, frame(0x82, 0, 1, 'a+', 0), 0x81, 'MQTT-4.7.1-2'],
  ['SUBSCRIBE with an ill-formed filter', server, 4, frame(0x82, 0, 1, ill, 0), 0x81, 'MQTT-1.5.4-1'],
  ['SUBSCRIBE to $share/g', server, 5, frame(0x82, 0, 1, 0, '$share/g', 0), 0x81, 'MQTT-4.8.2-2'],
  ['SUBSCRIBE to $share//a', server, 5, frame(0x82, 0, 1, 0, '$share//a', 0), 0x81, 'MQTT-4.8.2-1'],
  ['SUBSCRIBE to $share/+/a', server, 5, frame(0x82, 0, 1, 0, '$share/+/a', 0), 0x81, 'MQTT-4.8.2-1'],
  ['SUBSCRIBE with No Local on a shared subscription', server, 5, frame(0x82, 0, 1, 0, '$share/g/a', 4), 0x82, 'MQTT-3.8.3-4'],
  ['SUBSCRIBE with QoS 3', server, 4, frame(0x82, 0, 1, 'a', 3), 0x82, 'section 3.8.3.1'],
  ['SUBSCRIBE 3.1.1 with the options of MQTT 5', server, 4, frame(0x82, 0, 1, 'a', 4), 0x81, 'MQTT-3.8.3-5'],
  ['SUBSCRIBE with retain handling 3', server, 5, frame(0x82, 0, 1, 0, 'a', 0x30), 0x82, 'section 3.8.3.1'],
  ['SUBSCRIBE with reserved options', server, 5, frame(0x82, 0, 1, 0, 'a', 0x40), 0x81, 'MQTT-3.8.3-5'],
  ['SUBSCRIBE with subscription identifier 0', server, 5, frame(0x82, 0, 1, properties(0x0b, 0), 'a', 0), 0x82, 'section 2.2.2.2'],
  [
    'SUBSCRIBE with two subscription identifiers',
    server,
    5,
    frame(0x82, 0, 1, properties(0x0b, 1, 0x0b, 2), 'a', 0),
    0x82,
    'section 2.2.2.2',
  ],
  [
    'SUBSCRIBE with a subscription identifier of five bytes',
    server,
    5,
    frame(0x82, 0, 1, properties(0x0b, hex('8080808001')), 'a', 0),
    0x81,
    'section 1.5.5',
  ],
  ['UNSUBSCRIBE without a filter', server, 4, frame(0xa2, 0, 1), 0x82, 'MQTT-3.10.3-2'],
  ['UNSUBSCRIBE with packet identifier 0', server, 5, frame(0xa2, 0, 0, 0, 'a'), 0x82, 'MQTT-2.2.1-3'],
  ['UNSUBSCRIBE from an empty filter', server, 4, frame(0xa2, 0, 1, ''), 0x81, 'MQTT-4.7.3-1'],
  ['UNSUBSCRIBE from a#', server, 5, frame(0xa2, 0, 1, 0, 'a#'), 0x81, 'MQTT-4.7.1-1'],
  ['SUBACK without a code', client, 4, hex('90020001'), 0x82, 'MQTT-3.8.4-6'],
  ['SUBACK 3.1.1 with a code of MQTT 5', client, 4, hex('9003000187'), 0x82, 'MQTT-3.9.3-2'],
  ['SUBACK 5 with an unknown code', client, 5, hex('900400010003'), 0x82, 'MQTT-3.9.3-2'],
  ['UNSUBACK 3.1.1 with a code', client, 4, hex('b003000100'), 0x81, 'section 2.1.4'],
  ['UNSUBACK 5 without a code', client, 5, hex('b003000100'), 0x82, 'MQTT-3.11.3-2'],
  ['UNSUBACK 5 with an unknown code', client, 5, hex('b00400010001'), 0x82, 'MQTT-3.11.3-2'],

  // DISCONNECT and AUTH
  ['DISCONNECT 3.1.1 with a code', server, 4, hex('e00100'), 0x81, 'section 2.1.4'],
  ['DISCONNECT with an unknown code', server, 5, hex('e00101'), 0x82, 'MQTT-3.14.2-1'],
  ['DISCONNECT from a client with the code of a server', server, 5, hex('e0018e'), 0x82, 'MQTT-3.14.2-1'],
  ['DISCONNECT with will, from a server', client, 5, hex('e00104'), 0x82, 'MQTT-3.14.2-1'],
  ['DISCONNECT from a server with session expiry', client, 5, frame(0xe0, 0x8b, properties(0x11, hex('00000001'))), 0x82, 'MQTT-3.14.2-2'],
  ['DISCONNECT with bytes behind its properties', server, 5, hex('e003000000'), 0x81, 'section 2.1.4'],
  ['AUTH of success from a client', server, 5, hex('f000'), 0x82, 'MQTT-3.15.2-1'],
  ['AUTH of re-authentication from a server', client, 5, frame(0xf0, 0x19, properties(0x15, 'm')), 0x82, 'MQTT-3.15.2-1'],
  ['AUTH without a method', server, 5, frame(0xf0, 0x18, 0), 0x82, 'section 3.15.2.2.2'],
  ['AUTH with data and no method', server, 5, frame(0xf0, 0x18, properties(0x16, 0, 0)), 0x82, 'section 3.15.2.2.2'],
  ['AUTH with a code and no property length', server, 5, hex('f00118'), 0x81, 'section 2.1.4'],
]

describe('refused', () => {
  test.each(rows)('%s', (_name, receiver, version, bytes, reasonCode, statement) => {
    expect(verdict([bytes], receiver, version)).toMatchObject({ reasonCode, statement })
  })

  test.each(rows)('%s: the same wherever it is cut in two, and byte by byte', (_name, receiver, version, bytes) => {
    const whole = verdict([bytes], receiver, version)
    for (let cut = 1; cut < bytes.length; cut++) {
      expect(verdict([bytes.subarray(0, cut), bytes.subarray(cut)], receiver, version), `cut at ${cut}`).toEqual(whole)
    }
    const single = [...bytes].map((byte) => Buffer.from([byte]))
    expect(verdict(single, receiver, version)).toEqual(whole)
  })

  test('every rule has a row', () => {
    const tried = new Set(
      rows.map(([, receiver, version, bytes]) => {
        const problem = verdict([bytes], receiver, version)
        return typeof problem === 'string' ? problem : problem.text.split(': ')[0]
      }),
    )
    const untried = Object.values(rules).filter((rule) => !tried.has(rule.text))
    expect(untried.map((rule) => rule.text)).toEqual([])
  })
})

describe('the CONNACK that a refused CONNECT may get', () => {
  test.each<[string, Buffer, Malformed['refusal']]>([
    ['level 2: return code 1 [v3.1.1 MQTT-3.1.2-2]', frame(0x10, 'MQTT', 2, 2, 0, 10, 'c'), { version: 3, reasonCode: 1 }],
    ['a name that does not go with its level: return code 1', frame(0x10, 'MQIsdp', 4, 2, 0, 10, 'c'), { version: 3, reasonCode: 1 }],
    ['the bridge bit: return code 1', frame(0x10, 'MQTT', 0x84, 2, 0, 10, 'c'), { version: 3, reasonCode: 1 }],
    ['level 6: reason code 0x84 [MQTT-3.1.2-2]', frame(0x10, 'MQTT', 6, 2, 0, 10, 'c'), { version: 5, reasonCode: 0x84 }],
    ['3.1.1 without client id: return code 2', connect4(0, ''), { version: 4, reasonCode: 2 }],
    ['3.1 without client id: return code 2', frame(0x10, 'MQIsdp', 3, 2, 0, 10, ''), { version: 3, reasonCode: 2 }],
    ['MQTT 5, malformed: its reason code', connect5(3, 0, 'c'), { version: 5, reasonCode: 0x81 }],
    ['MQTT 5, bad client id: its reason code', connect5(2, 0, withNull), { version: 5, reasonCode: 0x85 }],
    ['MQTT 5, bytes behind the end: its reason code', connect5(2, 0, 'c', 0), { version: 5, reasonCode: 0x81 }],
    ['another protocol name: none', frame(0x10, 'HTTP', 4, 2, 0, 10, 'c'), undefined],
    ['3.1.1, malformed: none', connect4(3, 'c'), undefined],
  ])('%s', (_name, bytes, refusal) => {
    expect((verdict([bytes], server, undefined) as Malformed).refusal).toEqual(refusal)
  })
})

describe('the table of properties', () => {
  /** How each packet looks around its properties, for a receiver that may get it. */
  const around: Record<keyof typeof carrier, readonly [Role, ProtocolVersion | undefined, (section: Buffer) => Buffer]> = {
    connect: [server, undefined, (section) => connect5(2, section, 'c')],
    will: [server, undefined, (section) => connect5(6, 0, 'c', section, 'w', '')],
    connack: [client, 5, (section) => frame(0x20, 0, 0, section)],
    publish: [client, 5, (section) => frame(0x30, 'a', section)],
    puback: [server, 5, (section) => frame(0x40, 0, 1, 0, section)],
    pubrec: [server, 5, (section) => frame(0x50, 0, 1, 0, section)],
    pubrel: [server, 5, (section) => frame(0x62, 0, 1, 0, section)],
    pubcomp: [server, 5, (section) => frame(0x70, 0, 1, 0, section)],
    subscribe: [server, 5, (section) => frame(0x82, 0, 1, section, 'a', 0)],
    suback: [client, 5, (section) => frame(0x90, 0, 1, section, 0)],
    unsubscribe: [server, 5, (section) => frame(0xa2, 0, 1, section, 'a')],
    unsuback: [client, 5, (section) => frame(0xb0, 0, 1, section, 0)],
    disconnect: [server, 5, (section) => frame(0xe0, 0, section)],
    auth: [server, 5, (section) => frame(0xf0, 0x18, section)],
  }

  /** Table 2-4 of MQTT 5.0, written down a second time, as the packets stand there. */
  const packetsOf: Record<number, string> = {
    1: 'publish will',
    2: 'publish will',
    3: 'publish will',
    8: 'publish will',
    9: 'publish will',
    11: 'publish subscribe',
    17: 'connect connack disconnect',
    18: 'connack',
    19: 'connack',
    21: 'connect connack auth',
    22: 'connect connack auth',
    23: 'connect',
    24: 'will',
    25: 'connect',
    26: 'connack',
    28: 'connack disconnect',
    31: 'connack puback pubrec pubrel pubcomp suback unsuback disconnect auth',
    33: 'connect connack',
    34: 'connect connack',
    35: 'publish',
    36: 'connack',
    37: 'connack',
    38: Object.keys(carrier).join(' '),
    39: 'connect connack',
    40: 'connack',
    41: 'connack',
    42: 'connack',
  }

  const sampleBytes = { byte: [1], 'two-byte': [0, 1], 'four-byte': [0, 0, 0, 1], variable: [1], binary: [0, 0] } as const
  const some = (type: string): readonly Part[] =>
    type === 'pair' ? ['k', 'v'] : type in sampleBytes ? sampleBytes[type as keyof typeof sampleBytes] : ['x']

  test('has the 27 properties of the standard', () => {
    expect(propertyTable.map((row) => row.id)).toEqual(Object.keys(packetsOf).map(Number))
  })

  for (const packet of Object.keys(carrier) as (keyof typeof carrier)[]) {
    test(`${packet} takes its own properties, once, and no other`, () => {
      const [receiver, version, build] = around[packet]
      for (const row of propertyTable) {
        const own = packetsOf[row.id]!.split(' ').includes(packet)
        // Not alone: data needs a method, and AUTH always does.
        const method: readonly Part[] = row.id !== 0x15 && (packet === 'auth' || row.id === 0x16) ? [0x15, 'm'] : []
        const outcome = verdict([build(properties(row.id, ...some(row.type), ...(own ? method : [])))], receiver, version)
        if (own) expect(outcome, row.name).toBe('packet')
        else expect(outcome, row.name).toMatchObject({ reasonCode: 0x81, text: expect.stringContaining('does not have') })
        if (!own) continue
        const twice = verdict([build(properties(row.id, ...some(row.type), row.id, ...some(row.type), ...method))], receiver, version)
        const repeats = row.name === 'userProperties' || (row.name === 'subscriptionIdentifiers' && packet === 'publish')
        if (repeats) expect(twice, row.name).toBe('packet')
        else expect(twice, row.name).toMatchObject({ reasonCode: 0x82, text: expect.stringContaining('more than once') })
      }
    })
  }
})

describe('the table of reason codes', () => {
  test('is that of the standard, from each sender', () => {
    const packets = ['connack', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'suback', 'unsuback', 'disconnect', 'auth'] as const
    const allowed = (receiver: Role, version: ProtocolVersion) =>
      Object.fromEntries(
        packets.map((packet) => [
          packet,
          Buffer.from([...Array(256).keys()].filter((code) => reasonCodeFlaw(packet, code, receiver, version) === undefined)).toString(
            'hex',
          ),
        ]),
      )
    expect(allowed('client', 5)).toEqual({
      connack: '00808182838485868788898a8c909597999a9b9c9d9f',
      puback: '00108083879091' + '9799',
      pubrec: '00108083879091' + '9799',
      pubrel: '0092',
      pubcomp: '0092',
      suback: '0001028083878f91979ea1a2',
      unsuback: '00118083878f91',
      disconnect: '008081828387898b8c8d8e8f909394959697989' + '99a9b9c9d9e9fa0a1a2',
      auth: '0018',
    })
    expect(allowed('server', 5)).toMatchObject({
      puback: '008083879091' + '9799',
      pubrel: '0092',
      disconnect: '000480818283909394959697' + '9899',
      auth: '1819',
    })
    expect(allowed('client', 4)).toMatchObject({ connack: '000102030405', suback: '00010280' })
  })
})
