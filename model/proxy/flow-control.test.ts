/** The server's send quota: how many messages are on their way to a client at once, and what does not have to wait for it. */
import { describe, expect, test } from 'vitest'
import { type ConnectOptions, Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'

function keeping(clientId: string, receiveMaximum: number | undefined, proxy = 1): ConnectOptions {
  const properties = { sessionExpiryInterval: 3600, ...(receiveMaximum === undefined ? {} : { receiveMaximum }) }
  return { version: 5, clientId, proxy, cleanStart: false, acknowledges: false, properties }
}

function withMessages(filter: string, qos: 1 | 2, client: ScriptedClient, stage: Stage, count: number): ScriptedClient {
  stage.subscribe(client, [{ filter, qos }])
  const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
  for (let i = 0; i < count; i++) publisher.publish(filter, `${i}`, qos)
  const last = qos === 1 ? 'puback' : 'pubcomp'
  stage.until(() => publisher.of(last).length === count, 'every publish to be acknowledged')
  stage.run(500)
  return publisher
}

describe('the send quota', () => {
  test.each([
    [1, 1],
    [1, 2],
    [7, 1],
    [7, 2],
  ] as const)(
    'begins at a Receive Maximum of %i for messages of QoS %i, and each connection has its own [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-3.3.4-9]',
    (receiveMaximum, qos) => {
      const stage = new Stage()
      const client = stage.connect(keeping('narrow', receiveMaximum))
      withMessages('a', qos, client, stage, 20)
      expect(client.messages).toHaveLength(receiveMaximum)
      client.leave()
      const heal = stage.failOver(stage.shardOfTopic('a'))
      stage.run(1500)
      const back = stage.connect(keeping('narrow', receiveMaximum + 2, 2))
      stage.run(1500)
      expect(back.messages).toEqual(Array.from({ length: receiveMaximum + 2 }, (_, i) => `${i}`))
      heal()
    },
  )

  test('is not the window of 3.x where the client names no Receive Maximum: that stands for 65,535', () => {
    const stage = new Stage()
    const client = stage.connect(keeping('wide', undefined))
    withMessages('a', 1, client, stage, 60)
    expect(client.messages).toHaveLength(60)
  })

  test('that is used up holds back messages of QoS 1 and 2 and nothing else: all that the client asks is answered [MQTT-3.3.4-10] [MQTT-4.9.0-3]', () => {
    const stage = new Stage()
    const client = stage.connect(keeping('full', 2))
    stage.subscribe(client, [{ filter: 'zero', qos: 0 }])
    const publisher = withMessages('a', 2, client, stage, 6)
    expect(client.messages).toEqual(['0', '1'])
    const before = client.received.length
    const since = () => client.received.slice(before)
    stage.subscribe(client, ['b'])
    client.unsubscribe(['b'])
    client.ping()
    const [one, two] = [client.publish('c', 'x', 1), client.publish('c', 'y', 2)]
    publisher.publish('zero', 'passing', 0)
    stage.until(() => client.answerTo(two, 'pubrec') !== undefined, 'PUBREC')
    client.acknowledge('pubrel', two)
    // It counts until PUBCOMP, so PUBREL has to leave while the quota is used up.
    client.acknowledge('pubrec', client.publishes[0]!.packetId)
    const awaited = ['suback', 'unsuback', 'pingresp', 'puback', 'pubrec', 'pubcomp', 'pubrel', 'publish'] as const
    stage.until(() => awaited.every((type) => since().some((packet) => packet.type === type)), 'every answer')
    stage.run(500)
    expect(client.answerTo(one, 'puback')).toBeDefined()
    expect(
      since()
        .map((packet) => packet.type)
        .sort(),
    ).toEqual([...awaited].sort())
    expect(client.publishes.at(-1)).toMatchObject({ topic: 'zero', qos: 0 })
  })
})
