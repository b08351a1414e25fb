import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

const TOPIC = 'data/0'

/** A message a second for ten minutes, kept for one minute, with fifty to a segment. */
class Minute {
  readonly stage: Stage
  private readonly count: number

  constructor(count = 600, segmentMessages = 50, segmentMs = 3_600_000) {
    this.count = count
    this.stage = new Stage(clients(1), { retention: { retentionMs: 60_000, segmentMessages, segmentMs, shardOfTopic: () => 0 } })
    const publisher = this.stage.connected(0)
    for (let sequence = 0; sequence < count; sequence++) {
      publisher.publish(TOPIC, sequence)
      publisher.puback(sequence)
      this.stage.wait(1000)
    }
    this.stage.checks.onAct('drained', this.stage.nowUs)
  }

  /** The auditor reads back what is from `first` on, and nothing of `without`. */
  readFrom(first: number, without: readonly number[] = []): this {
    for (let sequence = first; sequence < this.count; sequence++)
      if (!without.includes(sequence)) this.stage.checks.auditor.stored(TOPIC, 0, sequence, true)
    this.stage.checks.auditor.complete(TOPIC)
    return this
  }
}

describe('retention', () => {
  test('holds where what is young is there, and what is old is gone within a segment and a minute', () => {
    for (const first of [540, 480, 430]) expect(new Minute().readFrom(first).stage.verdict('retention')).toBe('held')
  })

  test('catches a message that is gone before its time', () => {
    const result = new Minute().readFrom(500, [580, 581]).stage.result('retention')
    expect(result).toMatchObject({ verdict: 'violated', violationCount: 2 })
    expect(result.violations[0]!.text).toContain('(sequence 580 to 581) are gone, and none of them was 60.000 s old')
  })

  test('catches a message that is still there a segment and a minute after its time', () => {
    const result = new Minute().readFrom(300).stage.result('retention')
    expect(result.verdict).toBe('violated')
    expect(result.violations[0]!.text).toContain('(the first of sequence 300) could be read back although they were past their retention')
  })

  test('waits for a segment that is not finished: what lies in it may be there', () => {
    expect(new Minute(600, 5000).readFrom(0).stage.verdict('retention')).toBe('held')
  })

  test('knows that a segment is finished by its age too, however few messages are in it', () => {
    expect(new Minute(600, 5000, 90_000).readFrom(390).stage.verdict('retention')).toBe('held')
    const result = new Minute(600, 5000, 90_000).readFrom(330).stage.result('retention')
    expect(result.verdict).toBe('violated')
    expect(result.violations[0]!.evidence[1]!.text).toContain('or by its age')
  })

  test('catches at any moment of the run what goes too early, and what goes too late', () => {
    const looking = (oldestAt: (second: number) => number | undefined) => {
      const stage = new Stage(clients(1), {
        retention: { retentionMs: 60_000, segmentMessages: 5000, segmentMs: 10_000, shardOfTopic: () => 0 },
      })
      const publisher = stage.connected(0)
      for (let sequence = 0; sequence < 400; sequence++) {
        publisher.publish(TOPIC, sequence)
        publisher.puback(sequence)
        stage.wait(1000)
        stage.checks.onAct('faults', stage.nowUs)
        const oldest = oldestAt(sequence)
        const found = oldest === undefined ? undefined : { publisher: 0, sequence: oldest }
        stage.checks.auditor.oldest(TOPIC, found, stage.nowUs - 20_000, stage.nowUs)
      }
      return stage.result('retention')
    }
    // Once a minute what is past its minute goes.
    const inTime = (second: number) => Math.max(0, Math.floor(second / 60) * 60 - 60)
    expect(looking(inTime).verdict).toBe('held')
    expect(looking(inTime).exercised).toBeGreaterThan(300)
    const early = looking((second) => (second === 200 ? 146 : inTime(second)))
    expect(early).toMatchObject({ verdict: 'violated', violationCount: 1 })
    expect(early.violations[0]!.text).toContain('none of them was 60.000 s old')
    expect(looking((second) => (second === 200 ? undefined : inTime(second))).verdict).toBe('violated')
    const late = looking((second) => (second === 239 ? inTime(second - 60) : inTime(second)))
    expect(late).toMatchObject({ verdict: 'violated', violationCount: 1 })
    expect(late.violations[0]!.text).toBe(
      'Sequence 60 of publisher 0 on data/0 was there at 240.000 s, past its retention of 60.000 s, a segment and a minute.',
    )
  })

  test('bears the time during which the region was troubled', () => {
    const troubled = new Minute(300)
    expect(troubled.readFrom(100).stage.verdict('retention')).toBe('violated')
    const stage = new Stage(clients(1), {
      retention: { retentionMs: 60_000, segmentMessages: 50, segmentMs: 3_600_000, shardOfTopic: () => 0 },
    })
    const publisher = stage.connected(0)
    stage.apply({ kind: 'crash', machines: ['broker-1'] })
    for (let sequence = 0; sequence < 300; sequence++) {
      publisher.publish(TOPIC, sequence)
      publisher.puback(sequence)
      stage.wait(1000)
    }
    stage.checks.onAct('drained', stage.nowUs)
    for (let sequence = 100; sequence < 300; sequence++) stage.checks.auditor.stored(TOPIC, 0, sequence, true)
    stage.checks.auditor.complete(TOPIC)
    expect(stage.verdict('retention')).toBe('held')
  })

  test('excuses acked-survives for what may be past its time, and for nothing else', () => {
    const audited = (without: readonly number[]) => {
      const minute = new Minute(600)
      minute.stage.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })
      return minute.readFrom(500, without).stage.verdict('acked-survives')
    }
    expect(audited([])).toBe('held')
    expect(audited([580])).toBe('violated')
  })

  test('is not exercised by a run that is shorter, or a topic that was not read to its end', () => {
    expect(new Minute(50).readFrom(0).stage.verdict('retention')).toBe('not-exercised')
    const unread = new Minute()
    unread.stage.checks.auditor.failed(TOPIC, 'not answered in time')
    expect(unread.stage.verdict('retention')).toBe('not-exercised')
  })
})
