/** The way out to one client, by the packets it gets and the words its topic shards hear. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { packetIdOf, type ShardCounts } from '../shards.ts'
import type { StoredMessage } from '../wire/messages.ts'
import { type Malformed, PacketReader } from '../wire/mqtt-codec.ts'
import type { Acknowledgement, Packet, ProtocolVersion, Publish, QoS } from '../wire/packets.ts'
import { type Delivery, Subscriber, type SubscriberOptions } from './subscriber.ts'

const counts: ShardCounts = { topicShards: 4, sessionShards: 2 }
const NO_BYTES = Buffer.alloc(0)

/** A Message Expiry Interval as it stands among a message's properties. */
function expiring(seconds: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes[0] = 0x02
  bytes.writeUInt32BE(seconds, 1)
  return bytes
}

interface DeliveryOptions extends Partial<Omit<Delivery, 'message' | 'shard' | 'sequence'>> {
  readonly shard?: number
  readonly topic?: string
  readonly payload?: string
  readonly properties?: Buffer
}

class Stage {
  atMs = 10_000
  open = true
  readonly packets: Packet[] = []
  /** What shards were told, as 'acknowledge shard/place', 'expired shard/place' and 'received shard/place'. */
  readonly words: string[] = []
  readonly subscriber: Subscriber
  onPacket: (packet: Packet) => void = (packet) => this.packets.push(packet)

  constructor(options: Partial<SubscriberOptions> = {}) {
    const version: ProtocolVersion = options.version ?? 5
    const reader = new PacketReader({ receiver: 'client', maximumPacketBytes: 1 << 24, version })
    const sink = {
      onPacket: (packet: Packet) => this.onPacket(packet),
      onMalformed: (problem: Malformed) => expect.unreachable(problem.text),
    }
    const all = { counts, version, windowSize: 10, maximumPacketBytes: 1 << 20, topicAliasMaximum: 0, ...options }
    this.subscriber = new Subscriber(all, {
      nowMs: () => this.atMs,
      canDeliver: () => this.open,
      write: (bytes) => reader.read(bytes, sink),
      acknowledge: (shard, sequence) => this.words.push(`acknowledge ${shard}/${sequence}`),
      expired: (shard, sequence) => this.words.push(`expired ${shard}/${sequence}`),
      received: (shard, sequence) => this.words.push(`received ${shard}/${sequence}`),
    })
  }

  take(sequence: number, qos: QoS, options: DeliveryOptions = {}): void {
    const { shard = 1, topic = 'some/topic', payload = `m${sequence}`, properties = NO_BYTES, ...rest } = options
    const message: StoredMessage = {
      topic,
      publisher: 'p',
      qos: 2,
      retain: false,
      publishedAtMs: 0,
      properties,
      payload: Buffer.from(payload),
    }
    this.subscriber.take({
      shard,
      sequence,
      qos,
      retain: false,
      dup: false,
      subscriptionIdentifiers: [],
      message,
      receivedAtMs: this.atMs,
      waitedMs: 0,
      ...rest,
    })
  }

  get publishes(): Publish[] {
    return this.packets.filter((packet) => packet.type === 'publish')
  }

  get payloads(): string[] {
    return this.publishes.map((packet) => packet.payload.toString())
  }

  /** Packet ids of the PUBRELs that left. */
  get pubrels(): number[] {
    return this.packets.filter((packet): packet is Acknowledgement => packet.type === 'pubrel').map((packet) => packet.packetId)
  }
}

const idOf = (sequence: number, shard = 1) => packetIdOf(counts, shard, sequence)

