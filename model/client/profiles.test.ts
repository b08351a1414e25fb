import { describe, expect, test } from 'vitest'
import { ADDRESSES, acknowledge, type Bench, ids, message, setUp, texts } from './client-bench.test-support.ts'
import { detectionBoundMs } from './profile.ts'
import { clientProfiles, type ProfileName, profileNames } from './profiles.ts'

const ONE_ADDRESS = ['10.1.0.1']

/** How long after now the client lets go of its connection, to the half second. */
function givesUpAfterMs({ host }: Bench, atMostMs = 600_000): number {
  const connection = host.last
  for (let ms = 0; ms < atMostMs; ms += 500) {
    if (connection.closedBy !== undefined) return ms
    host.advance(500)
  }
  return Number.POSITIVE_INFINITY
}

/** The waits between the attempts of one outage, each refused at once. */
function waitsMs(profile: ProfileName, count: number, draw: number): readonly number[] {
  const { host, accept } = setUp({ profile: clientProfiles[profile], addresses: ONE_ADDRESS })
  host.draw = draw
  accept().die('reset')
  const waits: number[] = []
  for (let attempt = 0; attempt < count; attempt++) {
    const before = host.connections.length
    const lostMs = host.nowMs()
    host.advance(0)
    while (host.connections.length === before) host.advance(1)
    waits.push(host.nowMs() - lostMs)
    host.last.die('refused')
  }
  return waits
}

const seconds = (...values: readonly number[]) => values.map((value) => value * 1000)

describe('a dead path, by the documented keepalive of each client', () => {
  // With a publish open; idle; from the last answer.
  test.each<[ProfileName, number, number]>([
    ['recommended', 3000, 13_000],
    ['mqtt.js', 90_000, 90_000],
    ['paho-java', 120_000, 120_000],
    ['paho-python', 120_000, 120_000],
    ['paho-go', 40_000, 40_000],
    ['paho-c', 120_000, 120_000],
    ['hivemq', 120_000, 120_000],
    ['mosquitto', 120_000, 120_000],
  ])('%s notices after %i ms with a publish open, and after %i ms without', (name, openMs, idleMs) => {
    const open = setUp({ profile: clientProfiles[name] })
    open.accept()
    open.client.publish(message('unanswered'))
    expect(givesUpAfterMs(open)).toBe(openMs)

    const idle = setUp({ profile: clientProfiles[name] })
    idle.accept()
    expect(givesUpAfterMs(idle)).toBe(idleMs)
  })

  test('every profile is in that table', () => {
    expect(profileNames.map((name) => clientProfiles[name].name)).toEqual([
      'recommended',
      'mqtt.js',
      'paho-java',
      'paho-python',
      'paho-go',
      'paho-c',
      'hivemq',
      'mosquitto',
    ])
  })

  test('Paho Go, which looks every 5 s, takes up to 45 s', () => {
    const bench = setUp({ profile: clientProfiles['paho-go'] })
    const connection = bench.accept()
    bench.host.advance(1000)
    bench.client.publish(message('answered'))
    acknowledge(connection, ids(connection)[0]!)
    // Due at 31 s, looked at at 35 s, given up at 45 s.
    expect(givesUpAfterMs(bench)).toBe(44_000)
    expect(detectionBoundMs(clientProfiles['paho-go'], true)).toBe(45_000)
  })

  test.each(profileNames)('%s never takes longer than its bound, whenever the last answer came', (name) => {
    for (let lastAnswerMs = 0; lastAnswerMs < 10_000; lastAnswerMs += 700) {
      const bench = setUp({ profile: clientProfiles[name] })
      const connection = bench.accept()
      bench.host.advance(lastAnswerMs)
      bench.client.publish(message('answered'))
      acknowledge(connection, ids(connection)[0]!)
      expect(givesUpAfterMs(bench)).toBeLessThanOrEqual(detectionBoundMs(clientProfiles[name], false))
    }
  })

  test.each(profileNames)('%s stays on a path that answers its pings', (name) => {
    const bench = setUp({ profile: clientProfiles[name] })
    const connection = bench.accept()
    let answered = 0
    for (let second = 0; second < 600; second++) {
      bench.host.advance(1000)
      for (; answered < connection.ofType('pingreq').length; answered++) connection.send({ cmd: 'pingresp' })
    }
    expect(connection.closedBy).toBeUndefined()
    expect(answered).toBeGreaterThanOrEqual(5)
  })

  test('what is delivered to it counts as life for mosquitto, and not for MQTT.js', () => {
    const hearing = (name: ProfileName): Bench => {
      const bench = setUp({ profile: clientProfiles[name] })
      const connection = bench.accept()
      for (let second = 0; second < 110; second++) {
        bench.host.advance(1000)
        if (second < 100) connection.send({ cmd: 'publish', topic: 'data/2', payload: Buffer.from('x'), qos: 0, dup: false, retain: false })
      }
      return bench
    }
    expect(hearing('mqtt.js').host.connections[0]!.closedBy).toBe('reset')
    const mosquitto = hearing('mosquitto')
    expect(mosquitto.host.connections[0]!.closedBy).toBeUndefined()
    // Heard for the last time at 100 s: its bound counts from there.
    expect(110_000 + givesUpAfterMs(mosquitto)).toBeLessThanOrEqual(100_000 + 120_000)
  })
})

