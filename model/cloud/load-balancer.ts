/**
 * One zone's node of a layer-4 load balancer: takes connections on a port and joins each with one to a healthy target; in whatever zone that stands, or, with cross-zone balancing off, in its own.
 *
 * The target with the fewest connections from this node for its weight is chosen, ties by lot. Health is known by active probes only (`probing.ts`): a connection that a target refuses is
 * closed and counts for nothing. Where no target is healthy each of them gets traffic (fail-open): the probes may be what is broken. Warm-up, draining and RST: `target.ts`.
 * The node listens on a health port while a target in its own zone is not known as dead, and refuses there otherwise: so the DNS servers know which zones to send clients to.
 * Targets are those of the plan until somebody registers others (`target-registration.ts`); one that is about to stop takes itself out (`target-withdrawal.ts`).
 *
 * A connection on which nothing was sent for `idleTimeoutMs` is forgotten, and whoever sends then gets RST (AWS: 350 s, "Network Load Balancers", connection idle timeout).
 *
 * Nodes share nothing. Where a node's address goes when it is dead: `address-failover.ts`.
 *
 * Sources: AWS Elastic Load Balancing, "Health checks for Network Load Balancer target groups" (fail-open; one success makes a new target healthy), "Cross-zone load balancing for target
 * groups", "Target group health" (a zone without a healthy target leaves the DNS; AWS looks at all zones there where cross-zone balancing is on, this node always at its own).
 */
import { emit } from '../events.ts'
import type { Boot, Connection, ConnectionHandler, Host, Listener, RandomStream } from '../host.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { ProbeRounds } from './probing.ts'
import { Target, type TargetOwner } from './target.ts'
import { type LoadBalancerTarget, receiveTargets, type TargetReceiver } from './target-registration.ts'

export interface LoadBalancerConfig {
  readonly settings: ServiceSettings
  readonly targets: readonly LoadBalancerTarget[]
  readonly port: number
}

export function bootLoadBalancer(config: LoadBalancerConfig): Boot {
  return (host) => {
    const balancer = new LoadBalancer(host, config)
    host.listen(config.port, (connection) => balancer.accept(connection))
    return {}
  }
}

/** What the host hands over to `forward` it no longer tells about. */
const handedOver: ConnectionHandler = { onData() {}, onClose() {} }
/** Whoever asks for our health hears it by our answering; what he says is nothing to us. */
const visitor: ConnectionHandler = { onData() {}, onClose: (connection) => connection.reset() }

class LoadBalancer implements TargetOwner, TargetReceiver {
  private readonly host: Host
  private readonly settings: ServiceSettings['loadBalancer']
  /** In the order in which they came, those that drain among them. */
  private targets: readonly Target[]
  /** Targets that were there when the node started, and were not judged yet: they need no warm-up. */
  private readonly unjudged: Set<Target>
  private readonly random: RandomStream
  private healthListener: Listener | undefined

  constructor(host: Host, config: LoadBalancerConfig) {
    this.host = host
    this.settings = config.settings.loadBalancer
    this.targets = config.targets.map((target) => new Target(host, target, this.settings, this))
    this.unjudged = new Set(this.targets)
    this.random = host.random('load balancer')
    new ProbeRounds(host, this.random, this.settings, () => this.targets.filter(({ withdrawn }) => !withdrawn).map(({ probe }) => probe))
    receiveTargets(host, this)
    this.showHealth()
  }

  accept(connection: Connection): ConnectionHandler | undefined {
    const target = this.choose()
    if (target === undefined) return undefined
    this.host.work('connection', 1)
    target.take(connection)
    return handedOver
  }

  onTurn(target: Target): void {
    const isFirst = this.unjudged.delete(target)
    if (target.healthy) {
      if (!isFirst && this.someAtFullWeight(target)) target.beginSlowStart()
    } else this.endSlowStartsOfTheLonely()
    this.showHealth()
  }

  onDrained(target: Target): void {
    this.targets = this.targets.filter((other) => other !== target)
    this.unjudged.delete(target)
    if (this.host.recording) emit(this.host, { kind: 'target-removed', target: target.spec.name })
  }

  onWithdrawal(targetHost: string, forMs: number): void {
    for (const target of this.targets) {
      if (target.spec.address.host !== targetHost) continue
      this.unjudged.delete(target)
      target.withdraw(forMs)
    }
    this.endSlowStartsOfTheLonely()
    this.showHealth()
  }

  onWithdrawalOver(): void {
    this.showHealth()
  }

  private choose(): Target | undefined {
    const usable = this.targets.filter((target) => this.isUsable(target))
    const healthy = usable.filter((target) => target.healthy)
    if (healthy.length === 0) this.host.reached('load balancer fails open')
    const open = healthy.length > 0 ? healthy : usable
    // What the target would have with this connection: one that is empty does not get a storm for that.
    const loads = open.map((target) => (target.connections + 1) / target.weight)
    const least = loads.reduce((lower, load) => Math.min(lower, load), Number.POSITIVE_INFINITY)
    const candidates = open.filter((_, i) => loads[i] === least)
    return candidates[candidates.length > 1 ? this.random.below(candidates.length) : 0]
  }

  private isUsable(target: Target): boolean {
    return target.takesNew && (this.settings.crossZone || target.spec.zone === this.host.zone)
  }

  private someAtFullWeight(besides?: Target): boolean {
    return this.targets.some((target) => target !== besides && target.healthy && !target.inSlowStart && this.isUsable(target))
  }

  /** With no target at full weight beside them there is nobody to spare them the load. */
  private endSlowStartsOfTheLonely(): void {
    if (this.someAtFullWeight()) return
    for (const target of this.targets) target.endSlowStart('alone')
  }

  setTargets(specs: readonly LoadBalancerTarget[]): void {
    const wanted = new Map(specs.map((spec) => [keyOf(spec), spec]))
    for (const target of this.targets) {
      const key = keyOf(target.spec)
      if (!wanted.has(key)) target.drain()
      else if (target.draining) target.keep()
      wanted.delete(key)
    }
    const added = [...wanted.values()].map((spec) => new Target(this.host, spec, this.settings, this))
    this.targets = [...this.targets, ...added]
    if (this.host.recording) for (const { spec } of added) emit(this.host, { kind: 'target-registered', target: spec.name })
    this.endSlowStartsOfTheLonely()
    this.showHealth()
  }

  /** Listens on the health port, or does not, as the targets of this zone are. One that was never judged counts as well: a node that just started is not dead. */
  private showHealth(): void {
    const { zone } = this.host
    const alive = this.targets.some((target) => target.probe.health !== 'unhealthy' && target.takesNew && target.spec.zone === zone)
    if (alive) this.healthListener ??= this.host.listen(ports.loadBalancerHealth, () => visitor)
    else {
      this.healthListener?.close()
      this.healthListener = undefined
    }
  }
}

function keyOf({ name, address }: LoadBalancerTarget): string {
  return `${name} ${address.host}:${address.port}`
}
