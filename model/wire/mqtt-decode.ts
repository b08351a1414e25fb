/**
 * Decodes one whole MQTT frame into a packet, judging every field in the same walk: MQTT 3.1, 3.1.1 and 5.0, as a server or as a client receives them.
 *
 * What depends on a session or on a policy is not judged here: topic aliases above the maximum, Receive Maximum, a second CONNECT, packet identifiers in use.
 * Nor is it whether a payload has the format that its indicator announces: a receiver may check that (section 3.3.2.3.2), and the service forwards it as it came.
 */
import type { Cursor } from './mqtt-cursor.ts'
import { type Malformed, rules } from './mqtt-rules.ts'
import type { Acknowledgement, Connect, Packet, Properties, ProtocolVersion, QoS, SubscribeRequest, Will } from './packets.ts'
import { carrier, readProperties } from './properties.ts'
import { type Role, reasonCodeFlaw } from './reason-codes.ts'
import { type FilterFlaw, filterFlaw, wildcardFlaw } from './topic.ts'

const EMPTY = Buffer.alloc(0)

/**
 * Reads the packet that `cursor` was set to: all of its bytes behind the fixed header.
 * @param version undefined only where the packet is a CONNECT
 * @returns undefined when the packet is refused: see `cursor.flaw`
 */
export function decodePacket(cursor: Cursor, firstByte: number, version: ProtocolVersion | undefined, receiver: Role): Packet | undefined {
  const packet = version === undefined ? connect(cursor, firstByte) : decodeBody(cursor, firstByte, version, receiver)
  if (cursor.flaw !== undefined) return undefined
  if (cursor.at === cursor.end) return packet
  cursor.fail(rules.trailingBytes)
  return undefined
}

function decodeBody(cursor: Cursor, firstByte: number, version: ProtocolVersion, receiver: Role): Packet | undefined {
  switch (firstByte >> 4) {
    case 1:
      return connect(cursor, firstByte)
    case 2:
      return connack(cursor, version, receiver)
    case 3:
      return publish(cursor, firstByte, version, receiver)
    case 4:
      return acknowledgement(cursor, 'puback', version, receiver)
    case 5:
      return acknowledgement(cursor, 'pubrec', version, receiver)
    case 6:
      return acknowledgement(cursor, 'pubrel', version, receiver)
    case 7:
      return acknowledgement(cursor, 'pubcomp', version, receiver)
    case 8:
      return subscribe(cursor, version, receiver)
    case 9:
      return suback(cursor, version, receiver)
    case 10:
      return unsubscribe(cursor, version, receiver)
    case 11:
      return unsuback(cursor, version, receiver)
    case 12:
      return { type: 'pingreq' }
    case 13:
      return { type: 'pingresp' }
    case 14:
      return disconnect(cursor, version, receiver)
    default:
      return auth(cursor, receiver)
  }
}

function publish(cursor: Cursor, firstByte: number, version: ProtocolVersion, receiver: Role): Packet | undefined {
  const qos = ((firstByte >> 1) & 3) as QoS
  const dup = (firstByte & 8) !== 0
  const retain = (firstByte & 1) !== 0
  const topic = cursor.topicName()
  const packetId = qos === 0 ? 0 : cursor.packetId()
  if (version !== 5) {
    if (topic === '') cursor.fail(rules.emptyTopicName)
    if (cursor.flaw !== undefined) return undefined
    return { type: 'publish', topic, payload: rest(cursor), qos, dup, retain, packetId }
  }
  let properties: Properties | undefined
  let rawProperties: Buffer = EMPTY
  if (cursor.at < cursor.end && cursor.bytes[cursor.at] === 0) {
    cursor.at += 1
  } else {
    properties = readProperties(cursor, carrier.publish, receiver)
    rawProperties = cursor.travelling
  }
  if (topic === '' && properties?.topicAlias === undefined) cursor.fail(rules.emptyTopic)
  if (cursor.flaw !== undefined) return undefined
  const payload = rest(cursor)
  return properties === undefined
    ? { type: 'publish', topic, payload, qos, dup, retain, packetId, rawProperties }
    : { type: 'publish', topic, payload, qos, dup, retain, packetId, properties, rawProperties }
}