describe('the waits between attempts, by the documented back-off of each client', () => {
  test.each<[ProfileName, readonly number[]]>([
    ['mqtt.js', seconds(1, 1, 1, 1, 1)],
    ['mosquitto', seconds(1, 1, 1, 1, 1)],
    ['paho-java', seconds(1, 2, 4, 8, 16, 32, 64, 128, 128)],
    ['paho-python', seconds(1, 2, 4, 8, 16, 32, 64, 120, 120)],
    ['paho-go', seconds(0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600)],
  ])('%s, without jitter', (name, waits) => {
    expect(waitsMs(name, waits.length, 0.123)).toEqual(waits)
  })

  test.each<[ProfileName, number, number, readonly number[]]>([
    ['paho-c', 1 / 1.2, 1.2, seconds(1, 2, 4, 8, 16, 32, 60, 60)],
    ['hivemq', 0.75, 1.25, seconds(1, 2, 4, 8, 16, 32, 64, 120, 120)],
    ['recommended', 0, 1, seconds(0.5, 1, 2, 2, 2)],
  ])('%s, between %d and %d of the doubling wait', (name, from, to, waits) => {
    const shortest = waitsMs(name, waits.length, 0)
    const longest = waitsMs(name, waits.length, 1 - Number.EPSILON)
    for (const [index, wait] of waits.entries()) {
      expect(Math.abs(shortest[index]! - wait * from)).toBeLessThanOrEqual(1)
      expect(Math.abs(longest[index]! - wait * to)).toBeLessThanOrEqual(1)
    }
  })
})

describe('addresses', () => {
  const silentFor = (name: ProfileName, totalMs: number): readonly (readonly [string, number])[] => {
    const { host } = setUp({ profile: clientProfiles[name] })
    const dialled: [string, number][] = []
    for (let ms = 0; ms <= totalMs; ms += 100) {
      for (const { remote } of host.connections.slice(dialled.length)) dialled.push([remote.host, ms])
      host.advance(100)
    }
    return dialled
  }

  test.each<[ProfileName, number]>([
    ['paho-java', 30_000],
    ['paho-c', 30_000],
    ['hivemq', 10_000],
  ])('%s dials the first one only, for %i ms', (name, connectTimeoutMs) => {
    const { host, client } = setUp({ profile: clientProfiles[name] })
    host.advance(connectTimeoutMs - 1)
    expect(client.state).toBe('connecting')
    host.advance(1)
    expect(client.state).toBe('backing-off')
    expect(host.connections.map(({ remote }) => remote.host)).toEqual([ADDRESSES[0]])
  })

  test('Paho Python gives each of them 5 s', () => {
    expect(silentFor('paho-python', 14_000)).toEqual([
      [ADDRESSES[0], 0],
      [ADDRESSES[1], 5000],
      [ADDRESSES[2], 10_000],
    ])
  })

  test('Paho Go shares its 30 s among them', () => {
    expect(silentFor('paho-go', 29_000)).toEqual([
      [ADDRESSES[0], 0],
      [ADDRESSES[1], 10_000],
      [ADDRESSES[2], 20_000],
    ])
  })

  test('Paho Go gives what an address that refused at once left over to the others', () => {
    const { host, client } = setUp({ profile: clientProfiles['paho-go'] })
    host.last.die('refused')
    host.advance(14_999)
    expect(host.connections).toHaveLength(2)
    host.advance(1)
    expect(host.connections).toHaveLength(3)
    host.advance(14_999)
    expect(client.state).toBe('connecting')
  })

  test.each<[ProfileName, number]>([
    ['paho-java', 1],
    ['hivemq', 1],
    ['paho-c', 5],
  ])('%s resolves %i times in 5 attempts of half a minute', (name, times) => {
    const { host, resolved } = setUp({ profile: clientProfiles[name], addresses: ONE_ADDRESS })
    for (let attempt = 1; attempt < 5; attempt++) {
      const before = host.connections.length
      host.last.die('refused')
      while (host.connections.length === before) host.advance(100)
    }
    expect(host.nowMs()).toBeLessThan(30_000)
    expect(resolved()).toBe(times)
  })

  test('the JVM asks again once its 30 s are over', () => {
    const { host, resolved } = setUp({ profile: clientProfiles['paho-java'], addresses: ONE_ADDRESS })
    host.advance(29_000)
    host.last.die('refused')
    host.advance(1500)
    expect(resolved()).toBe(2)
  })
})

describe('a server that takes the connection and never answers', () => {
  test.each<[ProfileName, number]>([
    ['recommended', 2000],
    ['mqtt.js', 30_000],
    ['paho-java', 30_000],
    ['paho-python', 60_000],
    ['paho-go', 30_000],
    ['paho-c', 30_000],
    ['hivemq', 60_000],
    ['mosquitto', 60_000],
  ])('%s waits %i ms for CONNACK', (name, waitMs) => {
    const bench = setUp({ profile: clientProfiles[name], addresses: ONE_ADDRESS })
    bench.host.last.open()
    expect(givesUpAfterMs(bench)).toBe(waitMs)
  })
})

