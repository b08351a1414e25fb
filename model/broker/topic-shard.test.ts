/** Topic shards in a region at work: what is stored stays, is found again, and is delivered, whoever owns the shard. */
import { describe, expect, test } from 'vitest'
import { decodeStored, Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'

const keeping = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const
const SEALED_AT = 8192

const numbered = (count: number, first = 1) => Array.from({ length: count }, (_, i) => `m${first + i}`)

function publishAll(stage: Stage, client: ScriptedClient, topic: string, texts: readonly string[]): void {
  const before = client.of('puback').length
  for (const text of texts) client.publish(topic, text)
  stage.until(() => client.of('puback').length === before + texts.length, `${texts.length} PUBACKs`, 60_000)
}

/** Topics all of one shard, and clients whose sessions live at another broker than that shard, so that its crash takes only the shard. */
function oneShard(stage: Stage) {
  const owner = stage.ownerOf(0)
  const elsewhere = stage.brokers.find((broker) => broker !== owner)!
  const clientId = (prefix: string) => stage.clientIdServedBy(elsewhere, prefix)
  return { topic: stage.topicOn(0), otherTopic: stage.topicOn(0, 'other'), clientId }
}

describe('a failover of a topic shard', () => {
  test('costs connected clients nothing: appends under way are repeated in order, pushes go on, nothing comes twice', () => {
    const stage = new Stage()
    const { topic, clientId } = oneShard(stage)
    const subscriber = stage.connect({ clientId: clientId('subscriber'), proxy: 1, ...keeping })
    stage.subscribe(subscriber, [topic])
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    publishAll(stage, publisher, topic, numbered(20))
    for (const text of numbered(30, 21)) publisher.publish(topic, text)
    // The appends have just been sent to the owner: some are durable, some not, none is answered.
    stage.run(21)
    stage.failOver(0)
    for (const text of numbered(10, 51)) publisher.publish(topic, text)
    stage.until(() => publisher.of('puback').length === 60, 'every PUBACK')
    stage.until(() => subscriber.messages.length >= 60, 'every message')
    stage.run(2000)
    expect(publisher.of('puback').map((packet) => packet.packetId)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
    expect(subscriber.messages).toEqual(numbered(60))
    expect(stage.stored(topic)).toEqual(numbered(60))
    expect([publisher.closed, subscriber.closed]).toEqual([undefined, undefined])
  })

  test('long ago does not make a publisher that was idle since a stranger', () => {
    const stage = new Stage()
    const client = stage.connect({ clientId: 'seldom', keepAliveSeconds: 0 })
    const topic = stage.topicOn(0)
    stage.publish(client, topic, 'before')
    // The shard forgets who has not published for ten minutes; the proxy does not.
    stage.run(13 * 60_000)
    stage.publish(client, topic, 'after')
    expect(stage.stored(topic)).toEqual(['before', 'after'])
    expect(client.closed).toBeUndefined()
  })

  test('at any moment of an append stores it once', () => {
    let repeated = 0
    for (let delayMs = 16; delayMs <= 40; delayMs += 3) {
      const stage = new Stage({ seed: delayMs })
      const { topic, clientId } = oneShard(stage)
      const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
      for (const text of numbered(30)) publisher.publish(topic, text)
      stage.run(delayMs)
      stage.failOver(0)
      stage.until(() => publisher.of('puback').length === 30, 'every PUBACK')
      expect(stage.stored(topic)).toEqual(numbered(30))
      repeated += stage.world.goals.get('repeated append recognised') ?? 0
    }
    expect(repeated).toBeGreaterThan(0)
  })

  test('keeps the queue of a session that is away, and the packet ids of what it did not acknowledge', () => {
    const stage = new Stage()
    const { topic, clientId } = oneShard(stage)
    const id = clientId('sleeper')
    const sleeper = stage.connect({ clientId: id, proxy: 1, acknowledges: false, ...keeping })
    stage.subscribe(sleeper, [topic])
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    publishAll(stage, publisher, topic, numbered(5))
    stage.until(() => sleeper.messages.length === 5, 'the first five')
    sleeper.puback(sleeper.publishes[0]!.packetId)
    // Positions are logged lazily: within a second and a half this one is.
    stage.run(1700)
    sleeper.leave()
    stage.run(200)
    publishAll(stage, publisher, topic, numbered(5, 6))
    stage.failOver(0)
    const back = stage.connect({ clientId: id, proxy: 3, ...keeping })
    stage.until(() => back.messages.length >= 9, 'the rest')
    stage.run(500)
    expect(back.messages).toEqual(numbered(9, 2))
    expect(back.publishes.slice(0, 4).map((packet) => packet.packetId)).toEqual(sleeper.publishes.slice(1).map((packet) => packet.packetId))
    expect(back.publishes.slice(0, 4).every((packet) => packet.dup)).toBe(true)
  })

  test('of a paused owner that comes back: it is fenced, and what it had not got durable is stored by the new one', () => {
    const stage = new Stage()
    const { topic, clientId } = oneShard(stage)
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    publishAll(stage, publisher, topic, numbered(5))
    const owner = stage.ownerOf(0)
    const thaw = stage.apply({ kind: 'pause', machines: [owner] })
    for (const text of numbered(5, 6)) publisher.publish(topic, text)
    stage.until(() => stage.timesServed(0) === 2, 'another owner')
    thaw()
    stage.until(() => publisher.of('puback').length === 10, 'every PUBACK')
    stage.run(3000)
    expect(stage.ownerOf(0)).not.toBe(owner)
    expect(stage.stored(topic)).toEqual(numbered(10))
    expect(stage.world.goals.get('stale writer refused')).toBeGreaterThan(0)
  })
})

describe('a checkpoint', () => {
  const settings = { broker: { checkpointBytes: 4000 } }

  test('moves the mark, and a failover from it has lost nothing: queues, positions, numbers of appends, subscriptions, the index', () => {
    const stage = new Stage({ settings })
    const { topic, otherTopic, clientId } = oneShard(stage)
    const id = clientId('sleeper')
    const sleeper = stage.connect({ clientId: id, proxy: 1, acknowledges: false, ...keeping })
    stage.subscribe(sleeper, [topic], 9)
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    publishAll(stage, publisher, otherTopic, ['only one'])
    publishAll(stage, publisher, topic, numbered(6))
    stage.until(() => sleeper.messages.length === 6, 'the first six')
    for (const at of [0, 1, 4]) sleeper.puback(sleeper.publishes[at]!.packetId)
    stage.run(1700)
    sleeper.leave()
    const before = stage.copyOf(0).markOffset
    for (let first = 7; first <= 400; first += 20) publishAll(stage, publisher, topic, numbered(20, first))
    expect(stage.copyOf(0).markOffset).toBeGreaterThan(before)
    expect(stage.copyOf(0).markOffset).toBeGreaterThan(4000)

    stage.failOver(0)
    expect(stage.world.goals.get('topic shard restored from a checkpoint')).toBeGreaterThan(0)
    publishAll(stage, publisher, topic, ['after'])
    const back = stage.connect({ clientId: id, proxy: 3, ...keeping })
    const due = ['m3', 'm4', 'm6', ...numbered(400, 7), 'after']
    stage.until(() => back.messages.length >= due.length, 'the whole queue')
    stage.run(500)
    expect(back.messages).toEqual(due)
    expect(back.publishes.every((packet) => packet.properties?.subscriptionIdentifiers?.[0] === 9)).toBe(true)
    expect(back.publishes.slice(0, 3).map((packet) => packet.packetId)).toEqual([2, 3, 5].map((at) => sleeper.publishes[at]!.packetId))
    expect(stage.stored(topic)).toEqual([...numbered(406), 'after'])
    expect(stage.stored(otherTopic)).toEqual(['only one'])
    expect(publisher.closed).toBeUndefined()
  })

  test('during which the owner dies does no harm, whichever piece was the last', () => {
    for (const delayMs of [20, 23, 26, 29]) {
      const stage = new Stage({ seed: delayMs, settings: { broker: { checkpointBytes: 500 } } })
      const { topic, clientId } = oneShard(stage)
      const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
      publishAll(stage, publisher, topic, numbered(30))
      for (const text of numbered(30, 31)) publisher.publish(topic, text)
      stage.run(delayMs)
      stage.failOver(0)
      stage.until(() => publisher.of('puback').length === 60, 'every PUBACK')
      expect(stage.stored(topic)).toEqual(numbered(60))
    }
  })
})

describe('a query', () => {
  test('by topic and time gives what was stored then, in order, page by page', () => {
    const stage = new Stage()
    const { topic, otherTopic, clientId } = oneShard(stage)
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    publishAll(stage, publisher, topic, numbered(100))
    publishAll(stage, publisher, otherTopic, ['foreign'])
    stage.run(10_000)
    const whole = stage.query(topic)
    const breakMs = whole.messages.at(-1)!.storedAtMs + 1
    publishAll(stage, publisher, topic, numbered(50, 101))
    stage.run(10_000)
    const secondBreakMs = stage.query(topic).messages.at(-1)!.storedAtMs + 1
    publishAll(stage, publisher, topic, numbered(50, 151))

    const texts = (found: { readonly messages: readonly { readonly message: Buffer }[] }) =>
      found.messages.map(({ message }) => decodeStored(message).payload.toString())
    expect(texts(stage.query(topic, { toMs: breakMs }))).toEqual(numbered(100))
    expect(texts(stage.query(topic, { fromMs: breakMs, toMs: secondBreakMs }))).toEqual(numbered(50, 101))
    expect(texts(stage.query(topic, { fromMs: secondBreakMs }))).toEqual(numbered(50, 151))
    expect(texts(stage.query(topic, { fromMs: breakMs, toMs: breakMs + 1 }))).toEqual([])

    const pages: string[][] = []
    for (let afterOffset = 0, more = true; more; ) {
      const found = stage.query(topic, { fromMs: breakMs, toMs: secondBreakMs, afterOffset, limit: 20 })
      pages.push(texts(found))
      afterOffset = found.messages.at(-1)!.offset
      more = found.more
    }
    expect(pages.map((page) => page.length)).toEqual([20, 20, 10])
    expect(pages.flat()).toEqual(numbered(50, 101))
  })

  test('of large messages is cut to what one answer can carry', () => {
    const stage = new Stage({ settings: { proxy: { maximumPayloadBytes: 1 << 20 } } })
    const { topic, clientId } = oneShard(stage)
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    const texts = numbered(100).map((text) => `${text} `.padEnd(200_000, '.'))
    publishAll(stage, publisher, topic, texts)
    const found = stage.query(topic)
    expect(found.more).toBe(true)
    expect(found.messages.length).toBeGreaterThan(10)
    expect(stage.stored(topic)).toEqual(texts)
  })

  test('is not answered by a broker that does not own the shard, nor by one whose lease is over', () => {
    const stage = new Stage()
    const owner = stage.ownerOf(0)
    const topic = stage.topicOn(0)
    const other = stage.brokers.find((broker) => broker !== owner)!
    expect(stage.query(topic, { broker: other }).outcome).toBe('not-owner')
    const copies = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    stage.part([owner], copies)
    stage.run(stage.settings.volume.leaseMs + 100)
    expect(stage.query(topic, { broker: owner }).outcome).toBe('not-owner')
  })
})

describe('a long log', () => {
  const options = {
    region: { topicShards: 1 },
    settings: { broker: { checkpointBytes: 20_000, segmentBytes: 100_000, retentionMs: 60_000 } },
  } as const

  test('is found again across sealed stretches, before and after a failover, and trimmed when retention is over', () => {
    const stage = new Stage(options)
    const { clientId } = oneShard(stage)
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    const id = clientId('sleeper')
    stage.subscribe(stage.connect({ clientId: id, proxy: 1, ...keeping }), ['rare'])
    stage.connect({ clientId: id, proxy: 3, ...keeping }).leave()
    stage.run(500)
    publishAll(stage, publisher, 'rare', ['first'])
    publishAll(stage, publisher, 'long', numbered(SEALED_AT))
    publishAll(stage, publisher, 'rare', ['second'])
    publishAll(stage, publisher, 'long', numbered(500, SEALED_AT + 1))
    const whole = numbered(SEALED_AT + 500)
    expect(stage.stored('long', 3000)).toEqual(whole)
    expect(stage.stored('rare')).toEqual(['first', 'second'])
    stage.failOver(0)
    expect(stage.stored('long', 3000)).toEqual(whole)
    expect(stage.stored('rare')).toEqual(['first', 'second'])

    stage.run(200_000)
    publishAll(stage, publisher, 'long', ['new'])
    const { trimOffset, size } = stage.copyOf(0)
    expect(trimOffset).toBeGreaterThan(size / 2)
    // Sealed stretches go as a whole: of the one that was open when its time came all is still there.
    expect(stage.stored('long')).toEqual([...whole.slice(SEALED_AT - 1), 'new'])
    expect(stage.stored('rare')).toEqual(['second'])
    const kept = stage.stored('long').length

    // Where the trim had to wait for a mark, the next owner finds some of the stretch again: never less than before, and in order.
    stage.failOver(0)
    const found = stage.stored('long')
    expect(found.slice(-kept)).toEqual([...whole.slice(SEALED_AT - 1), 'new'])
    expect(found).toEqual([...whole.slice(1 + whole.length - found.length), 'new'])
    expect(found.length).toBeLessThan(SEALED_AT / 2)
    expect(stage.stored('rare')).toEqual(['second'])
    const back = stage.connect({ clientId: id, proxy: 1, ...keeping })
    publishAll(stage, publisher, 'rare', ['third'])
    stage.until(() => back.messages.length >= 2, 'what is left of the queue')
    stage.run(500)
    expect(back.messages).toEqual(['second', 'third'])
  })

  test('that outruns a subscriber lets it go on with what is left', () => {
    const stage = new Stage(options)
    const { clientId } = oneShard(stage)
    const slow = stage.connect({ clientId: clientId('slow'), proxy: 1, acknowledges: false, ...keeping })
    stage.subscribe(slow, ['long'])
    const publisher = stage.connect({ clientId: clientId('publisher'), proxy: 2 })
    publishAll(stage, publisher, 'long', numbered(SEALED_AT + 100))
    stage.run(200_000)
    expect(stage.copyOf(0).trimOffset).toBeGreaterThan(0)
    const seen = slow.messages.length
    expect(seen).toBeLessThan(200)
    slow.acknowledges = true
    for (const packet of slow.publishes) slow.puback(packet.packetId)
    stage.until(() => slow.messages.at(-1) === `m${SEALED_AT + 100}`, 'the newest message')
    expect(slow.messages.slice(-100)).toEqual(numbered(100, SEALED_AT + 1))
  })
})
