/**
 * A World: machines in zones, what may be done to them, and the history of what happened. The runner in `scenarios/` drives one; `sim/` implements it
 * whole on virtual time, `live/` as far as one real machine allows.
 *
 * A fault is a value. `apply` puts it in force and returns the handle that takes it out again; a world that cannot do a fault throws `UnsupportedFault`.
 */
import type { Boot, CloseReason, RecordedEvent, WorkKind } from './host.ts'

/** Where a machine stands: in a zone of the region, or out on the internet (clients). */
export const INTERNET = 'internet'

export interface MachineSpec {
  /** Stable and unique, such as `proxy-2`. */
  readonly name: string
  /** A zone's name, or `INTERNET`. */
  readonly zone: string
  /** What it is for, such as `proxy`: selectors and observers go by it. */
  readonly role: string
  /** IPv4, unique: where it connects from, and is reached. */
  readonly address: string
  /** More addresses by which it is reached, each until the cloud moves it to another machine (`MachineControl`). */
  readonly floatingAddresses?: readonly string[]
  readonly cores: number
  readonly boot: Boot
  /** What an upgrade puts in place of `boot`; where it is left out the same program runs on under a higher version number. */
  readonly upgraded?: Boot
  /** It is planned and not there yet: without power, until a `scale-out` names it, or the instance group starts it. */
  readonly standby?: boolean
}

/** The forms in which a zone goes dark that need nothing but its name. */
export type ZoneOutageForm =
  /** Every machine in it loses power: unsynced writes are at risk, connections die without a word. */
  | 'power'
  /** Machines run, and no packet enters or leaves the zone. */
  | 'isolated'
  /** No packet between it and the other zones; the internet reaches it, and inside all is well. */
  | 'cut-from-zones'
  /** No packet between it and the internet; the other zones reach it. */
  | 'cut-from-internet'
  /** What is sent into it is lost, what it sends arrives. */
  | 'nothing-in'
  /** What it sends out is lost, what is sent into it arrives. */
  | 'nothing-out'

