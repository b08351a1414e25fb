import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

function pair(): { stage: Stage; publisher: StageConnection; subscriber: StageConnection } {
  const stage = new Stage(clients(2))
  const publisher = stage.connected(0)
  const subscriber = stage.connected(1)
  subscriber.subscribe('data/0')
  return { stage, publisher, subscriber }
}

function send(publisher: StageConnection, ...sequences: readonly number[]): void {
  for (const sequence of sequences) {
    publisher.publish('data/0', sequence)
    publisher.puback(sequence)
  }
}

describe('acked-delivered', () => {
  test('catches an acknowledged message that never comes, though later ones do', () => {
    const { stage, publisher, subscriber } = pair()
    send(publisher, 0, 1, 2, 3)
    for (const sequence of [0, 1, 3]) subscriber.deliver('data/0', 0, sequence)
    stage.wait(20_000)
    const result = stage.result('acked-delivered')
    expect(result.verdict).toBe('violated')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('(sequence 2) never reached client-1')
  })

  test('nothing is held against a connection that may be dead until its client had the time to notice; then it is', () => {
    const verdictAfter = (ms: number, isHeardOf: boolean) => {
      const stage = new Stage(clients(2, { detectionIdleMs: 30_000 }))
      const publisher = stage.connected(0)
      const subscriber = stage.connected(1)
      subscriber.subscribe('data/0')
      stage.wait(1000)
      stage.apply({ kind: 'restart', machines: ['proxy-1'] })
      stage.checks.onAct('healed', stage.nowUs)
      stage.wait(1000)
      if (isHeardOf) subscriber.receive({ cmd: 'pingresp' })
      send(publisher, 0)
      stage.wait(ms)
      return stage.verdict('acked-delivered')
    }
    expect(verdictAfter(20_000, false)).toBe('not-exercised')
    expect(verdictAfter(30_000, false)).toBe('violated')
    expect(verdictAfter(20_000, true)).toBe('violated')
  })

  test('holds when all came, in whatever state of the connection and however often', () => {
    const { stage, publisher, subscriber } = pair()
    send(publisher, 0, 1)
    subscriber.deliver('data/0', 0, 0, { acknowledge: false })
    subscriber.close()
    const again = stage.connected(1, 4, { present: true })
    again.deliver('data/0', 0, 0, { dup: true })
    again.deliver('data/0', 0, 1)
    stage.wait(20_000)
    expect(stage.verdict('acked-delivered')).toBe('held')
  })

  test('nothing is due that was first sent before the SUBACK was received', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1)
    send(publisher, 0)
    subscriber.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'data/0', qos: 1 }] })
    send(publisher, 1)
    subscriber.receive({ cmd: 'suback', messageId: 9, granted: [1] })
    send(publisher, 2)
    subscriber.deliver('data/0', 0, 2)
    stage.wait(20_000)
    expect(stage.verdict('acked-delivered')).toBe('held')
  })

  test('nothing is due after UNSUBSCRIBE was sent, at QoS 0, or without an acknowledgement', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('data/0', 0, { qos: 0 })
    publisher.publish('data/0', 1)
    send(publisher, 2)
    subscriber.deliver('data/0', 0, 2)
    send(publisher, 3)
    subscriber.send({ cmd: 'unsubscribe', messageId: 8, unsubscriptions: ['data/0'] })
    stage.wait(20_000)
    expect(stage.result('acked-delivered').violationCount).toBe(0)
  })

  test('a session that ends with its connection is owed nothing afterwards', () => {
    const stage = new Stage(clients(2, { cleanStart: true }))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1, 4, { cleanStart: true })
    subscriber.subscribe('data/0')
    send(publisher, 0)
    subscriber.close()
    const again = stage.connected(1, 4, { cleanStart: true })
    again.subscribe('data/0')
    send(publisher, 1)
    again.deliver('data/0', 0, 1)
    stage.wait(20_000)
    expect(stage.verdict('acked-delivered')).toBe('held')
  })

  test('catches a persistent session that is dropped with messages still owed', () => {
    const { stage, publisher, subscriber } = pair()
    subscriber.close()
    send(publisher, 0, 1)
    stage.connected(1, 4, { present: false })
    stage.wait(20_000)
    const results = stage.finish()
    expect(results.get('acked-delivered')).toMatchObject({ verdict: 'violated', violationCount: 2 })
    expect(results.get('session-kept')!.verdict).toBe('violated')
  })

  test('sees messages through wildcards, and not through others', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1)
    subscriber.subscribe('data/+')
    publisher.publish('other/0', 0)
    publisher.puback(0)
    send(publisher, 1, 2)
    subscriber.deliver('data/0', 0, 1)
    stage.wait(20_000)
    const result = stage.result('acked-delivered')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('(sequence 2)')
  })

  test('a message published again after the SUBACK is due, though its first publication was not', () => {
    const stage = new Stage(clients(2))
    const first = stage.connected(0)
    first.publish('data/0', 0)
    send(first, 1)
    const subscriber = stage.connected(1)
    subscriber.subscribe('data/0')
    first.close()
    const second = stage.connected(0, 4, { cleanStart: true })
    send(second, 0)
    stage.wait(20_000)
    const result = stage.result('acked-delivered')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('(sequence 0)')
  })

  test('does not judge what was acknowledged just before the end', () => {
    const { stage, publisher, subscriber } = pair()
    send(publisher, 0)
    subscriber.deliver('data/0', 0, 0)
    stage.wait(20_000)
    send(publisher, 1)
    stage.wait(100)
    expect(stage.verdict('acked-delivered')).toBe('held')
  })

  test('a retained copy is no delivery of the message', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('data/0', 0, { retain: true })
    publisher.puback(0)
    subscriber.deliver('data/0', 0, 0, { retain: true })
    stage.wait(20_000)
    expect(stage.result('acked-delivered').violationCount).toBe(1)
  })

  test('a message that may have expired, or may be too large, is not due [MQTT-3.3.2-5] [MQTT-3.1.2-25]', () => {
    for (const expirySeconds of [10, 1000]) {
      const stage = new Stage(clients(2))
      stage.connected(1, 5).subscribe('data/0')
      const publisher = stage.connected(0, 5)
      publisher.publish('data/0', 0, { properties: { messageExpiryInterval: expirySeconds } })
      publisher.puback(0)
      stage.wait(20_000)
      expect(stage.result('acked-delivered').violationCount).toBe(expirySeconds === 10 ? 0 : 1)
    }
    const stage = new Stage(clients(2))
    stage.connected(1, 5, { properties: { maximumPacketSize: 64 } }).subscribe('data/0')
    const publisher = stage.connected(0, 5)
    publisher.publish('data/0', 0, { size: 100 })
    publisher.puback(0)
    stage.wait(20_000)
    expect(stage.result('acked-delivered').violationCount).toBe(0)
    expect(stage.result('progress').violationCount).toBe(0)
  })

  test('a PUBREC for an identifier that is still that of another message says nothing of this one', () => {
    const { stage, publisher } = pair()
    publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
    publisher.close()
    const forgetful = stage.connected(0, 4, { present: true })
    forgetful.publish('data/0', 1, { qos: 2, packetId: 1 })
    forgetful.pubrec(1)
    stage.wait(20_000)
    expect(stage.result('acked-delivered').violationCount).toBe(0)
    expect(stage.checks.measures().messagesAcknowledged).toBe(0)
  })
})
