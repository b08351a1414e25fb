import { describe, expect, test } from 'vitest'
import { message, setUp, texts } from './client-bench.test-support.ts'
import type { ConnectionEnding } from './options.ts'

const HOUR_MS = 3_600_000

describe('a device that is switched off the network', () => {
  test.each<[ConnectionEnding, 4 | 5, number | 'none']>([
    ['disconnect', 5, 0],
    ['disconnect', 4, 0],
    ['disconnect-with-will', 5, 4],
    ['disconnect-with-will', 4, 'none'],
    ['drop', 5, 'none'],
    ['drop', 4, 'none'],
  ])('by %s over protocol level %i says DISCONNECT with %s, and closes [MQTT-3.14.4-2]', (ending, version, said) => {
    const { accept, client, host, told, counters } = setUp({ version })
    const connection = accept()
    client.goAway(ending)
    const disconnects = connection.ofType('disconnect')
    expect(disconnects.map(({ reasonCode }) => reasonCode ?? 0)).toEqual(said === 'none' ? [] : [said])
    expect(disconnects.every(({ properties }) => properties === undefined)).toBe(true)
    expect(connection.closedBy).toBe('close')
    expect(client.state).toBe('away')
    expect(told.at(-1)).toBe(`closed: went away: ${ending}`)
    expect(counters.connectionsLost).toBe(0)
    host.advance(HOUR_MS)
    expect(host.connections).toHaveLength(1)
    expect(connection.ofType('pingreq')).toEqual([])
  })

  test('comes back at once when asked, with what it kept', () => {
    const { accept, client, host, told } = setUp()
    client.subscribe([{ filter: 's', qos: 2 }])
    const first = accept()
    first.send({ cmd: 'suback', messageId: 1, granted: [2] })
    client.publish(message('open', 2))
    client.publish(message('received', 2))
    first.send({ cmd: 'pubrec', messageId: 3, reasonCode: 0 })
    first.send({ cmd: 'publish', topic: 't', payload: 'in', qos: 2, messageId: 5, dup: false, retain: false })
    client.goAway('disconnect')
    client.publish(message('waited', 1))
    expect(client.publish(message('zero', 0))).toBe(false)
    host.advance(HOUR_MS)
    client.comeBack()
    expect(client.state).toBe('resolving')
    host.advance(0)
    const second = accept({ sessionPresent: true })
    expect(second.ofType('subscribe')).toEqual([])
    expect(second.ofType('pubrel')).toMatchObject([{ messageId: 3 }])
    expect(texts(second)).toEqual(['open', 'waited'])
    second.send({ cmd: 'publish', topic: 't', payload: 'in', qos: 2, messageId: 5, dup: true, retain: false })
    expect(second.ofType('pubrec')).toMatchObject([{ messageId: 5 }])
    expect(told.filter((text) => text.startsWith('message'))).toHaveLength(1)
    expect(told.slice(-2)).toEqual(['connected true', 'ready'])
  })

  test('gives up an attempt, and hears nothing of it any more', () => {
    const { client, host, told } = setUp()
    host.last.open()
    client.goAway('drop')
    expect(host.last.closedBy).toBe('reset')
    expect(told).toEqual([])
    host.last.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0 })
    host.advance(HOUR_MS)
    expect(client.state).toBe('away')
    expect(host.connections).toHaveLength(1)
  })

  test('gives up a wait and a look-up, and begins a round of its own when it is back', () => {
    const { client, host, resolved, accept } = setUp({ addresses: ['10.1.0.1'] })
    host.last.die('refused')
    client.goAway('disconnect')
    client.comeBack()
    expect(resolved()).toBe(2)
    client.goAway('disconnect')
    client.comeBack()
    expect(resolved()).toBe(3)
    host.advance(0)
    expect(host.connections).toHaveLength(2)
    accept()
    expect(client.state).toBe('connected')
  })

  test('when it is not started, away already, or stopped, stays as it is', () => {
    const { accept, client, told } = setUp()
    client.comeBack()
    expect(client.state).toBe('connecting')
    accept()
    client.goAway('drop')
    client.goAway('disconnect')
    expect(told.filter((text) => text.startsWith('closed'))).toEqual(['closed: went away: drop'])
    client.stop()
    client.goAway('drop')
    client.comeBack()
    expect(client.state).toBe('stopped')
  })

  test('in the midst of a message has had it, and acknowledges it when it is back', () => {
    const bench = setUp()
    const { accept, client, host, told } = bench
    const first = accept()
    bench.onMessage = () => client.goAway('drop')
    first.send({ cmd: 'publish', topic: 't', payload: 'x', qos: 2, messageId: 5, dup: false, retain: false })
    expect(first.ofType('pubrec')).toEqual([])
    bench.onMessage = undefined
    client.comeBack()
    host.advance(0)
    const second = accept({ sessionPresent: true })
    second.send({ cmd: 'publish', topic: 't', payload: 'x', qos: 2, messageId: 5, dup: true, retain: false })
    expect(second.ofType('pubrec')).toHaveLength(1)
    expect(told.filter((text) => text.startsWith('message'))).toHaveLength(1)
  })

  test('in the midst of being told of a publish, sends nothing more', () => {
    const bench = setUp()
    const connection = bench.accept({ properties: { receiveMaximum: 1 } })
    bench.client.publish(message('a', 2))
    bench.client.publish(message('b', 2))
    bench.onPublished = () => bench.client.goAway('disconnect')
    connection.send({ cmd: 'pubrec', messageId: 1, reasonCode: 0 })
    expect(connection.seen.at(-1)).toMatchObject({ cmd: 'disconnect' })
    expect(connection.ofType('disconnect')).toHaveLength(1)
    expect(texts(connection)).toEqual(['a'])
    expect(bench.client.unacknowledged).toBe(2)
  })
})
