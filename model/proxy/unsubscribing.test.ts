/** SUBSCRIBE again and UNSUBSCRIBE: which subscription is meant, what becomes of messages under way, and the answers to many filters at once. */
import { describe, expect, test } from 'vitest'
import { type ConnectOptions, Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'
import type { ProtocolVersion } from '../wire/packets.ts'

const versions: readonly ProtocolVersion[] = [3, 4, 5]

function keeping(version: ProtocolVersion, clientId: string, proxy = 1): ConnectOptions {
  const properties = version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}
  return { version, clientId, proxy, cleanStart: false, ...properties }
}

function unsubscribe(stage: Stage, client: ScriptedClient, filters: readonly string[]): readonly number[] {
  const packetId = client.unsubscribe(filters)
  const answers = () => client.of('unsuback').filter((packet) => packet.packetId === packetId)
  stage.until(() => answers().length > 0, `UNSUBACK for ${filters}`)
  return answers()[0]!.reasonCodes
}

describe('SUBSCRIBE and UNSUBSCRIBE', () => {
  test('are answered each once under its own packet id, several being under way [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.10.4-4] [MQTT-3.10.4-5]', () => {
    const stage = new Stage()
    for (const version of versions) {
      const client = stage.connect(keeping(version, `asks-${version}`))
      const subscribed = ['a', 'b/+', 'c/#'].map((filter) => client.subscribe([filter]))
      const unsubscribed = ['b/+', 'never', 'a'].map((filter) => client.unsubscribe([filter]))
      stage.until(() => client.of('suback').length >= 3 && client.of('unsuback').length >= 3, 'all answers')
      stage.run(500)
      expect(client.of('suback').map((packet) => packet.packetId)).toEqual(subscribed)
      expect(client.of('unsuback').map((packet) => packet.packetId)).toEqual(unsubscribed)
    }
  })

  test('with many filters are one after the other, with one answer for all, in their order [MQTT-3.8.4-5] [MQTT-3.10.4-6] [MQTT-3.9.3-1] [MQTT-3.11.3-1]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'many' })
    const codes = stage.subscribe(client, [
      { filter: 'a', qos: 2 },
      { filter: '$share/g/b', qos: 1 },
      { filter: 'c', qos: 1 },
      { filter: 'a', qos: 0 },
    ])
    expect(codes).toEqual([2, 1, 1, 0])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    stage.publish(publisher, 'a', 'by the last of both', 2)
    stage.publish(publisher, 'c', 'between', 2)
    stage.run(300)
    expect(client.publishes.map((packet) => [packet.topic, packet.qos]).sort()).toEqual([
      ['a', 0],
      ['c', 1],
    ])
    expect(unsubscribe(stage, client, ['c', 'never', 'a', 'a', 'b', '$share/g/b'])).toEqual([0, 0x11, 0, 0x11, 0x11, 0])
    for (const topic of ['a', 'b', 'c']) stage.publish(publisher, topic, 'to nobody')
    stage.run(500)
    expect(client.messages).toHaveLength(2)
    expect([client.of('suback').length, client.of('unsuback').length]).toEqual([1, 1])
  })
})

describe('SUBSCRIBE to a filter that the session has', () => {
  test('replaces the subscription: one copy of each message, by the new options, with every owner [MQTT-3.8.4-3]', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(5, 'changes'))
    stage.subscribe(client, [{ filter: 'a', qos: 0 }], 1)
    stage.subscribe(client, [{ filter: 'a', qos: 2, noLocal: true }], 2)
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    stage.publish(publisher, 'a', 'one', 2)
    stage.publish(client, 'a', 'own', 2)
    client.leave()
    for (const shard of [stage.sessionShardOf('changes'), stage.shardOfTopic('a')]) {
      const heal = stage.failOver(shard)
      stage.run(1500)
      heal()
      stage.run(8000)
    }
    const back = stage.connect(keeping(5, 'changes', 2))
    stage.publish(publisher, 'a', 'two', 2)
    stage.until(() => back.messages.includes('two'), 'the message')
    stage.run(500)
    const brought = [...client.publishes, ...back.publishes]
    expect(brought.map((packet) => [packet.payload.toString(), packet.qos, packet.properties?.subscriptionIdentifiers])).toEqual([
      ['one', 2, [2]],
      ['two', 2, [2]],
    ])
    expect(unsubscribe(stage, back, ['a', 'a'])).toEqual([0, 0x11])
  })

  test('loses and repeats no message that is published meanwhile, and brings what is retained again [MQTT-3.8.4-4]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    stage.publish(publisher, 'a', 'kept', 1, { retain: true })
    const client = stage.connect(keeping(5, 'repeats'))
    stage.subscribe(client, [{ filter: 'a', qos: 1 }])
    const texts = Array.from({ length: 60 }, (_, i) => `${i}`)
    for (const [index, text] of texts.entries()) {
      publisher.publish('a', text)
      if (index % 6 === 3) client.subscribe([{ filter: 'a', qos: index % 4 === 1 ? 1 : 2 }], index)
      stage.run(7)
    }
    const plain = () => client.publishes.filter((packet) => !packet.retain).map((packet) => packet.payload.toString())
    stage.until(() => plain().length >= 60 && client.of('suback').length === 11, 'every message and SUBACK')
    stage.run(500)
    expect(plain()).toEqual(texts)
    expect(client.publishes.filter((packet) => packet.retain).map((packet) => packet.payload.toString())).toEqual(
      Array.from({ length: 11 }, () => 'kept'),
    )
  })
})

