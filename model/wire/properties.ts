/**
 * MQTT 5 properties (section 2.2.2): one table says of each its identifier, name, type, range, and the packets that may carry it; reading, judging and
 * writing follow from it.
 *
 * Properties of a PUBLISH come in two kinds. Those that belong to the message travel with it, and a server forwards their bytes as they stand;
 * topic alias and subscription identifiers belong to one connection and are taken out.
 */
import type { Cursor } from './mqtt-cursor.ts'
import { type Malformed, rules } from './mqtt-rules.ts'
import type { Properties } from './packets.ts'
import type { Role } from './reason-codes.ts'
import { isWritableText, MAXIMUM_TEXT_BYTES, textBytes, writeText } from './utf8.ts'

type PropertyName = keyof Properties
type WireType = 'byte' | 'two-byte' | 'four-byte' | 'variable' | 'binary' | 'text' | 'name' | 'topic' | 'pair'

const MAXIMUM_VARIABLE = 0x0fff_ffff

/** What can carry properties: the packets, and the will inside CONNECT. As bits. */
export const carrier = {
  connect: 1 << 0,
  connack: 1 << 1,
  publish: 1 << 2,
  will: 1 << 3,
  puback: 1 << 4,
  pubrec: 1 << 5,
  pubrel: 1 << 6,
  pubcomp: 1 << 7,
  subscribe: 1 << 8,
  suback: 1 << 9,
  unsubscribe: 1 << 10,
  unsuback: 1 << 11,
  disconnect: 1 << 12,
  auth: 1 << 13,
} as const
type CarrierName = keyof typeof carrier

interface Row {
  readonly id: number
  readonly name: PropertyName
  readonly type: WireType
  readonly carriers: number
  readonly least: number
  readonly most: number
  readonly belowLeast: Malformed
  readonly travels: boolean
}

const message: readonly CarrierName[] = ['publish', 'will']
const answers: readonly CarrierName[] = ['connack', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'suback', 'unsuback', 'disconnect', 'auth']
const everywhere = Object.keys(carrier) as CarrierName[]

const rows: Row[] = []
const rowById: (Row | undefined)[] = new Array(0x80).fill(undefined)
const rowByName = new Map<string, Row>()

function property(id: number, name: PropertyName, type: WireType, carriers: readonly CarrierName[], range: Partial<Row> = {}): void {
  const bits = carriers.reduce((all, one) => all | carrier[one], 0)
  const travels = name !== 'topicAlias' && name !== 'subscriptionIdentifiers'
  const most = { byte: 0xff, 'two-byte': 0xffff, 'four-byte': 0xffff_ffff, variable: MAXIMUM_VARIABLE }[type as string] ?? 0
  const row: Row = { id, name, type, carriers: bits, least: 0, most, belowLeast: rules.propertyRange, travels, ...range }
  rows.push(row)
  rowById[id] = row
  rowByName.set(name, row)
}

const flag = { most: 1 }
const positive = { least: 1 }

property(0x01, 'payloadFormatIndicator', 'byte', message, flag)
property(0x02, 'messageExpiryInterval', 'four-byte', message)
property(0x03, 'contentType', 'text', message)
property(0x08, 'responseTopic', 'topic', message)
property(0x09, 'correlationData', 'binary', message)
property(0x0b, 'subscriptionIdentifiers', 'variable', ['publish', 'subscribe'], positive)
property(0x11, 'sessionExpiryInterval', 'four-byte', ['connect', 'connack', 'disconnect'])
property(0x12, 'assignedClientIdentifier', 'name', ['connack'])
property(0x13, 'serverKeepAlive', 'two-byte', ['connack'])
property(0x15, 'authenticationMethod', 'name', ['connect', 'connack', 'auth'])
property(0x16, 'authenticationData', 'binary', ['connect', 'connack', 'auth'])
property(0x17, 'requestProblemInformation', 'byte', ['connect'], flag)
property(0x18, 'willDelayInterval', 'four-byte', ['will'])
property(0x19, 'requestResponseInformation', 'byte', ['connect'], flag)
property(0x1a, 'responseInformation', 'text', ['connack'])
property(0x1c, 'serverReference', 'text', ['connack', 'disconnect'])
property(0x1f, 'reasonString', 'text', answers)
property(0x21, 'receiveMaximum', 'two-byte', ['connect', 'connack'], positive)
property(0x22, 'topicAliasMaximum', 'two-byte', ['connect', 'connack'])
property(0x23, 'topicAlias', 'two-byte', ['publish'], { least: 1, belowLeast: rules.topicAliasZero })
property(0x24, 'maximumQoS', 'byte', ['connack'], flag)
property(0x25, 'retainAvailable', 'byte', ['connack'], flag)
property(0x26, 'userProperties', 'pair', everywhere)
property(0x27, 'maximumPacketSize', 'four-byte', ['connect', 'connack'], positive)
property(0x28, 'wildcardSubscriptionAvailable', 'byte', ['connack'], flag)
property(0x29, 'subscriptionIdentifierAvailable', 'byte', ['connack'], flag)
property(0x2a, 'sharedSubscriptionAvailable', 'byte', ['connack'], flag)

