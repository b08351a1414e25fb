import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ADDRESSES, acknowledge, type Bench, ids, message, setUp, texts } from './client-bench.test-support.ts'
import type { FakeConnection } from './fake-host.ts'
import { clientProfiles } from './profiles.ts'

describe('connecting', () => {
  test('sends the CONNECT of the profile and tells the application', () => {
    const { accept, told, client, host } = setUp()
    const connection = accept()
    expect(connection.remote).toEqual({ host: '10.1.0.1', port: 1883 })
    expect(host.labels).toEqual(['client-1'])
    expect(connection.seen[0]).toMatchObject({
      cmd: 'connect',
      clientId: 'client-1',
      clean: false,
      keepalive: 10,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: 3600, receiveMaximum: 100 },
    })
    expect(told).toEqual(['connected false', 'ready'])
    expect(client.state).toBe('connected')
  })

  test('goes through named states, each an event', () => {
    const { accept, host } = setUp()
    accept()
    host.last.die('reset')
    const states = host.events.map((event) => (event.kind === 'client-state-changed' ? `${event.to} (${event.why})` : event.kind))
    expect(states).toEqual([
      'resolving (started)',
      'connecting (resolved)',
      'awaiting-connack (open)',
      'connected (no session)',
      'backing-off (connection reset)',
    ])
  })

  test.each([3, 4, 5] as const)('speaks protocol level %i', (version) => {
    const { accept, client } = setUp({ version, cleanStart: true, clientId: 'c' })
    expect(accept().seen[0]).toMatchObject({ protocolVersion: version, clean: true })
    expect(client.state).toBe('connected')
  })

  test('carries a will of its own each time', () => {
    let connects = 0
    const { accept, host } = setUp({ will: () => ({ topic: 'gone', payload: Buffer.from(`bye ${++connects}`), qos: 2, retain: true }) })
    const wills = [accept()]
    host.last.die('reset')
    host.advance(1000)
    wills.push(accept())
    expect(wills.map(({ seen }) => seen[0]!.will)).toMatchObject([
      { topic: 'gone', payload: Buffer.from('bye 1'), qos: 2, retain: true },
      { topic: 'gone', payload: Buffer.from('bye 2'), qos: 2, retain: true },
    ])
  })

  test('says who it is', () => {
    const { accept } = setUp({ username: 'u', password: Buffer.from('p') })
    expect(accept().seen[0]).toMatchObject({ username: 'u', password: Buffer.from('p') })
  })

  test('tries every address of the answer, then backs off and resolves again', () => {
    const { host, client, resolved } = setUp()
    host.last.die('refused')
    host.advance(2000) // the second address stays silent
    expect(host.last.remote.host).toBe('10.3.0.1')
    host.last.open() // the third takes the connection, and never answers
    host.advance(2000)
    expect(host.connections.map((connection) => connection.remote.host)).toEqual(ADDRESSES)
    expect(client.state).toBe('backing-off')
    expect(resolved()).toBe(1)
    host.advance(250) // half of 0.5 s
    expect(resolved()).toBe(2)
    expect(host.last.remote.host).toBe('10.1.0.1')
  })

  test('gives up an address that opened after the connect timeout in all', () => {
    const { host } = setUp()
    host.advance(1500)
    host.last.open()
    host.advance(499)
    expect(host.connections).toHaveLength(1)
    host.advance(1)
    expect(host.connections[0]!.closedBy).toBe('reset')
    expect(host.connections).toHaveLength(2)
  })

  test('backs off when the name has no address', () => {
    const { host, client, counters, resolved } = setUp({ addresses: [] })
    expect(client.state).toBe('backing-off')
    expect(counters.connectFailures).toBe(1)
    host.advance(250)
    expect(resolved()).toBe(2)
  })

  test('goes to the next address when a server is unavailable, and ends the round when it is itself refused', () => {
    const { host, client, counters } = setUp()
    host.last.open()
    host.last.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0x88 })
    expect(host.connections).toHaveLength(2)
    host.last.open()
    host.last.send({ cmd: 'connack', sessionPresent: false, reasonCode: 0x87 })
    expect(host.connections).toHaveLength(2)
    expect(client.state).toBe('backing-off')
    expect([...counters.reasonCodes]).toEqual([
      ['connack 0x88', 1],
      ['connack 0x87', 1],
    ])
  })

  test('like MQTT.js waits for the server to close after a CONNACK error', () => {
    const { host, client } = setUp({ profile: clientProfiles['mqtt.js'] })
    host.last.open()
    host.last.send({ cmd: 'connack', sessionPresent: false, returnCode: 3 })
    host.advance(600_000)
    expect(client.state).toBe('awaiting-connack')
    host.last.die('ended')
    expect(client.state).toBe('backing-off')
    host.advance(1000)
    expect(host.connections).toHaveLength(2)
  })

  test('like MQTT.js gives each address but the last 250 ms to open, and the last 30 s', () => {
    const { host, client } = setUp({ profile: clientProfiles['mqtt.js'] })
    host.advance(250)
    expect(host.connections).toHaveLength(2)
    host.advance(250)
    expect(host.connections).toHaveLength(3)
    host.advance(29_999)
    expect(client.state).toBe('connecting')
    host.advance(1)
    expect(client.state).toBe('backing-off')
  })

  test('like MQTT.js retries each second for as long as it takes', () => {
    const { host } = setUp({ profile: clientProfiles['mqtt.js'], addresses: ['10.1.0.1'] })
    for (let second = 0; second < 30; second++) {
      host.last.die('refused')
      host.advance(1000)
    }
    expect(host.connections).toHaveLength(31)
  })

  test('backs off anew after each outage, not where the last one ended', () => {
    const { host, accept } = setUp({ addresses: ['10.1.0.1'] })
    for (let i = 0; i < 5; i++) {
      host.last.die('refused')
      host.advance(1000)
    }
    accept()
    host.last.die('ended')
    const before = host.connections.length
    host.advance(250)
    expect(host.connections).toHaveLength(before + 1)
  })
})