describe('a delivery of QoS 1', () => {
  test('is acknowledged at its shard when PUBACK comes, also one that refuses [MQTT-4.4.0-2]', () => {
    const stage = new Stage()
    stage.take(1, 1)
    stage.take(2, 1)
    expect(stage.publishes.map(({ packetId, qos, dup }) => [packetId, qos, dup])).toEqual([
      [idOf(1), 1, false],
      [idOf(2), 1, false],
    ])
    expect(stage.subscriber.onPuback(idOf(2), 0x97)).toBe('expected')
    expect(stage.subscriber.onPuback(idOf(1), 0)).toBe('expected')
    expect(stage.words).toEqual(['acknowledge 1/2', 'acknowledge 1/1'])
    expect(stage.subscriber.onPuback(idOf(1), 0)).toBe('unknown')
  })

  test('is not answered by the packets of QoS 2, nor the other way round', () => {
    const stage = new Stage()
    stage.take(1, 1)
    stage.take(2, 2)
    expect(stage.subscriber.onPubrec(idOf(1), 0)).toBe('wrong-type')
    expect(stage.subscriber.onPubcomp(idOf(1))).toBe('wrong-type')
    expect(stage.subscriber.onPuback(idOf(2), 0)).toBe('wrong-type')
    expect(stage.subscriber.onPubcomp(idOf(2))).toBe('wrong-type')
    for (const verdict of [stage.subscriber.onPubrec(9999, 0), stage.subscriber.onPubcomp(9999)]) expect(verdict).toBe('unknown')
    expect(stage.words).toEqual([])
  })

  test('that the next owner of the shard pushes again is not sent again [MQTT-4.4.0-1]', () => {
    const stage = new Stage({ windowSize: 1 })
    stage.take(1, 1)
    stage.take(2, 1)
    stage.take(1, 1, { dup: true })
    stage.take(2, 1, { dup: true })
    expect(stage.payloads).toEqual(['m1'])
    stage.subscriber.onPuback(idOf(1), 0)
    expect(stage.words).toEqual(['acknowledge 1/1'])
    stage.take(1, 1, { dup: true })
    expect(stage.words).toEqual(['acknowledge 1/1', 'acknowledge 1/1'])
    expect(stage.payloads).toEqual(['m1', 'm2'])
  })

  test('waits while another place has its packet id [MQTT-2.2.1-4]', () => {
    const stage = new Stage({ counts: { topicShards: 20_000, sessionShards: 1 } })
    for (const place of [1, 2, 3, 4]) stage.take(place, 1)
    expect(stage.payloads).toEqual(['m1', 'm2', 'm3'])
    stage.subscriber.onPuback(stage.publishes[1]!.packetId, 0)
    expect(stage.payloads).toEqual(['m1', 'm2', 'm3'])
    stage.subscriber.onPuback(stage.publishes[0]!.packetId, 0)
    expect(stage.payloads).toEqual(['m1', 'm2', 'm3', 'm4'])
    expect(stage.publishes[3]!.packetId).toBe(stage.publishes[0]!.packetId)
  })
})

