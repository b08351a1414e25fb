/**
 * What the contract's tests stand on: machines whose handlers are driven from a test, tapes that write down what a port told, and the rule
 * that holds everywhere: no callback comes from inside a call.
 */
import { expect, test } from 'vitest'
import type { Address, Boot, CloseReason, Connection, ConnectionHandler, Forwarding, ForwardingHandler, Host } from '../host.ts'
import type { World } from '../world.ts'

/** A world to be held to the contract, and a way to let its time pass. */
export interface Harness {
  readonly world: World
  run(ms: number): Promise<void>
  close(): Promise<void>
}

export type MakeHarness = (options: { readonly seed: number; readonly recording: boolean }) => Harness

/** A test in a fresh world. */
export type Check = (name: string, body: (bench: Bench) => Promise<void>) => void

export function checkIn(makeHarness: MakeHarness): Check {
  return (name, body) => {
    test(name, async () => {
      const bench = new Bench(makeHarness({ seed: 1, recording: true }))
      try {
        await body(bench)
        expect(bench.calledInside).toEqual([])
      } finally {
        await bench.close()
      }
    })
  }
}

/** Longer than anything that happens by itself takes in a region at rest. */
const patienceMs = 8000
/** Long enough for what must not happen to have happened. */
export const whileMs = 60

interface MachineOptions {
  readonly role?: string
  readonly zone?: string
  readonly boot?: Boot
  readonly floatingAddresses?: readonly string[]
}

export class Bench {
  readonly harness: Harness
  readonly world: World
  /** Callbacks that came from inside a call. */
  readonly calledInside: string[] = []
  /** Whether a test is inside a port's call. */
  calling = false
  #added = 0

  constructor(harness: Harness) {
    this.harness = harness
    this.world = harness.world
  }

  machine(name: string, options: MachineOptions = {}): Machine {
    this.#added += 1
    return new Machine(this, name, `10.1.0.${this.#added}`, options)
  }

  run(ms: number): Promise<void> {
    return this.harness.run(ms)
  }

  async until(condition: () => boolean, what: string | (() => string)): Promise<void> {
    for (let passedMs = 0; !condition(); passedMs += 5) {
      if (passedMs >= patienceMs) throw new Error(`waited in vain: ${typeof what === 'string' ? what : what()}`)
      await this.harness.run(5)
    }
  }

  called(what: string): void {
    if (this.calling) this.calledInside.push(what)
  }

  close(): Promise<void> {
    return this.harness.close()
  }
}

export class Machine {
  readonly name: string
  readonly address: string
  readonly #bench: Bench
  /** Every process that was started here, the running one last. */
  readonly hosts: Host[] = []

  constructor(bench: Bench, name: string, address: string, options: MachineOptions) {
    this.#bench = bench
    this.name = name
    this.address = address
    const boot: Boot = (host) => {
      this.hosts.push(host)
      return options.boot?.(host) ?? {}
    }
    const { zone = 'az1', role = 'tested', floatingAddresses = [] } = options
    bench.world.addMachine({ name, zone, role, address, floatingAddresses, cores: 2, boot })
  }

  get host(): Host {
    const host = this.hosts.at(-1)
    if (host === undefined) throw new Error(`${this.name} was not started`)
    return host
  }

  at(port: number): Address {
    return { host: this.address, port }
  }

  /** Runs a piece of a test as a handler of the machine's process. */
  async do<T>(body: (host: Host) => T): Promise<T> {
    const bench = this.#bench
    await bench.until(() => this.hosts.length > 0, `${this.name} to start`)
    let outcome: { readonly value: T } | { readonly error: unknown } | undefined
    this.host.setTimer(0, () => {
      bench.calling = true
      try {
        outcome = { value: body(this.host) }
      } catch (error) {
        outcome = { error }
      }
      bench.calling = false
    })
    await bench.until(() => outcome !== undefined, `a handler of ${this.name} to run`)
    if ('error' in outcome!) throw outcome.error
    return outcome!.value
  }

