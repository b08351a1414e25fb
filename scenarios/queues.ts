/**
 * Work that had to wait for a core, by the role of the machine: the queue in which a storm of reconnects stands. Handlers wait at the machine, as the world saw it; TLS handshakes wait
 * in a line of their own in the proxy, by its own word. It explains; no promise rests on it.
 */
import { LatencyHistogram, type TimeSummary } from '../checks/histogram.ts'
import type { ServiceEvent } from '../model/events.ts'
import type { HistoryEntry, MachineSpec, WorldEvent } from '../model/world.ts'

export interface WorkQueue {
  readonly role: string
  /** Of each handler, or handshake, that had to wait at all. */
  readonly waits: TimeSummary
  /** The most that stood in one line, where, and when (from the start of the run). */
  readonly peak: number
  readonly peakMachine: string
  readonly peakAtMs: number
}

export interface Queues {
  readonly handlers: readonly WorkQueue[]
  readonly tlsHandshakes: readonly WorkQueue[]
}

class Line {
  readonly waits = new LatencyHistogram()
  peak = 0
  peakMachine = ''
  peakAtUs = 0

  add(machine: string, waitedUs: number, waiting: number, timeUs: number): void {
    this.waits.add(waitedUs)
    if (waiting <= this.peak) return
    this.peak = waiting
    this.peakMachine = machine
    this.peakAtUs = timeUs
  }

  summary(role: string): WorkQueue {
    const { peak, peakMachine, peakAtUs } = this
    return { role, waits: this.waits.summary(), peak, peakMachine, peakAtMs: peakAtUs / 1000 }
  }
}

class Lines {
  private readonly byRole = new Map<string, Line>()

  of(role: string): Line {
    let line = this.byRole.get(role)
    if (line === undefined) {
      line = new Line()
      this.byRole.set(role, line)
    }
    return line
  }

  summaries(): readonly WorkQueue[] {
    return [...this.byRole].map(([role, line]) => line.summary(role))
  }
}

export class QueueWatch {
  private readonly handlers = new Lines()
  private readonly roles: ReadonlyMap<string, string>

  constructor(machines: readonly Pick<MachineSpec, 'name' | 'role'>[]) {
    this.roles = new Map(machines.map(({ name, role }) => [name, role]))
  }

  /** The handler itself counts as one that waited. */
  waited(machine: string, waitedUs: number, waiting: number, timeUs: number): void {
    this.handlers.of(this.roles.get(machine) ?? machine).add(machine, waitedUs, waiting + 1, timeUs)
  }

  /** @param history of the whole run */
  queues(history: readonly HistoryEntry[]): Queues {
    const handshakes = new Lines()
    for (const { machine, timeUs, event } of history) {
      const known = event as ServiceEvent | WorldEvent
      if (known.kind !== 'tls-handshake-done' || (known.waitedMs === 0 && known.waiting === 0)) continue
      handshakes.of(this.roles.get(machine) ?? machine).add(machine, known.waitedMs * 1000, known.waiting + 1, timeUs)
    }
    return { handlers: this.handlers.summaries(), tlsHandshakes: handshakes.summaries() }
  }
}
