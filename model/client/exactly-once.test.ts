import { describe, expect, test } from 'vitest'
import { acknowledge, type Bench, ids, message, setUp, texts } from './client-bench.test-support.ts'
import type { FakeConnection } from './fake-host.ts'
import { clientProfiles } from './profiles.ts'

const idsOf = (connection: FakeConnection, cmd: string) => connection.ofType(cmd).map((packet) => packet.messageId as number)
const pubrec = (connection: FakeConnection, messageId: number, reasonCode = 0) => connection.send({ cmd: 'pubrec', messageId, reasonCode })
const pubcomp = (connection: FakeConnection, messageId: number, reasonCode = 0) =>
  connection.send({ cmd: 'pubcomp', messageId, reasonCode })
const pubrel = (connection: FakeConnection, messageId: number) => connection.send({ cmd: 'pubrel', messageId, reasonCode: 0 })
const publish = (connection: FakeConnection, messageId: number, payload: string, dup = false) =>
  connection.send({ cmd: 'publish', topic: 't', payload, qos: 2, messageId, dup, retain: false })
const codes = (connection: FakeConnection, cmd: string) => connection.ofType(cmd).map((packet) => packet.reasonCode ?? 0)

function reconnect(bench: Bench, sessionPresent: boolean, properties?: object): FakeConnection {
  bench.host.last.die('reset')
  bench.host.advance(1000)
  return bench.accept({ sessionPresent, ...(properties === undefined ? {} : { properties }) })
}

