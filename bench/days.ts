/**
 * Three days at rest, with a trickle of messages: the scenario of the catalogue, with every check on and recording off. Idle time is to be so cheap that days can be played, and what a
 * run holds on to may grow with what the service stores, by kilobytes, and not with the time.
 */
import { catalogueEntry } from '../scenarios/catalogue.ts'
import { loadScenario } from '../scenarios/load.ts'
import { runScenario } from '../scenarios/runner.ts'
import { type Bench, Comparison, type Measurement, processorMs, type Row } from './harness.ts'
import { footprint } from './memory.ts'

const SCENARIO = 'three-days'
const HOUR_SECONDS = 3600
const STRETCH_HOURS = 6
const HELD_AFTER_HOURS = [24, 72] as const

function measure(bench: Bench): Row {
  const { text, file } = catalogueEntry(SCENARIO)
  const comparison = new Comparison(bench.floor)
  const heldMib: number[] = []
  let wholeMs = 0
  let markMs = processorMs()
  /** Ends a span of time that counts; what is done until `markMs` is set again does not. */
  const lap = (): number => {
    const tookMs = processorMs() - markMs
    wholeMs += tookMs
    return tookMs
  }
  const result = runScenario(loadScenario(text, { file, name: SCENARIO }), {
    seed: 1,
    recording: false,
    onProgress: (_act, second) => {
      const hours = second / HOUR_SECONDS
      if (hours % STRETCH_HOURS !== 0) return
      bench.progress(`after ${hours} simulated hours`)
      comparison.add(STRETCH_HOURS / 24, lap())
      if (HELD_AFTER_HOURS.some((each) => each === hours)) {
        const { heapBytes, bufferBytes } = footprint()
        heldMib.push((heapBytes + bufferBytes) / (1 << 20))
      }
      markMs = processorMs()
    },
  })
  lap()
  const broken = result.promises.find(({ verdict }) => verdict === 'violated')
  if (broken !== undefined) throw new Error(`${broken.id} is violated: ${broken.violations[0]?.text ?? ''}`)
  return comparison.row({
    measurement: days.name,
    variant: `${SCENARIO} of the catalogue`,
    per: 'simulated day',
    notes: () => ({
      'whole run, s': wholeMs / 1000,
      'events a simulated s': result.events / result.simulatedSeconds,
      'µs an event': (wholeMs * 1000) / result.events,
      [`MiB held after ${HELD_AFTER_HOURS.join(' and ')} h`]: heldMib.map((mib) => mib.toFixed(1)).join(' and '),
    }),
  })
}

export const days: Measurement = {
  name: 'days',
  summary: 'three simulated days at rest with a trickle of messages: what a day costs, and what is held after one day and after three',
  run: (bench) => [measure(bench)],
}
