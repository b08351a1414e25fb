/**
 * The network: who has which address, how far machines are from each other, handshakes, listening ports and datagrams.
 *
 * A SYN takes one delay. Where nobody listens, the machine answers and the caller is told `refused`; where the machine has no power, or the way there or back is
 * cut, nothing comes, and the SYN is sent again after 1, 3, 7, 15 and 31 s (Linux with tcp_syn_retries = 5), to end by `timeout` after 63 s. The accepting end
 * exists from the SYN's arrival on; the calling one is told a delay later.
 *
 * Draws are counted per connection and direction, under a key of the flow's label and its number among those of that label, and
 * per machine and port for datagrams: nobody's depend on what others do.
 *
 * Left out: bandwidth, routers, a limit to connections that wait to be accepted, broadcast.
 */
import type { Address, Connection, ConnectionHandler, DatagramSocket, ForwardingHandler, Listener } from '../model/host.ts'
import { INTERNET } from '../model/world.ts'
import type { Runnable } from './compute.ts'
import { ConnectionEnd, silentHandler } from './connection.ts'
import { ACCEPT, DATAGRAM, kindsPerMachine, OPENED, REFUSED, SYN, SYN_AGAIN } from './event-kinds.ts'
import { Joint } from './forwarding.ts'
import type { Kernel } from './kernel.ts'
import { type DelayTable, delayOf, delayTable, type LatencyModel } from './latency.ts'
import { dropped, LinkRules } from './link-rules.ts'
import type { Machine } from './machine.ts'
import type { EventTarget } from './queue.ts'
import { derivedKey, drawAt, drawKey } from './random.ts'
import { DirectRoute, type Route } from './route.ts'

const firstSynTimeoutUs = 1_000_000
const synRetries = 5

export class SimListener implements Listener {
  isOpen = true
  readonly accept: (connection: Connection) => ConnectionHandler | undefined
  private readonly machine: Machine
  private readonly port: number

  constructor(machine: Machine, port: number, accept: (connection: Connection) => ConnectionHandler | undefined) {
    this.machine = machine
    this.port = port
    this.accept = accept
  }

  close(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.machine.listeners.delete(this.port)
  }
}

export class SimDatagramSocket implements DatagramSocket {
  isOpen = true
  readonly onDatagram: (from: Address, bytes: Buffer) => void
  private readonly machine: Machine
  private readonly port: number
  private readonly key: number
  private sent = 0

  constructor(machine: Machine, port: number, key: number, onDatagram: (from: Address, bytes: Buffer) => void) {
    this.machine = machine
    this.port = port
    this.key = key
    this.onDatagram = onDatagram
  }

  send(target: Address, bytes: Buffer): void {
    if (!this.isOpen) return
    const from = { host: this.machine.networkAddress, port: this.port }
    this.machine.network.sendDatagram(this.machine, from, target, bytes, derivedKey(this.key, this.sent++))
  }

  close(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.machine.datagramSockets.delete(this.port)
  }
}

class Datagram implements EventTarget, Runnable {
  private readonly machine: Machine
  private readonly from: Address
  private readonly port: number

  constructor(machine: Machine, from: Address, port: number) {
    this.machine = machine
    this.from = from
    this.port = port
  }

  fire(kind: number, payload: unknown, argument: number): void {
    if (this.machine.isOn) this.machine.dispatch(this, kind, payload, argument)
  }

  run(_kind: number, payload: unknown): void {
    const socket = this.machine.datagramSockets.get(this.port)
    if (socket === undefined) return
    this.machine.enter()
    socket.onDatagram(this.from, payload as Buffer)
    this.machine.leave()
  }

  describe(_kind: number, payload: unknown): string {
    const bytes = payload as Buffer
    return `datagram from ${this.from.host}:${this.from.port} to port ${this.port}, ${bytes.length} bytes ${bytes.toString('hex', 0, 32)}`
  }
}

