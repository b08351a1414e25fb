/**
 * The instance group: sees to it that as many proxies serve as were planned. One controller a zone, of which one acts (`controller-election.ts`).
 *
 * The one that acts probes every proxy by a TCP handshake. For each that was silent for `lostAfterMs` it starts a machine that stands by, in the zone that is well, has room, and has the fewest
 * proxies; once its start-up is over, the load balancers are told of it (`target-registration.ts`). When the group's own proxies answer again a start-up is called off, and
 * a replacement in service is taken back after `takeBackAfterMs`: the balancers drain it, then it is stopped, and stands by again. Where no zone has room it says so and goes on looking.
 *
 * What is planned, added to (scaled out) or taken away (scaled in) is the cloud's to know, and so is which replacement runs: a controller remembers nothing that the next one needs, and two
 * that act at once do no harm beyond a set of targets registered once more. A proxy of the plan stays a target while it is lost: judging targets is for the balancers.
 * Without a controller that acts nothing changes. One that sees neither another controller nor any proxy believes that it is cut off itself, and does nothing.
 *
 * The same controller moves the access addresses of dead load-balancer nodes, where that is set (`address-failover.ts`).
 *
 * Left out: replacing brokers and nameservers, replacing a machine for good, scaling by load.
 * Sources: AWS EC2 Auto Scaling, "Health checks for instances in an Auto Scaling group", "Instance distribution" (the zone with the fewest instances), "Elastic Load Balancing" (deregistration
 * and draining before an instance is ended).
 */
