/**
 * Encodes MQTT packets. Lengths are counted first, then every byte is written once, into a shared slab that is never rewritten.
 *
 * What would make a corrupt frame (a text over 65,535 bytes or with U+0000, a packet identifier of 0, a property that the packet does not have, a packet over
 * 268,435,455 bytes) is a fault of the calling program and throws a RangeError. Whether a packet is wise is not asked.
 */
import type { Acknowledgement, Connect, Packet, Properties, ProtocolVersion, Publish, Subscribe, Unsubscribe } from './packets.ts'
import {
  carrier,
  checkedTextBytes,
  messageExpiryOffset,
  propertiesBytes,
  variableByteIntegerBytes,
  writeBinary,
  writeProperties,
  writeVariableByteInteger,
} from './properties.ts'
import { MAXIMUM_TEXT_BYTES, writeText } from './utf8.ts'

const MAXIMUM_REMAINING_LENGTH = 0x0fff_ffff
const SLAB_BYTES = 64 * 1024
/** A larger packet gets a buffer of its own: a slab would be kept alive, or left half empty, for it. */
const LARGEST_IN_SLAB = 8 * 1024

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
let slabUsed = 0

/** The buffer that is being written, and where the packet began in it. */
let target = slab
let start = 0

/** Finds room for a packet and writes its fixed header. @returns the offset behind the header */
function begin(firstByte: number, remaining: number): number {
  if (remaining > MAXIMUM_REMAINING_LENGTH) throw new RangeError(`packet with a remaining length of ${remaining}`)
  const bytes = 1 + variableByteIntegerBytes(remaining) + remaining
  if (bytes > LARGEST_IN_SLAB) {
    target = Buffer.allocUnsafeSlow(bytes)
    start = 0
  } else {
    if (slabUsed + bytes > SLAB_BYTES) {
      slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      slabUsed = 0
    }
    target = slab
    start = slabUsed
    slabUsed += bytes
  }
  target[start] = firstByte
  return writeVariableByteInteger(target, start + 1, remaining)
}

function end(at: number): Buffer {
  return target.subarray(start, at)
}

function checkPacketId(packetId: number): void {
  if (packetId === 0 || (packetId & 0xffff) !== packetId) throw new RangeError(`packet identifier ${packetId}`)
}

function writeU16(at: number, value: number): number {
  target[at] = value >>> 8
  target[at + 1] = value
  return at + 2
}

/** What `encodePublish` takes: a packet, or the parts of one. */
interface PublishFields {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Publish['qos']
  readonly dup: boolean
  readonly retain: boolean
  /** Not looked at for QoS 0. */
  readonly packetId: number
  /** MQTT 5: the message's own properties as bytes, as `PacketReader` gives them. They are written as they stand. */
  readonly rawProperties?: Buffer
  /**
   * MQTT 5. Without `rawProperties`: all properties. With them: what belongs to this connection, written behind them (topic alias, subscription identifiers),
   * and the message expiry interval, which takes the place of the one in `rawProperties`; the others stand there already and are not looked at.
   * A server forwards so, with the expiry less the time it kept the message [MQTT-3.3.2-6].
   */
  readonly properties?: Properties
}

export function encodePublish(fields: PublishFields, version: ProtocolVersion): Buffer {
  const { topic, payload, qos } = fields
  if (qos > 0) checkPacketId(fields.packetId)
  else if (fields.dup) throw new RangeError('DUP on a QoS 0 PUBLISH')
  const firstByte = 0x30 | (fields.dup ? 8 : 0) | (qos << 1) | (fields.retain ? 1 : 0)
  const topicBytes = checkedTextBytes(topic)
  let remaining = 2 + topicBytes + (qos > 0 ? 2 : 0) + payload.length
  if (version !== 5) {
    const at = publishHead(begin(firstByte, remaining), fields, topicBytes)
    payload.copy(target, at)
    return end(at + payload.length)
  }
  const raw = fields.rawProperties
  const extra = raw === undefined ? fields.properties : propertiesOfConnection(fields.properties)
  const expiry = raw === undefined ? undefined : fields.properties?.messageExpiryInterval
  const expiryOffset = expiry === undefined ? -1 : messageExpiryOffset(raw!)
  const rawBytes = raw === undefined ? 0 : raw.length
  const added = expiry !== undefined && expiryOffset < 0 ? 5 : 0
  const properties = rawBytes + added + propertiesBytes(extra, carrier.publish)
  remaining += variableByteIntegerBytes(properties) + properties
  let at = publishHead(begin(firstByte, remaining), fields, topicBytes)
  at = writeVariableByteInteger(target, at, properties)
  if (rawBytes > 0) raw!.copy(target, at)
  if (expiryOffset >= 0) target.writeUInt32BE(expiry!, at + expiryOffset)
  at += rawBytes
  if (added > 0) {
    target[at] = 0x02
    at = target.writeUInt32BE(expiry!, at + 1)
  }
  at = writeProperties(target, at, extra)
  payload.copy(target, at)
  return end(at + payload.length)
}

