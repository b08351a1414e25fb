/**
 * Internal calls over one byte stream: requests with one reply each, and notices. Either side may ask.
 *
 * The outcome of a request is definite (`reply`, `not-sent`) or not (`unknown`: the link broke or time ran out after the request left; the other side
 * may have done it, or may yet do it). A link never retries a request: who knows whether a repetition is harmless is the caller.
 * A dialled link connects again by itself, with back-off and jitter; `generation` tells one connection from the next.
 */
import type { Address, CloseReason, Connection, ConnectionHandler, Host, RandomStream, Timer } from '../host.ts'
import { encodeFrame, FrameReader, type FrameSink } from './frame.ts'
import { type Message, type MessageName, type MessageOf, type Notice, type ReplyOf, type RequestName, replies } from './messages.ts'

export type Outcome<M> = { readonly kind: 'reply'; readonly message: M } | { readonly kind: 'unknown' } | { readonly kind: 'not-sent' }

export interface LinkHandler {
  /** A request from the other side; `reply` may be called later, at most once. */
  onRequest?(link: Link, message: Message, reply: (message: Message) => void): void
  onNotice?(link: Link, message: Message): void
  onUp?(link: Link): void
  /** Open requests were answered `unknown` before this is called. */
  onDown?(link: Link): void
}

interface Pending {
  readonly deadlineMs: number
  readonly replyName: MessageName
  readonly done: (outcome: Outcome<Message>) => void
}

const RECONNECT_FIRST_MS = 50
const RECONNECT_CAP_MS = 1000
const CONNECT_TIMEOUT_MS = 1000

const replyNames: ReadonlyMap<string, MessageName> = new Map(Object.entries(replies))

const UNKNOWN: Outcome<never> = { kind: 'unknown' }
const NOT_SENT: Outcome<never> = { kind: 'not-sent' }

export class Link implements ConnectionHandler, FrameSink {
  readonly host: Host
  readonly target: Address
  /** Counts connections that came up; 0 before the first. */
  generation = 0
  up = false
  private readonly dialled: boolean
  private readonly handler: LinkHandler
  private readonly jitter: RandomStream | undefined
  private connection: Connection | undefined
  private frames: FrameReader
  private closed = false
  private nextRequestId = 1
  private readonly pending = new Map<number, Pending>()
  private timeoutTimer: Timer | undefined
  private timeoutAtMs = Number.POSITIVE_INFINITY
  private connectTimer: Timer | undefined
  private backoffMs = RECONNECT_FIRST_MS

  private constructor(host: Host, target: Address, handler: LinkHandler, dialled: boolean) {
    this.host = host
    this.target = target
    this.handler = handler
    this.dialled = dialled
    this.frames = new FrameReader(host.version)
    this.jitter = dialled ? host.random(`link ${target.host}:${target.port}`) : undefined
  }

  /** A link that connects now, and again whenever it is lost, until `close`. */
  static dial(host: Host, target: Address, handler: LinkHandler): Link {
    const link = new Link(host, target, handler, true)
    link.dial()
    return link
  }

  /** A link over an accepted connection; it ends with it. Returned to `Host.listen` as the connection's handler. */
  static accept(host: Host, connection: Connection, handler: LinkHandler): Link {
    const link = new Link(host, connection.remote, handler, false)
    link.connection = connection
    link.up = true
    link.generation = 1
    return link
  }

  request<N extends RequestName>(message: MessageOf<N>, timeoutMs: number, done: (outcome: Outcome<ReplyOf<N>>) => void): void {
    if (!this.up) {
      // Not from inside the call: a port never calls back from within, and neither do we.
      this.host.setTimer(0, () => done(NOT_SENT))
      return
    }
    const requestId = this.nextRequestId
    this.nextRequestId = requestId === 0xffff_ffff ? 1 : requestId + 1
    const deadlineMs = this.host.nowMs() + timeoutMs
    this.pending.set(requestId, {
      deadlineMs,
      replyName: replyNames.get(message.name)!,
      done: done as (outcome: Outcome<Message>) => void,
    })
    this.connection!.write(encodeFrame(requestId, message as unknown as Message, this.host.version))
    if (deadlineMs < this.timeoutAtMs) this.armTimeout(deadlineMs)
  }

