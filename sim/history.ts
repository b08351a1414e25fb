/**
 * What is written down of a run, and who is told: the history where recording is on, and the observers of the world. Neither takes a sequence number or a draw from
 * the run, so a run is the same with and without them. What an observer throws is passed on as its own failure, not the service's.
 */
import type { CloseReason, RecordedEvent } from '../model/host.ts'
import type { Fault, HistoryEntry, SocketObserver, WorldEvent, WorldObserver } from '../model/world.ts'
import { type Kernel, ObserverFailure } from './kernel.ts'
import type { Machine } from './machine.ts'

export type EndCause = 'injected' | 'threw' | 'stopped'

/** The name under which the world's own doings stand in the history. */
const worldName = 'world'

export class History {
  readonly recording: boolean
  private readonly recordsConnections: boolean
  readonly entries: HistoryEntry[] = []
  private readonly kernel: Kernel
  private readonly observers: WorldObserver[] = []
  private lastSequence = 0

  constructor(kernel: Kernel, recording: boolean, recordsConnections: boolean) {
    this.kernel = kernel
    this.recording = recording
    this.recordsConnections = recording && recordsConnections
  }

  observe(observer: WorldObserver): void {
    this.observers.push(observer)
  }

  record(machine: string, event: RecordedEvent): void {
    if (!this.recording) return
    this.entries.push({ timeUs: this.kernel.nowUs, sequence: ++this.lastSequence, machine, event })
  }

  fault(fault: Fault, phase: 'applied' | 'healed'): void {
    this.recordWorld(worldName, { kind: phase === 'applied' ? 'fault-applied' : 'fault-healed', fault })
    this.tell((observer) => observer.onFault?.(fault, phase, this.kernel.nowUs))
  }

  foundNobody(faultKind: Fault['kind'], wanted: string): void {
    this.recordWorld(worldName, { kind: 'fault-found-nobody', faultKind, wanted })
  }

  processStarted(machine: string, bootId: number, version: number): void {
    this.recordWorld(machine, version === 1 ? { kind: 'process-started', bootId } : { kind: 'process-started', bootId, version })
    this.tell((observer) => observer.onProcessStarted?.(machine, this.kernel.nowUs))
  }

  processEnded(machine: string, cause: EndCause, error: string | undefined): void {
    this.recordWorld(machine, error === undefined ? { kind: 'process-ended', cause } : { kind: 'process-ended', cause, error })
    this.tell((observer) => observer.onProcessEnded?.(machine, cause, error, this.kernel.nowUs))
  }

  synced(machine: string, file: string, size: number): void {
    for (const observer of this.observers) {
      if (observer.onSynced !== undefined) guarded(() => observer.onSynced!(machine, file, size, this.kernel.nowUs))
    }
  }

  /** A handler had to wait for a core; `waiting` others still do. */
  waited(machine: string, waitedUs: number, waiting: number): void {
    for (const observer of this.observers) {
      if (observer.onWaited !== undefined) guarded(() => observer.onWaited!(machine, waitedUs, waiting, this.kernel.nowUs))
    }
  }

  powerLost(machine: string, lostFiles: readonly string[]): void {
    this.tell((observer) => observer.onPowerLost?.(machine, lostFiles, this.kernel.nowUs))
  }

  connectionOpened(at: Machine, to: Machine): void {
    if (this.recordsConnections) this.recordWorld(at.spec.name, { kind: 'connection-opened', from: at.spec.name, to: to.spec.name })
  }

  /** At the end that is told; an end that closes by itself is not. */
  connectionClosed(at: Machine, to: Machine | undefined, reason: CloseReason): void {
    if (this.recordsConnections)
      this.recordWorld(at.spec.name, { kind: 'connection-closed', from: at.spec.name, to: to?.spec.name ?? '', reason })
  }

  forwarding(at: Machine, from: Machine, to: Machine, phase: 'began' | 'ended'): void {
    if (!this.recording) return
    const kind = phase === 'began' ? 'connection-forwarded' : 'forwarding-ended'
    this.recordWorld(at.spec.name, { kind, from: from.spec.name, to: to.spec.name })
  }

  private recordWorld(machine: string, event: WorldEvent): void {
    this.record(machine, event)
  }

  private tell(what: (observer: WorldObserver) => void): void {
    for (const observer of this.observers) guarded(() => what(observer))
  }
}

/** The observers of the sockets of one role, as one. */
export class SocketTap {
  private readonly observers: SocketObserver[] = []

  get isUsed(): boolean {
    return this.observers.length > 0
  }

  add(observer: SocketObserver): void {
    this.observers.push(observer)
  }

  connecting(connectionId: number, machine: string, label: string, timeUs: number): void {
    for (const observer of this.observers) guarded(() => observer.onConnect(connectionId, machine, label, timeUs))
  }

  opened(connectionId: number, timeUs: number): void {
    for (const observer of this.observers) guarded(() => observer.onOpen(connectionId, timeUs))
  }

  sent(connectionId: number, bytes: Buffer, timeUs: number): void {
    for (let i = 0; i < this.observers.length; i++) {
      try {
        this.observers[i]!.onSent(connectionId, bytes, timeUs)
      } catch (error) {
        throw new ObserverFailure(error)
      }
    }
  }

  received(connectionId: number, bytes: Buffer, timeUs: number, sentAtUs: number): void {
    for (let i = 0; i < this.observers.length; i++) {
      try {
        this.observers[i]!.onReceived(connectionId, bytes, timeUs, sentAtUs)
      } catch (error) {
        throw new ObserverFailure(error)
      }
    }
  }

  closed(connectionId: number, reason: CloseReason, by: 'self' | 'peer', timeUs: number): void {
    for (const observer of this.observers) guarded(() => observer.onClosed(connectionId, reason, by, timeUs))
  }
}

function guarded(call: () => void): void {
  try {
    call()
  } catch (error) {
    throw error instanceof ObserverFailure ? error : new ObserverFailure(error)
  }
}
