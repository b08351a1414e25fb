import { describe, expect, test } from 'vitest'
import { encodePayload } from './payload.ts'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

function pair(): { stage: Stage; publisher: StageConnection; subscriber: StageConnection } {
  const stage = new Stage(clients(2))
  const publisher = stage.connected(0)
  const subscriber = stage.connected(1)
  subscriber.subscribe('data/0')
  publisher.publish('data/0', 0)
  return { stage, publisher, subscriber }
}

describe('no-phantom', () => {
  test('catches a message with one byte changed', () => {
    const { stage, subscriber } = pair()
    const payload = encodePayload(0, 0, 32)
    payload[20]! ^= 1
    subscriber.deliver('data/0', 0, 0, { payload })
    expect(stage.verdict('no-phantom')).toBe('violated')
  })

  test('catches a message that was cut to its header', () => {
    const { stage, subscriber } = pair()
    subscriber.deliver('data/0', 0, 0, { size: 10 })
    expect(stage.verdict('no-phantom')).toBe('violated')
  })

  test('catches a message that was published to another topic, or never', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('other/0', 1)
    subscriber.deliver('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 2)
    expect(stage.result('no-phantom').violationCount).toBe(2)
  })

  test('catches a message to a client that did not subscribe to it', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('other/0', 1)
    subscriber.deliver('other/0', 0, 1)
    const result = stage.result('no-phantom')
    expect(result.violations[0]!.signature).toBe('no-phantom: not subscribed')
    expect(result.violations[0]!.evidence.at(-1)!.text).toContain('in force may be: data/0')
  })

  test('catches a subscription that outlives its session', () => {
    const { stage, publisher, subscriber } = pair()
    subscriber.close()
    const again = stage.connected(1, 4, { cleanStart: true })
    publisher.publish('data/0', 1)
    again.deliver('data/0', 0, 1)
    expect(stage.verdict('no-phantom')).toBe('violated')
  })

  test('catches a message published after the UNSUBACK; one published before may still come', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('data/0', 1)
    subscriber.unsubscribe('data/0')
    subscriber.deliver('data/0', 0, 1)
    expect(stage.verdict('no-phantom')).toBe('held')
    publisher.publish('data/0', 2)
    subscriber.deliver('data/0', 0, 2)
    expect(stage.verdict('no-phantom')).toBe('violated')
  })

  test('a SUBSCRIBE without an answer may be in force, on the next connection too', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    publisher.publish('data/0', 0)
    const subscriber = stage.connected(1)
    subscriber.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: 'data/#', qos: 1 }] })
    subscriber.deliver('data/0', 0, 0)
    subscriber.close()
    stage.connected(1, 4, { present: true }).deliver('data/0', 0, 0, { dup: true })
    expect(stage.verdict('no-phantom')).toBe('held')
  })

  test('catches what the auditor reads back and nobody published', () => {
    const { stage } = pair()
    stage.checks.auditor.stored('data/0', 0, 0, true)
    expect(stage.verdict('no-phantom')).toBe('held')
    stage.checks.auditor.stored('data/0', 0, 7, true)
    stage.checks.auditor.stored('data/0', 0, 0, false)
    expect(stage.result('no-phantom').violationCount).toBe(2)
  })

  test('a will may be published from its CONNECT on, and be read back; a retained message comes with every SUBSCRIBE', () => {
    const stage = new Stage(clients(2))
    const subscriber = stage.connected(1)
    subscriber.subscribe('will/#')
    stage.connected(0, 4, { will: { sequence: 4, topic: 'will/client-0', retain: true } }).close()
    subscriber.deliver('will/client-0', 0, 4)
    for (const packetId of [7, 8]) {
      subscriber.subscribe('will/#')
      subscriber.deliver('will/client-0', 0, 4, { retain: true, packetId })
    }
    stage.checks.auditor.stored('will/client-0', 0, 4, true)
    expect(stage.result('no-phantom')).toMatchObject({ verdict: 'held', exercised: 4 })
  })

  test('a retained message to one without a subscription is a phantom', () => {
    const stage = new Stage(clients(2))
    stage.connected(0).publish('data/0', 0, { retain: true })
    stage.connected(1).deliver('data/0', 0, 0, { retain: true })
    expect(stage.verdict('no-phantom')).toBe('violated')
  })
})
