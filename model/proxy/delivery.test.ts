/** Messages from publisher to subscriber: who gets what, in which order, how often, under which packet id. */
import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'

const keeping = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const

const numbered = (count: number, first = 1) => Array.from({ length: count }, (_, i) => `m${first + i}`)

function awaitMessages(stage: Stage, client: ScriptedClient, count: number, withinMs?: number): void {
  stage.until(() => client.messages.length >= count, `${count} messages`, withinMs)
}

describe('a subscription', () => {
  test('gets what its filter matches, wherever the topic lives, and nothing else [MQTT-3.3.2-3] [MQTT-4.7.2-1]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    const filters = { exact: 'a/b', single: 'a/+', multi: 'a/#', all: '#', leading: '+/b' }
    const wanted = {
      exact: ['a/b'],
      single: ['a/b', 'a/c'],
      multi: ['a', 'a/b', 'a/b/c', 'a/c'],
      all: ['a', 'a/b', 'a/b/c', 'a/c', 'b'],
      leading: ['a/b'],
    }
    const subscribers = Object.entries(filters).map(([clientId, filter]) => {
      const client = stage.connect({ clientId, proxy: 3 })
      stage.subscribe(client, [filter])
      return client
    })
    for (const topic of ['a', 'a/b', 'a/b/c', 'a/c', 'b', '$own/b']) stage.publish(publisher, topic, topic)
    stage.run(500)
    for (const [index, topics] of Object.values(wanted).entries()) expect([...subscribers[index]!.messages].sort()).toEqual(topics)
  })

  test('that overlaps with others of its session brings one copy: the highest QoS, and in MQTT 5 every identifier [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4]', () => {
    const stage = new Stage()
    const modern = stage.connect({ version: 5, clientId: 'modern' })
    stage.subscribe(modern, [{ filter: 'a/#', qos: 0 }], 7)
    stage.subscribe(modern, [{ filter: 'a/+', qos: 1 }], 300)
    stage.subscribe(modern, [{ filter: '#', qos: 0 }])
    const old = stage.connect({ version: 4, clientId: 'old' })
    stage.subscribe(old, [
      { filter: 'a/b', qos: 1 },
      { filter: 'a/#', qos: 0 },
    ])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    stage.publish(publisher, 'a/b', 'stored')
    publisher.publish('a/b', 'passing', 0)
    stage.run(500)
    expect(modern.publishes.map((packet) => [packet.payload.toString(), packet.qos])).toEqual([
      ['stored', 1],
      ['passing', 0],
    ])
    for (const packet of modern.publishes) expect([...packet.properties!.subscriptionIdentifiers!].sort()).toEqual([300, 7])
    expect(old.publishes.map((packet) => packet.qos)).toEqual([1, 0])
  })

  test('with No Local leaves out what its own client published [MQTT-3.8.3-3]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'talker' })
    stage.subscribe(client, [{ filter: 'a', noLocal: true }, { filter: 'b' }])
    const other = stage.connect({ clientId: 'other', proxy: 2 })
    stage.subscribe(other, ['a'])
    for (const topic of ['a', 'b']) stage.publish(client, topic, `own ${topic}`)
    client.publish('a', 'own a, passing', 0)
    stage.publish(other, 'a', 'foreign')
    stage.run(500)
    expect([...client.messages].sort()).toEqual(['foreign', 'own b'])
    expect(other.messages).toEqual(['own a', 'own a, passing', 'foreign'])
  })

  test('at QoS 0 gets a QoS 1 message at QoS 0, and one at QoS 1 gets a QoS 0 message at QoS 0 [MQTT-3.8.4-8]', () => {
    const stage = new Stage()
    const zero = stage.connect({ clientId: 'zero' })
    stage.subscribe(zero, [{ filter: 'a', qos: 0 }])
    const one = stage.connect({ clientId: 'one' })
    stage.subscribe(one, [{ filter: 'a', qos: 1 }])
    stage.publish(zero, 'a', 'at one')
    zero.publish('a', 'at zero', 0)
    stage.run(500)
    expect(zero.publishes.map((packet) => packet.qos)).toEqual([0, 0])
    expect(one.publishes.map((packet) => packet.qos)).toEqual([1, 0])
  })

  test('is in force when its SUBACK comes, and over when its UNSUBACK does [MQTT-3.8.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-4]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    const client = stage.connect({ clientId: 'client', proxy: 3 })
    stage.publish(publisher, 'a', 'before')
    stage.subscribe(client, ['a', '#'])
    stage.publish(publisher, 'a', 'during')
    client.unsubscribe(['a', '#'])
    stage.until(() => client.of('unsuback').length === 1, 'UNSUBACK')
    stage.publish(publisher, 'a', 'after')
    stage.run(500)
    expect(client.messages).toEqual(['during'])
  })

  test('tells an MQTT 5 publisher whether anybody wanted the message', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'client' })
    stage.subscribe(client, ['a'])
    const [wanted, unwanted] = [stage.publish(client, 'a', 'x'), stage.publish(client, 'b', 'y')]
    expect([client.pubackOf(wanted)!.reasonCode, client.pubackOf(unwanted)!.reasonCode]).toEqual([0x00, 0x10])
  })
})