describe('QoS 2 out', () => {
  test('goes by PUBLISH, PUBREC, PUBREL and PUBCOMP, and the application is told at PUBREC [MQTT-4.3.3-2] [MQTT-4.3.3-4]', () => {
    const { accept, client, told, counters } = setUp()
    const connection = accept()
    client.publish(message('a', 2), 7)
    expect(connection.ofType('publish')).toMatchObject([{ qos: 2, dup: false, messageId: 1 }])
    expect(told).not.toContain('published 7 0')
    pubrec(connection, 1)
    expect(told.at(-1)).toBe('published 7 0')
    expect(idsOf(connection, 'pubrel')).toEqual([1])
    expect(client.unacknowledged).toBe(1)
    pubcomp(connection, 1)
    expect(client.unacknowledged).toBe(0)
    expect(told.filter((text) => text.startsWith('published'))).toHaveLength(1)
    expect(counters).toMatchObject({ sent: 1, resent: 0, acknowledged: 1, unexpectedAcknowledgements: 0 })
  })

  test('ends with a PUBREC of 0x80 or more, without PUBREL [MQTT-4.4.0-2]', () => {
    const bench = setUp()
    const connection = bench.accept()
    bench.client.publish(message('a', 2), 7)
    pubrec(connection, 1, 0x97)
    expect(bench.told.at(-1)).toBe('published 7 151')
    expect(connection.ofType('pubrel')).toEqual([])
    expect(bench.client.unacknowledged).toBe(0)
    expect(bench.counters).toMatchObject({ refused: 1, acknowledged: 0 })
    expect(bench.counters.reasonCodes.get('pubrec 0x97')).toBe(1)
    expect(reconnect(bench, true).seen).toHaveLength(1)
  })

  test('ends with a PUBCOMP of 0x92 too', () => {
    const { accept, client, counters, told } = setUp()
    const connection = accept()
    client.publish(message('a', 2), 7)
    pubrec(connection, 1)
    pubcomp(connection, 1, 0x92)
    expect(client.unacknowledged).toBe(0)
    expect(counters.reasonCodes.get('pubcomp 0x92')).toBe(1)
    expect(told.filter((text) => text.startsWith('published'))).toEqual(['published 7 0'])
  })

  test('is published again, with DUP and its packet id, where the connection was lost before PUBREC [MQTT-4.4.0-1] [MQTT-4.3.3-3]', () => {
    const bench = setUp()
    bench.accept()
    bench.client.publish(message('a', 2))
    const second = reconnect(bench, true)
    expect(second.ofType('publish')).toMatchObject([{ qos: 2, dup: true, messageId: 1 }])
    expect(bench.counters).toMatchObject({ sent: 1, resent: 1 })
    pubrec(second, 1)
    pubcomp(second, 1)
    expect(bench.client.unacknowledged).toBe(0)
  })

  test('is released again, and not published, where it was lost before PUBCOMP [MQTT-4.4.0-1] [MQTT-4.3.3-6]', () => {
    const bench = setUp()
    const first = bench.accept()
    bench.client.publish(message('a', 2))
    pubrec(first, 1)
    for (let round = 0; round < 2; round++) {
      const next = reconnect(bench, true)
      expect(next.ofType('publish')).toEqual([])
      expect(idsOf(next, 'pubrel')).toEqual([1])
    }
    pubcomp(bench.host.last, 1)
    expect(reconnect(bench, true).seen).toHaveLength(1)
    expect(bench.told.filter((text) => text.startsWith('published'))).toHaveLength(1)
  })

  test('after a reconnect, PUBRELs go in the order of the PUBRECs, then PUBLISHes in theirs [MQTT-4.6.0-1] [MQTT-4.6.0-4]', () => {
    const bench = setUp()
    const first = bench.accept()
    for (const text of ['a', 'b', 'c', 'd', 'e']) bench.client.publish(message(text, text === 'b' ? 1 : 2))
    pubrec(first, 4)
    pubrec(first, 3)
    expect(idsOf(first, 'pubrel')).toEqual([4, 3])
    const second = reconnect(bench, true)
    expect(second.seen.slice(1).map(({ cmd, messageId }) => `${cmd} ${messageId}`)).toEqual([
      'pubrel 4',
      'pubrel 3',
      'publish 1',
      'publish 2',
      'publish 5',
    ])
    pubcomp(second, 3)
    pubrec(second, 5)
    pubrec(second, 1)
    expect(idsOf(reconnect(bench, true), 'pubrel')).toEqual([4, 5, 1])
  })

  test('PUBRELs do not wait for the window, PUBLISHes behind them do [MQTT-3.3.4-8]', () => {
    const bench = setUp()
    const first = bench.accept()
    for (const text of ['a', 'b', 'c']) bench.client.publish(message(text, 2))
    pubrec(first, 1)
    pubrec(first, 2)
    const second = reconnect(bench, true, { receiveMaximum: 1 })
    expect(idsOf(second, 'pubrel')).toEqual([1, 2])
    expect(texts(second)).toEqual([])
    pubcomp(second, 2)
    expect(texts(second)).toEqual([])
    pubcomp(second, 1)
    expect(texts(second)).toEqual(['c'])
  })

  test('counts for the Receive Maximum until PUBCOMP [MQTT-3.3.4-7] [MQTT-4.9.0-2]', () => {
    const { accept, client } = setUp()
    const connection = accept({ properties: { receiveMaximum: 1 } })
    client.publish(message('a', 2))
    client.publish(message('b', 1))
    client.publish(message('c', 2))
    pubrec(connection, 1)
    expect(texts(connection)).toEqual(['a'])
    pubcomp(connection, 1)
    expect(texts(connection)).toEqual(['a', 'b'])
    acknowledge(connection, 2)
    expect(texts(connection)).toEqual(['a', 'b', 'c'])
    pubrec(connection, 3, 0x80)
    client.publish(message('d', 2))
    expect(texts(connection)).toEqual(['a', 'b', 'c', 'd'])
  })

  test('is not sent to a server with a lower Maximum QoS [MQTT-3.2.2-11]', () => {
    const { accept, client, told } = setUp()
    const connection = accept({ properties: { maximumQoS: 1 } })
    client.publish(message('two', 2), 2)
    client.publish(message('one', 1), 1)
    expect(texts(connection)).toEqual(['one'])
    expect(told).toContain('published 2 155')
  })

  test.each(['PUBREC', 'PUBCOMP'])('closes the connection when %s stays away for 3 s', (missing) => {
    const { host, accept, client, told } = setUp()
    const connection = accept()
    client.publish(message('a', 2))
    host.advance(2000)
    if (missing === 'PUBCOMP') {
      pubrec(connection, 1)
      host.advance(2000)
    }
    host.advance(999)
    expect(connection.closedBy).toBeUndefined()
    host.advance(1)
    expect(connection.closedBy).toBe('reset')
    expect(told.at(-1)).toBe('closed: acknowledgement timeout')
  })

  test('is not sent again while the connection lives, however long an answer takes [MQTT-4.4.0-1]', () => {
    const { host, accept, client } = setUp({ profile: clientProfiles['mqtt.js'], version: 5 })
    const connection = accept()
    client.publish(message('a', 2))
    client.publish(message('b', 2))
    pubrec(connection, 2)
    for (let minute = 0; minute < 10; minute++) {
      host.advance(60_000)
      connection.send({ cmd: 'pingresp' })
    }
    expect(texts(connection)).toEqual(['a', 'b'])
    expect(idsOf(connection, 'pubrel')).toEqual([2])
    expect(client.state).toBe('connected')
  })

  test('an id is not used again before PUBCOMP [MQTT-2.2.1-3]', () => {
    const { accept, client } = setUp()
    const connection = accept()
    client.publish(message('stays', 2))
    pubrec(connection, 1)
    for (let count = 0; count < 65_600; count++) {
      client.publish(message('x', 1))
      const { messageId } = connection.seen.pop()!
      expect(messageId === 1).toBe(false)
      acknowledge(connection, messageId as number)
    }
  })

  test('without the session, what the server had is done with, and the rest is published anew', () => {
    const bench = setUp()
    const first = bench.accept()
    for (const text of ['a', 'b', 'c']) bench.client.publish(message(text, 2))
    pubrec(first, 2)
    const second = reconnect(bench, false)
    expect(second.ofType('pubrel')).toEqual([])
    expect(texts(second)).toEqual(['a', 'c'])
    expect(second.ofType('publish').some(({ dup }) => dup)).toBe(false)
    expect(ids(second).some((id) => ids(first).includes(id))).toBe(false)
    expect(bench.counters.publishedAgain).toBe(2)
    expect(bench.client.unacknowledged).toBe(2)
  })

  test('like MQTT.js, without a session sends PUBREL and PUBLISH as they were, one by one, and subscribes after', () => {
    const bench = setUp({ profile: clientProfiles['mqtt.js'] })
    bench.client.subscribe([{ filter: 's', qos: 2 }])
    const first = bench.accept()
    first.send({ cmd: 'suback', messageId: 1, granted: [2] })
    for (const text of ['a', 'b', 'c']) bench.client.publish(message(text, 2))
    pubrec(first, 2)
    pubrec(first, 3)
    const second = reconnect(bench, false)
    const steps = () => second.seen.slice(1).map(({ cmd, messageId }) => `${cmd} ${messageId}`)
    expect(steps()).toEqual(['pubrel 2'])
    pubcomp(second, 2)
    expect(steps()).toEqual(['pubrel 2', 'pubrel 3'])
    pubcomp(second, 3)
    expect(steps().slice(2)).toEqual(['publish 4'])
    pubrec(second, 4)
    expect(steps().slice(3)).toEqual(['pubrel 4'])
    pubcomp(second, 4)
    expect(steps().slice(4)).toEqual(['subscribe 5'])
    expect(second.ofType('publish')).toMatchObject([{ dup: false }])
    expect(bench.client.unacknowledged).toBe(0)
  })

  test.each([3, 4] as const)('works over protocol level %i', (version) => {
    const bench = setUp({ version })
    const first = bench.accept()
    bench.client.publish(message('a', 2))
    pubrec(first, 1)
    const second = reconnect(bench, version === 4)
    expect(idsOf(second, 'pubrel')).toEqual([1])
    pubcomp(second, 1)
    expect(bench.client.unacknowledged).toBe(0)
  })

  test('a PUBREC that comes again is answered again; one of nothing by 0x92', () => {
    const { accept, client, told, counters } = setUp()
    const connection = accept()
    client.publish(message('a', 2), 7)
    pubrec(connection, 1)
    pubrec(connection, 1)
    pubrec(connection, 9)
    pubrec(connection, 9, 0x80)
    expect(idsOf(connection, 'pubrel')).toEqual([1, 1, 9])
    expect(codes(connection, 'pubrel')).toEqual([0, 0, 0x92])
    expect(told.filter((text) => text.startsWith('published'))).toHaveLength(1)
    expect(counters.unexpectedAcknowledgements).toBe(3)
    expect(client.state).toBe('connected')
  })

  test('takes no PUBREC or PUBCOMP for what was not sent again yet', () => {
    const bench = setUp({ profile: clientProfiles['mqtt.js'] })
    const first = bench.accept()
    for (const text of ['a', 'b', 'c']) bench.client.publish(message(text, 2))
    pubrec(first, 1)
    pubrec(first, 2)
    const second = reconnect(bench, false)
    pubcomp(second, 2)
    pubrec(second, 3)
    pubrec(second, 2)
    expect(bench.counters.unexpectedAcknowledgements).toBe(3)
    expect(second.seen.slice(1).map(({ cmd, messageId }) => `${cmd} ${messageId}`)).toEqual(['pubrel 1'])
    expect(bench.client.unacknowledged).toBe(3)
  })

  test('carries its properties', () => {
    const { accept, client } = setUp()
    const connection = accept()
    client.publish({ ...message('a', 2), properties: { messageExpiryInterval: 30, userProperties: [['k', 'v']] } })
    expect(connection.ofType('publish')).toMatchObject([{ properties: { messageExpiryInterval: 30, userProperties: { k: 'v' } } }])
  })
})