export interface NetworkOptions {
  readonly seed: number
  readonly latency: LatencyModel
  /** How long TCP waits for an answer to what it has sent. */
  readonly giveUpUs: number
}

export class Network {
  readonly rules = new LinkRules()
  readonly giveUpUs: number
  private readonly kernel: Kernel
  private readonly seed: number
  private readonly machines = new Map<string, Machine>()
  private readonly floating = new Set<string>()
  /** By the label of a flow: the key of its draws, and how many connections it has had. */
  private readonly flows = new Map<string, { readonly key: number; connections: number }>()
  private readonly loopback: DelayTable
  private readonly sameZone: DelayTable
  private readonly otherZone: DelayTable
  private readonly internet: DelayTable
  private readonly routes = new Map<DelayTable, Route>()
  private lastConnectionId = 0

  constructor(kernel: Kernel, options: NetworkOptions) {
    this.kernel = kernel
    this.seed = options.seed
    this.giveUpUs = options.giveUpUs
    this.loopback = delayTable(options.latency.loopback)
    this.sameZone = delayTable(options.latency.sameZone)
    this.otherZone = delayTable(options.latency.otherZone)
    this.internet = delayTable(options.latency.internet)
    for (const table of [this.loopback, this.sameZone, this.otherZone, this.internet]) this.routes.set(table, new DirectRoute(table))
  }

  add(machine: Machine): void {
    const { address, name } = machine.spec
    const holder = this.machines.get(address)
    if (holder !== undefined) throw new Error(`the address ${address} of ${name} belongs to ${holder.spec.name} already`)
    this.machines.set(address, machine)
    for (const floating of machine.spec.floatingAddresses ?? []) {
      if (this.machines.has(floating)) throw new Error(`the address ${floating} of ${name} is taken`)
      this.machines.set(floating, machine)
      this.floating.add(floating)
    }
  }

  /** Who connects to this address from now on reaches the machine. */
  moveFloating(address: string, machine: Machine): void {
    this.holderOf(address)
    this.machines.set(address, machine)
  }

  holderOf(address: string): Machine {
    if (!this.floating.has(address)) throw new Error(`${address} is no floating address`)
    return this.machines.get(address)!
  }

  /** The machine is found at another address from now on. */
  move(machine: Machine, to: string): void {
    if (this.machines.has(to)) throw new Error(`the address ${to} is taken`)
    this.machines.delete(machine.networkAddress)
    this.machines.set(to, machine)
    machine.networkAddress = to
  }

  delaysBetween(from: Machine, to: Machine): DelayTable {
    if (from === to) return this.loopback
    if (from.zone === INTERNET || to.zone === INTERNET) return this.internet
    return from.zone === to.zone ? this.sameZone : this.otherZone
  }

  nextConnectionId(): number {
    return ++this.lastConnectionId
  }

  connect(from: Machine, target: Address, handler: ConnectionHandler, label: string): ConnectionEnd {
    let flow = this.flows.get(label)
    if (flow === undefined) {
      flow = { key: drawKey(this.seed, label), connections: 0 }
      this.flows.set(label, flow)
    }
    const key = derivedKey(flow.key, flow.connections++ * 2)
    const end = this.newEnd(from, target, key, handler)
    const nearAddress: Address = { host: from.networkAddress, port: from.nextEphemeralPort() }
    from.observeConnecting(end, label)
    this.sendSyn(end, nearAddress, 0)
    return end
  }

  forward(machine: Machine, inbound: ConnectionEnd, target: Address, handler: ForwardingHandler, idleTimeoutUs: number): Joint {
    const joint = new Joint(machine, inbound, target, handler, idleTimeoutUs)
    if (inbound.state !== 'open' || inbound.machine !== machine) {
      joint.fail('ended')
      return joint
    }
    inbound.pause()
    inbound.handler = joint
    const outbound = this.newEnd(machine, target, derivedKey(inbound.drawKey, 0), joint)
    joint.begin(outbound)
    this.sendSyn(outbound, inbound.remote, 0)
    return joint
  }

