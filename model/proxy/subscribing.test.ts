/** What a SUBSCRIBE asks for besides messages to come: retained messages, shared subscriptions, and the options of MQTT 5. */
import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient, ScriptedFilter } from '../scripted-client.test-support.ts'

const keeping = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const

function withRetained(...topics: readonly string[]) {
  const stage = new Stage()
  const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
  for (const topic of topics) stage.publish(publisher, topic, `kept ${topic}`, 1, { retain: true })
  return { stage, publisher }
}

/** The messages that a SUBSCRIBE brings at once. */
function subscribeAnd(stage: Stage, client: ScriptedClient, filters: readonly (string | ScriptedFilter)[]): string[] {
  const before = client.messages.length
  stage.subscribe(client, filters)
  stage.run(500)
  return client.messages.slice(before)
}

describe('a retained message', () => {
  test('comes with a new subscription, RETAIN set, in every version [MQTT-3.3.1-9]', () => {
    const { stage } = withRetained('a/1', 'a/2', 'b')
    for (const version of [3, 4, 5] as const) {
      const client = stage.connect({ version, clientId: `reader-${version}` })
      expect(subscribeAnd(stage, client, ['a/#']).sort()).toEqual(['kept a/1', 'kept a/2'])
      expect(subscribeAnd(stage, client, ['b'])).toEqual(['kept b'])
      expect(client.publishes.every((packet) => packet.retain)).toBe(true)
    }
  })

  test('comes at the QoS of the subscription, and with its identifier [MQTT-3.8.4-8]', () => {
    const { stage, publisher } = withRetained()
    stage.publish(publisher, 'a', 'two', 2, { retain: true })
    publisher.publish('b', 'zero', 0, { retain: true })
    stage.run(300)
    const client = stage.connect({ version: 5, clientId: 'reader' })
    for (const [index, qos] of ([0, 1, 2] as const).entries()) {
      stage.subscribe(client, [{ filter: 'a', qos }], index + 1)
      stage.until(() => client.messages.length === index + 1, 'the retained message')
    }
    expect(client.publishes.map((packet) => [packet.qos, packet.properties?.subscriptionIdentifiers])).toEqual([
      [0, [1]],
      [1, [2]],
      [2, [3]],
    ])
    expect(subscribeAnd(stage, client, [{ filter: 'b', qos: 2 }])).toEqual(['zero'])
    expect(client.publishes.at(-1)).toMatchObject({ qos: 0, retain: true })
  })

  test('is sent by retain handling: always, if the subscription is new, or not [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]', () => {
    const { stage } = withRetained('a')
    const client = stage.connect({ clientId: 'reader', ...keeping })
    const ask = (retainHandling: 0 | 1 | 2) => subscribeAnd(stage, client, [{ filter: 'a', retainHandling }])
    expect([ask(2), ask(0), ask(0), ask(1), ask(2)]).toEqual([[], ['kept a'], ['kept a'], [], []])
    client.unsubscribe(['a'])
    stage.until(() => client.of('unsuback').length === 1, 'UNSUBACK')
    expect(ask(1)).toEqual(['kept a'])
  })

  test('comes by retain handling 1 where the SUBSCRIBE before had been cut off, and not where it had been answered [MQTT-3.3.1-10]', () => {
    const { stage } = withRetained('a')
    const shard = stage.shardOfTopic('a')
    const clientId = stage.clientIdServedBy(stage.brokers.find((name) => name !== stage.ownerOf(shard))!)
    const ifNew = { filter: 'a', retainHandling: 1 } as const
    const heal = stage.crash(stage.ownerOf(shard))
    const first = stage.connect({ clientId, ...keeping })
    first.subscribe([ifNew])
    // The session has it on its list by now, the shard of the topic knows nothing of it.
    stage.run(500)
    stage.crash('proxy-1')
    heal()
    stage.run(5000)
    const second = stage.connect({ clientId, proxy: 2, ...keeping })
    expect([first.of('suback'), second.connack!.sessionPresent]).toEqual([[], true])
    stage.subscribe(second, [ifNew])
    stage.run(1500)
    expect(second.messages).toEqual(['kept a'])
    second.leave()
    const third = stage.connect({ clientId, proxy: 3, ...keeping })
    expect(subscribeAnd(stage, third, [ifNew])).toEqual([])
  })

  test('is asked for by a SUBSCRIBE, not by a session that comes back or a shard that moves', () => {
    const { stage } = withRetained('a')
    const client = stage.connect({ clientId: 'reader', ...keeping })
    expect(subscribeAnd(stage, client, ['a'])).toEqual(['kept a'])
    stage.run(1500)
    client.leave()
    const back = stage.connect({ clientId: 'reader', proxy: 3, ...keeping })
    stage.run(500)
    const heal = stage.failOver(stage.shardOfTopic('a'))
    stage.run(3000)
    heal()
    expect(back.messages).toEqual([])
    expect(subscribeAnd(stage, back, ['a'])).toEqual(['kept a'])
  })

  test('is the last one published, and none after an empty payload [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8]', () => {
    const { stage, publisher } = withRetained('a', 'b')
    stage.publish(publisher, 'a', 'newer', 2, { retain: true })
    publisher.publish('a', 'newest', 0, { retain: true })
    stage.publish(publisher, 'a', 'not kept')
    stage.publish(publisher, 'b', '', 1, { retain: true })
    stage.run(300)
    const client = stage.connect({ version: 5, clientId: 'reader' })
    expect(subscribeAnd(stage, client, ['#'])).toEqual(['newest'])
  })

  test('keeps the flag of the publisher for who is subscribed already, only where that is asked for [MQTT-3.3.1-12] [MQTT-3.3.1-13]', () => {
    const { stage, publisher } = withRetained()
    const client = stage.connect({ version: 5, clientId: 'modern' })
    stage.subscribe(client, [{ filter: 'a', retainAsPublished: true }, { filter: 'b' }])
    const old = stage.connect({ version: 4, clientId: 'old' })
    stage.subscribe(old, ['a', 'b'])
    for (const topic of ['a', 'b']) stage.publish(publisher, topic, topic, 1, { retain: true })
    stage.until(() => client.messages.length === 2 && old.messages.length === 2, 'the messages')
    const flagOf = (reader: ScriptedClient, topic: string) => reader.publishes.find((packet) => packet.topic === topic)!.retain
    expect(['a', 'b'].map((topic) => flagOf(client, topic))).toEqual([true, false])
    expect(['a', 'b'].map((topic) => flagOf(old, topic))).toEqual([false, false])
  })
})

