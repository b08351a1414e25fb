/**
 * When a shard is asked again that gave no definite answer: one policy for everything in a proxy that waits for it, so that an owner that is not there yet is not flooded by those
 * who look for it.
 *
 * All who wait are asked for at the same time. From one time to the next it takes twice as long, up to a limit; an answer that itself took that long is followed by a short pause
 * only. Meanwhile the nameservers are asked for another owner, as often as ever. A new term ends the waiting: it takes up everything by itself.
 */
import type { Host, RandomStream, Timer } from '../host.ts'

const FIRST_MS = 100
const LIMIT_MS = 800
/** Up to this part of a pause is left off. */
const JITTER = 0.25
/** After so long without trouble the next one is a new one. */
const FORGOTTEN_MS = 2000
const LOOK_FOR_OWNER_MS = 200

export interface ShardRetriesPorts {
  /** Asks the nameservers who serves the shard. */
  lookForOwner(): void
  /** All who wait are about to ask. */
  retrying(): void
}

export class ShardRetries {
  private readonly host: Host
  private readonly jitter: RandomStream
  private readonly ports: ShardRetriesPorts
  private readonly waiting = new Map<object, () => void>()
  private retryTimer: Timer | undefined
  private lookTimer: Timer | undefined
  private pauseMs = FIRST_MS
  private triedMs = Number.NEGATIVE_INFINITY

  constructor(host: Host, shard: number, ports: ShardRetriesPorts) {
    this.host = host
    this.jitter = host.random(`retries of shard ${shard}`)
    this.ports = ports
  }

  /** Calls `again` when the shard is to be asked again, once for each who waits, and not at all where a new term comes first. */
  later(who: object, again: () => void): void {
    this.waiting.set(who, again)
    if (this.retryTimer !== undefined) return
    const nowMs = this.host.nowMs()
    this.pauseMs = nowMs - this.triedMs > FORGOTTEN_MS ? FIRST_MS : Math.min(LIMIT_MS, 2 * this.pauseMs)
    const pauseMs = this.pauseMs * (1 - JITTER * this.jitter.next())
    this.retryTimer = this.host.setTimer(Math.max(FIRST_MS, this.triedMs + pauseMs - nowMs), () => this.retry())
    this.look()
  }

  isWaiting(who: object): boolean {
    return this.waiting.has(who)
  }

  /** The shard has a new owner, or its link is up again: whoever waits asks now. */
  onTerm(): void {
    this.end()
    this.waiting.clear()
    this.triedMs = Number.NEGATIVE_INFINITY
  }

  private retry(): void {
    this.end()
    this.triedMs = this.host.nowMs()
    const due = [...this.waiting.values()]
    this.waiting.clear()
    this.ports.retrying()
    for (const again of due) again()
  }

  private end(): void {
    this.retryTimer?.cancel()
    this.retryTimer = undefined
    this.lookTimer?.cancel()
    this.lookTimer = undefined
  }

  private look(): void {
    this.ports.lookForOwner()
    this.lookTimer = this.host.setTimer(LOOK_FOR_OWNER_MS, () => this.look())
  }
}
