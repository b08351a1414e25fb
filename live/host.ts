/**
 * One process on a live machine: the ports of `model/host.ts` on sockets, files and timers of this Node process. A handler that throws ends its own
 * process only, as a crash does: sockets get RST, timers and callbacks are dropped.
 *
 * A paused process runs no handler, while the kernel goes on accepting and buffering for it; what is due comes when it goes on.
 * Left out: `work` is free, `perturb` never strikes. A port that a program outside this world holds is found out late: the process then ends as if a handler had thrown.
 */
import { createSocket } from 'node:dgram'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import type {
  Address,
  Boot,
  Connection,
  ConnectionHandler,
  DatagramSocket,
  Files,
  Forwarding,
  ForwardingHandler,
  Host,
  Listener,
  MachineControl,
  Process,
  RandomStream,
  RecordedEvent,
  Timer,
} from '../model/host.ts'
import type { MachineSpec } from '../model/world.ts'
import type { LoopbackMap } from './addresses.ts'
import { type ConnectionOwner, type ConnectionTrace, type Flow, LiveConnection } from './connection.ts'
import type { LiveDisk } from './files.ts'
import { LiveForwarding } from './forwarding.ts'
import { TimerQueue } from './timers.ts'

/** What a process needs of its world. */
export interface Surroundings {
  readonly addresses: LoopbackMap
  readonly recording: boolean
  nowMs(): number
  /** A socket now exists; the world waits for its end when it closes. */
  hold(socket: Socket): void
  dispatched(): void
  threw(process: LiveProcess, error: unknown): void
  record(machine: string, event: RecordedEvent): void
  reached(goal: string): void
  random(machine: string, purpose: string): RandomStream
  readonly control: MachineControl
  /** `target` on the connecting side only. */
  trace(machine: MachineSpec, label: string, target: Address | undefined): ConnectionTrace | undefined
}

/** Who may start and stop machines. */
const CONTROLLER_ROLE = 'instance-group'

/** Until `accept` has said who is told. */
const nobody: ConnectionHandler = { onData: () => {}, onClose: () => {} }

export class LiveProcess implements Host, ConnectionOwner {
  readonly machine: string
  readonly zone: string
  readonly address: string
  readonly bootId: number
  readonly version: number
  readonly recording: boolean
  readonly files: Files
  readonly machines: MachineControl | undefined
  readonly #spec: MachineSpec
  readonly #surroundings: Surroundings
  readonly #startedMs: number
  readonly #timers: TimerQueue
  readonly #flows = new Set<Flow>()
  readonly #ports = new Map<string, () => void>()
  readonly #backlog: (() => void)[] = []
  #process: Process | undefined
  #alive = true
  #pauses = 0

  constructor(spec: MachineSpec, bootId: number, version: number, disk: LiveDisk, surroundings: Surroundings) {
    this.machine = spec.name
    this.zone = spec.zone
    this.address = spec.address
    this.bootId = bootId
    this.version = version
    this.recording = surroundings.recording
    this.#spec = spec
    this.#surroundings = surroundings
    this.#startedMs = surroundings.nowMs()
    this.#timers = new TimerQueue(() => this.nowMs())
    this.files = disk.filesFor((callback) => this.dispatch(callback))
    this.machines = spec.role === CONTROLLER_ROLE ? surroundings.control : undefined
  }

  start(boot: Boot): void {
    this.dispatch(() => {
      this.#process = boot(this)
    })
  }

