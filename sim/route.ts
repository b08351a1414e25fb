/** The way between the two ends of a connection: direct, through a load balancer (`forwarding.ts`), or a way that leads nowhere any more. */
import type { Connection } from '../model/host.ts'
import { type DelayTable, delayOf, medianOf } from './latency.ts'
import { dropped, type LinkEnd, type LinkRules, type PacketKind, type Verdict } from './link-rules.ts'

export interface Route {
  /** Whether nothing gets along it any more: whoever stands in the middle has forgotten the connection, or nobody has the address. */
  readonly broken: boolean
  /** The delay without a tail: for what is told, not sent. */
  readonly typicalUs: number
  delayUs(draw: number): number
  verdict(rules: LinkRules, from: LinkEnd, to: LinkEnd, draw: number, kind: PacketKind): Verdict
  isCut(rules: LinkRules, from: LinkEnd, to: LinkEnd): boolean
  /** An end sends its FIN or RST. */
  passing(from: Connection, fromMachine: LinkEnd, reason: 'ended' | 'reset'): void
  /** The connection goes silent on the side of this end: whoever stands in the middle cannot reach it any more either. */
  silence(end: Connection): void
  /** An end sent something along a broken route. */
  turnAway(from: Connection, fromMachine: LinkEnd): void
}

/** Shared by all connections of one distance. */
export class DirectRoute implements Route {
  readonly broken = false
  readonly typicalUs: number
  private readonly table: DelayTable

  constructor(table: DelayTable) {
    this.table = table
    this.typicalUs = medianOf(table)
  }

  delayUs(draw: number): number {
    return delayOf(this.table, draw)
  }

  verdict(rules: LinkRules, from: LinkEnd, to: LinkEnd, draw: number, kind: PacketKind): Verdict {
    return rules.verdict(from, to, draw, kind)
  }

  isCut(rules: LinkRules, from: LinkEnd, to: LinkEnd): boolean {
    return rules.isCut(from, to, 'stream')
  }

  passing(): void {}

  silence(): void {}

  turnAway(): void {}
}

/**
 * The way of a connection that has gone silent: what is sent along it is lost. The end that is still where it was reaches as far as the load balancer, which sees
 * its FIN or RST pass, and turns it away if it has forgotten the connection.
 */
export class SilentRoute implements Route {
  readonly broken = true
  readonly typicalUs: number
  private readonly former: Route
  private readonly reachesTheMiddle: boolean

  constructor(former: Route, reachesTheMiddle: boolean) {
    this.former = former
    this.reachesTheMiddle = reachesTheMiddle
    this.typicalUs = former.typicalUs
  }

  delayUs(draw: number): number {
    return this.former.delayUs(draw)
  }

  verdict(): Verdict {
    return dropped
  }

  isCut(): boolean {
    return true
  }

  passing(from: Connection, fromMachine: LinkEnd, reason: 'ended' | 'reset'): void {
    if (this.reachesTheMiddle) this.former.passing(from, fromMachine, reason)
  }

  silence(end: Connection): void {
    this.former.silence(end)
  }

  turnAway(from: Connection, fromMachine: LinkEnd): void {
    if (this.reachesTheMiddle && this.former.broken) this.former.turnAway(from, fromMachine)
  }
}
