import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const consoles = ['console-1', 'console-2', 'console-3']
const noConsole = { kind: 'isolation', machines: consoles, direction: 'both' } as const

/** Publishes one after the other, each acknowledged after so many ms. */
class Publisher {
  readonly stage = new Stage(clients(2))
  readonly connection: StageConnection
  private sequence = 0

  constructor() {
    this.connection = this.stage.connected(0)
    this.stage.checks.onAct('faults', this.stage.nowUs)
  }

  publish(count: number, latencyMs: (index: number) => number): void {
    for (let i = 0; i < count; i++) {
      this.connection.publish('data/0', this.sequence)
      this.stage.wait(latencyMs(i))
      this.connection.puback(this.sequence++)
      this.stage.wait(20)
    }
  }

  /** The console is cut, after a while in which all was well. */
  static withoutConsole(): Publisher {
    const publisher = new Publisher()
    publisher.stage.wait(15_000)
    publisher.publish(200, () => 4)
    publisher.stage.apply(noConsole)
    return publisher
  }
}

describe('control-isolated', () => {
  test('catches acknowledgements that take longer without the console', () => {
    const publisher = Publisher.withoutConsole()
    publisher.publish(200, (i) => (i % 20 === 0 ? 300 : 4))
    const result = publisher.stage.result('control-isolated')
    expect(result.verdict).toBe('violated')
    expect(result.violations[0]!.text).toContain(
      'Without the console one acknowledgement in a hundred took 0.300 s or more, with it 0.004 s',
    )
  })

  test('catches a few milliseconds that every acknowledgement takes longer, where the slowest take as long as before', () => {
    const publisher = new Publisher()
    publisher.stage.wait(15_000)
    publisher.publish(200, (i) => (i % 20 === 0 ? 60 : 4))
    publisher.stage.apply({ kind: 'pause', machines: consoles })
    publisher.publish(200, (i) => (i % 20 === 0 ? 60 : 30))
    const result = publisher.stage.result('control-isolated')
    expect(result).toMatchObject({ verdict: 'violated', violationCount: 1 })
    expect(result.violations[0]!.text).toContain('one acknowledgement in two took 0.031 s or more, with it 0.004 s')
  })

  test('holds where p99 agrees, and keeps a histogram of each phase', () => {
    const publisher = Publisher.withoutConsole()
    publisher.publish(200, () => 4)
    publisher.stage.heal(noConsole)
    publisher.publish(50, () => 4)
    expect(publisher.stage.result('control-isolated')).toMatchObject({ verdict: 'held', exercised: 200 })
    const control = publisher.stage.checks.measures().control!
    expect(control.withConsole).toMatchObject({ count: 250, max: 4, buckets: [{ upToMs: 5, count: 250 }] })
    expect(control.withoutConsole.count).toBe(200)
  })

  test('catches a CONNECT that is not answered while there is no console, or that its client gives up', () => {
    const waiting = Publisher.withoutConsole()
    waiting.stage.connection(1).connect({ unanswered: true })
    waiting.publish(300, () => 4)
    expect(waiting.stage.result('control-isolated').violations[0]!.signature).toContain('a CONNECT waits while there is no console')
    const givenUp = Publisher.withoutConsole()
    const connection = givenUp.stage.connection(1)
    connection.connect({ unanswered: true })
    givenUp.stage.wait(2000)
    connection.close('self')
    expect(givenUp.stage.result('control-isolated').violations[0]!.text).toContain('and it gave up by')
  })

  test('catches a SUBSCRIBE that is answered too late', () => {
    const publisher = Publisher.withoutConsole()
    publisher.connection.subscribeWith('data/1', 1, { unanswered: true })
    publisher.publish(300, () => 4)
    expect(publisher.stage.result('control-isolated').violations[0]!.text).toContain('sent SUBSCRIBE')
  })

  test('does not compare what something else troubled', () => {
    const publisher = Publisher.withoutConsole()
    publisher.stage.apply({ kind: 'crash', machines: ['broker-1'] })
    publisher.publish(200, () => 900)
    expect(publisher.stage.verdict('control-isolated')).toBe('not-exercised')
  })

  test('is not exercised while a console is left, nor by a few publishes', () => {
    const some = new Publisher()
    some.stage.wait(15_000)
    some.publish(200, () => 4)
    some.stage.apply({ kind: 'crash', machines: ['console-1', 'console-2'] })
    some.publish(200, () => 900)
    expect(some.stage.verdict('control-isolated')).toBe('not-exercised')
    const few = Publisher.withoutConsole()
    few.publish(50, () => 900)
    expect(few.stage.verdict('control-isolated')).toBe('not-exercised')
  })
})
