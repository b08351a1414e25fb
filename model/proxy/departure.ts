/**
 * The last moments of a proxy that was told to stop.
 *
 * It takes itself out of the load balancers' pool, so that none of its clients is led back to it; then it takes nobody in, and sends its clients away, one after the other over most of
 * the time that it was given, so that the other proxies do not get all of them in one instant. Those not yet sent away are served as before. At last it waits until the session shards know
 * of every end. A proxy whose time is over before that is ended by the world, as one that is killed.
 */
import { TargetWithdrawal } from '../cloud/target-withdrawal.ts'
import type { Host } from '../host.ts'

export interface DepartureOwner {
  stopAccepting(): void
  clientCount(): number
  /** @param count of the clients that are there, those that came first */
  sendAway(count: number): void
  /** Whether every end of a connection is known where it has to be. */
  hasToldAll(): boolean
}

/** Parts of the time given: by then balancers that do not answer are waited for no more, the last client is sent away, and there is no more waiting. */
const WITHDRAWN_BY = 0.1
const SENT_AWAY_BY = 0.75
const OVER_BY = 0.9
/** However long the time is: a balancer that does not answer within this is not there. */
const LONGEST_WITHDRAWAL_MS = 1000
const STEP_MS = 50

export class Departure {
  private readonly host: Host
  private readonly owner: DepartureOwner
  private readonly done: () => void
  private readonly sentAwayByMs: number
  private readonly overByMs: number

  /** @param balancers addresses of the load balancers' nodes */
  constructor(host: Host, balancers: readonly string[], withinMs: number, owner: DepartureOwner, done: () => void) {
    this.host = host
    this.owner = owner
    this.done = done
    const nowMs = host.nowMs()
    this.sentAwayByMs = nowMs + SENT_AWAY_BY * withinMs
    this.overByMs = nowMs + OVER_BY * withinMs
    new TargetWithdrawal(host, balancers, withinMs, Math.min(WITHDRAWN_BY * withinMs, LONGEST_WITHDRAWAL_MS), () => this.onWithdrawn())
  }

  private onWithdrawn(): void {
    this.owner.stopAccepting()
    this.sendNextAway()
  }

  /** As many as are due in one step of the time that is left; where they are fewer than steps, one, and the next one later. */
  private sendNextAway(): void {
    const leftMs = Math.max(0, this.sentAwayByMs - this.host.nowMs())
    const count = this.owner.clientCount()
    const due = leftMs > 0 ? Math.ceil((count * STEP_MS) / leftMs) : count
    this.owner.sendAway(due)
    if (this.owner.clientCount() > 0) this.host.setTimer((leftMs * due) / count, () => this.sendNextAway())
    else this.awaitTold()
  }

  private awaitTold(): void {
    if (this.owner.hasToldAll() || this.host.nowMs() >= this.overByMs) this.done()
    else this.host.setTimer(STEP_MS, () => this.awaitTold())
  }
}
