import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

function signatures(stage: Stage): readonly string[] {
  return stage.result('wire-legal').violations.map((each) => /MQTT-[\d.-]+/.exec(each.signature)?.[0] ?? each.signature)
}

/** A stage on which client 1 publishes to data/1 and client 0, of the given version, has subscribed to it. */
function subscribed(version: 4 | 5, properties = {}, size = 5): { stage: Stage; client: StageConnection } {
  const stage = new Stage(clients(2))
  const publisher = stage.connected(1)
  for (let sequence = 0; sequence < size; sequence++) publisher.publish('data/1', sequence)
  const client = stage.connected(0, version, { properties })
  client.subscribe('data/1')
  return { stage, client }
}

type Plant = readonly [name: string, statement: string, version: 4 | 5, play: (client: StageConnection, stage: Stage) => void]

const plants: readonly Plant[] = [
  ['a second CONNACK', 'MQTT-3.2.0-2', 4, (client) => client.connack(false)],
  ['PUBACK for an identifier that is not open', 'MQTT-2.2.1-5', 4, (client) => client.puback(7)],
  [
    'PUBACK sent twice',
    'MQTT-2.2.1-5',
    4,
    (client) => {
      client.publish('data/0', 0)
      client.puback(0)
      client.puback(0)
    },
  ],
  [
    'PUBACKs out of order',
    'MQTT-4.6.0-2',
    4,
    (client) => {
      client.publish('data/0', 0)
      client.publish('data/0', 1)
      client.puback(1)
      client.puback(0)
    },
  ],
  [
    'PUBACK for QoS 2',
    'MQTT-4.3.3-8',
    4,
    (client) => {
      client.publish('data/0', 0, { qos: 2 })
      client.puback(0)
    },
  ],
  [
    'PUBACK on a connection on which the publish was not sent',
    'MQTT-2.2.1-5',
    4,
    (client, stage) => {
      client.publish('data/0', 0)
      client.close()
      stage.connected(0, 4, { present: true }).puback(0)
    },
  ],
  ['SUBACK for no SUBSCRIBE', 'MQTT-3.8.4-2', 4, (client) => client.receive({ cmd: 'suback', messageId: 5, granted: [1] })],
  [
    'SUBACK with too few codes',
    'MQTT-3.8.4-6',
    4,
    (client) => {
      const subscriptions = ['a', 'b'].map((topic) => ({ topic, qos: 1 }))
      client.send({ cmd: 'subscribe', messageId: 5, subscriptions })
      client.receive({ cmd: 'suback', messageId: 5, granted: [1] })
    },
  ],
  ['SUBACK that grants more than was asked', 'MQTT-3.8.4-7', 4, (client) => client.subscribe('a', 0, 5, 1)],
  ['UNSUBACK for no UNSUBSCRIBE', 'MQTT-3.10.4-5', 5, (client) => client.receive({ cmd: 'unsuback', messageId: 5, granted: [0] })],
  ['PINGRESP without PINGREQ', 'MQTT-3.12.4-1', 4, (client) => client.receive({ cmd: 'pingresp' })],
  ['DISCONNECT to a 3.1.1 client', 'MQTT-3.14', 4, (client) => client.receive({ cmd: 'disconnect' })],
  [
    'a packet after DISCONNECT',
    'MQTT-3.14.4-1',
    5,
    (client) => {
      client.receive({ cmd: 'disconnect', reasonCode: 0x8b })
      client.deliver('data/1', 1, 0)
    },
  ],
  [
    'SUBSCRIBE from the server',
    'MQTT-2.1.2',
    4,
    (client) => client.receive({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'a', qos: 0 }] }),
  ],
  ['PINGREQ from the server', 'MQTT-3.12', 4, (client) => client.receive({ cmd: 'pingreq' })],
  ['bytes that are no packet', 'MQTT-2.1.3-1', 4, (client) => client.receiveBytes(Buffer.from([0x4f, 2, 0, 1]))],
  [
    'an identifier in use for another message',
    'MQTT-2.2.1-4',
    4,
    (client) => {
      client.deliver('data/1', 1, 0, { packetId: 9, acknowledge: false })
      client.deliver('data/1', 1, 1, { packetId: 9, acknowledge: false })
    },
  ],
  [
    'a repetition without DUP',
    'MQTT-3.3.1-1',
    4,
    (client, stage) => {
      client.deliver('data/1', 1, 0, { acknowledge: false })
      client.close()
      stage.connected(0, 4, { present: true }).deliver('data/1', 1, 0)
    },
  ],
  ['DUP on what was never sent', 'MQTT-3.3.1-1', 4, (client) => client.deliver('data/1', 1, 0, { dup: true })],
  [
    'a repetition on the same connection in MQTT 5',
    'MQTT-4.4.0-1',
    5,
    (client) => {
      client.deliver('data/1', 1, 0, { acknowledge: false })
      client.deliver('data/1', 1, 0, { dup: true, acknowledge: false })
    },
  ],
  [
    'QoS above what was granted',
    'MQTT-3.8.4-8',
    4,
    (client, stage) => {
      const publisher = stage.connected(1)
      publisher.publish('low', 9)
      client.subscribe('low', 0, 5)
      client.deliver('low', 1, 9)
    },
  ],
  [
    'QoS 0 where QoS 1 was published and granted',
    'MQTT-3.8.4-8',
    4,
    (client, stage) => {
      stage.connected(1).publish('data/1', 9)
      client.deliver('data/1', 1, 9, { qos: 0 })
    },
  ],
]