describe('keeping alive', () => {
  test('pings when nothing was sent for the keepalive, and stays when the server answers', () => {
    const { host, accept, client } = setUp()
    const connection = accept()
    for (let round = 1; round <= 5; round++) {
      host.advance(9999)
      expect(connection.ofType('pingreq')).toHaveLength(round - 1)
      host.advance(1)
      expect(connection.ofType('pingreq')).toHaveLength(round)
      connection.send({ cmd: 'pingresp' })
    }
    expect(client.state).toBe('connected')
  })

  test('pings a keepalive after the last packet sent, however late its answer came', () => {
    const { host, accept, client } = setUp()
    const connection = accept()
    host.advance(1000)
    client.publish(message('x'))
    host.advance(2000)
    acknowledge(connection, ids(connection)[0]!)
    host.advance(7999)
    expect(connection.ofType('pingreq')).toHaveLength(0)
    host.advance(1)
    expect(connection.ofType('pingreq')).toHaveLength(1)
  })

  test('closes when a PINGREQ stays unanswered for the ping timeout', () => {
    const { host, accept, told, counters } = setUp()
    const connection = accept()
    host.advance(12_999)
    expect(connection.closedBy).toBeUndefined()
    host.advance(1)
    expect(connection.closedBy).toBe('reset')
    expect(told).toContain('closed: ping timeout')
    expect(counters.pingTimeouts).toBe(1)
  })

  describe('that leaves its sockets open', () => {
    /** Publishes, hears nothing, gives up, and dials again. */
    function giveUp({ host, client }: Bench): void {
      client.publish(message('lost'))
      host.advance(3000)
      expect(client.state).toBe('backing-off')
      host.advance(2000)
      expect(client.state).toBe('connecting')
    }

    test('ignores what still comes over the old connection, which the server need not know to be dead', () => {
      const bench = setUp({ leavesSocketsOpen: true })
      const { accept, told, client } = bench
      const old = accept()
      giveUp(bench)
      expect(old.closedBy).toBeUndefined()
      const before = told.length
      old.send({ cmd: 'publish', topic: 'data/2', payload: 'late', qos: 1, messageId: 7, dup: false, retain: false })
      acknowledge(old, 1)
      old.drain()
      old.die('reset')
      expect(told).toHaveLength(before)
      expect(old.ofType('puback')).toEqual([])
      expect(client.unacknowledged).toBe(1)
      expect(client.state).toBe('connecting')
      const connection = accept({ sessionPresent: true })
      expect(texts(connection)).toEqual(['lost'])
    })

    test('leaves two at most, and closes them when it stops', () => {
      const bench = setUp({ leavesSocketsOpen: true })
      const left = [1, 2, 3].map(() => {
        const connection = bench.accept({ sessionPresent: true })
        giveUp(bench)
        return connection
      })
      expect(left.map(({ closedBy }) => closedBy)).toEqual(['reset', undefined, undefined])
      const last = bench.accept({ sessionPresent: true })
      bench.client.stop()
      expect(left.map(({ closedBy }) => closedBy)).toEqual(['reset', 'reset', 'reset'])
      expect(last.closedBy).toBe('close')
    })

    test('leaves one that opened and had no CONNACK, not one that never opened, nor one that the server ended', () => {
      const { host, accept } = setUp({ leavesSocketsOpen: true })
      const [silent] = host.connections
      host.advance(2000)
      host.last.open()
      host.advance(2000)
      expect(host.connections.slice(0, 2).map(({ closedBy }) => closedBy)).toEqual(['reset', undefined])
      expect(silent!.closedBy).toBe('reset')
      const connection = accept()
      connection.send({ cmd: 'disconnect', reasonCode: 0x8b })
      expect(connection.closedBy).toBe('close')
    })
  })

  test('notices a dead path though it sends QoS 0 all the time', () => {
    const { host, accept, client } = setUp()
    accept()
    for (let second = 0; second < 13; second++) {
      client.publish(message('x', 0))
      host.advance(1000)
    }
    expect(client.state).toBe('backing-off')
  })

  test('does not ping while publishes are sent and acknowledged', () => {
    const { host, accept, client } = setUp()
    const connection = accept()
    for (let i = 0; i < 30; i++) {
      client.publish(message('x'))
      acknowledge(connection, ids(connection)[i]!)
      host.advance(1000)
    }
    expect(connection.ofType('pingreq')).toHaveLength(0)
  })

  test('uses the keepalive of an MQTT 5 server', () => {
    const { host, accept } = setUp()
    const connection = accept({ properties: { serverKeepAlive: 4 } })
    host.advance(4000)
    expect(connection.ofType('pingreq')).toHaveLength(1)
  })

  test('does without pings at keepalive 0', () => {
    const { host, accept } = setUp({ keepaliveSeconds: 0 })
    const connection = accept()
    host.advance(3_600_000)
    expect(connection.ofType('pingreq')).toHaveLength(0)
  })

  test('like MQTT.js pings 60 s after the last answer and is dead at 90 s, whatever it sends', () => {
    const { host, accept, client } = setUp({ profile: clientProfiles['mqtt.js'] })
    const connection = accept()
    for (let second = 0; second < 60; second++) {
      client.publish(message('x', 0))
      host.advance(1000)
    }
    expect(connection.ofType('pingreq')).toHaveLength(1)
    host.advance(29_999)
    expect(client.state).toBe('connected')
    host.advance(1)
    expect(client.state).toBe('backing-off')
  })

  test('like MQTT.js takes any acknowledgement for the PINGRESP', () => {
    const { host, accept, client } = setUp({ profile: clientProfiles['mqtt.js'] })
    const connection = accept()
    client.publish(message('x'))
    host.advance(60_000)
    expect(connection.ofType('pingreq')).toHaveLength(1)
    acknowledge(connection, ids(connection)[0]!)
    host.advance(60_000)
    expect(connection.ofType('pingreq')).toHaveLength(2)
  })

  test('moves its timer once an acknowledgement timeout, not once a packet', () => {
    const { host, accept, client } = setUp()
    const connection = accept()
    const before = host.timersSet
    for (let i = 0; i < 1000; i++) {
      client.publish(message('x'))
      acknowledge(connection, ids(connection)[i]!)
      host.advance(30)
    }
    expect(host.timersSet - before).toBeLessThan(25)
  })
})

