/**
 * The event queue alone, in the hold model: take the least event, schedule it again later, with so many events waiting. Half of the variants also cancel:
 * every hold schedules a second event and cancels it, as a timeout that does not run out does.
 */
import { EventQueue, type EventTarget } from '../sim/queue.ts'
import { type Bench, Comparison, type Measurement, type Row, timeMs } from './harness.ts'

const HOLDS = 300_000
const target: EventTarget = { fire: () => {}, describe: () => '' }

/** Marsaglia's xorshift32: the same delays in every run. */
class Delays {
  private state = 0x2545f491

  next(): number {
    let state = this.state
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    this.state = state
    return 1 + (state >>> 12)
  }
}

class HoldModel {
  private readonly queue = new EventQueue()
  private readonly delays = new Delays()
  private readonly cancels: boolean

  constructor(waiting: number, cancels: boolean) {
    this.cancels = cancels
    for (let i = 0; i < waiting; i++) this.queue.push(this.delays.next(), 0, target, undefined, 0)
  }

  run(holds: number): void {
    const { queue, delays, cancels } = this
    for (let i = 0; i < holds; i++) {
      if (!queue.next(Number.MAX_SAFE_INTEGER)) throw new Error('the queue lost its events')
      queue.push(queue.nowUs + delays.next(), 0, target, undefined, 0)
      if (!cancels) continue
      const slot = queue.push(queue.nowUs + delays.next(), 0, target, undefined, 0)
      queue.cancel(slot, queue.generationOf(slot))
    }
  }
}

function measure(bench: Bench, waiting: number, cancels: boolean): Row {
  const model = new HoldModel(waiting, cancels)
  model.run(HOLDS)
  const comparison = new Comparison(bench.floor)
  for (let round = 0; round < bench.rounds; round++) {
    bench.progress(`${waiting} waiting, round ${round + 1} of ${bench.rounds}`)
    comparison.add(
      HOLDS,
      timeMs(() => model.run(HOLDS)),
    )
  }
  const variant = `${waiting} waiting${cancels ? ', one cancelled each' : ''}`
  return comparison.row({ measurement: eventQueue.name, variant, per: 'event', notes: ({ median }) => ({ 'events/s': 1e6 / median }) })
}

export const eventQueue: Measurement = {
  name: 'event-queue',
  summary: 'the event queue alone: take the least event, schedule it again',
  run: (bench) => [measure(bench, 1000, false), measure(bench, 100_000, false), measure(bench, 1000, true), measure(bench, 100_000, true)],
}
