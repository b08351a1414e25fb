/** Limits and refusals on the way in: Receive Maximum, topic aliases, payloads, permissions, topics that nobody created. */
import { describe, expect, test } from 'vitest'
import { type AccessRules, openAccess } from '../access.ts'
import { Stage, type StageOptions } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'
import type { Properties } from '../wire/packets.ts'

function closedAfter(stage: Stage, client: ScriptedClient): void {
  stage.until(() => client.closed !== undefined, 'the connection to be closed')
}

const codesOf = (client: ScriptedClient) => client.of('disconnect').map((packet) => packet.reasonCode)

describe('Receive Maximum', () => {
  const few: StageOptions = { settings: { proxy: { receiveMaximum: 4 } } }

  test('is told, and exceeding it ends the connection with 0x93, with QoS 1 and with QoS 2 [MQTT-3.3.4-7]', () => {
    const stage = new Stage(few)
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    for (const qos of [1, 2] as const) {
      const client = stage.connect({ version: 5, clientId: `hasty-${qos}`, acknowledges: false })
      expect(client.connack?.properties?.receiveMaximum).toBe(4)
      const heal = stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs: 300, lossProbability: 0 })
      for (let i = 0; i < 5; i++) client.publish('a', `${i}`, qos)
      closedAfter(stage, client)
      expect(codesOf(client)).toEqual([0x93])
      heal()
    }
  })

  test('is used up by QoS 2 until PUBCOMP, and free again after it; repetitions and QoS 0 do not count [MQTT-4.9.0-3]', () => {
    const stage = new Stage(few)
    const client = stage.connect({ version: 5, acknowledges: false })
    const ids = [0, 1, 2, 3].map((i) => client.publish('a', `${i}`, 2))
    stage.until(() => client.of('pubrec').length === 4, 'every PUBREC')
    client.publish('a', 'again', 2, { packetId: ids[0]!, dup: true })
    client.publish('a', 'passing', 0)
    client.acknowledge('pubrel', ids[1]!)
    stage.until(() => client.of('pubcomp').length === 1, 'PUBCOMP')
    client.publish('a', 'fifth', 1)
    stage.until(() => client.of('puback').length === 1, 'PUBACK')
    client.publish('a', 'sixth', 1)
    stage.until(() => client.of('puback').length === 2, 'PUBACK')
    expect(client.closed).toBeUndefined()
    client.publish('a', 'seventh', 2)
    client.publish('a', 'eighth', 2)
    closedAfter(stage, client)
    expect(codesOf(client)).toEqual([0x93])
    expect(stage.stored('a').slice(0, 6).sort()).toEqual(['0', '1', '2', '3', 'fifth', 'sixth'])
  })

  test('makes a 3.x client wait instead, and it loses nothing', () => {
    const stage = new Stage(few)
    for (const version of [3, 4] as const) {
      const client = stage.connect({ version, clientId: `old-${version}` })
      const ids = Array.from({ length: 40 }, (_, i) => client.publish(`t${version}`, `${i}`, i % 2 === 0 ? 1 : 2))
      const done = () => client.of('puback').length === 20 && client.of('pubcomp').length === 20
      stage.until(done, 'every publish to be acknowledged')
      expect(client.of('puback').map((packet) => packet.packetId)).toEqual(ids.filter((_, i) => i % 2 === 0))
      expect(new Set(stage.stored(`t${version}`)).size).toBe(40)
    }
  })
})

describe('a topic alias', () => {
  const aliased = (client: ScriptedClient, topic: string, topicAlias: number, payload = 'x') =>
    client.publish(topic, payload, 1, { properties: { topicAlias } })

  test('stands for the topic that it was last given, on that connection only [MQTT-3.3.2-7] [MQTT-3.3.2-12]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'aliases' })
    stage.subscribe(client, ['#'])
    const maximum = client.connack!.properties!.topicAliasMaximum!
    aliased(client, 'first', 1, 'a')
    aliased(client, '', 1, 'b')
    aliased(client, 'other', maximum, 'c')
    aliased(client, 'second', 1, 'd')
    aliased(client, '', 1, 'e')
    aliased(client, '', maximum, 'f')
    stage.until(() => client.messages.length === 6, 'every message')
    const topicOf = (text: string) => client.publishes.find((packet) => packet.payload.toString() === text)!.topic
    expect(['a', 'b', 'c', 'd', 'e', 'f'].map(topicOf)).toEqual(['first', 'first', 'other', 'second', 'second', 'other'])
    expect(client.publishes.every((packet) => packet.properties?.topicAlias === undefined)).toBe(true)
    const next = stage.connect({ version: 5, clientId: 'aliases', cleanStart: false })
    aliased(next, '', 1)
    closedAfter(stage, next)
    expect(codesOf(next)).toEqual([0x82])
  })

  test('above the maximum ends the connection with 0x94 [MQTT-3.2.2-17]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5 })
    aliased(client, 'a', client.connack!.properties!.topicAliasMaximum! + 1)
    closedAfter(stage, client)
    expect(codesOf(client)).toEqual([0x94])
  })
})