/** All that is left: a view, not a copy. */
function rest(cursor: Cursor): Buffer {
  const at = cursor.at
  cursor.at = cursor.end
  return at === cursor.end ? EMPTY : cursor.bytes.subarray(at, cursor.end)
}

function acknowledgement(cursor: Cursor, type: Acknowledgement['type'], version: ProtocolVersion, receiver: Role): Packet {
  const packetId = cursor.packetId()
  // A code of 0 may be left out, and so may empty properties (sections 3.4.2.1 and 3.4.2.2.1).
  if (version !== 5 || cursor.at === cursor.end) return { type, packetId, reasonCode: 0 }
  const reasonCode = cursor.u8()
  const flaw = reasonCodeFlaw(type, reasonCode, receiver, version)
  if (flaw !== undefined) cursor.fail(flaw)
  const properties = cursor.at === cursor.end ? undefined : readProperties(cursor, carrier[type], receiver)
  return properties === undefined ? { type, packetId, reasonCode } : { type, packetId, reasonCode, properties }
}

function connack(cursor: Cursor, version: ProtocolVersion, receiver: Role): Packet {
  const flags = cursor.u8()
  if (flags > 1) cursor.fail(rules.connackFlags)
  const sessionPresent = flags === 1
  const reasonCode = cursor.u8()
  const flaw = reasonCodeFlaw('connack', reasonCode, receiver, version)
  if (flaw !== undefined) cursor.fail(flaw)
  if (sessionPresent && reasonCode !== 0) cursor.fail(rules.sessionPresentOnRefusal)
  const properties = version === 5 ? readProperties(cursor, carrier.connack, receiver) : undefined
  return properties === undefined
    ? { type: 'connack', sessionPresent, reasonCode }
    : { type: 'connack', sessionPresent, reasonCode, properties }
}

const filterRules: Readonly<Record<FilterFlaw, Malformed>> = {
  empty: rules.emptyFilter,
  'multi-level-wildcard': rules.multiLevelWildcard,
  'single-level-wildcard': rules.singleLevelWildcard,
  'share-name': rules.shareName,
  'no-filter-after-share-name': rules.sharedFilter,
}

/** In 3.x `$share/` has no meaning, and nothing that follows it is wrong. */
function topicFilter(cursor: Cursor, version: ProtocolVersion): string {
  const filter = cursor.name()
  if (cursor.flaw !== undefined) return ''
  const flaw = version === 5 ? filterFlaw(filter) : wildcardFlaw(filter)
  if (flaw !== undefined) cursor.fail(filterRules[flaw])
  return filter
}

function subscribe(cursor: Cursor, version: ProtocolVersion, receiver: Role): Packet {
  const packetId = cursor.packetId()
  const properties = version === 5 ? readProperties(cursor, carrier.subscribe, receiver) : undefined
  const subscriptions: SubscribeRequest[] = []
  if (cursor.at === cursor.end) cursor.fail(rules.subscribeEmpty)
  while (cursor.at < cursor.end) {
    const filter = topicFilter(cursor, version)
    const options = cursor.u8()
    // 3.x: only the QoS is there.
    if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0) cursor.fail(rules.subscriptionReservedBits)
    const qos = options & 3
    const retainHandling = (options >> 4) & 3
    const noLocal = (options & 4) !== 0
    if (qos === 3) cursor.fail(rules.subscriptionQos3)
    if (retainHandling === 3) cursor.fail(rules.retainHandling3)
    if (noLocal && filter.startsWith('$share/')) cursor.fail(rules.noLocalShared)
    subscriptions.push({
      filter,
      qos: qos as QoS,
      noLocal,
      retainAsPublished: (options & 8) !== 0,
      retainHandling: retainHandling as 0 | 1 | 2,
    })
  }
  return properties === undefined
    ? { type: 'subscribe', packetId, subscriptions }
    : { type: 'subscribe', packetId, subscriptions, properties }
}

