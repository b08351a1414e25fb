/**
 * The reference scenario, as a share of the floor: three zones with one machine of each role, 300 clients, 300 QoS 1 messages a second, each to one
 * subscriber, every check on, recording off.
 */
import { Comparison, type Measurement } from './harness.ts'
import { play } from './play.ts'
import { aimMessagesPerSecond, reference as load } from './reference-load.ts'

const STRETCH_SECONDS = 10

export const reference: Measurement = {
  name: 'reference',
  summary: 'the reference scenario: 300 clients, 300 QoS 1 messages a second, checks on',
  run(bench) {
    const comparison = new Comparison(bench.floor)
    const seconds = 100
    // The first run of a process is compiled as it goes: it is told apart, and its samples are not kept.
    const first = play(bench, { ...load, seconds: STRETCH_SECONDS }, { stretchSeconds: STRETCH_SECONDS })
    const runs = [1, 2].map((seed) =>
      play(bench, { ...load, seconds }, { seed, stretchSeconds: STRETCH_SECONDS, skipSeconds: 10, comparison }),
    )
    const { eventsPerMessage, endingMs, wholeMs, result } = runs[0]!
    return [
      comparison.row({
        measurement: reference.name,
        variant: `${load.clients} clients, ${load.messagesPerSecond} messages/s`,
        per: 'message',
        notes: ({ median }) => ({
          'messages/s': 1e6 / median,
          'share of the aim': 1e6 / median / aimMessagesPerSecond,
          'simulated s per processor s': 1e6 / median / load.messagesPerSecond,
          'events per message': eventsPerMessage,
          'us per event': median / eventsPerMessage,
          'whole run, simulated s': result.simulatedSeconds,
          'whole run, processor ms': wholeMs,
          'of it drain, audit and verdicts, ms': endingMs,
          'run of 10 s in a cold process, processor ms': first.wholeMs,
        }),
      }),
    ]
  },
}
