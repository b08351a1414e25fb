import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const PROMISE = 'qos2-exactly-once'

function stage(): { stage: Stage; publisher: StageConnection; subscriber: StageConnection } {
  const made = new Stage(clients(2), { promises: [PROMISE] })
  const publisher = made.connected(0, 5)
  const subscriber = made.connected(1, 5)
  subscriber.subscribe('data/0', 2)
  return { stage: made, publisher, subscriber }
}

describe('qos2-exactly-once', () => {
  test('mere traffic does not put it to the test', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.completeDelivery(7)
    expect(made.verdict(PROMISE)).toBe('not-exercised')
  })

  test('repetitions of what comes at QoS 1 alone do not put it to the test', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
    publisher.close()
    made.connected(0, 5, { present: true }).publish('data/0', 0, { qos: 2, packetId: 1, dup: true })
    subscriber.deliver('data/0', 0, 0)
    made.apply({ kind: 'crash', machines: ['broker-3'] })
    expect(made.verdict(PROMISE)).toBe('not-exercised')
  })

  test('a publish that is repeated and delivered once holds it', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
    publisher.close()
    const again = made.connected(0, 5, { present: true })
    again.publish('data/0', 0, { qos: 2, packetId: 1, dup: true })
    again.pubrec(1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.completeDelivery(7)
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('a publish that is repeated and delivered twice violates it [MQTT-4.3.3-10]', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
    publisher.close()
    made.connected(0, 5, { present: true }).publish('data/0', 0, { qos: 2, packetId: 1, dup: true })
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 8 })
    const result = made.result(PROMISE)
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('once more')
  })

  test('the same packet identifier again before PUBREL is the same delivery [MQTT-4.3.3-10]', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.send({ cmd: 'pubrec', messageId: 7 })
    subscriber.close()
    made.connected(1, 5, { present: true }).deliver('data/0', 0, 0, { qos: 2, packetId: 7, dup: true })
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('the same packet identifier after PUBREL is a second delivery [MQTT-4.3.3-12]', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.send({ cmd: 'pubrec', messageId: 7 })
    subscriber.receive({ cmd: 'pubrel', messageId: 7 })
    subscriber.close()
    made.connected(1, 5, { present: true }).deliver('data/0', 0, 0, { qos: 2, packetId: 7, dup: true })
    expect(made.verdict(PROMISE)).toBe('violated')
  })

  test('the same packet identifier after PUBCOMP is a second delivery [MQTT-4.3.3-12]', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.completeDelivery(7)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    expect(made.verdict(PROMISE)).toBe('violated')
  })

  test('a PUBREL that is repeated on another connection puts it to the test, from either side', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
    publisher.pubrec(1)
    publisher.pubrel(1)
    publisher.close()
    made.connected(0, 5, { present: true }).pubrel(1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.send({ cmd: 'pubrec', messageId: 7 })
    subscriber.close()
    made.connected(1, 5, { present: true }).receive({ cmd: 'pubrel', messageId: 7 })
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 2 })
  })

  test('so does a fault while a flow is open', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
    made.apply({ kind: 'crash', machines: ['broker-1'] })
    publisher.pubrec(1)
    publisher.pubrel(1)
    publisher.pubcomp(1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    made.apply({ kind: 'crash', machines: ['broker-2'] })
    subscriber.completeDelivery(7)
    made.apply({ kind: 'crash', machines: ['broker-3'] })
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 2 })
  })

  test('a message published twice, by a client whose session was gone, may arrive twice and not thrice', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
    publisher.close()
    made.connected(0, 5, { present: false }).publish('data/0', 0, { qos: 2, packetId: 1 })
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 8 })
    expect(made.result(PROMISE).violationCount).toBe(0)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 9 })
    expect(made.result(PROMISE).violationCount).toBe(1)
  })

  test('at an effective QoS of 1 a message may come twice', () => {
    const made = new Stage(clients(2), { promises: [PROMISE] })
    const publisher = made.connected(0, 5)
    const subscriber = made.connected(1, 5)
    subscriber.subscribe('data/0', 1)
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 1, packetId: 7 })
    subscriber.deliver('data/0', 0, 0, { qos: 1, packetId: 8 })
    expect(made.verdict(PROMISE)).toBe('not-exercised')
  })

  test('a new session of the subscriber may get it anew', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.close()
    const again = made.connected(1, 5, { present: false })
    again.subscribe('data/0', 2)
    again.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('what a subscriber had before it lost its store is not held against the service; what it got later is', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    made.checks.world.onPowerLost!('client-machine-1', [], made.nowUs)
    subscriber.close('self')
    const again = made.connected(1, 5, { present: true })
    again.deliver('data/0', 0, 0, { qos: 2, packetId: 8 })
    expect(made.result(PROMISE).violationCount).toBe(0)
    publisher.publishExactlyOnce('data/0', 1, 2)
    again.deliver('data/0', 0, 1, { qos: 2, packetId: 9 })
    again.deliver('data/0', 0, 1, { qos: 2, packetId: 10 })
    expect(made.result(PROMISE).violationCount).toBe(1)
  })

  test('retained copies are not counted; nor is the second copy of a shared subscription beside another', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publishExactlyOnce('data/0', 0, 1, true)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.subscribe('data/0', 2)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 8, retain: true })
    subscriber.subscribe('$share/g/data/0', 2)
    publisher.publishExactlyOnce('data/0', 1, 2)
    subscriber.deliver('data/0', 0, 1, { qos: 2, packetId: 9 })
    subscriber.deliver('data/0', 0, 1, { qos: 2, packetId: 10 })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('overlapping filters of one session are one copy', () => {
    const { stage: made, publisher, subscriber } = stage()
    subscriber.subscribe('data/#', 2)
    publisher.publishExactlyOnce('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 8 })
    expect(made.verdict(PROMISE)).toBe('violated')
  })
})
