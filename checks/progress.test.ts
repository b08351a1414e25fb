import { describe, expect, test } from 'vitest'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

/** `detectionIdleMs` of the stage's clients. */
const IDLE_DETECTION_MS = 13_000

function pair(version: 4 | 5 = 4, properties = {}): { stage: Stage; publisher: StageConnection; subscriber: StageConnection } {
  const stage = new Stage(clients(2))
  stage.checks.onAct('warm-up', 0)
  const publisher = stage.connected(0)
  const subscriber = stage.connected(1, version, { properties })
  subscriber.subscribe('data/0')
  return { stage, publisher, subscriber }
}

function acknowledged(publisher: StageConnection, sequence: number): void {
  publisher.publish('data/0', sequence)
  publisher.puback(sequence)
}

/** Time passes as in a run: something is always observed. */
function pass(stage: Stage, forMs: number): void {
  for (let ms = 0; ms < forMs; ms += 500) {
    stage.wait(500)
    stage.checks.sockets.onOpen(-1, stage.nowUs)
  }
}

describe('progress', () => {
  test('catches an acknowledged message that stands still, once', () => {
    const { stage, publisher } = pair()
    acknowledged(publisher, 0)
    pass(stage, 12_000)
    const result = stage.result('progress')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.atUs).toBeLessThanOrEqual(7_500_000)
  })

  test('a message that takes four seconds is in time', () => {
    const { stage, publisher, subscriber } = pair()
    acknowledged(publisher, 0)
    pass(stage, 4000)
    subscriber.deliver('data/0', 0, 0)
    pass(stage, 10_000)
    expect(stage.verdict('progress')).toBe('held')
  })

  test('a subscriber whose window is full is waited for', () => {
    const { stage, publisher, subscriber } = pair(5, { receiveMaximum: 1 })
    acknowledged(publisher, 0)
    acknowledged(publisher, 1)
    subscriber.deliver('data/0', 0, 0, { acknowledge: false })
    pass(stage, 12_000)
    expect(stage.result('progress').violationCount).toBe(0)
  })

  test('a 3.x subscriber may leave unacknowledged what the service lets it, and no more is waited for', () => {
    for (const window3x of [1, 2]) {
      const stage = new Stage(clients(2), { window3x })
      stage.checks.onAct('warm-up', 0)
      const publisher = stage.connected(0)
      const subscriber = stage.connected(1)
      subscriber.subscribe('data/0')
      acknowledged(publisher, 0)
      acknowledged(publisher, 1)
      subscriber.deliver('data/0', 0, 0, { acknowledge: false })
      pass(stage, 12_000)
      expect(stage.result('progress').violationCount).toBe(window3x === 1 ? 0 : 1)
    }
  })

  test('a subscriber that is away is waited for, and has its time once it is back', () => {
    const { stage, publisher, subscriber } = pair()
    subscriber.close()
    acknowledged(publisher, 0)
    pass(stage, 20_000)
    const again = stage.connected(1, 4, { present: true })
    pass(stage, 3000)
    again.deliver('data/0', 0, 0)
    expect(stage.verdict('progress')).toBe('held')
  })

  test('nothing is asked while faults are in force; after the heal clients have time to come back, then it counts', () => {
    const { stage, publisher, subscriber } = pair()
    stage.checks.onAct('faults', stage.nowUs)
    acknowledged(publisher, 0)
    pass(stage, 30_000)
    stage.checks.onAct('healed', stage.nowUs)
    pass(stage, 1000)
    subscriber.publish('probe/1', 0)
    subscriber.puback(0)
    pass(stage, 13_000)
    expect(stage.result('progress').violationCount).toBe(0)
    pass(stage, 4000)
    expect(stage.result('progress').violationCount).toBe(1)
  })

  test('a message waits its turn behind a queue that is being worked off, and not behind one that stands still', () => {
    const { stage, publisher, subscriber } = pair()
    subscriber.subscribe('probe/0')
    for (let sequence = 0; sequence < 20; sequence++) acknowledged(publisher, sequence)
    publisher.publish('probe/0', 20)
    publisher.puback(20)
    for (let sequence = 0; sequence < 10; sequence++) {
      pass(stage, 2000)
      subscriber.deliver('data/0', 0, sequence)
    }
    expect(stage.result('progress').violationCount).toBe(0)
    pass(stage, 12_000)
    expect(stage.result('progress').violationCount).toBeGreaterThan(0)
  })

  test('a connection that has been silent since the heal may be dead, and has until its client must have noticed', () => {
    const { stage, publisher } = pair()
    stage.checks.onAct('faults', stage.nowUs)
    acknowledged(publisher, 0)
    pass(stage, 1000)
    stage.apply({ kind: 'restart', machines: ['proxy-1'] })
    stage.checks.onAct('healed', stage.nowUs)
    pass(stage, 10_000 + IDLE_DETECTION_MS + 4000)
    expect(stage.result('progress').violationCount).toBe(0)
    pass(stage, 4000)
    expect(stage.result('progress').violationCount).toBe(1)
  })
})