  /** `nearAddress` is what the target sees as the caller's; `attempt` counts from 0. */
  sendSyn(end: ConnectionEnd, nearAddress: Address, attempt: number): void {
    if (end.state !== 'connecting') return
    if (attempt > synRetries) {
      end.unanswered()
      return
    }
    const target = this.machines.get(end.remote.host)
    const departsUs = this.kernel.departureUs()
    const timeoutUs = firstSynTimeoutUs * (1 << attempt)
    const delayUs = end.handshakeDelayUs()
    const verdict = target === undefined ? dropped : end.verdictTo(target, attempt, 'handshake')
    if (
      target === undefined ||
      verdict === dropped ||
      end.route.broken ||
      !target.isOn ||
      this.rules.isCut(target, end.machine, 'handshake')
    ) {
      this.kernel.schedule(departsUs + timeoutUs, end.machine.index * kindsPerMachine + SYN_AGAIN, end, nearAddress, attempt + 1)
      return
    }
    const code = target.index * kindsPerMachine + SYN
    this.kernel.schedule(departsUs + delayUs + verdict, code, end, nearAddress, attempt)
  }

  synArrived(end: ConnectionEnd, nearAddress: Address, attempt: number): void {
    if (end.state !== 'connecting') return
    const { kernel } = this
    const target = this.machines.get(end.remote.host)
    const backCode = end.machine.index * kindsPerMachine
    const again = () =>
      kernel.schedule(kernel.nowUs + firstSynTimeoutUs * (1 << attempt), backCode + SYN_AGAIN, end, nearAddress, attempt + 1)
    if (target === undefined || !target.isOn || end.route.broken) {
      again()
      return
    }
    // Who answers the SYN, unless nobody listens; it is one end of a connection when the answer gets through.
    const accepted = new ConnectionEnd(target, 'open', nearAddress, end.route, derivedKey(end.drawKey, 1), silentHandler)
    const verdict = accepted.verdictTo(end.machine, attempt, 'handshake')
    if (verdict === dropped || this.rules.isCut(target, end.machine, 'handshake')) {
      again()
      return
    }
    const listener = target.listeners.get(end.remote.port)
    if (listener === undefined) {
      kernel.schedule(kernel.nowUs + end.route.typicalUs + verdict, backCode + REFUSED, end, undefined, 0)
      return
    }
    target.connections.add(accepted)
    accepted.peer = end
    end.peer = accepted
    accepted.lastArrivalUs = kernel.nowUs + accepted.handshakeDelayUs() + verdict
    kernel.schedule(accepted.lastArrivalUs, backCode + OPENED, end, undefined, 0)
    target.dispatch(accepted, ACCEPT, listener, 0)
  }

  datagramKey(machine: Machine, port: number): number {
    return derivedKey(drawKey(this.seed, `datagrams/${machine.spec.name}`), port)
  }

  sendDatagram(from: Machine, near: Address, target: Address, bytes: Buffer, key: number): void {
    const to = this.machines.get(target.host)
    if (to === undefined) return
    const verdict = this.rules.inForce ? this.rules.verdict(from, to, drawAt(key, 1), 'datagram') : 0
    if (verdict === dropped) return
    const arrivalUs = this.kernel.departureUs() + delayOf(this.delaysBetween(from, to), drawAt(key, 0)) + verdict
    this.kernel.schedule(arrivalUs, to.index * kindsPerMachine + DATAGRAM, new Datagram(to, near, target.port), bytes, 0)
  }

  private newEnd(from: Machine, target: Address, key: number, handler: ConnectionHandler): ConnectionEnd {
    const to = this.machines.get(target.host)
    const table = to === undefined ? this.otherZone : this.delaysBetween(from, to)
    const end = new ConnectionEnd(from, 'connecting', target, this.routes.get(table)!, key, handler)
    from.connections.add(end)
    return end
  }
}
