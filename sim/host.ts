/**
 * The ports of one process on a virtual machine. A host lives as long as its process: afterwards its calls do nothing, and none of its callbacks runs.
 *
 * Time stands still while a handler runs: `nowMs` is the time at which it began. The work it does puts off what it sends and what it asks of the
 * disk, not its own clock.
 */
import type {
  Address,
  Connection,
  ConnectionHandler,
  DatagramSocket,
  Files,
  Forwarding,
  ForwardingHandler,
  Host,
  Listener,
  MachineControl,
  RandomStream,
  RecordedEvent,
  Timer,
  WorkKind,
} from '../model/host.ts'
import type { WorkPrices } from '../model/world.ts'
import type { Runnable } from './compute.ts'
import type { ConnectionEnd } from './connection.ts'
import { kindsPerMachine, TIMER } from './event-kinds.ts'
import type { Guest } from './kernel.ts'
import type { Machine } from './machine.ts'
import { SimDatagramSocket, SimListener } from './network.ts'
import type { EventTarget } from './queue.ts'
import type { RandomStreams } from './random.ts'

class SimTimer implements Timer, EventTarget, Runnable {
  private callback: (() => void) | undefined
  private readonly host: SimHost
  private readonly slot: number
  private readonly generation: number

  constructor(host: SimHost, atUs: number, callback: () => void) {
    const { index, kernel } = host.place
    this.host = host
    this.callback = callback
    this.slot = kernel.schedule(atUs, index * kindsPerMachine + TIMER, this, undefined, 0)
    this.generation = kernel.generationOf(this.slot)
  }

  cancel(): void {
    if (this.callback === undefined) return
    this.callback = undefined
    this.host.place.kernel.cancel(this.slot, this.generation)
  }

  fire(kind: number): void {
    if (this.host.isAlive) this.host.place.dispatch(this, kind, undefined, 0)
  }

  run(): void {
    const { callback } = this
    if (callback === undefined) return
    this.callback = undefined
    const { place } = this.host
    place.enter()
    callback()
    place.leave()
  }

  describe(): string {
    return 'a timer'
  }
}

const noTimer: Timer = { cancel: () => {} }
const noListener: Listener = { close: () => {} }
const noSocket: DatagramSocket = { send: () => {}, close: () => {} }

/** What all hosts of a world share. */
export interface HostServices {
  readonly streams: RandomStreams
  readonly prices: WorkPrices
  /** How probable it is that a fault point takes its rarer branch; 0 where they are off. */
  readonly perturbationProbability: number
  readonly reached: (goal: string) => void
  readonly machines: MachineControl
}

/** Who may start and stop machines. */
const CONTROLLER_ROLE = 'instance-group'

export class SimHost implements Host, Guest {
  isAlive = true
  /** The machine itself; `machine` is its name. */
  readonly place: Machine
  readonly machine: string
  readonly zone: string
  readonly address: string
  readonly bootId: number
  readonly version: number
  readonly recording: boolean
  readonly files: Files
  readonly machines: MachineControl | undefined
  private readonly services: HostServices
  private readonly startedAtUs: number

  constructor(place: Machine, bootId: number, services: HostServices) {
    this.place = place
    this.machine = place.spec.name
    this.zone = place.zone
    this.address = place.spec.address
    this.bootId = bootId
    this.version = place.version
    this.services = services
    this.recording = place.history.recording
    this.startedAtUs = place.kernel.nowUs
    this.files = place.disk.filesFor(this)
    this.machines = place.spec.role === CONTROLLER_ROLE ? services.machines : undefined
  }

  failed(error: unknown): void {
    if (this.isAlive) this.place.failed(error)
  }

  nowMs(): number {
    return (this.place.kernel.nowUs - this.startedAtUs) / 1000
  }

  wallMs(): number {
    return this.place.clock.wallMs(this.place.kernel.nowUs)
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    if (!this.isAlive) return noTimer
    if (!(delayMs < Number.POSITIVE_INFINITY)) throw new RangeError(`a timer needs a finite delay in ms, got ${delayMs}`)
    // Not before the delay has passed; less than a nanosecond is an error of the multiplication. But a positive delay moves the clock: who waits for a
    // deadline that is a rounding error away would else wait at one instant for ever.
    const delayUs = delayMs > 0 ? Math.max(1, Math.ceil(delayMs * 1000 - 0.001)) : 0
    return new SimTimer(this, this.place.kernel.nowUs + delayUs, callback)
  }

  random(purpose: string): RandomStream {
    return this.services.streams.stream(this.machine, purpose)
  }

  listen(port: number, accept: (connection: Connection) => ConnectionHandler | undefined): Listener {
    if (!this.isAlive) return noListener
    const { listeners } = this.place
    if (listeners.has(port)) throw new Error(`${this.machine} listens on port ${port} already`)
    const listener = new SimListener(this.place, port, accept)
    listeners.set(port, listener)
    return listener
  }

  connect(target: Address, handler: ConnectionHandler, label?: string): Connection {
    const connection = this.place.network.connect(this.place, target, handler, label ?? this.machine)
    if (!this.isAlive) connection.vanish()
    return connection
  }

  forward(inbound: Connection, target: Address, handler: ForwardingHandler, idleTimeoutMs = Number.POSITIVE_INFINITY): Forwarding {
    return this.place.network.forward(this.place, inbound as ConnectionEnd, target, handler, idleTimeoutMs * 1000)
  }

  /** Port 0 asks for any free one. */
  bind(port: number, onDatagram: (from: Address, bytes: Buffer) => void): DatagramSocket {
    if (!this.isAlive) return noSocket
    const { datagramSockets, network } = this.place
    const bound = port === 0 ? this.place.nextEphemeralPort() : port
    if (datagramSockets.has(bound)) throw new Error(`port ${bound} of ${this.machine} is bound already`)
    const socket = new SimDatagramSocket(this.place, bound, network.datagramKey(this.place, bound), onDatagram)
    datagramSockets.set(bound, socket)
    return socket
  }

  work(kind: WorkKind, units: number): void {
    const { kernel } = this.place
    if (kernel.current === this) kernel.workUs += Math.round(this.services.prices[kind] * units * this.place.processor.slowdown)
  }

  record(event: RecordedEvent): void {
    this.place.history.record(this.machine, event)
  }

  perturb(point: string): boolean {
    if (this.place.faultPoints.strikes(point)) return true
    const probability = this.services.perturbationProbability
    if (probability === 0) return false
    return this.services.streams.stream(this.machine, `perturb/${point}`).next() < probability
  }

  reached(goal: string): void {
    this.services.reached(goal)
  }
}