describe('a message', () => {
  test('keeps its payload and its properties byte for byte [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'client' })
    stage.subscribe(client, ['a'])
    const payload = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7) & 0xff))
    const properties = {
      payloadFormatIndicator: 0,
      contentType: 'application/x-measure',
      responseTopic: 'answers/1',
      correlationData: Buffer.from([1, 2, 0, 255]),
      userProperties: [
        ['z', '1'],
        ['a', '2'],
        ['z', '1'],
      ] as const,
    }
    client.send({ type: 'publish', topic: 'a', payload, qos: 1, dup: false, retain: false, packetId: 900, properties })
    awaitMessages(stage, client, 1)
    expect(client.publishes[0]!.payload.equals(payload)).toBe(true)
    expect(client.publishes[0]!.properties).toEqual(properties)
  })

  test('of the greatest size passes, one byte more closes an MQTT 5 publisher with 0x95', () => {
    const topic = 'large'
    const headerBytes = 1 + 3 + 2 + topic.length + 2
    const stage = new Stage({ settings: { proxy: { maximumPayloadBytes: 1 << 20 } } })
    const client = stage.connect({ version: 4, clientId: 'client' })
    stage.subscribe(client, [topic])
    const largest = Buffer.alloc(stage.settings.proxy.maximumPacketBytes - headerBytes, 'x')
    stage.publish(client, topic, largest)
    awaitMessages(stage, client, 1)
    expect(client.publishes[0]!.payload.equals(largest)).toBe(true)
    const modern = stage.connect({ version: 5, clientId: 'modern' })
    modern.publish(topic, largest)
    stage.until(() => modern.closed !== undefined, 'the connection to be closed')
    expect(modern.of('disconnect')).toMatchObject([{ reasonCode: 0x95 }])
  })

  test('larger than its subscriber takes is passed over, the next one is not [MQTT-3.1.2-24] [MQTT-3.1.2-25]', () => {
    const stage = new Stage()
    const small = stage.connect({ version: 5, clientId: 'small', properties: { maximumPacketSize: 100, sessionExpiryInterval: 60 } })
    stage.subscribe(small, ['a'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    stage.publish(publisher, 'a', 'x'.repeat(200))
    stage.publish(publisher, 'a', 'fits')
    publisher.publish('a', 'y'.repeat(200), 0)
    stage.run(500)
    expect(small.messages).toEqual(['fits'])
  })

  test('of one publisher and topic comes in order, whatever else is under way [MQTT-4.6.0-5] [MQTT-4.6.0-6]', () => {
    const stage = new Stage()
    const subscriber = stage.connect({ clientId: 'subscriber', proxy: 3 })
    stage.subscribe(subscriber, ['#'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    const topics = Array.from({ length: stage.plan.shardCount / 2 }, (_, shard) => stage.topicOn(shard))
    for (let i = 1; i <= 40; i++) for (const topic of topics) publisher.publish(topic, `${topic} ${i}`)
    awaitMessages(stage, subscriber, 40 * topics.length)
    for (const topic of topics) {
      const texts = subscriber.publishes.filter((packet) => packet.topic === topic).map((packet) => packet.payload.toString())
      expect(texts).toEqual(Array.from({ length: 40 }, (_, i) => `${topic} ${i + 1}`))
    }
  })
})

describe('acknowledgements', () => {
  test('leave in the order of the PUBLISHes, though their shards answer in another [MQTT-4.6.0-2]', () => {
    const stage = new Stage()
    const slow = stage.ownerOf(0)
    const other = [1, 2, 3, 4, 5].find((shard) => stage.ownerOf(shard) !== slow)!
    const [slowTopic, fastTopic] = [stage.topicOn(0), stage.topicOn(other)]
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    stage.apply({ kind: 'link', from: [slow], to: volumes, addedLatencyMs: 150, lossProbability: 0 })
    const client = stage.connect({ clientId: stage.clientIdServedBy(stage.ownerOf(other)) })
    const fastAloneMs = client.nowMs
    stage.publish(client, fastTopic, 'alone')
    expect(client.nowMs - fastAloneMs).toBeLessThan(250)
    const ids = [slowTopic, fastTopic, fastTopic, slowTopic, fastTopic].map((topic) => client.publish(topic, 'x'))
    stage.until(() => client.of('puback').length === ids.length + 1, 'every PUBACK')
    expect(
      client
        .of('puback')
        .slice(1)
        .map((packet) => packet.packetId),
    ).toEqual(ids)
  })

  test('of a subscriber bound its window: 16 in 3.1.1, Receive Maximum in MQTT 5 [MQTT-3.3.4-9] [MQTT-4.9.0-2]', () => {
    const stage = new Stage()
    const old = stage.connect({ version: 4, clientId: 'old', acknowledges: false })
    const modern = stage.connect({ version: 5, clientId: 'modern', acknowledges: false, properties: { receiveMaximum: 3 } })
    for (const client of [old, modern]) stage.subscribe(client, ['#'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    for (let i = 0; i < 40; i++) publisher.publish(`t/${i}`, `m${i}`)
    stage.until(() => publisher.of('puback').length === 40, 'every PUBACK')
    stage.run(500)
    expect([old.messages.length, modern.messages.length]).toEqual([16, 3])
    modern.puback(modern.publishes[1]!.packetId)
    stage.run(500)
    expect(modern.messages.length).toBe(4)
    for (const client of [old, modern]) {
      client.acknowledges = true
      for (const packet of client.publishes) client.puback(packet.packetId)
      awaitMessages(stage, client, 40)
      expect(new Set(client.messages).size).toBe(40)
      expect(client.messages.length).toBe(40)
    }
  })

  test('given just before the connection ends are not forgotten', () => {
    const stage = new Stage()
    const subscriber = stage.connect({ clientId: 'subscriber', proxy: 1, ...keeping })
    stage.subscribe(subscriber, ['a'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    stage.publish(publisher, 'a', 'once')
    awaitMessages(stage, subscriber, 1)
    subscriber.disconnect()
    stage.until(() => stage.events('client-closed').length === 1, 'the proxy to see the end')
    const back = stage.connect({ clientId: 'subscriber', proxy: 3, ...keeping })
    stage.publish(publisher, 'a', 'next')
    awaitMessages(stage, back, 1)
    stage.run(500)
    expect(back.messages).toEqual(['next'])
  })
})

describe('a session that was away', () => {
  test('gets what was published meanwhile, in order, then what comes [MQTT-4.5.0-1]', () => {
    const stage = new Stage()
    const options = { clientId: 'sleeper', version: 4, cleanStart: false } as const
    const sleeper = stage.connect(options)
    stage.subscribe(sleeper, ['a', { filter: 'zero', qos: 0 }])
    sleeper.disconnect()
    stage.run(500)
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    for (const text of numbered(100)) publisher.publish('a', text)
    publisher.publish('a', 'passing', 0)
    publisher.publish('zero', 'unkept')
    stage.until(() => publisher.of('puback').length === 101, 'every PUBACK')
    const back = stage.connect({ ...options, proxy: 3 })
    expect(back.connack?.sessionPresent).toBe(true)
    for (const text of numbered(20, 101)) publisher.publish('a', text)
    awaitMessages(stage, back, 120)
    stage.run(500)
    expect(back.messages).toEqual(numbered(120))
    expect(back.publishes.every((packet) => packet.qos === 1 && !packet.dup)).toBe(true)
  })

  test('gets what it did not acknowledge again, through another proxy: the same packet ids, in order, with DUP [MQTT-4.4.0-1] [MQTT-3.3.1-1]', () => {
    const stage = new Stage()
    const first = stage.connect({ clientId: 'forgetful', proxy: 1, acknowledges: false, ...keeping })
    stage.subscribe(first, ['a'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    for (const text of numbered(5)) publisher.publish('a', text)
    awaitMessages(stage, first, 5)
    first.puback(first.publishes[1]!.packetId)
    stage.run(500)
    first.leave()
    stage.run(500)
    const second = stage.connect({ clientId: 'forgetful', proxy: 3, ...keeping })
    stage.publish(publisher, 'a', 'm6')
    awaitMessages(stage, second, 5)
    stage.run(500)
    expect(second.messages).toEqual(['m1', 'm3', 'm4', 'm5', 'm6'])
    expect(second.publishes.map((packet) => packet.dup)).toEqual([true, true, true, true, false])
    const idOf = (client: ScriptedClient, text: string) => client.publishes.find((packet) => packet.payload.toString() === text)!.packetId
    for (const text of ['m1', 'm3', 'm4', 'm5']) expect(idOf(second, text)).toBe(idOf(first, text))
    const third = stage.connect({ clientId: 'forgetful', proxy: 2, ...keeping })
    stage.run(1000)
    expect(third.messages).toEqual([])
  })

  test('gets new messages though an older one is open and those between are acknowledged', () => {
    const stage = new Stage()
    const first = stage.connect({ clientId: 'slow', proxy: 1, acknowledges: false, ...keeping })
    stage.subscribe(first, ['a'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    for (const text of numbered(3)) publisher.publish('a', text)
    awaitMessages(stage, first, 3)
    for (const packet of first.publishes.slice(1)) first.puback(packet.packetId)
    stage.run(500)
    const second = stage.connect({ clientId: 'slow', proxy: 3, acknowledges: false, ...keeping })
    awaitMessages(stage, second, 1)
    stage.publish(publisher, 'a', 'm4')
    awaitMessages(stage, second, 2, 2000)
    expect(second.messages).toEqual(['m1', 'm4'])
  })
})

describe('a link to a broker that breaks', () => {
  test('while a session is being opened costs that client nothing', () => {
    const stage = new Stage()
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    const heal = stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs: 150, lossProbability: 0 })
    const client = stage.dial({ clientId: 'client', proxy: 1, ...keeping })
    stage.run(70)
    stage.apply({ kind: 'connection-reset', from: ['proxy-1'], to: stage.brokers })
    stage.until(() => client.connack !== undefined, 'CONNACK')
    stage.subscribe(client, ['a'])
    heal()
    stage.run(3000)
    stage.publish(client, 'a', 'still here')
    awaitMessages(stage, client, 1, 2000)
    expect(stage.events('session-opened')).toHaveLength(1)
  })

  test('once connected brings no message twice on that connection, and loses none', () => {
    const stage = new Stage()
    const subscriber = stage.connect({ clientId: 'subscriber', proxy: 1, ...keeping })
    stage.subscribe(subscriber, ['#'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    for (let i = 1; i <= 60; i++) {
      publisher.publish('a', `m${i}`)
      if (i % 10 === 0) stage.run(30)
      if (i % 20 === 0) stage.apply({ kind: 'connection-reset', from: ['proxy-1'], to: stage.brokers })
    }
    awaitMessages(stage, subscriber, 60)
    stage.run(2000)
    expect(subscriber.messages).toEqual(numbered(60))
    expect(publisher.of('puback').map((packet) => packet.packetId)).toEqual(Array.from({ length: 60 }, (_, i) => i + 1))
    expect(stage.stored('a')).toEqual(numbered(60))
  })
})
