/**
 * From when on deadlines are judged: in the warm-up, and in the healed act once clients had their time to come back; and what is quiet, which is a stronger
 * word: nothing on a client's way has changed for some time, by default as long as a client may take to come back. All checks of liveness share it.
 *
 * A subscriber that works off a long queue is moving: its clock starts again with every message that arrives at it after a wait.
 */
import type { Act, CheckContext, Delivery, Hearing } from './check.ts'
import type { Disturbance } from './disturbance.ts'
import type { Ledger } from './ledger.ts'
import { NEVER_BEFORE } from './promise.ts'
import type { Connection, Flow, Session } from './state.ts'

/** Clocks of machines run this much faster than true time at most, or true time than they. */
export const CLOCK_SHARE = 0.9
/** What the service gets beyond a time that it has to keep, to act on it. */
const TIMER_SLACK_US = 2_000_000

export class Calm implements Hearing {
  judgedFromUs = 0
  judging = true
  private act: Act = 'warm-up'
  private healedUs = -1
  private readonly ledger: Ledger
  private readonly disturbance: Disturbance
  private readonly reconnectUs: number
  private readonly window3x: number
  /** When a message that had waited last reached the session. */
  private readonly movedUs = new Map<Session, number>()
  /** The last message acknowledged when looked at last, and the time before: up to `older` a message that arrives has waited for a second at least. */
  private readonly acknowledged = new Map<Flow, { newer: number; older: number }>()

  constructor(ledger: Ledger, disturbance: Disturbance, { budgets, window3x }: CheckContext) {
    this.ledger = ledger
    this.disturbance = disturbance
    this.reconnectUs = budgets.reconnectMs * 1000
    this.window3x = window3x
  }

  onAct(act: Act, timeUs: number): void {
    this.act = act
    this.judging = act !== 'faults'
    if (act === 'warm-up') this.judgedFromUs = timeUs
    if (act === 'healed') {
      this.healedUs = timeUs
      this.judgedFromUs = timeUs + this.reconnectUs
    }
  }

  onDelivery({ first, flow, session, sequence, timeUs }: Delivery): void {
    if (!this.judging || !first || flow.qos === 0) return
    if (sequence <= (this.acknowledged.get(flow)?.older ?? -1)) this.movedUs.set(session, timeUs)
  }

  onSweep(): void {
    for (const flow of this.ledger.flows()) {
      if (flow.qos === 0) continue
      const known = this.acknowledged.get(flow)
      if (known === undefined) this.acknowledged.set(flow, { newer: flow.acked.max, older: -1 })
      else {
        known.older = known.newer
        known.newer = flow.acked.max
      }
    }
  }

  /** The service holds back. MQTT 5 clients state how much they take at once. */
  windowIsFull(connection: Connection): boolean {
    return connection.openIncoming >= (connection.version === 5 ? connection.receiveMaximum : this.window3x)
  }

  /** From when on what is due to the session of this connection is waited for. */
  waitsFromUs(connection: Connection): number {
    const moved = this.movedUs.get(connection.session!) ?? 0
    return Math.max(connection.connackAtUs, this.graceEndUs(connection), moved)
  }

  /**
   * Since when all has been quiet for a client on this machine, where quiet begins a time after the last change: within the region, and of its own machine.
   * `Infinity` while it is not. What is still out of order in the healed act stays so, and the rest has to do without it.
   */
  quietFromUs(machine: string | undefined, afterUs = this.reconnectUs): number {
    const { disturbance, healedUs } = this
    const own = machine === undefined ? undefined : disturbance.machine(machine)
    if (own !== undefined && disturbance.isDisturbed(own)) return Number.POSITIVE_INFINITY
    if (disturbance.isTroubled && (this.act === 'faults' || this.act === 'warm-up')) return Number.POSITIVE_INFINITY
    const calmSinceUs = own === undefined ? NEVER_BEFORE : disturbance.calmSinceUs(own.name)
    return Math.max(0, disturbance.isTroubled ? healedUs + afterUs : 0, disturbance.changedAtUs + afterUs, calmSinceUs + afterUs)
  }

  /**
   * By when so long a wait is surely over, whatever of it began by `fromUs`. While nobody owns a shard its age stands still, and its next owner knows it as it was last logged:
   * the wait counts in full from when all is quiet.
   */
  overAtUs(fromUs: number, waitSeconds: number, machine?: string): number {
    return Math.max(fromUs, this.quietFromUs(machine)) + (waitSeconds * 1_000_000) / CLOCK_SHARE + TIMER_SLACK_US
  }

  private graceEndUs(connection: Connection): number {
    return this.mayBeDead(connection) ? this.judgedFromUs + connection.client.facts.detectionIdleMs * 1000 : this.judgedFromUs
  }

  /** Whether a connection may be dead, and its client's time to find out is not over. */
  isUnproven(connection: Connection, timeUs: number): boolean {
    return this.mayBeDead(connection) && timeUs < this.healedUs + connection.client.facts.detectionIdleMs * 1000
  }

  /**
   * A connection over which nothing came since the last fault was put in force or taken out, no PINGRESP either, may be dead without the client's knowing: it has the time to
   * find out, and to come back.
   */
  private mayBeDead({ connackAtUs, lastSpokenUs, session, client }: Connection): boolean {
    const { disturbance } = this
    const struckUs = Math.max(
      disturbance.changedAtUs,
      client.machine === undefined ? NEVER_BEFORE : disturbance.calmSinceUs(client.machine),
    )
    return Math.max(connackAtUs, lastSpokenUs, session?.lastProofUs ?? 0) < struckUs
  }
}