/** For documents and tests. */
export const propertyTable: readonly Row[] = rows

type Mutable = { -readonly [N in PropertyName]?: Properties[N] | undefined }

const EMPTY = Buffer.alloc(0)

/**
 * Reads the property length and the properties; of a PUBLISH, leaves those that travel with the message in `cursor.travelling`.
 * @returns undefined where there are none, or where the cursor found a flaw
 */
export function readProperties(cursor: Cursor, of: number, receiver: Role): Properties | undefined {
  cursor.travelling = EMPTY
  const length = cursor.variableByteInteger()
  if (length === 0) return undefined
  const packetEnd = cursor.end
  const end = cursor.at + length
  if (end > packetEnd) {
    cursor.fail(rules.cutShort)
    return undefined
  }
  // A value that is cut by the property length must not go on reading behind it.
  cursor.end = end
  const properties: Mutable = {}
  let seenLow = 0
  let seenHigh = 0
  let runStart = cursor.at
  let runEnd = runStart
  let pieces: Buffer[] | undefined
  while (cursor.at < end) {
    const start = cursor.at
    const id = cursor.variableByteInteger()
    const row = id < 0x80 ? rowById[id] : undefined
    if (row === undefined) {
      cursor.fail(rules.unknownProperty)
      break
    }
    const repeats = row.type === 'pair' || (id === 0x0b && of === carrier.publish)
    const value = readValue(cursor, row)
    if (cursor.flaw !== undefined) break
    if ((row.carriers & of) === 0) {
      cursor.fail(about(row, rules.foreignProperty))
      break
    }
    const bit = 1 << (id & 31)
    if (((id < 32 ? seenLow : seenHigh) & bit) !== 0) {
      if (!repeats) {
        cursor.fail(about(row, rules.propertyTwice))
        break
      }
    } else if (id < 32) {
      seenLow |= bit
    } else {
      seenHigh |= bit
    }
    if (id === 0x0b || row.type === 'pair') {
      const values = properties[row.name] as unknown as unknown[] | undefined
      if (values === undefined) properties[row.name] = [value] as never
      else values.push(value)
    } else {
      properties[row.name] = value as never
    }
    if (of === carrier.publish && row.travels) {
      if (runEnd !== start) {
        if (runEnd > runStart) {
          if (pieces === undefined) pieces = []
          pieces.push(cursor.bytes.subarray(runStart, runEnd))
        }
        runStart = start
      }
      runEnd = cursor.at
    }
  }
  if (cursor.flaw === undefined) checkTogether(cursor, properties, of, receiver)
  if (cursor.flaw !== undefined) {
    cursor.end = packetEnd
    cursor.at = packetEnd
    return undefined
  }
  cursor.end = packetEnd
  if (of === carrier.publish) {
    const run = cursor.bytes.subarray(runStart, runEnd)
    cursor.travelling = pieces === undefined ? run : Buffer.concat([...pieces, run])
  }
  return properties as Properties
}

