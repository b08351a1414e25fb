/**
 * A machine: power, a kernel that knows connections and listening ports, a disk, a processor, a wall clock, and at most one process.
 *
 * It is off while any reason holds it off, its process is down while any reason holds it down, and it is paused while any reason holds it: faults overlap, and
 * each takes back only its own reason. A crash leaves the kernel: it resets the process's connections, refuses new ones and goes on sending what was
 * written to closed ones. A power loss takes the kernel too: nobody is told.
 */
import type { MachineState, Process } from '../model/host.ts'
import { INTERNET, type MachineSpec } from '../model/world.ts'
import type { WallClock } from './clock.ts'
import { Processor, type Runnable } from './compute.ts'
import type { ConnectionEnd } from './connection.ts'
import type { SimDisk } from './disk.ts'
import { ADDRESS_CHANGED, kindsPerMachine, POWER_LOST, PROCESS_ENDED, PROCESS_STARTED, STARTED_UP, STOP, UPGRADED } from './event-kinds.ts'
import type { FaultPoints } from './fault-points.ts'
import type { Joint } from './forwarding.ts'
import type { EndCause, History, SocketTap } from './history.ts'
import type { SimHost } from './host.ts'
import { type Kernel, ObserverFailure } from './kernel.ts'
import type { LinkEnd } from './link-rules.ts'
import type { Network, SimDatagramSocket, SimListener } from './network.ts'
import type { EventTarget } from './queue.ts'

const firstEphemeralPort = 32_768
const ephemeralPorts = 28_232

/** A machine's connections in the order in which they came, without an allocation for each. */
class ConnectionList {
  private first: ConnectionEnd | undefined = undefined
  private last: ConnectionEnd | undefined = undefined
  count = 0

  add(end: ConnectionEnd): void {
    end.previous = this.last
    if (this.last === undefined) this.first = end
    else this.last.next = end
    this.last = end
    this.count++
  }

  /** Does nothing where it is not in the list. */
  remove(end: ConnectionEnd): void {
    const { previous, next } = end
    if (previous === undefined && this.first !== end) return
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    end.previous = undefined
    end.next = undefined
    this.count--
  }

  all(): readonly ConnectionEnd[] {
    const ends: ConnectionEnd[] = []
    for (let end = this.first; end !== undefined; end = end.next) ends.push(end)
    return ends
  }
}

export class Machine implements LinkEnd, EventTarget {
  readonly spec: MachineSpec
  readonly index: number
  readonly zone: string
  readonly kernel: Kernel
  readonly network: Network
  readonly history: History
  readonly processor: Processor
  readonly tap: SocketTap
  readonly clock: WallClock
  readonly connections = new ConnectionList()
  readonly listeners = new Map<number, SimListener>()
  readonly datagramSockets = new Map<number, SimDatagramSocket>()
  readonly joints = new Set<Joint>()
  readonly faultPoints: FaultPoints
  disk!: SimDisk
  /** Where the network finds it now: the address of its plan, until it is given another one. */
  networkAddress: string
  process: SimHost | undefined = undefined

  private readonly newHost: (machine: Machine, bootId: number) => SimHost
  private program: Process | undefined = undefined
  private boots = 0
  version = 1
  private upgrade: { readonly downUs: number } | undefined = undefined
  private addressChanges = 0
  private offReasons: number
  private downReasons = 0
  private pauseReasons = 0
  private isStopped = false
  private isStandby: boolean
  /** It was in service and was told to stand by again: its process ends, or has ended. */
  private isSetAside = false
  /** The start-up that is on its way. */
  private startUp: object | undefined = undefined
  private ephemeralPort = 0

  constructor(
    spec: MachineSpec,
    index: number,
    world: {
      readonly kernel: Kernel
      readonly network: Network
      readonly history: History
      readonly tap: SocketTap
      readonly clock: WallClock
      readonly faultPoints: FaultPoints
      readonly newHost: (machine: Machine, bootId: number) => SimHost
    },
  ) {
    this.spec = spec
    this.index = index
    this.zone = spec.zone
    this.kernel = world.kernel
    this.network = world.network
    this.history = world.history
    this.tap = world.tap
    this.clock = world.clock
    this.newHost = world.newHost
    this.faultPoints = world.faultPoints
    this.networkAddress = spec.address
    this.isStandby = spec.standby === true
    this.offReasons = this.isStandby ? 1 : 0
    this.processor = new Processor(world.kernel, index, spec.cores, (waitedUs, waiting) =>
      this.history.waited(spec.name, waitedUs, waiting),
    )
  }