describe('a delivery of QoS 2', () => {
  test('goes through PUBREC, the word of the shard, PUBREL and PUBCOMP, and PUBREL has its packet id [MQTT-4.3.3-4]', () => {
    const stage = new Stage()
    stage.take(7, 2)
    expect(stage.publishes[0]).toMatchObject({ qos: 2, dup: false, packetId: idOf(7) })
    expect(stage.subscriber.onPubrec(idOf(7), 0)).toBe('expected')
    expect(stage.words).toEqual(['received 1/7'])
    expect(stage.pubrels).toEqual([])
    stage.subscriber.release(1, 7)
    expect(stage.pubrels).toEqual([idOf(7)])
    expect(stage.subscriber.onPubcomp(idOf(7))).toBe('expected')
    expect(stage.words).toEqual(['received 1/7', 'acknowledge 1/7'])
    expect(stage.subscriber.onPubcomp(idOf(7))).toBe('unknown')
  })

  test('that the client refuses by PUBREC is acknowledged, without PUBREL [MQTT-4.4.0-2]', () => {
    const stage = new Stage({ windowSize: 1 })
    stage.take(1, 2)
    stage.take(2, 2)
    expect(stage.subscriber.onPubrec(idOf(1), 0x80)).toBe('expected')
    expect(stage.words).toEqual(['acknowledge 1/1'])
    expect(stage.payloads).toEqual(['m1', 'm2'])
    stage.subscriber.onPubrec(idOf(2), 0x10)
    stage.subscriber.release(1, 2)
    expect(stage.pubrels).toEqual([idOf(2)])
  })

  test('gets its PUBREL in the order of the PUBRECs, across shards: a release that is late holds back those behind it [MQTT-4.6.0-4]', () => {
    const stage = new Stage()
    stage.take(1, 2)
    stage.take(2, 2)
    stage.take(1, 2, { shard: 2 })
    stage.subscriber.onPubrec(idOf(2), 0)
    stage.subscriber.onPubrec(idOf(1, 2), 0)
    stage.subscriber.onPubrec(idOf(1), 0)
    stage.subscriber.release(1, 1)
    stage.subscriber.release(2, 1)
    expect(stage.pubrels).toEqual([])
    stage.subscriber.release(1, 2)
    expect(stage.pubrels).toEqual([idOf(2), idOf(1, 2), idOf(1)])
  })

  test('answers PUBREC again by nothing while its release is pending, and by PUBREL when that has been sent', () => {
    const stage = new Stage()
    stage.take(1, 2)
    stage.subscriber.onPubrec(idOf(1), 0)
    expect(stage.subscriber.onPubrec(idOf(1), 0)).toBe('expected')
    expect(stage.words).toEqual(['received 1/1'])
    stage.subscriber.release(1, 1)
    expect(stage.pubrels).toEqual([idOf(1)])
    stage.open = false
    stage.subscriber.onPubrec(idOf(1), 0)
    stage.subscriber.onPubrec(idOf(1), 0)
    stage.open = true
    stage.subscriber.flush()
    expect(stage.pubrels).toEqual([idOf(1), idOf(1)])
    // Answers the first PUBREL.
    stage.open = false
    stage.subscriber.onPubrec(idOf(1), 0)
    expect(stage.subscriber.onPubcomp(idOf(1))).toBe('expected')
    stage.open = true
    stage.subscriber.flush()
    expect(stage.pubrels).toEqual([idOf(1), idOf(1)])
  })

  test('that comes again from a new owner is told as received again, and not sent again [MQTT-4.3.3-6]', () => {
    const stage = new Stage()
    stage.take(1, 2)
    stage.take(1, 2, { dup: true })
    expect(stage.words).toEqual([])
    stage.subscriber.onPubrec(idOf(1), 0)
    stage.take(1, 2, { dup: true })
    expect(stage.words).toEqual(['received 1/1', 'received 1/1'])
    stage.subscriber.release(1, 1)
    stage.subscriber.release(1, 1)
    stage.subscriber.onPubcomp(idOf(1))
    stage.take(1, 2, { dup: true })
    stage.subscriber.release(1, 1)
    expect(stage.words.slice(2)).toEqual(['acknowledge 1/1', 'acknowledge 1/1', 'acknowledge 1/1'])
    expect(stage.payloads).toEqual(['m1'])
    expect(stage.pubrels).toEqual([idOf(1)])
  })

  test('whose release came before its PUBREC on this connection gets PUBREL at once then', () => {
    const stage = new Stage()
    stage.take(1, 2, { dup: true })
    stage.subscriber.release(1, 1)
    expect(stage.pubrels).toEqual([])
    stage.subscriber.onPubrec(idOf(1), 0)
    expect(stage.pubrels).toEqual([idOf(1)])
  })
})

