import { describe, expect, test } from 'vitest'
import { promiseIds } from './promise.ts'
import { clients, Stage } from './stage.test-support.ts'

describe('checks', () => {
  test('every promise has a verdict, in a fixed order', () => {
    expect([...new Stage(clients(1)).finish().keys()]).toEqual([...promiseIds])
  })

  test('only the promises asked for are checked', () => {
    const stage = new Stage(clients(1), { promises: ['wire-legal', 'no-crash'] })
    expect([...stage.finish().keys()]).toEqual(['wire-legal', 'no-crash'])
  })

  test('counts messages as the clients saw them', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    const subscriber = stage.connected(1)
    subscriber.subscribe('data/0')
    for (const sequence of [0, 1, 2]) publisher.publish('data/0', sequence)
    publisher.puback(0)
    publisher.puback(1)
    subscriber.deliver('data/0', 0, 0)
    subscriber.deliver('data/0', 0, 0, { dup: true })
    subscriber.deliver('data/0', 0, 1)
    expect(stage.checks.measures()).toMatchObject({
      messagesPublished: 3,
      messagesPublishedAtMostOnce: 0,
      messagesAcknowledged: 2,
      messagesDelivered: 2,
      duplicates: 1,
      lost: 0,
      reconnects: 0,
    })
    expect(stage.checks.acknowledgedTopics()).toEqual(['data/0'])
  })

  test('a violation says which promise, when, in words and in order, and its signature names no client', () => {
    const stage = new Stage(clients(2))
    const client = stage.connected(1)
    stage.wait(1234)
    client.puback(4)
    const { violations } = stage.result('wire-legal')
    expect(violations[0]).toMatchObject({ promise: 'wire-legal', atUs: 1_234_000 })
    expect(violations[0]!.signature).not.toMatch(/client-1|1234|PUBACK 5/)
    const times = violations[0]!.evidence.map((each) => each.timeUs)
    expect(times).toEqual([...times].sort((a, b) => a - b))
  })

  test('a service that is wrong very often costs twenty sentences', () => {
    const stage = new Stage(clients(1))
    const client = stage.connected(0)
    for (let n = 0; n < 5000; n++) client.puback(4)
    const result = stage.result('wire-legal')
    expect(result.violationCount).toBe(5000)
    expect(result.violations).toHaveLength(20)
  })
})