  get isOn(): boolean {
    return this.offReasons === 0
  }

  /** A handler of this machine's process begins; `leave` ends it. */
  enter(): void {
    this.kernel.current = this.process
  }

  leave(): void {
    this.kernel.leave(this.processor)
  }

  /** Lets a handler run now or when there is a core for it. */
  dispatch(target: Runnable, kind: number, payload: unknown, argument: number): void {
    if (this.process === undefined) return
    if (this.processor.isReady()) target.run(kind, payload, argument)
    else this.processor.wait(target, kind, payload, argument)
  }

  /** Starts the process, unless something holds it down or it runs. May be called while another machine's handler runs. */
  boot(): void {
    if (!this.isOn || this.downReasons > 0 || this.isStopped || this.process !== undefined) return
    const { kernel } = this
    const { current, workUs } = kernel
    const host = this.newHost(this, ++this.boots)
    this.process = host
    kernel.note(this.index * kindsPerMachine + PROCESS_STARTED, this.boots)
    this.history.processStarted(this.spec.name, this.boots, this.version)
    kernel.current = host
    kernel.workUs = 0
    try {
      const { boot, upgraded } = this.spec
      this.program = this.version > 1 && upgraded !== undefined ? upgraded(host) : boot(host)
      kernel.leave(this.processor)
    } catch (error) {
      if (error instanceof ObserverFailure) throw error
      this.failed(error)
    } finally {
      kernel.current = current
      kernel.workUs = workUs
    }
  }

  /** The process's handler threw. */
  failed(error: unknown): void {
    this.endProcess('threw', error instanceof Error ? (error.stack ?? error.message) : String(error))
  }

  /** Holds the process down until the returned function is called. */
  holdDown(): () => void {
    this.downReasons++
    this.endProcess('injected', undefined)
    return () => {
      this.downReasons--
      this.boot()
    }
  }

  restart(): void {
    this.endProcess('injected', undefined)
    this.boot()
  }

  holdOff(): () => void {
    this.offReasons++
    if (this.offReasons === 1) this.losePower()
    return () => {
      this.offReasons--
      this.boot()
    }
  }

  holdPaused(): () => void {
    this.pauseReasons++
    this.processor.pause()
    return () => {
      this.pauseReasons--
      if (this.pauseReasons === 0) this.processor.resume()
    }
  }

  /** Takes the disk away with all that was on it, and the power with it, until the returned function is called. */
  loseDisk(): () => void {
    const powerBack = this.holdOff()
    this.history.powerLost(this.spec.name, this.disk.erase())
    return powerBack
  }

  get state(): MachineState {
    if (this.startUp !== undefined) return 'starting'
    if (this.isSetAside) return this.process === undefined ? 'standby' : 'stopping'
    if (this.isStopped && this.upgrade === undefined) return 'retired'
    return this.isStandby ? 'standby' : 'in-service'
  }

  /** Switches on a machine that stands by. Does nothing to one that does not. */
  commission(): void {
    this.startUp = undefined
    if (this.state !== 'standby') return
    if (this.isStandby) this.offReasons--
    this.isStandby = false
    this.isSetAside = false
    this.isStopped = false
    this.boot()
  }

  /** As `commission`, once its start-up is over. */
  startUpWithin(durationUs: number): void {
    if (this.state !== 'standby') return
    const startUp = {}
    this.startUp = startUp
    this.kernel.schedule(this.kernel.nowUs + durationUs, this.index * kindsPerMachine + STARTED_UP, this, startUp, 0)
  }

  /** Has it stand by again: its process ends as in `stop`, and its kernel stays. Does nothing to a machine that was not planned to stand by. */
  setAside(withinUs: number): void {
    if (this.spec.standby !== true) return
    const { state } = this
    if (state === 'starting') this.startUp = undefined
    if (state !== 'in-service') return
    this.upgrade = undefined
    this.isSetAside = true
    this.end(withinUs)
  }

  /** Ends the process as `stop` does; its next version starts `downUs` after it has ended. One that is not running starts as the next version. */
  upgradeWithin(withinUs: number, downUs: number): void {
    if (this.upgrade !== undefined || this.isSetAside) return
    this.upgrade = { downUs }
    if (this.process === undefined) this.scheduleUpgraded()
    else this.end(withinUs)
  }