describe('publishing', () => {
  test('reports the acknowledgement and keeps the window', () => {
    const { accept, client, told, counters } = setUp()
    const connection = accept()
    for (let i = 0; i < 100; i++) client.publish(message(`m${i}`), i)
    expect(connection.ofType('publish')).toHaveLength(64)
    acknowledge(connection, ids(connection)[0]!)
    expect(connection.ofType('publish')).toHaveLength(65)
    expect(told).toContain('published 0 0')
    expect(counters).toMatchObject({ published: 100, sent: 65, acknowledged: 1 })
    expect(client.unacknowledged).toBe(99)
  })

  test('respects the Receive Maximum of an MQTT 5 server', () => {
    const { accept, client } = setUp()
    const connection = accept({ properties: { receiveMaximum: 2 } })
    for (let i = 0; i < 5; i++) client.publish(message(`m${i}`), i)
    expect(texts(connection)).toEqual(['m0', 'm1'])
    acknowledge(connection, ids(connection)[1]!)
    expect(texts(connection)).toEqual(['m0', 'm1', 'm2'])
  })

  test('does not send what an MQTT 5 server said that it does not take', () => {
    const { accept, client, told } = setUp()
    const connection = accept({ properties: { maximumPacketSize: 100, retainAvailable: false } })
    client.publish(message('x'.repeat(100)), 1)
    client.publish(message('kept', 1, true), 2)
    client.publish(message('fits'), 3)
    expect(texts(connection)).toEqual(['fits'])
    expect(told.slice(-2)).toEqual(['published 1 149', 'published 2 154'])
  })

  test('takes a reason code of 0x80 or more for a refusal', () => {
    const { accept, client, told, counters } = setUp()
    const connection = accept()
    client.publish(message('x'), 7)
    acknowledge(connection, ids(connection)[0]!, 0x97)
    expect(told).toContain('published 7 151')
    expect(counters).toMatchObject({ refused: 1, acknowledged: 0 })
    expect(counters.reasonCodes.get('puback 0x97')).toBe(1)
  })

  test('closes the connection when a publish is unacknowledged for 3 s', () => {
    const { host, accept, client, told, counters } = setUp()
    const connection = accept()
    host.advance(5000)
    client.publish(message('a'))
    host.advance(1000)
    client.publish(message('b'))
    acknowledge(connection, ids(connection)[0]!)
    host.advance(2999)
    expect(connection.closedBy).toBeUndefined()
    host.advance(1)
    expect(connection.closedBy).toBe('reset')
    expect(told.at(-1)).toBe('closed: acknowledgement timeout')
    expect(counters.acknowledgeTimeouts).toBe(1)
  })

  test('queues QoS 1 while offline, up to the limit, and drops QoS 0', () => {
    const { client, counters, accept } = setUp()
    expect(client.publish(message('zero', 0))).toBe(false)
    for (let i = 0; i < 1000; i++) expect(client.publish(message(`m${i}`))).toBe(true)
    expect(client.publish(message('too many'))).toBe(false)
    expect(counters.dropped).toBe(2)
    const connection = accept()
    expect(texts(connection).slice(0, 3)).toEqual(['m0', 'm1', 'm2'])
    for (let i = 0; i < 1000; i++) acknowledge(connection, ids(connection)[i]!)
    expect(texts(connection)).toHaveLength(1000)
    expect(client.unacknowledged).toBe(0)
  })

  test('holds back while the connection takes no more bytes', () => {
    const { accept, client } = setUp()
    const connection = accept()
    connection.writesTaken = false
    client.publish(message('a'))
    client.publish(message('b'))
    expect(texts(connection)).toEqual(['a'])
    connection.drain()
    expect(texts(connection)).toEqual(['a', 'b'])
  })

  test('ignores and counts an acknowledgement of nothing', () => {
    const { accept, client, counters } = setUp()
    const connection = accept()
    acknowledge(connection, 77)
    expect(client.state).toBe('connected')
    expect(counters.unexpectedAcknowledgements).toBe(1)
  })
})