describe('UNSUBSCRIBE', () => {
  test('deletes the subscriptions of exactly these filters, character by character, whatever else they match [MQTT-3.10.4-1] [MQTT-3.10.4-2]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    const client = stage.connect(keeping(5, 'exact'))
    stage.subscribe(client, ['a/b', 'a/+', 'A/b', 'a/b/#', '$share/g/x/y'])
    expect(unsubscribe(stage, client, ['a/#', '#', '+/b', 'a/B', 'a/b/', 'x/y', '$share/h/x/y', '$share/g/x/+'])).toEqual(
      Array.from({ length: 8 }, () => 0x11),
    )
    for (const topic of ['a/b', 'a/c', 'A/b', 'x/y']) stage.publish(publisher, topic, topic)
    stage.run(300)
    expect([...client.messages].sort()).toEqual(['A/b', 'a/b', 'a/c', 'x/y'])
    expect(unsubscribe(stage, client, ['a/+', '$share/g/x/y'])).toEqual([0, 0])
    for (const topic of ['a/b', 'a/c', 'A/b', 'x/y']) stage.publish(publisher, topic, topic)
    stage.run(300)
    expect(client.messages.slice(4).sort()).toEqual(['A/b', 'a/b'])
  })

  test('stops what is published after it for the whole session, at every proxy and with every owner [MQTT-3.10.4-2]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    const client = stage.connect(keeping(4, 'leaves'))
    stage.subscribe(client, ['a', 'b'])
    unsubscribe(stage, client, ['a'])
    client.leave()
    for (const shard of [stage.sessionShardOf('leaves'), stage.shardOfTopic('a')]) {
      const heal = stage.failOver(shard)
      stage.run(1500)
      heal()
      stage.run(8000)
    }
    for (const topic of ['a', 'b']) stage.publish(publisher, topic, topic)
    const back = stage.connect(keeping(4, 'leaves', 2))
    expect(back.connack!.sessionPresent).toBe(true)
    stage.until(() => back.messages.length > 0, 'the message')
    stage.run(500)
    expect(back.messages).toEqual(['b'])
  })

  test('leaves the delivery of what was begun on the connection to be completed, also by another owner [MQTT-3.10.4-3]', () => {
    for (const version of versions) {
      const stage = new Stage()
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      const client = stage.connect({ ...keeping(version, 'begun'), acknowledges: false })
      stage.subscribe(client, [
        { filter: 'one', qos: 1 },
        { filter: 'two', qos: 2 },
      ])
      stage.publish(publisher, 'one', 'at one', 1)
      stage.publish(publisher, 'two', 'at two', 2)
      stage.until(() => client.messages.length === 2, 'both messages')
      unsubscribe(stage, client, ['one', 'two'])
      const idOf = (topic: string) => client.publishes.find((packet) => packet.topic === topic)!.packetId
      const heal = stage.failOver(stage.shardOfTopic('two'))
      stage.run(1500)
      client.puback(idOf('one'))
      client.acknowledge('pubrec', idOf('two'))
      stage.until(() => client.of('pubrel').length === 1, 'PUBREL')
      client.acknowledge('pubcomp', idOf('two'))
      for (const topic of ['one', 'two']) stage.publish(publisher, topic, 'to nobody')
      stage.run(1500)
      expect([client.messages.length, client.of('pubrel').length, client.closed]).toEqual([2, 1, undefined])
      heal()
    }
  })

  test('from all filters leaves it to be completed after a reconnect too, through other proxies and owners [MQTT-3.10.4-3]', () => {
    for (const version of versions) {
      const stage = new Stage()
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      const first = stage.connect({ ...keeping(version, 'begun'), acknowledges: false })
      stage.subscribe(first, [{ filter: 'one', qos: 1 }])
      stage.subscribe(first, [{ filter: 'two', qos: 2 }])
      stage.publish(publisher, 'one', 'at one', 1)
      stage.publish(publisher, 'two', 'at two', 2)
      stage.until(() => first.messages.length === 2, 'both messages')
      unsubscribe(stage, first, ['one', 'two'])
      const idOf = (client: ScriptedClient, topic: string) => client.publishes.find((packet) => packet.topic === topic)!.packetId
      const [one, two] = [idOf(first, 'one'), idOf(first, 'two')]
      first.leave()
      const heal = stage.failOver(stage.shardOfTopic('two'))
      stage.run(1500)
      const second = stage.connect({ ...keeping(version, 'begun', 2), acknowledges: false })
      stage.until(() => second.messages.length === 2, 'both messages')
      expect(second.publishes.map((packet) => [packet.packetId, packet.dup]).sort()).toEqual(
        [
          [one, true],
          [two, true],
        ].sort(),
      )
      second.puback(one)
      second.acknowledge('pubrec', two)
      stage.until(() => second.of('pubrel').length === 1, 'PUBREL')
      second.acknowledge('pubcomp', two)
      for (const topic of ['one', 'two']) stage.publish(publisher, topic, 'to nobody')
      stage.run(1500)
      second.leave()
      heal()
      const third = stage.connect({ ...keeping(version, 'begun', 3), acknowledges: false })
      stage.run(1000)
      expect([second.messages.length, third.received.length]).toEqual([2, 1])
    }
  })
})
