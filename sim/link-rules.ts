/**
 * Rules about links: what becomes of a packet from one machine to another while faults are in force.
 *
 * Every rule is asked once for each packet, in the order in which the rules came into force. A rule lets it pass, delays it, or drops it; delays add up,
 * and one drop is enough. A rule is a fault's; taking the fault out removes it. With no rule in force nobody is asked.
 * Losses of several rules on one packet share one draw, so the greatest probability holds. Acknowledgements of TCP are lost only where everything is:
 * the next one makes up for a lost one.
 */
import { INTERNET, type ZoneOutageForm } from '../model/world.ts'
import { isWithin } from './random.ts'

/** Who a rule is asked about. */
export interface LinkEnd {
  readonly index: number
  readonly zone: string
}

/** What a packet belongs to: the opening of a connection, its bytes and its end, or nothing. */
export type PacketKind = 'handshake' | 'stream' | 'datagram'

/** 0: pass. Above: deliver, so many µs later. `dropped`: drop. */
export type Verdict = number
export const dropped: Verdict = -1

export interface LinkRule {
  verdict(from: LinkEnd, to: LinkEnd, draw: number, kind: PacketKind): Verdict
}

/** The connections of these machines pass a translator of addresses, which forgets those that are idle. */
export interface NatRule {
  readonly machines: ReadonlySet<number>
  readonly afterUs: number
}

/** The draw that no probability below 1 contains. */
export const luckiestDraw = -1

export class LinkRules {
  /** In the order in which they came into force. */
  private readonly rules: LinkRule[] = []
  private readonly nats: NatRule[] = []
  /** Whether there is any rule. A field, for the sake of the paths that look at it for each packet. */
  inForce = false

  add(rule: LinkRule): () => void {
    this.rules.push(rule)
    this.inForce = true
    return () => {
      const at = this.rules.indexOf(rule)
      if (at < 0) return
      this.rules.splice(at, 1)
      this.inForce = this.rules.length + this.nats.length > 0
    }
  }

  addNat(rule: NatRule): () => void {
    this.nats.push(rule)
    this.inForce = true
    return () => {
      const at = this.nats.indexOf(rule)
      if (at < 0) return
      this.nats.splice(at, 1)
      this.inForce = this.rules.length + this.nats.length > 0
    }
  }

  /** Whether the translator that one of the two stands behind has forgotten its connection with the other, on which nothing was sent for so long. */
  isForgotten(behind: LinkEnd, other: LinkEnd, idleUs: number): boolean {
    for (const { machines, afterUs } of this.nats) {
      if (idleUs >= afterUs && machines.has(behind.index) && !machines.has(other.index)) return true
    }
    return false
  }

  verdict(from: LinkEnd, to: LinkEnd, draw: number, kind: PacketKind): Verdict {
    let delayUs = 0
    for (const rule of this.rules) {
      const verdict = rule.verdict(from, to, draw, kind)
      if (verdict === dropped) return dropped
      delayUs += verdict
    }
    return delayUs
  }

  /** Whether nothing at all gets from one to the other. */
  isCut(from: LinkEnd, to: LinkEnd, kind: PacketKind): boolean {
    return this.inForce && this.verdict(from, to, luckiestDraw, kind) === dropped
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

/** Datagrams between the sets, both ways, with some probability not at all. */
export function lossyDatagramRule(from: ReadonlySet<number>, to: ReadonlySet<number>, probability: number): LinkRule {
  const onTheWay = degradedLinkRule(from, to, 0, probability)
  return { verdict: (a, b, draw, kind) => (kind === 'datagram' ? onTheWay.verdict(a, b, draw, kind) : 0) }
}

/** Nothing from or to a machine of the set, from or to any other. */
export function isolatedMachinesRule(machines: ReadonlySet<number>, direction: 'in' | 'out' | 'both'): LinkRule {
  const isIn = direction !== 'out'
  const isOut = direction !== 'in'
  return { verdict: (a, b) => (a.index !== b.index && ((isOut && machines.has(a.index)) || (isIn && machines.has(b.index))) ? dropped : 0) }
}

/** Of all packets from or to a machine of the set, with some probability not at all. */
export function lossyMachinesRule(machines: ReadonlySet<number>, probability: number): LinkRule {
  return { verdict: (a, b, draw) => ((machines.has(a.index) || machines.has(b.index)) && isWithin(draw, probability) ? dropped : 0) }
}

/** Connections to, from and through the machines are opened, and carry nothing. */
export function greyRule(machines: ReadonlySet<number>): LinkRule {
  return {
    verdict: (a, b, _draw, kind) =>
      kind === 'stream' && a.index !== b.index && (machines.has(a.index) || machines.has(b.index)) ? dropped : 0,
  }
}

/** What crosses the border of the zone is dropped, as far as the form of the outage says so. */
export function zoneBorderRule(zone: string, form: Exclude<ZoneOutageForm, 'power'>): LinkRule {
  return {
    verdict: (a, b) => {
      const leaves = a.zone === zone
      if (leaves === (b.zone === zone)) return 0
      switch (form) {
        case 'isolated':
          return dropped
        case 'nothing-in':
          return leaves ? 0 : dropped
        case 'nothing-out':
          return leaves ? dropped : 0
        case 'cut-from-zones':
          return (leaves ? b : a).zone === INTERNET ? 0 : dropped
        case 'cut-from-internet':
          return (leaves ? b : a).zone === INTERNET ? dropped : 0
      }
    },
  }
}
