/** What the tests of the virtual world share: machines that do what a test tells them, and a log of what they were told. */
import type { CloseReason, Connection, ConnectionHandler, Host } from '../model/host.ts'
import type { MachineSpec } from '../model/world.ts'
import { createSimWorld, type SimOptions, type SimWorld } from './world.ts'

/** Every delay is its median, nothing has a tail: for tests that reckon. */
const exact = (us: number) => ({ leastUs: us, p50Us: us, p90Us: us, p99Us: us, p999Us: us })
const exactLatency = { loopback: exact(20), sameZone: exact(150), otherZone: exact(500), internet: exact(20_000) }
const exactDisk = { sync: exact(1000), read: exact(100), bytesPerSecond: 200_000_000 }

export function newWorld(options: Partial<SimOptions> = {}): SimWorld {
  return createSimWorld({ seed: 1, recording: false, latency: exactLatency, disk: exactDisk, ...options })
}

/** Keeps what one end was told. */
export class Ear implements ConnectionHandler {
  readonly chunks: Buffer[] = []
  readonly closes: CloseReason[] = []
  openings = 0
  drains = 0
  connection: Connection | undefined
  closedAtMs = -1
  private readonly host: Host

  constructor(host: Host) {
    this.host = host
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }

  get size(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  onOpen(): void {
    this.openings++
  }

  onData(_connection: Connection, bytes: Buffer): void {
    this.chunks.push(bytes)
  }

  onDrain(): void {
    this.drains++
  }

  onClose(_connection: Connection, reason: CloseReason): void {
    this.closes.push(reason)
    this.closedAtMs = this.host.nowMs()
  }
}

/** A machine without a will of its own. `host` is the one of its present process. */
export class Puppet {
  readonly name: string
  readonly address: string
  host!: Host
  boots = 0
  /** What was accepted on port 1, in order. */
  readonly accepted: Ear[] = []
  onBoot: (host: Host) => void

  constructor(world: SimWorld, name: string, zone: string, fields: Partial<MachineSpec> & { readonly onBoot?: (host: Host) => void } = {}) {
    const { onBoot, ...spec } = fields
    this.name = name
    this.address = `10.0.0.${world.machines.length + 1}`
    this.onBoot = onBoot ?? ((host) => this.listen(host))
    world.addMachine({
      name,
      zone,
      role: 'puppet',
      address: this.address,
      cores: 1,
      boot: (host) => {
        this.host = host
        this.boots++
        this.onBoot(host)
        return {}
      },
      ...spec,
    })
  }

  connect(to: Puppet, label?: string): Ear {
    const ear = new Ear(this.host)
    ear.connection = this.host.connect({ host: to.address, port: 1 }, ear, label)
    return ear
  }

  listen(host: Host): void {
    host.listen(1, (connection) => {
      const ear = new Ear(host)
      ear.connection = connection
      this.accepted.push(ear)
      return ear
    })
  }
}

export const ms = (value: number) => value * 1000
export const seconds = (value: number) => value * 1_000_000
