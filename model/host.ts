/**
 * The ports: what a process may ask of the machine it runs on. `sim/` implements them on virtual time, `live/` on real sockets,
 * files and timers; `model/host.contract.ts` holds both to what is written here.
 *
 * Rules for whoever uses a port:
 * - Everything is a callback; a handler runs to completion. No callback is ever called from inside the call that registered it.
 * - After a process was killed, or its machine lost power, none of its callbacks runs again.
 * - Bytes handed to a port, or received from one, are never written to again, by either side.
 *
 * Left out on purpose: half-closed connections, file permissions, rename, names instead of addresses (the service resolves names itself, by DNS).
 */

/** An IPv4 address and a port. */
export interface Address {
  readonly host: string
  readonly port: number
}

/** A timer that was set; cancelling one that has fired or was cancelled does nothing. */
export interface Timer {
  cancel(): void
}

/** An independent stream of random numbers; equal (seed, machine, purpose) give equal streams. */
export interface RandomStream {
  /** The next number in [0, 1). */
  next(): number
  /** The next integer in [0, bound). */
  below(bound: number): number
}

/**
 * Why a connection is gone.
 * - `ended`: the peer closed it in order (FIN); all it had sent was delivered before.
 * - `reset`: RST: the peer aborted, its process died, or its machine came back without memory of the connection.
 * - `refused`: nobody listens at the target, said by its machine. Only for a connection that never opened. Definite: no byte was received there.
 * - `timeout`: the peer stayed silent: no answer to the SYN, or to bytes sent, for as long as the host's TCP waits.
 */
export type CloseReason = 'ended' | 'reset' | 'refused' | 'timeout'

/** One end of a byte stream (TCP as a program sees it). */
export interface Connection {
  readonly remote: Address
  /** Who is told. May be replaced at any time; the next callback goes to the new one. */
  handler: ConnectionHandler
  /**
   * Queues bytes. They arrive in order or not at all; that they were taken says nothing of arrival.
   * @returns false when more than the host's high-water mark is now waiting: hold back until `onDrain`. The bytes are queued all the same.
   * On a connection that is closed, or not yet open, the bytes are queued (not yet open) or dropped (closed).
   */
  write(bytes: Buffer): boolean
  /** Stops `onData` until `resume`: what arrives waits, and the sender is held back by the receive window. */
  pause(): void
  resume(): void
  /** Closes in order: what was written before still goes out, then FIN. No further callback. */
  close(): void
  /** Aborts: what waits is dropped, the peer gets RST. No further callback. */
  reset(): void
}

/** What a connection tells its owner. Methods, so that one object can serve without a closure for each connection. */
export interface ConnectionHandler {
  /** The handshake is done. Only on the connecting side. */
  onOpen?(connection: Connection): void
  /** Some bytes, cut anywhere. */
  onData(connection: Connection, bytes: Buffer): void
  /** After `write` returned false: there is room again. */
  onDrain?(connection: Connection): void
  /** The connection is gone by the peer's or the network's doing. The last callback; never after `close` or `reset` of our own. */
  onClose(connection: Connection, reason: CloseReason): void
}

/** A listening port. Closing it refuses new connections and leaves accepted ones alone. */
export interface Listener {
  close(): void
}

/** A layer-4 joint of two connections made by `forward`. */
export interface Forwarding {
  readonly target: Address
  /** Sends RST to both sides. `onClose` is not called. */
  reset(): void
}

export interface ForwardingHandler {
  /** Either side closed or died; both are gone now. `refused` means that the target was never reached; `timeout` that, or that the joint was idle for too long. */
  onClose(forwarding: Forwarding, reason: CloseReason): void
}

/** A datagram port. A datagram arrives whole, once, or not at all; order is not kept. */
export interface DatagramSocket {
  send(target: Address, bytes: Buffer): void
  close(): void
}

/** `failed`: the device refused; what was not synced before is in an unknown state, and a later success proves nothing about it. `full`: no room. */
export type FileError = 'failed' | 'full' | 'not-found'

/**
 * Files on the machine's own disk. Names are flat paths such as `v3/log-0`. Callbacks come in the order of the calls on one file.
 * A process that is killed leaves what it appended (the machine's cache survives it); a machine that loses power keeps what was synced,
 * and of the rest any part: kept, dropped, or torn at a sector.
 */