export type Fault =
  | { readonly kind: 'zone-outage'; readonly zone: string; readonly form: ZoneOutageForm }
  /** Machines of these roles in the zone run, and no packet reaches or leaves them; all the others are untouched. */
  | { readonly kind: 'zone-outage'; readonly zone: string; readonly form: 'control-plane'; readonly roles: readonly string[] }
  /** All of the zone is slow: work and disks take `slowdown` times as long, and packets of its machines are lost with this probability. */
  | {
      readonly kind: 'zone-outage'
      readonly zone: string
      readonly form: 'brown-out'
      readonly slowdown: number
      readonly lossProbability: number
    }
  /** The process ends at once; its machine's kernel answers for it (RST, refused). Taking the fault out starts it again. */
  | { readonly kind: 'crash'; readonly machines: readonly string[] }
  /** As `crash`, and started again at once: nothing is left to take out. */
  | { readonly kind: 'restart'; readonly machines: readonly string[] }
  /** The machine loses power: unsynced writes are at risk. Taking the fault out boots it. */
  | { readonly kind: 'power-loss'; readonly machines: readonly string[] }
  /** The process does not run (SIGSTOP, a long collection); its kernel goes on accepting and buffering. */
  | { readonly kind: 'pause'; readonly machines: readonly string[] }
  /** Work takes so many times as long. Several at once multiply. */
  | { readonly kind: 'slow'; readonly machines: readonly string[]; readonly factor: number }
  /**
   * The process is told to stop, has `graceMs` to do so, and `downMs` after it has ended its next version starts, for good: nothing is left to take out.
   * All machines at once; a rolling upgrade is one such fault after the other.
   */
  | { readonly kind: 'upgrade'; readonly machines: readonly string[]; readonly graceMs: number; readonly downMs: number }
  /** The process is told to stop, has `graceMs` to do so, and never comes back. */
  | { readonly kind: 'scale-in'; readonly machines: readonly string[]; readonly graceMs: number }
  /** Machines that stood by are switched on, for good. */
  | { readonly kind: 'scale-out'; readonly machines: readonly string[] }
  /** No packet from any of `from` to any of `to`; with `bothWays` neither the other way. */
  | { readonly kind: 'partition'; readonly from: readonly string[]; readonly to: readonly string[]; readonly bothWays: boolean }
  /** Packets between the sets, both ways, take longer, or are lost with this probability (0 to 1) and sent again by TCP; datagrams are gone. */
  | {
      readonly kind: 'link'
      readonly from: readonly string[]
      readonly to: readonly string[]
      readonly addedLatencyMs: number
      readonly lossProbability: number
    }
  /** Datagrams between the sets, both ways, are lost with this probability; connections are untouched. */
  | {
      readonly kind: 'datagram-loss'
      readonly from: readonly string[]
      readonly to: readonly string[]
      readonly probability: number
    }
  /** Nothing reaches these machines from any other (`in`), nothing that they send does (`out`), or neither (`both`). */
  | { readonly kind: 'isolation'; readonly machines: readonly string[]; readonly direction: 'in' | 'out' | 'both' }
  /** The machine answers every SYN, and passes nothing on: what is written over a connection to, from or through it does not arrive. */
  | { readonly kind: 'grey'; readonly machines: readonly string[] }
  /** Every connection between the sets gets RST on both ends, once. */
  | { readonly kind: 'connection-reset'; readonly from: readonly string[]; readonly to: readonly string[] }
  /** `sync` fails with this probability; the pages it covered count as clean afterwards and are at the mercy of the next power loss. */
  | { readonly kind: 'sync-failure'; readonly machines: readonly string[]; readonly probability: number }
  /** Syncs and reads that begin now complete only after the fault is taken out. */
  | { readonly kind: 'disk-stall'; readonly machines: readonly string[] }
  /** Syncs and reads take so many times as long. Several at once multiply. */
  | { readonly kind: 'disk-slow'; readonly machines: readonly string[]; readonly factor: number }
  /** There is no room: a sync of new bytes fails with `full`, and they are lost. */
  | { readonly kind: 'disk-full'; readonly machines: readonly string[] }
  /** With this probability a sync says that it has succeeded and has done nothing: a power loss before the next honest one may take the bytes. */
  | { readonly kind: 'lying-sync'; readonly machines: readonly string[]; readonly probability: number }
  /** So many bits of what is durable on the disk flip, once and for good; nobody is told. */
  | { readonly kind: 'bit-rot'; readonly machines: readonly string[]; readonly bits: number }
  /** With this probability a sector of what a sync writes goes to a wrong place: it is missing where it belongs, and what stood at the other place is gone. */
  | { readonly kind: 'misdirected-write'; readonly machines: readonly string[]; readonly probability: number }
  /** The machine loses power and its disk is gone for good. Taking the fault out boots it with an empty one. */
  | { readonly kind: 'disk-loss'; readonly machines: readonly string[] }
  /** The wall clocks jump, once and for good. What a process counts time by does not. */
  | { readonly kind: 'clock-jump'; readonly machines: readonly string[]; readonly byMs: number }
  /** The wall clocks gain so many µs a second (negative: lose). What they have gained stays when the fault is taken out. */
  | { readonly kind: 'clock-drift'; readonly machines: readonly string[]; readonly partsPerMillion: number }
  /**
   * The machine gets another address, once and for good: its connections go silent, on both ends and without a word, and new ones come from the new address.
   * For machines that nobody connects to.
   */
  | { readonly kind: 'address-change'; readonly machines: readonly string[] }
  /** A connection of these machines on which nothing was sent for `idleMs` loses its mapping: it goes silent for good, without a word. */
  | { readonly kind: 'nat-timeout'; readonly machines: readonly string[]; readonly idleMs: number }
  /** A fault point in the code of these machines takes its rarer branch with this probability. */
  | { readonly kind: 'fault-point'; readonly machines: readonly string[]; readonly point: string; readonly probability: number }

/** Takes a fault out again: power back, partition healed. Doing it twice does nothing. */
export type Heal = () => void

/** One entry of the history: a service's own event, or something the world did. */
export interface HistoryEntry {
  readonly timeUs: number
  /** Grows by one an entry; gives an order to entries of one instant. */
  readonly sequence: number
  readonly machine: string
  readonly event: RecordedEvent
}