describe('a payload over the limit', () => {
  test('is refused with 0x97 in MQTT 5, or ends the connection where nothing can be said', () => {
    const stage = new Stage({ settings: { proxy: { maximumPayloadBytes: 10 } } })
    const client = stage.connect({ version: 5, clientId: 'modern' })
    const [one, two] = [client.publish('a', '12345678901', 1), client.publish('a', '12345678901', 2)]
    stage.publish(client, 'a', '1234567890')
    expect([client.answerTo(one, 'puback')?.reasonCode, client.answerTo(two, 'pubrec')?.reasonCode]).toEqual([0x97, 0x97])
    client.publish('a', '12345678901', 0)
    closedAfter(stage, client)
    expect(codesOf(client)).toEqual([0x97])
    for (const qos of [0, 1, 2] as const) {
      const old = stage.connect({ version: 4, clientId: `old-${qos}` })
      old.publish('a', '12345678901', qos)
      closedAfter(stage, old)
    }
    expect(stage.stored('a')).toEqual(['1234567890'])
  })

  test('in a will is refused at once', () => {
    const stage = new Stage({ settings: { proxy: { maximumPayloadBytes: 10 } } })
    const will = { topic: 'w', payload: Buffer.alloc(11), qos: 0, retain: false } as const
    expect(([4, 5] as const).map((version) => stage.connect({ version, will }).connack?.reasonCode)).toEqual([5, 0x97])
  })
})

describe('a message with properties of every kind', () => {
  test('has them passed on as they stood, in their order [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5 })
    stage.subscribe(client, [{ filter: 'a', qos: 2 }])
    const properties: Properties = {
      userProperties: [
        ['z', '1'],
        ['a', '2'],
        ['z', '1'],
      ],
      correlationData: Buffer.from([0, 255]),
      responseTopic: 'answers/here',
      contentType: 'text/plain',
      payloadFormatIndicator: 1,
    }
    for (const qos of [1, 2] as const) stage.publish(client, 'a', `qos ${qos}`, qos, { properties })
    stage.until(() => client.messages.length === 2, 'both')
    for (const packet of client.publishes) {
      expect(packet.properties).toEqual(properties)
      expect(Object.keys(packet.properties!)).toEqual(Object.keys(properties))
    }
  })
})