  /** Asks the process to end in its own way. */
  stop(done: () => void, withinMs: number): void {
    this.dispatch(() => {
      if (this.#process?.stop === undefined) done()
      else this.#process.stop(done, withinMs)
    })
  }

  /** The process is no more: none of its callbacks runs again, and its peers get RST. */
  kill(): void {
    this.#alive = false
    this.#backlog.length = 0
    this.#timers.clear()
    for (const close of [...this.#ports.values()]) close()
    for (const flow of [...this.#flows]) flow.abort()
  }

  freeze(): void {
    this.#pauses += 1
    if (this.#pauses > 1) return
    this.#timers.suspend()
    for (const flow of this.#flows) flow.freeze()
  }

  thaw(): void {
    this.#pauses -= 1
    if (this.#pauses > 0 || !this.#alive) return
    for (const callback of this.#backlog.splice(0)) this.dispatch(callback)
    for (const flow of this.#flows) flow.thaw()
    this.#timers.resume()
  }

  /** Every connection and joint with one of these addresses at the other end. */
  resetFlowsTo(hosts: ReadonlySet<string>): void {
    for (const flow of [...this.#flows]) if (flow.peers.some((peer) => hosts.has(peer))) flow.resetByNetwork()
  }

  get frozen(): boolean {
    return this.#pauses > 0
  }

  dispatch(callback: () => void): void {
    if (!this.#alive) return
    if (this.frozen) {
      this.#backlog.push(callback)
      return
    }
    this.#surroundings.dispatched()
    try {
      callback()
    } catch (error) {
      if (this.#alive) this.#surroundings.threw(this, error)
    }
  }

  release(flow: Flow): void {
    this.#flows.delete(flow)
  }

  nowMs(): number {
    return Math.floor((this.#surroundings.nowMs() - this.#startedMs) * 1000) / 1000
  }

  wallMs(): number {
    return Date.now()
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    return this.#timers.set(delayMs, () => this.dispatch(callback))
  }

  random(purpose: string): RandomStream {
    return this.#surroundings.random(this.machine, purpose)
  }

  listen(port: number, accept: (connection: Connection) => ConnectionHandler | undefined): Listener {
    const { host, port: realPort } = this.#surroundings.addresses.toReal({ host: this.address, port })
    const server = createServer({ pauseOnConnect: true, noDelay: true })
    const listener = this.#take(`tcp ${port}`, () => server.close())
    server.on('connection', (socket) => this.#incoming(socket, server, accept))
    server.on('error', (error) => this.#failed(error))
    server.listen({ host, port: realPort, backlog: 4096 })
    return listener
  }

  connect(target: Address, handler: ConnectionHandler, label = ''): Connection {
    const trace = this.#surroundings.trace(this.#spec, label, target)
    const connection = new LiveConnection(this.#dial(target), target, this, { state: 'connecting', handler, trace })
    this.#flows.add(connection)
    return connection
  }

  forward(inbound: Connection, target: Address, handler: ForwardingHandler, idleTimeoutMs?: number): Forwarding {
    if (!(inbound instanceof LiveConnection)) throw new TypeError('expected a connection of this world')
    const socket = inbound.handOver()
    if (socket === undefined) {
      const gone: Forwarding = { target, reset: () => {} }
      this.setTimer(0, () => handler.onClose(gone, 'reset'))
      return gone
    }
    const forwarding = new LiveForwarding({
      connection: inbound,
      inbound: socket,
      outbound: this.#dial(target),
      target,
      owner: this,
      handler,
      idleTimeoutMs,
    })
    this.#flows.add(forwarding)
    return forwarding
  }

  bind(port: number, onDatagram: (from: Address, bytes: Buffer) => void): DatagramSocket {
    const { addresses } = this.#surroundings
    const { host, port: realPort } = addresses.toReal({ host: this.address, port })
    const socket = createSocket('udp4')
    let open = true
    const taken = this.#take(port === 0 ? undefined : `udp ${port}`, () => {
      open = false
      socket.close()
    })
    socket.on('message', (bytes, from) => {
      this.dispatch(() => {
        if (open) onDatagram(addresses.toRegion(from.address, from.port), bytes)
      })
    })
    socket.on('error', (error) => this.#failed(error))
    socket.bind(realPort, host)
    return {
      send: (target, bytes) => {
        if (!open) return
        const real = addresses.toReal(target)
        // A datagram that cannot be sent is a datagram that was lost.
        socket.send(bytes, real.port, real.host, () => {})
      },
      close: () => taken.close(),
    }
  }

  work(): void {}

  record(event: RecordedEvent): void {
    this.#surroundings.record(this.machine, event)
  }

  perturb(): boolean {
    return false
  }

  reached(goal: string): void {
    this.#surroundings.reached(goal)
  }

  /** Notes that a port is in use until closed, by the process or by its end. */
  #take(port: string | undefined, close: () => void): Listener {
    const key = port ?? `unnamed ${this.#ports.size}`
    if (this.#ports.has(key)) throw new Error(`${this.machine}: port ${key} is taken`)
    const release = () => {
      if (this.#ports.get(key) !== release) return
      this.#ports.delete(key)
      close()
    }
    this.#ports.set(key, release)
    return { close: release }
  }

  #dial(target: Address): Socket {
    const { addresses } = this.#surroundings
    const own = addresses.toReal({ host: this.address, port: 0 })
    const socket = createConnection({ ...addresses.toReal(target), localAddress: own.host, noDelay: true })
    this.#surroundings.hold(socket)
    return socket
  }

  #incoming(socket: Socket, server: Server, accept: (connection: Connection) => ConnectionHandler | undefined): void {
    const { addresses } = this.#surroundings
    this.#surroundings.hold(socket)
    const remote = addresses.toRegion(socket.remoteAddress ?? '0.0.0.0', socket.remotePort ?? 0)
    const trace = this.#surroundings.trace(this.#spec, '', undefined)
    const connection = new LiveConnection(socket, remote, this, { state: 'open', handler: nobody, trace })
    this.#flows.add(connection)
    trace?.opened()
    this.dispatch(() => {
      const handler = server.listening ? accept(connection) : undefined
      if (handler === undefined) {
        connection.reset()
      } else {
        connection.handler = handler
        connection.start()
      }
    })
  }

  /** The system refused a port: as a handler that threw. */
  #failed(error: Error): void {
    this.dispatch(() => {
      throw error
    })
  }
}