describe('QoS 2 in', () => {
  const messages = ({ told }: Bench) => told.filter((text) => text.startsWith('message'))

  test('goes to the application once, then PUBREC; PUBREL is answered by PUBCOMP [MQTT-4.3.3-8] [MQTT-4.3.3-11]', () => {
    const bench = setUp()
    const connection = bench.accept()
    publish(connection, 5, 'a')
    expect(messages(bench)).toEqual(['message t a qos 2'])
    expect(idsOf(connection, 'pubrec')).toEqual([5])
    pubrel(connection, 5)
    expect(idsOf(connection, 'pubcomp')).toEqual([5])
    expect(codes(connection, 'pubcomp')).toEqual([0])
  })

  test('PUBRECs go in the order of the messages [MQTT-4.6.0-3]', () => {
    const { accept } = setUp()
    const connection = accept()
    for (const id of [9, 3, 7]) publish(connection, id, `m${id}`)
    expect(idsOf(connection, 'pubrec')).toEqual([9, 3, 7])
  })

  test('repeated before PUBREL, on this connection or the next of the session, it is only acknowledged again [MQTT-4.3.3-10]', () => {
    const bench = setUp()
    const first = bench.accept()
    publish(first, 5, 'a')
    publish(first, 5, 'a')
    expect(idsOf(first, 'pubrec')).toEqual([5, 5])
    const second = reconnect(bench, true)
    publish(second, 5, 'a', true)
    expect(idsOf(second, 'pubrec')).toEqual([5])
    expect(messages(bench)).toHaveLength(1)
    expect(bench.counters).toMatchObject({ received: 1, receivedAgain: 2 })
  })

  test('the id of one that was released names a new message [MQTT-4.3.3-12]', () => {
    const bench = setUp()
    const connection = bench.accept()
    for (const text of ['a', 'b']) {
      publish(connection, 5, text)
      pubrel(connection, 5)
    }
    expect(messages(bench)).toEqual(['message t a qos 2', 'message t b qos 2'])
  })

  test('lost before PUBREL: the PUBREL of the next connection releases it', () => {
    const bench = setUp()
    publish(bench.accept(), 5, 'a')
    const second = reconnect(bench, true)
    pubrel(second, 5)
    expect(codes(second, 'pubcomp')).toEqual([0])
    publish(second, 5, 'b')
    expect(messages(bench)).toEqual(['message t a qos 2', 'message t b qos 2'])
  })

  test('lost before PUBCOMP: a PUBREL of an id that is not known is answered by 0x92', () => {
    const bench = setUp()
    const first = bench.accept()
    publish(first, 5, 'a')
    pubrel(first, 5)
    const second = reconnect(bench, true)
    pubrel(second, 5)
    expect(codes(second, 'pubcomp')).toEqual([0x92])
    expect(bench.counters.unexpectedAcknowledgements).toBe(0)
  })

  test('without the session, an id of before names a new message', () => {
    const bench = setUp()
    publish(bench.accept(), 5, 'a')
    publish(reconnect(bench, false), 5, 'b')
    expect(messages(bench)).toEqual(['message t a qos 2', 'message t b qos 2'])
  })

  test('in 3.x a PUBREL of an unknown id gets a plain PUBCOMP', () => {
    const { accept } = setUp({ version: 4 })
    const connection = accept()
    pubrel(connection, 5)
    expect(connection.ofType('pubcomp')).toMatchObject([{ messageId: 5, length: 2 }])
  })
})
