import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

function pair(): { stage: Stage; publisher: StageConnection; subscriber: StageConnection } {
  const stage = new Stage(clients(2))
  const publisher = stage.connected(0)
  const subscriber = stage.connected(1)
  subscriber.subscribe('data/0')
  return { stage, publisher, subscriber }
}

describe('publisher-order', () => {
  test('catches two messages of a publisher that change places', () => {
    const { stage, publisher, subscriber } = pair()
    for (const sequence of [0, 1, 2]) publisher.publish('data/0', sequence)
    for (const sequence of [0, 2, 1]) subscriber.deliver('data/0', 0, sequence)
    const result = stage.result('publisher-order')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('message 1 of publisher 0')
  })

  test('messages sent again after they came, and messages at another QoS, are in order', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('data/0', 0)
    publisher.publish('data/0', 1, { qos: 0 })
    publisher.publish('data/0', 2)
    subscriber.deliver('data/0', 0, 0, { acknowledge: false })
    subscriber.deliver('data/0', 0, 2, { acknowledge: false })
    subscriber.deliver('data/0', 0, 1, { qos: 0 })
    subscriber.close()
    const again = stage.connected(1, 4, { present: true })
    again.deliver('data/0', 0, 0, { dup: true })
    again.deliver('data/0', 0, 2, { dup: true })
    expect(stage.verdict('publisher-order')).toBe('held')
  })

  test('a gap may be filled later by what a new incarnation of the publisher published again', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('data/0', 0)
    publisher.publish('data/0', 1)
    subscriber.deliver('data/0', 0, 1)
    publisher.close()
    const again = stage.connected(0, 4, { present: false, cleanStart: true })
    again.publish('data/0', 0)
    again.publish('data/0', 2)
    subscriber.deliver('data/0', 0, 0)
    subscriber.deliver('data/0', 0, 2)
    expect(stage.verdict('publisher-order')).toBe('held')
  })

  test('what was published again keeps its order with what the same incarnation published after it', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('data/0', 0)
    publisher.close()
    const again = stage.connected(0, 4, { present: false, cleanStart: true })
    again.publish('data/0', 0)
    again.publish('data/0', 1)
    subscriber.deliver('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0)
    expect(stage.verdict('publisher-order')).toBe('violated')
  })

  test('a publisher that resumes its session goes on in its old order', () => {
    const { stage, publisher, subscriber } = pair()
    publisher.publish('data/0', 0)
    publisher.close()
    const again = stage.connected(0, 4, { present: true })
    again.publish('data/0', 0, { dup: true })
    again.publish('data/0', 1)
    subscriber.deliver('data/0', 0, 1)
    subscriber.deliver('data/0', 0, 0)
    expect(stage.verdict('publisher-order')).toBe('violated')
  })

  describe('a message sent before the SUBACK and sent again after it', () => {
    function resentLate(): { stage: Stage; publisher: StageConnection; subscriber: StageConnection } {
      const stage = new Stage(clients(2))
      const publisher = stage.connected(0)
      publisher.publish('data/0', 0)
      const subscriber = stage.connected(1)
      subscriber.subscribe('data/0')
      publisher.publish('data/0', 1)
      return { stage, publisher, subscriber }
    }

    test('may come after later ones, which the service received before it on the new connection', () => {
      const { stage, publisher, subscriber } = resentLate()
      subscriber.deliver('data/0', 0, 1)
      publisher.close()
      const again = stage.connected(0, 4, { present: true })
      again.publish('data/0', 0, { dup: true })
      again.publish('data/0', 1, { dup: true })
      subscriber.deliver('data/0', 0, 0)
      subscriber.deliver('data/0', 0, 1, { dup: true })
      expect(stage.verdict('publisher-order')).toBe('held')
    })

    test('may do so on the same connection, as MQTT 3.1 allows', () => {
      const { stage, publisher, subscriber } = resentLate()
      publisher.publish('data/0', 0, { dup: true })
      subscriber.deliver('data/0', 0, 1)
      subscriber.deliver('data/0', 0, 0)
      expect(stage.verdict('publisher-order')).toBe('held')
    })

    test('keeps its order with what was first sent after it was sent again', () => {
      const { stage, publisher, subscriber } = resentLate()
      publisher.close()
      const again = stage.connected(0, 4, { present: true })
      again.publish('data/0', 0, { dup: true })
      again.publish('data/0', 1, { dup: true })
      again.publish('data/0', 2)
      subscriber.deliver('data/0', 0, 2)
      subscriber.deliver('data/0', 0, 0)
      expect(stage.verdict('publisher-order')).toBe('violated')
    })

    test('is out of order where it was not sent again, and so is one that was due all along', () => {
      const once = resentLate()
      once.subscriber.deliver('data/0', 0, 1)
      once.subscriber.deliver('data/0', 0, 0)
      expect(once.stage.verdict('publisher-order')).toBe('violated')
      const due = resentLate()
      due.publisher.publish('data/0', 2)
      due.publisher.publish('data/0', 1, { dup: true })
      due.subscriber.deliver('data/0', 0, 2)
      due.subscriber.deliver('data/0', 0, 1)
      expect(due.stage.verdict('publisher-order')).toBe('violated')
    })
  })

  test('a message with an expiry may come after later ones once it was sent again: its first copy may have expired', () => {
    for (const [expiry, resent] of [
      [true, true],
      [true, false],
      [false, true],
    ]) {
      const options = expiry ? { properties: { messageExpiryInterval: 2 } } : {}
      const stage = new Stage(clients(2))
      const publisher = stage.connected(0, 5)
      const subscriber = stage.connected(1, 5)
      subscriber.subscribe('data/0')
      publisher.publish('data/0', 0, options)
      publisher.publish('data/0', 1, options)
      subscriber.deliver('data/0', 0, 1)
      publisher.close()
      const again = stage.connected(0, 5, { present: true })
      if (resent) again.publish('data/0', 0, { ...options, dup: true })
      subscriber.deliver('data/0', 0, 0)
      expect([expiry, resent, stage.verdict('publisher-order')]).toEqual([expiry, resent, expiry && resent ? 'held' : 'violated'])
    }
  })

  test('leaves out retained copies, and sessions with a shared subscription', () => {
    const stage = new Stage(clients(3))
    const publisher = stage.connected(0)
    const reader = stage.connected(1)
    const member = stage.connected(2)
    member.subscribe('$share/g/data/0')
    reader.subscribe('data/0')
    for (const sequence of [0, 1]) publisher.publish('data/0', sequence, { retain: true })
    reader.deliver('data/0', 0, 1, { packetId: 9 })
    reader.deliver('data/0', 0, 0, { retain: true })
    member.deliver('data/0', 0, 1)
    member.deliver('data/0', 0, 0)
    expect(stage.result('publisher-order').violationCount).toBe(0)
  })
})
