/**
 * The bodies of the few messages that most of the traffic is made of, under load and at rest, and the stored message that they carry, written and read field by field.
 *
 * The bytes are those of the table in `messages.ts`, and a test holds them to it. What is gained: `record` goes through names and fields that differ with each
 * call, which an engine can only look up; here every access is to a known place of a known shape.
 */
import { bool, type Field, type Reader, type Writer } from './codec.ts'
import { type MessageOf, messages, type StoredMessage } from './messages.ts'

type Targets = MessageOf<'deliver'>['targets']
type Places = MessageOf<'acknowledge'>['places']

const NONE: readonly never[] = []

/** Of a list whose elements take at least one byte each. */
function countOf(reader: Reader): number {
  const count = reader.u32()
  if (count > reader.remaining) reader.fail()
  return reader.malformed ? 0 : count
}

function readNumbers(reader: Reader): readonly number[] {
  const count = countOf(reader)
  if (count === 0) return NONE
  const numbers: number[] = []
  for (let i = 0; i < count && !reader.malformed; i++) numbers.push(reader.u32())
  return numbers
}

function readTarget(reader: Reader): Targets[number] {
  return {
    handle: reader.u32(),
    sequence: reader.u53(),
    qos: reader.u8(),
    flags: reader.u8(),
    subscriptionIdentifiers: readNumbers(reader),
  }
}

function readTargets(reader: Reader): Targets {
  const count = countOf(reader)
  if (count === 0) return NONE
  const targets = [readTarget(reader)]
  for (let i = 1; i < count && !reader.malformed; i++) targets.push(readTarget(reader))
  return targets
}

function readPlaces(reader: Reader): Places {
  const places: Places[number][] = []
  const count = countOf(reader)
  for (let i = 0; i < count && !reader.malformed; i++) places.push({ handle: reader.u32(), sequence: reader.u53() })
  return places
}

const publish: Field<MessageOf<'publish'>> = {
  write(writer, { shard, clientId, epoch, sequence, confirmed, messageId, openFrom, message }) {
    writer.u16(shard)
    writer.utf8(clientId)
    writer.u32(epoch)
    writer.u32(sequence)
    writer.u32(confirmed)
    writer.u53(messageId)
    writer.u53(openFrom)
    writer.bytes(message)
  },
  read: (reader) => ({
    name: 'publish',
    shard: reader.u16(),
    clientId: reader.utf8(),
    epoch: reader.u32(),
    sequence: reader.u32(),
    confirmed: reader.u32(),
    messageId: reader.u53(),
    openFrom: reader.u53(),
    message: reader.bytes(),
  }),
}

const publishedFields = messages.published.body
const published: Field<MessageOf<'published'>> = {
  write(writer, { outcome, offset, matched }) {
    publishedFields.outcome.write(writer, outcome)
    writer.u53(offset)
    publishedFields.matched.write(writer, matched)
  },
  read: (reader) => ({
    name: 'published',
    outcome: publishedFields.outcome.read(reader),
    offset: reader.u53(),
    matched: publishedFields.matched.read(reader),
  }),
}

const deliver: Field<MessageOf<'deliver'>> = {
  write(writer, { shard, waitedMs, message, targets }) {
    writer.u16(shard)
    writer.u32(waitedMs)
    writer.bytes(message)
    writer.u32(targets.length)
    for (let i = 0; i < targets.length; i++) {
      const { handle, sequence, qos, flags, subscriptionIdentifiers } = targets[i]!
      writer.u32(handle)
      writer.u53(sequence)
      writer.u8(qos)
      writer.u8(flags)
      writer.u32(subscriptionIdentifiers.length)
      for (let j = 0; j < subscriptionIdentifiers.length; j++) writer.u32(subscriptionIdentifiers[j]!)
    }
  },
  read: (reader) => ({
    name: 'deliver',
    shard: reader.u16(),
    waitedMs: reader.u32(),
    message: reader.bytes(),
    targets: readTargets(reader),
  }),
}

const acknowledge: Field<MessageOf<'acknowledge'>> = {
  write(writer, { shard, places }) {
    writer.u16(shard)
    writer.u32(places.length)
    for (let i = 0; i < places.length; i++) {
      const { handle, sequence } = places[i]!
      writer.u32(handle)
      writer.u53(sequence)
    }
  },
  read: (reader) => ({ name: 'acknowledge', shard: reader.u16(), places: readPlaces(reader) }),
}

const volumeAppend: Field<MessageOf<'volumeAppend'>> = {
  write(writer, { volume, epoch, dataEpoch, offset, markOffset, bytes }) {
    writer.u16(volume)
    writer.u32(epoch)
    writer.u32(dataEpoch)
    writer.u53(offset)
    writer.u53(markOffset)
    writer.bytes(bytes)
  },
  read: (reader) => ({
    name: 'volumeAppend',
    volume: reader.u16(),
    epoch: reader.u32(),
    dataEpoch: reader.u32(),
    offset: reader.u53(),
    markOffset: reader.u53(),
    bytes: reader.bytes(),
  }),
}

const appendedOutcome = messages.volumeAppended.body.outcome
const volumeAppended: Field<MessageOf<'volumeAppended'>> = {
  write(writer, { outcome, promisedEpoch, size }) {
    appendedOutcome.write(writer, outcome)
    writer.u32(promisedEpoch)
    writer.u53(size)
  },
  read: (reader) => ({
    name: 'volumeAppended',
    outcome: appendedOutcome.read(reader),
    promisedEpoch: reader.u32(),
    size: reader.u53(),
  }),
}

