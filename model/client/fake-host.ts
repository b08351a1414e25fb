/**
 * For tests: a host with a clock that the test moves, and a server whose side of each connection the test plays packet by packet, through a codec
 * of the test's choice, so that the client is not judged by its own. Bytes arrive at once and in one piece.
 */
import type { ServiceEvent } from '../events.ts'
import type { Address, CloseReason, Connection, ConnectionHandler, Host, RandomStream, Timer } from '../host.ts'

/** A packet as the test's codec has it. */
export interface PeerPacket {
  readonly cmd: string
  readonly [field: string]: unknown
}

export interface PeerCodec {
  encode(packet: PeerPacket): Buffer
  /** @returns what takes the bytes of one connection. */
  decoder(onPacket: (packet: PeerPacket) => void): (bytes: Buffer) => void
}

interface PendingTimer {
  readonly atMs: number
  readonly sequence: number
  readonly callback: () => void
  cancelled: boolean
}

export class FakeConnection implements Connection {
  readonly remote: Address
  handler: ConnectionHandler
  readonly seen: PeerPacket[] = []
  writesTaken = true
  closedBy: 'close' | 'reset' | 'peer' | undefined
  private readonly codec: PeerCodec
  private readonly decode: (bytes: Buffer) => void

  constructor(remote: Address, handler: ConnectionHandler, codec: PeerCodec) {
    this.remote = remote
    this.handler = handler
    this.codec = codec
    this.decode = codec.decoder((packet) => this.seen.push(packet))
  }

  write(bytes: Buffer): boolean {
    if (this.closedBy === undefined) this.decode(bytes)
    return this.writesTaken
  }

  pause(): void {}
  resume(): void {}

  close(): void {
    this.closedBy ??= 'close'
  }

  reset(): void {
    this.closedBy ??= 'reset'
  }

  // What the test does as the server.

  open(): void {
    this.handler.onOpen?.(this)
  }

  send(packet: PeerPacket): void {
    this.handler.onData(this, this.codec.encode(packet))
  }

  sendBytes(bytes: readonly number[]): void {
    this.handler.onData(this, Buffer.from(bytes))
  }

  drain(): void {
    this.writesTaken = true
    this.handler.onDrain?.(this)
  }

  die(reason: CloseReason): void {
    if (this.closedBy !== undefined) return
    this.closedBy = 'peer'
    this.handler.onClose(this, reason)
  }

  ofType(cmd: string): PeerPacket[] {
    return this.seen.filter((packet) => packet.cmd === cmd)
  }
}

export class FakeHost {
  readonly connections: FakeConnection[] = []
  readonly labels: (string | undefined)[] = []
  readonly events: ServiceEvent[] = []
  /** What every random draw gives. */
  draw = 0.5
  timersSet = 0
  private timeMs = 0
  private sequence = 0
  private readonly timers: PendingTimer[] = []
  private readonly codec: PeerCodec

  constructor(codec: PeerCodec) {
    this.codec = codec
  }

  get port(): Host {
    return this as unknown as Host
  }

  readonly recording = true

  nowMs(): number {
    return this.timeMs
  }

  record(event: ServiceEvent): void {
    this.events.push(event)
  }

  random(): RandomStream {
    return { next: () => this.draw, below: (bound) => Math.floor(this.draw * bound) }
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer: PendingTimer = { atMs: this.timeMs + delayMs, sequence: this.sequence++, callback, cancelled: false }
    this.timersSet++
    this.timers.push(timer)
    return {
      cancel: () => {
        timer.cancelled = true
      },
    }
  }

  connect(target: Address, handler: ConnectionHandler, label?: string): FakeConnection {
    const connection = new FakeConnection(target, handler, this.codec)
    this.connections.push(connection)
    this.labels.push(label)
    return connection
  }

  get last(): FakeConnection {
    return this.connections[this.connections.length - 1]!
  }

  advance(byMs: number): void {
    const untilMs = this.timeMs + byMs
    for (;;) {
      let due: PendingTimer | undefined
      for (const timer of this.timers) {
        if (timer.cancelled || timer.atMs > untilMs) continue
        if (due === undefined || timer.atMs < due.atMs || (timer.atMs === due.atMs && timer.sequence < due.sequence)) due = timer
      }
      if (due === undefined) break
      this.timeMs = Math.max(this.timeMs, due.atMs)
      this.timers.splice(this.timers.indexOf(due), 1)
      due.callback()
    }
    this.timeMs = untilMs
  }
}
