/**
 * What a run holds on to: for a connected client that does nothing, and for a message that was delivered long ago and stays in the log.
 *
 * The client: both ends of its connection, the service's state for it, what the clients' and the service's disks hold of it, and the
 * checks. Between two numbers of clients, so that what a region costs by itself is not in it. Keepalive 60 s; each client has a
 * subscription to another one's topic and one to its own, and has sent one probe.
 *
 * What counts is what is still reachable after a full collection: the JavaScript heap, and the buffers outside of it.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Bench, Measurement, Row } from './harness.ts'
import { play } from './play.ts'
import { reference } from './reference-load.ts'
import { spreadOf } from './statistics.ts'

const FEW = 1000
const MANY = 10_000
const ROUNDS = 2

interface Footprint {
  readonly heapBytes: number
  readonly bufferBytes: number
}

let collectGarbage: (() => void) | undefined

/** What is reachable now. */
export function footprint(): Footprint {
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

function difference(after: Footprint, before: Footprint): Footprint {
  return { heapBytes: after.heapBytes - before.heapBytes, bufferBytes: after.bufferBytes - before.bufferBytes }
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
  return difference(after, before)
}

function row(variant: string, per: string, samples: readonly Footprint[], units: number): Row {
  const heap = samples.map(({ heapBytes }) => heapBytes / units)
  const buffers = samples.map(({ bufferBytes }) => bufferBytes / units)
  return {
    measurement: memory.name,
    variant,
    per,
    measured: 'bytes',
    figure: spreadOf(heap.map((bytes, index) => bytes + buffers[index]!)),
    samples: samples.length,
    notes: { 'heap bytes': spreadOf(heap).median, 'buffer bytes': spreadOf(buffers).median },
  }
}

function ofClients(bench: Bench): Row {
  // Code and inline caches of a first run stay: they are no client's.
  grownBy(bench, FEW)
  const samples: Footprint[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const few = grownBy(bench, FEW)
    samples.push(difference(grownBy(bench, MANY), few))
  }
  return row(`${MANY} idle clients, keepalive 60 s`, 'client', samples, MANY - FEW)
}

/** Its record in three copies of the log, and whatever else is still held because of it. */
function ofMessages(bench: Bench): Row {
  const messagesPerSecond = 3000
  const stretchSeconds = 20
  const samples: Footprint[] = []
  for (let seed = 1; seed <= ROUNDS; seed++) {
    let before: Footprint | undefined
    const load = { clients: reference.clients, messagesPerSecond, seconds: 2 * stretchSeconds }
    play(bench, load, {
      seed,
      stretchSeconds,
      skipSeconds: stretchSeconds,
      onSteadyBegin: () => {
        before = footprint()
      },
      onSteadyEnd: () => {
        samples.push(difference(footprint(), before!))
      },
    })
  }
  return row(`delivered, ${reference.payloadBytes} bytes of payload`, 'message', samples, messagesPerSecond * stretchSeconds)
}

export const memory: Measurement = {
  name: 'memory',
  summary: 'memory of a connected idle client (both ends, service and checks), and of a message in the log',
  run: (bench) => [ofClients(bench), ofMessages(bench)],
}
