import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

describe('qos0-at-most-once', () => {
  test('catches a QoS 0 message that comes twice, over a new connection too', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1)
    subscriber.subscribe('data/0')
    publisher.publish('data/0', 0, { qos: 0 })
    subscriber.deliver('data/0', 0, 0, { qos: 0 })
    subscriber.close()
    stage.connected(1, 4, { present: true }).deliver('data/0', 0, 0, { qos: 0 })
    const result = stage.result('qos0-at-most-once')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.signature).toBe('qos0-at-most-once: delivered twice')
  })

  test('a payload that its publisher sent twice may come twice, and a QoS 0 message may be lost', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1)
    subscriber.subscribe('data/0')
    for (const sequence of [0, 1, 1]) publisher.publish('data/0', sequence, { qos: 0 })
    subscriber.deliver('data/0', 0, 1, { qos: 0 })
    subscriber.deliver('data/0', 0, 1, { qos: 0 })
    expect(stage.verdict('qos0-at-most-once')).toBe('held')
  })

  test('a QoS 1 message may come twice', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1)
    subscriber.subscribe('data/0')
    publisher.publish('data/0', 0)
    subscriber.deliver('data/0', 0, 0)
    subscriber.deliver('data/0', 0, 0, { dup: true })
    expect(stage.verdict('qos0-at-most-once')).toBe('not-exercised')
    expect(stage.checks.measures().duplicates).toBe(1)
  })

  test('a retained copy beside the live one is none too many', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1)
    subscriber.subscribe('data/0', 0)
    publisher.publish('data/0', 0, { qos: 0, retain: true })
    subscriber.deliver('data/0', 0, 0, { qos: 0 })
    subscriber.subscribe('data/0', 0)
    subscriber.deliver('data/0', 0, 0, { qos: 0, retain: true })
    expect(stage.verdict('qos0-at-most-once')).toBe('held')
  })
})
