import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

const outage = { kind: 'zone-outage', zone: 'az1', form: 'power' } as const

function published(count: number): Stage {
  const stage = new Stage(clients(1))
  const publisher = stage.connected(0)
  for (let sequence = 0; sequence < count; sequence++) {
    publisher.publish('data/0', sequence)
    publisher.puback(sequence)
  }
  stage.wait(10)
  return stage
}

describe('acked-survives', () => {
  test('catches an acknowledged message that is gone after a zone lost power', () => {
    const stage = published(100)
    stage.apply(outage)
    for (let sequence = 0; sequence < 100; sequence++) if (sequence !== 41) stage.checks.auditor.stored('data/0', 0, sequence, true)
    stage.checks.auditor.complete('data/0')
    const result = stage.result('acked-survives')
    expect(result.verdict).toBe('violated')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('sequence 41')
    expect(result.violations[0]!.evidence.map((each) => each.text).join()).toContain('zone az1 lost power')
    expect(stage.checks.measures().lost).toBe(1)
  })

  test('does not ask for a publish that was never acknowledged, or that was refused', () => {
    const stage = new Stage(clients(1))
    const publisher = stage.connected(0, 5)
    publisher.publish('data/0', 0)
    publisher.puback(0)
    publisher.publish('data/0', 1)
    publisher.publish('data/0', 2)
    publisher.receive({ cmd: 'puback', messageId: 3, reasonCode: 0x97 })
    stage.apply(outage)
    stage.checks.auditor.stored('data/0', 0, 0, true)
    stage.checks.auditor.complete('data/0')
    expect(stage.verdict('acked-survives')).toBe('held')
  })

  test('a message stored twice, and one stored though it was not acknowledged, are fine', () => {
    const stage = published(3)
    stage.apply(outage)
    for (const sequence of [0, 0, 1, 2]) stage.checks.auditor.stored('data/0', 0, sequence, true)
    stage.checks.auditor.complete('data/0')
    expect(stage.verdict('acked-survives')).toBe('held')
  })

  test('a damaged copy is no copy, and a topic that cannot be read back is a loss', () => {
    const stage = published(2)
    stage.apply(outage)
    stage.checks.auditor.stored('data/0', 0, 0, true)
    stage.checks.auditor.stored('data/0', 0, 1, false)
    stage.checks.auditor.failed('data/0', 'no shard answered')
    const result = stage.result('acked-survives')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('cannot be queried')
  })

  test('is not exercised where nothing was lost, or no audit was made', () => {
    const calm = published(3)
    for (const sequence of [0, 1, 2]) calm.checks.auditor.stored('data/0', 0, sequence, true)
    calm.checks.auditor.complete('data/0')
    expect(calm.verdict('acked-survives')).toBe('not-exercised')
    const unaudited = published(3)
    unaudited.apply(outage)
    expect(unaudited.verdict('acked-survives')).toBe('not-exercised')
  })

  test('a shard that moved puts it to the test too', () => {
    const stage = published(3)
    stage.record('broker-1', { kind: 'volume-attached', volume: 0, epoch: 1, size: 0, repairedCopies: 0 })
    stage.record('broker-2', { kind: 'volume-attached', volume: 0, epoch: 2, size: 9, repairedCopies: 0 })
    for (const sequence of [0, 1, 2]) stage.checks.auditor.stored('data/0', 0, sequence, true)
    stage.checks.auditor.complete('data/0')
    expect(stage.result('acked-survives')).toMatchObject({ verdict: 'held', exercised: 3 })
  })
})