describe('wire-legal', () => {
  test.each(plants)('catches %s [%s]', (_name, statement, version, play) => {
    const { stage, client } = subscribed(version)
    play(client, stage)
    expect(signatures(stage)).toEqual([statement])
  })

  test('catches a packet before CONNACK, and one after a refusal', () => {
    const stage = new Stage(clients(2))
    const early = stage.connection(0)
    early.connect({ unanswered: true })
    early.receive({ cmd: 'pingresp' })
    const refused = stage.connection(1)
    refused.connect({ unanswered: true })
    refused.receive({ cmd: 'connack', sessionPresent: false, returnCode: 5 })
    refused.receive({ cmd: 'pingresp' })
    expect(signatures(stage)).toEqual(['MQTT-3.2.0-1', 'MQTT-3.2.2-7'])
  })

  test('catches more open messages than the Receive Maximum, and packets larger than the client takes', () => {
    const window = subscribed(5, { receiveMaximum: 2 })
    for (const sequence of [0, 1, 2]) window.client.deliver('data/1', 1, sequence, { acknowledge: false })
    expect(signatures(window.stage)).toEqual(['MQTT-3.3.4-9'])
    const small = subscribed(5, { maximumPacketSize: 40 })
    small.client.deliver('data/1', 1, 0)
    expect(signatures(small.stage)).toEqual(['MQTT-3.1.2-24'])
  })

  test('a usual life is legal: traffic both ways, pings, a resumed session, DUP on what was lost, QoS 2', () => {
    const { stage, client } = subscribed(5, { receiveMaximum: 2 }, 50)
    for (let sequence = 0; sequence < 20; sequence++) client.deliver('data/1', 1, sequence)
    client.publish('data/0', 0)
    client.publish('data/0', 1, { qos: 2 })
    client.publish('data/0', 2)
    client.puback(0)
    client.puback(2)
    client.receive({ cmd: 'pubrec', messageId: 2, reasonCode: 0 })
    client.send({ cmd: 'pubrel', messageId: 2, reasonCode: 0 })
    client.receive({ cmd: 'pubcomp', messageId: 2, reasonCode: 0 })
    client.send({ cmd: 'pingreq' })
    client.receive({ cmd: 'pingresp' })
    client.unsubscribe('data/9')
    client.deliver('data/1', 1, 20, { acknowledge: false })
    client.deliver('data/1', 1, 21, { acknowledge: false })
    client.close()
    const again = stage.connected(0, 5, { present: true, properties: { receiveMaximum: 2 } })
    again.deliver('data/1', 1, 20, { dup: true })
    again.deliver('data/1', 1, 21, { dup: true })
    again.deliver('data/1', 1, 22, { dup: true })
    again.receive({ cmd: 'disconnect', reasonCode: 0x8b })
    expect(stage.verdict('wire-legal')).toBe('held')
  })

  test('3.1.1 lets the server repeat a message on the same connection', () => {
    const { stage, client } = subscribed(4)
    client.deliver('data/1', 1, 0, { acknowledge: false })
    client.deliver('data/1', 1, 0, { dup: true })
    expect(stage.verdict('wire-legal')).toBe('held')
  })

  test('what still comes over a connection that its client has left belongs to nothing the client does now', () => {
    const { stage, client } = subscribed(5, {}, 3)
    client.publish('data/0', 0)
    client.send({ cmd: 'pingreq' })
    const again = stage.connected(0, 5, { present: true })
    again.publish('data/0', 0, { dup: true })
    client.puback(0, 50)
    client.receive({ cmd: 'pingresp' })
    client.deliver('data/1', 1, 0, { agoMs: 50, acknowledge: false })
    again.puback(0)
    again.deliver('data/1', 1, 0)
    client.receive({ cmd: 'disconnect', reasonCode: 0x8e })
    client.close('peer', 'ended')
    again.deliver('data/1', 1, 1)
    expect(stage.verdict('wire-legal')).toBe('held')
    expect(stage.checks.measures()).toMatchObject({ messagesDelivered: 2, duplicates: 0, messagesAcknowledged: 1 })
  })

  test('a client that repeats a publish on the same connection gets two answers', () => {
    const { stage, client } = subscribed(4)
    client.publish('data/0', 0)
    client.publish('data/0', 0, { dup: true })
    client.puback(0)
    client.puback(0)
    expect(stage.verdict('wire-legal')).toBe('held')
  })
})