describe('after a reconnect', () => {
  function publishThenReconnect(bench: Bench, sessionPresent: boolean): [FakeConnection, FakeConnection] {
    const first = bench.accept()
    for (const text of ['a', 'b', 'c', 'd']) bench.client.publish(message(text), text.charCodeAt(0))
    acknowledge(first, ids(first)[1]!)
    first.die('reset')
    bench.client.publish(message('e'))
    bench.host.advance(1000)
    return [first, bench.accept({ sessionPresent })]
  }

  test('with the session present, resends in the original order with the same ids and DUP, then the new ones', () => {
    const bench = setUp()
    const [first, second] = publishThenReconnect(bench, true)
    expect(texts(second)).toEqual(['a', 'c', 'd', 'e'])
    expect(ids(second).slice(0, 3)).toEqual([ids(first)[0], ids(first)[2], ids(first)[3]])
    expect(second.ofType('publish').map((packet) => packet.dup)).toEqual([true, true, true, false])
    expect(bench.counters).toMatchObject({ sent: 5, resent: 3, publishedAgain: 0, sessionsResumed: 1 })
  })

  test('without the session, publishes anew: no DUP, and new ids in the old order', () => {
    const bench = setUp()
    const [first, second] = publishThenReconnect(bench, false)
    expect(texts(second)).toEqual(['a', 'c', 'd', 'e'])
    expect(second.ofType('publish').map((packet) => packet.dup)).toEqual([false, false, false, false])
    expect(ids(second).filter((id) => ids(first).includes(id))).toEqual([])
    expect(bench.counters).toMatchObject({ resent: 0, publishedAgain: 3 })
  })

  test('resends within the Receive Maximum of the new connection, before anything new', () => {
    const bench = setUp()
    bench.accept()
    for (const text of ['a', 'b', 'c']) bench.client.publish(message(text))
    bench.host.last.die('reset')
    bench.client.publish(message('d'))
    bench.host.advance(1000)
    const second = bench.accept({ sessionPresent: true, properties: { receiveMaximum: 1 } })
    for (let i = 0; i < 4; i++) {
      expect(texts(second)).toEqual(['a', 'b', 'c', 'd'].slice(0, i + 1))
      acknowledge(second, ids(second)[i]!)
    }
    expect(bench.client.unacknowledged).toBe(0)
  })

  test('takes no acknowledgement for what was not yet resent', () => {
    const bench = setUp()
    const first = bench.accept()
    for (const text of ['a', 'b']) bench.client.publish(message(text))
    first.die('reset')
    bench.host.advance(1000)
    const second = bench.accept({ sessionPresent: true, properties: { receiveMaximum: 1 } })
    acknowledge(second, ids(first)[1]!)
    expect(bench.counters).toMatchObject({ unexpectedAcknowledgements: 1, acknowledged: 0 })
    expect(bench.client.unacknowledged).toBe(2)
  })

  test('like MQTT.js replays with the same ids whatever the server kept, without DUP, one by one, and subscribes after', () => {
    const bench = setUp({ profile: clientProfiles['mqtt.js'] })
    bench.client.subscribe([{ filter: 's', qos: 1 }])
    const first = bench.accept()
    expect(first.ofType('subscribe')).toHaveLength(1)
    first.send({ cmd: 'suback', messageId: first.ofType('subscribe')[0]!.messageId as number, granted: [1] })
    for (const text of ['a', 'b']) bench.client.publish(message(text))
    first.die('reset')
    bench.host.advance(1000)
    const second = bench.accept()
    bench.client.publish(message('c'))
    bench.client.publish(message('zero', 0))
    expect(texts(second)).toEqual(['a'])
    acknowledge(second, ids(second)[0]!)
    expect(texts(second)).toEqual(['a', 'b'])
    expect(second.ofType('subscribe')).toHaveLength(0)
    acknowledge(second, ids(second)[1]!)
    expect(texts(second)).toEqual(['a', 'b', 'c', 'zero'])
    expect(second.ofType('subscribe')).toHaveLength(1)
    expect(ids(second).slice(0, 2)).toEqual(ids(first))
    expect(second.ofType('publish').some((packet) => packet.dup)).toBe(false)
  })

  test('like MQTT.js sends the QoS 0 messages that it queued while offline', () => {
    const { client, accept } = setUp({ profile: clientProfiles['mqtt.js'] })
    expect(client.publish(message('zero', 0))).toBe(true)
    expect(client.publish(message('one', 1))).toBe(true)
    expect(texts(accept())).toEqual(['zero', 'one'])
  })
})

