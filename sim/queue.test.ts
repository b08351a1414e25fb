import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EventQueue, type EventTarget } from './queue.ts'

const target: EventTarget = { fire: () => {}, describe: () => '' }

function takeAll(queue: EventQueue, untilUs = Number.POSITIVE_INFINITY): (readonly [number, number])[] {
  const taken: (readonly [number, number])[] = []
  while (queue.next(untilUs)) taken.push([queue.nowUs, queue.argument])
  return taken
}

describe('the event queue', () => {
  test('gives events in the order of time, and of scheduling where times are equal', () => {
    const queue = new EventQueue()
    for (const [timeUs, name] of [
      [30, 1],
      [10, 2],
      [30, 3],
      [20, 4],
      [10, 5],
    ] as const) {
      queue.push(timeUs, 0, target, undefined, name)
    }
    expect(takeAll(queue).map(([, name]) => name)).toEqual([2, 5, 4, 1, 3])
  })

  test('gives an event of this instant after those scheduled before it for the same time', () => {
    const queue = new EventQueue()
    queue.push(10, 0, target, undefined, 1)
    queue.push(10, 0, target, undefined, 2)
    queue.next(10)
    queue.push(10, 0, target, undefined, 3)
    expect(takeAll(queue)).toEqual([
      [10, 2],
      [10, 3],
    ])
  })

  test('refuses an event in the past', () => {
    const queue = new EventQueue()
    queue.advanceTo(5)
    expect(() => queue.push(4, 0, target, undefined, 0)).toThrow('5 us already')
  })

  test('a cancelled event does not come, and its slot names nothing afterwards', () => {
    const queue = new EventQueue()
    const slot = queue.push(10, 0, target, undefined, 1)
    const generation = queue.generationOf(slot)
    queue.cancel(slot, generation)
    queue.push(20, 0, target, undefined, 2)
    expect(takeAll(queue)).toEqual([[20, 2]])
    const reused = queue.push(30, 0, target, undefined, 3)
    expect(reused === slot || queue.push(30, 0, target, undefined, 4) === slot).toBe(true)
    queue.cancel(slot, generation)
    expect(takeAll(queue).length).toBeGreaterThanOrEqual(1)
  })

  test('clears cancelled events away before they come up, once they are many', () => {
    const queue = new EventQueue()
    for (let i = 0; i < 100_000; i++) {
      const slot = queue.push(1_000_000 + i, 0, target, undefined, i)
      if (i % 100 !== 0) queue.cancel(slot, queue.generationOf(slot))
    }
    expect(queue.length).toBeLessThan(4_000)
    expect(takeAll(queue).map(([, name]) => name)).toEqual(Array.from({ length: 1000 }, (_, i) => i * 100))
  })

  test('agrees with a sorted list, whatever is scheduled, cancelled and taken in between', () => {
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('push' as const), delayUs: fc.nat(20) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat(1000) }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('take' as const), withinUs: fc.nat(15) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3000, size: 'max' }), (steps) => {
        const queue = new EventQueue()
        const scheduled: { slot: number; generation: number; name: number }[] = []
        let model: { timeUs: number; name: number }[] = []
        let names = 0
        for (const next of steps) {
          if (next.kind === 'push') {
            const timeUs = queue.nowUs + next.delayUs
            const slot = queue.push(timeUs, 0, target, undefined, ++names)
            scheduled.push({ slot, generation: queue.generationOf(slot), name: names })
            model.push({ timeUs, name: names })
          } else if (next.kind === 'cancel') {
            const victim = scheduled[next.which % Math.max(1, scheduled.length)]
            if (victim === undefined) continue
            queue.cancel(victim.slot, victim.generation)
            model = model.filter(({ name }) => name !== victim.name)
          } else {
            const untilUs = queue.nowUs + next.withinUs
            model.sort((a, b) => a.timeUs - b.timeUs || a.name - b.name)
            const expected = model[0] !== undefined && model[0].timeUs <= untilUs ? model.shift() : undefined
            const got = queue.next(untilUs) ? { timeUs: queue.nowUs, name: queue.argument } : undefined
            expect(got).toEqual(expected)
          }
        }
        model.sort((a, b) => a.timeUs - b.timeUs || a.name - b.name)
        expect(takeAll(queue)).toEqual(model.map(({ timeUs, name }) => [timeUs, name]))
      }),
      { numRuns: 60 },
    )
  })
})
