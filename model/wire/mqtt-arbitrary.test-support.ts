/**
 * Arbitrary MQTT packets of every kind and version, with any properties that they may carry; streams of them, small damages, and reading them.
 * What is generated is legal: every value comes from the same tables that the codec judges by, and those tables are held against the standard elsewhere.
 */
import fc, { type Arbitrary } from 'fast-check'
import { encodePacket, type Malformed, PacketReader } from './mqtt-codec.ts'
import type { Packet, Properties, ProtocolVersion, QoS } from './packets.ts'
import { carrier, propertyTable } from './properties.ts'
import { type Role, reasonCodeFlaw } from './reason-codes.ts'
import { isTopicFilter, isTopicName } from './topic.ts'
import { isCleanText } from './utf8.ts'

export const MAXIMUM_PACKET_BYTES = 4096

export interface Stream {
  readonly receiver: Role
  /** What the other side speaks; a server that is at its first packet does not know it yet. */
  readonly version: ProtocolVersion
}

// Packets

const text = fc.string({ unit: 'binary', maxLength: 8 }).map((some) => some.replaceAll('\u0000', ''))
const name = fc.oneof(text.filter(isCleanText), fc.string({ maxLength: 80 }))
const word = fc.constantFrom('a', 'b/c', '$SYS/x', 'sport/tennis/player1')
export const topicName = fc.oneof(word, name.filter(isTopicName))
const topicFilter = fc.oneof(word, fc.constantFrom('#', 'a/+/b', '+', '$share/g/a/#'), name.filter(isTopicFilter))
export const binary = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes))
const packetId = fc.oneof(fc.constantFrom(1, 0xff, 0x100, 0xffff), fc.integer({ min: 1, max: 0xffff }))
const qos = fc.constantFrom<QoS>(0, 1, 2)

function anyValueOf(row: (typeof propertyTable)[number]): Arbitrary<unknown> {
  switch (row.type) {
    case 'binary':
      return binary
    case 'text':
      return text
    case 'name':
      return name
    case 'topic':
      return topicName
    case 'pair':
      return fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 4 })
    default:
      return fc.oneof(fc.constantFrom(row.least, row.most), fc.integer({ min: row.least, max: row.most }))
  }
}

/** Any properties that a packet may carry, as the table has them; undefined where there are none. */
export function propertiesOf(of: keyof typeof carrier, receiver: Role): Arbitrary<Properties | undefined> {
  const model: Record<string, Arbitrary<unknown>> = {}
  for (const row of propertyTable) {
    if ((row.carriers & carrier[of]) === 0) continue
    if (of === 'disconnect' && receiver === 'client' && row.name === 'sessionExpiryInterval') continue
    if (row.name === 'subscriptionIdentifiers') {
      if (of === 'publish' && receiver === 'server') continue
      model[row.name] = fc.array(anyValueOf(row), { minLength: 1, maxLength: of === 'publish' ? 3 : 1 })
    } else {
      model[row.name] = anyValueOf(row)
    }
  }
  return fc.record(model, { requiredKeys: [] }).map((given) => {
    const { authenticationData, ...rest } = given as Properties
    const properties: Properties =
      rest.authenticationMethod === undefined || authenticationData === undefined ? rest : { ...rest, authenticationData }
    return Object.keys(properties).length === 0 ? undefined : properties
  })
}

const codeOf = (packet: Parameters<typeof reasonCodeFlaw>[0], { receiver, version }: Stream): Arbitrary<number> =>
  fc.constantFrom(...[...Array(256).keys()].filter((code) => reasonCodeFlaw(packet, code, receiver, version) === undefined))

