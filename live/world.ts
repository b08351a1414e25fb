/**
 * A World on one real machine: every machine of the region is a set of sockets, files and timers in this Node process, on a loopback address of its own.
 * It is thin: enough that the service that was simulated runs as it is, and that a real client can reach it (`externalAddress`).
 *
 * What it can do honestly: crash, restart, pause, connection reset, upgrade, scale in and out. A zone that loses power is a crash of every machine in it: what was not
 * synced stays (the computer's cache is alive), and peers get RST where a real outage would be silent. Partitions, slow, lossy or silent links, zones cut off,
 * a single machine's power, slow machines, clocks and broken disks need a kernel between the machines: `UnsupportedFault`.
 *
 * Times are real, so runs differ: `counters().digest` is always zero. `SocketObserver.onReceived` gets the time of arrival as `sentAtUs` too,
 * which a real socket does not carry; bytes of a forwarded connection are not observed at the machine that forwards them.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import seedrandom from 'seedrandom'
import type { Address, MachineControl, MachineState, RandomStream, RecordedEvent } from '../model/host.ts'
import {
  type Fault,
  type Heal,
  type HistoryEntry,
  type MachineSpec,
  type SocketObserver,
  UnsupportedFault,
  type World,
  type WorldEvent,
  type WorldObserver,
} from '../model/world.ts'
import { LoopbackMap } from './addresses.ts'
import type { ConnectionTrace } from './connection.ts'
import { LiveDisk } from './files.ts'
import { LiveProcess, type Surroundings } from './host.ts'
import { TimerQueue } from './timers.ts'

export interface LiveOptions {
  /** Where the machines' files lie, a folder each. Kept, so that a later world can go on from it. */
  readonly directory: string
  readonly recording?: boolean
  /** Gets each entry as it is recorded, where recording is on; `history` then keeps none, so that a world may run for long. */
  readonly onRecorded?: (entry: HistoryEntry) => void
  /** Ports of machines that programs outside expect at an address of their own. */
  readonly pinned?: readonly { readonly region: Address; readonly real: Address }[]
  /** For the random streams only. */
  readonly seed?: number
  /** The loopback address of the machine added first; further ones follow. By default drawn at random, so that worlds do not meet. */
  readonly firstAddress?: string
}

export interface LiveWorld extends World {
  /** Where a program outside this world reaches a port of a machine. */
  externalAddress(machine: string, port: number): Address
  /** Ends all processes and waits until sockets and files are closed. The files stay. */
  close(): Promise<void>
}

interface Machine {
  readonly spec: MachineSpec
  readonly disk: LiveDisk
  readonly bootIdFile: string
  process: LiveProcess | undefined
  /** Crashes in force: it starts again when the last was taken out. */
  crashes: number
  state: MachineState
  /** Of a machine that is `starting`: told from others before it. */
  startUp: object | undefined
  version: number
}

export function createLiveWorld(options: LiveOptions): LiveWorld {
  return new RealWorld(options)
}

class RealWorld implements LiveWorld, Surroundings {
  readonly addresses: LoopbackMap
  readonly recording: boolean
  readonly history: HistoryEntry[] = []
  readonly goals = new Map<string, number>()
  readonly control: MachineControl = {
    start: (name, startUpMs) => this.#startUp(this.#machine(name), startUpMs),
    stop: (name, withinMs) => this.#setAside(this.#machine(name), withinMs),
    state: (name) => this.#machine(name).state,
    moveAddress: (address, name) => {
      const { spec } = this.#machine(name)
      this.control.holderOf(address)
      this.#holders.set(address, name)
      this.addresses.float(address, spec.address)
    },
    holderOf: (address) => {
      const holder = this.#holders.get(address)
      if (holder === undefined) throw new Error(`${address} is no floating address`)
      return holder
    },
  }
  readonly #directory: string
  readonly #seed: number
  readonly #streams = new Map<string, RandomStream>()
  readonly #beganMs = performance.now()
  readonly #machines = new Map<string, Machine>()
  /** Names, by floating address. */
  readonly #holders = new Map<string, string>()
  readonly #socketObservers = new Map<string, SocketObserver[]>()
  readonly #observers: WorldObserver[] = []
  readonly #timers = new TimerQueue(() => this.nowMs())
  readonly #sockets = new Set<Socket>()
  readonly #onRecorded: ((entry: HistoryEntry) => void) | undefined
  #recorded = 0
  #connectionId = 0
  #events = 0