describe('a delivery of an earlier connection', () => {
  test('that was received then gets PUBREL, and counts as in flight until PUBCOMP [MQTT-4.4.0-1]', () => {
    const stage = new Stage({ windowSize: 2 })
    stage.take(1, 2, { dup: true })
    stage.take(3, 1)
    stage.subscriber.onPuback(idOf(3), 0)
    stage.subscriber.release(1, 2)
    expect(stage.pubrels).toEqual([idOf(2)])
    stage.take(4, 1)
    expect(stage.payloads).toEqual(['m1', 'm3'])
    expect(stage.publishes[0]!.dup).toBe(true)
    expect(stage.subscriber.onPubcomp(idOf(2))).toBe('expected')
    expect(stage.payloads).toEqual(['m1', 'm3', 'm4'])
    expect(stage.words).toEqual(['acknowledge 1/3', 'acknowledge 1/2'])
    // The acknowledgement was lost with the owner of the shard.
    stage.subscriber.release(1, 2)
    expect(stage.words.at(-1)).toBe('acknowledge 1/2')
    expect(stage.words.length).toBe(3)
    expect(stage.pubrels).toEqual([idOf(2)])
  })

  test('has its PUBREL behind those that wait, and waits for the word of the session too', () => {
    const stage = new Stage()
    stage.take(5, 2)
    stage.subscriber.onPubrec(idOf(5), 0)
    stage.subscriber.release(1, 2)
    expect(stage.pubrels).toEqual([])
    stage.open = false
    stage.subscriber.release(1, 5)
    expect(stage.pubrels).toEqual([])
    stage.open = true
    stage.subscriber.flush()
    expect(stage.pubrels).toEqual([idOf(5), idOf(2)])
  })

  test('that waits to be sent when its shard says that it was received is not sent', () => {
    const stage = new Stage()
    stage.open = false
    stage.take(1, 2, { dup: true })
    stage.subscriber.release(1, 1)
    stage.open = true
    stage.subscriber.flush()
    expect(stage.payloads).toEqual([])
    expect(stage.pubrels).toEqual([idOf(1)])
  })
})

describe('a delivery of QoS 0', () => {
  test('without a place leaves now or never', () => {
    const stage = new Stage()
    stage.open = false
    stage.take(0, 0, { payload: 'lost' })
    stage.open = true
    stage.subscriber.flush()
    stage.take(0, 0, { payload: 'sent' })
    expect(stage.payloads).toEqual(['sent'])
    expect(stage.words).toEqual([])
  })

  test('with a place waits in its turn, takes no window and is acknowledged when it is written', () => {
    const stage = new Stage({ windowSize: 1 })
    stage.open = false
    stage.take(1, 0, { retain: true })
    stage.take(2, 1)
    stage.take(3, 0, { retain: true })
    expect(stage.words).toEqual([])
    stage.open = true
    stage.subscriber.flush()
    expect(stage.payloads).toEqual(['m1', 'm2', 'm3'])
    expect(stage.words).toEqual(['acknowledge 1/1', 'acknowledge 1/3'])
    stage.take(1, 0, { retain: true })
    expect(stage.payloads).toEqual(['m1', 'm2', 'm3'])
    expect(stage.words.at(-1)).toBe('acknowledge 1/1')
  })

  test('that may have been sent before is not sent again', () => {
    const stage = new Stage()
    stage.take(1, 0, { dup: true })
    expect(stage.payloads).toEqual([])
    expect(stage.words).toEqual(['acknowledge 1/1'])
  })
})

