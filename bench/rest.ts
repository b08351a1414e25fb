/** A region at rest: no client, nothing goes wrong. What is left is heartbeats, probes, leases and pulls: idle time is to be nearly free. */
import { defaultRegion, planRegion } from '../model/region.ts'
import { createSimWorld } from '../sim/world.ts'
import { type Bench, Comparison, type Measurement, type Row, timeMs } from './harness.ts'
import { spreadOf } from './statistics.ts'

const SETTLED_US = 20_000_000
const STRETCH_SECONDS = 100

function measure(bench: Bench, shards: number): readonly Row[] {
  const world = createSimWorld({ seed: 1, recording: false })
  for (const machine of planRegion({ ...defaultRegion, topicShards: shards, sessionShards: shards }).machines) world.addMachine(machine)
  world.run(SETTLED_US)
  const comparison = new Comparison(bench.floor)
  const eventsPerSecond: number[] = []
  for (let round = 0; round < bench.rounds; round++) {
    bench.progress(`${shards} shards of each kind, round ${round + 1} of ${bench.rounds}`)
    const before = world.counters().events
    const tookMs = timeMs(() => world.run(world.nowUs() + STRETCH_SECONDS * 1_000_000))
    comparison.add(STRETCH_SECONDS, tookMs)
    eventsPerSecond.push((world.counters().events - before) / STRETCH_SECONDS)
  }
  const variant = `${shards} topic, ${shards} session shards`
  const of = { measurement: rest.name, variant, per: 'simulated s' }
  const events = spreadOf(eventsPerSecond)
  return [{ ...of, measured: 'events', figure: events, samples: eventsPerSecond.length, notes: {} }, comparison.row(of)]
}

export const rest: Measurement = {
  name: 'rest',
  summary: 'a region without clients: events a simulated second, and what they cost',
  run: (bench) => [...measure(bench, defaultRegion.topicShards), ...measure(bench, 64)],
}
