/**
 * `mqtt-packet` as a second opinion: of what both take they must say the same, and what only one of them takes is listed here. It reads MQTT 3.1 and 5.0 less
 * exactly than 3.1.1, and leaves most of what a string or a property says to its caller.
 */
import fc from 'fast-check'
import mqttPacket, { type Packet as TheirPacket } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { malformedFrames } from './malformed-frames.test-support.ts'
import { change, changed, legalBytes, randomBytes, read, type Stream } from './mqtt-arbitrary.test-support.ts'
import { type Malformed, PacketReader } from './mqtt-codec.ts'
import { rules } from './mqtt-rules.ts'
import type { Packet, Properties, ProtocolVersion, Publish } from './packets.ts'

/** One chunk a frame, and one for what has no whole header: given more at once, it lets the fields of a packet reach into the next. */
function framesOf(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = []
  let start = 0
  while (start < bytes.length) {
    let at = start + 1
    let length = 0
    for (let shift = 0; shift < 28; shift += 7) {
      length |= ((bytes[at] ?? 0) & 0x7f) << shift
      at += 1
      if ((bytes[at - 1] ?? 0) < 0x80) break
    }
    frames.push(bytes.subarray(start, at + length))
    start = at + length
  }
  return frames
}

interface Theirs {
  readonly packets: readonly TheirPacket[]
  /** Why it refused; undefined where it did not. */
  readonly refusal: string | undefined
}

function theirs(version: ProtocolVersion | undefined, bytes: Buffer): Theirs {
  const parser = mqttPacket.parser(version === undefined ? {} : { protocolVersion: version })
  const packets: TheirPacket[] = []
  let refusal: string | undefined
  parser.on('packet', (packet) => packets.push(packet))
  parser.on('error', (error) => {
    refusal ??= error.message
  })
  try {
    for (const frame of framesOf(bytes)) if (refusal === undefined) parser.parse(frame)
  } catch (error) {
    refusal ??= `thrown: ${(error as Error).message}`
  }
  return { packets, refusal }
}

type RuleName = keyof typeof rules

/** What only we take: the start of what it says to that, and why we do not. */
const onlyWeTake: readonly (readonly [refusal: string, why: string])[] = [
  [
    'Invalid header flag bits',
    'MQTT 3.1 says of the flags of most packets that they are not used, and sets DUP on PUBREL, SUBSCRIBE and UNSUBSCRIBE',
  ],
  ['Connect flag bit 0 must be 0', 'MQTT 3.1 says of that bit that it is not used'],
  ['Cannot parse username', 'in MQTT 3.1 strings that the flags announce may be missing (its section 3.1)'],
  ['Cannot parse password', 'in MQTT 3.1 strings that the flags announce may be missing'],
  ['Invalid auth reason code', 'it does not know that an AUTH of success may be empty (section 3.15.2.1)'],
  ['Invalid disconnect reason code', 'table 2-6 of MQTT 5 gives DISCONNECT the code 0x8c, which its own table leaves out'],
]

/** Rules that it does not know: whatever breaks only these, only it takes. */
const onlyTheyTake: readonly RuleName[] = [
  ...(['notConnect', 'wrongDirection', 'dupQos0'] as const),
  ...(['illFormedUtf8', 'nullCharacter', 'controlCharacter', 'clientIdentifierText', 'packetIdZero'] as const),
  ...(['emptyTopic', 'emptyTopicName', 'wildcardInTopic', 'wildcardInWillTopic'] as const),
  ...(['emptyFilter', 'multiLevelWildcard', 'singleLevelWildcard', 'shareName', 'sharedFilter', 'noLocalShared'] as const),
  ...(['foreignProperty', 'propertyTwice', 'propertyRange', 'topicAliasZero', 'responseTopicWildcard', 'responseTopicEmpty'] as const),
  ...(['subscriptionIdentifierFromClient', 'sessionExpiryFromServer', 'authenticationDataAlone', 'authenticationMethodMissing'] as const),
  ...(['willQos3', 'passwordWithoutUserName', 'emptyClientIdentifier', 'sessionPresentOnRefusal', 'connackCode'] as const),
  ...(['subscribeEmpty', 'unsubscribeEmpty', 'subackEmpty', 'unsubackEmpty'] as const),
]

