import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { TimerQueue } from './timers.ts'

describe('a timer queue', () => {
  let nowMs = 0
  const clock = () => nowMs
  const pass = (ms: number) => {
    nowMs += ms
    vi.advanceTimersByTime(ms)
  }

  beforeEach(() => {
    nowMs = 0
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('fires timers of one due time in the order in which they were set', () => {
    const fired: number[] = []
    const queue = new TimerQueue(clock)
    for (let index = 0; index < 20; index++) queue.set(10, () => fired.push(index))
    pass(10)
    expect(fired).toEqual(Array.from({ length: 20 }, (_, index) => index))
  })

  test('waits on when the system calls too early by the finer clock', () => {
    const fired: number[] = []
    const queue = new TimerQueue(clock)
    queue.set(10, () => fired.push(nowMs))
    vi.advanceTimersByTime(10)
    expect(fired).toEqual([])
    nowMs = 9.9
    vi.advanceTimersByTime(10)
    expect(fired).toEqual([])
    nowMs = 10
    vi.advanceTimersByTime(1)
    expect(fired).toEqual([10])
  })

  test('fires in the order of due times when it was held up', () => {
    const fired: number[] = []
    const queue = new TimerQueue(clock)
    for (const delay of [20, 10, 5, 15]) queue.set(delay, () => fired.push(delay))
    pass(30)
    expect(fired).toEqual([5, 10, 15, 20])
  })

  test('lets a chain of zero delays take turns with everything else', () => {
    let links = 0
    const queue = new TimerQueue(clock)
    const next = () => {
      links += 1
      if (links < 1000) queue.set(0, next)
    }
    queue.set(0, next)
    pass(5)
    expect(links).toBeGreaterThan(1)
    expect(links).toBeLessThanOrEqual(5)
  })

  test('keeps due timers while suspended, and drops all when cleared', () => {
    const fired: string[] = []
    const queue = new TimerQueue(clock)
    queue.set(10, () => fired.push('kept'))
    queue.suspend()
    pass(100)
    expect(fired).toEqual([])
    queue.resume()
    pass(1)
    expect(fired).toEqual(['kept'])
    queue.set(10, () => fired.push('dropped'))
    queue.clear()
    pass(100)
    expect(fired).toEqual(['kept'])
    expect(vi.getTimerCount()).toBe(0)
  })

  test('waits longer than one timer of the system can', () => {
    const fired: number[] = []
    const queue = new TimerQueue(clock)
    queue.set(2 ** 31 + 10, () => fired.push(nowMs))
    pass(2 ** 31 - 1)
    expect(fired).toEqual([])
    pass(11)
    expect(fired).toEqual([2 ** 31 + 10])
    expect(() => queue.set(Number.NaN, () => {})).toThrow('NaN')
  })
})
