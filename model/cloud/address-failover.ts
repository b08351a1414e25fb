/**
 * Moves the access addresses of dead load-balancer nodes to nodes in other zones, as the cloud's fabric does for a balancer with a primary and a backup zone: clients that know but one address, and
 * resolvers that never ask again, are served by it all the same. Off unless `addressFailoverMs` is set.
 *
 * The controller that acts probes each node at the node's own address, every `probeIntervalMs` of the load balancers, by a TCP handshake. A node that was silent for `addressFailoverMs` is called dead:
 * its address, and all that it held for others, go to the living node that holds the fewest; with the first answer its own comes home. Where no node lives nothing moves. Connections stay
 * where they were made. Who holds what is the cloud's to know, so that the next controller goes on from there.
 *
 * Left out: addresses that differ inside and outside the virtual network, and moving more slowly than at once.
 * Source: Tencent Cloud, CLB, "Multi-AZ High Availability" (primary and secondary zone: the address is switched when the primary is down, and back when it recovers).
 */
import { emit } from '../events.ts'
import type { Host, MachineControl, Timer } from '../host.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { HealthProbe, ProbeRounds } from './probing.ts'

export interface BalancerNode {
  readonly name: string
  /** Its own address. */
  readonly host: string
  /** What DNS answers: a floating address, or its own. */
  readonly accessAddress: string
}

/** What is known of one node while this controller acts. */
interface WatchedNode {
  readonly spec: BalancerNode
  readonly probe: HealthProbe
  /** Runs while it is silent and not yet dead. */
  patience: Timer | undefined
  isDead: boolean
}

export class AddressFailover {
  private readonly host: Host
  private readonly machines: MachineControl
  private readonly nodes: readonly BalancerNode[]
  private readonly settings: ServiceSettings['loadBalancer']
  private watched: readonly WatchedNode[] = []

  constructor(host: Host, machines: MachineControl, nodes: readonly BalancerNode[], settings: ServiceSettings['loadBalancer']) {
    this.host = host
    this.machines = machines
    this.nodes = nodes
    this.settings = settings
    if (settings.addressFailoverMs === 0) return
    new ProbeRounds(host, host.random('address failover'), settings, () => this.watched.map(({ probe }) => probe))
  }

  setActing(acting: boolean): void {
    for (const { probe, patience } of this.watched) {
      probe.abandon()
      patience?.cancel()
    }
    this.watched = acting && this.settings.addressFailoverMs > 0 ? this.nodes.map((spec) => this.watch(spec)) : []
  }

  private watch(spec: BalancerNode): WatchedNode {
    const { probeIntervalMs, probeTimeoutMs } = this.settings
    const subject = { address: { host: spec.host, port: ports.mqtt }, label: `address probe ${spec.name}`, kind: 'tcp' as const }
    // What counts here is for how long, not how often in a row.
    const settings = { probeIntervalMs, probeTimeoutMs, unhealthyThreshold: 1, healthyThreshold: 1 }
    const node: WatchedNode = {
      spec,
      probe: new HealthProbe(this.host, subject, settings, (health) => this.onTurn(node, health)),
      patience: undefined,
      isDead: false,
    }
    return node
  }

  private onTurn(node: WatchedNode, health: 'healthy' | 'unhealthy'): void {
    node.patience?.cancel()
    if (health === 'healthy') {
      node.isDead = false
      this.settle()
      return
    }
    node.patience = this.host.setTimer(this.settings.addressFailoverMs, () => {
      node.isDead = true
      this.settle()
    })
  }

  /** Has every address where it belongs, as far as anybody is there to hold it. */
  private settle(): void {
    for (const { spec, isDead, probe } of this.watched) {
      const holder = this.machines.holderOf(spec.accessAddress)
      const isHome = holder === spec.name
      if (isHome && !isDead) continue
      // Of a node that was not heard yet nothing is known: its address stays where it is.
      const mayComeHome = !isHome && probe.health === 'healthy'
      if (mayComeHome) this.move(spec.accessAddress, holder, spec.name)
      else if (this.watched.some((other) => other.spec.name === holder && other.isDead)) {
        const taker = this.chooseTaker()
        if (taker !== undefined) this.move(spec.accessAddress, holder, taker.spec.name)
      }
    }
  }

  /** The living node with the fewest addresses, among equals the first. */
  private chooseTaker(): WatchedNode | undefined {
    const held = this.nodes.map(({ accessAddress }) => this.machines.holderOf(accessAddress))
    let taker: WatchedNode | undefined
    let fewest = Number.POSITIVE_INFINITY
    for (const node of this.watched) {
      if (node.probe.health !== 'healthy') continue
      const count = held.filter((name) => name === node.spec.name).length
      if (count >= fewest) continue
      fewest = count
      taker = node
    }
    return taker
  }

  private move(address: string, from: string, to: string): void {
    this.machines.moveAddress(address, to)
    this.host.reached('access address moved')
    if (this.host.recording) emit(this.host, { kind: 'address-moved', address, from, to })
  }
}