type ShardEpochs = MessageOf<'pong'>['serving']

function writeShardEpochs(writer: Writer, entries: ShardEpochs): void {
  writer.u32(entries.length)
  for (let i = 0; i < entries.length; i++) {
    writer.u16(entries[i]!.shard)
    writer.u32(entries[i]!.epoch)
  }
}

function readShardEpochs(reader: Reader): ShardEpochs {
  const count = countOf(reader)
  if (count === 0) return NONE
  const entries = [{ shard: reader.u16(), epoch: reader.u32() }]
  for (let i = 1; i < count && !reader.malformed; i++) entries.push({ shard: reader.u16(), epoch: reader.u32() })
  return entries
}

type VolumeEpochs = MessageOf<'volumeLease'>['volumes']

function writeVolumeEpochs(writer: Writer, entries: VolumeEpochs): void {
  writer.u32(entries.length)
  for (let i = 0; i < entries.length; i++) {
    writer.u16(entries[i]!.volume)
    writer.u32(entries[i]!.epoch)
  }
}

function readVolumeEpochs(reader: Reader): VolumeEpochs {
  const count = countOf(reader)
  if (count === 0) return NONE
  const entries = [{ volume: reader.u16(), epoch: reader.u32() }]
  for (let i = 1; i < count && !reader.malformed; i++) entries.push({ volume: reader.u16(), epoch: reader.u32() })
  return entries
}

function readTexts(reader: Reader): readonly string[] {
  const count = countOf(reader)
  if (count === 0) return NONE
  const texts = [reader.utf8()]
  for (let i = 1; i < count && !reader.malformed; i++) texts.push(reader.utf8())
  return texts
}

const heartbeat: Field<MessageOf<'heartbeat'>> = {
  write(writer, { broker, bootId }) {
    writer.utf8(broker)
    writer.u32(bootId)
  },
  read: (reader) => ({ name: 'heartbeat', broker: reader.utf8(), bootId: reader.u32() }),
}

const heartbeatAnswer: Field<MessageOf<'heartbeatAnswer'>> = {
  write(writer, { known, young, ownerless, alive }) {
    bool.write(writer, known)
    bool.write(writer, young)
    writeShardEpochs(writer, ownerless)
    writer.u32(alive.length)
    for (let i = 0; i < alive.length; i++) writer.utf8(alive[i]!)
  },
  read: (reader) => ({
    name: 'heartbeatAnswer',
    known: bool.read(reader),
    young: bool.read(reader),
    ownerless: readShardEpochs(reader),
    alive: readTexts(reader),
  }),
}

const pullRoutes: Field<MessageOf<'pullRoutes'>> = {
  write(writer, { instance, version }) {
    writer.u32(instance)
    writer.u32(version)
  },
  read: (reader) => ({ name: 'pullRoutes', instance: reader.u32(), version: reader.u32() }),
}

const routeEntries = messages.routes.body.entries
const routes: Field<MessageOf<'routes'>> = {
  write(writer, { instance, version, young, unchanged, entries }) {
    writer.u32(instance)
    writer.u32(version)
    bool.write(writer, young)
    bool.write(writer, unchanged)
    routeEntries.write(writer, entries)
  },
  read: (reader) => ({
    name: 'routes',
    instance: reader.u32(),
    version: reader.u32(),
    young: bool.read(reader),
    unchanged: bool.read(reader),
    entries: routeEntries.read(reader),
  }),
}

const ping: Field<MessageOf<'ping'>> = {
  write(writer, { proxy, bootId }) {
    writer.utf8(proxy)
    writer.u32(bootId)
  },
  read: (reader) => ({ name: 'ping', proxy: reader.utf8(), bootId: reader.u32() }),
}

const pong: Field<MessageOf<'pong'>> = {
  write(writer, { grantMs, serving }) {
    writer.u32(grantMs)
    writeShardEpochs(writer, serving)
  },
  read: (reader) => ({ name: 'pong', grantMs: reader.u32(), serving: readShardEpochs(reader) }),
}

const volumeLease: Field<MessageOf<'volumeLease'>> = {
  write(writer, { owner, volumes }) {
    writer.utf8(owner)
    writeVolumeEpochs(writer, volumes)
  },
  read: (reader) => ({ name: 'volumeLease', owner: reader.utf8(), volumes: readVolumeEpochs(reader) }),
}

const volumeLeased: Field<MessageOf<'volumeLeased'>> = {
  write: (writer, { lost }) => writeVolumeEpochs(writer, lost),
  read: (reader) => ({ name: 'volumeLeased', lost: readVolumeEpochs(reader) }),
}

export const hotBodies = {
  publish,
  published,
  deliver,
  acknowledge,
  volumeAppend,
  volumeAppended,
  heartbeat,
  heartbeatAnswer,
  pullRoutes,
  routes,
  ping,
  pong,
  volumeLease,
  volumeLeased,
}

/** As `storedMessageField` of the table. */
export const storedMessage: Field<StoredMessage> = {
  write(writer, { topic, publisher, qos, retain, publishedAtMs, properties, payload }) {
    writer.utf8(topic)
    writer.utf8(publisher)
    writer.u8(qos)
    bool.write(writer, retain)
    writer.u53(publishedAtMs)
    writer.bytes(properties)
    writer.bytes(payload)
  },
  read: (reader) => ({
    topic: reader.utf8(),
    publisher: reader.utf8(),
    qos: reader.u8(),
    retain: bool.read(reader),
    publishedAtMs: reader.u53(),
    properties: reader.bytes(),
    payload: reader.bytes(),
  }),
}