  constructor(options: LiveOptions) {
    this.addresses = new LoopbackMap(options.firstAddress)
    for (const { region, real } of options.pinned ?? []) this.addresses.pin(region, real)
    this.#onRecorded = options.onRecorded
    this.#seed = options.seed ?? 1
    this.recording = options.recording ?? false
    this.#directory = options.directory
    mkdirSync(this.#directory, { recursive: true })
  }

  addMachine(spec: MachineSpec): void {
    for (const { spec: other } of this.#machines.values()) {
      if (other.name === spec.name || other.address === spec.address) {
        throw new Error(
          `expected a machine of its own name and address, got ${spec.name} ${spec.address} beside ${other.name} ${other.address}`,
        )
      }
    }
    this.addresses.toReal({ host: spec.address, port: 0 })
    for (const floating of spec.floatingAddresses ?? []) {
      this.#holders.set(floating, spec.name)
      this.addresses.float(floating, spec.address)
    }
    const disk = new LiveDisk(join(this.#directory, spec.name), (file, size) => {
      for (const observer of this.#observers) observer.onSynced?.(spec.name, file, size, this.nowUs())
    })
    const machine: Machine = {
      spec,
      disk,
      bootIdFile: join(this.#directory, `${spec.name}.boot-id`),
      process: undefined,
      crashes: 0,
      state: spec.standby === true ? 'standby' : 'in-service',
      startUp: undefined,
      version: 1,
    }
    this.#machines.set(spec.name, machine)
    if (machine.state === 'in-service') this.#start(machine)
  }

  get machines(): readonly MachineSpec[] {
    return [...this.#machines.values()].map((machine) => machine.spec)
  }

  stop(name: string, withinMs: number): void {
    const machine = this.#machine(name)
    machine.state = 'retired'
    this.#stop(machine, withinMs, () => {})
  }

  #stop(machine: Machine, withinMs: number, whenEnded: () => void): void {
    const { process } = machine
    if (process === undefined) {
      whenEnded()
      return
    }
    const end = () => {
      deadline.cancel()
      if (machine.process === process) this.#end(machine, 'stopped')
      whenEnded()
    }
    const deadline = this.#timers.set(withinMs, end)
    process.stop(end, withinMs)
  }

  foundNobody(faultKind: Fault['kind'], wanted: string): void {
    this.#journal('', { kind: 'fault-found-nobody', faultKind, wanted })
  }

  isRunning(machine: string): boolean {
    return this.#machine(machine).process !== undefined
  }

  apply(fault: Fault): Heal {
    const heal = this.#inForce(fault)
    this.#tellFault(fault, 'applied')
    let healed = false
    return () => {
      if (healed) return
      healed = true
      heal()
      this.#tellFault(fault, 'healed')
    }
  }

  nowMs(): number {
    return performance.now() - this.#beganMs
  }

  nowUs(): number {
    return Math.floor(this.nowMs() * 1000)
  }

  at(timeUs: number, callback: () => void): void {
    this.#timers.set(timeUs / 1000 - this.nowMs(), callback)
  }

  observeSockets(role: string, observer: SocketObserver): void {
    const observers = this.#socketObservers.get(role)
    if (observers === undefined) this.#socketObservers.set(role, [observer])
    else observers.push(observer)
  }

  observe(observer: WorldObserver): void {
    this.#observers.push(observer)
  }

  durableBytes(machine: string, file: string): Buffer {
    return this.#machine(machine).disk.durableBytes(file)
  }

  durableFiles(machine: string, prefix: string): readonly string[] {
    return this.#machine(machine).disk.durableFiles(prefix)
  }

  counters(): { readonly events: number; readonly digest: string } {
    return { events: this.#events, digest: '0'.repeat(16) }
  }

  externalAddress(machine: string, port: number): Address {
    return this.addresses.toReal({ host: this.#machine(machine).spec.address, port })
  }

  async close(): Promise<void> {
    this.#timers.clear()
    for (const machine of this.#machines.values()) if (machine.process !== undefined) this.#end(machine, 'stopped')
    const closed = [...this.#sockets].map((socket) => new Promise<void>((resolve) => socket.once('close', () => resolve())))
    for (const socket of this.#sockets) socket.destroy()
    await Promise.all([...closed, ...[...this.#machines.values()].map((machine) => machine.disk.close())])
  }

  hold(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  dispatched(): void {
    this.#events += 1
  }

  threw(process: LiveProcess, error: unknown): void {
    const machine = this.#machine(process.machine)
    if (machine.process === process) this.#end(machine, 'threw', error instanceof Error ? (error.stack ?? error.message) : String(error))
  }

  record(machine: string, event: RecordedEvent): void {
    if (!this.recording) return
    const entry: HistoryEntry = { timeUs: this.nowUs(), sequence: this.#recorded++, machine, event }
    if (this.#onRecorded === undefined) this.history.push(entry)
    else this.#onRecorded(entry)
  }

  reached(goal: string): void {
    this.goals.set(goal, (this.goals.get(goal) ?? 0) + 1)
  }

  /** One stream for each machine and purpose, which goes on where it was left, after a restart too. */
  random(machine: string, purpose: string): RandomStream {
    const key = `${this.#seed}/${machine}/${purpose}`
    let stream = this.#streams.get(key)
    if (stream === undefined) {
      const next = seedrandom.alea(key)
      stream = { next, below: (bound) => Math.floor(next() * bound) }
      this.#streams.set(key, stream)
    }
    return stream
  }

  trace(machine: MachineSpec, label: string, target: Address | undefined): ConnectionTrace | undefined {
    const observers = this.#socketObservers.get(machine.role) ?? []
    const journal = this.recording && target !== undefined ? target : undefined
    if (observers.length === 0 && journal === undefined) return undefined
    const id = this.#connectionId++
    const ends = { from: machine.name, to: journal === undefined ? '' : this.#nameOf(journal.host) }
    for (const observer of observers) observer.onConnect(id, machine.name, label, this.nowUs())
    return {
      opened: () => {
        for (const observer of observers) observer.onOpen(id, this.nowUs())
        if (journal !== undefined) this.#journal(machine.name, { kind: 'connection-opened', ...ends })
      },
      sent: (bytes) => {
        for (const observer of observers) observer.onSent(id, bytes, this.nowUs())
      },
      received: (bytes) => {
        const nowUs = this.nowUs()
        for (const observer of observers) observer.onReceived(id, bytes, nowUs, nowUs)
      },
      closed: (reason, by) => {
        for (const observer of observers) observer.onClosed(id, reason, by, this.nowUs())
        if (journal !== undefined) this.#journal(machine.name, { kind: 'connection-closed', ...ends, reason })
      },
    }
  }

  #inForce(fault: Fault): Heal {
    switch (fault.kind) {
      case 'crash':
        return this.#crash(this.#named(fault.machines))
      case 'restart': {
        this.#crash(this.#named(fault.machines))()
        return () => {}
      }
      case 'pause': {
        const processes = this.#named(fault.machines).flatMap((machine) => machine.process ?? [])
        for (const process of processes) process.freeze()
        return () => {
          for (const process of processes) process.thaw()
        }
      }
      case 'connection-reset': {
        const from = this.#named(fault.from)
        const to = this.#named(fault.to)
        for (const machine of from) machine.process?.resetFlowsTo(addressesOf(to))
        for (const machine of to) machine.process?.resetFlowsTo(addressesOf(from))
        return () => {}
      }
      case 'zone-outage':
        if (fault.form === 'power') return this.#crash([...this.#machines.values()].filter((machine) => machine.spec.zone === fault.zone))
        throw new UnsupportedFault(
          'a live world can take a zone down by crashes (form `power`) and in no other form: its machines share one kernel, which has no network between them',
        )
      case 'upgrade':
        for (const machine of this.#named(fault.machines)) this.#upgrade(machine, fault.graceMs, fault.downMs)
        return () => {}
      case 'scale-in':
        for (const name of fault.machines) this.stop(name, fault.graceMs)
        return () => {}
      case 'scale-out':
        for (const machine of this.#named(fault.machines)) {
          if (machine.state === 'standby' || machine.state === 'starting') this.#commission(machine)
        }
        return () => {}
      case 'power-loss':
        throw new UnsupportedFault('a live machine cannot lose power: what was not synced would stay. `crash` ends its process')
      case 'partition':
      case 'link':
      case 'datagram-loss':
      case 'isolation':
      case 'grey':
      case 'address-change':
      case 'nat-timeout':
        throw new UnsupportedFault(
          `a live world cannot do \`${fault.kind}\`: its machines share one kernel, which has no network between them`,
        )
      case 'sync-failure':
      case 'disk-stall':
      case 'disk-slow':
      case 'disk-full':
      case 'lying-sync':
      case 'bit-rot':
      case 'misdirected-write':
      case 'disk-loss':
        throw new UnsupportedFault(`a live world cannot do \`${fault.kind}\`: its disks are real ones`)
      case 'slow':
        throw new UnsupportedFault('a live world cannot slow a machine down: all share the processors of the one it runs on')
      case 'fault-point':
        throw new UnsupportedFault('fault points in the code are never taken in a live world')
      case 'clock-jump':
      case 'clock-drift':
        throw new UnsupportedFault('a live world cannot set the clock: it is the one of the machine it runs on')
    }
  }

  #crash(machines: readonly Machine[]): Heal {
    for (const machine of machines) {
      machine.crashes += 1
      if (machine.process !== undefined) this.#end(machine, 'injected')
    }
    return () => {
      for (const machine of machines) {
        machine.crashes -= 1
        if (machine.crashes === 0 && machine.process === undefined && machine.state === 'in-service') this.#start(machine)
      }
    }
  }

  #commission(machine: Machine): void {
    machine.startUp = undefined
    machine.state = 'in-service'
    if (machine.crashes === 0) this.#start(machine)
  }

  #startUp(machine: Machine, durationMs: number): void {
    if (machine.state !== 'standby') return
    const startUp = {}
    machine.startUp = startUp
    machine.state = 'starting'
    this.#timers.set(durationMs, () => {
      if (machine.startUp === startUp && machine.state === 'starting') this.#commission(machine)
    })
  }

  #setAside(machine: Machine, withinMs: number): void {
    if (machine.spec.standby !== true) return
    if (machine.state === 'starting') machine.state = 'standby'
    if (machine.state !== 'in-service') return
    machine.state = 'stopping'
    // Not from inside the call: it is a handler of another process.
    this.#timers.set(0, () =>
      this.#stop(machine, withinMs, () => {
        if (machine.state === 'stopping') machine.state = 'standby'
      }),
    )
  }

  #upgrade(machine: Machine, graceMs: number, downMs: number): void {
    if (machine.state !== 'in-service') return
    let hasEnded = false
    this.#stop(machine, graceMs, () => {
      if (hasEnded) return
      hasEnded = true
      this.#timers.set(downMs, () => {
        machine.version++
        if (machine.crashes === 0 && machine.process === undefined && machine.state === 'in-service') this.#start(machine)
      })
    })
  }

  #start(machine: Machine): void {
    const bootId = lastBootId(machine.bootIdFile) + 1
    writeFileSync(machine.bootIdFile, `${bootId}\n`)
    const { version } = machine
    const process = new LiveProcess(machine.spec, bootId, version, machine.disk, this)
    machine.process = process
    this.#journal(machine.spec.name, version === 1 ? { kind: 'process-started', bootId } : { kind: 'process-started', bootId, version })
    for (const observer of this.#observers) observer.onProcessStarted?.(machine.spec.name, this.nowUs())
    process.start(version > 1 ? (machine.spec.upgraded ?? machine.spec.boot) : machine.spec.boot)
  }

  #end(machine: Machine, cause: 'injected' | 'threw' | 'stopped', error?: string): void {
    const { process } = machine
    machine.process = undefined
    process?.kill()
    this.#journal(machine.spec.name, error === undefined ? { kind: 'process-ended', cause } : { kind: 'process-ended', cause, error })
    for (const observer of this.#observers) observer.onProcessEnded?.(machine.spec.name, cause, error, this.nowUs())
  }

  #tellFault(fault: Fault, phase: 'applied' | 'healed'): void {
    this.#journal('', { kind: `fault-${phase}`, fault })
    for (const observer of this.#observers) observer.onFault?.(fault, phase, this.nowUs())
  }

  #journal(machine: string, event: WorldEvent): void {
    this.record(machine, event)
  }

  #machine(name: string): Machine {
    const machine = this.#machines.get(name)
    if (machine === undefined) throw new Error(`expected the name of a machine, got ${name}`)
    return machine
  }

  #named(names: readonly string[]): readonly Machine[] {
    return names.map((name) => this.#machine(name))
  }

  #nameOf(address: string): string {
    for (const { spec } of this.#machines.values()) if (spec.address === address) return spec.name
    return address
  }
}

function addressesOf(machines: readonly Machine[]): ReadonlySet<string> {
  return new Set(machines.map((machine) => machine.spec.address))
}

function lastBootId(file: string): number {
  try {
    return Number.parseInt(readFileSync(file, 'utf8'), 10) || 0
  } catch {
    return 0
  }
}