export interface Files {
  /** Adds bytes at the end, creating the file. Readable at once, durable after a `sync` that began later. Errors come with that `sync`. */
  append(name: string, bytes: Buffer): void
  /** Makes durable all that was appended, cut or created in this file before the call. */
  sync(name: string, done: (error: FileError | undefined) => void): void
  /** Reads up to `length` bytes from `offset`; fewer at the end of the file. */
  read(name: string, offset: number, length: number, done: (error: FileError | undefined, bytes: Buffer) => void): void
  /** Bytes in the file, 0 where there is none. */
  size(name: string): number
  /** Cuts the file to `size` bytes. Durable after the next `sync`. */
  cutTail(name: string, size: number): void
  /** All names that begin with `prefix`, sorted by code unit. */
  list(prefix: string): readonly string[]
  /** Removes a file, durably. No error where there is none. */
  remove(name: string): void
}

/** A kind of work that costs time on the virtual machine; the prices are data of the world. */
export type WorkKind = 'packet' | 'record' | 'request' | 'connection' | 'tls-handshake'

/** A change of state that a person may want to see. The service's union of them is `model/events.ts`; a host only passes them on. */
export interface RecordedEvent {
  readonly kind: string
}

/** `starting`: it was told to start, and its process does not run yet. `retired`: it was stopped for good. Whether its process answers is for others to find out. */
export type MachineState = 'standby' | 'starting' | 'in-service' | 'stopping' | 'retired'

/** The cloud's own interface to the machines that stand by. Names that no such machine has are a fault of the program: the calls throw. */
export interface MachineControl {
  /** Switches on a machine that stands by; its process starts after `startUpMs`, whatever becomes of the caller. Nothing to any other. */
  start(machine: string, startUpMs: number): void
  /** Has a machine stand by again: its process is asked to stop, and ended after `withinMs`; one that is starting never starts. It keeps its disk. Nothing to any other. */
  stop(machine: string, withinMs: number): void
  /** Of any machine of the world. */
  state(machine: string): MachineState
  /** Has a floating address (`MachineSpec`) reach this machine from now on. Connections that were made by it go on where they are. */
  moveAddress(address: string, machine: string): void
  /** The machine that a floating address reaches. */
  holderOf(address: string): string
}

/** What one process may ask of its machine. */
export interface Host {
  /** The machine's stable name, such as `broker-2`. */
  readonly machine: string
  readonly zone: string
  /** The machine's own IPv4 address. */
  readonly address: string
  /** Differs from one start of a process to the next on the same machine, and grows. */
  readonly bootId: number
  /** Which version of the program the machine runs: 1, and one more after each upgrade. Machines of two versions talk to each other while an upgrade goes on. */
  readonly version: number

  /** Monotonic time in milliseconds since the process started, with fractions down to a microsecond. */
  nowMs(): number
  /** The machine's wall clock, ms since the Unix epoch. It may be wrong, and jump. For display and query only. */
  wallMs(): number
  /** Calls back once, not before `delayMs` have passed. */
  setTimer(delayMs: number, callback: () => void): Timer
  random(purpose: string): RandomStream

  /**
   * Accepts connections. `accept` returns who is told of the new connection's bytes, or undefined to reset it.
   * A port that is taken is a fault of the program and throws.
   */
  listen(port: number, accept: (connection: Connection) => ConnectionHandler | undefined): Listener
  /** Opens a connection. Without an answer it ends by `timeout`, after longer than callers care to wait: set a timer. `label` names the flow for the random streams. */
  connect(target: Address, handler: ConnectionHandler, label?: string): Connection
  /**
   * Joins an accepted connection with a new one to `target`, so that no byte passes this process. `inbound.handler` is not called again.
   * A joint over which no byte went, either way, for `idleTimeoutMs` is forgotten: at once, or when somebody sends again, who then gets RST. Without it none is.
   */
  forward(inbound: Connection, target: Address, handler: ForwardingHandler, idleTimeoutMs?: number): Forwarding
  bind(port: number, onDatagram: (from: Address, bytes: Buffer) => void): DatagramSocket

  readonly files: Files

  /** Only on machines whose role is `instance-group`. */
  readonly machines?: MachineControl | undefined

  /** Says that the handler at hand does work: what it sends leaves later, and the machine's next handler starts later. Free on a real machine. */
  work(kind: WorkKind, units: number): void

  /** Whether `record` goes anywhere; check it before building an event, so that an event nobody sees costs a branch. */
  readonly recording: boolean
  record(event: RecordedEvent): void
  /** A fault point inside the code: true where the world wants the rarer branch taken. Always false on a real machine. */
  perturb(point: string): boolean
  /** Says that a run got to a place worth getting to. */
  reached(goal: string): void
}

/** A running process. Killing it needs no word from it; `stop` is the orderly way (drain, hand over, close). */
export interface Process {
  /** @param withinMs after which the process is ended, done or not */
  stop?(done: () => void, withinMs: number): void
}

/** Starts a process on a machine. */
export type Boot = (host: Host) => Process
