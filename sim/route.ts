/** The way between the two ends of a connection: direct, or through a load balancer (`forwarding.ts`). */
import type { Connection } from '../model/host.ts'
import { type DelayTable, delayOf, medianOf } from './latency.ts'
import type { LinkEnd, LinkRules, Verdict } from './link-rules.ts'

export interface Route {
  /** Whether whoever stands in the middle has forgotten the connection. */
  readonly broken: boolean
  /** The delay without a tail: for what is told, not sent. */
  readonly typicalUs: number
  delayUs(draw: number): number
  verdict(rules: LinkRules, from: LinkEnd, to: LinkEnd, draw: number): Verdict
  isCut(rules: LinkRules, from: LinkEnd, to: LinkEnd): boolean
  /** An end sends its FIN or RST. */
  passing(from: Connection, fromMachine: LinkEnd, reason: 'ended' | 'reset'): void
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

  verdict(rules: LinkRules, from: LinkEnd, to: LinkEnd, draw: number): Verdict {
    return rules.verdict(from, to, draw)
  }

  isCut(rules: LinkRules, from: LinkEnd, to: LinkEnd): boolean {
    return rules.isCut(from, to)
  }

  passing(): void {}

  turnAway(): void {}
}