function packetOf(stream: Stream): Arbitrary<Packet> {
  const { receiver, version } = stream
  const with5 = <P extends object>(plain: Arbitrary<P>, of: keyof typeof carrier): Arbitrary<P> =>
    version !== 5
      ? plain
      : fc
          .tuple(plain, propertiesOf(of, receiver))
          .map(([fields, properties]) => (properties === undefined ? fields : { ...fields, properties }))
  const typed = <T extends string, M extends object>(type: T, model: { [K in keyof M]: Arbitrary<M[K]> }) =>
    fc.record({ type: fc.constant(type), ...model }) as unknown as Arbitrary<{ type: T } & M>

  const publish = with5(
    fc.record({
      type: fc.constant('publish' as const),
      topic: topicName,
      payload: binary,
      qos,
      dup: fc.boolean(),
      retain: fc.boolean(),
      packetId,
    }),
    'publish',
  ).map((packet) => ({ ...packet, dup: packet.dup && packet.qos > 0, packetId: packet.qos > 0 ? packet.packetId : 0 }))
  const acknowledgement = (type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp') =>
    with5(typed(type, { packetId, reasonCode: version === 5 ? codeOf(type, stream) : fc.constant(0) }), type)
  const disconnect =
    version === 5
      ? with5(typed('disconnect', { reasonCode: codeOf('disconnect', stream) }), 'disconnect')
      : fc.constant({ type: 'disconnect', reasonCode: 0 } as const)
  const auth = fc
    .tuple(codeOf('auth', { receiver, version: 5 }), propertiesOf('auth', receiver), name)
    .map(([reasonCode, properties, method]) => ({
      type: 'auth' as const,
      reasonCode,
      properties: { authenticationMethod: method, ...properties },
    }))
  const common: Arbitrary<Packet>[] = [
    publish,
    acknowledgement('puback'),
    acknowledgement('pubrec'),
    acknowledgement('pubrel'),
    acknowledgement('pubcomp'),
    ...(version === 5 ? [auth] : []),
  ]
  if (receiver === 'client') {
    const reasonCodes = fc.array(codeOf('suback', stream), { minLength: 1, maxLength: 4 })
    return fc.oneof(
      ...common,
      with5(typed('connack', { sessionPresent: fc.boolean(), reasonCode: codeOf('connack', stream) }), 'connack').map((packet) => ({
        ...packet,
        sessionPresent: packet.sessionPresent && packet.reasonCode === 0,
      })),
      with5(typed('suback', { packetId, reasonCodes }), 'suback'),
      with5(
        typed('unsuback', {
          packetId,
          reasonCodes: version === 5 ? fc.array(codeOf('unsuback', stream), { minLength: 1, maxLength: 4 }) : fc.constant([]),
        }),
        'unsuback',
      ),
      fc.constant({ type: 'pingresp' } as const),
      ...(version === 5 ? [disconnect] : []),
    )
  }
  const subscription = fc
    .record({
      filter: topicFilter,
      qos,
      noLocal: fc.boolean(),
      retainAsPublished: fc.boolean(),
      retainHandling: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    })
    .map((request) =>
      version === 5
        ? { ...request, noLocal: request.noLocal && !request.filter.startsWith('$share/') }
        : { ...request, noLocal: false, retainAsPublished: false, retainHandling: 0 as const },
    )
  return fc.oneof(
    ...common,
    with5(typed('subscribe', { packetId, subscriptions: fc.array(subscription, { minLength: 1, maxLength: 3 }) }), 'subscribe'),
    with5(typed('unsubscribe', { packetId, filters: fc.array(topicFilter, { minLength: 1, maxLength: 3 }) }), 'unsubscribe'),
    fc.constant({ type: 'pingreq' } as const),
    disconnect,
  )
}

function connectOf(version: ProtocolVersion): Arbitrary<Packet> {
  const properties = version === 5 ? propertiesOf('connect', 'server') : fc.constant(undefined)
  const willProperties = version === 5 ? propertiesOf('will', 'server') : fc.constant(undefined)
  const will = fc
    .tuple(fc.record({ topic: topicName, payload: binary, qos, retain: fc.boolean() }), willProperties)
    .map(([fields, given]) => (given === undefined ? fields : { ...fields, properties: given }))
  return fc
    .tuple(
      fc.record({ clientId: name, cleanStart: fc.boolean(), keepAliveSeconds: fc.nat(0xffff) }),
      fc.record({ username: name, password: binary, will }, { requiredKeys: [] }),
      properties,
    )
    .map(([fields, { password, ...optional }, given]) => ({
      type: 'connect' as const,
      version,
      ...fields,
      clientId: fields.clientId === '' && version !== 5 ? 'c' : fields.clientId,
      ...optional,
      ...(password !== undefined && (optional.username !== undefined || version === 5) ? { password } : {}),
      ...(given === undefined ? {} : { properties: given }),
    }))
}

const streamOf = fc.record({ receiver: fc.constantFrom<Role>('server', 'client'), version: fc.constantFrom<ProtocolVersion>(3, 4, 5) })

/** A stream and some packets of it: to a server, CONNECT first. */
export const conversation = streamOf.chain((stream) =>
  fc
    .tuple(
      stream.receiver === 'server' ? connectOf(stream.version).map((packet) => [packet]) : fc.constant([]),
      fc.array(packetOf(stream), { maxLength: 5 }),
    )
    .map(([first, rest]) => ({ stream, packets: [...first, ...rest] as Packet[] })),
)

// Reading

export type Outcome = readonly (Packet | Malformed)[]

export function read(stream: Stream, chunks: readonly Buffer[]): Outcome {
  const { receiver, version } = stream
  const options = { receiver, maximumPacketBytes: MAXIMUM_PACKET_BYTES }
  const reader = new PacketReader(receiver === 'server' ? options : { ...options, version })
  const seen: (Packet | Malformed)[] = []
  for (const chunk of chunks) reader.read(chunk, { onPacket: (packet) => seen.push(packet), onMalformed: (problem) => seen.push(problem) })
  return seen
}

/** Cuts at any places, some of them more than once. */
export function cutInto(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)
  return [...cuts, bytes.length].map((cut, i) => bytes.subarray(i === 0 ? 0 : cuts[i - 1], cut))
}

