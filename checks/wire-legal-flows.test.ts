import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

type Story = readonly [name: string, play: (stage: Stage) => void]

/** The statements that a story is found to break. */
function broken(play: (stage: Stage) => void): readonly string[] {
  const stage = new Stage(clients(3), { promises: ['wire-legal'] })
  play(stage)
  return stage.result('wire-legal').violations.map((each) => /MQTT-[\d.-]+/.exec(each.signature)?.[0] ?? each.signature)
}

/** Client 1, of MQTT 5, has subscribed at QoS 2; client 0 has sent it messages 0 to 4 at QoS 2. */
function receiver(stage: Stage, properties: Record<string, unknown> = {}): StageConnection {
  const client = stage.connected(1, 5, { properties })
  client.subscribe('data/0', 2)
  const publisher = stage.connected(0)
  for (let sequence = 0; sequence < 5; sequence++) publisher.publish('data/0', sequence, { qos: 2 })
  return client
}

const legal: readonly Story[] = [
  ['a whole flow of QoS 2 to the service', (stage) => stage.connected(0, 5).publishExactlyOnce('data/0', 0, 1)],
  [
    'a whole flow of QoS 2 to a client, and the identifier used again',
    (stage) => {
      const client = receiver(stage)
      for (const sequence of [0, 1]) {
        client.deliver('data/0', 0, sequence, { qos: 2, packetId: 5 })
        client.completeDelivery(5)
      }
    },
  ],
  [
    'PUBREL repeated on another connection, though the client has sent PUBCOMP',
    (stage) => {
      const client = receiver(stage)
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5 })
      client.completeDelivery(5)
      client.close()
      stage.connected(1, 5, { present: true }).receive({ cmd: 'pubrel', messageId: 5 })
    },
  ],
  [
    'PUBCOMP for a PUBREL that the client repeats, and for one of which the service knows nothing',
    (stage) => {
      const client = stage.connected(0, 5)
      client.publish('data/0', 0, { qos: 2, packetId: 1 })
      client.pubrec(1)
      client.close()
      const again = stage.connected(0, 5, { present: true })
      again.pubrel(1)
      again.pubcomp(1)
      again.pubrel(9)
      again.receive({ cmd: 'pubcomp', messageId: 9, reasonCode: 0x92 })
    },
  ],
  [
    'PUBREC for a publish that is sent again, though one had come before',
    (stage) => {
      const client = stage.connected(0, 5)
      client.publish('data/0', 0, { qos: 2, packetId: 1 })
      client.pubrec(1)
      client.close()
      const again = stage.connected(0, 5, { present: true })
      again.publish('data/0', 0, { qos: 2, packetId: 1, dup: true })
      again.pubrec(1)
    },
  ],
  [
    'a topic alias within the maximum, set and then used',
    (stage) => {
      const client = receiver(stage, { topicAliasMaximum: 2 })
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5, properties: { topicAlias: 2 } })
      client.deliver('', 0, 1, { qos: 2, packetId: 6, properties: { topicAlias: 2 } })
    },
  ],
  [
    'the subscription identifiers of all that match, in one copy',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribeWith('data/0', 1, { identifier: 3 })
      client.subscribeWith('data/#', 1, { identifier: 4 })
      client.subscribeWith('other', 1, { identifier: 5 })
      stage.connected(0).publish('data/0', 0)
      client.deliver('data/0', 0, 0, { properties: { subscriptionIdentifier: [3, 4] } })
    },
  ],
  [
    'the former identifier while a SUBSCRIBE with another is open',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribeWith('data/0', 1, { identifier: 3 })
      client.subscribeWith('data/0', 1, { identifier: 4, unanswered: true })
      stage.connected(0).publish('data/0', 0)
      client.deliver('data/0', 0, 0, { properties: { subscriptionIdentifier: 3 } })
    },
  ],
  [
    'a Message Expiry Interval that has run down',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribe('data/0')
      stage.connected(0, 5).publish('data/0', 0, { properties: { messageExpiryInterval: 60 } })
      client.deliver('data/0', 0, 0, { properties: { messageExpiryInterval: 58 } })
    },
  ],
  [
    'RETAIN as it was published',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribeWith('data/0', 1, { retainAsPublished: true })
      const publisher = stage.connected(0)
      publisher.publish('data/0', 0, { retain: true })
      publisher.publish('data/0', 1)
      client.deliver('data/0', 0, 0, { retain: true })
      client.deliver('data/0', 0, 1)
    },
  ],
  [
    'a CONNACK with all that it may have',
    (stage) => {
      const client = stage.connection(0, 5)
      client.connect({ unanswered: true, properties: { requestResponseInformation: true } })
      const properties = {
        receiveMaximum: 5,
        maximumQoS: 1,
        maximumPacketSize: 100,
        serverKeepAlive: 5,
        responseInformation: 'x',
        topicAliasMaximum: 4,
      }
      client.receive({ cmd: 'connack', sessionPresent: false, reasonCode: 0, properties })
    },
  ],
]