describe('the message expiry interval', () => {
  test('goes out less the whole seconds that the message waited, here and at its shard [MQTT-3.3.2-6]', () => {
    const stage = new Stage()
    stage.open = false
    stage.take(1, 1, { properties: expiring(100), waitedMs: 1600 })
    stage.atMs += 2500
    stage.open = true
    stage.subscriber.flush()
    expect(stage.publishes[0]!.properties).toEqual({ messageExpiryInterval: 96 })
    stage.take(0, 0, { properties: expiring(3), waitedMs: 999 })
    expect(stage.publishes[1]!.properties).toEqual({ messageExpiryInterval: 3 })
  })

  test('that has passed before the message was sent drops it, in every version and quality [MQTT-3.3.2-5]', () => {
    for (const version of [4, 5] as const) {
      const stage = new Stage({ version })
      stage.open = false
      for (const qos of [0, 1, 2] as const) stage.take(qos + 1, qos, { properties: expiring(2), waitedMs: 1000 })
      stage.take(4, 1, { properties: expiring(3), waitedMs: 1000 })
      stage.atMs += 1000
      stage.open = true
      stage.subscriber.flush()
      expect(stage.payloads).toEqual(['m4'])
      expect(stage.words).toEqual(['expired 1/1', 'expired 1/2', 'expired 1/3'])
      stage.take(0, 0, { properties: expiring(2), waitedMs: 2000 })
      expect(stage.words.length).toBe(3)
    }
  })

  test('that passed is told again, not as an acknowledgement, where a new owner of the shard knows nothing of it', () => {
    const stage = new Stage()
    stage.take(1, 1, { properties: expiring(2), waitedMs: 2000 })
    stage.take(2, 1)
    stage.subscriber.onPuback(idOf(2), 0)
    stage.take(1, 1, { properties: expiring(2), waitedMs: 3000, dup: true })
    stage.take(2, 1, { dup: true })
    expect(stage.words).toEqual(['expired 1/1', 'acknowledge 1/2', 'expired 1/1', 'acknowledge 1/2'])
    expect(stage.payloads).toEqual(['m2'])
  })

  test('does not stop a message that may have been sent before, which goes out with 0 left [MQTT-4.3.3-7]', () => {
    const stage = new Stage()
    stage.take(1, 2, { properties: expiring(2), waitedMs: 90_000, dup: true })
    expect(stage.publishes[0]!.properties).toEqual({ messageExpiryInterval: 0 })
  })
})

describe('a client that takes topic aliases', () => {
  const topicsAndAliases = (stage: Stage) => stage.publishes.map(({ topic, properties }) => [topic, properties?.topicAlias])

  test('gets the topic with its alias once, then the alias alone, and never one above its maximum [MQTT-3.1.2-26]', () => {
    const stage = new Stage({ topicAliasMaximum: 2 })
    for (const [index, topic] of ['topic/a', 'topic/a', 'topic/b', 'topic/a', 'topic/c', 'topic/a', 'topic/b'].entries()) {
      stage.take(index + 1, 1, { topic, subscriptionIdentifiers: [5], properties: expiring(60) })
    }
    expect(topicsAndAliases(stage)).toEqual([
      ['topic/a', 1],
      ['', 1],
      ['topic/b', 2],
      ['', 1],
      ['topic/c', 2],
      ['', 1],
      ['topic/b', 2],
    ])
    for (const { properties } of stage.publishes) {
      expect(properties).toMatchObject({ subscriptionIdentifiers: [5], messageExpiryInterval: 60 })
    }
  })

  test('gets none for a topic that is no longer than an alias; and a client that takes none gets none [MQTT-3.1.2-27]', () => {
    const short = new Stage({ topicAliasMaximum: 2 })
    short.take(1, 1, { topic: 'abc' })
    short.take(2, 1, { topic: 'abc' })
    const none = new Stage()
    none.take(1, 1, { topic: 'abcd' })
    const old = new Stage({ version: 4, topicAliasMaximum: 2 })
    old.take(1, 1, { topic: 'abcd' })
    expect([...topicsAndAliases(short), ...topicsAndAliases(none), ...topicsAndAliases(old)]).toEqual([
      ['abc', undefined],
      ['abc', undefined],
      ['abcd', undefined],
      ['abcd', undefined],
    ])
  })

  test('learns none from a message that was too large to send, nor is one sent where only the alias is too much', () => {
    // 2 bytes of header, topic 2 + 10, packet id 2, property length 1, and the payload.
    const stage = new Stage({ topicAliasMaximum: 5, maximumPacketBytes: 25 })
    stage.take(1, 1, { payload: '123456789' })
    stage.take(2, 1, { payload: '12345678' })
    stage.take(3, 1, { payload: '12345' })
    stage.take(4, 1, { payload: '123456789' })
    expect(topicsAndAliases(stage)).toEqual([
      ['some/topic', undefined],
      ['some/topic', 1],
      ['', 1],
    ])
    expect(stage.words).toEqual(['acknowledge 1/1'])
  })
})

