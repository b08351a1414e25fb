/**
 * Lets a player of packet sequences (`seqtest.mjs --transport tools/conformance-transport.mjs`) talk to a simulated region: each call of the default export is a new
 * connection to the load balancer of the first zone. The region is built once, from `dist/`, so `npm run build` comes first.
 *
 * Virtual time stands still unless it is moved here: by `SETTLE_MS` with each write and each end of a connection, and, while the player waits and nothing was written for
 * `IDLE_REAL_MS`, by `IDLE_STEP_MS` again and again. A player that goes on as soon as it has what it waits for therefore gets the same run each time.
 */
import { Duplex } from 'node:stream'
import { defaultRegion, planRegion } from '../dist/model/region.js'
import { ports } from '../dist/model/settings.js'
import { createSimWorld } from '../dist/sim/world.js'

/** Long enough for any exchange in a calm region: a few round trips between zones, and the syncs of the disks. */
const SETTLE_MS = 300
const IDLE_REAL_MS = 40
const IDLE_STEP_MS = 200
const START_LIMIT_MS = 30_000
/** For routes, pings and probes to have gone everywhere once every shard is served. */
const AFTER_START_MS = 3000

class SimulatedRegion {
  #world
  #host
  #entry
  #connections = new Set()
  #idleTimer

  constructor() {
    const plan = planRegion(defaultRegion)
    this.#world = createSimWorld({ seed: 1, recording: true })
    for (const machine of plan.machines) this.#world.addMachine(machine)
    const balancer = plan.machines.find((machine) => machine.role === 'load-balancer')
    this.#entry = { host: balancer.address, port: ports.mqtt }
    this.#world.addMachine({
      name: 'clients-1',
      zone: 'internet',
      role: 'client',
      address: '203.0.0.1',
      cores: 64,
      boot: (host) => {
        this.#host = host
        return {}
      },
    })
    this.#world.observe({
      onProcessEnded: (machine, cause, error) => {
        if (cause === 'threw') process.stderr.write(`${machine} ended: ${error}\n`)
      },
    })
    while (this.#shardsServed() < plan.shardCount) {
      if (this.#world.nowUs() > START_LIMIT_MS * 1000) throw new Error(`not every shard is served after ${START_LIMIT_MS} ms`)
      this.pass(100)
    }
    this.pass(AFTER_START_MS)
  }

  connect(handler) {
    this.#connections.add(handler)
    return this.#host.connect(this.#entry, handler)
  }

  forget(handler) {
    this.#connections.delete(handler)
  }

  /** Moves time; what arrives meanwhile is handed over afterwards, because during a run the real clock and timers are out of reach. */
  pass(ms) {
    this.#world.run(this.#world.nowUs() + ms * 1000)
    for (const connection of [...this.#connections]) connection.handOver()
    clearTimeout(this.#idleTimer)
    if (this.#connections.size > 0) this.#idleTimer = setTimeout(() => this.pass(IDLE_STEP_MS), IDLE_REAL_MS)
  }

  #shardsServed() {
    const serving = this.#world.history.filter(({ event }) => event.kind === 'shard-state-changed' && event.to === 'serving')
    return new Set(serving.map(({ event }) => event.shard)).size
  }
}

/** One connection: a stream on the player's side, the handler of a connection on the region's. */
class SimulatedConnection extends Duplex {
  #region
  #connection
  #arrived = []
  #ended

  constructor(region) {
    super({ allowHalfOpen: false })
    this.#region = region
    this.#connection = region.connect(this)
  }

  onData(_connection, bytes) {
    this.#arrived.push(bytes)
  }

  onClose(_connection, reason) {
    this.#ended = reason
  }

  handOver() {
    for (const bytes of this.#arrived.splice(0)) this.push(bytes)
    if (this.#ended === undefined) return
    this.#region.forget(this)
    if (this.#ended === 'ended') this.push(null)
    else this.destroy(new Error(`connection ${this.#ended}`))
  }

  _read() {}

  _write(bytes, _encoding, done) {
    if (this.#ended === undefined) {
      this.#connection.write(bytes)
      this.#region.pass(SETTLE_MS)
    }
    done()
  }

  _destroy(error, done) {
    this.#region.forget(this)
    if (this.#ended === undefined) {
      this.#ended = 'ended'
      this.#connection.close()
      this.#region.pass(SETTLE_MS)
    }
    done(error)
  }
}

let region

// biome-ignore lint/style/noDefaultExport: what players of sequences load by name is the default export
export default function connect() {
  region ??= new SimulatedRegion()
  return new SimulatedConnection(region)
}
