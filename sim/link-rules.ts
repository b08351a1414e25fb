/**
 * Rules about links: what becomes of a packet from one machine to another while faults are in force.
 *
 * Every rule is asked once for each packet, in the order in which the rules came into force. A rule lets it pass, delays it, or drops it; delays add up,
 * and one drop is enough. A rule is a fault's; taking the fault out removes it. With no rule in force nobody is asked.
 * Losses of several rules on one packet share one draw, so the greatest probability holds. Acknowledgements of TCP are lost only where everything is:
 * the next one makes up for a lost one.
 */
import { isWithin } from './random.ts'

/** Who a rule is asked about. */
export interface LinkEnd {
  readonly index: number
  readonly zone: string
}

/** 0: pass. Above: deliver, so many µs later. `dropped`: drop. */
export type Verdict = number
export const dropped: Verdict = -1

export interface LinkRule {
  verdict(from: LinkEnd, to: LinkEnd, draw: number): Verdict
}

/** The draw that no probability below 1 contains. */
export const luckiestDraw = -1

export class LinkRules {
  /** In the order in which they came into force. */
  private readonly rules: LinkRule[] = []
  /** Whether there is any rule. A field, for the sake of the paths that look at it for each packet. */
  inForce = false

  add(rule: LinkRule): () => void {
    this.rules.push(rule)
    this.inForce = true
    return () => {
      const at = this.rules.indexOf(rule)
      if (at < 0) return
      this.rules.splice(at, 1)
      this.inForce = this.rules.length > 0
    }
  }

  verdict(from: LinkEnd, to: LinkEnd, draw: number): Verdict {
    let delayUs = 0
    for (const rule of this.rules) {
      const verdict = rule.verdict(from, to, draw)
      if (verdict === dropped) return dropped
      delayUs += verdict
    }
    return delayUs
  }

  /** Whether nothing at all gets from one to the other. */
  isCut(from: LinkEnd, to: LinkEnd): boolean {
    return this.inForce && this.verdict(from, to, luckiestDraw) === dropped
  }
}

/** No packet from a member of one set to one of the other. */
export function partitionRule(from: ReadonlySet<number>, to: ReadonlySet<number>, bothWays: boolean): LinkRule {
  return {
    verdict: (a, b) => ((from.has(a.index) && to.has(b.index)) || (bothWays && from.has(b.index) && to.has(a.index)) ? dropped : 0),
  }
}

/** Between the sets, both ways: later, or with some probability not at all. */
export function degradedLinkRule(from: ReadonlySet<number>, to: ReadonlySet<number>, addedUs: number, lossProbability: number): LinkRule {
  return {
    verdict: (a, b, draw) => {
      if (!(from.has(a.index) && to.has(b.index)) && !(from.has(b.index) && to.has(a.index))) return 0
      return isWithin(draw, lossProbability) ? dropped : addedUs
    },
  }
}

/** No packet crosses the border of the zone. */
export function isolatedZoneRule(zone: string): LinkRule {
  return { verdict: (a, b) => ((a.zone === zone) !== (b.zone === zone) ? dropped : 0) }
}