function readValue(cursor: Cursor, row: Row): unknown {
  switch (row.type) {
    case 'byte':
      return ranged(cursor, row, cursor.u8())
    case 'two-byte':
      return ranged(cursor, row, cursor.u16())
    case 'four-byte':
      return ranged(cursor, row, cursor.u32())
    case 'variable':
      return ranged(cursor, row, cursor.variableByteInteger())
    case 'binary':
      return cursor.binary()
    case 'text':
      return cursor.text()
    case 'name':
      return cursor.name()
    case 'topic': {
      const topic = cursor.rareTopicName(rules.responseTopicWildcard)
      if (topic === '') cursor.fail(rules.responseTopicEmpty)
      return topic
    }
    case 'pair': {
      const name = cursor.text()
      return [name, cursor.text()]
    }
  }
}

function ranged(cursor: Cursor, row: Row, value: number): number {
  if (value < row.least) cursor.fail(about(row, row.belowLeast))
  else if (value > row.most) cursor.fail(about(row, rules.propertyRange))
  return value
}

function about(row: Row, rule: Malformed): Malformed {
  return { ...rule, text: `${rule.text}: ${row.name}` }
}

/** Rules about properties together, or about who sent them. */
function checkTogether(cursor: Cursor, properties: Mutable, of: number, receiver: Role): void {
  if (of === carrier.publish) {
    if (receiver === 'server' && properties.subscriptionIdentifiers !== undefined) cursor.fail(rules.subscriptionIdentifierFromClient)
  } else if (of === carrier.disconnect) {
    if (receiver === 'client' && properties.sessionExpiryInterval !== undefined) cursor.fail(rules.sessionExpiryFromServer)
  } else if (properties.authenticationMethod === undefined) {
    if (of === carrier.auth) cursor.fail(rules.authenticationMethodMissing)
    else if (properties.authenticationData !== undefined) cursor.fail(rules.authenticationDataAlone)
  }
}

export function variableByteIntegerBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4
}

export function writeVariableByteInteger(target: Buffer, offset: number, value: number): number {
  let at = offset
  let rest = value
  while (rest > 0x7f) {
    target[at] = (rest & 0x7f) | 0x80
    at += 1
    rest >>>= 7
  }
  target[at] = rest
  return at + 1
}

/** How many bytes the properties take, without their length. Throws where a value cannot be written, or not by this carrier: such a frame would be refused. */
export function propertiesBytes(properties: Properties | undefined, of: number): number {
  let total = 0
  for (const name in properties) {
    const value = (properties as Record<string, unknown>)[name]
    if (value === undefined) continue
    const row = rowByName.get(name)
    if (row === undefined || (row.carriers & of) === 0) throw new RangeError(`property ${name} does not belong to this packet`)
    if (row.type === 'pair') {
      for (const pair of value as readonly (readonly [string, string])[]) total += 5 + checkedTextBytes(pair[0]) + checkedTextBytes(pair[1])
    } else if (row.id === 0x0b) {
      const identifiers = value as readonly number[]
      if (identifiers.length > 1 && of === carrier.subscribe) throw new RangeError('a SUBSCRIBE carries one subscription identifier')
      for (const identifier of identifiers) total += 1 + numberBytes(row, identifier)
    } else {
      total += 1 + valueBytes(row, value)
    }
  }
  return total
}

function valueBytes(row: Row, value: unknown): number {
  if (typeof value === 'number') return numberBytes(row, value)
  if (typeof value === 'string') return 2 + checkedTextBytes(value)
  const bytes = (value as Buffer).length
  if (bytes > MAXIMUM_TEXT_BYTES) throw new RangeError(`property ${row.name} of ${bytes} bytes`)
  return 2 + bytes
}

function numberBytes(row: Row, value: number): number {
  if (!(value >= row.least && value <= row.most) || Math.floor(value) !== value)
    throw new RangeError(`property ${row.name} of value ${value}`)
  return row.type === 'byte' ? 1 : row.type === 'two-byte' ? 2 : row.type === 'four-byte' ? 4 : variableByteIntegerBytes(value)
}