  /** Listens, and gives every accepted connection a tape. */
  async listen(port: number, options: { echo?: boolean; pause?: boolean } = {}): Promise<Server> {
    const server: Server = { tapes: [] }
    await this.do((host) =>
      host.listen(port, (connection) => {
        this.#bench.called('accept')
        const tape = new Tape(this.#bench, options)
        tape.connection = connection
        if (options.pause) connection.pause()
        server.tapes.push(tape)
        return tape
      }),
    )
    return server
  }

  /** Connects and waits for the answer; the connection is `tape.connection`. */
  async connect(target: Address, options: { label?: string; echo?: boolean } = {}): Promise<Tape> {
    const tape = new Tape(this.#bench, options)
    tape.connection = await this.do((host) => host.connect(target, tape, options.label))
    await this.#bench.until(() => tape.log.length > 0, `an answer from ${target.host}:${target.port}`)
    return tape
  }
}

interface Server {
  readonly tapes: Tape[]
}

/** Writes down what a connection tells. */
export class Tape implements ConnectionHandler {
  /** `open`, `drain` and `close <reason>`, in order; `data` where bytes came, once in a row. */
  readonly log: string[] = []
  readonly chunks: Buffer[] = []
  byteCount = 0
  connection: Connection | undefined
  readonly #bench: Bench
  readonly #echo: boolean

  constructor(bench: Bench, options: { echo?: boolean } = {}) {
    this.#bench = bench
    this.#echo = options.echo ?? false
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks)
  }

  get text(): string {
    return this.bytes.toString('latin1')
  }

  get closeReason(): CloseReason | undefined {
    const last = this.log.at(-1)
    return last?.startsWith('close ') ? (last.slice(6) as CloseReason) : undefined
  }

  onOpen(): void {
    this.#write('open')
  }

  onData(connection: Connection, bytes: Buffer): void {
    this.chunks.push(bytes)
    this.byteCount += bytes.length
    if (this.log.at(-1) !== 'data') this.#write('data')
    else this.#bench.called('onData')
    if (this.#echo) connection.write(bytes)
  }

  onDrain(): void {
    this.#write('drain')
  }

  onClose(_connection: Connection, reason: CloseReason): void {
    this.#write(`close ${reason}`)
  }

  #write(what: string): void {
    this.#bench.called(what)
    this.log.push(what)
  }
}

/** Writes down what a forwarding tells. */
export class ForwardingTape implements ForwardingHandler {
  readonly log: CloseReason[] = []
  forwarding: Forwarding | undefined
  readonly #bench: Bench

  constructor(bench: Bench) {
    this.#bench = bench
  }

  onClose(_forwarding: Forwarding, reason: CloseReason): void {
    this.#bench.called(`forwarding closed ${reason}`)
    this.log.push(reason)
  }
}

/** A connection that is open at both ends. */
export async function connected(
  bench: Bench,
  options: { echo?: boolean } = {},
): Promise<{
  client: Machine
  server: Machine
  near: Tape
  far: Tape
}> {
  const client = bench.machine('client-machine')
  const server = bench.machine('server-machine')
  const { tapes } = await server.listen(1883, options)
  const near = await client.connect(server.at(1883))
  await bench.until(() => tapes.length > 0, 'an accepted connection')
  return { client, server, near, far: tapes[0]! }
}

/**
 * Writes blocks until the other side's not reading has held the writer back for a while, or until far more went out than any buffers hold.
 * Returns how many bytes were written; further drains are only written down.
 */
export async function writeUntilHeldBack(bench: Bench, machine: Machine, tape: Tape, block: Buffer): Promise<number> {
  const enough = 64 << 20
  let written = 0
  const fill = () => {
    while (written < enough) {
      written += block.length
      if (!tape.connection!.write(block)) return
    }
  }
  const onDrain = tape.onDrain.bind(tape)
  tape.onDrain = () => {
    onDrain()
    fill()
  }
  await machine.do(fill)
  for (let before = -1; before !== written; ) {
    before = written
    await bench.run(2 * whileMs)
  }
  tape.onDrain = onDrain
  expect(written).toBeLessThan(enough)
  return written
}

/** Bytes in which every cut, swap or loss shows. */
export function pattern(length: number, salt: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let index = 0; index < length; index++) bytes[index] = index * 31 + (index >> 8) * 7 + (index >> 16) * 3 + salt
  return bytes
}

/** Cuts of growing, odd sizes. */
export function cut(bytes: Buffer): readonly Buffer[] {
  const parts: Buffer[] = []
  let size = 1
  for (let from = 0; from < bytes.length; from += parts.at(-1)!.length) {
    parts.push(bytes.subarray(from, from + size))
    size = Math.min(size * 3 + 1, 50_021)
  }
  return parts
}