describe('subscriptions', () => {
  const suback = (connection: FakeConnection, granted: number[] = [1]) =>
    connection.send({ cmd: 'suback', messageId: connection.ofType('subscribe').at(-1)!.messageId as number, granted })

  test('are in force before the client is ready', () => {
    const { client, accept, told } = setUp()
    client.subscribe([
      { filter: 'a', qos: 1 },
      { filter: 'b/#', qos: 0 },
    ])
    const connection = accept()
    expect(connection.ofType('subscribe')[0]!.subscriptions).toMatchObject([
      { topic: 'a', qos: 1 },
      { topic: 'b/#', qos: 0 },
    ])
    expect(told).toEqual(['connected false'])
    suback(connection, [1, 0])
    expect(told).toEqual(['connected false', 'ready'])
  })

  test('are asked for again when the session is absent, and only then', () => {
    const { client, accept, host, told } = setUp()
    client.subscribe([{ filter: 'a', qos: 1 }])
    suback(accept())
    host.last.die('reset')
    host.advance(1000)
    expect(accept({ sessionPresent: true }).ofType('subscribe')).toHaveLength(0)
    expect(told.slice(-2)).toEqual(['connected true', 'ready'])
    host.last.die('reset')
    host.advance(1000)
    expect(accept({ sessionPresent: false }).ofType('subscribe')).toHaveLength(1)
  })

  test('that were not answered are asked for again though the session is present', () => {
    const { client, accept, host, told } = setUp()
    client.subscribe([{ filter: 'a', qos: 1 }])
    accept()
    host.last.die('reset')
    host.advance(1000)
    const connection = accept({ sessionPresent: true })
    expect(connection.ofType('subscribe')).toHaveLength(1)
    suback(connection)
    expect(told.at(-1)).toBe('ready')
  })

  test('over MQTT 3.1, which cannot say whether there is a session, are asked for each time', () => {
    const { client, accept, host } = setUp({ version: 3 })
    client.subscribe([{ filter: 'a', qos: 1 }])
    suback(accept())
    host.last.die('reset')
    host.advance(1000)
    expect(accept().ofType('subscribe')).toHaveLength(1)
  })

  test('unanswered for 3 s close the connection', () => {
    const { client, accept, host, told } = setUp()
    client.subscribe([{ filter: 'a', qos: 1 }])
    accept()
    host.advance(3000)
    expect(told.at(-1)).toBe('closed: acknowledgement timeout')
  })

  test('refused by the server are counted', () => {
    const { client, accept, counters, told } = setUp()
    client.subscribe([{ filter: 'a', qos: 1 }])
    suback(accept(), [0x87])
    expect(counters.reasonCodes.get('suback 0x87')).toBe(1)
    expect(told.at(-1)).toBe('ready')
  })
})

