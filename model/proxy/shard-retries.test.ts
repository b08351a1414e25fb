import { expect, test } from 'vitest'
import type { Host, Timer } from '../host.ts'
import { ShardRetries } from './shard-retries.ts'

class Stage {
  nowMs = 0
  looks = 0
  private timers: { atMs: number; callback: () => void }[] = []
  readonly retries: ShardRetries

  constructor() {
    const host = {
      nowMs: () => this.nowMs,
      random: () => ({ next: () => 0 }),
      setTimer: (delayMs: number, callback: () => void): Timer => {
        const timer = { atMs: this.nowMs + delayMs, callback }
        this.timers.push(timer)
        return { cancel: () => (this.timers = this.timers.filter((other) => other !== timer)) }
      },
    }
    this.retries = new ShardRetries(host as unknown as Host, 0, { lookForOwner: () => this.looks++, retrying: () => {} })
  }

  runTo(endMs: number): void {
    for (;;) {
      const next = this.timers.toSorted((a, b) => a.atMs - b.atMs)[0]
      if (next === undefined || next.atMs > endMs) break
      this.timers = this.timers.filter((other) => other !== next)
      this.nowMs = next.atMs
      next.callback()
    }
    this.nowMs = endMs
  }

  /** Somebody whom the shard refuses at once, each time. */
  refuse(triedMs: number[], who = {}): void {
    const again = () => {
      triedMs.push(this.nowMs)
      this.retries.later(who, again)
    }
    this.retries.later(who, again)
  }
}

test('a shard that refuses is asked less and less often, and the nameservers as often as ever', () => {
  const stage = new Stage()
  const triedMs: number[] = []
  stage.refuse(triedMs)
  stage.runTo(4000)
  expect(triedMs).toEqual([100, 300, 700, 1500, 2300, 3100, 3900])
  const before = stage.looks
  stage.runTo(8000)
  expect(stage.looks - before).toBeGreaterThanOrEqual(20)
})

test('all who wait are asked for together, however late they came', () => {
  const stage = new Stage()
  const first: number[] = []
  const second: number[] = []
  stage.refuse(first)
  stage.runTo(950)
  stage.refuse(second)
  stage.runTo(4000)
  expect(second).toEqual([1500, 2300, 3100, 3900])
  expect(first.slice(3)).toEqual(second)
})

test('an answer that took as long as a pause is followed by a short one', () => {
  const stage = new Stage()
  stage.retries.later({}, () => {})
  stage.runTo(1000) // tried at 100
  const late: number[] = []
  stage.retries.later({}, () => late.push(stage.nowMs))
  stage.runTo(2000)
  expect(late).toEqual([1100])
})

test('a new term ends the waiting, and the next pause is short again', () => {
  const stage = new Stage()
  const triedMs: number[] = []
  const who = {}
  stage.refuse(triedMs, who)
  stage.runTo(1600)
  expect(stage.retries.isWaiting(who)).toBe(true)
  stage.retries.onTerm()
  expect(stage.retries.isWaiting(who)).toBe(false)
  const looks = stage.looks
  stage.runTo(5000)
  expect([triedMs.length, stage.looks]).toEqual([4, looks])
  stage.refuse(triedMs, who)
  stage.runTo(5150)
  expect(triedMs.at(-1)).toBe(5100)
})