function suback(cursor: Cursor, version: ProtocolVersion, receiver: Role): Packet {
  const packetId = cursor.packetId()
  const properties = version === 5 ? readProperties(cursor, carrier.suback, receiver) : undefined
  const reasonCodes = answers(cursor, 'suback', version, receiver)
  if (reasonCodes.length === 0) cursor.fail(rules.subackEmpty)
  return properties === undefined ? { type: 'suback', packetId, reasonCodes } : { type: 'suback', packetId, reasonCodes, properties }
}

function unsubscribe(cursor: Cursor, version: ProtocolVersion, receiver: Role): Packet {
  const packetId = cursor.packetId()
  const properties = version === 5 ? readProperties(cursor, carrier.unsubscribe, receiver) : undefined
  const filters: string[] = []
  if (cursor.at === cursor.end) cursor.fail(rules.unsubscribeEmpty)
  while (cursor.at < cursor.end) filters.push(topicFilter(cursor, version))
  return properties === undefined ? { type: 'unsubscribe', packetId, filters } : { type: 'unsubscribe', packetId, filters, properties }
}

function unsuback(cursor: Cursor, version: ProtocolVersion, receiver: Role): Packet {
  const packetId = cursor.packetId()
  if (version !== 5) return { type: 'unsuback', packetId, reasonCodes: [] }
  const properties = readProperties(cursor, carrier.unsuback, receiver)
  const reasonCodes = answers(cursor, 'unsuback', version, receiver)
  if (reasonCodes.length === 0) cursor.fail(rules.unsubackEmpty)
  return properties === undefined ? { type: 'unsuback', packetId, reasonCodes } : { type: 'unsuback', packetId, reasonCodes, properties }
}

function answers(cursor: Cursor, of: 'suback' | 'unsuback', version: ProtocolVersion, receiver: Role): number[] {
  const reasonCodes: number[] = []
  while (cursor.at < cursor.end) {
    const code = cursor.u8()
    const flaw = reasonCodeFlaw(of, code, receiver, version)
    if (flaw !== undefined) cursor.fail(flaw)
    reasonCodes.push(code)
  }
  return reasonCodes
}

function disconnect(cursor: Cursor, version: ProtocolVersion, receiver: Role): Packet {
  if (version !== 5 || cursor.at === cursor.end) return { type: 'disconnect', reasonCode: 0 }
  const reasonCode = cursor.u8()
  const flaw = reasonCodeFlaw('disconnect', reasonCode, receiver, version)
  if (flaw !== undefined) cursor.fail(flaw)
  const properties = cursor.at === cursor.end ? undefined : readProperties(cursor, carrier.disconnect, receiver)
  return properties === undefined ? { type: 'disconnect', reasonCode } : { type: 'disconnect', reasonCode, properties }
}

/** Unlike DISCONNECT, a code without a property length is not provided for (section 3.15.2.2.1). */
function auth(cursor: Cursor, receiver: Role): Packet {
  const short = cursor.at === cursor.end
  const reasonCode = short ? 0 : cursor.u8()
  const flaw = reasonCodeFlaw('auth', reasonCode, receiver, 5)
  if (flaw !== undefined) cursor.fail(flaw)
  const properties = short ? undefined : readProperties(cursor, carrier.auth, receiver)
  if (!short && properties === undefined) cursor.fail(rules.authenticationMethodMissing)
  return properties === undefined ? { type: 'auth', reasonCode } : { type: 'auth', reasonCode, properties }
}

function connect(cursor: Cursor, firstByte: number): Connect | undefined {
  const protocol = protocolVersion(cursor)
  if (protocol === undefined) return undefined
  const packet = connectBody(cursor, firstByte, protocol)
  const flaw = cursor.flaw
  // In 3.x no return code says that a CONNECT is malformed.
  if (flaw !== undefined && protocol === 5) cursor.flaw = { ...flaw, refusal: { version: 5, reasonCode: flaw.reasonCode } }
  return packet
}

