/**
 * Frames that must be refused, one thing wrong with each: a row for every rule and every place where it can be broken. The codec is held to them, and
 * `mqtt-packet` is asked about them.
 */
import type { ProtocolVersion } from './packets.ts'
import type { Role } from './reason-codes.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

/** Numbers are bytes, texts are strings with their length before them. */
export type Part = number | string | Buffer

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
export function frame(firstByte: number, ...parts: readonly Part[]): Buffer {
  const body = bytesOf(...parts)
  return Buffer.concat([Buffer.from([firstByte, body.length]), body])
}

/** Properties with their length before them. */
export function properties(...parts: readonly Part[]): Buffer {
  const body = bytesOf(...parts)
  return Buffer.concat([Buffer.from([body.length]), body])
}

export const server = 'server'
export const client = 'client'

export const connect4 = (flags: number, ...rest: readonly Part[]) => frame(0x10, 'MQTT', 4, flags, 0, 10, ...rest)
export const connect5 = (flags: number, ...rest: readonly Part[]) => frame(0x10, 'MQTT', 5, flags, 0, 10, ...rest)
const ill = hex('0002 c080')
const surrogate = hex('0003 eda080')
export const withNull = hex('0001 00')
const withControl = hex('0001 1f')

/** The name ends with the statement, or section, that the bytes offend against. */
type Row = readonly [name: string, receiver: Role, version: ProtocolVersion | undefined, bytes: Buffer, reasonCode: number]

export const statementOf = (name: string): string => name.slice(name.lastIndexOf('[') + 1, -1)

/** What is wrong with any acknowledgement, the same way. */
const acknowledgements: readonly Row[] = (
  [
    ['PUBACK', 0x40],
    ['PUBREC', 0x50],
    ['PUBREL', 0x62],
    ['PUBCOMP', 0x70],
  ] as const
).flatMap(([name, firstByte]): Row[] => [
  [`${name} with packet identifier 0 [MQTT-2.2.1-3]`, server, 4, frame(firstByte, 0, 0), 0x82],
  [`${name} 5 with packet identifier 0 and a code [MQTT-2.2.1-3]`, client, 5, frame(firstByte, 0, 0, 0), 0x82],
  [`an empty ${name} [section 2.1.4]`, server, 5, frame(firstByte), 0x81],
  [`${name} of one byte [section 2.1.4]`, server, 4, frame(firstByte, 0), 0x81],
  [`${name} 3.1.1 of three bytes [section 2.1.4]`, client, 4, frame(firstByte, 0, 1, 0), 0x81],
  [`${name} with a property length beyond its end [section 2.1.4]`, server, 5, frame(firstByte, 0, 1, 0, 1), 0x81],
  [`${name} with bytes behind its properties [section 2.1.4]`, server, 5, frame(firstByte, 0, 1, 0, 0, 0), 0x81],
  [`${name} with a foreign property [section 2.2.2.2]`, server, 5, frame(firstByte, 0, 1, 0, properties(2, hex('00000001'))), 0x81],
  [`${name} with two reason strings [section 2.2.2.2]`, server, 5, frame(firstByte, 0, 1, 0, properties(0x1f, 'a', 0x1f, 'b')), 0x82],
])

