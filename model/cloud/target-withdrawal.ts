/**
 * How a target takes itself out of a load balancer's pool before it stops: a datagram to each node, sent again until the node has answered.
 *
 * It says for how long at most the target will still run. For that long the node sends nothing new there, leaves the connections that it has alone, and does not probe; then the target is as
 * new to it: one good probe brings it back, and without one nothing goes there. So nobody has to say that a target is there again, and a node that was not reached finds out by its probes.
 * A target can withdraw itself alone: a node goes by the sender's address. Which targets there are is not changed by it (`target-registration.ts`).
 *
 * Sources: AWS Elastic Load Balancing, "Deregister targets" (nothing new is routed to a target that deregisters, which stays registered until its connections are over; one that is
 * registered again gets requests after one good probe); Kubernetes, "Pod termination" (a pod that terminates is taken out of its endpoints while it still serves what it has).
 */
import type { Address, Host, Timer } from '../host.ts'
import { ports } from '../settings.ts'
import { Reader, record, u32, Writer } from '../wire/codec.ts'

/** Tell our datagrams from strangers'. */
const WITHDRAWAL_MARK = 0x73717433
const NOTED_MARK = 0x73717434
const withdrawalField = record({ mark: u32, forMs: u32 })
const notedField = record({ mark: u32 })

const RETRY_MS = 100
/** The host gives any free port. */
const ANY_PORT = 0

/** The target's side. */
export class TargetWithdrawal {
  private readonly host: Host
  private readonly endMs: number
  private readonly send: (node: string, bytes: Buffer) => void
  /** Nodes that have not answered. */
  private readonly silent: Set<string>
  private readonly boundTimer: Timer
  private retryTimer: Timer | undefined
  private onOut: (() => void) | undefined

  /**
   * @param nodes addresses of the machines; the port is known
   * @param forMs how long this process may still run
   * @param boundMs how long to wait for nodes that do not answer; they are told again after that all the same
   * @param onOut called once, later than this: every node knows, or the wait is over
   */
  constructor(host: Host, nodes: readonly string[], forMs: number, boundMs: number, onOut: () => void) {
    this.host = host
    this.endMs = host.nowMs() + forMs
    this.silent = new Set(nodes)
    this.onOut = onOut
    const socket = host.bind(ANY_PORT, (from, bytes) => this.onNoted(from, bytes))
    this.send = (node, bytes) => socket.send({ host: node, port: ports.targetRegistration }, bytes)
    this.boundTimer = host.setTimer(nodes.length === 0 ? 0 : boundMs, () => this.out())
    this.tell()
  }

  private tell(): void {
    const forMs = Math.max(0, Math.round(this.endMs - this.host.nowMs()))
    if (this.silent.size === 0 || forMs === 0) return
    const writer = new Writer().begin()
    withdrawalField.write(writer, { mark: WITHDRAWAL_MARK, forMs })
    const bytes = writer.finish()
    for (const node of this.silent) this.send(node, bytes)
    this.retryTimer = this.host.setTimer(RETRY_MS, () => this.tell())
  }

  private onNoted(from: Address, bytes: Buffer): void {
    const reader = new Reader(bytes)
    const { mark } = notedField.read(reader)
    if (!reader.complete() || mark !== NOTED_MARK || !this.silent.delete(from.host) || this.silent.size > 0) return
    this.retryTimer?.cancel()
    this.out()
  }

  private out(): void {
    this.boundTimer.cancel()
    this.onOut?.()
    this.onOut = undefined
  }
}

/** For how long the sender is out, where the datagram is a withdrawal. */
export function readWithdrawal(bytes: Buffer): number | undefined {
  const reader = new Reader(bytes)
  const { mark, forMs } = withdrawalField.read(reader)
  return reader.complete() && mark === WITHDRAWAL_MARK ? forMs : undefined
}

/** The node's answer. */
export function withdrawalNoted(): Buffer {
  const writer = new Writer().begin()
  notedField.write(writer, { mark: NOTED_MARK })
  return writer.finish()
}