  /**
   * Gives it a new address; what it has open goes silent. On the internet it is one of those that providers share among their customers (RFC 6598). Elsewhere it is
   * a private one (RFC 1918): a machine of a private network stays in it, and sees what only those inside may see.
   */
  changeAddress(): void {
    const { index, kernel, network, zone } = this
    this.addressChanges++
    for (const end of this.connections.all()) end.goSilent()
    const range = zone === INTERNET ? `100.${64 + (this.addressChanges & 63)}` : `172.${24 + (this.addressChanges & 7)}`
    network.move(this, `${range}.${(index >>> 8) & 255}.${index & 255}`)
    kernel.note(index * kindsPerMachine + ADDRESS_CHANGED, this.addressChanges)
  }

  /** Ends the process in its own way, and by force after `withinUs`. It stays down. */
  stop(withinUs: number): void {
    this.upgrade = undefined
    this.startUp = undefined
    this.isSetAside = false
    this.end(withinUs)
  }

  private end(withinUs: number): void {
    this.isStopped = true
    const { process: running, program, kernel } = this
    if (running === undefined) return
    const code = this.index * kindsPerMachine + STOP
    if (program?.stop === undefined) {
      this.endProcess('stopped', undefined)
      return
    }
    kernel.schedule(kernel.nowUs + withinUs, code, this, running, 0)
    const run = () => {
      if (this.process !== running) return
      this.enter()
      program.stop?.(() => kernel.schedule(kernel.departureUs(), code, this, running, 0), withinUs / 1000)
      this.leave()
    }
    const asked: EventTarget = { fire: () => this.dispatch({ run }, STOP, undefined, 0), describe: () => 'the process is asked to stop' }
    kernel.schedule(kernel.nowUs, code, asked, undefined, 0)
  }

  fire(kind: number, payload: unknown): void {
    if (kind === UPGRADED) {
      if (this.upgrade === undefined) return
      this.upgrade = undefined
      this.version++
      this.isStopped = false
      this.boot()
    } else if (kind === STARTED_UP) {
      if (this.startUp === payload) this.commission()
    } else if (this.process === payload) this.endProcess('stopped', undefined)
  }

  describe(kind: number): string {
    if (kind === STARTED_UP) return 'its start-up is over'
    return kind === UPGRADED ? 'the next version is started' : 'the process has stopped, or its time to stop is over'
  }

  private scheduleUpgraded(): void {
    const { index, kernel } = this
    kernel.schedule(kernel.nowUs + this.upgrade!.downUs, index * kindsPerMachine + UPGRADED, this, undefined, 0)
  }

  nextEphemeralPort(): number {
    for (let i = 0; i < ephemeralPorts; i++) {
      const port = firstEphemeralPort + (this.ephemeralPort++ % ephemeralPorts)
      if (!this.datagramSockets.has(port)) return port
    }
    throw new Error(`${this.spec.name} has no port left`)
  }

  observeConnecting(end: ConnectionEnd, label: string): void {
    if (!this.tap.isUsed) return
    end.connectionId = this.network.nextConnectionId()
    this.tap.connecting(end.connectionId, this.spec.name, label, this.kernel.departureUs())
  }

  observeAccepted(end: ConnectionEnd): void {
    this.observeConnecting(end, '')
    if (end.connectionId !== 0) this.tap.opened(end.connectionId, this.kernel.nowUs)
  }

  private losePower(): void {
    for (const joint of this.joints) joint.forget()
    for (const end of this.connections.all()) end.vanish()
    this.endProcess('injected', undefined)
    this.kernel.note(this.index * kindsPerMachine + POWER_LOST, this.disk.powerEpoch)
    this.history.powerLost(this.spec.name, this.disk.losePower())
  }

  private endProcess(cause: EndCause, error: string | undefined): void {
    const { process: ended } = this
    if (ended === undefined) return
    ended.isAlive = false
    this.process = undefined
    this.program = undefined
    for (const joint of this.joints) joint.reset()
    for (const end of this.connections.all()) if (end.state !== 'closing') end.reset()
    for (const listener of this.listeners.values()) listener.isOpen = false
    this.listeners.clear()
    for (const socket of this.datagramSockets.values()) socket.isOpen = false
    this.datagramSockets.clear()
    this.processor.clear()
    this.kernel.note(this.index * kindsPerMachine + PROCESS_ENDED, this.boots)
    this.history.processEnded(this.spec.name, cause, error)
    if (this.upgrade !== undefined) this.scheduleUpgraded()
  }
}
