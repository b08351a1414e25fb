/**
 * Memory of a connected client that does nothing: both ends of its connection, the service's state for it, what the clients' and the service's disks hold of it, and the
 * checks. Between two numbers of clients, so that what a region costs by itself is not in it. Keepalive 60 s; each client has a
 * subscription to another one's topic and one to its own, and has sent one probe.
 *
 * What counts is what is still reachable after a full collection: the JavaScript heap, and the buffers outside of it.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Bench, Measurement } from './harness.ts'
import { play } from './play.ts'
import { spreadOf } from './statistics.ts'

const FEW = 1000
const MANY = 10_000
const ROUNDS = 2

interface Footprint {
  readonly heapBytes: number
  readonly bufferBytes: number
}

let collectGarbage: (() => void) | undefined

function footprint(): Footprint {
  if (collectGarbage === undefined) {
    setFlagsFromString('--expose-gc')
    collectGarbage = runInNewContext('gc') as () => void
  }
  // What a first collection finds unreachable may hold buffers that only the next one frees.
  collectGarbage()
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return { heapBytes: heapUsed, bufferBytes: external }
}

function grownBy(bench: Bench, clients: number): Footprint {
  const before = footprint()
  let after = before
  play(
    bench,
    { clients, messagesPerSecond: 0, seconds: 70, profile: 'mqtt.js', warmUpSeconds: 12 },
    {
      stretchSeconds: 60,
      onSteadyEnd: () => {
        after = footprint()
      },
    },
  )
  return { heapBytes: after.heapBytes - before.heapBytes, bufferBytes: after.bufferBytes - before.bufferBytes }
}

export const memory: Measurement = {
  name: 'memory',
  summary: 'memory of a connected idle client: both ends, service and checks',
  run(bench) {
    // Code and inline caches of a first run stay: they are no client's.
    grownBy(bench, FEW)
    const heap: number[] = []
    const buffers: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const few = grownBy(bench, FEW)
      const many = grownBy(bench, MANY)
      heap.push((many.heapBytes - few.heapBytes) / (MANY - FEW))
      buffers.push((many.bufferBytes - few.bufferBytes) / (MANY - FEW))
    }
    return [
      {
        measurement: memory.name,
        variant: `${MANY} idle clients, keepalive 60 s`,
        per: 'client',
        measured: 'bytes',
        figure: spreadOf(heap.map((bytes, round) => bytes + buffers[round]!)),
        samples: ROUNDS,
        notes: { 'heap bytes': spreadOf(heap).median, 'buffer bytes': spreadOf(buffers).median },
      },
    ]
  },
}