describe('a shared subscription', () => {
  test('brings each message to one member of each group, in 3.1.1 and 5, whichever proxy it is at [MQTT-4.8.2-1]', () => {
    const stage = new Stage()
    const members = ([4, 5, 3] as const).map((version, index) => stage.connect({ version, clientId: `member-${index}`, proxy: index + 1 }))
    for (const member of members) stage.subscribe(member, ['$share/group/a/#'])
    const other = stage.connect({ clientId: 'other', proxy: 2 })
    stage.subscribe(other, ['$share/others/a/#'])
    const plain = stage.connect({ clientId: 'plain' })
    stage.subscribe(plain, ['a/+'])
    const texts = Array.from({ length: 30 }, (_, i) => `${i}`)
    const publisher = stage.connect({ clientId: 'publisher' })
    for (const text of texts) publisher.publish(`a/${Number(text) % 5}`, text)
    stage.until(() => plain.messages.length === 30 && other.messages.length === 30, 'every message')
    stage.run(500)
    expect(members.flatMap((member) => member.messages).sort()).toEqual([...texts].sort())
    for (const member of members) expect(member.messages.length).toBeGreaterThan(3)
  })

  test('brings no retained messages (section 4.8.2)', () => {
    const { stage } = withRetained('a')
    const client = stage.connect({ version: 5, clientId: 'member' })
    expect(subscribeAnd(stage, client, ['$share/group/a'])).toEqual([])
    expect(subscribeAnd(stage, client, ['a'])).toEqual(['kept a'])
  })

  test('is one subscription by its whole filter: group and filter [MQTT-3.10.4-1]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'member' })
    expect(stage.subscribe(client, ['$share/group/a'])).toEqual([1])
    client.unsubscribe(['a', '$share/other/a', '$share/group/a'])
    stage.until(() => client.of('unsuback').length === 1, 'UNSUBACK')
    expect(client.of('unsuback')[0]!.reasonCodes).toEqual([0x11, 0x11, 0])
    stage.publish(stage.connect({ clientId: 'publisher' }), 'a', 'x')
    stage.run(300)
    expect(client.messages).toEqual([])
  })
})