  /** Sends a notice. @returns false, and sends nothing, when the link is down. */
  notify(message: Notice): boolean {
    if (!this.up) return false
    this.connection!.write(encodeFrame(0, message, this.host.version))
    return true
  }

  /** Ends the link for good; no further callback but `unknown` for open requests. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.connectTimer?.cancel()
    this.connection?.close()
    this.connection = undefined
    this.fall()
  }

  /** Drops the connection at hand, as broken; a dialled link connects again. */
  abort(): void {
    if (this.connection === undefined) return
    this.connection.reset()
    this.lost()
  }

  onOpen(): void {
    this.connectTimer?.cancel()
    this.backoffMs = RECONNECT_FIRST_MS
    this.generation++
    this.up = true
    this.handler.onUp?.(this)
  }

  onData(_connection: Connection, bytes: Buffer): void {
    const wrong = this.frames.read(bytes, this)
    if (wrong !== undefined) this.abort()
  }

  onClose(_connection: Connection, _reason: CloseReason): void {
    this.lost()
  }

  onFrame(requestId: number, message: Message): void {
    // The frame before this one may have ended the link.
    if (this.closed || !this.up) return
    this.host.work('request', 1)
    if (requestId === 0) {
      this.handler.onNotice?.(this, message)
      return
    }
    if (replyNames.has(message.name)) {
      const generation = this.generation
      this.handler.onRequest?.(this, message, (reply) => {
        if (this.up && this.generation === generation) this.connection!.write(encodeFrame(requestId, reply, this.host.version))
      })
      return
    }
    const waiting = this.pending.get(requestId)
    if (waiting === undefined) return // answered too late: the caller was told `unknown`
    if (waiting.replyName !== message.name) {
      this.abort()
      return
    }
    this.pending.delete(requestId)
    if (this.pending.size === 0) this.disarmTimeout()
    waiting.done({ kind: 'reply', message })
  }

  private dial(): void {
    this.frames = new FrameReader(this.host.version)
    const connection = this.host.connect(this.target, this)
    this.connection = connection
    this.connectTimer = this.host.setTimer(CONNECT_TIMEOUT_MS, () => {
      connection.reset()
      this.lost()
    })
  }

  private lost(): void {
    this.connection = undefined
    this.connectTimer?.cancel()
    this.fall()
    if (!this.dialled || this.closed) return
    const waitMs = this.backoffMs * (0.5 + this.jitter!.next() / 2)
    this.backoffMs = Math.min(this.backoffMs * 2, RECONNECT_CAP_MS)
    this.connectTimer = this.host.setTimer(waitMs, () => this.dial())
  }

  private fall(): void {
    const wasUp = this.up
    this.up = false
    const open = [...this.pending.values()]
    this.pending.clear()
    this.disarmTimeout()
    for (const waiting of open) waiting.done(UNKNOWN)
    if (wasUp) this.handler.onDown?.(this)
  }

  private disarmTimeout(): void {
    this.timeoutTimer?.cancel()
    this.timeoutAtMs = Number.POSITIVE_INFINITY
  }

  /** One timer for all open requests, set to the earliest deadline. */
  private armTimeout(atMs: number): void {
    this.timeoutTimer?.cancel()
    this.timeoutAtMs = atMs
    this.timeoutTimer = this.host.setTimer(atMs - this.host.nowMs(), () => this.expire())
  }

  private expire(): void {
    this.timeoutAtMs = Number.POSITIVE_INFINITY
    const nowMs = this.host.nowMs()
    let next = Number.POSITIVE_INFINITY
    for (const [requestId, waiting] of [...this.pending]) {
      if (waiting.deadlineMs <= nowMs) {
        // A callback before this one may have broken the link, and with it answered this request.
        if (this.pending.delete(requestId)) waiting.done(UNKNOWN)
      } else if (waiting.deadlineMs < next) next = waiting.deadlineMs
    }
    if (next < this.timeoutAtMs) this.armTimeout(next)
  }
}