/** Small changes of the kind that a broken peer makes. */
export const change = fc.record({
  at: fc.nat(400),
  kind: fc.constantFrom('set', 'flip', 'insert', 'remove', 'length'),
  value: fc.nat(255),
})
type Change = typeof change extends Arbitrary<infer C> ? C : never

export function changed(bytes: Buffer, changes: readonly Change[]): Buffer {
  let result = Buffer.from(bytes)
  for (const { at, kind, value } of changes) {
    const place = result.length === 0 ? 0 : at % result.length
    if (kind === 'insert') result = Buffer.concat([result.subarray(0, place), Buffer.from([value]), result.subarray(place)])
    else if (kind === 'remove') result = Buffer.concat([result.subarray(0, place), result.subarray(place + 1)])
    else if (result.length > 0)
      result[place] = kind === 'set' ? value : kind === 'flip' ? result[place]! ^ (1 << (value & 7)) : result[place]! + 1
  }
  return result
}

const greeting = (version: ProtocolVersion): Buffer =>
  encodePacket({ type: 'connect', version, clientId: 'c', cleanStart: true, keepAliveSeconds: 0 }, version)

/** The bytes of some packets, all of them right. */
export const legalBytes = conversation.map(({ stream, packets }) => ({
  stream,
  bytes: Buffer.concat(packets.map((packet) => encodePacket(packet, stream.version))),
}))

/** Bytes by chance, half of them behind a CONNECT, or to a server the first byte would nearly always be the last that is looked at. */
export const randomBytes = fc
  .tuple(streamOf, fc.oneof(fc.uint8Array({ maxLength: 60 }), frameOfChance()), fc.boolean())
  .map(([stream, bytes, connected]) => ({
    stream,
    bytes: Buffer.concat([connected && stream.receiver === 'server' ? greeting(stream.version) : Buffer.alloc(0), bytes]),
  }))

/** A header that is right, around a body by chance: it gets past the cutting of frames. */
function frameOfChance(): Arbitrary<Uint8Array> {
  const firstByte = fc.constantFrom(0x10, 0x20, 0x30, 0x32, 0x34, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xa2, 0xb0, 0xe0, 0xf0)
  const small = fc.oneof(fc.nat(3), fc.nat(0x30), fc.nat(0xff))
  return fc.tuple(firstByte, fc.array(small, { maxLength: 40 })).map(([first, body]) => Uint8Array.from([first, body.length, ...body]))
}
