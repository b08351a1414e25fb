/**
 * One zone's node of a layer-4 load balancer: takes connections on a port and joins each with one to a healthy target, in whatever zone that stands (cross-zone balancing is on).
 *
 * The target with the fewest connections from this node is chosen, ties by lot. Health is known by active probes only, a bare TCP handshake with each target every interval: a
 * connection that a target refuses is closed and counts for nothing, as in the balancers this follows. A target that fails `unhealthyThreshold` probes in a row is out and all its
 * connections get RST; `healthyThreshold` successes in a row bring it back, one is enough for a target that was never probed before.
 * Where no target is healthy each of them gets traffic (fail-open): the probes may be what is broken.
 * Nodes share nothing. Left out at this stage: draining, slow start, probes at MQTT level.
 *
 * Sources: AWS Elastic Load Balancing, "Health checks for Network Load Balancer target groups" (fail-open; one success makes a new target healthy) and "Target groups: connection
 * termination for unhealthy targets".
 */
import { emit } from '../events.ts'
import type {
  Address,
  Boot,
  CloseReason,
  Connection,
  ConnectionHandler,
  Forwarding,
  ForwardingHandler,
  Host,
  RandomStream,
  Timer,
} from '../host.ts'
import type { ServiceSettings } from '../settings.ts'

export interface LoadBalancerTarget {
  readonly name: string
  readonly address: Address
}

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

class LoadBalancer {
  private readonly host: Host
  private readonly settings: ServiceSettings['loadBalancer']
  private readonly targets: readonly Target[]
  private readonly random: RandomStream
  private probesOpen = 0
  private timeoutTimer: Timer | undefined

  constructor(host: Host, config: LoadBalancerConfig) {
    this.host = host
    this.settings = config.settings.loadBalancer
    this.targets = config.targets.map((target) => new Target(host, target, config.settings.loadBalancer, () => this.onProbeDone()))
    this.random = host.random('load balancer')
    // Nodes do not probe in step.
    host.setTimer(this.random.next() * this.settings.probeIntervalMs, () => this.startRound())
  }

  accept(connection: Connection): ConnectionHandler | undefined {
    const target = this.choose()
    if (target === undefined) return undefined
    this.host.work('connection', 1)
    target.take(connection)
    return handedOver
  }

  private choose(): Target | undefined {
    const healthy = this.targets.filter((target) => target.state === 'healthy')
    if (healthy.length === 0) this.host.reached('load balancer fails open')
    const open = healthy.length > 0 ? healthy : this.targets
    const fewest = open.reduce((least, target) => Math.min(least, target.connections), Number.POSITIVE_INFINITY)
    const candidates = open.filter((target) => target.connections === fewest)
    return candidates[candidates.length > 1 ? this.random.below(candidates.length) : 0]
  }

  private startRound(): void {
    const { probeIntervalMs, probeTimeoutMs } = this.settings
    this.host.setTimer(probeIntervalMs, () => this.startRound())
    // A round that is still open here had a timeout longer than the interval; it ends now.
    this.endRound()
    this.probesOpen = this.targets.length
    this.timeoutTimer = this.host.setTimer(probeTimeoutMs, () => this.endRound())
    for (const target of this.targets) target.probe()
  }

  private onProbeDone(): void {
    this.probesOpen--
    if (this.probesOpen === 0) this.timeoutTimer?.cancel()
  }

  private endRound(): void {
    this.timeoutTimer?.cancel()
    for (const target of this.targets) target.probeTimedOut()
  }
}

type TargetState = 'initial' | 'healthy' | 'unhealthy'

/** One target: its health, and what goes to it. */
class Target implements ForwardingHandler {
  state: TargetState = 'initial'
  private readonly host: Host
  private readonly target: LoadBalancerTarget
  private readonly settings: ServiceSettings['loadBalancer']
  private readonly onProbeDone: () => void
  private readonly forwardings = new Set<Forwarding>()
  private readonly probeHandler: ConnectionHandler
  private probeConnection: Connection | undefined
  private successesInARow = 0
  private failuresInARow = 0

  constructor(host: Host, target: LoadBalancerTarget, settings: ServiceSettings['loadBalancer'], onProbeDone: () => void) {
    this.host = host
    this.target = target
    this.settings = settings
    this.onProbeDone = onProbeDone
    this.probeHandler = {
      onOpen: (connection) => {
        // RST instead of FIN: the target's program need not close its side.
        connection.reset()
        this.probeEnded(true)
      },
      onData() {},
      onClose: () => this.probeEnded(false),
    }
  }

  get connections(): number {
    return this.forwardings.size
  }

  take(inbound: Connection): void {
    this.forwardings.add(this.host.forward(inbound, this.target.address, this))
  }

  probe(): void {
    this.probeConnection = this.host.connect(this.target.address, this.probeHandler, `probe ${this.target.name}`)
  }

  probeTimedOut(): void {
    if (this.probeConnection === undefined) return
    this.probeConnection.reset()
    this.probeEnded(false)
  }

  onClose(forwarding: Forwarding, _reason: CloseReason): void {
    this.forwardings.delete(forwarding)
  }

  private probeEnded(success: boolean): void {
    this.probeConnection = undefined
    this.successesInARow = success ? this.successesInARow + 1 : 0
    this.failuresInARow = success ? 0 : this.failuresInARow + 1
    if (this.state !== 'healthy' && this.successesInARow >= (this.state === 'initial' ? 1 : this.settings.healthyThreshold))
      this.turn('healthy')
    else if (this.state !== 'unhealthy' && this.failuresInARow >= this.settings.unhealthyThreshold) this.turn('unhealthy')
    this.onProbeDone()
  }

  private turn(state: 'healthy' | 'unhealthy'): void {
    this.state = state
    const { name } = this.target
    if (this.host.recording) emit(this.host, { kind: 'target-state-changed', target: name, healthy: state === 'healthy' })
    if (state === 'unhealthy') this.resetConnections()
  }

  private resetConnections(): void {
    const count = this.forwardings.size
    if (count === 0) return
    for (const forwarding of this.forwardings) forwarding.reset()
    this.forwardings.clear()
    if (this.host.recording) emit(this.host, { kind: 'connections-reset', target: this.target.name, count })
  }
}
