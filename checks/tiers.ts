/**
 * A witness of the region's insides: how many requests a second reach each tier, counted at the sockets of its machines. For machines that speak in frames (nameservers, brokers,
 * volume servers) a request is a connection taken or a frame that came over one; for load balancers and proxies it is a connection taken, since what clients send over
 * it is their own affair.
 *
 * Keeps whole seconds of true time, the last `KEPT_SECONDS` of them. Left out: datagrams, and answers to what a machine asked itself.
 */
import type { SocketObserver } from '../model/world.ts'
import { FrameCounter } from './frame-counter.ts'

export const tierRoles = ['load-balancer', 'proxy', 'nameserver', 'broker', 'volume'] as const
export type TierRole = (typeof tierRoles)[number]

const FRAMED: ReadonlySet<TierRole> = new Set(['nameserver', 'broker', 'volume'])
export const KEPT_SECONDS = 64
const US_PER_SECOND = 1_000_000

export function secondOf(timeUs: number): number {
  return Math.floor(timeUs / US_PER_SECOND)
}

/** A number for each of the last seconds; those before them are forgotten. */
export class PerSecond {
  private readonly counts = new Float64Array(KEPT_SECONDS)
  private last = 0

  add(second: number, count: number): void {
    this.moveTo(second)
    if (second > this.last - KEPT_SECONDS) this.counts[second % KEPT_SECONDS]! += count
  }

  at(second: number): number {
    return second < 0 || second > this.last || second <= this.last - KEPT_SECONDS ? 0 : this.counts[second % KEPT_SECONDS]!
  }

  private moveTo(second: number): void {
    if (second <= this.last) return
    for (let each = Math.max(this.last + 1, second - KEPT_SECONDS + 1); each <= second; each++) this.counts[each % KEPT_SECONDS] = 0
    this.last = second
  }
}

export class Tier implements SocketObserver {
  readonly role: TierRole
  readonly requests = new PerSecond()
  /** The most connections that were open in a second, of machines that speak in frames. */
  readonly links = new PerSecond()
  private readonly isFramed: boolean
  private readonly open = new Map<number, FrameCounter>()

  constructor(role: TierRole) {
    this.role = role
    this.isFramed = FRAMED.has(role)
  }

  /** Only connections that it took have no label. */
  onConnect(connectionId: number, _machine: string, label: string, timeUs: number): void {
    if (label !== '') return
    const second = secondOf(timeUs)
    this.requests.add(second, 1)
    if (!this.isFramed) return
    this.open.set(connectionId, new FrameCounter())
    const more = this.open.size - this.links.at(second)
    if (more > 0) this.links.add(second, more)
  }

  onOpen(): void {}

  onSent(): void {}

  onReceived(connectionId: number, bytes: Buffer, timeUs: number): void {
    const counter = this.open.get(connectionId)
    if (counter === undefined) return
    const frames = counter.count(bytes)
    if (frames > 0) this.requests.add(secondOf(timeUs), frames)
  }

  onClosed(connectionId: number): void {
    this.open.delete(connectionId)
  }

  /** How many connections it may have had open in a second. */
  linksIn(second: number): number {
    return Math.max(this.links.at(second), this.open.size)
  }
}
