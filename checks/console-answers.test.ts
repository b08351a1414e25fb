import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import type { ConsoleAnswer, ConsoleQuestion } from './console-answers.ts'
import { clients, Stage } from './stage.test-support.ts'

const twoConsoles: Fault = { kind: 'isolation', machines: ['console-1', 'console-3'], direction: 'both' }
const create: ConsoleQuestion = { request: 'createTopic', subject: 'pumps' }

class Desk {
  readonly stage = new Stage(clients(3))

  constructor() {
    this.stage.wait(20_000)
  }

  ask(question: ConsoleQuestion): number {
    return this.stage.checks.operator.asked(question, this.stage.nowUs)
  }

  answer(number: number, answer: ConsoleAnswer): void {
    this.stage.checks.operator.answered(number, answer, this.stage.nowUs)
  }

  /** Asked, and answered a moment later. */
  exchange(question: ConsoleQuestion, answer: ConsoleAnswer): void {
    const number = this.ask(question)
    this.stage.wait(50)
    this.answer(number, answer)
  }

  publish(client: number, topic: string, sequence: number, reasonCode: number, size = 32): void {
    const connection = this.stage.connected(client, 5)
    connection.publish(topic, sequence, { size })
    this.stage.wait(10)
    connection.receive({ cmd: 'puback', messageId: sequence + 1, reasonCode })
    connection.close()
  }

  get texts(): string {
    return this.stage
      .result('console-answers')
      .violations.map(({ text }) => text)
      .join('\n')
  }
}

