import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'
import type { ClientFacts } from './state.ts'

const FILTER = '$share/g/data/#'

interface Group {
  readonly stage: Stage
  readonly publisher: StageConnection
  readonly one: StageConnection
  readonly two: StageConnection
}

/** Clients 1 and 2 share the topics of client 0, which has sent a message. */
function group(qos: number, facts: Partial<ClientFacts> = {}, properties: Record<string, unknown> = {}): Group {
  const stage = new Stage(clients(3, facts), { promises: ['no-phantom'] })
  const publisher = stage.connected(0, 5)
  const one = stage.connected(1, 5, { properties })
  const two = stage.connected(2, 5)
  one.subscribe(FILTER, qos)
  two.subscribe(FILTER, qos)
  publisher.publish('data/0', 0, { qos })
  return { stage, publisher, one, two }
}

const violations = (stage: Stage) => stage.result('no-phantom').violations.map(({ signature }) => signature)
const VIOLATED = ['no-phantom: to two of a shared group']

describe('a message to two members of a shared group', () => {
  test('is a phantom to the second, once the first has acknowledged it', () => {
    const { stage, one, two } = group(1)
    one.deliver('data/0', 0, 0)
    two.deliver('data/0', 0, 0)
    expect(violations(stage)).toEqual(VIOLATED)
    expect(stage.result('no-phantom').violations[0]!.text).toContain('client-1 had acknowledged it')
  })

  test('is one where the first has gone away since, and its session is kept', () => {
    const { stage, one, two } = group(1)
    one.deliver('data/0', 0, 0)
    one.close()
    stage.wait(60_000)
    two.deliver('data/0', 0, 0)
    expect(violations(stage)).toEqual(VIOLATED)
  })

  test('may go to the second where the first has not acknowledged it', () => {
    const { stage, one, two } = group(1)
    one.deliver('data/0', 0, 0, { acknowledge: false })
    one.close()
    two.deliver('data/0', 0, 0)
    expect(violations(stage)).toEqual([])
  })

  test('may go to the second at QoS 1 where the session of the first has ended, or may have', () => {
    const endings: readonly ((stage: Stage) => void)[] = [
      (stage) => stage.wait(28_000),
      (stage) => stage.connected(1, 5, { cleanStart: true }),
      (stage) => stage.connection(1, 5).connect({ cleanStart: true, unanswered: true }),
    ]
    for (const ending of endings) {
      const { stage, one, two } = group(1, {}, { sessionExpiryInterval: 30 })
      one.deliver('data/0', 0, 0)
      one.close()
      ending(stage)
      two.deliver('data/0', 0, 0)
      expect(violations(stage)).toEqual([])
    }
  })

  test('goes to nobody else once it was begun at QoS 2, though the session has ended [MQTT-4.8.2-5]', () => {
    const { stage, one, two } = group(2)
    one.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    one.close()
    stage.connected(1, 5, { cleanStart: true })
    two.deliver('data/0', 0, 0, { qos: 2, packetId: 7 })
    expect(violations(stage)).toEqual(VIOLATED)
  })

  test('goes to nobody else at QoS 0', () => {
    const { stage, one, two } = group(0)
    one.deliver('data/0', 0, 0, { qos: 0 })
    two.deliver('data/0', 0, 0, { qos: 0 })
    expect(violations(stage)).toEqual(VIOLATED)
  })

  test('may be two messages where its publisher sent it again at QoS 1; at QoS 2 it is one', () => {
    for (const qos of [1, 2]) {
      const { stage, publisher, one, two } = group(qos)
      publisher.close()
      stage.connected(0, 5, { present: true }).publish('data/0', 0, { qos, dup: true })
      one.deliver('data/0', 0, 0, { qos, packetId: 7 })
      two.deliver('data/0', 0, 0, { qos, packetId: 7 })
      expect(violations(stage)).toEqual(qos === 1 ? [] : VIOLATED)
    }
  })

  test('may be the copy of a subscription that the second has for itself, or of another group', () => {
    for (const filter of ['data/0', '$share/other/data/#']) {
      const { stage, publisher, one, two } = group(1)
      two.subscribe(filter)
      publisher.publish('data/0', 1)
      one.deliver('data/0', 0, 1)
      two.deliver('data/0', 0, 1)
      expect(violations(stage)).toEqual([])
    }
  })

  test('is one message where the same member gets it again', () => {
    const { stage, one } = group(1)
    one.deliver('data/0', 0, 0)
    one.close()
    stage.connected(1, 5, { present: true }).deliver('data/0', 0, 0, { dup: true })
    expect(violations(stage)).toEqual([])
  })
})
