/**
 * The virtual world: machines on virtual time, as a pure function of what is done to it and a seed.
 *
 * It knows no protocol and no service: whatever is written against the ports can be put into it. What the service under test, observers and `at`
 * callbacks do happens in the order of (time, sequence); recording and observing change nothing of it, which the digest shows.
 *
 * Left out: bandwidth of links, checkpoints of a world.
 */
import type {
  Fault,
  Heal,
  HistoryEntry,
  MachineSpec,
  SocketObserver,
  VirtualWorld,
  WorkPrices,
  WorldCounters,
  WorldObserver,
} from '../model/world.ts'
import { withoutAmbient } from './ambient.ts'
import { WallClock } from './clock.ts'
import { type DiskModel, defaultDisk, SimDisk } from './disk.ts'
import { CALLBACK } from './event-kinds.ts'
import { FaultPoints } from './fault-points.ts'
import { Faults } from './faults.ts'
import { History, SocketTap } from './history.ts'
import { type HostServices, SimHost } from './host.ts'
import { type EventListener, Kernel } from './kernel.ts'
import { defaultLatency, type LatencyModel } from './latency.ts'
import { Machine } from './machine.ts'
import { Network } from './network.ts'
import type { EventTarget } from './queue.ts'
import { RandomStreams } from './random.ts'

export interface SimOptions {
  readonly seed: number
  readonly recording: boolean
  /** Whether the history tells of each connection; most are those of probes, which fill the history of days. Default true. */
  readonly recordsConnections?: boolean
  readonly latency?: LatencyModel
  readonly disk?: DiskModel
  /** Of work, in µs a unit. */
  readonly prices?: Partial<WorkPrices>
  /** Fault points in the code; off where it is left out. */
  readonly perturbations?: { readonly probability: number }
  /** How long TCP waits for an answer to bytes it has sent. */
  readonly giveUpMs?: number
}

export interface SimWorld extends VirtualWorld {
  /** Told of every event before it happens: two runs can be laid side by side. Changes nothing of the run. */
  onEvent: EventListener | undefined
  /** Moves a machine's wall clock. */
  jumpWallClock(machine: string, byMs: number): void
  /** Lets a machine's wall clock gain so many µs a second from now on; negative: lose. */
  driftWallClock(machine: string, partsPerMillion: number): void
  /** Whether a machine has power, with a process or without. */
  isOn(machine: string): boolean
}

const defaultPrices: WorkPrices = { packet: 4, record: 3, request: 2, connection: 30, 'tls-handshake': 1000 }
const defaultGiveUpMs = 120_000

export function createSimWorld(options: SimOptions): SimWorld {
  return new World(options)
}

class World implements SimWorld, EventTarget {
  readonly machines: MachineSpec[] = []
  readonly goals = new Map<string, number>()
  private readonly kernel = new Kernel()
  private readonly log: History
  private readonly network: Network
  private readonly faults: Faults
  private readonly services: HostServices
  private readonly byName = new Map<string, Machine>()
  private readonly byIndex: Machine[] = []
  private readonly taps = new Map<string, SocketTap>()
  private readonly seed: number
  private readonly diskModel: DiskModel

  constructor(options: SimOptions) {
    const { kernel } = this
    this.seed = options.seed
    this.diskModel = options.disk ?? defaultDisk
    this.log = new History(kernel, options.recording, options.recordsConnections ?? true)
    this.network = new Network(kernel, {
      seed: options.seed,
      latency: options.latency ?? defaultLatency,
      giveUpUs: (options.giveUpMs ?? defaultGiveUpMs) * 1000,
    })
    this.faults = new Faults(this.byName, this.network, this.log)
    this.services = {
      streams: new RandomStreams(options.seed),
      prices: { ...defaultPrices, ...options.prices },
      perturbationProbability: options.perturbations?.probability ?? 0,
      reached: (goal) => this.goals.set(goal, (this.goals.get(goal) ?? 0) + 1),
      machines: {
        start: (machine, startUpMs) => this.machine(machine).startUpWithin(Math.round(startUpMs * 1000)),
        stop: (machine, withinMs) => this.machine(machine).setAside(Math.round(withinMs * 1000)),
        moveAddress: (address, machine) => this.network.moveFloating(address, this.machine(machine)),
        holderOf: (address) => this.network.holderOf(address).spec.name,
        state: (machine) => this.machine(machine).state,
      },
    }
    kernel.machineName = (index) => this.byIndex[index - 1]?.spec.name ?? 'world'
    kernel.guestOf = (index) => this.byIndex[index - 1]?.process
  }