describe('subscriptions after a reconnect', () => {
  const subscribesAgain = (name: ProfileName, sessionPresent: boolean): boolean => {
    const { host, client, accept } = setUp({ profile: clientProfiles[name], cleanStart: false, addresses: ONE_ADDRESS })
    client.subscribe([{ filter: 'data/2', qos: 1 }])
    const first = accept()
    const granted = clientProfiles[name].version === 5 ? { reasonCodes: [1] } : {}
    first.send({ cmd: 'suback', messageId: first.ofType('subscribe')[0]!.messageId, granted: [1], ...granted })
    first.die('reset')
    host.advance(2000)
    return accept({ sessionPresent }).ofType('subscribe').length > 0
  }

  test.each<[ProfileName, boolean]>([
    ['recommended', false],
    ['mqtt.js', false],
    ['hivemq', false],
    ['paho-java', true],
    ['paho-python', true],
    ['paho-go', true],
    ['paho-c', true],
    ['mosquitto', true],
  ])('%s asks for them again in a session that was kept: %s', (name, again) => {
    expect(subscribesAgain(name, true)).toBe(again)
    expect(subscribesAgain(name, false)).toBe(true)
  })
})

describe('what was not acknowledged', () => {
  const afterLoss = (name: ProfileName, options: { cleanStart: boolean; sessionPresent: boolean }) => {
    const { host, client, accept, counters } = setUp({
      profile: clientProfiles[name],
      cleanStart: options.cleanStart,
      addresses: ONE_ADDRESS,
    })
    const first = accept()
    client.publish(message('open'))
    const id = ids(first)[0]!
    first.die('reset')
    host.advance(2000)
    const second = accept({ sessionPresent: options.sessionPresent })
    return { texts: texts(second), dup: second.ofType('publish')[0]?.dup, sameId: ids(second)[0] === id, dropped: counters.dropped }
  }

  test.each<[ProfileName, boolean]>([
    ['paho-java', true],
    ['paho-python', true],
    ['paho-go', true],
    ['paho-c', true],
    ['hivemq', true],
    ['mosquitto', true],
    ['mqtt.js', false],
  ])('%s sends it again in the session that was kept, with DUP: %s', (name, dup) => {
    expect(afterLoss(name, { cleanStart: false, sessionPresent: true })).toEqual({ texts: ['open'], dup, sameId: true, dropped: 0 })
  })

  test.each<[ProfileName, readonly string[]]>([
    ['paho-java', []],
    ['paho-python', ['open']],
    ['paho-go', ['open']],
    ['paho-c', []],
    ['hivemq', []],
    ['mosquitto', ['open']],
  ])('%s, after a clean start, sends %j', (name, expected) => {
    const after = afterLoss(name, { cleanStart: true, sessionPresent: false })
    expect(after.texts).toEqual(expected)
    expect(after.dropped).toBe(expected.length === 0 ? 1 : 0)
  })

  test('Paho Java sends it under its id though the server lost the session, and HiveMQ drops it, with what waited', () => {
    expect(afterLoss('paho-java', { cleanStart: false, sessionPresent: false })).toMatchObject({ texts: ['open'], sameId: true })
    expect(afterLoss('hivemq', { cleanStart: false, sessionPresent: false })).toMatchObject({ texts: [], dropped: 1 })
  })
})

describe('publishing', () => {
  test.each<[ProfileName, number]>([
    ['paho-java', 10],
    ['paho-python', 20],
    ['mosquitto', 20],
  ])('%s has %i publishes open at most', (name, limit) => {
    const { client, accept } = setUp({ profile: clientProfiles[name] })
    const connection = accept()
    for (let i = 0; i < 30; i++) client.publish(message(`${i}`))
    expect(connection.ofType('publish')).toHaveLength(limit)
  })

  test('Paho Java refuses what its window has no room for, and takes more when it has', () => {
    const { client, accept, counters } = setUp({ profile: clientProfiles['paho-java'] })
    const connection = accept()
    const taken = Array.from({ length: 12 }, (_, i) => client.publish(message(`${i}`)))
    expect(taken).toEqual([...Array(10).fill(true), false, false])
    expect(counters.dropped).toBe(2)
    acknowledge(connection, ids(connection)[0]!)
    expect(client.publish(message('more'))).toBe(true)
    expect(texts(connection).at(-1)).toBe('more')
  })

  test.each<[ProfileName, boolean]>([
    ['paho-java', false],
    ['paho-c', false],
    ['paho-python', true],
    ['paho-go', true],
    ['hivemq', true],
    ['mosquitto', true],
  ])('%s takes a publish without a connection: %s', (name, takes) => {
    const { host, client, accept } = setUp({ profile: clientProfiles[name], cleanStart: false, addresses: ONE_ADDRESS })
    accept().die('reset')
    expect(client.publish(message('offline'))).toBe(takes)
    host.advance(2000)
    expect(texts(accept({ sessionPresent: true }))).toEqual(takes ? ['offline'] : [])
  })
})
