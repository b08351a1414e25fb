import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

function pair(version: 4 | 5 = 5): { stage: Stage; publisher: StageConnection; subscriber: StageConnection } {
  const stage = new Stage(clients(2), { promises: ['wire-legal'] })
  return { stage, publisher: stage.connected(0), subscriber: stage.connected(1, version) }
}

const broken = (stage: Stage) => stage.result('wire-legal').violations.map(({ signature }) => /MQTT-[\d.-]+/.exec(signature)?.[0])

describe('the QoS of a delivery', () => {
  test('is the lesser of that published and that granted [MQTT-3.8.4-8]', () => {
    for (const version of [4, 5] as const) {
      for (const published of [0, 1, 2]) {
        for (const granted of [0, 1, 2]) {
          for (const qos of [0, 1, 2]) {
            const { stage, publisher, subscriber } = pair(version)
            subscriber.subscribe('data/0', 2, 9, granted)
            publisher.publish('data/0', 0, { qos: published })
            subscriber.deliver('data/0', 0, 0, { qos })
            expect(broken(stage)).toEqual(qos === Math.min(published, granted) ? [] : ['MQTT-3.8.4-8'])
          }
        }
      }
    }
  })

  test('goes by the greatest grant of overlapping subscriptions [MQTT-3.3.4-2]', () => {
    for (const qos of [1, 2]) {
      const { stage, publisher, subscriber } = pair()
      subscriber.subscribe('data/0', 1)
      subscriber.subscribe('data/+', 2)
      publisher.publish('data/0', 0, { qos: 2 })
      subscriber.deliver('data/0', 0, 0, { qos })
      expect(broken(stage)).toEqual(qos === 2 ? [] : ['MQTT-3.3.4-2'])
    }
  })

  test('goes by the last grant, which may be less than the one before', () => {
    for (const qos of [1, 2]) {
      const { stage, publisher, subscriber } = pair()
      subscriber.subscribe('data/0', 2)
      subscriber.subscribe('data/0', 1)
      publisher.publish('data/0', 0, { qos: 2 })
      subscriber.deliver('data/0', 0, 0, { qos })
      expect(broken(stage)).toEqual(qos === 1 ? [] : ['MQTT-3.8.4-8'])
    }
  })

  test('may be either while a subscription changes, and of what was published before', () => {
    for (const qos of [1, 2]) {
      const { stage, publisher, subscriber } = pair()
      subscriber.subscribe('data/0', 2)
      publisher.publish('data/0', 0, { qos: 2 })
      subscriber.subscribeWith('data/0', 1, { unanswered: true })
      publisher.publish('data/0', 1, { qos: 2 })
      subscriber.receive({ cmd: 'suback', messageId: 60_000, granted: [1] })
      for (const sequence of [0, 1]) subscriber.deliver('data/0', 0, sequence, { qos })
      expect(broken(stage)).toEqual([])
    }
  })

  test('may be either where a SUBSCRIBE on a connection without CONNACK may be in force', () => {
    const { stage, publisher, subscriber } = pair()
    subscriber.subscribe('data/0', 1)
    subscriber.close()
    const early = stage.connection(1, 5)
    early.connect({ unanswered: true })
    early.subscribeWith('data/+', 2, { unanswered: true })
    early.close()
    const again = stage.connected(1, 5, { present: true })
    publisher.publish('data/0', 0, { qos: 2 })
    again.deliver('data/0', 0, 0, { qos: 1 })
    expect(broken(stage)).toEqual([])
  })

  test('is left alone where a shared subscription matches too', () => {
    const { stage, publisher, subscriber } = pair()
    subscriber.subscribe('data/0', 2)
    subscriber.subscribe('$share/g/data/#', 1)
    publisher.publish('data/0', 0, { qos: 2 })
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 1 })
    subscriber.deliver('data/0', 0, 0, { qos: 1, packetId: 2 })
    expect(broken(stage)).toEqual([])
  })
})
