import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const FILTER = '$share/g/data/#'

/** Clients 1 and 2 share the topics of client 0. */
function group(): { stage: Stage; publisher: StageConnection; one: StageConnection; two: StageConnection } {
  const stage = new Stage(clients(4), { promises: ['acked-delivered', 'no-phantom', 'qos0-at-most-once', 'publisher-order', 'progress'] })
  const publisher = stage.connected(0)
  const one = stage.connected(1)
  const two = stage.connected(2)
  one.subscribe(FILTER)
  two.subscribe(FILTER)
  return { stage, publisher, one, two }
}

function send(publisher: StageConnection, ...sequences: readonly number[]): void {
  for (const sequence of sequences) {
    publisher.publish('data/0', sequence)
    publisher.puback(sequence)
  }
}

const lost = (stage: Stage) => stage.result('acked-delivered').violationCount

describe('shared subscriptions', () => {
  test('one member is enough, whichever', () => {
    const { stage, publisher, one, two } = group()
    send(publisher, 0, 1, 2)
    one.deliver('data/0', 0, 0)
    two.deliver('data/0', 0, 2)
    two.deliver('data/0', 0, 1)
    stage.wait(10_000)
    const results = stage.finish()
    expect([...results.values()].filter((each) => each.verdict === 'violated')).toEqual([])
    expect(results.get('acked-delivered')).toMatchObject({ verdict: 'held', exercised: 3 })
  })

  test('a message that no member gets violates acked-delivered', () => {
    const { stage, publisher, one, two } = group()
    send(publisher, 0, 1, 2)
    one.deliver('data/0', 0, 0)
    two.deliver('data/0', 0, 2)
    stage.wait(10_000)
    const result = stage.result('acked-delivered')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('(sequence 1) never reached any member of $share/g/data/#')
  })

  test('a message on a topic that begins later is due as well', () => {
    const { stage, publisher } = group()
    publisher.publish('data/new', 0)
    publisher.puback(0)
    stage.wait(10_000)
    expect(lost(stage)).toBe(1)
  })

  test('what was published before the first SUBACK is not due', () => {
    const stage = new Stage(clients(2))
    const publisher = stage.connected(0)
    send(publisher, 0)
    stage.connected(1).subscribe(FILTER)
    stage.wait(10_000)
    expect(lost(stage)).toBe(0)
  })

  test('where the chosen one may have left, or its session may have ended, nothing before is due', () => {
    const endings: readonly ((stage: Stage, one: StageConnection) => void)[] = [
      (_stage, one) => one.unsubscribe(FILTER),
      (stage, one) => {
        one.close()
        stage.connection(1).connect({ unanswered: true, cleanStart: true })
      },
    ]
    for (const ending of endings) {
      const { stage, publisher, one } = group()
      send(publisher, 0)
      ending(stage, one)
      stage.wait(10_000)
      expect(lost(stage)).toBe(0)
    }
  })

  test('what waited for one whose session surely ended is due to another that was there, at QoS 1', () => {
    for (const qos of [1, 2]) {
      const { stage, publisher, one } = group()
      publisher.publish('data/0', 0, { qos, packetId: 1 })
      publisher.receive({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId: 1 })
      stage.wait(100)
      one.receive({ cmd: 'pingresp' })
      one.close()
      stage.connected(1, 4, { cleanStart: true })
      stage.wait(10_000)
      expect(lost(stage)).toBe(qos === 1 ? 1 : 0)
    }
  })

  test('it is due to none that came when the session may have ended already', () => {
    const stage = new Stage(clients(3))
    const publisher = stage.connected(0)
    const one = stage.connected(1, 5, { properties: { sessionExpiryInterval: 5 } })
    one.subscribe(FILTER)
    send(publisher, 0)
    one.close()
    stage.wait(8000)
    stage.connected(2).subscribe(FILTER)
    stage.connected(1, 5, { cleanStart: true })
    stage.wait(10_000)
    expect(lost(stage)).toBe(0)
  })

  test('what comes after that is due again', () => {
    const { stage, publisher, one } = group()
    send(publisher, 0)
    one.unsubscribe(FILTER)
    send(publisher, 1)
    stage.wait(10_000)
    expect(lost(stage)).toBe(1)
  })

  test('a member that is away may be the one that was chosen', () => {
    const { stage, publisher, one, two } = group()
    one.close()
    send(publisher, 0)
    stage.wait(10_000)
    expect(lost(stage)).toBe(0)
    stage.connected(1, 4, { present: true })
    stage.wait(10_000)
    expect(lost(stage)).toBe(1)
    expect(two.number).toBe(2)
  })

  test('a member at QoS 0 may be the one that was chosen, and lose it', () => {
    const { stage, publisher, two } = group()
    two.subscribe(FILTER, 0)
    send(publisher, 0)
    stage.wait(10_000)
    expect(lost(stage)).toBe(0)
  })

  test('a session with a plain subscription too gets both copies, and its own is due to it', () => {
    const { stage, publisher, one, two } = group()
    one.subscribe('data/0')
    publisher.publish('data/0', 0, { qos: 0 })
    one.deliver('data/0', 0, 0, { qos: 0 })
    one.deliver('data/0', 0, 0, { qos: 0 })
    send(publisher, 1)
    two.deliver('data/0', 0, 1)
    stage.wait(10_000)
    const results = stage.finish()
    expect(results.get('qos0-at-most-once')!.violationCount).toBe(0)
    expect(results.get('acked-delivered')!.violations.map((each) => each.text)).toEqual([expect.stringContaining('never reached client-1')])
  })

  test('a delivery to one that is no member is a phantom', () => {
    const { stage, publisher } = group()
    const stranger = stage.connected(3)
    send(publisher, 0)
    stranger.deliver('data/0', 0, 0)
    expect(stage.result('no-phantom').violationCount).toBe(1)
  })
})