test('a message larger than the client takes is not sent, and acknowledged as if it had been [MQTT-3.1.2-25]', () => {
  const stage = new Stage({ maximumPacketBytes: 100 })
  for (const qos of [0, 1, 2] as const) stage.take(qos + 1, qos, { payload: 'x'.repeat(100) })
  stage.take(0, 0, { payload: 'x'.repeat(100) })
  stage.take(4, 2)
  expect(stage.payloads).toEqual(['m4'])
  expect(stage.words).toEqual(['acknowledge 1/1', 'acknowledge 1/2', 'acknowledge 1/3'])
})

type Action = 'take' | 'take again' | 'puback' | 'pubrec' | 'refuse' | 'pubcomp' | 'release' | 'carry over' | 'toggle' | 'flush'
const action = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom<Action>('take', 'take', 'puback', 'pubrec', 'pubcomp', 'release', 'release') },
  { weight: 2, arbitrary: fc.constantFrom<Action>('take again', 'refuse', 'carry over', 'toggle', 'flush') },
)
const step = fc.record({
  action,
  pick: fc.nat(1000),
  qos: fc.constantFrom<QoS>(0, 1, 2, 2),
  shard: fc.integer({ min: 0, max: 2 }),
})

interface Place {
  readonly shard: number
  readonly sequence: number
  readonly qos: QoS
  readonly packetId: number
  publishes: number
  /** The turn of its first PUBREC, or of the release of one that an earlier connection received; 0 before. */
  receivedAt: number
  released: boolean
  pubrels: number
  done: boolean
}