/** Rules that it knows in part: what breaks them it takes sometimes. */
const theyTakeSome: readonly RuleName[] = [
  // Not of the remaining length and the property length; of a property identifier.
  'lengthNotMinimal',
  // Not behind fields that have a fixed length, nor in a PUBLISH; for the client's name and will, yes.
  'cutShort',
  'trailingBytes',
  // MQTT with 3, MQIsdp with 4, and bridges that set bit 7.
  'protocolLevel',
  // It does not ask who sends.
  ...(['pubackCode', 'pubrecCode', 'disconnectCode', 'authCode'] as const),
  // It has no limit, and waits.
  ...(['tooLargeForServer', 'tooLargeForClient'] as const),
]

function ruleOf(problem: Malformed): RuleName {
  return (Object.keys(rules) as RuleName[]).find((name) => problem.text.startsWith(rules[name].text))!
}

describe('mqtt-packet', () => {
  test('of the malformed frames takes those that break a rule it does not know, and refuses the others', () => {
    for (const [name, receiver, version, bytes] of malformedFrames) {
      const reader = new PacketReader({ receiver, maximumPacketBytes: 1000, ...(version === undefined ? {} : { version }) })
      let rule: RuleName | undefined
      reader.read(bytes, {
        onPacket: () => undefined,
        onMalformed: (problem) => {
          rule = ruleOf(problem)
        },
      })
      if (theyTakeSome.includes(rule!)) continue
      const { packets, refusal } = theirs(version, bytes)
      expect(refusal === undefined && packets.length === 1, name).toBe(onlyTheyTake.includes(rule!))
    }
  })

  test('says the same of what both take; what only one takes is listed', () => {
    let compared = 0
    const listed = new Set<string>()
    fc.assert(
      fc.property(
        fc.oneof({ weight: 3, arbitrary: legalBytes }, { weight: 1, arbitrary: randomBytes }),
        fc.oneof({ weight: 1, arbitrary: fc.constant([]) }, { weight: 2, arbitrary: fc.array(change, { maxLength: 1 }) }),
        ({ stream, bytes }, changes) => {
          const some = changed(bytes, changes)
          const outcome = read(stream, [some])
          const ours = outcome.filter((one): one is Packet => 'type' in one)
          const problem = outcome.find((one): one is Malformed => !('type' in one))
          const { packets, refusal } = theirs(stream.receiver === 'server' ? undefined : stream.version, some)
          if (problem === undefined && refusal !== undefined) {
            const row = onlyWeTake.find(([start]) => refusal.startsWith(start))
            expect(row, refusal).toBeDefined()
            listed.add(row![0])
          } else if (problem !== undefined && refusal === undefined && packets.length > ours.length) {
            expect([...onlyTheyTake, ...theyTakeSome]).toContain(ruleOf(problem))
          }
          // The packets before the first that one of them refuses.
          const both = Math.min(ours.length, packets.length)
          if (problem === undefined && refusal === undefined) expect(packets).toHaveLength(ours.length)
          compared += both
          const version = ours[0]?.type === 'connect' ? ours[0].version : stream.version
          expect(packets.slice(0, both).map((packet) => fromTheirs(packet, version))).toEqual(ours.slice(0, both).map(comparable))
        },
      ),
      { numRuns: 800 },
    )
    expect(compared).toBeGreaterThan(500)
    expect([...listed]).toContain(onlyWeTake[0]![0])
  })

  test.each<[string, Stream['receiver'], ProtocolVersion, string]>([
    ['Invalid header flag bits', 'server', 3, '6a020001'],
    ['Connect flag bit 0 must be 0', 'server', 3, '100f00064d51497364700303000a000163'],
    ['Cannot parse username', 'server', 3, '100f00064d514973647003c2000a000163'],
    ['Cannot parse password', 'server', 3, '101200064d514973647003c2000a000163000175'],
    ['Invalid auth reason code', 'client', 5, 'f000'],
    ['Invalid disconnect reason code', 'client', 5, 'e0018c'],
  ])('refuses what we take: %s', (start, receiver, version, hex) => {
    const bytes = Buffer.from(hex, 'hex')
    const isConnect = bytes[0]! >> 4 === 1
    const seen: unknown[] = []
    const reader = new PacketReader({ receiver, maximumPacketBytes: 1000, ...(isConnect ? {} : { version }) })
    reader.read(bytes, { onPacket: (packet) => seen.push(packet.type), onMalformed: (problem) => seen.push(problem) })
    expect(seen).toEqual([expect.any(String)])
    expect(theirs(isConnect ? undefined : version, bytes).refusal).toMatch(start)
    expect(onlyWeTake.map(([refusal]) => refusal)).toContain(start)
  })
})

