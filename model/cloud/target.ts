/**
 * One target of a load-balancer node: its health, its share while it warms up, and the connections that go to it.
 *
 * Slow start: a target that came back gets a weight that grows linearly from nothing to that of the others over `slowStartMs`, as the ramp of Application Load Balancers ("Slow start mode":
 * linear, only while some healthy target is not in slow start itself) and of HAProxy (`slowstart`: the weight grows linearly from 1 to 100 %, never at the balancer's own start).
 * Whoever was there, and healthy, from the node's first probe on does not warm up.
 *
 * Draining: a target that was taken out on purpose gets nothing new and keeps what it has, at most `drainMs`; then the rest gets RST (AWS: deregistration delay, with connection termination).
 * Withdrawn: a target that said it is about to stop (`target-withdrawal.ts`) gets nothing new and keeps what it has, for as long as it said; then it is as one that was never judged.
 * A target that is found dead has its connections reset at once, unless `resetUnhealthy` is off (AWS: connection termination for unhealthy targets); draining or not.
 */
import { emit } from '../events.ts'
import type { CloseReason, Connection, Forwarding, ForwardingHandler, Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { HealthProbe } from './probing.ts'
import type { LoadBalancerTarget } from './target-registration.ts'

/** The weight that a warm-up begins with: something must go there, for it to be found out what it bears. */
const LEAST_WEIGHT = 0.01

/** Why a warm-up is over: the weight is that of the others, no other target is at full weight, or the target is out again. */
export type SlowStartEnd = 'full' | 'alone' | 'out'

export interface TargetOwner {
  /** The verdict on the target has changed. */
  onTurn(target: Target): void
  /** Nothing goes to a drained target any more. */
  onDrained(target: Target): void
  /** The time that the target has said is over: whether it is there again its probes tell. */
  onWithdrawalOver(): void
}

export class Target implements ForwardingHandler {
  readonly spec: LoadBalancerTarget
  readonly probe: HealthProbe
  draining = false
  private readonly host: Host
  private readonly settings: ServiceSettings['loadBalancer']
  private readonly owner: TargetOwner
  private readonly forwardings = new Set<Forwarding>()
  private slowStartSinceMs: number | undefined
  private slowStartTimer: Timer | undefined
  private drainTimer: Timer | undefined
  private withdrawalTimer: Timer | undefined

  constructor(host: Host, spec: LoadBalancerTarget, settings: ServiceSettings['loadBalancer'], owner: TargetOwner) {
    this.host = host
    this.spec = spec
    this.settings = settings
    this.owner = owner
    const subject = { address: spec.address, label: `probe ${spec.name}`, kind: settings.probe }
    this.probe = new HealthProbe(host, subject, settings, (health) => this.onTurn(health))
  }

  get healthy(): boolean {
    return this.probe.health === 'healthy'
  }

  get connections(): number {
    return this.forwardings.size
  }

  get withdrawn(): boolean {
    return this.withdrawalTimer !== undefined
  }

  /** Whether new connections may go there, as far as its own word and that of whoever registers targets go. */
  get takesNew(): boolean {
    return !this.draining && !this.withdrawn
  }

  get inSlowStart(): boolean {
    return this.slowStartSinceMs !== undefined
  }

  /** The share that the target may have beside one at full weight. */
  get weight(): number {
    if (this.slowStartSinceMs === undefined) return 1
    return Math.min(1, Math.max(LEAST_WEIGHT, (this.host.nowMs() - this.slowStartSinceMs) / this.settings.slowStartMs))
  }

  take(inbound: Connection): void {
    this.forwardings.add(this.host.forward(inbound, this.spec.address, this, this.settings.idleTimeoutMs))
  }

  beginSlowStart(): void {
    const { slowStartMs } = this.settings
    if (slowStartMs === 0) return
    this.slowStartSinceMs = this.host.nowMs()
    this.slowStartTimer = this.host.setTimer(slowStartMs, () => this.endSlowStart('full'))
    if (this.host.recording) emit(this.host, { kind: 'slow-start-began', target: this.spec.name, durationMs: slowStartMs })
  }

  endSlowStart(why: SlowStartEnd): void {
    if (this.slowStartSinceMs === undefined) return
    this.slowStartSinceMs = undefined
    this.slowStartTimer?.cancel()
    if (this.host.recording) emit(this.host, { kind: 'slow-start-ended', target: this.spec.name, why })
  }

  drain(): void {
    if (this.draining) return
    this.draining = true
    this.endSlowStart('out')
    if (this.host.recording) emit(this.host, { kind: 'target-draining', target: this.spec.name, connections: this.connections })
    // Not from inside the call, so that whoever drains several goes through a list that stays as it is.
    this.drainTimer = this.host.setTimer(this.connections === 0 ? 0 : this.settings.drainMs, () => this.finishDraining())
  }

  /** It was registered again before it was gone. */
  keep(): void {
    this.draining = false
    this.drainTimer?.cancel()
  }

  /** Its word that it stops within `forMs`. */
  withdraw(forMs: number): void {
    if (this.takesNew && this.host.recording)
      emit(this.host, { kind: 'target-draining', target: this.spec.name, connections: this.connections })
    this.endSlowStart('out')
    this.probe.startOver()
    this.withdrawalTimer?.cancel()
    this.withdrawalTimer = this.host.setTimer(forMs, () => {
      this.withdrawalTimer = undefined
      this.owner.onWithdrawalOver()
    })
  }

  onClose(forwarding: Forwarding, _reason: CloseReason): void {
    this.forwardings.delete(forwarding)
    if (this.draining && this.forwardings.size === 0) this.finishDraining()
  }

  private finishDraining(): void {
    this.drainTimer?.cancel()
    this.withdrawalTimer?.cancel()
    this.probe.abandon()
    this.resetConnections()
    this.owner.onDrained(this)
  }

  private onTurn(health: 'healthy' | 'unhealthy'): void {
    const { name } = this.spec
    if (this.host.recording) emit(this.host, { kind: 'target-state-changed', target: name, healthy: health === 'healthy' })
    if (health === 'unhealthy') {
      this.endSlowStart('out')
      if (this.settings.resetUnhealthy) this.resetConnections()
    }
    this.owner.onTurn(this)
    if (this.draining && this.connections === 0) this.finishDraining()
  }

  private resetConnections(): void {
    const count = this.forwardings.size
    if (count === 0) return
    for (const forwarding of this.forwardings) forwarding.reset()
    this.forwardings.clear()
    if (this.host.recording) emit(this.host, { kind: 'connections-reset', target: this.spec.name, count })
  }
}