/** Runs the steps against what a client and shards may do, and checks each packet as it leaves. */
function play(windowSize: number, steps: readonly { action: Action; pick: number; qos: QoS; shard: number }[]): Map<string, number> {
  const stage = new Stage({ windowSize, topicAliasMaximum: 2 })
  const seen = new Map<string, number>()
  const note = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
  const places: Place[] = []
  const lastSequence = [0, 0, 0]
  let turn = 0
  let pubrelTurn = 0
  const inFlight = () => places.filter((place) => place.qos > 0 && !place.done && (place.publishes > 0 || place.receivedAt > 0))
  stage.onPacket = (packet) => {
    expect(stage.open).toBe(true)
    if (packet.type === 'publish') {
      const [shard, sequence] = packet.payload.toString().split('/').map(Number)
      const place = places.find((one) => one.shard === shard && one.sequence === sequence)!
      if (place.qos > 0) expect(packet.packetId).toBe(place.packetId)
      place.publishes++
      expect(place.publishes, 'a place is published once at most').toBe(1)
      expect(place.receivedAt, 'what was received is not published').toBe(0)
      if (place.qos > 0) expect(inFlight().length).toBeLessThanOrEqual(windowSize)
      if (inFlight().length === windowSize) note('full window')
    } else if (packet.type === 'pubrel') {
      const place = inFlight().find((one) => one.packetId === packet.packetId)!
      expect(place.released, 'PUBREL follows the release').toBe(true)
      place.pubrels++
      expect(place.pubrels).toBe(1)
      expect(place.receivedAt, 'PUBRELs in the order of PUBRECs').toBeGreaterThan(pubrelTurn)
      pubrelTurn = place.receivedAt
      note('pubrel')
    } else expect.unreachable(packet.type)
  }
  const give = ({ shard, sequence, qos }: Place) => stage.take(sequence, qos, { shard, payload: `${shard}/${sequence}` })
  for (const { action, pick, qos, shard } of steps) {
    turn++
    const choose = (may: (place: Place) => boolean): Place | undefined => {
      const eligible = places.filter(may)
      return eligible[pick % Math.max(1, eligible.length)]
    }
    const newPlace = (quality: QoS): Place => {
      const sequence = ++lastSequence[shard]!
      const packetId = idOf(sequence, shard)
      const place = { shard, sequence, qos: quality, packetId, publishes: 0, receivedAt: 0, released: false, pubrels: 0, done: false }
      places.push(place)
      return place
    }
    const { subscriber, words } = stage
    const before = words.length
    switch (action) {
      case 'take':
        give(newPlace(qos))
        break
      case 'take again': {
        const place = choose(() => true)
        if (place === undefined) break
        const acknowledged = place.qos === 0 ? place.publishes > 0 : place.done
        give(place)
        const expected = acknowledged ? [`acknowledge ${nameOf(place)}`] : place.receivedAt > 0 ? [`received ${nameOf(place)}`] : []
        expect(words.slice(before)).toEqual(expected)
        break
      }
      case 'puback': {
        const place = choose((one) => one.qos === 1 && one.publishes > 0 && !one.done)
        if (place === undefined) break
        place.done = true
        expect(subscriber.onPuback(place.packetId, 0)).toBe('expected')
        expect(words[before]).toBe(`acknowledge ${nameOf(place)}`)
        break
      }
      case 'pubrec': {
        const place = choose((one) => one.qos === 2 && one.publishes > 0 && !one.done && one.pubrels === 0)
        if (place === undefined) break
        const first = place.receivedAt === 0
        if (first) place.receivedAt = turn
        expect(subscriber.onPubrec(place.packetId, 0)).toBe('expected')
        expect(words.slice(before)).toEqual(first ? [`received ${nameOf(place)}`] : [])
        break
      }
      case 'refuse': {
        const place = choose((one) => one.qos === 2 && one.publishes > 0 && !one.done && one.receivedAt === 0)
        if (place === undefined) break
        place.done = true
        expect(subscriber.onPubrec(place.packetId, 0x80)).toBe('expected')
        expect(words[before]).toBe(`acknowledge ${nameOf(place)}`)
        break
      }
      case 'release': {
        const place = choose((one) => one.receivedAt > 0 && !one.released)
        if (place === undefined) break
        place.released = true
        subscriber.release(place.shard, place.sequence)
        expect(words.length).toBe(before)
        break
      }
      case 'carry over': {
        const place = newPlace(2)
        place.receivedAt = turn
        place.released = true
        note('carried over')
        subscriber.release(place.shard, place.sequence)
        break
      }
      case 'pubcomp': {
        const place = choose((one) => one.pubrels > 0 && !one.done)
        if (place === undefined) break
        place.done = true
        expect(subscriber.onPubcomp(place.packetId)).toBe('expected')
        expect(words[before]).toBe(`acknowledge ${nameOf(place)}`)
        break
      }
      case 'toggle':
        stage.open = !stage.open
        break
      case 'flush':
        subscriber.flush()
        break
    }
  }
  // All that is missing comes: then every place is published or received, and every one is acknowledged.
  stage.open = true
  stage.subscriber.flush()
  for (let more = true; more; ) {
    const open = inFlight()
    more = open.length > 0
    for (const place of open) {
      turn++
      if (place.qos === 2 && place.receivedAt === 0) {
        place.receivedAt = turn
        stage.subscriber.onPubrec(place.packetId, 0)
      }
      if (place.qos === 2 && !place.released) {
        place.released = true
        stage.subscriber.release(place.shard, place.sequence)
      }
      if (place.qos === 2 && place.pubrels === 0) continue
      place.done = true
      if (place.qos === 1) stage.subscriber.onPuback(place.packetId, 0)
      else stage.subscriber.onPubcomp(place.packetId)
    }
  }
  for (const place of places) {
    expect(place.publishes + (place.receivedAt > 0 ? 1 : 0)).toBeGreaterThan(0)
    expect(stage.words).toContain(`acknowledge ${nameOf(place)}`)
  }
  return seen
}

const nameOf = ({ shard, sequence }: Place) => `${shard}/${sequence}`

test('whatever comes in whatever order: the window is kept, a place is published once, PUBREL follows its release and the order of PUBRECs, and all are acknowledged in the end [MQTT-3.3.4-9]', () => {
  const seen = new Map<string, number>()
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { minLength: 20, maxLength: 150 }), (windowSize, steps) => {
      for (const [what, times] of play(windowSize, steps)) seen.set(what, (seen.get(what) ?? 0) + times)
    }),
    { numRuns: 300 },
  )
  for (const what of ['full window', 'pubrel', 'carried over']) expect(seen.get(what)).toBeGreaterThan(100)
})
