/**
 * Plays a load through the scenario runner, with every check on and recording off, and times stretches of its steady state beside the floor. The clock is read
 * between two simulated seconds, when nothing of the run is on the stack.
 */
import type { RunResult } from '../scenarios/result.ts'
import { runScenario } from '../scenarios/runner.ts'
import type { SimWorld } from '../sim/world.ts'
import { type Bench, Comparison, processorMs } from './harness.ts'
import { defaultWarmUpSeconds, type Load, scenarioOf } from './reference-load.ts'

export interface Played {
  readonly comparison: Comparison
  /** Of the warm-up, per client: region start, name look-up, connection, session, subscriptions, probe. */
  readonly connecting: Comparison
  readonly result: RunResult
  /** Of the steady state. */
  readonly eventsPerMessage: number
  /** From the last stretch on: what drains, the audit, the verdicts. */
  readonly endingMs: number
  /** From the first instant to the verdict, without the samples of the floor. All in processor time. */
  readonly wholeMs: number
}

export interface PlayOptions {
  readonly seed?: number
  readonly stretchSeconds: number
  /** Of the steady state, before the first stretch: code gets compiled, the last clients come in. */
  readonly skipSeconds?: number
  readonly comparison?: Comparison
  readonly connecting?: Comparison
  /** Called before the first stretch and after the last one, while the world stands. */
  onSteadyBegin?(): void
  onSteadyEnd?(): void
}

/** @throws when the run broke a promise, or not all clients came through: what was measured would not be the load. */
export function play(bench: Bench, load: Load, options: PlayOptions): Played {
  const { stretchSeconds, skipSeconds = 0 } = options
  const { warmUpSeconds = defaultWarmUpSeconds, clients, messagesPerSecond, seconds } = load
  const steadyFrom = warmUpSeconds + skipSeconds
  const comparison = options.comparison ?? new Comparison(bench.floor)
  const connecting = options.connecting ?? new Comparison(bench.floor)
  let world: SimWorld | undefined
  let wholeMs = 0
  let stretchFrom = steadyFrom
  let eventsFrom = 0
  let eventsPerMessage = 0
  let endingFromMs = 0
  let markMs = processorMs()
  /** Ends a span of time that counts; what is done until `markMs` is set again does not. */
  const lap = (): number => {
    const tookMs = processorMs() - markMs
    wholeMs += tookMs
    return tookMs
  }
  const result = runScenario(scenarioOf(load), {
    seed: options.seed ?? 1,
    recording: false,
    prepare: (built) => {
      world = built
    },
    onProgress: (act, second) => {
      bench.progress(`${load.clients} clients, ${act}, ${second.toFixed(0)} s`)
      const isConnected = act === 'warm-up' && second === warmUpSeconds
      const begins = second === steadyFrom && (act === 'faults' || isConnected)
      const ends = act === 'faults' && second === stretchFrom + stretchSeconds
      if (!isConnected && !begins && !ends) return
      const tookMs = lap()
      const { events } = world!.counters()
      if (isConnected) connecting.add(clients, tookMs)
      if (begins) {
        eventsFrom = events
        options.onSteadyBegin?.()
      }
      if (ends) {
        if (messagesPerSecond > 0) comparison.add(messagesPerSecond * stretchSeconds, tookMs)
        eventsPerMessage = (events - eventsFrom) / (messagesPerSecond * (second - steadyFrom))
        stretchFrom = second
        endingFromMs = wholeMs
        if (second + stretchSeconds > warmUpSeconds + seconds) options.onSteadyEnd?.()
      }
      markMs = processorMs()
    },
  })
  lap()
  assertGenuine(result, clients, messagesPerSecond * seconds)
  return { comparison, connecting, result, eventsPerMessage, endingMs: wholeMs - endingFromMs, wholeMs }
}

/** The figures are per message that was meant to be sent; so nearly all must have been, and delivered. Those of the warm-up may have had no subscriber yet. */
function assertGenuine({ promises, measures }: RunResult, clients: number, messages: number): void {
  const broken = promises.find(({ verdict }) => verdict === 'violated')
  if (broken !== undefined) throw new Error(`${broken.id} is violated: ${broken.violations[0]?.text ?? ''}`)
  // Each client publishes one probe to itself besides.
  const least = clients + messages * 0.99
  const { messagesPublished, messagesDelivered } = measures
  if (messagesPublished < least) throw new Error(`only ${messagesPublished} messages were published, not ${least}`)
  if (messagesDelivered < least) throw new Error(`only ${messagesDelivered} messages were delivered, not ${least}`)
}