describe('messages from the server', () => {
  test('are handed over before they are acknowledged', () => {
    const { accept, told, host, client } = setUp()
    const connection = accept()
    connection.send({ cmd: 'publish', topic: 't', payload: 'x', qos: 1, messageId: 9, dup: true, retain: false })
    connection.send({ cmd: 'publish', topic: 't', payload: 'y', qos: 0, dup: false, retain: false })
    expect(told.slice(-2)).toEqual(['message t x qos 1 dup', 'message t y qos 0'])
    expect(connection.ofType('puback').map((packet) => packet.messageId)).toEqual([9])
    host.advance(0)
    expect(client.state).toBe('connected')
  })

  test.each([
    ['a second CONNACK', { cmd: 'connack', sessionPresent: false, reasonCode: 0 }],
    ['a topic alias', { cmd: 'publish', topic: 't', payload: 'x', qos: 0, dup: false, retain: false, properties: { topicAlias: 1 } }],
    ['PUBREC of a QoS 1 publish', { cmd: 'pubrec', messageId: 1, reasonCode: 0 }],
    ['PUBACK of a QoS 2 publish', { cmd: 'puback', messageId: 2, reasonCode: 0 }],
    ['PUBCOMP of a QoS 2 publish that had no PUBREC', { cmd: 'pubcomp', messageId: 2, reasonCode: 0 }],
    ['SUBACK with a code too many', { cmd: 'suback', messageId: 3, granted: [1, 1] }],
    ['UNSUBACK with a code too many', { cmd: 'unsuback', messageId: 4, granted: [0, 0] }],
    ['AUTH', { cmd: 'auth', reasonCode: 0x18 }],
  ] as const)('close the connection when they break the protocol: %s', (_what, packet) => {
    const { accept, counters, client } = setUp()
    const connection = accept()
    client.publish(message('a', 1))
    client.publish(message('b', 2))
    client.subscribe([{ filter: 'c', qos: 1 }])
    client.unsubscribe(['d'])
    expect(connection.seen.slice(1).map(({ messageId }) => messageId)).toEqual([1, 2, 3, 4])
    connection.send(packet)
    expect(connection.ofType('disconnect')).toHaveLength(1)
    expect(connection.closedBy).toBe('close')
    expect(client.state).toBe('backing-off')
    expect(counters.protocolViolations).toBe(1)
  })

  test('that are malformed close the connection', () => {
    const { accept, counters } = setUp()
    const connection = accept()
    connection.sendBytes([0x30, 0x03, 0x00, 0x05, 0x61])
    expect(connection.closedBy).toBe('close')
    expect(counters.protocolViolations).toBe(1)
  })

  test('before CONNACK close the connection', () => {
    const { host, counters } = setUp()
    host.last.open()
    host.last.send({ cmd: 'pingresp' })
    expect(host.connections[0]!.closedBy).toBe('close')
    expect(counters.protocolViolations).toBe(1)
  })

  test('claiming a session after a clean start close the connection', () => {
    const { accept, counters } = setUp({ cleanStart: true })
    expect(accept({ sessionPresent: true }).closedBy).toBe('close')
    expect(counters.protocolViolations).toBe(1)
  })

  test('DISCONNECT is counted by reason, and the client comes back', () => {
    const { accept, host, counters, told, client } = setUp()
    accept().send({ cmd: 'disconnect', reasonCode: 0x8b })
    expect(counters.reasonCodes.get('disconnect 0x8b')).toBe(1)
    expect(told.at(-1)).toBe('closed: disconnect 0x8b')
    host.advance(250)
    expect(client.state).toBe('connecting')
  })
})

