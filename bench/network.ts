/**
 * Network delivery alone: programs of a few lines on two machines of the virtual world send chunks back and forth over connections, with everything the world
 * does for a chunk (delay, order, window, digest, dispatch) and no service. One unit is a chunk that arrived.
 */
import type { Boot, Connection, ConnectionHandler } from '../model/host.ts'
import { createSimWorld, type SimWorld } from '../sim/world.ts'
import { type Bench, Comparison, type Measurement, type Row, timeMs } from './harness.ts'

const CHUNK_BYTES = 100
const PORT = 7
const CHUNKS = 50_000

interface Count {
  chunks: number
}

/** Sends every chunk back. */
function bootEcho(count: Count): Boot {
  const handler: ConnectionHandler = {
    onData(connection, bytes) {
      count.chunks++
      connection.write(bytes)
    },
    onClose: () => {},
  }
  return (host) => {
    host.listen(PORT, () => handler)
    return {}
  }
}

/** Keeps one chunk on its way on each connection. */
function bootCaller(count: Count, connections: number): Boot {
  const handler: ConnectionHandler = {
    onOpen(connection: Connection) {
      connection.write(Buffer.alloc(CHUNK_BYTES, 0x55))
    },
    onData(connection, bytes) {
      count.chunks++
      connection.write(bytes)
    },
    onClose: () => {},
  }
  return (host) => {
    for (let i = 0; i < connections; i++) host.connect({ host: '10.1.0.1', port: PORT }, handler, `flow-${i}`)
    return {}
  }
}

function advance(world: SimWorld, count: Count, chunks: number): number {
  const until = count.chunks + chunks
  world.run(Number.MAX_SAFE_INTEGER, () => count.chunks >= until)
  return count.chunks - until + chunks
}

function measure(bench: Bench, connections: number): Row {
  const world = createSimWorld({ seed: 1, recording: false })
  const count: Count = { chunks: 0 }
  world.addMachine({ name: 'echo', zone: 'az1', role: 'echo', address: '10.1.0.1', cores: 1, boot: bootEcho(count) })
  world.addMachine({ name: 'caller', zone: 'az2', role: 'caller', address: '10.2.0.1', cores: 1, boot: bootCaller(count, connections) })
  advance(world, count, 2 * CHUNKS)
  const comparison = new Comparison(bench.floor)
  for (let round = 0; round < bench.rounds; round++) {
    bench.progress(`${connections} connections, round ${round + 1} of ${bench.rounds}`)
    let arrived = 0
    const tookMs = timeMs(() => {
      arrived = advance(world, count, CHUNKS)
    })
    comparison.add(arrived, tookMs)
  }
  const variant = `${connections} ${connections === 1 ? 'connection' : 'connections'}, ${CHUNK_BYTES} bytes`
  return comparison.row({ measurement: network.name, variant, per: 'chunk', notes: ({ median }) => ({ 'chunks/s': 1e6 / median }) })
}

export const network: Measurement = {
  name: 'network',
  summary: 'network delivery alone: chunks between two machines, without a service',
  run: (bench) => [measure(bench, 1), measure(bench, 1000)],
}
