/**
 * How the nodes of a load balancer are told which targets there are: the whole set, with a version, in a datagram to each node, which answers with the version that it has.
 *
 * Level-triggered: a set is sent again until it is acknowledged, and now and then after that, so that a lost datagram, or a node that was started again and went back to the targets it was
 * planned with, mends itself. A node never goes back to an older version. Nobody to send the sets leaves a node with the targets it has: connections go on without a control plane.
 * What is in a set no more is drained. Datagrams from outside the service's own subnets are ignored. Left out: sets larger than a datagram (some thousand targets).
 */
import type { Address, Host, Timer } from '../host.ts'
import { ports } from '../settings.ts'
import { list, Reader, record, u16, u32, u53, utf8, Writer } from '../wire/codec.ts'
import { readWithdrawal, withdrawalNoted } from './target-withdrawal.ts'
import { isOfService } from './vpc.ts'

export interface LoadBalancerTarget {
  readonly name: string
  readonly zone: string
  readonly address: Address
}

/** Tells our datagrams from strangers'. */
const SET_MARK = 0x73717431
const HELD_MARK = 0x73717432
const setField = record({ mark: u32, version: u53, targets: list(record({ name: utf8, zone: utf8, host: utf8, port: u16 })) })
const heldField = record({ mark: u32, version: u53 })

const RETRY_MS = 1000
const REFRESH_MS = 10_000
/** The host gives any free port. */
const ANY_PORT = 0

/** A set as it is told. */
export function encodeTargets(version: number, targets: readonly LoadBalancerTarget[]): Buffer {
  const flat = targets.map(({ name, zone, address }) => ({ name, zone, host: address.host, port: address.port }))
  const writer = new Writer().begin()
  setField.write(writer, { mark: SET_MARK, version, targets: flat })
  return writer.finish()
}

/** The controlling side. */
export class TargetRegistration {
  private readonly host: Host
  private readonly nodes: readonly Address[]
  private readonly send: (node: Address, bytes: Buffer) => void
  /** Version that each node said it has, by its address. */
  private readonly held = new Map<string, number>()
  private version = 0
  private newestHeld = 0
  private bytes: Buffer | undefined
  private timer: Timer | undefined

  /** @param nodes addresses of the machines; the port is known */
  constructor(host: Host, nodes: readonly string[]) {
    this.host = host
    this.nodes = nodes.map((node) => ({ host: node, port: ports.targetRegistration }))
    const socket = host.bind(ANY_PORT, (from, bytes) => this.onHeld(from, bytes))
    this.send = (node, bytes) => socket.send(node, bytes)
  }

  /** From now on these are the targets. @param version grows with every change, also from one controller to the next */
  set(version: number, targets: readonly LoadBalancerTarget[]): void {
    this.version = version
    this.bytes = encodeTargets(version, targets)
    this.tell(this.nodes)
  }

  /** Whether every node has said that it has the last set, or a later one. */
  get settled(): boolean {
    return this.behind().length === 0
  }

  /** The highest version that a node said it has: beyond our own where another controller has set it. */
  get newest(): number {
    return this.newestHeld
  }

  stop(): void {
    this.timer?.cancel()
    this.bytes = undefined
  }

  private behind(): readonly Address[] {
    return this.nodes.filter((node) => (this.held.get(node.host) ?? 0) < this.version)
  }

  private tell(nodes: readonly Address[]): void {
    this.timer?.cancel()
    if (this.bytes === undefined) return
    for (const node of nodes) this.send(node, this.bytes)
    this.timer = this.host.setTimer(RETRY_MS, () => this.review())
  }

  private review(): void {
    const behind = this.behind()
    if (behind.length > 0) {
      this.tell(behind)
      return
    }
    this.timer = this.host.setTimer(REFRESH_MS - RETRY_MS, () => this.tell(this.nodes))
  }

  private onHeld(from: Address, bytes: Buffer): void {
    const reader = new Reader(bytes)
    const { mark, version } = heldField.read(reader)
    if (!reader.complete() || mark !== HELD_MARK || !this.nodes.some(({ host }) => host === from.host)) return
    this.held.set(from.host, version)
    this.newestHeld = Math.max(this.newestHeld, version)
  }
}

export interface TargetReceiver {
  /** Called with each set that is newer than those before. */
  setTargets(targets: readonly LoadBalancerTarget[]): void
  /** The target at this address takes itself out for so long. */
  onWithdrawal(targetHost: string, forMs: number): void
}

/** The node's side. */
export function receiveTargets(host: Host, receiver: TargetReceiver): void {
  let held = 0
  const socket = host.bind(ports.targetRegistration, (from, bytes) => {
    if (!isOfService(from.host)) return
    const forMs = readWithdrawal(bytes)
    if (forMs !== undefined) {
      receiver.onWithdrawal(from.host, forMs)
      socket.send(from, withdrawalNoted())
      return
    }
    const reader = new Reader(bytes)
    const { mark, version, targets } = setField.read(reader)
    if (!reader.complete() || mark !== SET_MARK) return
    if (version > held) {
      held = version
      receiver.setTargets(targets.map(({ name, zone, host, port }) => ({ name, zone, address: { host, port } })))
    }
    const writer = new Writer().begin()
    heldField.write(writer, { mark: HELD_MARK, version: held })
    socket.send(from, writer.finish())
  })
}