import { emit } from '../events.ts'
import type { Boot, Host, MachineControl, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { AddressFailover, type BalancerNode } from './address-failover.ts'
import { type Controller, ControllerElection, type ElectionOwner } from './controller-election.ts'
import { HealthProbe, type ProbeSettings } from './probing.ts'
import { type LoadBalancerTarget, TargetRegistration } from './target-registration.ts'

export interface GroupInstance extends LoadBalancerTarget {
  /** It is there only in place of another one. */
  readonly isReplacement: boolean
}

export interface InstanceGroupConfig {
  readonly settings: ServiceSettings
  /** One a zone, in the order in which they may act. */
  readonly controllers: readonly Controller[]
  readonly instances: readonly GroupInstance[]
  readonly balancers: readonly BalancerNode[]
}

/** Its process gets this long to tell its clients. */
const STOP_WITHIN_MS = 5000
/** Versions of one controller's life end in these many: no other life has the same. */
const LIVES = 1 << 20
const LIVES_A_CONTROLLER = 1 << 16

export function bootInstanceGroup(config: InstanceGroupConfig): Boot {
  return (host) => {
    if (host.machines === undefined)
      throw new Error(`${host.machine} may not start machines: an instance group stands on machines of that role`)
    new InstanceGroup(host, host.machines, config)
    return {}
  }
}

/** What is known of one proxy, while this controller acts. */
class Instance {
  readonly spec: GroupInstance
  readonly probe: HealthProbe
  /** Since when it is unhealthy. */
  silentSinceMs = 0
  isCalledLost = false
  /** A replacement that is drained, and when that is over. */
  drainedAtMs: number | undefined
  /** A replacement that was seen in service. */
  hasServed = false

  constructor(host: Host, spec: GroupInstance, settings: ProbeSettings) {
    this.spec = spec
    this.probe = new HealthProbe(host, { address: spec.address, label: `group probe ${spec.name}`, kind: 'tcp' }, settings, () => {
      this.silentSinceMs = host.nowMs()
    })
  }
}

class InstanceGroup implements ElectionOwner {
  private readonly host: Host
  private readonly machines: MachineControl
  private readonly config: InstanceGroupConfig
  private readonly settings: ServiceSettings['instanceGroup']
  private readonly probeSettings: ProbeSettings
  private readonly registration: TargetRegistration
  private readonly addressFailover: AddressFailover
  private readonly election: ControllerElection
  private readonly life: number
  private instances: readonly Instance[] = []
  private probed: readonly HealthProbe[] = []
  private openProbes = 0
  private timeoutTimer: Timer | undefined
  private generation = 0
  private version = 0
  /** Names of the set that was registered last. */
  private registered: string | undefined
  private isRegistering = false
  /** Since when there is a replacement too many while all is well. */
  private surplusSinceMs: number | undefined
  private missing = 0

  constructor(host: Host, machines: MachineControl, config: InstanceGroupConfig) {
    this.host = host
    this.machines = machines
    this.config = config
    this.settings = config.settings.instanceGroup
    const { probeIntervalMs, recheckIntervalMs, probeTimeoutMs } = this.settings
    // What counts here is for how long, not how often in a row.
    this.probeSettings = { probeIntervalMs, probeTimeoutMs, unhealthyThreshold: 1, healthyThreshold: 1 }
    const index = config.controllers.findIndex(({ name }) => name === host.machine)
    this.life = index * LIVES_A_CONTROLLER + (host.bootId % LIVES_A_CONTROLLER)
    this.registration = new TargetRegistration(
      host,
      config.balancers.map((node) => node.host),
    )
    this.addressFailover = new AddressFailover(host, machines, config.balancers, config.settings.loadBalancer)
    this.election = new ControllerElection(host, config.controllers, probeIntervalMs + recheckIntervalMs, this)
  }

  onActing(acting: boolean): void {
    if (this.host.recording) emit(this.host, { kind: 'controller-changed', acting })
    this.timeoutTimer?.cancel()
    for (const { probe } of this.instances) probe.abandon()
    this.probed = []
    this.instances = acting ? this.config.instances.map((spec) => new Instance(this.host, spec, this.probeSettings)) : []
    // What is in service already is no news.
    for (const instance of this.instances) instance.hasServed = this.isInService(instance)
    this.registration.stop()
    this.addressFailover.setActing(acting)
    this.isRegistering = false
    this.registered = undefined
    this.surplusSinceMs = undefined
    this.missing = 0
  }

  onRound(acting: boolean): number {
    if (!acting) return this.settings.recheckIntervalMs
    this.endProbes()
    this.beginProbes()
    return this.isCalm() ? this.settings.probeIntervalMs : this.settings.recheckIntervalMs
  }

  private isInService(instance: Instance): boolean {
    return this.machines.state(instance.spec.name) === 'in-service'
  }

  private isCalm(): boolean {
    return this.instances.every((instance) => {
      if (this.machines.state(instance.spec.name) === 'starting') return false
      if (!this.isInService(instance)) return true
      return instance.probe.health === 'healthy' && !instance.spec.isReplacement
    })
  }

  private beginProbes(): void {
    this.probed = this.instances.filter((instance) => this.isInService(instance)).map(({ probe }) => probe)
    this.openProbes = this.probed.length
    this.timeoutTimer = this.host.setTimer(this.settings.probeTimeoutMs, () => this.endProbes())
    for (const probe of this.probed) probe.begin(() => this.onProbeDone())
  }

  private onProbeDone(): void {
    this.openProbes--
    if (this.openProbes > 0) return
    this.timeoutTimer?.cancel()
    this.probed = []
    if (this.election.acting) this.reconcile()
  }

  private endProbes(): void {
    this.timeoutTimer?.cancel()
    for (const probe of this.probed) probe.giveUp()
  }

  /** Compares what there is with what there should be, and takes the steps that are due. */
  private reconcile(): void {
    const own = this.instances.filter((instance) => !instance.spec.isReplacement && this.isInService(instance))
    const isConnected =
      this.config.controllers.some(({ name }) => this.election.reaches(name)) ||
      this.instances.some(({ probe }) => probe.health === 'healthy')
    if (!isConnected) return
    this.noteLosses()
    const replacements = this.instances.filter((instance) => instance.spec.isReplacement)
    for (const replacement of replacements) this.follow(replacement)
    const useful = replacements.filter(
      (instance) => instance.drainedAtMs === undefined && !instance.isCalledLost && this.isStartingOrInService(instance),
    )
    const missing = own.filter(({ isCalledLost }) => isCalledLost).length - useful.length
    this.replace(missing, replacements)
    this.takeBack(useful.length - own.filter(({ probe }) => probe.health !== 'healthy').length, useful)
    this.register()
  }

  private noteLosses(): void {
    for (const instance of this.instances) {
      const silentMs = this.host.nowMs() - instance.silentSinceMs
      const isUnhealthy = this.isInService(instance) && instance.probe.health === 'unhealthy'
      if (isUnhealthy && silentMs < this.settings.lostAfterMs) continue
      if (instance.isCalledLost === isUnhealthy) continue
      instance.isCalledLost = isUnhealthy
      if (!this.host.recording || !this.isInService(instance)) continue
      const { name } = instance.spec
      emit(this.host, isUnhealthy ? { kind: 'instance-lost', instance: name, silentMs } : { kind: 'instance-recovered', instance: name })
    }
  }

  private isStartingOrInService(instance: Instance): boolean {
    const state = this.machines.state(instance.spec.name)
    return state === 'starting' || state === 'in-service'
  }

  /** A replacement's own way: in service after its start-up, stopped after its draining. */
  private follow(replacement: Instance): void {
    if (!this.isInService(replacement)) {
      replacement.hasServed = false
      replacement.drainedAtMs = undefined
      return
    }
    if (!replacement.hasServed) {
      replacement.hasServed = true
      this.tell(replacement, 'in-service')
    }
    if (replacement.drainedAtMs === undefined || this.host.nowMs() < replacement.drainedAtMs) return
    this.machines.stop(replacement.spec.name, STOP_WITHIN_MS)
    this.tell(replacement, 'stopped')
  }

  private replace(count: number, replacements: readonly Instance[]): void {
    let missing = count
    const draining = replacements.filter(
      (instance) => this.isInService(instance) && instance.drainedAtMs !== undefined && !instance.isCalledLost,
    )
    for (const kept of draining.slice(0, Math.max(0, missing))) {
      kept.drainedAtMs = undefined
      this.tell(kept, 'kept')
      missing--
    }
    while (missing > 0) {
      const spare = this.chooseSpare(replacements)
      if (spare === undefined) break
      this.machines.start(spare.spec.name, this.settings.startUpMs)
      this.tell(spare, 'starting')
      missing--
    }
    const short = Math.max(0, missing)
    if (short !== this.missing && short > 0 && this.host.recording) emit(this.host, { kind: 'capacity-short', missing: short })
    if (short > 0) this.host.reached('instance group short of capacity')
    this.missing = short
  }

  /** One that stands by in the zone that is well and has the fewest proxies, among equals the first. */
  private chooseSpare(replacements: readonly Instance[]): Instance | undefined {
    let chosen: Instance | undefined
    let fewest = Number.POSITIVE_INFINITY
    for (const spare of replacements) {
      const { zone, name } = spare.spec
      if (this.machines.state(name) !== 'standby' || !this.isWell(zone)) continue
      const there = this.instances.filter((one) => one.spec.zone === zone && !one.isCalledLost && this.isStartingOrInService(one)).length
      if (there >= fewest) continue
      fewest = there
      chosen = spare
    }
    return chosen
  }

  /** Somebody answers there. */
  private isWell(zone: string): boolean {
    if (zone === this.host.zone) return true
    if (this.config.controllers.some((other) => other.zone === zone && this.election.reaches(other.name))) return true
    return this.instances.some(
      (instance) => instance.spec.zone === zone && this.isInService(instance) && instance.probe.health === 'healthy',
    )
  }

  private takeBack(surplus: number, useful: readonly Instance[]): void {
    if (surplus <= 0) {
      this.surplusSinceMs = undefined
      return
    }
    const [starting, serving] = [useful.filter((one) => !this.isInService(one)), useful.filter((one) => this.isInService(one))]
    for (const each of starting.slice(0, surplus)) {
      this.machines.stop(each.spec.name, STOP_WITHIN_MS)
      this.tell(each, 'called-off')
    }
    const left = surplus - starting.length
    const nowMs = this.host.nowMs()
    this.surplusSinceMs = left > 0 ? (this.surplusSinceMs ?? nowMs) : undefined
    if (this.surplusSinceMs === undefined || nowMs - this.surplusSinceMs < this.settings.takeBackAfterMs) return
    for (const each of serving.slice(0, left)) {
      each.drainedAtMs = nowMs + this.config.settings.loadBalancer.drainMs
      this.tell(each, 'draining')
    }
  }

  /** The balancers' targets: all of the plan that is not retired, and the replacements in service. */
  private register(): void {
    const wanted = this.instances.filter((instance) =>
      instance.spec.isReplacement
        ? this.isInService(instance) && instance.drainedAtMs === undefined
        : this.machines.state(instance.spec.name) !== 'retired',
    )
    const names = wanted.map(({ spec }) => spec.name).join(' ')
    const isOvertaken = this.registration.newest > this.version
    if (names !== this.registered || isOvertaken) {
      this.registered = names
      this.isRegistering = true
      this.generation = Math.max(this.generation, Math.floor(this.registration.newest / LIVES)) + 1
      this.version = this.generation * LIVES + this.life
      this.registration.set(
        this.version,
        wanted.map(({ spec }) => spec),
      )
      return
    }
    // A node that is started again goes back to the plan: where that is what we want there is nothing to repeat.
    const isPlan =
      wanted.length === this.instances.filter(({ spec }) => !spec.isReplacement).length && wanted.every(({ spec }) => !spec.isReplacement)
    if (this.isRegistering && isPlan && this.registration.settled) {
      this.isRegistering = false
      this.registration.stop()
    }
  }

  private tell({ spec }: Instance, to: 'starting' | 'called-off' | 'in-service' | 'draining' | 'kept' | 'stopped'): void {
    if (to === 'in-service') this.host.reached('replacement in service')
    if (this.host.recording) emit(this.host, { kind: 'replacement-changed', instance: spec.name, zone: spec.zone, to })
  }
}