export const malformedFrames: readonly Row[] = [
  // Fixed header
  ['a first packet that is not CONNECT [MQTT-3.1.0-1]', server, undefined, frame(0x30, 'a'), 0x82],
  ['packet type 0 [section 2.1.2]', server, 4, hex('0000'), 0x82],
  ['packet type 15 in 3.1.1 [section 2.1.2]', server, 4, hex('f000'), 0x82],
  ['CONNACK to a server [section 2.1.2]', server, 5, hex('2003000000'), 0x82],
  ['SUBACK to a server [section 2.1.2]', server, 4, hex('9003000100'), 0x82],
  ['UNSUBACK to a server [section 2.1.2]', server, 4, hex('b0020001'), 0x82],
  ['PINGRESP to a server [section 2.1.2]', server, 4, hex('d000'), 0x82],
  ['CONNECT to a client [section 2.1.2]', client, 4, connect4(2, 'c'), 0x82],
  ['SUBSCRIBE to a client [section 2.1.2]', client, 4, frame(0x82, 0, 1, 'a', 0), 0x82],
  ['UNSUBSCRIBE to a client [section 2.1.2]', client, 4, frame(0xa2, 0, 1, 'a'), 0x82],
  ['PINGREQ to a client [section 2.1.2]', client, 4, hex('c000'), 0x82],
  ['DISCONNECT to a client of 3.1.1 [section 2.1.2]', client, 4, hex('e000'), 0x82],
  ['CONNECT with a flag [MQTT-2.1.3-1]', server, undefined, hex('11 0d 00044d515454 04 02 000a 000163'), 0x81],
  ['PINGRESP to a server, with a flag [MQTT-2.1.3-1]', server, 5, hex('d100'), 0x81],
  ['PUBACK with a flag [MQTT-2.1.3-1]', server, 4, hex('41020001'), 0x81],
  ['PUBREL without its flag [MQTT-3.6.1-1]', server, 4, hex('60020001'), 0x81],
  ['SUBSCRIBE without its flag [MQTT-3.8.1-1]', server, 4, frame(0x80, 0, 1, 'a', 0), 0x81],
  ['UNSUBSCRIBE with DUP in 3.1.1 [MQTT-3.10.1-1]', server, 4, frame(0xaa, 0, 1, 'a'), 0x81],
  ['DISCONNECT with a flag [MQTT-3.14.1-1]', server, 5, hex('e100'), 0x81],
  ['AUTH with a flag [MQTT-3.15.1-1]', server, 5, hex('f200'), 0x81],
  ['PUBLISH with QoS 3 [MQTT-3.3.1-4]', server, 4, frame(0x36, 'a', 0, 1), 0x81],
  ['PUBLISH with DUP and QoS 0 [MQTT-3.3.1-2]', server, 5, frame(0x38, 'a', 0), 0x81],
  ['a remaining length of two bytes where one does [MQTT-1.5.5-1]', server, 4, hex('c08000'), 0x81],
  ['a remaining length of four bytes where one does [MQTT-1.5.5-1]', server, 4, hex('30 83808000 000161'), 0x81],
  ['a remaining length of five bytes [section 1.5.5]', server, 4, hex('c08080808001'), 0x81],
  ['a packet above the maximum [MQTT-3.2.2-15]', server, 4, hex('30ffffff7f'), 0x95],
  ['PINGREQ with a payload [section 2.1.4]', server, 4, hex('c00100'), 0x81],
  ['PINGRESP with a payload [section 2.1.4]', client, 4, hex('d00100'), 0x81],

  // CONNECT
  ['an empty CONNECT [section 2.1.4]', server, undefined, hex('1000'), 0x81],
  ['CONNECT with another protocol name [MQTT-3.1.2-1]', server, undefined, frame(0x10, 'MQTU', 4, 2, 0, 10, 'c'), 0x84],
  ['CONNECT with a protocol name that goes on [MQTT-3.1.2-1]', server, undefined, frame(0x10, 'MQTTT', 4, 2, 0, 10, 'c'), 0x84],
  ['CONNECT MQTT with level 3 [MQTT-3.1.2-2]', server, undefined, frame(0x10, 'MQTT', 3, 2, 0, 10, 'c'), 0x84],
  ['CONNECT MQIsdp with level 4 [MQTT-3.1.2-2]', server, undefined, frame(0x10, 'MQIsdp', 4, 2, 0, 10, 'c'), 0x84],
  ['CONNECT with the bridge bit [MQTT-3.1.2-2]', server, undefined, frame(0x10, 'MQTT', 0x84, 2, 0, 10, 'c'), 0x84],
  ['CONNECT with a level to come [MQTT-3.1.2-2]', server, undefined, frame(0x10, 'MQTT', 6, 2, 0, 10, 'c'), 0x84],
  ['CONNECT with the reserved flag [MQTT-3.1.2-3]', server, undefined, connect4(3, 'c'), 0x81],
  ['CONNECT with will QoS and no will [MQTT-3.1.2-11]', server, undefined, connect4(0x0a, 'c'), 0x81],
  ['CONNECT with will retain and no will [MQTT-3.1.2-13]', server, undefined, connect5(0x22, 0, 'c'), 0x81],
  ['CONNECT with will QoS 3 [MQTT-3.1.2-12]', server, undefined, connect4(0x1e, 'c', 'w', 'p'), 0x81],
  ['CONNECT with a password and no user name in 3.1.1 [v3.1.1 MQTT-3.1.2-22]', server, undefined, connect4(0x42, 'c', 'p'), 0x81],
  [
    'CONNECT with a password and no user name in 3.1 [v3.1.1 MQTT-3.1.2-22]',
    server,
    undefined,
    frame(0x10, 'MQIsdp', 3, 0x42, 0, 10, 'c', 'p'),
    0x81,
  ],
  ['CONNECT with a user name flag and no user name [MQTT-3.1.2-17] [section 2.1.4]', server, undefined, connect4(0x82, 'c'), 0x81],
  ['CONNECT with a will flag and no will [MQTT-3.1.2-9] [section 2.1.4]', server, undefined, connect4(0x06, 'c'), 0x81],
  ['CONNECT with a user name and no flag [MQTT-3.1.2-16] [section 2.1.4]', server, undefined, connect4(2, 'c', 'u'), 0x81],
  ['CONNECT with a password flag and no password [MQTT-3.1.2-19] [section 2.1.4]', server, undefined, connect4(0xc2, 'c', 'u'), 0x81],
  ['CONNECT with a password and no flag [MQTT-3.1.2-18] [section 2.1.4]', server, undefined, connect4(0x82, 'c', 'u', 'p'), 0x81],
  ['CONNECT 5 with bytes behind its end [section 2.1.4]', server, undefined, connect5(2, 0, 'c', 0), 0x81],
  ['CONNECT 3.1.1 without client id for a session to keep [v3.1.1 MQTT-3.1.3-8]', server, undefined, connect4(0, ''), 0x85],
  ['CONNECT 3.1 without client id [v3.1.1 MQTT-3.1.3-8]', server, undefined, frame(0x10, 'MQIsdp', 3, 2, 0, 10, ''), 0x85],
  ['CONNECT with an ill-formed client id [MQTT-1.5.4-1]', server, undefined, connect4(2, surrogate), 0x81],
  ['CONNECT 5 with an ill-formed client id [MQTT-3.1.3-4]', server, undefined, connect5(2, 0, surrogate), 0x85],
  ['CONNECT with U+0000 in the user name [MQTT-1.5.4-2]', server, undefined, connect4(0x82, 'c', withNull), 0x81],
  ['CONNECT with a control character in the user name [section 1.5.4]', server, undefined, connect5(0x82, 0, 'c', withControl), 0x81],
  ['CONNECT with an empty will topic [MQTT-4.7.3-1]', server, undefined, connect4(6, 'c', '', ''), 0x81],
  ['CONNECT with a wildcard in the will topic [MQTT-4.7.0-1]', server, undefined, connect4(6, 'c', 'w/#', ''), 0x81],
  ['CONNECT with an ill-formed will topic [MQTT-3.1.3-11] [MQTT-1.5.4-1]', server, undefined, connect4(6, 'c', ill, ''), 0x81],
  ['CONNECT 5 without a property length [section 2.1.4]', server, undefined, connect5(2), 0x81],
  ['CONNECT 5 with receive maximum 0 [section 2.2.2.2]', server, undefined, connect5(2, properties(0x21, 0, 0), 'c'), 0x82],
  ['CONNECT 5 with maximum packet size 0 [section 2.2.2.2]', server, undefined, connect5(2, properties(0x27, hex('00000000')), 'c'), 0x82],
  ['CONNECT 5 with request problem information 2 [section 2.2.2.2]', server, undefined, connect5(2, properties(0x17, 2), 'c'), 0x82],
  ['CONNECT 5 with authentication data alone [section 3.1.2.11.10]', server, undefined, connect5(2, properties(0x16, 0, 0), 'c'), 0x82],
  ['CONNECT 5 with a foreign property [section 2.2.2.2]', server, undefined, connect5(2, properties(0x23, 0, 1), 'c'), 0x81],
  [
    'CONNECT 5 with will delay outside of the will [section 2.2.2.2]',
    server,
    undefined,
    connect5(2, properties(0x18, hex('00000001')), 'c'),
    0x81,
  ],
  [
    'CONNECT 5 with a will property given twice [section 2.2.2.2]',
    server,
    undefined,
    connect5(6, 0, 'c', properties(0x18, hex('00000001'), 0x18, hex('00000001')), 'w', ''),
    0x82,
  ],

  ['CONNECT 5 with an overlong will topic [MQTT-1.5.4-1]', server, undefined, connect5(6, 0, 'c', 0, hex('0002 c1a1'), ''), 0x81],
  [
    'CONNECT 5 with a surrogate in the user name [MQTT-3.1.3-12] [MQTT-1.5.4-1]',
    server,
    undefined,
    connect5(0x82, 0, 'c', surrogate),
    0x81,
  ],
  [
    'CONNECT 5 with a response topic in the will that has a wildcard [MQTT-3.3.2-14]',
    server,
    undefined,
    connect5(6, 0, 'c', properties(8, 'r/+'), 'w', ''),
    0x82,
  ],
  [
    'CONNECT 5 with a will property cut by the length [section 2.1.4]',
    server,
    undefined,
    connect5(6, 0, 'c', hex('0218 00000001'), 'w', ''),
    0x81,
  ],
  ['CONNECT 5 with a property length beyond its end [section 2.1.4]', server, undefined, connect5(2, hex('7f'), 'c'), 0x81],

  // CONNACK
  ['CONNACK with reserved flags [MQTT-3.2.2-1]', client, 5, hex('2003020000'), 0x81],
  ['CONNACK with session present and a refusal [MQTT-3.2.2-6]', client, 4, hex('20020105'), 0x82],
  ['CONNACK 3.1.1 with return code 6 [MQTT-3.2.2-8]', client, 4, hex('20020006'), 0x82],
  ['CONNACK 5 with reason code 1 [MQTT-3.2.2-8]', client, 5, hex('2003000100'), 0x82],
  ['CONNACK 5 without a property length [section 2.1.4]', client, 5, hex('20020000'), 0x81],
  ['CONNACK 3.1.1 with properties [section 2.1.4]', client, 4, hex('2003000000'), 0x81],
  ['CONNACK with maximum QoS 2 [section 2.2.2.2]', client, 5, hex('20050000022402'), 0x82],

  // PUBLISH
  ['PUBLISH with an empty topic in 3.1.1 [MQTT-4.7.3-1]', server, 4, frame(0x30, '', hex('61')), 0x81],
  ['PUBLISH with an empty topic and no alias [section 3.3.2.1]', server, 5, frame(0x30, '', 0, hex('61')), 0x82],
  ['PUBLISH with a wildcard [MQTT-3.3.2-2]', server, 4, frame(0x30, 'a/+', hex('61')), 0x81],
  ['PUBLISH with a wildcard in a long topic [MQTT-3.3.2-2]', client, 4, frame(0x30, `${'x'.repeat(90)}#`), 0x81],
  ['PUBLISH with an ill-formed topic [MQTT-3.3.2-1] [MQTT-1.5.4-1]', server, 4, frame(0x30, ill), 0x81],
  ['PUBLISH with U+0000 in the topic [MQTT-4.7.3-2] [MQTT-1.5.4-2]', server, 5, frame(0x30, withNull, 0), 0x81],
  ['PUBLISH with a control character in the topic [section 1.5.4]', server, 5, frame(0x30, withControl, 0), 0x81],
  ['PUBLISH with a topic that does not fit [section 2.1.4]', server, 4, hex('3003 0002 61'), 0x81],
  ['PUBLISH with half a topic length [section 2.1.4]', server, 4, hex('3001 00'), 0x81],
  ['an empty PUBLISH [section 2.1.4]', server, 4, hex('3000'), 0x81],
  ['PUBLISH with packet identifier 0 [MQTT-2.2.1-3]', server, 4, frame(0x32, 'a', 0, 0), 0x82],
  ['PUBLISH without its packet identifier [section 2.1.4]', server, 4, frame(0x32, 'a', 0), 0x81],
  ['PUBLISH without a property length [section 2.1.4]', server, 5, frame(0x30, 'a'), 0x81],
  ['PUBLISH with a property length beyond its end [section 2.1.4]', server, 5, frame(0x30, 'a', 3, 1, 0), 0x81],
  ['PUBLISH with a property length that is not minimal [MQTT-1.5.5-1]', server, 5, frame(0x30, 'a', hex('8200'), 1, 0), 0x81],
  ['PUBLISH with a property cut by the property length [section 2.1.4]', server, 5, frame(0x30, 'a', 4, 2, 0, 0, 0, 0, hex('61')), 0x81],
  ['PUBLISH with a property identifier that is not minimal [MQTT-1.5.5-1]', server, 5, frame(0x30, 'a', properties(hex('8100'), 0)), 0x81],
  ['PUBLISH with payload format 2 [section 2.2.2.2]', server, 5, frame(0x30, 'a', properties(1, 2)), 0x82],
  ['PUBLISH with expiry given twice [section 2.2.2.2]', server, 5, frame(0x30, 'a', properties(2, 0, 0, 0, 1, 2, 0, 0, 0, 1)), 0x82],
  ['PUBLISH with topic alias 0 [MQTT-3.3.2-8]', server, 5, frame(0x30, 'a', properties(0x23, 0, 0)), 0x94],
  ['PUBLISH with two topic aliases [section 2.2.2.2]', server, 5, frame(0x30, 'a', properties(0x23, 0, 1, 0x23, 0, 2)), 0x82],
  ['PUBLISH with a wildcard in the response topic [MQTT-3.3.2-14]', server, 5, frame(0x30, 'a', properties(8, 'r/#')), 0x82],
  ['PUBLISH with an empty response topic [MQTT-4.7.3-1]', server, 5, frame(0x30, 'a', properties(8, '')), 0x82],
  ['PUBLISH with an ill-formed content type [MQTT-3.3.2-19] [MQTT-1.5.4-1]', server, 5, frame(0x30, 'a', properties(3, ill)), 0x81],
  [
    'PUBLISH with U+0000 in a user property [MQTT-1.5.7-1] [MQTT-1.5.4-2]',
    server,
    5,
    frame(0x30, 'a', properties(0x26, 'k', withNull)),
    0x81,
  ],
  ['PUBLISH with an ill-formed response topic [MQTT-3.3.2-13] [MQTT-1.5.4-1]', server, 5, frame(0x30, 'a', properties(8, ill)), 0x81],
  [
    'PUBLISH with a user property of an ill-formed name [MQTT-1.5.7-1] [MQTT-1.5.4-1]',
    server,
    5,
    frame(0x30, 'a', properties(0x26, surrogate, 'v')),
    0x81,
  ],
  ['PUBLISH with half a user property [section 2.1.4]', server, 5, frame(0x30, 'a', properties(0x26, 'k')), 0x81],
  ['PUBLISH with a foreign property [section 2.2.2.2]', server, 5, frame(0x30, 'a', properties(0x1f, 'x')), 0x81],
  ['PUBLISH with an unknown property [section 2.2.2.2]', server, 5, frame(0x30, 'a', properties(4, 0)), 0x81],
  ['PUBLISH to a server with a subscription identifier [MQTT-3.3.4-6]', server, 5, frame(0x30, 'a', properties(0x0b, 1)), 0x82],
  ['PUBLISH to a client with subscription identifier 0 [section 2.2.2.2]', client, 5, frame(0x30, 'a', properties(0x0b, 0)), 0x82],

  // Acknowledgements
  ...acknowledgements,
  ['PUBACK with an unknown reason code [MQTT-3.4.2-1]', client, 5, hex('4003000101'), 0x82],
  ['PUBACK to a server that says no subscriber matches [MQTT-3.4.2-1]', server, 5, hex('4003000110'), 0x82],
  ['PUBREC with an unknown reason code [MQTT-3.5.2-1]', server, 5, hex('50030001ff'), 0x82],
  ['PUBREL with the code of a PUBREC [MQTT-3.6.2-1]', server, 5, hex('6203000180'), 0x82],
  ['PUBCOMP with an unknown reason code [MQTT-3.7.2-1]', client, 5, hex('7003000193'), 0x82],

  // SUBSCRIBE, UNSUBSCRIBE and their answers
  ['SUBSCRIBE with packet identifier 0 [MQTT-2.2.1-3]', server, 4, frame(0x82, 0, 0, 'a', 0), 0x82],
  ['SUBSCRIBE without a filter [MQTT-3.8.3-2]', server, 4, frame(0x82, 0, 1), 0x82],
  ['SUBSCRIBE 5 without a filter [MQTT-3.8.3-2]', server, 5, frame(0x82, 0, 1, 0), 0x82],
  ['SUBSCRIBE without options [section 2.1.4]', server, 4, frame(0x82, 0, 1, 'a'), 0x81],
  ['SUBSCRIBE to an empty filter [MQTT-4.7.3-1]', server, 4, frame(0x82, 0, 1, '', 0), 0x81],
  ['SUBSCRIBE to a# [MQTT-4.7.1-1]', server, 4, frame(0x82, 0, 1, 'ok', 0, 'a#', 0), 0x81],
  ['SUBSCRIBE to #/a [MQTT-4.7.1-1]', server, 5, frame(0x82, 0, 1, 0, '#/a', 0), 0x81],
  ['SUBSCRIBE to a+ [MQTT-4.7.1-2]', server, 4, frame(0x82, 0, 1, 'a+', 0), 0x81],
  ['SUBSCRIBE with an ill-formed filter [MQTT-3.8.3-1] [MQTT-1.5.4-1]', server, 4, frame(0x82, 0, 1, ill, 0), 0x81],
  ['SUBSCRIBE to $share/g [MQTT-4.8.2-2]', server, 5, frame(0x82, 0, 1, 0, '$share/g', 0), 0x81],
  ['SUBSCRIBE to $share//a [MQTT-4.8.2-1]', server, 5, frame(0x82, 0, 1, 0, '$share//a', 0), 0x81],
  ['SUBSCRIBE to $share/+/a [MQTT-4.8.2-1]', server, 5, frame(0x82, 0, 1, 0, '$share/+/a', 0), 0x81],
  ['SUBSCRIBE with No Local on a shared subscription [MQTT-3.8.3-4]', server, 5, frame(0x82, 0, 1, 0, '$share/g/a', 4), 0x82],
  ['SUBSCRIBE with QoS 3 [section 3.8.3.1]', server, 4, frame(0x82, 0, 1, 'a', 3), 0x82],
  ['SUBSCRIBE 3.1.1 with the options of MQTT 5 [MQTT-3.8.3-5]', server, 4, frame(0x82, 0, 1, 'a', 4), 0x81],
  ['SUBSCRIBE with retain handling 3 [section 3.8.3.1]', server, 5, frame(0x82, 0, 1, 0, 'a', 0x30), 0x82],
  ['SUBSCRIBE with reserved options [MQTT-3.8.3-5]', server, 5, frame(0x82, 0, 1, 0, 'a', 0x40), 0x81],
  ['SUBSCRIBE with subscription identifier 0 [section 2.2.2.2]', server, 5, frame(0x82, 0, 1, properties(0x0b, 0), 'a', 0), 0x82],
  [
    'SUBSCRIBE with two subscription identifiers [section 2.2.2.2]',
    server,
    5,
    frame(0x82, 0, 1, properties(0x0b, 1, 0x0b, 2), 'a', 0),
    0x82,
  ],
  [
    'SUBSCRIBE with a subscription identifier of five bytes [section 1.5.5]',
    server,
    5,
    frame(0x82, 0, 1, properties(0x0b, hex('8080808001')), 'a', 0),
    0x81,
  ],
  ['SUBSCRIBE with an overlong slash in its filter [MQTT-1.5.4-1]', server, 5, frame(0x82, 0, 1, 0, hex('0003 61c0af'), 0), 0x81],
  ['SUBSCRIBE with U+0000 in its filter [MQTT-4.7.3-2] [MQTT-1.5.4-2]', server, 4, frame(0x82, 0, 1, withNull, 0), 0x81],
  ['SUBSCRIBE to $share/g/ [MQTT-4.8.2-2]', server, 5, frame(0x82, 0, 1, 0, '$share/g/', 0), 0x81],
  ['SUBSCRIBE to $share/g#/a [MQTT-4.8.2-1]', server, 5, frame(0x82, 0, 1, 0, '$share/g#/a', 0), 0x81],
  ['SUBSCRIBE to $share/g/a# [MQTT-4.7.1-1]', server, 5, frame(0x82, 0, 1, 0, '$share/g/a#', 0), 0x81],
  ['SUBSCRIBE with reserved option bit 7 [MQTT-3.8.3-5]', server, 5, frame(0x82, 0, 1, 0, 'a', 0x80), 0x81],
  ['UNSUBSCRIBE with U+0000 in its filter [MQTT-4.7.3-2] [MQTT-1.5.4-2]', server, 5, frame(0xa2, 0, 1, 0, withNull), 0x81],
  ['UNSUBSCRIBE with an ill-formed filter [MQTT-3.10.3-1] [MQTT-1.5.4-1]', server, 4, frame(0xa2, 0, 1, ill), 0x81],
  ['UNSUBSCRIBE from a+ [MQTT-4.7.1-2]', server, 4, frame(0xa2, 0, 1, 'a+'), 0x81],
  ['UNSUBSCRIBE without a filter [MQTT-3.10.3-2]', server, 4, frame(0xa2, 0, 1), 0x82],
  ['UNSUBSCRIBE with packet identifier 0 [MQTT-2.2.1-3]', server, 5, frame(0xa2, 0, 0, 0, 'a'), 0x82],
  ['UNSUBSCRIBE from an empty filter [MQTT-4.7.3-1]', server, 4, frame(0xa2, 0, 1, ''), 0x81],
  ['UNSUBSCRIBE from a# [MQTT-4.7.1-1]', server, 5, frame(0xa2, 0, 1, 0, 'a#'), 0x81],
  ['SUBACK without a code [MQTT-3.8.4-6]', client, 4, hex('90020001'), 0x82],
  ['SUBACK 3.1.1 with a code of MQTT 5 [MQTT-3.9.3-2]', client, 4, hex('9003000187'), 0x82],
  ['SUBACK 5 with an unknown code [MQTT-3.9.3-2]', client, 5, hex('900400010003'), 0x82],
  ['UNSUBACK 3.1.1 with a code [section 2.1.4]', client, 4, hex('b003000100'), 0x81],
  ['UNSUBACK 5 without a code [MQTT-3.11.3-2]', client, 5, hex('b003000100'), 0x82],
  ['UNSUBACK 5 with an unknown code [MQTT-3.11.3-2]', client, 5, hex('b00400010001'), 0x82],

  // DISCONNECT and AUTH
  ['DISCONNECT 3.1.1 with a code [section 2.1.4]', server, 4, hex('e00100'), 0x81],
  ['DISCONNECT with an unknown code [MQTT-3.14.2-1]', server, 5, hex('e00101'), 0x82],
  ['DISCONNECT from a client with the code of a server [MQTT-3.14.2-1]', server, 5, hex('e0018e'), 0x82],
  ['DISCONNECT with will, from a server [MQTT-3.14.2-1]', client, 5, hex('e00104'), 0x82],
  ['DISCONNECT from a server with session expiry [MQTT-3.14.2-2]', client, 5, frame(0xe0, 0x8b, properties(0x11, hex('00000001'))), 0x82],
  ['DISCONNECT with bytes behind its properties [section 2.1.4]', server, 5, hex('e003000000'), 0x81],
  ['AUTH of success from a client [MQTT-3.15.2-1]', server, 5, hex('f000'), 0x82],
  ['AUTH of re-authentication from a server [MQTT-3.15.2-1]', client, 5, frame(0xf0, 0x19, properties(0x15, 'm')), 0x82],
  ['AUTH without a method [section 3.15.2.2.2]', server, 5, frame(0xf0, 0x18, 0), 0x82],
  ['AUTH with data and no method [section 3.15.2.2.2]', server, 5, frame(0xf0, 0x18, properties(0x16, 0, 0)), 0x82],
  ['AUTH with a code and no property length [section 2.1.4]', server, 5, hex('f00118'), 0x81],
]