/** The bytes of a text on the wire; throws where its length prefix could not say so many, or where no reader would take it [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function checkedTextBytes(text: string): number {
  const length = text.length
  if (length <= 64) {
    let at = 0
    // One comparison for U+0000 and for what is beyond ASCII.
    while (at < length && ((text.charCodeAt(at) - 1) & 0xffff) < 0x7f) at += 1
    if (at === length) return length
  }
  const bytes = textBytes(text)
  if (bytes > MAXIMUM_TEXT_BYTES) throw new RangeError(`text of ${bytes} bytes`)
  if (!isWritableText(text)) throw new RangeError('text with U+0000 or half a surrogate pair')
  return bytes
}

/** Writes the properties, without their length, in the order in which they were set. @returns the offset behind them */
export function writeProperties(target: Buffer, offset: number, properties: Properties | undefined): number {
  let at = offset
  for (const name in properties) {
    const value = (properties as Record<string, unknown>)[name]
    if (value === undefined) continue
    const row = rowByName.get(name)!
    if (row.type === 'pair') {
      for (const pair of value as readonly (readonly [string, string])[]) {
        target[at] = row.id
        at = writeText(target, at + 1, pair[0], textBytes(pair[0]))
        at = writeText(target, at, pair[1], textBytes(pair[1]))
      }
    } else if (row.id === 0x0b) {
      for (const identifier of value as readonly number[]) {
        target[at] = row.id
        at = writeVariableByteInteger(target, at + 1, identifier)
      }
    } else {
      target[at] = row.id
      at = writeValue(target, at + 1, row, value)
    }
  }
  return at
}

function writeValue(target: Buffer, offset: number, row: Row, value: unknown): number {
  if (typeof value === 'string') return writeText(target, offset, value, textBytes(value))
  if (typeof value === 'number') {
    if (row.type === 'byte') return target.writeUInt8(value, offset)
    return row.type === 'two-byte' ? target.writeUInt16BE(value, offset) : target.writeUInt32BE(value, offset)
  }
  return writeBinary(target, offset, value as Buffer)
}

export function writeBinary(target: Buffer, offset: number, value: Buffer): number {
  target.writeUInt16BE(value.length, offset)
  value.copy(target, offset + 2)
  return offset + 2 + value.length
}

/**
 * The properties of `properties` that travel with a message, as they stand in a PUBLISH: without their length, in the order of table 2-4. Others are left
 * out: those of a will become a PUBLISH's so, without the Will Delay Interval, which no PUBLISH has (section 3.1.3.2.2).
 */
export function encodeMessageProperties(properties: Properties): Buffer {
  const ofMessage: Mutable = {}
  for (const row of rows) {
    if (row.travels && (row.carriers & carrier.publish) !== 0 && properties[row.name] !== undefined) {
      ofMessage[row.name] = properties[row.name] as never
    }
  }
  const bytes = propertiesBytes(ofMessage as Properties, carrier.publish)
  if (bytes === 0) return EMPTY
  const target = Buffer.allocUnsafeSlow(bytes)
  writeProperties(target, 0, ofMessage as Properties)
  return target
}

/** Where the four bytes of the message expiry interval stand in the properties that travel with a message; -1 where there is none. */
export function messageExpiryOffset(travelling: Buffer): number {
  let at = 0
  while (at < travelling.length) {
    const row = rowById[travelling[at]!]
    if (row === undefined || at + 5 > travelling.length) {
      // Only a payload format indicator is shorter than an expiry, and then it is the last.
      return -1
    }
    if (row.id === 0x02) return at + 1
    if (row.type === 'byte') at += 2
    else if (row.type === 'pair') at = behindText(travelling, behindText(travelling, at + 1))
    else at = behindText(travelling, at + 1)
  }
  return -1
}

function behindText(bytes: Buffer, at: number): number {
  return at + 2 > bytes.length ? bytes.length : at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
}

/** The message expiry interval, in seconds, among the properties that travel with a message. */
export function messageExpiryIn(travelling: Buffer): number | undefined {
  const at = messageExpiryOffset(travelling)
  return at < 0 ? undefined : travelling.readUInt32BE(at)
}
