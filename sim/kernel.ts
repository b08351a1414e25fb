/**
 * The kernel: takes events in order, keeps the digest, and knows whose handler is running and how much work it has done so far.
 *
 * A handler that throws ends its own process and nothing else. What an observer or a callback of the world throws is not the service's doing: it leaves `run`.
 * A million events at one instant are called a livelock: the process that the last of them belonged to is ended, and `run` throws.
 */
import { Digest, hashBytes } from './digest.ts'
import { DATA, DATAGRAM, kindNames, kindsPerMachine } from './event-kinds.ts'
import { EventQueue, type EventTarget } from './queue.ts'

/** A process, as far as the kernel needs to know it. */
export interface Guest {
  /** Its handler threw. */
  failed(error: unknown): void
}

/** What the kernel needs of a machine to charge it for work. */
export interface Worker {
  occupy(workUs: number): void
}

/** Told of every event before it happens, for comparing two runs. */
export type EventListener = (
  timeUs: number,
  sequence: number,
  kind: string,
  machine: string,
  payloadHash: number,
  detail: () => string,
) => void

const livelockEvents = 1_000_000

/** Wraps what an observer threw, so that it is not taken for the failure of the process whose doing it observed. */
export class ObserverFailure extends Error {
  constructor(cause: unknown) {
    super('an observer threw', { cause })
  }
}

export class Kernel {
  nowUs = 0
  /** Events dispatched. */
  events = 0
  /** The process whose handler runs, and the work it has done in it: what it sends leaves that much later. */
  current: Guest | undefined = undefined
  workUs = 0

  onEvent: EventListener | undefined = undefined
  machineName: (index: number) => string = () => 'world'
  /** Who is to be blamed for a livelock at a machine. */
  guestOf: (index: number) => Guest | undefined = () => undefined

  private readonly queue = new EventQueue()
  private readonly digest = new Digest()
  private eventsAtThisInstant = 0

  schedule(timeUs: number, code: number, target: EventTarget, payload: unknown, argument: number): number {
    return this.queue.push(timeUs, code, target, payload, argument)
  }

  generationOf(slot: number): number {
    return this.queue.generationOf(slot)
  }

  cancel(slot: number, generation: number): void {
    this.queue.cancel(slot, generation)
  }

  /** When what is done now takes effect: after the work of the handler at hand. */
  departureUs(): number {
    return this.nowUs + this.workUs
  }

  leave(worker: Worker): void {
    this.current = undefined
    if (this.workUs === 0) return
    worker.occupy(this.workUs)
    this.workUs = 0
  }

  /** Puts into the digest what happens without an event of its own. */
  note(code: number, hash: number): void {
    this.digest.add(this.nowUs, 0, code, hash)
  }

  digestHex(): string {
    return this.digest.hex()
  }

  run(untilUs: number, stopWhen: (() => boolean) | undefined): void {
    for (;;) {
      try {
        if (this.dispatch(untilUs, stopWhen)) return
        this.queue.advanceTo(untilUs)
        this.nowUs = this.queue.nowUs
        return
      } catch (error) {
        const guest = this.current
        this.current = undefined
        this.workUs = 0
        if (error instanceof ObserverFailure) throw error.cause
        if (guest === undefined) throw error
        guest.failed(error)
        if (stopWhen?.()) return
      }
    }
  }

  /** @returns true when `stopWhen` said so, false when nothing more is due. */
  private dispatch(untilUs: number, stopWhen: (() => boolean) | undefined): boolean {
    const { queue, digest } = this
    while (queue.next(untilUs)) {
      const { code, payload, target } = queue
      if (queue.nowUs !== this.nowUs) {
        this.nowUs = queue.nowUs
        this.eventsAtThisInstant = 0
      } else if (++this.eventsAtThisInstant > livelockEvents) this.livelock(code)
      const kind = code & (kindsPerMachine - 1)
      const hash = kind === DATA || kind === DATAGRAM ? hashBytes(payload as Uint8Array) : 0
      this.events++
      digest.add(this.nowUs, queue.sequence, code, hash)
      if (this.onEvent !== undefined) this.tell(code, kind, hash)
      target!.fire(kind, payload, queue.argument)
      if (stopWhen?.()) return true
    }
    return false
  }

  private tell(code: number, kind: number, hash: number): void {
    const { target, payload, argument, sequence } = this.queue
    const detail = () => target!.describe(kind, payload, argument)
    this.onEvent!(this.nowUs, sequence, kindNames[kind]!, this.machineName(code >>> 5), hash, detail)
  }

  private livelock(code: number): never {
    const machine = code >>> 5
    const text = `livelock: more than ${livelockEvents} events at ${this.nowUs} us, the last one at ${this.machineName(machine)}`
    this.eventsAtThisInstant = 0
    this.current = undefined
    const error = new Error(text)
    this.guestOf(machine)?.failed(error)
    throw error
  }
}
