import { describe, expect, test } from 'vitest'
import { type Bench, message, setUp } from './client-bench.test-support.ts'
import type { FakeConnection } from './fake-host.ts'
import { clientProfiles } from './profiles.ts'

const answer = (connection: FakeConnection, cmd: 'suback' | 'unsuback', granted: number[]) =>
  connection.send({
    cmd,
    messageId: connection.ofType(cmd === 'suback' ? 'subscribe' : 'unsubscribe').at(-1)!.messageId as number,
    granted,
  })

function reconnect(bench: Bench, sessionPresent: boolean): FakeConnection {
  bench.host.last.die('reset')
  bench.host.advance(1000)
  return bench.accept({ sessionPresent })
}

describe('subscribing', () => {
  test('carries the options of MQTT 5, one subscription identifier a packet', () => {
    const { client, accept, told } = setUp()
    client.subscribe([
      { filter: 'a', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 1, subscriptionIdentifier: 8 },
      { filter: '$share/g/b', qos: 1 },
      { filter: 'c', qos: 0, retainHandling: 2, subscriptionIdentifier: 8 },
    ])
    const connection = accept()
    expect(connection.ofType('subscribe')).toMatchObject([
      {
        properties: { subscriptionIdentifier: 8 },
        subscriptions: [
          { topic: 'a', qos: 2, nl: true, rap: true, rh: 1 },
          { topic: 'c', qos: 0, nl: false, rap: false, rh: 2 },
        ],
      },
      { subscriptions: [{ topic: '$share/g/b', qos: 1, nl: false, rap: false, rh: 0 }] },
    ])
    expect(connection.ofType('subscribe')[1]!.properties).toBeUndefined()
    connection.send({ cmd: 'suback', messageId: 1, granted: [2, 0] })
    expect(told).not.toContain('ready')
    connection.send({ cmd: 'suback', messageId: 2, granted: [1] })
    expect(told).toContain('ready')
  })

  test('leaves them out before MQTT 5', () => {
    const { client, accept } = setUp({ version: 4 })
    client.subscribe([
      { filter: 'a', qos: 2, noLocal: true, retainHandling: 2, subscriptionIdentifier: 8 },
      { filter: 'b', qos: 1 },
    ])
    expect(accept().ofType('subscribe')).toMatchObject([
      {
        subscriptions: [
          { topic: 'a', qos: 2 },
          { topic: 'b', qos: 1 },
        ],
      },
    ])
  })

  test('to a filter in force asks the server again, and once only', () => {
    const bench = setUp()
    const { client } = bench
    client.subscribe([
      { filter: 'a', qos: 1 },
      { filter: 'b', qos: 1 },
    ])
    const connection = bench.accept()
    answer(connection, 'suback', [1, 1])
    client.subscribe([{ filter: 'a', qos: 1 }])
    expect(connection.ofType('subscribe')[1]).toMatchObject({ subscriptions: [{ topic: 'a' }] })
    answer(connection, 'suback', [1])
    client.publish(message('x'))
    expect(connection.ofType('subscribe')).toHaveLength(2)
    expect(bench.told.filter((text) => text === 'ready')).toHaveLength(1)
    expect(reconnect(bench, true).ofType('subscribe')).toEqual([])
    const third = reconnect(bench, false)
    expect(third.ofType('subscribe')).toMatchObject([{ subscriptions: [{ topic: 'a' }, { topic: 'b' }] }])
  })
})