describe('permissions', () => {
  const users = new Map([['meter', { username: 'meter', password: 'secret', publish: ['meters/+'], subscribe: ['meters/#'] }]])
  const access: AccessRules = { ...openAccess, access: 'permissions', users }
  const known = { username: 'meter', password: 'secret' }

  test('let in who has the right password, and say so to the others in the words of their version [MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7]', () => {
    const stage = new Stage({ region: { access } })
    const codes = ([3, 4, 5] as const).map((version) =>
      [known, { ...known, password: 'wrong' }, { ...known, username: 'other' }, {}].map((who) => {
        const client = stage.connect({ version, clientId: 'meter', ...who })
        if (client.connack!.reasonCode !== 0) closedAfter(stage, client)
        return client.connack!.reasonCode
      }),
    )
    expect(codes).toEqual([
      [0, 4, 4, 4],
      [0, 4, 4, 4],
      [0, 0x86, 0x86, 0x86],
    ])
    expect(stage.events('session-opened')).toHaveLength(3)
  })

  test('refuse a PUBLISH with 0x87 in MQTT 5, where QoS 0 is dropped; 3.x is closed [MQTT-3.4.2-1] [MQTT-3.5.2-1]', () => {
    const stage = new Stage({ region: { access } })
    const reader = stage.connect({ version: 5, clientId: 'reader', ...known })
    stage.subscribe(reader, ['meters/#'])
    const modern = stage.connect({ version: 5, clientId: 'modern', ...known })
    const [one, two] = [modern.publish('meters/a/b', 'no', 1), modern.publish('meters/a/b', 'no', 2)]
    modern.publish('meters/a/b', 'no', 0)
    stage.publish(modern, 'meters/a', 'yes')
    expect([modern.answerTo(one, 'puback')?.reasonCode, modern.answerTo(two, 'pubrec')?.reasonCode]).toEqual([0x87, 0x87])
    expect(stage.events('publish-refused')).toHaveLength(3)
    for (const qos of [1, 2] as const) {
      const old = stage.connect({ version: 4, clientId: `old-${qos}`, ...known })
      old.publish('meters/a/b', 'no', qos)
      closedAfter(stage, old)
    }
    const old = stage.connect({ version: 4, clientId: 'old', ...known })
    old.publish('meters/a/b', 'no', 0)
    stage.publish(old, 'meters/a', 'yes')
    stage.until(() => reader.messages.length === 2, 'what was allowed')
    expect(reader.messages).toEqual(['yes', 'yes'])
  })

  test('leave the packet id of a refused QoS 2 message free for another [MQTT-4.3.3-9]', () => {
    const stage = new Stage({ region: { access } })
    const options = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 60 }, ...known } as const
    const first = stage.connect({ ...options, acknowledges: false })
    const refused = first.publish('meters/b', 'not released', 2)
    stage.until(() => first.of('pubrec').length === 1, 'PUBREC')
    first.leave()
    const client = stage.connect({ ...options, proxy: 2 })
    expect(client.connack?.sessionPresent).toBe(true)
    client.publish('elsewhere', 'no', 2, { packetId: refused })
    stage.until(() => client.of('pubrec').length === 1, 'PUBREC')
    expect(client.of('pubrec')[0]).toMatchObject({ packetId: refused, reasonCode: 0x87 })
    stage.publish(client, 'meters/b', 'another', 2, { packetId: refused })
    expect(stage.stored('meters/b')).toEqual(['not released', 'another'])
  })

  test('refuse a filter that reaches further, and a will to a topic that is not theirs', () => {
    const stage = new Stage({ region: { access } })
    const filters = ['meters/+', '#', 'meters/a/b', '+/a', '$share/g/meters/#', '$share/g/#']
    const modern = stage.connect({ version: 5, clientId: 'modern', ...known })
    expect(stage.subscribe(modern, filters)).toEqual([1, 0x87, 1, 0x87, 1, 0x87])
    const old = stage.connect({ version: 4, clientId: 'old', ...known })
    expect(stage.subscribe(old, filters)).toEqual([1, 0x80, 1, 0x80, 1, 0x80])
    const will = { topic: 'other', payload: Buffer.from('w'), qos: 1, retain: false } as const
    expect(([4, 5] as const).map((version) => stage.connect({ version, will, ...known }).connack?.reasonCode)).toEqual([5, 0x87])
  })
})

describe('topics that are created on the console', () => {
  const access: AccessRules = { ...openAccess, topicCreation: 'console', topics: new Set(['meters']) }

  test('are the only ones to publish to: 0x90 in MQTT 5, 3.x is closed', () => {
    const stage = new Stage({ region: { access } })
    const modern = stage.connect({ version: 5, clientId: 'modern' })
    const [one, two] = [modern.publish('unknown/a', 'no', 1), modern.publish('unknown', 'no', 2)]
    modern.publish('unknown/a', 'no', 0)
    stage.publish(modern, 'meters/a', 'yes')
    expect([modern.answerTo(one, 'puback')?.reasonCode, modern.answerTo(two, 'pubrec')?.reasonCode]).toEqual([0x90, 0x90])
    expect(stage.events('publish-refused').map(({ event }) => event)).toMatchObject([{ topic: 'unknown/a', reasonCode: 0x90 }, {}, {}])
    const old = stage.connect({ version: 4, clientId: 'old' })
    old.publish('unknown', 'no')
    closedAfter(stage, old)
    expect(stage.stored('unknown')).toEqual([])
  })

  test('or to subscribe to by name: 0x8F in MQTT 5, failure in 3.1.1', () => {
    const stage = new Stage({ region: { access } })
    const filters = ['meters/#', 'unknown/#', '+/a', 'unknown']
    expect(stage.subscribe(stage.connect({ version: 5, clientId: 'modern' }), filters)).toEqual([1, 0x8f, 1, 0x8f])
    expect(stage.subscribe(stage.connect({ version: 4, clientId: 'old' }), filters)).toEqual([1, 0x80, 1, 0x80])
  })
})