describe('stopping', () => {
  test('disconnects in order and stays away', () => {
    const { accept, host, client, told } = setUp()
    const connection = accept()
    client.stop()
    expect(connection.seen.at(-1)).toMatchObject({ cmd: 'disconnect', reasonCode: 0 })
    expect(connection.closedBy).toBe('close')
    host.advance(600_000)
    expect(host.connections).toHaveLength(1)
    expect(client.state).toBe('stopped')
    expect(client.publish(message('x'))).toBe(false)
    expect(told).toEqual(['connected false', 'ready'])
  })

  test('gives up an attempt or a wait', () => {
    const { host, client } = setUp()
    client.stop()
    expect(host.connections[0]!.closedBy).toBe('reset')
    host.advance(600_000)
    expect(host.connections).toHaveLength(1)
  })
})

describe('packet ids', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constant({ kind: 'publish' } as const) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('acknowledge' as const), which: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('subscribe' as const), filter: fc.nat(5) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'answer subscribe' } as const) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('reconnect' as const),
        sessionPresent: fc.boolean(),
        receiveMaximum: fc.integer({ min: 1, max: 8 }),
      }),
    },
  )

  test('are never used for two open publishes, and every publish is acknowledged in the end, in order of first sending', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const bench = setUp()
        // What the server holds: packet id to text, for the present session; and subscribes open on the present connection.
        let open = new Map<number, string>()
        let subscribes = new Set<number>()
        let looked = 0
        let limit = 65_535
        const firstSent: string[] = []
        let connection = bench.accept()

        function look(): void {
          for (; looked < connection.seen.length; looked++) {
            const packet = connection.seen[looked]!
            const id = packet.messageId as number
            if (packet.cmd === 'subscribe') {
              expect(open.has(id) || subscribes.has(id)).toBe(false)
              subscribes.add(id)
            } else if (packet.cmd === 'publish') {
              const text = String(packet.payload)
              expect(id).toBeGreaterThan(0)
              expect(subscribes.has(id)).toBe(false)
              if (packet.dup) expect(open.get(id)).toBe(text)
              else expect(open.has(id)).toBe(false)
              open.set(id, text)
              if (!firstSent.includes(text)) firstSent.push(text)
              expect(connection.ofType('publish').length - acknowledged).toBeLessThanOrEqual(limit)
            }
          }
        }

        let acknowledged = 0
        let published = 0
        const onWire = () =>
          connection
            .ofType('publish')
            .map((packet) => packet.messageId as number)
            .filter((id) => open.has(id))
        const acknowledgeOne = (which: number) => {
          const candidates = onWire()
          if (candidates.length === 0) return
          const id = candidates[which % candidates.length]!
          open.delete(id)
          acknowledged++
          acknowledge(connection, id)
          look()
        }

        look()
        for (const one of steps) {
          if (one.kind === 'publish') bench.client.publish(message(`m${published++}`))
          else if (one.kind === 'acknowledge') acknowledgeOne(one.which)
          else if (one.kind === 'subscribe') bench.client.subscribe([{ filter: `f/${one.filter}`, qos: 1 }])
          else if (one.kind === 'answer subscribe') {
            for (const messageId of subscribes) {
              subscribes.delete(messageId)
              const asked = connection.ofType('subscribe').findLast((packet) => packet.messageId === messageId)!
              connection.send({ cmd: 'suback', messageId, granted: (asked.subscriptions as unknown[]).map(() => 1) })
            }
          } else {
            connection.die('reset')
            bench.host.advance(500)
            acknowledged = 0
            looked = 0
            limit = one.receiveMaximum
            subscribes = new Set()
            if (!one.sessionPresent) open = new Map()
            connection = bench.accept({ sessionPresent: one.sessionPresent, properties: { receiveMaximum: one.receiveMaximum } })
          }
          look()
        }
        for (let left = bench.client.unacknowledged; left > 0; left--) acknowledgeOne(0)
        expect(bench.client.unacknowledged).toBe(0)
        expect(firstSent).toEqual(Array.from({ length: published }, (_, index) => `m${index}`))
      }),
      { numRuns: 300 },
    )
  })

  test('wrap around past those still open', () => {
    const { accept, client } = setUp()
    const connection = accept()
    client.publish(message('stays'))
    client.subscribe([{ filter: 'stays', qos: 1 }])
    const held = connection.seen.slice(1).map((packet) => packet.messageId as number)
    expect(held).toEqual([1, 2])
    const used = new Set<number>()
    // Straight on the bytes, for speed: fixed header, topic of 6 bytes with its length, packet id.
    let packetId = 0
    connection.write = (bytes) => {
      packetId = bytes.readUInt16BE(10)
      return true
    }
    for (let i = 0; i < 65_600; i++) {
      client.publish(message('x'))
      used.add(packetId)
      connection.sendBytes([0x40, 2, packetId >> 8, packetId & 0xff])
    }
    expect(held.some((id) => used.has(id))).toBe(false)
    expect(used.size).toBe(65_533)
  })
})