describe('unsubscribing', () => {
  function subscribed(): Bench {
    const bench = setUp()
    bench.client.subscribe([
      { filter: 'a', qos: 1 },
      { filter: 'b', qos: 1 },
    ])
    answer(bench.accept(), 'suback', [1, 1])
    return bench
  }
  const filtersOf = (connection: FakeConnection) => connection.ofType('unsubscribe').map((packet) => packet.unsubscriptions)

  test('sends UNSUBSCRIBE, and the filter is not asked for again', () => {
    const bench = subscribed()
    const connection = bench.host.last
    bench.client.unsubscribe(['a', 'never/subscribed'])
    expect(filtersOf(connection)).toEqual([['a', 'never/subscribed']])
    answer(connection, 'unsuback', [0, 0x11])
    const second = reconnect(bench, false)
    expect(second.ofType('unsubscribe')).toEqual([])
    expect(second.ofType('subscribe')).toMatchObject([{ subscriptions: [{ topic: 'b' }] }])
  })

  test('unanswered, is repeated within the session', () => {
    const bench = subscribed()
    bench.client.unsubscribe(['a'])
    const second = reconnect(bench, true)
    expect(filtersOf(second)).toEqual([['a']])
    expect(bench.told.at(-1)).toBe('ready')
    answer(second, 'unsuback', [0])
    expect(reconnect(bench, true).seen).toHaveLength(1)
  })

  test('unanswered, is dropped where the session is gone: there is nothing to leave', () => {
    const bench = subscribed()
    bench.client.unsubscribe(['a'])
    const second = reconnect(bench, false)
    expect(second.ofType('unsubscribe')).toEqual([])
    expect(second.ofType('subscribe')).toMatchObject([{ subscriptions: [{ topic: 'b' }] }])
    answer(second, 'suback', [1])
    expect(reconnect(bench, true).seen).toHaveLength(1)
  })

  test('while offline, waits for the connection', () => {
    const bench = subscribed()
    bench.host.last.die('reset')
    bench.client.unsubscribe(['a'])
    bench.host.advance(1000)
    expect(filtersOf(bench.accept({ sessionPresent: true }))).toEqual([['a']])
  })

  test('over MQTT 3.1, which cannot say whether there is a session, is repeated unless sessions are clean', () => {
    for (const cleanStart of [false, true]) {
      const bench = setUp({ version: 3, cleanStart })
      bench.accept()
      bench.client.unsubscribe(['a'])
      expect(reconnect(bench, false).ofType('unsubscribe')).toHaveLength(cleanStart ? 0 : 1)
    }
  })

  test('and subscribing again before the answer keeps the new subscription', () => {
    const bench = subscribed()
    const connection = bench.host.last
    bench.client.unsubscribe(['a'])
    bench.client.subscribe([{ filter: 'a', qos: 2 }])
    expect(connection.seen.slice(-2).map(({ cmd }) => cmd)).toEqual(['unsubscribe', 'subscribe'])
    answer(connection, 'unsuback', [0])
    answer(connection, 'suback', [2])
    expect(reconnect(bench, true).seen).toHaveLength(1)
    expect(reconnect(bench, false).ofType('subscribe')).toMatchObject([
      {
        subscriptions: [
          { topic: 'a', qos: 2 },
          { topic: 'b', qos: 1 },
        ],
      },
    ])
  })

  test('unanswered for 3 s closes the connection', () => {
    const bench = subscribed()
    bench.client.unsubscribe(['a'])
    bench.host.advance(3000)
    expect(bench.told.at(-1)).toBe('closed: acknowledgement timeout')
  })

  test('refused is counted; an answer to nothing too', () => {
    const { host, client, counters } = subscribed()
    client.unsubscribe(['a'])
    host.last.send({ cmd: 'unsuback', messageId: 99, granted: [0] })
    answer(host.last, 'unsuback', [0x87])
    expect(counters.reasonCodes.get('unsuback 0x87')).toBe(1)
    expect(counters.unexpectedAcknowledgements).toBe(1)
    expect(client.state).toBe('connected')
  })

  test('waits for the end of a replay', () => {
    const bench = setUp({ profile: clientProfiles['mqtt.js'] })
    bench.accept()
    bench.client.publish(message('a'))
    const second = reconnect(bench, false)
    bench.client.unsubscribe(['f'])
    expect(filtersOf(second)).toEqual([])
    second.send({ cmd: 'puback', messageId: 1 })
    expect(filtersOf(second)).toEqual([['f']])
  })
})