function publishHead(offset: number, fields: PublishFields, topicBytes: number): number {
  const at = writeText(target, offset, fields.topic, topicBytes)
  return fields.qos > 0 ? writeU16(at, fields.packetId) : at
}

function propertiesOfConnection(properties: Properties | undefined): Properties | undefined {
  if (properties === undefined) return undefined
  const { topicAlias, subscriptionIdentifiers } = properties
  if (topicAlias === undefined) return subscriptionIdentifiers === undefined ? undefined : { subscriptionIdentifiers }
  return subscriptionIdentifiers === undefined ? { topicAlias } : { topicAlias, subscriptionIdentifiers }
}

const acknowledgementFirstByte = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const

/** In 3.x there is no place for a reason code, and it is left out. */
export function encodeAcknowledgement(
  type: Acknowledgement['type'],
  packetId: number,
  reasonCode: number,
  version: ProtocolVersion,
): Buffer {
  checkPacketId(packetId)
  const withCode = version === 5 && reasonCode !== 0
  const at = writeU16(begin(acknowledgementFirstByte[type], withCode ? 3 : 2), packetId)
  if (!withCode) return end(at)
  target[at] = reasonCode
  return end(at + 1)
}

const PINGREQ = Buffer.from([0xc0, 0])
const PINGRESP = Buffer.from([0xd0, 0])
const PLAIN_DISCONNECT = Buffer.from([0xe0, 0])
const PLAIN_AUTH = Buffer.from([0xf0, 0])

export function encodePacket(packet: Packet, version: ProtocolVersion): Buffer {
  switch (packet.type) {
    case 'connect':
      return encodeConnect(packet)
    case 'connack':
      return encodeConnack(packet.sessionPresent, packet.reasonCode, packet.properties, version)
    case 'publish':
      return encodePublish(packet, version)
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      if (version !== 5 || packet.properties === undefined)
        return encodeAcknowledgement(packet.type, packet.packetId, packet.reasonCode, version)
      return encodeWithPacketId(acknowledgementFirstByte[packet.type], packet.packetId, [packet.reasonCode], packet.properties, packet.type)
    case 'subscribe':
      return encodeSubscribe(packet, version)
    case 'suback':
      return encodeAnswers(0x90, packet.packetId, packet.reasonCodes, packet.properties, 'suback', version)
    case 'unsubscribe':
      return encodeUnsubscribe(packet, version)
    case 'unsuback':
      return encodeAnswers(0xb0, packet.packetId, version === 5 ? packet.reasonCodes : [], packet.properties, 'unsuback', version)
    case 'pingreq':
      return PINGREQ
    case 'pingresp':
      return PINGRESP
    case 'disconnect':
      return encodeGoodbye(0xe0, packet.reasonCode, packet.properties, 'disconnect', version)
    case 'auth':
      return encodeGoodbye(0xf0, packet.reasonCode, packet.properties, 'auth', version)
  }
}

/** How many bytes the properties and their length take; none in 3.x. */
function sectionBytes(properties: Properties | undefined, of: number, version: ProtocolVersion): number {
  if (version !== 5) return 0
  const bytes = propertiesBytes(properties, of)
  return variableByteIntegerBytes(bytes) + bytes
}

/** @param section what `sectionBytes` said */
function writeSection(at: number, properties: Properties | undefined, section: number): number {
  if (section === 0) return at
  // The length takes one byte up to a section of 128 bytes in all, two up to 16,385, and so on.
  const lengthBytes = section <= 0x80 ? 1 : section <= 0x4001 ? 2 : section <= 0x20_0002 ? 3 : 4
  return writeProperties(target, writeVariableByteInteger(target, at, section - lengthBytes), properties)
}

function binaryBytes(value: Buffer): number {
  if (value.length > MAXIMUM_TEXT_BYTES) throw new RangeError(`binary data of ${value.length} bytes`)
  return 2 + value.length
}

