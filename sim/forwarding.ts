/**
 * A layer-4 joint of two connections, made by `forward`: from when the target has answered, the two outer ends send to each other, in one event, with the
 * delay of both legs and under the rules of both; no byte passes the load balancer's code, and a pause of its process does not stop them.
 *
 * Before that, what the client has sent waits at the load balancer; what is on its way there at that moment is passed on when it comes. The target
 * sees the client's address. A joint that was idle for too long is as good as forgotten: who sends along it next gets RST. Power loss of the load balancer makes it forget the joint: who sends along it gets no answer, and RST once it is back.
 *
 * Left out: the delay of opening that a real pass-through has (the client's handshake ends at the load balancer here).
 */
import type { Address, CloseReason, Connection, ConnectionHandler, Forwarding, ForwardingHandler } from '../model/host.ts'
import type { Runnable } from './compute.ts'
import type { ConnectionEnd } from './connection.ts'
import { kindsPerMachine, PASSING, RESET } from './event-kinds.ts'
import { type DelayTable, delayOf, medianOf, secondDelayOf } from './latency.ts'
import { dropped, type LinkEnd, type LinkRules, type PacketKind, type Verdict } from './link-rules.ts'
import type { Machine } from './machine.ts'
import type { EventTarget } from './queue.ts'
import type { Route } from './route.ts'

/** `connecting`: the target has not answered yet. `gone`: the load balancer does not know it any more. */
type JointState = 'connecting' | 'joined' | 'gone'

const reasons: readonly ('ended' | 'reset')[] = ['ended', 'reset']

export class Joint implements Forwarding, ConnectionHandler, Route, EventTarget, Runnable {
  readonly target: Address
  typicalUs = 0
  private state: JointState = 'connecting'
  private readonly machine: Machine
  private readonly handler: ForwardingHandler
  private readonly idleTimeoutUs: number
  private joinedAtUs = 0
  /** The load balancer's own ends until the joint is made, then the outer ones. */
  private inbound: ConnectionEnd
  private outbound: ConnectionEnd | undefined = undefined
  private inboundTable: DelayTable | undefined = undefined
  private outboundTable: DelayTable | undefined = undefined
  /** The outer end that cannot be reached any more, if one has gone silent. */
  private silent: Connection | undefined = undefined

  constructor(machine: Machine, inbound: ConnectionEnd, target: Address, handler: ForwardingHandler, idleTimeoutUs: number) {
    this.machine = machine
    this.inbound = inbound
    this.target = target
    this.handler = handler
    this.idleTimeoutUs = idleTimeoutUs
  }

  /** Begins to wait for the target's answer. */
  begin(outbound: ConnectionEnd): void {
    this.outbound = outbound
    this.machine.joints.add(this)
  }

  /** The joint cannot be made: the inbound connection is gone already. */
  fail(reason: CloseReason): void {
    this.state = 'gone'
    const { kernel } = this.machine
    kernel.schedule(kernel.departureUs(), this.machine.index * kindsPerMachine + PASSING, this, reason, 1)
  }

  get broken(): boolean {
    return this.state === 'gone' || this.isExpired()
  }

  private isExpired(): boolean {
    if (this.state !== 'joined') return false
    const lastUsedUs = Math.max(this.joinedAtUs, this.inbound.lastArrivalUs, this.outbound!.lastArrivalUs)
    return this.machine.kernel.nowUs - lastUsedUs >= this.idleTimeoutUs
  }

  reset(): void {
    if (this.state === 'gone') return
    const wasJoined = this.state === 'joined'
    this.forget()
    if (wasJoined) {
      this.sendReset(this.inbound)
      this.sendReset(this.outbound!)
    } else {
      this.inbound.reset()
      this.outbound!.reset()
    }
  }

  /** The load balancer has lost its memory. */
  forget(): void {
    if (this.state === 'joined') this.machine.history.forwarding(this.machine, this.inbound.machine, this.outbound!.machine, 'ended')
    this.state = 'gone'
    this.machine.joints.delete(this)
  }

  /** Both outer ends are sent RST by a fault. */
  injectReset(): void {
    if (this.state !== 'joined') return
    this.inbound.injectReset()
    this.outbound!.injectReset()
    this.tell('reset', this.machine.kernel.nowUs)
  }

  /** The machines in the order of the path, where the joint is made. */
  legs(): readonly (readonly [Machine, Machine])[] {
    if (this.state !== 'joined') return []
    return [
      [this.inbound.machine, this.machine],
      [this.machine, this.outbound!.machine],
    ]
  }

  // As the handler of the load balancer's own two ends, while it connects.

