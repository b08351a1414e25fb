/**
 * A machine's processor: cores that work keeps busy, and a line for handlers that find none free, or whose process is paused.
 *
 * A handler runs in no virtual time; the work it says it did keeps one core busy from then on, and what it sends leaves after it. A machine at rest
 * pays a comparison for that. A handler that has to wait stands in one line with the others of its machine, in the order they came, and one
 * event at a time wakes the line.
 *
 * Left out: priorities, and slices of time: work once begun is done in one piece.
 */
import { kindsPerMachine, WAKE } from './event-kinds.ts'
import type { Kernel, Worker } from './kernel.ts'
import type { EventTarget } from './queue.ts'

/** What the processor runs: the part of an event that enters a process. */
export interface Runnable {
  run(kind: number, payload: unknown, argument: number): void
}

interface Waiting {
  readonly target: Runnable
  readonly kind: number
  readonly payload: unknown
  readonly argument: number
  readonly sinceUs: number
}

/** Told of each handler that had to wait, when it begins: for how long it did, and how many still stand behind it. */
export type WaitListener = (waitedUs: number, waiting: number) => void

/** What several slowdowns at once come to. */
export function product(factors: readonly number[]): number {
  let all = 1
  for (const factor of factors) all *= factor
  return all
}

export class Processor implements EventTarget, Worker {
  /** How many times as long work takes as it should. */
  slowdown = 1
  private readonly kernel: Kernel
  private readonly code: number
  private readonly busyUntilUs: Float64Array
  /** From when on a handler may run at once; never, while there is a line or a pause. */
  private readyAtUs = 0
  private coreFreeAtUs = 0
  private readonly factors: number[] = []
  private line: Waiting[] = []
  private paused = false
  private wakeAtUs = -1
  private readonly onWaited: WaitListener

  constructor(kernel: Kernel, machineIndex: number, cores: number, onWaited: WaitListener) {
    this.kernel = kernel
    this.onWaited = onWaited
    this.code = machineIndex * kindsPerMachine + WAKE
    this.busyUntilUs = new Float64Array(cores)
  }

  /** Whether a handler may run now: a core is free, and nobody waits. */
  isReady(): boolean {
    return this.readyAtUs <= this.kernel.nowUs
  }

  /** Puts a handler into the line, to be run in its turn. */
  wait(target: Runnable, kind: number, payload: unknown, argument: number): void {
    this.line.push({ target, kind, payload, argument, sinceUs: this.kernel.nowUs })
    this.readyAtUs = Number.POSITIVE_INFINITY
    this.scheduleWake()
  }

  /** Keeps the core that is free first busy for so long from now on. */
  occupy(workUs: number): void {
    const busy = this.busyUntilUs
    const nowUs = this.kernel.nowUs
    let core = 0
    for (let i = 1; i < busy.length; i++) if (busy[i]! < busy[core]!) core = i
    busy[core] = Math.max(busy[core]!, nowUs) + workUs
    let freeAtUs = busy[0]!
    for (let i = 1; i < busy.length; i++) if (busy[i]! < freeAtUs) freeAtUs = busy[i]!
    this.coreFreeAtUs = freeAtUs
    if (this.readyAtUs !== Number.POSITIVE_INFINITY) this.readyAtUs = freeAtUs
  }

  /** Makes all work take so many times as long, until the returned function is called. */
  slow(factor: number): () => void {
    this.factors.push(factor)
    this.slowdown = product(this.factors)
    return () => {
      this.factors.splice(this.factors.indexOf(factor), 1)
      this.slowdown = product(this.factors)
    }
  }

  pause(): void {
    this.paused = true
    this.readyAtUs = Number.POSITIVE_INFINITY
  }

  resume(): void {
    this.paused = false
    if (this.line.length > 0) this.scheduleWake()
    else this.readyAtUs = this.coreFreeAtUs
  }

  /** The process is gone, and what waited for it. */
  clear(): void {
    this.line = []
    this.busyUntilUs.fill(0)
    this.coreFreeAtUs = 0
    if (!this.paused) this.readyAtUs = 0
  }

  fire(): void {
    if (this.kernel.nowUs === this.wakeAtUs) this.wakeAtUs = -1
    if (this.paused) return
    const line = this.line
    let at = 0
    while (at < line.length && this.coreFreeAtUs <= this.kernel.nowUs && !this.paused && this.line === line) {
      const { target, kind, payload, argument, sinceUs } = line[at]!
      at++
      this.onWaited(this.kernel.nowUs - sinceUs, line.length - at)
      if (at === line.length) {
        line.length = 0
        at = 0
        this.readyAtUs = this.coreFreeAtUs
      }
      target.run(kind, payload, argument)
    }
    if (this.line !== line) return
    if (at > 0) line.splice(0, at)
    if (line.length > 0) this.scheduleWake()
  }

  describe(): string {
    return `${this.line.length} handlers waited for a core`
  }

  private scheduleWake(): void {
    if (this.paused) return
    const atUs = Math.max(this.coreFreeAtUs, this.kernel.nowUs)
    if (this.wakeAtUs === atUs) return
    this.wakeAtUs = atUs
    this.kernel.schedule(atUs, this.code, this, undefined, 0)
  }
}
