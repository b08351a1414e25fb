import { describe, expect, test } from 'vitest'
import { ShardStage, StageLink, subscription } from './shard-stage.test-support.ts'

/** A shard whose reads are answered when the test says so. */
class SlowStage extends ShardStage {
  readonly reads: (() => void)[] = []
  offset = 0

  constructor() {
    super()
    const read = this.log.read.bind(this.log)
    this.attach(new StageLink(), 's', 1, [subscription('t')])
    this.offset = this.publish('p', { topic: 't', text: 'm' }).answer!.offset
    for (let i = 0; i < 3000; i++) this.publish('p', { topic: 'elsewhere', text: 'x'.repeat(200) })
    this.log.read = (offset, length, done) => {
      this.reads.push(() => read(offset, length, done))
    }
  }

  /** @returns how many reads there were */
  readOn(until: () => boolean = () => false): number {
    let count = 0
    for (; this.reads.length > 0 && !until(); count++) {
      expect(this.reads.length).toBe(1)
      this.reads.shift()!()
    }
    return count
  }
}

describe('traces of one shard', () => {
  test('are made one at a time, in the order in which they were asked for', () => {
    const stage = new SlowStage()
    const link = new StageLink()
    const asked = Array.from({ length: 5 }, () => stage.trace(stage.offset, link))
    for (const [i, one] of asked.entries()) {
      stage.readOn(() => one.answer !== undefined)
      expect(asked.map(({ answer }) => answer?.outcome)).toEqual(asked.map((_, at) => (at <= i ? 'found' : undefined)))
    }
  })

  test('are called off when the asker is gone: no more is read for it, and who waits comes next', () => {
    const whole = new SlowStage()
    whole.trace(whole.offset)
    const readsOfOne = whole.readOn()
    expect(readsOfOne).toBeGreaterThan(4)
    const stage = new SlowStage()
    const gone = new StageLink()
    stage.trace(stage.offset, gone)
    stage.trace(stage.offset, gone)
    const other = stage.trace(stage.offset)
    for (let i = 0; i < 3; i++) stage.reads.shift()!()
    gone.up = false
    expect(stage.readOn()).toBeLessThanOrEqual(readsOfOne + 1)
    expect(other.answer!.outcome).toBe('found')
  })

  test('do not hold up each other for a number of a message that is not there', () => {
    const stage = new SlowStage()
    const none = Array.from({ length: 64 }, () => stage.trace(1 << 30))
    expect(none.every(({ answer }) => answer?.outcome === 'none')).toBe(true)
  })

  test('are to be asked for again where too many wait, or the shard goes elsewhere', () => {
    const stage = new SlowStage()
    const asked = Array.from({ length: 66 }, () => stage.trace(stage.offset))
    expect(asked.map(({ answer }) => answer?.outcome)).toEqual(asked.map((_, i) => (i < 65 ? undefined : 'not-owner')))
    stage.shard.close()
    stage.readOn()
    expect(asked.every(({ answer }) => answer?.outcome === 'not-owner')).toBe(true)
  })
})
