/**
 * The timers of one process, on a single timer of Node's: one queue in order of (due time, order of setting), so that timers fire in the order
 * in which they are due even when the event loop is late, and never early (Node's own may fire up to a millisecond early by a finer clock).
 *
 * A process that does not run (`suspend`) has its timers fire late, after `resume`, as after SIGSTOP.
 */
import type { Timer } from '../model/host.ts'

interface Entry extends Timer {
  readonly dueMs: number
  readonly sequence: number
  readonly callback: () => void
}

/** Node fires at once when asked for more. */
const longestAlarmMs = 2 ** 31 - 1

export class TimerQueue {
  readonly #nowMs: () => number
  readonly #entries: Entry[] = []
  #sequence = 0
  #alarm: NodeJS.Timeout | undefined
  #suspended = false

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  set(delayMs: number, callback: () => void): Timer {
    if (Number.isNaN(delayMs)) throw new RangeError('expected a delay in milliseconds, got NaN')
    const dueMs = this.#nowMs() + Math.max(delayMs, 0)
    const entry: Entry = { dueMs, sequence: this.#sequence++, callback, cancel: () => this.#remove(entry) }
    const place = this.#placeOf(entry)
    this.#entries.splice(place, 0, entry)
    if (place === 0) this.#arm()
    return entry
  }

  suspend(): void {
    this.#suspended = true
    this.#arm()
  }

  resume(): void {
    this.#suspended = false
    this.#arm()
  }

  clear(): void {
    this.#entries.length = 0
    this.#arm()
  }

  #remove(entry: Entry): void {
    const place = this.#placeOf(entry)
    if (this.#entries[place] !== entry) return
    this.#entries.splice(place, 1)
    if (place === 0) this.#arm()
  }

  /** The index of the first entry that is not before this one. */
  #placeOf(entry: Entry): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (isBefore(this.#entries[middle]!, entry)) low = middle + 1
      else high = middle
    }
    return low
  }

  #arm(): void {
    clearTimeout(this.#alarm)
    this.#alarm = undefined
    const first = this.#entries[0]
    if (first === undefined || this.#suspended) return
    const waitMs = Math.ceil(first.dueMs - this.#nowMs())
    this.#alarm = setTimeout(() => this.#fire(), Math.min(Math.max(waitMs, 1), longestAlarmMs))
  }

  /** Timers set by the callbacks wait for the next round: a chain of timers of 0 ms leaves room for everything else. */
  #fire(): void {
    const end = this.#sequence
    const nowMs = this.#nowMs()
    for (let first = this.#entries[0]; first !== undefined; first = this.#entries[0]) {
      if (this.#suspended || first.dueMs > nowMs || first.sequence >= end) break
      this.#entries.shift()
      first.callback()
    }
    this.#arm()
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.sequence < b.sequence)
}
