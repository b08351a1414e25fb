import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { clients, Stage } from './stage.test-support.ts'

describe('session-kept', () => {
  test('catches a session that is gone before its time', () => {
    const stage = new Stage(clients(1))
    stage.connected(0).close()
    stage.wait(5000)
    stage.connected(0, 4, { present: false })
    const result = stage.result('session-kept')
    expect(result.verdict).toBe('violated')
    expect(result.violations[0]!.signature).toBe('session-kept: absent though it was to be kept')
  })

  test('catches a session present after a clean start, and one that never was', () => {
    const stage = new Stage(clients(2))
    stage.connected(0, 4, { cleanStart: true, present: true })
    stage.connected(1, 4, { present: true })
    expect(stage.result('session-kept').violationCount).toBe(2)
  })

  test('holds when the session is there, and when a clean start has ended it', () => {
    const stage = new Stage(clients(2))
    stage.connected(0).close()
    stage.connected(0, 4, { present: true }).close()
    stage.connected(1, 4, { cleanStart: true }).close()
    stage.connected(1, 4, { cleanStart: true })
    expect(stage.result('session-kept')).toMatchObject({ verdict: 'held', exercised: 2 })
  })

  test('a CONNACK of MQTT 3.1 tells nothing of the session, which goes on all the same', () => {
    const stage = new Stage(clients(2, { version: 3 }))
    stage.checks.onAct('warm-up', 0)
    const publisher = stage.connected(1, 3)
    const subscriber = stage.connected(0, 3)
    subscriber.subscribe('data/1')
    publisher.publish('data/1', 0)
    publisher.puback(0)
    subscriber.deliver('data/1', 1, 0, { acknowledge: false })
    subscriber.close()
    const again = stage.connected(0, 3)
    expect(stage.result('session-kept')).toMatchObject({ violationCount: 0, exercised: 1 })
    again.deliver('data/1', 1, 0, { dup: true })
    publisher.publish('data/1', 1)
    publisher.puback(1)
    stage.wait(8000)
    const results = stage.finish()
    expect(results.get('no-phantom')!.violationCount).toBe(0)
    expect(results.get('session-kept')!.violationCount).toBe(0)
    expect(results.get('acked-delivered')!.violations[0]!.text).toContain('(sequence 1) never reached client-0')
  })

  test('in MQTT 3.1 a session that may have ended makes old messages legal, and nothing is due to it', () => {
    const stage = new Stage(clients(2, { version: 3 }))
    stage.checks.onAct('warm-up', 0)
    const publisher = stage.connected(1, 3)
    const subscriber = stage.connected(0, 3)
    subscriber.subscribe('data/1')
    publisher.publish('data/1', 0)
    publisher.publish('data/1', 1)
    publisher.puback(0)
    publisher.puback(1)
    subscriber.close()
    const lost = stage.connection(0, 3)
    lost.connect({ unanswered: true, cleanStart: true })
    lost.close('self')
    stage.connected(0, 3).deliver('data/1', 1, 1)
    stage.wait(8000)
    const violated = [...stage.finish().values()].filter(({ verdict }) => verdict === 'violated')
    expect(violated).toEqual([])
  })

  test('an expired session may be there or not', () => {
    const stage = new Stage(clients(2, { version: 5 }))
    for (const number of [0, 1]) {
      stage.connected(number, 5, { properties: { sessionExpiryInterval: 30 } }).close()
      stage.wait(31_000)
      stage.connected(number, 5, { present: number === 0 })
    }
    expect(stage.result('session-kept').violationCount).toBe(0)
  })

  /** Client 0 goes, is away, and is told that its session is there. */
  const expired = (awayMs: number, meanwhile?: (stage: Stage) => void, expirySeconds = 30) => {
    const stage = new Stage(clients(1, { version: 5 }))
    stage.connected(0, 5, { properties: { sessionExpiryInterval: expirySeconds } }).close()
    meanwhile?.(stage)
    stage.wait(awayMs)
    stage.connected(0, 5, { present: true, properties: { sessionExpiryInterval: expirySeconds } })
    return stage.result('session-kept').violations.map(({ signature }) => signature)
  }

  test('catches a session that is there long after it expired [MQTT-3.2.2-3]', () => {
    // Fifteen seconds to notice the end, a tenth more than the expiry, and two seconds.
    expect(expired(51_000)).toEqual(['session-kept: present that has expired'])
    expect(expired(49_000)).toEqual([])
  })

  test('a session that was to expire is there where a fault or another CONNECT came between, or a DISCONNECT that may be lost', () => {
    const fault: Fault = { kind: 'crash', machines: ['broker-1'] }
    expect(
      expired(40_000, (stage) => {
        stage.wait(20_000)
        stage.apply(fault)
        stage.heal(fault)
      }),
    ).toEqual([])
    expect(
      expired(51_000, (stage) => {
        stage.wait(20_000)
        const unanswered = stage.connection(0, 5)
        unanswered.connect({ unanswered: true, properties: { sessionExpiryInterval: 3600 } })
        unanswered.close()
      }),
    ).toEqual([])
    expect(expired(51_000, (stage) => stage.connection(0, 5).connect({ unanswered: true }))).toEqual([])
    const stage = new Stage(clients(1, { version: 5 }))
    const leaving = stage.connected(0, 5)
    leaving.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 5 } })
    leaving.close('self', 'ended')
    stage.wait(60_000)
    stage.connected(0, 5, { present: true })
    expect(stage.result('session-kept').violationCount).toBe(0)
  })

  test('a session that began with an unanswered CONNECT may be there or not', () => {
    const stage = new Stage(clients(2))
    for (const number of [0, 1]) {
      const lost = stage.connection(number)
      lost.connect({ unanswered: true })
      lost.close('self')
      stage.connected(number, 4, { present: number === 0 })
    }
    expect(stage.result('session-kept').violationCount).toBe(0)
  })

  test('a clean start without an answer may have ended the session; a persistent one has not', () => {
    const stage = new Stage(clients(2))
    for (const number of [0, 1]) {
      stage.connected(number).close()
      const lost = stage.connection(number)
      lost.connect({ unanswered: true, cleanStart: number === 0 })
      lost.close('self')
      stage.connected(number, 4, { present: false })
    }
    const result = stage.result('session-kept')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('client-1')
  })

  test('catches an in-flight message that does not come again after session present', () => {
    const stage = new Stage(clients(2))
    stage.connected(1).publish('data/1', 0)
    const subscriber = stage.connected(0)
    subscriber.subscribe('data/1')
    subscriber.deliver('data/1', 1, 0, { acknowledge: false })
    subscriber.close()
    const again = stage.connected(0, 4, { present: true })
    stage.wait(6000)
    expect(stage.verdict('session-kept')).toBe('violated')
    again.close()
  })

  test('a client that gives up the new connection, and leaves it open, waits there for nothing', () => {
    const stage = new Stage(clients(2))
    stage.connected(1).publish('data/1', 0)
    const subscriber = stage.connected(0)
    subscriber.subscribe('data/1')
    subscriber.deliver('data/1', 1, 0, { acknowledge: false })
    stage.connected(0, 4, { present: true })
    stage.wait(3000)
    stage.connected(0, 4, { present: true }).deliver('data/1', 1, 0, { dup: true })
    stage.wait(6000)
    expect(stage.verdict('session-kept')).toBe('held')
  })

  test('an in-flight message that comes again, or that the client acknowledged, is kept', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(1)
    publisher.publish('data/1', 0)
    publisher.publish('data/1', 1)
    const subscriber = stage.connected(0)
    subscriber.subscribe('data/1')
    subscriber.deliver('data/1', 1, 0)
    subscriber.deliver('data/1', 1, 1, { acknowledge: false })
    subscriber.close()
    stage.connected(0, 4, { present: true }).deliver('data/1', 1, 1, { dup: true })
    stage.wait(6000)
    expect(stage.verdict('session-kept')).toBe('held')
  })

  test('a delivery of QoS 2 that was answered with PUBREC goes on with PUBREL, or with PUBLISH [MQTT-4.4.0-1]', () => {
    for (const next of ['pubrel', 'publish', 'nothing']) {
      const stage = new Stage(clients(2))
      const publisher = stage.connected(0)
      const subscriber = stage.connected(1)
      subscriber.subscribe('data/0', 2)
      publisher.publish('data/0', 0, { qos: 2 })
      subscriber.deliver('data/0', 0, 0, { qos: 2, packetId: 5 })
      subscriber.send({ cmd: 'pubrec', messageId: 5 })
      subscriber.close()
      const again = stage.connected(1, 4, { present: true })
      if (next === 'pubrel') again.receive({ cmd: 'pubrel', messageId: 5 })
      if (next === 'publish') again.deliver('data/0', 0, 0, { qos: 2, packetId: 5, dup: true })
      stage.wait(7000)
      expect([next, stage.result('session-kept').violationCount]).toEqual([next, next === 'nothing' ? 1 : 0])
    }
  })

  test('a PUBREL that the client repeats is answered [MQTT-4.3.3-11]', () => {
    for (const answered of [true, false]) {
      const stage = new Stage(clients(1))
      const publisher = stage.connected(0)
      publisher.publish('data/0', 0, { qos: 2, packetId: 1 })
      publisher.pubrec(1)
      publisher.pubrel(1)
      publisher.close()
      const again = stage.connected(0, 4, { present: true })
      again.pubrel(1)
      if (answered) again.pubcomp(1)
      stage.wait(7000)
      expect(stage.result('session-kept').violationCount).toBe(answered ? 0 : 1)
    }
  })
})