// mqtt-packet's way of saying it

/** The last value of each name: mqtt-packet does not keep the order among names, and forgets an empty value when its name comes again. */
function lastOfEach(pairs: Properties['userProperties']): Record<string, string> {
  const last: Record<string, string> = Object.create(null)
  for (const [key, value] of pairs ?? []) last[key] = value
  return last
}

function comparableProperties(properties: Properties | undefined): unknown {
  if (properties === undefined) return undefined
  const { userProperties, ...rest } = properties
  return { ...rest, userProperties: lastOfEach(userProperties) }
}

function comparable(packet: Packet): unknown {
  const { properties, rawProperties: _, will, ...rest } = packet as Publish & { will?: Publish }
  return {
    ...rest,
    properties: comparableProperties(properties),
    ...(will === undefined ? {} : { will: { ...will, properties: comparableProperties(will.properties) } }),
  }
}

type Loose = Record<string, unknown>

function theirProperties(given: unknown): unknown {
  if (given === undefined) return undefined
  const { userProperties, subscriptionIdentifier, subscriptionIdentifiersAvailable, ...rest } = given as Loose
  const properties: Loose = {}
  for (const [key, value] of Object.entries(rest)) properties[key] = typeof value === 'boolean' ? Number(value) : value
  if (subscriptionIdentifier !== undefined) properties.subscriptionIdentifiers = [subscriptionIdentifier].flat()
  if (subscriptionIdentifiersAvailable !== undefined) properties.subscriptionIdentifierAvailable = Number(subscriptionIdentifiersAvailable)
  const pairs = Object.entries((userProperties ?? {}) as Loose).map(([key, value]) => [key, [value].flat().at(-1) as string] as const)
  return { ...properties, userProperties: lastOfEach(pairs) }
}

function fromTheirs(given: TheirPacket, version: ProtocolVersion): unknown {
  const packet = given as unknown as Loose
  const properties = version === 5 ? theirProperties(packet.properties) : undefined
  const type = packet.cmd
  const id = { type, packetId: packet.messageId }
  switch (type) {
    case 'connect': {
      const { protocolVersion, clientId, clean, keepalive, username, password } = packet
      const will = packet.will as Loose | undefined
      return {
        ...{ type, version: protocolVersion, clientId, cleanStart: clean, keepAliveSeconds: keepalive, properties },
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password }),
        ...(will === undefined
          ? {}
          : {
              will: {
                topic: will.topic,
                payload: will.payload,
                qos: will.qos,
                retain: will.retain,
                properties: theirProperties(will.properties),
              },
            }),
      }
    }
    case 'connack':
      return { type, sessionPresent: packet.sessionPresent, reasonCode: version === 5 ? packet.reasonCode : packet.returnCode, properties }
    case 'publish':
      return {
        ...{ type, topic: packet.topic, payload: packet.payload, qos: packet.qos, dup: packet.dup, retain: packet.retain },
        ...{ packetId: packet.messageId ?? 0, properties },
      }
    case 'subscribe': {
      const subscriptions = (packet.subscriptions as Loose[]).map((one) => ({
        filter: one.topic,
        qos: one.qos,
        noLocal: one.nl ?? false,
        retainAsPublished: one.rap ?? false,
        retainHandling: one.rh ?? 0,
      }))
      return { ...id, subscriptions, properties }
    }
    case 'suback':
      return { ...id, reasonCodes: packet.granted, properties }
    case 'unsubscribe':
      return { ...id, filters: packet.unsubscriptions, properties }
    case 'unsuback':
      return { ...id, reasonCodes: packet.granted ?? [], properties }
    case 'pingreq':
    case 'pingresp':
      return { type }
    case 'disconnect':
    case 'auth':
      return { type, reasonCode: packet.reasonCode ?? 0, properties }
    default:
      return { ...id, reasonCode: packet.reasonCode ?? 0, properties }
  }
}