type Plant = readonly [name: string, statement: string, play: (stage: Stage) => void]

const connackWith = (properties: Record<string, unknown>) => (stage: Stage) => {
  const client = stage.connection(0, 5)
  client.connect({ unanswered: true })
  client.receive({ cmd: 'connack', sessionPresent: false, reasonCode: 0, properties })
}

const plants: readonly Plant[] = [
  [
    'PUBCOMP before PUBREL',
    'MQTT-4.3.3-11',
    (stage) => {
      const client = stage.connected(0, 5)
      client.publish('data/0', 0, { qos: 2, packetId: 1 })
      client.pubrec(1)
      client.pubcomp(1)
    },
  ],
  [
    'PUBREC a second time',
    'MQTT-4.3.3-8',
    (stage) => {
      const client = stage.connected(0, 5)
      client.publish('data/0', 0, { qos: 2, packetId: 1 })
      client.pubrec(1)
      client.pubrec(1)
    },
  ],
  ['PUBREC for no publish', 'MQTT-2.2.1-5', (stage) => stage.connected(0, 5).pubrec(4)],
  ['PUBCOMP for no publish and no PUBREL', 'MQTT-2.2.1-5', (stage) => stage.connected(0, 5).pubcomp(4)],
  [
    'PUBREL before PUBREC',
    'MQTT-4.3.3-4',
    (stage) => {
      const client = receiver(stage)
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5 })
      client.receive({ cmd: 'pubrel', messageId: 5 })
    },
  ],
  ['PUBREL for nothing', 'MQTT-4.3.3-4', (stage) => receiver(stage).receive({ cmd: 'pubrel', messageId: 5 })],
  [
    'PUBREL again on the same connection',
    'MQTT-4.4.0-1',
    (stage) => {
      const client = receiver(stage)
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5 })
      client.send({ cmd: 'pubrec', messageId: 5 })
      client.receive({ cmd: 'pubrel', messageId: 5 })
      client.receive({ cmd: 'pubrel', messageId: 5 })
    },
  ],
  [
    'PUBLISH again after its PUBREL',
    'MQTT-4.3.3-6',
    (stage) => {
      const client = receiver(stage)
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5 })
      client.send({ cmd: 'pubrec', messageId: 5 })
      client.receive({ cmd: 'pubrel', messageId: 5 })
      client.close()
      stage.connected(1, 5, { present: true }).deliver('data/0', 0, 0, { qos: 2, packetId: 5, dup: true })
    },
  ],
  [
    'an identifier that is in flight, for another message',
    'MQTT-2.2.1-4',
    (stage) => {
      const client = receiver(stage)
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5 })
      client.send({ cmd: 'pubrec', messageId: 5 })
      client.deliver('data/0', 0, 1, { qos: 2, packetId: 5 })
    },
  ],
  [
    'more than the Receive Maximum, where PUBREC alone was sent',
    'MQTT-3.3.4-9',
    (stage) => {
      const client = receiver(stage, { receiveMaximum: 1 })
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5 })
      client.send({ cmd: 'pubrec', messageId: 5 })
      client.deliver('data/0', 0, 1, { qos: 2, packetId: 6 })
    },
  ],
  [
    'a topic alias above the maximum',
    'MQTT-3.3.2-11',
    (stage) => receiver(stage, { topicAliasMaximum: 2 }).deliver('data/0', 0, 0, { qos: 2, properties: { topicAlias: 3 } }),
  ],
  [
    'a topic alias carried over from another connection',
    'MQTT-3.3.2-7',
    (stage) => {
      const client = receiver(stage, { topicAliasMaximum: 2 })
      client.deliver('data/0', 0, 0, { qos: 2, packetId: 5, properties: { topicAlias: 1 } })
      client.close()
      stage
        .connected(1, 5, { present: true, properties: { topicAliasMaximum: 2 } })
        .deliver('', 0, 1, { qos: 2, packetId: 6, properties: { topicAlias: 1 } })
    },
  ],
  [
    'a subscription identifier that the client never gave',
    'MQTT-3.3.4-4',
    (stage) => receiver(stage).deliver('data/0', 0, 0, { qos: 2, properties: { subscriptionIdentifier: 9 } }),
  ],
  [
    'one of a subscription that does not match',
    'MQTT-3.3.4-4',
    (stage) => {
      const client = receiver(stage)
      client.subscribeWith('other', 1, { identifier: 9 })
      client.deliver('data/0', 0, 0, { qos: 2, properties: { subscriptionIdentifier: 9 } })
    },
  ],
  [
    'one of the two that are due missing',
    'MQTT-3.3.4-4',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribeWith('data/0', 1, { identifier: 3 })
      client.subscribeWith('data/#', 1, { identifier: 4 })
      stage.connected(0).publish('data/0', 0)
      client.deliver('data/0', 0, 0, { properties: { subscriptionIdentifier: 3 } })
    },
  ],
  [
    'a Message Expiry Interval above the published one',
    'MQTT-3.3.2-6',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribe('data/0')
      stage.connected(0, 5).publish('data/0', 0, { properties: { messageExpiryInterval: 60 } })
      client.deliver('data/0', 0, 0, { properties: { messageExpiryInterval: 61 } })
    },
  ],
  [
    'none where one was published',
    'MQTT-3.3.2-6',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribe('data/0')
      stage.connected(0, 5).publish('data/0', 0, { properties: { messageExpiryInterval: 60 } })
      client.deliver('data/0', 0, 0)
    },
  ],
  [
    'one where none was published',
    'MQTT-3.3.2-6',
    (stage) => receiver(stage).deliver('data/0', 0, 0, { qos: 2, properties: { messageExpiryInterval: 5 } }),
  ],
  [
    'a retained message without RETAIN to a subscription with Retain As Published',
    'MQTT-3.3.1-13',
    (stage) => {
      const client = stage.connected(1, 5)
      client.subscribeWith('data/0', 1, { retainAsPublished: true })
      stage.connected(0).publish('data/0', 0, { retain: true })
      client.deliver('data/0', 0, 0)
    },
  ],
  [
    'a retained message above the granted QoS',
    'MQTT-3.8.4-8',
    (stage) => {
      stage.connected(0).publish('data/0', 0, { qos: 2, retain: true })
      const client = stage.connected(1, 5)
      client.subscribe('data/0', 1)
      client.deliver('data/0', 0, 0, { qos: 2, retain: true })
    },
  ],
  ['CONNACK with Receive Maximum 0', 'MQTT-3.2.2.3.3', connackWith({ receiveMaximum: 0 })],
  ['CONNACK with Maximum Packet Size 0', 'MQTT-3.2.2.3.6', connackWith({ maximumPacketSize: 0 })],
  ['CONNACK with Maximum QoS 2', 'MQTT-3.2.2-9', connackWith({ maximumQoS: 2 })],
  ['response information that nobody asked for', 'MQTT-3.1.2-28', connackWith({ responseInformation: 'x' })],
  ['a client identifier for one that has one', 'MQTT-3.2.2-16', connackWith({ assignedClientIdentifier: 'x' })],
  ['an authentication method', 'MQTT-4.12.0-6', connackWith({ authenticationMethod: 'x' })],
  [
    'session present to a client of MQTT 3.1',
    'MQTT-3.2.2-1',
    (stage) => {
      stage.connected(0, 3).close()
      stage.connected(0, 3, { present: true })
    },
  ],
]

describe('wire-legal in the flows of QoS 2 and in properties', () => {
  test.each(legal)('lets pass: %s', (_name, play) => {
    expect(broken(play)).toEqual([])
  })

  test.each(plants)('catches %s [%s]', (_name, statement, play) => {
    expect(broken(play)).toEqual([statement])
  })
})