function protocolVersion(cursor: Cursor): ProtocolVersion | undefined {
  const name = cursor.name()
  if (cursor.flaw !== undefined) return undefined
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    cursor.fail(rules.protocolName)
    return undefined
  }
  const level = cursor.u8()
  if (cursor.flaw !== undefined) return undefined
  if (name === 'MQTT' ? level === 4 || level === 5 : level === 3) return level as ProtocolVersion
  // A later protocol is likely to know the CONNACK of MQTT 5 [MQTT-3.1.2-2]; all others, bridges that set bit 7 among them, get that of 3.x [v3.1.1 MQTT-3.1.2-2].
  const refusal = level > 5 && level < 0x80 ? ({ version: 5, reasonCode: 0x84 } as const) : ({ version: 3, reasonCode: 0x01 } as const)
  cursor.fail({ ...rules.protocolLevel, refusal })
  return undefined
}

function connectBody(cursor: Cursor, firstByte: number, version: ProtocolVersion): Connect | undefined {
  const flags = cursor.u8()
  const hasWill = (flags & 0x04) !== 0
  const willQos = (flags >> 3) & 3
  const hasPassword = (flags & 0x40) !== 0
  const hasUserName = (flags & 0x80) !== 0
  // MQTT 3.1 says of these bits only that they are not used.
  if (version !== 3) {
    if ((firstByte & 0x0f) !== 0) cursor.fail(rules.reservedFlags)
    if ((flags & 0x01) !== 0) cursor.fail(rules.connectReservedFlag)
  }
  if (!hasWill) {
    if (willQos !== 0) cursor.fail(rules.willQosWithoutWill)
    if ((flags & 0x20) !== 0) cursor.fail(rules.willRetainWithoutWill)
  } else if (willQos === 3) {
    cursor.fail(rules.willQos3)
  }
  // MQTT 5 allows it (section 3.1.2.9).
  if (hasPassword && !hasUserName && version !== 5) cursor.fail(rules.passwordWithoutUserName)
  const keepAliveSeconds = cursor.u16()
  const properties = version === 5 ? readProperties(cursor, carrier.connect, 'server') : undefined
  const cleanStart = (flags & 0x02) !== 0
  const clientId = cursor.name(version === 5 ? rules.clientIdentifierText : undefined)
  // MQTT 3.1: one character at least; 3.1.1: none only for a session that ends with the connection; 5.0: the server assigns one.
  if (cursor.flaw === undefined && clientId === '' && (version === 3 || (version === 4 && !cleanStart))) {
    cursor.fail({ ...rules.emptyClientIdentifier, refusal: { version, reasonCode: 0x02 } })
  }
  const will = hasWill ? readWill(cursor, willQos as QoS, (flags & 0x20) !== 0, version) : undefined
  // MQTT 3.1, section 3.1: the remaining length takes precedence over the flags; strings that are not there are valid.
  const username = hasUserName && !(version === 3 && cursor.at === cursor.end) ? cursor.name() : undefined
  const password = hasPassword && !(version === 3 && cursor.at === cursor.end) ? cursor.binary() : undefined
  if (cursor.at !== cursor.end) cursor.fail(rules.trailingBytes)
  if (cursor.flaw !== undefined) return undefined
  return {
    type: 'connect',
    version,
    clientId,
    cleanStart,
    keepAliveSeconds,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(will === undefined ? {} : { will }),
    ...(properties === undefined ? {} : { properties }),
  }
}

function readWill(cursor: Cursor, qos: QoS, retain: boolean, version: ProtocolVersion): Will {
  const properties = version === 5 ? readProperties(cursor, carrier.will, 'server') : undefined
  const topic = cursor.rareTopicName(rules.wildcardInWillTopic)
  if (topic === '') cursor.fail(rules.emptyTopicName)
  const payload = cursor.binary()
  return properties === undefined ? { topic, payload, qos, retain } : { topic, payload, qos, retain, properties }
}
