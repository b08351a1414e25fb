import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'
import type { Trace } from './traceable.ts'

/** Two clients: the first publishes, the second subscribes and acknowledges what it gets. */
class Pair {
  readonly stage = new Stage(clients(2))
  readonly publisher: StageConnection
  readonly subscriber: StageConnection
  acknowledgedAtUs = 0

  constructor(options: { readonly acknowledge?: boolean; readonly deliver?: boolean; readonly expirySeconds?: number } = {}) {
    this.publisher = this.stage.connected(0, 5)
    this.subscriber = this.stage.connected(1)
    this.subscriber.subscribe('data/0')
    this.stage.wait(10_000)
    const { expirySeconds } = options
    this.publisher.publish('data/0', 7, expirySeconds === undefined ? {} : { properties: { messageExpiryInterval: expirySeconds } })
    this.stage.wait(20)
    this.publisher.puback(7)
    this.stage.wait(20)
    if (options.deliver !== false) this.subscriber.deliver('data/0', 0, 7, { acknowledge: options.acknowledge ?? true })
    this.acknowledgedAtUs = this.stage.nowUs
    this.stage.wait(10_000)
    this.stage.checks.onAct('drained', this.stage.nowUs)
  }

  trace(change: Partial<Trace> = {}, delivery: Partial<Trace['deliveries'][number]> = {}): void {
    const deliveries = [{ clientId: 'client-1', state: 'acknowledged', acknowledgedAtUs: this.acknowledgedAtUs + 300_000, ...delivery }]
    this.stage.checks.auditor.traced(0, 7, { outcome: 'found', isWhole: true, storedAtUs: 10_010_000, deliveries, ...change })
  }
}

describe('traceable', () => {
  test('wants the traces of acknowledged messages, and holds where they agree with the sockets', () => {
    const pair = new Pair()
    expect([pair.stage.checks.auditor.wantsTrace(0, 7), pair.stage.checks.auditor.wantsTrace(0, 8)]).toEqual([true, false])
    pair.trace()
    expect(pair.stage.result('traceable')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  const wrong: readonly (readonly [string, (pair: Pair) => void, string])[] = [
    ['a message without a trace', (pair) => pair.trace({ outcome: 'none' }), 'the answer was: none'],
    ['a question that nobody answers', (pair) => pair.trace({ outcome: 'unanswered' }), 'the answer was: unanswered'],
    ['a delivery that is missing', (pair) => pair.trace({ deliveries: [] }), 'its trace says nothing of client-1, which acknowledged it'],
    ['an acknowledgement that is missing', (pair) => pair.trace({}, { state: 'sent' }), 'its trace calls its delivery to client-1 sent'],
    ['a time of storage before the publish', (pair) => pair.trace({ storedAtUs: 5_000_000 }), 'says that it was stored at 5.000 s'],
    ['an acknowledgement before it was sent', (pair) => pair.trace({}, { acknowledgedAtUs: 8_000_000 }), 'acknowledged it at 8.000 s'],
  ]
  test.each(wrong)('catches %s', (_, trace, text) => {
    const pair = new Pair()
    trace(pair)
    const { verdict, violations } = pair.stage.result('traceable')
    expect(verdict).toBe('violated')
    expect(violations[0]!.text).toContain(text)
  })

  test('catches a delivery that is claimed and never was', () => {
    const pair = new Pair({ deliver: false })
    pair.trace()
    expect(pair.stage.result('traceable').violations[0]!.text).toContain('client-1 has it (acknowledged), and client-1 never got it')
    const sent = new Pair({ deliver: false })
    sent.trace({}, { state: 'sent', acknowledgedAtUs: 0 })
    expect(sent.stage.verdict('traceable')).toBe('held')
  })

  test('catches a delivery that is denied, and one that never was of a message that expired', () => {
    const denied = new Pair({ acknowledge: false })
    denied.trace({}, { state: 'expired', acknowledgedAtUs: 0 })
    expect(denied.stage.result('traceable').violations[0]!.text).toContain('it expired before it was sent to client-1, which got it')
    const claimed = new Pair({ deliver: false, expirySeconds: 2 })
    claimed.trace()
    expect(claimed.stage.result('traceable').violations[0]!.text).toContain('client-1 has it (acknowledged), and client-1 never got it')
    const told = new Pair({ deliver: false, expirySeconds: 2 })
    told.trace({}, { state: 'expired', acknowledgedAtUs: 0 })
    expect(told.stage.verdict('traceable')).toBe('held')
    const inTime = new Pair({ expirySeconds: 2 })
    inTime.trace()
    expect(inTime.stage.verdict('traceable')).toBe('held')
  })

  test('does not ask for an acknowledgement that may have been lost with its connection', () => {
    const pair = new Pair()
    const stage = pair.stage
    pair.subscriber.close()
    stage.connected(1, 4, { present: true })
    stage.checks.onAct('drained', stage.nowUs)
    pair.trace({}, { state: 'sent', acknowledgedAtUs: 0 })
    expect(stage.verdict('traceable')).toBe('held')
  })

  test('believes no time while a clock is wrong, and bears a trace that is not whole where a disk was lost', () => {
    const jumped = new Pair()
    jumped.stage.apply({ kind: 'clock-jump', machines: ['broker-1'], byMs: 60_000 })
    jumped.trace({ storedAtUs: 70_000_000 }, { acknowledgedAtUs: 1 })
    expect(jumped.stage.verdict('traceable')).toBe('held')
    const cut = new Pair()
    cut.stage.apply({ kind: 'disk-loss', machines: ['volume-1'] })
    cut.trace({ isWhole: false, deliveries: [] })
    expect(cut.stage.verdict('traceable')).toBe('held')
  })

  test('judges a message that was stored twice by both traces', () => {
    const pair = new Pair()
    pair.trace()
    pair.trace({ storedAtUs: 12_000_000, deliveries: [] })
    expect(pair.stage.verdict('traceable')).toBe('held')
  })

  test('keeps a sample of bounded size, whatever is published', () => {
    const { stage, publisher } = new Pair()
    for (let sequence = 100; sequence < 5100; sequence++) {
      publisher.publish('data/0', sequence)
      publisher.puback(sequence)
    }
    const wanted = Array.from({ length: 5100 }, (_, sequence) => sequence).filter((sequence) =>
      stage.checks.auditor.wantsTrace(0, sequence),
    )
    expect(wanted.length).toBe(40)
    expect(wanted.filter((sequence) => sequence < 2600).length).toBeGreaterThan(8)
    expect(wanted.filter((sequence) => sequence >= 2600).length).toBeGreaterThan(8)
  })

  test('is not exercised where nobody asks', () => {
    expect(new Pair().stage.verdict('traceable')).toBe('not-exercised')
  })
})
