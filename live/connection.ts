/**
 * One end of a TCP connection on a real socket.
 *
 * Promised: callbacks only from the event loop, through the owning process (which drops them once it is dead, and keeps them while it is paused);
 * no half-open connections: after the peer's FIN what we wrote still goes out and both ends are gone; `reset` and the death of the process
 * send RST. A connection that we closed lingers in the kernel's hands until the peer is done, at most a minute.
 *
 * Left out: silence. Loopback loses nothing, so `timeout` comes only from errors that the kernel calls so.
 */
import type { Socket } from 'node:net'
import type { Address, CloseReason, Connection, ConnectionHandler } from '../model/host.ts'

/** What a connection needs of the process that owns it. */
export interface ConnectionOwner {
  /** Runs a callback as a handler of the process: not at all once it is dead, later while it is paused. */
  dispatch(callback: () => void): void
  readonly frozen: boolean
  /** The connection is nobody's any more. */
  release(flow: Flow): void
}

/** What the world may do to anything that holds sockets of a process. */
export interface Flow {
  /** The region's addresses at the other ends. */
  readonly peers: readonly string[]
  /** The process is dead: RST, and not a word to anybody. */
  abort(): void
  /** RST by the network's doing: both owners are told. */
  resetByNetwork(): void
  freeze(): void
  thaw(): void
}

/** Sees what happens at one socket, for observers and history. */
export interface ConnectionTrace {
  opened(): void
  sent(bytes: Buffer): void
  received(bytes: Buffer): void
  closed(reason: CloseReason, by: 'self' | 'peer'): void
}

/** How long the kernel's side of a closed connection is kept for a peer that does not close: Linux keeps FIN-WAIT-2 for as long (tcp_fin_timeout). */
const lingerMs = 60_000

/** `handed-over`: a forwarding has the socket now. */
type State = 'connecting' | 'open' | 'handed-over' | 'closed'

export class LiveConnection implements Connection, Flow {
  readonly remote: Address
  readonly peers: readonly string[]
  handler: ConnectionHandler
  readonly #socket: Socket
  readonly #owner: ConnectionOwner
  readonly #trace: ConnectionTrace | undefined
  #state: State
  #paused = false

  constructor(
    socket: Socket,
    remote: Address,
    owner: ConnectionOwner,
    options: { state: 'connecting' | 'open'; handler: ConnectionHandler; trace: ConnectionTrace | undefined },
  ) {
    this.remote = remote
    this.peers = [remote.host]
    this.handler = options.handler
    this.#socket = socket
    this.#owner = owner
    this.#trace = options.trace
    this.#state = options.state
    socket.on('connect', () => this.#owner.dispatch(() => this.#opened()))
    socket.on('data', this.#onData)
    socket.on('drain', () => this.#owner.dispatch(() => this.#drained()))
    socket.on('end', () => this.#owner.dispatch(() => this.#over('ended')))
    socket.on('error', (error) => this.#owner.dispatch(() => this.#over(reasonOf(error, this.#state === 'connecting'))))
    socket.on('close', () => this.#owner.dispatch(() => this.#over('reset')))
  }

  /** Begins to read: an accepted socket waits until its handler is known. */
  start(): void {
    if (this.#state === 'open' && !this.#paused && !this.#owner.frozen) this.#socket.resume()
  }

  write(bytes: Buffer): boolean {
    if (this.#state !== 'open' && this.#state !== 'connecting') return true
    this.#trace?.sent(bytes)
    return this.#socket.write(bytes)
  }

  pause(): void {
    if (this.#state !== 'open' && this.#state !== 'connecting') return
    this.#paused = true
    this.#socket.pause()
  }

  resume(): void {
    if (this.#state !== 'open' && this.#state !== 'connecting') return
    this.#paused = false
    if (!this.#owner.frozen) this.#socket.resume()
  }

  close(): void {
    if (this.#finish('ended', 'self')) linger(this.#socket)
  }

  reset(): void {
    if (this.#finish('reset', 'self')) this.#socket.resetAndDestroy()
  }

  abort(): void {
    this.reset()
  }

  resetByNetwork(): void {
    this.#socket.resetAndDestroy()
  }

  freeze(): void {
    this.#socket.pause()
  }

  thaw(): void {
    if (!this.#paused && this.#state !== 'closed') this.#socket.resume()
  }

  /** Gives the socket away, with all bytes that `onData` did not get; undefined when the connection is gone. */
  handOver(): Socket | undefined {
    if (this.#state !== 'open') return undefined
    this.#state = 'handed-over'
    this.#owner.release(this)
    this.#socket.pause()
    this.#socket.off('data', this.#onData)
    return this.#socket
  }

  /** Says how a connection that was handed over ended. */
  handedOverClosed(reason: CloseReason, by: 'self' | 'peer'): void {
    this.#trace?.closed(reason, by)
  }

  readonly #onData = (bytes: Buffer): void => {
    this.#owner.dispatch(() => {
      if (this.#state !== 'open') return
      this.#trace?.received(bytes)
      this.handler.onData(this, bytes)
    })
  }

  #opened(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    this.#trace?.opened()
    this.handler.onOpen?.(this)
  }

  #drained(): void {
    if (this.#state === 'open') this.handler.onDrain?.(this)
  }

  /** The peer's or the network's doing. */
  #over(reason: CloseReason): void {
    if (this.#state !== 'open' && this.#state !== 'connecting') return
    if (reason === 'ended') linger(this.#socket)
    this.#finish(reason, 'peer')
    this.handler.onClose(this, reason)
  }

  #finish(reason: CloseReason, by: 'self' | 'peer'): boolean {
    if (this.#state !== 'open' && this.#state !== 'connecting') return false
    this.#state = 'closed'
    this.#trace?.closed(reason, by)
    this.#owner.release(this)
    return true
  }
}

/** Lets what was written go out, then FIN, and throws away what still comes. */
export function linger(socket: Socket): void {
  socket.end()
  socket.resume()
  socket.setTimeout(lingerMs, () => socket.destroy())
}

export function reasonOf(error: NodeJS.ErrnoException, connecting: boolean): CloseReason {
  if (connecting) return error.code === 'ECONNREFUSED' ? 'refused' : error.code === 'ECONNRESET' ? 'reset' : 'timeout'
  return error.code === 'ETIMEDOUT' || error.code === 'EHOSTUNREACH' ? 'timeout' : 'reset'
}