describe('console-answers', () => {
  test('holds where a request is answered in time', () => {
    const desk = new Desk()
    desk.exchange(create, { outcome: 'done' })
    desk.stage.wait(10_000)
    expect(desk.stage.result('console-answers')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('catches an answer that does not come in time, whether it comes later or not', () => {
    for (const late of [true, false]) {
      const desk = new Desk()
      const number = desk.ask(create)
      desk.stage.wait(6000)
      desk.publish(0, 'data/0', 0, 0)
      if (late) desk.answer(number, { outcome: 'done' })
      expect(desk.texts).toContain('asked the console for createTopic of pumps at 20.000 s; there was no answer in time')
    }
  })

  test('catches a change that the console says it cannot make, and a question while all is well', () => {
    for (const question of [create, { request: 'findMessages', subject: 'data/0' } as const]) {
      const desk = new Desk()
      desk.exchange(question, { outcome: 'out-of-reach' })
      expect(desk.texts).toContain('the answer was: out-of-reach')
    }
  })

  test('bears both while a majority of the consoles is out of order, and a shard out of reach while the region is troubled', () => {
    const minority = new Desk()
    minority.stage.apply(twoConsoles)
    minority.exchange(create, { outcome: 'unanswered' })
    expect(minority.stage.verdict('console-answers')).toBe('not-exercised')
    const troubled = new Desk()
    troubled.stage.apply({ kind: 'crash', machines: ['broker-1'] })
    troubled.exchange({ request: 'findMessages', subject: 'data/0' }, { outcome: 'out-of-reach' })
    expect(troubled.stage.verdict('console-answers')).toBe('held')
  })

  test('catches a topic that was created and is not usable, and one that was deleted and is', () => {
    const created = new Desk()
    created.exchange(create, { outcome: 'done' })
    created.publish(0, 'pumps/1', 0, 0x90)
    expect(created.stage.verdict('console-answers')).toBe('held')
    created.stage.wait(6000)
    created.publish(0, 'pumps/1', 1, 0x10)
    created.publish(1, 'pumps/2', 0, 0x90)
    expect(created.texts).toContain('a publish of client-1 to pumps/2, first sent at 26.070 s, was refused')
    const deleted = new Desk()
    deleted.exchange({ request: 'deleteTopic', subject: 'pumps' }, { outcome: 'done' })
    deleted.stage.wait(6000)
    deleted.publish(0, 'pumps/1', 0, 0x90)
    deleted.publish(1, 'pumps/2', 0, 0)
    expect(deleted.texts).toContain('was accepted')
  })

  test('does not blame a proxy that may be cut off from the consoles and not from its clients', () => {
    const desk = new Desk()
    desk.stage.apply({ kind: 'partition', from: ['proxy-1'], to: ['console-1', 'console-2', 'console-3'], bothWays: true })
    desk.exchange(create, { outcome: 'done' })
    desk.stage.wait(6000)
    desk.publish(0, 'pumps/1', 0, 0x90)
    expect(desk.stage.verdict('console-answers')).not.toBe('violated')
  })

  test('judges what was changed at such a time from a budget after all can know of it', () => {
    const desk = new Desk()
    desk.stage.apply({ kind: 'pause', machines: ['console-1'] })
    desk.exchange({ request: 'deleteTopic', subject: 'pumps' }, { outcome: 'done' })
    desk.stage.wait(1000)
    desk.stage.heal({ kind: 'pause', machines: ['console-1'] })
    desk.stage.wait(14_000)
    desk.publish(0, 'pumps/1', 0, 0)
    expect(desk.stage.verdict('console-answers')).not.toBe('violated')
    desk.stage.wait(2000)
    desk.publish(1, 'pumps/1', 0, 0)
    expect(desk.texts).toContain('The console had deleted the first level pumps by 20.050 s')
  })

  test('catches a client that was kicked and is still there', () => {
    for (const stays of [true, false]) {
      const desk = new Desk()
      const connection = desk.stage.connected(1)
      desk.stage.wait(1000)
      desk.exchange({ request: 'kickClient', subject: 'client-1' }, { outcome: 'kicked' })
      if (!stays) connection.close('peer')
      desk.stage.wait(7000)
      expect(desk.stage.verdict('console-answers')).toBe(stays ? 'violated' : 'held')
    }
  })

  test('catches acknowledged messages that are not found, and one that is not found by its id', () => {
    const desk = new Desk()
    const publisher = desk.stage.connected(0)
    for (const sequence of [0, 1, 2]) {
      publisher.publish('data/0', sequence)
      publisher.puback(sequence)
    }
    const question = { request: 'findMessages', subject: 'data/0' } as const
    const found = [0, 1].map((sequence) => ({ publisher: 0, sequence }))
    desk.exchange(question, { outcome: 'found', isComplete: false, messages: found })
    expect(desk.stage.verdict('console-answers')).toBe('held')
    desk.exchange(question, { outcome: 'found', isComplete: true, messages: found })
    desk.exchange({ request: 'traceMessage', subject: 'data/0' }, { outcome: 'none', messages: [found[1]!] })
    expect(desk.texts).toContain('the answer lacks 1 acknowledged messages of publisher 0 (sequence 2)')
    expect(desk.texts).toContain('the message of sequence 1 was not found by its id: none')
  })

  test('catches a query by time that finds too little or too much', () => {
    const messages = [1, 2, 3].map((sequence) => ({ publisher: 0, sequence }))
    const question = { request: 'findMessages', subject: 'data/0', isByTime: true } as const
    for (const found of [messages.slice(0, 2), messages.slice(1), messages]) {
      const desk = new Desk()
      desk.exchange(question, { outcome: 'found', isComplete: true, messages: found, expected: messages.slice(0, 2) })
      expect(desk.stage.verdict('console-answers')).toBe(found.length === 2 && found[0]!.sequence === 1 ? 'held' : 'violated')
    }
  })

  test('catches a connected client that is not listed', () => {
    const desk = new Desk()
    desk.stage.connected(0)
    desk.stage.connected(2)
    desk.stage.wait(30_000)
    const question = { request: 'listClients', subject: '100 clients' } as const
    desk.exchange(question, { outcome: 'found', isComplete: true, clients: ['client-2', 'client-0'] })
    expect(desk.stage.verdict('console-answers')).toBe('held')
    desk.exchange(question, { outcome: 'found', isComplete: true, clients: ['client-2'] })
    expect(desk.texts).toContain('client-0 is connected, and not listed as that')
  })
})

describe('quotas', () => {
  const set = (messagesPerSecond: number, payloadBytes: number): ConsoleQuestion => ({
    request: 'setQuotas',
    subject: 'all clients',
    quotas: { messagesPerSecond, payloadBytes },
  })

  /** Publishes for so many seconds, and is answered at once. */
  function burst(desk: Desk, perSecond: number, spanSeconds: number, reasonCodeOf: (sequence: number) => number) {
    const connection = desk.stage.connected(0, 5)
    desk.stage.wait(6000)
    for (let sequence = 0; sequence < perSecond * spanSeconds; sequence++) {
      connection.publish('data/0', sequence)
      connection.receive({ cmd: 'puback', messageId: sequence + 1, reasonCode: reasonCodeOf(sequence) })
      desk.stage.wait(1000 / perSecond)
    }
    return connection
  }

  function limited(perSecond: number): Desk {
    const desk = new Desk()
    desk.exchange(set(perSecond, 65_536), { outcome: 'done' })
    desk.stage.wait(6000)
    return desk
  }

  test('of payload: catches one too large that is accepted', () => {
    const desk = new Desk()
    desk.exchange(set(0, 100), { outcome: 'done' })
    desk.stage.wait(6000)
    desk.publish(0, 'data/0', 0, 0x97, 200)
    expect(desk.stage.verdict('console-answers')).toBe('held')
    desk.publish(0, 'data/0', 1, 0, 200)
    expect(desk.texts).toContain('with 200 bytes was accepted')
  })

  test('of payload: binds as well where it was set while a console was paused', () => {
    const desk = new Desk()
    desk.stage.apply({ kind: 'pause', machines: ['console-1'] })
    desk.exchange(set(0, 100), { outcome: 'done' })
    desk.stage.heal({ kind: 'pause', machines: ['console-1'] })
    desk.stage.wait(14_000)
    desk.publish(0, 'data/0', 0, 0, 200)
    expect(desk.texts).toBe('')
    desk.stage.wait(2000)
    desk.publish(0, 'data/0', 1, 0, 200)
    expect(desk.texts).toContain('with 200 bytes was accepted')
  })

  test('of messages: catches one more than a full bucket and its filling that is accepted', () => {
    const desk = limited(10)
    burst(desk, 50, 3, () => 0)
    expect(desk.texts).toContain('and 10 a second are allowed')
    const bucket = limited(10)
    burst(bucket, 50, 1, (sequence) => (sequence < 10 || sequence % 5 === 0 ? 0 : 0x97))
    expect(bucket.stage.verdict('console-answers')).toBe('held')
  })

  test('of messages: catches a client below it that is refused for it', () => {
    const desk = limited(10)
    burst(desk, 2, 3, (sequence) => (sequence === 5 ? 0x97 : 0))
    expect(desk.texts).toContain('it had published 4 messages at most in two seconds, and 10 a second are allowed')
  })

  test('of messages: catches a client that is sent away, above it or not', () => {
    const desk = limited(10)
    burst(desk, 50, 1, (sequence) => (sequence < 10 ? 0 : 0x97)).receive({ cmd: 'disconnect', reasonCode: 0x96 })
    expect(desk.texts).toContain('was sent away for publishing too much')
  })

  test('of messages: is put to the test by who is above it, and by nobody else', () => {
    const exercisedBy = (perSecond: number) => {
      const desk = limited(10)
      const before = desk.stage.result('console-answers').exercised
      burst(desk, perSecond, 2, (sequence) => (sequence < 10 ? 0 : 0x97))
      return desk.stage.result('console-answers').exercised - before
    }
    expect(exercisedBy(5)).toBe(0)
    expect(exercisedBy(50)).toBeGreaterThan(10)
  })
})
