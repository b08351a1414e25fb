/**
 * Two sockets joined into one flow, as a layer-4 load balancer joins them: Node's pipes carry the bytes and their back-pressure both ways, none of them
 * passes the process, and a paused process goes on forwarding. The first side that closes ends the flow: what it had sent still goes
 * through, then the other side gets FIN; a side that dies gives the other RST.
 */
import type { Socket } from 'node:net'
import type { Address, CloseReason, Forwarding, ForwardingHandler } from '../model/host.ts'
import { type ConnectionOwner, type Flow, type LiveConnection, linger, reasonOf } from './connection.ts'

export class LiveForwarding implements Forwarding, Flow {
  readonly target: Address
  readonly peers: readonly string[]
  readonly #connection: LiveConnection
  readonly #inbound: Socket
  readonly #outbound: Socket
  readonly #owner: ConnectionOwner
  readonly #handler: ForwardingHandler
  readonly #idleTimeoutMs: number | undefined
  #state: 'connecting' | 'joined' | 'closed' = 'connecting'

  constructor(options: {
    connection: LiveConnection
    inbound: Socket
    outbound: Socket
    target: Address
    owner: ConnectionOwner
    handler: ForwardingHandler
    idleTimeoutMs: number | undefined
  }) {
    this.target = options.target
    this.peers = [options.connection.remote.host, options.target.host]
    this.#connection = options.connection
    this.#inbound = options.inbound
    this.#outbound = options.outbound
    this.#owner = options.owner
    this.#handler = options.handler
    this.#idleTimeoutMs = options.idleTimeoutMs
    this.#outbound.on('connect', () => this.#join())
    this.#watch(this.#inbound, this.#outbound)
    this.#watch(this.#outbound, this.#inbound)
  }

  reset(): void {
    if (this.#state === 'closed') return
    this.#finish('reset', 'self')
    this.#destroyBoth()
  }

  abort(): void {
    this.reset()
  }

  resetByNetwork(): void {
    this.#over('reset')
  }

  freeze(): void {}

  thaw(): void {}

  #watch(side: Socket, other: Socket): void {
    side.on('end', () => {
      if (this.#state === 'closed') return
      other.unpipe(side)
      this.#over('ended')
    })
    side.on('error', (error) => this.#over(reasonOf(error, side === this.#outbound && this.#state === 'connecting')))
    side.on('close', () => this.#over('reset'))
  }

  #join(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'joined'
    this.#inbound.pipe(this.#outbound)
    this.#outbound.pipe(this.#inbound)
    // What goes either way passes this socket: it is read from, or written to.
    if (this.#idleTimeoutMs !== undefined) this.#inbound.setTimeout(this.#idleTimeoutMs, () => this.#over('timeout'))
  }

  #over(reason: CloseReason): void {
    if (this.#state === 'closed') return
    this.#finish(reason, 'peer')
    if (reason === 'ended') {
      linger(this.#inbound)
      linger(this.#outbound)
    } else {
      this.#destroyBoth()
    }
    this.#owner.dispatch(() => this.#handler.onClose(this, reason))
  }

  #finish(reason: CloseReason, by: 'self' | 'peer'): void {
    this.#state = 'closed'
    this.#owner.release(this)
    this.#connection.handedOverClosed(reason, by)
  }

  #destroyBoth(): void {
    for (const socket of [this.#inbound, this.#outbound]) if (!socket.destroyed) socket.resetAndDestroy()
  }
}