/** What the world itself puts into the history. */
export type WorldEvent =
  | { readonly kind: 'fault-applied'; readonly fault: Fault }
  | { readonly kind: 'fault-healed'; readonly fault: Fault }
  /** A fault was due for `wanted`, and no such machine was running. */
  | { readonly kind: 'fault-found-nobody'; readonly faultKind: Fault['kind']; readonly wanted: string }
  /** `version` counts from 1, where an upgrade has raised it. */
  | { readonly kind: 'process-started'; readonly bootId: number; readonly version?: number }
  /** `injected`: a fault ended it. `threw`: a handler threw; `error` is the stack. */
  | { readonly kind: 'process-ended'; readonly cause: 'injected' | 'threw' | 'stopped'; readonly error?: string }
  | { readonly kind: 'connection-opened'; readonly from: string; readonly to: string }
  | { readonly kind: 'connection-closed'; readonly from: string; readonly to: string; readonly reason: CloseReason }
  /** A machine joined a connection that it took with one to a target (`Host.forward`), and, later, knows of the joint no more. */
  | { readonly kind: 'connection-forwarded'; readonly from: string; readonly to: string }
  | { readonly kind: 'forwarding-ended'; readonly from: string; readonly to: string }

/**
 * Sees the raw bytes at the sockets of chosen machines: the witnesses' source. All times are true time in µs since the world began.
 * A connection is named by a number that is never used again.
 */
export interface SocketObserver {
  onConnect(connectionId: number, machine: string, label: string, timeUs: number): void
  onOpen(connectionId: number, timeUs: number): void
  /** The machine wrote these bytes. */
  onSent(connectionId: number, bytes: Buffer, timeUs: number): void
  /** The machine received these bytes; the other end wrote them at `sentAtUs`. */
  onReceived(connectionId: number, bytes: Buffer, timeUs: number, sentAtUs: number): void
  /** `by` is `self` where the machine itself closed or reset it. */
  onClosed(connectionId: number, reason: CloseReason, by: 'self' | 'peer', timeUs: number): void
}

/** Facts about disks and processes that the checks take from the world, not from the service. */
export interface WorldObserver {
  onFault?(fault: Fault, phase: 'applied' | 'healed', timeUs: number): void
  onProcessStarted?(machine: string, timeUs: number): void
  onProcessEnded?(machine: string, cause: 'injected' | 'threw' | 'stopped', error: string | undefined, timeUs: number): void
  /** A file's bytes became durable up to `size`. */
  onSynced?(machine: string, file: string, size: number, timeUs: number): void
  /** A machine lost power: `lostFiles` are those of which some bytes never synced are gone or torn. */
  onPowerLost?(machine: string, lostFiles: readonly string[], timeUs: number): void
  /** A handler begins that had to wait for a core, or through a pause; `waiting` others of its machine still do. Virtual worlds only. */
  onWaited?(machine: string, waitedUs: number, waiting: number, timeUs: number): void
}

export class UnsupportedFault extends Error {}

export interface WorldCounters {
  /** Events that the world dispatched. */
  readonly events: number
  /** Hex; equal for equal runs, whatever was recorded or checked. */
  readonly digest: string
}

export interface World {
  /** Adds a machine and, unless it stands by, starts its process at once. */
  addMachine(spec: MachineSpec): void
  readonly machines: readonly MachineSpec[]
  /** Ends the process in its orderly way, at most `withinMs`. */
  stop(machine: string, withinMs: number): void
  apply(fault: Fault): Heal
  /** Puts into the history that a fault was due and found no machine that it could strike. */
  foundNobody(fault: Fault['kind'], wanted: string): void
  /** Whether a machine has power and its process has been started and not ended; a paused one runs. */
  isRunning(machine: string): boolean
  /** True time in µs since the world began. */
  nowUs(): number
  /** Calls back at a true time, outside any machine. */
  at(timeUs: number, callback: () => void): void
  /** Observes the sockets of every machine whose role is `role`. To be called before such machines are added. */
  observeSockets(role: string, observer: SocketObserver): void
  observe(observer: WorldObserver): void
  /** Entries so far, where recording is on; else empty. */
  readonly history: readonly HistoryEntry[]
  /** How often each goal was reached, in the order of first reaching. */
  readonly goals: ReadonlyMap<string, number>
  /** Reads a file's durable bytes on a machine, past every fault: the auditor's look at the truth. */
  durableBytes(machine: string, file: string): Buffer
  durableFiles(machine: string, prefix: string): readonly string[]
  counters(): WorldCounters
}

/** A world whose time is ours to move. */
export interface VirtualWorld extends World {
  /** Runs all that happens up to and including `timeUs`. Returns early when `stopWhen` says so after an event. */
  run(untilUs: number, stopWhen?: () => boolean): void
}

/** Prices of work in µs a unit. */
export type WorkPrices = Readonly<Record<WorkKind, number>>
