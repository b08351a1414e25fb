import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Reader, Writer } from '../wire/codec.ts'
import { SessionQueue } from './session-queue.ts'
import { topicCheckpoint } from './topic-records.ts'

describe('a session queue', () => {
  test('keeps every unacknowledged place with its message, whatever the order of acknowledgements', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const) }),
      fc.record({ kind: fc.constant('acknowledge' as const), back: fc.nat(40) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        let queue = new SessionQueue('c', 1, 1)
        const open = new Map<number, number>()
        let offset = 100
        for (const [i, { kind, ...rest }] of steps.entries()) {
          if (kind === 'push') {
            offset += 10
            open.set(queue.push(offset, 1, false, []), offset)
          } else {
            const sequence = queue.end - 1 - (rest as { back: number }).back
            expect(queue.acknowledge(sequence)).toBe(open.delete(sequence))
          }
          if (i % 17 === 16) queue = restored(queue)
          for (let sequence = queue.base; sequence < queue.end; sequence++) {
            expect(queue.isAcknowledged(sequence)).toBe(!open.has(sequence))
            if (open.has(sequence)) expect(queue.offsetAt(sequence)).toBe(open.get(sequence))
          }
          expect([...open.keys()].every((sequence) => sequence >= queue.base && sequence < queue.end)).toBe(true)
        }
      }),
    )
  })

  test('drops places whose messages are past their retention', () => {
    const queue = new SessionQueue('c', 1, 1)
    for (const offset of [10, 20, 30, 40]) queue.push(offset, 1, false, [])
    queue.dropBefore(30)
    expect([queue.base, queue.end, queue.offsetAt(queue.base)]).toEqual([3, 5, 30])
  })

  test('gives an acknowledged place to nobody again after a restored position', () => {
    const queue = new SessionQueue('c', 1, 1)
    for (const offset of [10, 20, 30, 40]) queue.push(offset, 1, false, [])
    queue.restorePosition(2, [3])
    expect([1, 2, 3, 4].map((sequence) => queue.isAcknowledged(sequence))).toEqual([true, false, true, false])
  })
})

/** The queue after a checkpoint and a failover. */
function restored(queue: SessionQueue): SessionQueue {
  const empty = {
    ageMs: 0,
    fences: [],
    checkpoints: [],
    retained: [],
    segments: [],
    openFrom: 0,
    open: [],
    openEarliestMs: 0,
    openLatestMs: 0,
    openOldestAgeMs: 0,
    openNewestAgeMs: 0,
  }
  const writer = new Writer().begin()
  topicCheckpoint.write(writer, { ...empty, queues: [queue.snapshot()] })
  return SessionQueue.restore(topicCheckpoint.read(new Reader(writer.finish())).queues[0]!)
}