function encodeConnect(packet: Connect): Buffer {
  const { version, will, username, password, properties } = packet
  const name = version === 3 ? 'MQIsdp' : 'MQTT'
  if ((packet.keepAliveSeconds & 0xffff) !== packet.keepAliveSeconds) throw new RangeError(`keep alive of ${packet.keepAliveSeconds} s`)
  const section = sectionBytes(properties, carrier.connect, version)
  const willSection = will === undefined ? 0 : sectionBytes(will.properties, carrier.will, version)
  const clientIdBytes = checkedTextBytes(packet.clientId)
  const willTopicBytes = will === undefined ? 0 : checkedTextBytes(will.topic)
  const usernameBytes = username === undefined ? 0 : checkedTextBytes(username)
  const remaining =
    2 +
    name.length +
    4 +
    section +
    2 +
    clientIdBytes +
    (will === undefined ? 0 : willSection + 2 + willTopicBytes + binaryBytes(will.payload)) +
    (username === undefined ? 0 : 2 + usernameBytes) +
    (password === undefined ? 0 : binaryBytes(password))
  let at = begin(0x10, remaining)
  at = writeText(target, at, name, name.length)
  target[at] = version
  target[at + 1] =
    (packet.cleanStart ? 0x02 : 0) |
    (will === undefined ? 0 : 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0)) |
    (password === undefined ? 0 : 0x40) |
    (username === undefined ? 0 : 0x80)
  at = writeSection(writeU16(at + 2, packet.keepAliveSeconds), properties, section)
  at = writeText(target, at, packet.clientId, clientIdBytes)
  if (will !== undefined) {
    at = writeSection(at, will.properties, willSection)
    at = writeBinary(target, writeText(target, at, will.topic, willTopicBytes), will.payload)
  }
  if (username !== undefined) at = writeText(target, at, username, usernameBytes)
  if (password !== undefined) at = writeBinary(target, at, password)
  return end(at)
}

function encodeConnack(sessionPresent: boolean, reasonCode: number, properties: Properties | undefined, version: ProtocolVersion): Buffer {
  const section = sectionBytes(properties, carrier.connack, version)
  const at = begin(0x20, 2 + section)
  target[at] = sessionPresent ? 1 : 0
  target[at + 1] = reasonCode
  return end(writeSection(at + 2, properties, section))
}

/** An acknowledgement with properties: the code stands before them. */
function encodeWithPacketId(
  firstByte: number,
  packetId: number,
  codes: readonly number[],
  properties: Properties,
  of: Acknowledgement['type'],
): Buffer {
  checkPacketId(packetId)
  const section = sectionBytes(properties, carrier[of], 5)
  const at = writeU16(begin(firstByte, 2 + codes.length + section), packetId)
  return end(writeSection(writeCodes(at, codes), properties, section))
}

function writeCodes(offset: number, codes: readonly number[]): number {
  for (let i = 0; i < codes.length; i++) target[offset + i] = codes[i]!
  return offset + codes.length
}

/** SUBACK and UNSUBACK: the codes stand behind the properties. */
function encodeAnswers(
  firstByte: number,
  packetId: number,
  codes: readonly number[],
  properties: Properties | undefined,
  of: 'suback' | 'unsuback',
  version: ProtocolVersion,
): Buffer {
  checkPacketId(packetId)
  const section = sectionBytes(properties, carrier[of], version)
  const at = writeU16(begin(firstByte, 2 + section + codes.length), packetId)
  return end(writeCodes(writeSection(at, properties, section), codes))
}

function encodeSubscribe(packet: Subscribe, version: ProtocolVersion): Buffer {
  checkPacketId(packet.packetId)
  const section = sectionBytes(packet.properties, carrier.subscribe, version)
  let remaining = 2 + section
  for (const { filter } of packet.subscriptions) remaining += 2 + checkedTextBytes(filter) + 1
  let at = writeSection(writeU16(begin(0x82, remaining), packet.packetId), packet.properties, section)
  for (const request of packet.subscriptions) {
    at = writeText(target, at, request.filter, checkedTextBytes(request.filter))
    const options = (request.noLocal ? 4 : 0) | (request.retainAsPublished ? 8 : 0) | (request.retainHandling << 4)
    target[at] = version === 5 ? request.qos | options : request.qos
    at += 1
  }
  return end(at)
}

function encodeUnsubscribe(packet: Unsubscribe, version: ProtocolVersion): Buffer {
  checkPacketId(packet.packetId)
  const section = sectionBytes(packet.properties, carrier.unsubscribe, version)
  let remaining = 2 + section
  for (const filter of packet.filters) remaining += 2 + checkedTextBytes(filter)
  let at = writeSection(writeU16(begin(0xa2, remaining), packet.packetId), packet.properties, section)
  for (const filter of packet.filters) at = writeText(target, at, filter, checkedTextBytes(filter))
  return end(at)
}

/** DISCONNECT and AUTH: what is 0 or empty is left out from the end. */
function encodeGoodbye(
  firstByte: number,
  reasonCode: number,
  properties: Properties | undefined,
  of: 'disconnect' | 'auth',
  version: ProtocolVersion,
): Buffer {
  if (of === 'auth' && version !== 5) throw new RangeError('AUTH before MQTT 5')
  if (version !== 5 || (reasonCode === 0 && properties === undefined)) return of === 'auth' ? PLAIN_AUTH : PLAIN_DISCONNECT
  const section = of === 'disconnect' && properties === undefined ? 0 : sectionBytes(properties, carrier[of], version)
  const at = begin(firstByte, 1 + section)
  target[at] = reasonCode
  return end(writeSection(at + 1, properties, section))
}