  get onEvent(): EventListener | undefined {
    return this.kernel.onEvent
  }

  set onEvent(listener: EventListener | undefined) {
    this.kernel.onEvent = listener
  }

  get history(): readonly HistoryEntry[] {
    return this.log.entries
  }

  addMachine(spec: MachineSpec): void {
    if (this.byName.has(spec.name)) throw new Error(`there is a machine '${spec.name}' already`)
    if (!(spec.cores >= 1)) throw new Error(`${spec.name} needs at least one core, got ${spec.cores}`)
    const machine = new Machine(spec, this.byIndex.length + 1, {
      kernel: this.kernel,
      network: this.network,
      history: this.log,
      tap: this.tapOf(spec.role),
      clock: new WallClock(),
      faultPoints: new FaultPoints(this.seed, spec.name),
      newHost: (place, bootId) => new SimHost(place, bootId, this.services),
    })
    machine.disk = new SimDisk(machine, this.diskModel, this.seed)
    this.network.add(machine)
    this.byName.set(spec.name, machine)
    this.byIndex.push(machine)
    this.machines.push(spec)
    machine.boot()
  }

  stop(machine: string, withinMs: number): void {
    this.machine(machine).stop(Math.round(withinMs * 1000))
  }

  apply(fault: Fault): Heal {
    return this.faults.apply(fault)
  }

  foundNobody(fault: Fault['kind'], wanted: string): void {
    this.log.foundNobody(fault, wanted)
  }

  isRunning(machine: string): boolean {
    return this.machine(machine).process !== undefined
  }

  isOn(machine: string): boolean {
    return this.machine(machine).isOn
  }

  nowUs(): number {
    return this.kernel.nowUs
  }

  at(timeUs: number, callback: () => void): void {
    this.kernel.schedule(timeUs, CALLBACK, this, callback, 0)
  }

  fire(_kind: number, payload: unknown): void {
    const callback = payload as () => void
    callback()
  }

  describe(): string {
    return "a callback of the world's own"
  }

  observeSockets(role: string, observer: SocketObserver): void {
    this.tapOf(role).add(observer)
  }

  observe(observer: WorldObserver): void {
    this.log.observe(observer)
  }

  durableBytes(machine: string, file: string): Buffer {
    return this.machine(machine).disk.durableBytes(file)
  }

  durableFiles(machine: string, prefix: string): readonly string[] {
    return this.machine(machine).disk.list(prefix, true)
  }

  counters(): WorldCounters {
    return { events: this.kernel.events, digest: this.kernel.digestHex() }
  }

  run(untilUs: number, stopWhen?: () => boolean): void {
    withoutAmbient(() => this.kernel.run(untilUs, stopWhen))
  }

  jumpWallClock(machine: string, byMs: number): void {
    this.machine(machine).clock.jump(byMs)
  }

  driftWallClock(machine: string, partsPerMillion: number): void {
    this.machine(machine).clock.drift(partsPerMillion, this.kernel.nowUs)
  }

  private machine(name: string): Machine {
    const machine = this.byName.get(name)
    if (machine === undefined) throw new Error(`there is no machine '${name}'`)
    return machine
  }

  private tapOf(role: string): SocketTap {
    let tap = this.taps.get(role)
    if (tap === undefined) {
      tap = new SocketTap()
      this.taps.set(role, tap)
    }
    return tap
  }
}