  onOpen(): void {
    if (this.state !== 'connecting') return
    const inner = this.inbound
    const outer = this.outbound!
    const client = inner.peer!
    const server = outer.peer!
    const { network } = this.machine
    this.state = 'joined'
    this.joinedAtUs = this.machine.kernel.nowUs
    const hasGoneSilent = client.route.broken
    this.inboundTable = network.delaysBetween(client.machine, this.machine)
    this.outboundTable = network.delaysBetween(this.machine, server.machine)
    this.typicalUs = medianOf(this.inboundTable) + medianOf(this.outboundTable)
    this.inbound = client
    this.outbound = server
    const toClient = inner.route
    const toServer = outer.route
    client.route = this
    server.route = this
    const clientOpensUs = inner.lastArrivalUs
    inner.join(server, toServer, 0)
    outer.join(client, toClient, clientOpensUs)
    if (hasGoneSilent) client.goSilent()
    this.machine.history.forwarding(this.machine, client.machine, server.machine, 'began')
  }

  onData(): void {}

  onClose(connection: Connection, reason: CloseReason): void {
    if (this.state !== 'connecting') return
    this.forget()
    if (connection === this.inbound) this.outbound!.reset()
    else this.inbound.reset()
    this.handler.onClose(this, reason)
  }

  // As the route between the outer ends.

  delayUs(draw: number): number {
    return delayOf(this.inboundTable!, draw) + secondDelayOf(this.outboundTable!, draw)
  }

  verdict(rules: LinkRules, from: LinkEnd, to: LinkEnd, draw: number, kind: PacketKind): Verdict {
    const first = rules.verdict(from, this.machine, draw, kind)
    if (first === dropped) return dropped
    const second = rules.verdict(this.machine, to, Math.imul(draw, 0x7feb352d) ^ (draw >>> 15), kind)
    return second === dropped ? dropped : first + second
  }

  isCut(rules: LinkRules, from: LinkEnd, to: LinkEnd): boolean {
    return rules.isCut(from, this.machine, 'stream') || rules.isCut(this.machine, to, 'stream')
  }

  passing(from: Connection, fromMachine: LinkEnd, reason: 'ended' | 'reset'): void {
    if (this.state !== 'joined' || this.machine.network.rules.isCut(fromMachine, this.machine, 'stream')) return
    const { kernel } = this.machine
    const delayUs = fromMachine === this.machine ? 0 : medianOf(from === this.inbound ? this.inboundTable! : this.outboundTable!)
    this.tell(reason, kernel.departureUs() + delayUs)
  }

  silence(end: Connection): void {
    this.silent = end
  }

  turnAway(from: Connection, fromMachine: LinkEnd): void {
    const { rules } = this.machine.network
    if (!this.machine.isOn || rules.isCut(fromMachine, this.machine, 'stream') || rules.isCut(this.machine, fromMachine, 'stream')) return
    const { kernel } = this.machine
    const isInbound = from === this.inbound
    const end = isInbound ? this.inbound : this.outbound!
    const other = isInbound ? this.outbound! : this.inbound
    const legUs = medianOf(isInbound ? this.inboundTable! : this.outboundTable!)
    if (this.state === 'joined') {
      this.forget()
      kernel.schedule(kernel.departureUs() + legUs, this.machine.index * kindsPerMachine + PASSING, this, 'timeout', 1)
    }
    // What went by before the joint was dropped has gone ahead of this answer.
    const arrivalUs = Math.max(kernel.departureUs() + 2 * legUs, other.lastArrivalUs)
    kernel.schedule(arrivalUs, end.machine.index * kindsPerMachine + RESET, end, undefined, 0)
  }

  fire(kind: number, payload: unknown, argument: number): void {
    if (argument === 0) {
      if (this.state !== 'joined') return
      this.forget()
    }
    this.machine.dispatch(this, kind, payload, argument)
  }

  run(_kind: number, payload: unknown): void {
    this.machine.enter()
    this.handler.onClose(this, payload as CloseReason)
    this.machine.leave()
  }

  describe(_kind: number, payload: unknown): string {
    return `the joint to ${this.target.host}:${this.target.port} is ${reasons.includes(payload as 'ended' | 'reset') ? 'over' : 'not made'}: ${payload}`
  }

  /** The machine sees a FIN or RST go by, and drops the joint. */
  private tell(reason: 'ended' | 'reset', atUs: number): void {
    this.machine.kernel.schedule(atUs, this.machine.index * kindsPerMachine + PASSING, this, reason, 0)
  }

  private sendReset(end: ConnectionEnd): void {
    const { kernel, network } = this.machine
    if (end.state === 'closed' || end === this.silent || network.rules.isCut(this.machine, end.machine, 'stream')) return
    const legUs = medianOf(end === this.inbound ? this.inboundTable! : this.outboundTable!)
    kernel.schedule(kernel.departureUs() + legUs, end.machine.index * kindsPerMachine + RESET, end, undefined, 0)
  }
}
