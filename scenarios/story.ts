/**
 * What happened, in time order, for a person: a fold over the history. It tells of each fault, who noticed it and when, what the service did about it, and
 * when things were as before. What many machines did alike becomes one line, placed at the first of them, that says how many and until when.
 *
 * The service's own events are told here, not proven; what the checks found out stands beside the story, in the promises and measures.
 */
import { isInstant } from '../checks/disturbance.ts'
import type { ServiceEvent } from '../model/events.ts'
import type { Fault, HistoryEntry, MachineSpec, WorldEvent } from '../model/world.ts'
import { ClientPlaces, strikes } from './facts.ts'
import { faultText, listNames } from './fault-text.ts'

export type StoryTone = 'fault' | 'heal' | 'notice' | 'move' | 'client' | 'trouble'

export interface StoryLine {
  readonly timeUs: number
  readonly tone: StoryTone
  readonly text: string
}

/** A fact that many entries add up to: alike, between the same faults, and without a long pause between one and the next. */
interface Thread {
  readonly tone: StoryTone
  readonly firstUs: number
  lastUs: number
  readonly who: Set<string>
  readonly what: Set<string>
  count: number
  /** Where its line stands in time. */
  placedAt: 'first' | 'last'
  readonly tell: (thread: Thread) => string
}

function formatSeconds(timeUs: number): string {
  return `${(timeUs / 1_000_000).toFixed(timeUs < 10_000_000 ? 2 : 1)} s`
}

/** After so long without another one, what comes is told as something new. */
const PAUSE_US = 4_000_000

/** A line that a person would call one. */
const HANDSHAKES_WORTH_TELLING = 20

/** The verb that goes with so many. */
function verb(who: ReadonlySet<string>, one: string, many: string): string {
  return `${listNames([...who].sort())} ${who.size === 1 ? one : many}`
}

function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`
}

/** ` (the last 1.20 s later)`, where that is worth saying. */
function until(thread: Thread): string {
  const spread = thread.lastUs - thread.firstUs
  return thread.count > 1 && spread >= 100_000 ? `, the last ${formatSeconds(spread)} later` : ''
}

class Teller {
  private readonly lines: StoryLine[] = []
  private threads = new Map<string, Thread>()
  /** The lines of TLS handshakes in this phase, by proxy. */
  private handshakeLines = new Map<string, { peak: number; longestMs: number }>()
  private phaseUs = 0
  private readonly byName: ReadonlyMap<string, MachineSpec>
  private readonly places = new ClientPlaces()
  /** Copies that a broker holds for gone, as `volume/copy/broker`. */
  private readonly copiesGone = new Set<string>()
  /** When each backup point was taken, as `volume/offset`. */
  private readonly backupsTaken = new Map<string, number>()
  /** Shards that got a new owner in this phase. */
  private readonly moved = new Set<number>()
  /** Clients that lost their connection in this phase, and have none yet. */
  private readonly clientsOut = new Set<string>()

  constructor(machines: readonly MachineSpec[]) {
    this.byName = new Map(machines.map((machine) => [machine.name, machine]))
  }

  see({ timeUs, machine, event }: HistoryEntry): void {
    const known = event as ServiceEvent | WorldEvent
    this.places.see(machine, known)
    if (this.byName.get(machine)?.role !== 'auditor') this.tell(timeUs, machine, known)
  }

  end(): readonly StoryLine[] {
    this.endPhase()
    return this.lines
  }

  private tell(timeUs: number, machine: string, event: ServiceEvent | WorldEvent): void {
    switch (event.kind) {
      case 'fault-applied':
        this.beginPhase(timeUs)
        this.lines.push({ timeUs, tone: 'fault', text: `${faultText(event.fault, 'applied')}${this.cost(event.fault)}` })
        return
      case 'fault-healed':
        if (isInstant(event.fault)) return
        this.beginPhase(timeUs)
        this.lines.push({ timeUs, tone: 'heal', text: faultText(event.fault, 'healed') })
        return
      case 'fault-found-nobody':
        this.lines.push({ timeUs, tone: 'notice', text: `${event.faultKind} was due for ${event.wanted}, and no such machine is running` })
        return
      case 'process-started':
        if (event.version !== undefined && event.version > 1) {
          const text = (thread: Thread): string => `${verb(thread.who, 'runs', 'run')} version ${event.version}`
          this.add(`version ${event.version}`, timeUs, machine, machine, 'move', text)
        }
        return
      case 'process-ended':
        if (event.cause === 'threw')
          this.lines.push({ timeUs, tone: 'trouble', text: `a handler of ${machine} throws: ${firstLine(event.error)}` })
        return
      case 'target-state-changed': {
        const { target, healthy } = event
        this.add(`target ${target} ${healthy}`, timeUs, machine, target, healthy ? 'move' : 'notice', ({ who }) =>
          healthy ? `${verb(who, 'finds', 'find')} ${target} healthy again` : `${verb(who, 'finds', 'find')} ${target} dead`,
        )
        return
      }
      case 'connections-reset': {
        const tell = ({ count, who }: Thread): string => `${verb(who, 'resets', 'reset')} ${plural(count, 'connection')} to ${event.target}`
        this.add(`reset ${event.target}`, timeUs, machine, event.target, 'notice', tell).count += event.count - 1
        return
      }
      case 'slow-start-began': {
        const { target, durationMs } = event
        const tell = ({ who }: Thread): string => `${verb(who, 'lets', 'let')} ${target} in slowly, over ${durationMs / 1000} s`
        this.add(`slow start ${target}`, timeUs, machine, target, 'move', tell)
        return
      }
      case 'target-draining': {
        const tell = ({ who }: Thread): string => `${verb(who, 'sends', 'send')} nothing new to ${event.target}, which keeps what it has`
        this.add(`drain ${event.target}`, timeUs, machine, event.target, 'move', tell)
        return
      }
      case 'answer-changed':
        this.add(
          `answer ${machine}`,
          timeUs,
          machine,
          event.name,
          'notice',
          () => `${machine} now answers ${event.name} with ${plural(event.addresses.length, 'address', 'addresses')}`,
        )
        return
      case 'broker-silent':
        this.add(
          `silent ${event.broker}`,
          timeUs,
          machine,
          event.broker,
          'notice',
          (thread) => `${verb(thread.who, 'calls', 'call')} ${event.broker} silent${until(thread)}`,
        )
        return
      case 'owner-found-silent':
        this.add(
          'owner silent',
          timeUs,
          machine,
          `${event.shard}`,
          'notice',
          (thread) => `${verb(thread.who, 'finds', 'find')} ${plural(thread.what.size, 'shard')} without an owner${until(thread)}`,
        )
        return
      case 'volume-attached':
        this.moved.add(event.volume)
        this.add(
          'attached',
          timeUs,
          machine,
          `${event.volume}`,
          'move',
          (thread) => `${verb(thread.who, 'takes', 'take')} over ${plural(thread.what.size, 'shard')}${until(thread)}`,
        )
        return
      case 'volume-lost':
        this.add(`volume lost ${event.reason}`, timeUs, machine, `${event.volume}`, 'notice', (thread) => {
          const shards = plural(thread.what.size, 'shard')
          if (event.reason === 'unreachable')
            return `${verb(thread.who, 'gives', 'give')} up ${shards}, out of reach of the copies${until(thread)}`
          const why = event.reason === 'destroyed' ? 'whose only copy has come back empty' : 'that moved away'
          return `${verb(thread.who, 'closes', 'close')} ${shards} ${why}${until(thread)}`
        })
        return
      case 'volume-health-changed': {
        const words = {
          whole: 'whole again',
          degraded: 'degraded: a majority of the copies is left',
          stopped: 'without a majority of its copies',
        }
        this.add(
          `health ${event.health}`,
          timeUs,
          machine,
          `${event.volume}`,
          event.health === 'whole' ? 'move' : 'notice',
          (thread) =>
            `${plural(thread.what.size, 'volume')} ${thread.what.size === 1 ? 'is' : 'are'} ${words[event.health]}${until(thread)}`,
        )
        return
      }
      case 'copy-health-changed':
        if (event.health !== 'slow') return
        this.add(
          `slow ${event.copy}`,
          timeUs,
          machine,
          `${event.volume}`,
          'trouble',
          (thread) =>
            `${verb(thread.who, 'finds', 'find')} the copy on ${event.copy} of ${plural(thread.what.size, 'volume')} slow${until(thread)}`,
        )
        return
      case 'volume-restored': {
        const takenUs = this.backupsTaken.get(`${event.volume}/${event.offset}`)
        const point = takenUs === undefined ? '' : ` of ${formatSeconds(takenUs)}`
        const text = `volume ${event.volume} goes back to its backup point${point} (offset ${event.offset}) on ${event.from}: what came after is lost`
        this.lines.push({ timeUs, tone: 'trouble', text })
        return
      }
      case 'backup-taken': {
        const key = `${event.volume}/${event.offset}`
        if (!this.backupsTaken.has(key)) this.backupsTaken.set(key, timeUs)
        return
      }
      case 'console-answered': {
        const said = event.outcome === 'unanswered' ? 'no console answers' : 'the console answers'
        const outcome = event.outcome === 'unanswered' ? '' : `: ${event.outcome}`
        this.lines.push({ timeUs, tone: 'notice', text: `${said} the operator's ${event.request}${outcome}, after ${event.tookMs} ms` })
        return
      }
      case 'client-kicked':
        this.lines.push({ timeUs, tone: 'client', text: `${event.clientId} is sent away by the console` })
        return
      case 'shard-handed-over':
        this.add(
          `handed over ${event.why}`,
          timeUs,
          machine,
          `${event.shard}`,
          'move',
          (thread) =>
            `${verb(thread.who, 'hands', 'hand')} ${plural(thread.what.size, 'shard')} over in order${event.why === 'stopping' ? ' and stops' : ', for a fair spread'}${until(thread)}`,
          PAUSE_US * 4,
        )
        return
      case 'copy-state-changed':
        this.copyChanged(timeUs, machine, event)
        return
      case 'copy-torn-tail-cut':
        this.add(
          `torn ${machine}`,
          timeUs,
          machine,
          `${event.volume}`,
          'trouble',
          (thread) => `${machine} cuts a torn tail from ${plural(thread.what.size, 'log')}`,
        )
        return
      case 'copy-refused':
        this.add(
          'copy refused',
          timeUs,
          machine,
          `${event.volume}`,
          'notice',
          (thread) => `${verb(thread.who, 'refuses', 'refuse')} ${plural(thread.count, 'request')} of a former owner${until(thread)}`,
        )
        return
      case 'routes-adopted':
        // A process that starts learns what is long known.
        if (!this.moved.has(event.shard)) return
        this.add(
          'routes',
          timeUs,
          machine,
          `${event.shard}`,
          'move',
          (thread) => `${verb(thread.who, 'learns', 'learn')} the new owners${until(thread)}`,
        )
        return
      case 'instance-lost':
        this.lines.push({
          timeUs,
          tone: 'notice',
          text: `${machine} calls ${event.instance} lost, silent for ${formatSeconds(event.silentMs * 1000)}`,
        })
        return
      case 'replacement-changed':
        this.lines.push({ timeUs, tone: 'move', text: replacementText(event.instance, event.zone, event.to) })
        return
      case 'address-moved':
        this.lines.push({ timeUs, tone: 'move', text: `the access address ${event.address} moves from ${event.from} to ${event.to}` })
        return
      case 'capacity-short':
        this.lines.push({ timeUs, tone: 'trouble', text: `no zone has room for ${plural(event.missing, 'replacement')} of lost proxies` })
        return
      case 'session-suspended':
        this.add(
          'suspended',
          timeUs,
          machine,
          event.clientId,
          'notice',
          (thread) =>
            `${plural(thread.what.size, 'client')} must wait: ${verb(thread.who, 'cannot reach the owner of its session', 'cannot reach the owners of their sessions')}`,
        )
        return
      case 'tls-handshake-done':
        this.handshakeDone(timeUs, machine, event)
        return
      case 'client-state-changed':
        this.clientChanged(timeUs, machine, event)
        return
      default:
        return
    }
  }

  private copyChanged(timeUs: number, machine: string, event: Extract<ServiceEvent, { kind: 'copy-state-changed' }>): void {
    const key = `${event.volume}/${event.copy}/${machine}`
    if (event.state === 'unreachable' && !this.copiesGone.has(key)) {
      this.copiesGone.add(key)
      this.add(
        `copy gone ${event.copy}`,
        timeUs,
        machine,
        `${event.volume}`,
        'trouble',
        (thread) => `${verb(thread.who, 'loses', 'lose')} the copy on ${event.copy} of ${plural(thread.what.size, 'volume')}`,
      )
    } else if (event.state === 'live' && this.copiesGone.delete(key)) {
      this.add(
        `copy back ${event.copy}`,
        timeUs,
        machine,
        `${event.volume}`,
        'move',
        (thread) => `the copy on ${event.copy} has caught up for ${plural(thread.what.size, 'volume')}${until(thread)}`,
      )
    }
  }

  private handshakeDone(timeUs: number, machine: string, event: Extract<ServiceEvent, { kind: 'tls-handshake-done' }>): void {
    let line = this.handshakeLines.get(machine)
    if (line === undefined) {
      line = { peak: 0, longestMs: 0 }
      this.handshakeLines.set(machine, line)
    }
    const { peak, longestMs } = line
    line.peak = Math.max(peak, event.waiting)
    line.longestMs = Math.max(longestMs, event.waitedMs)
    if (line.peak < HANDSHAKES_WORTH_TELLING) return
    const told = line
    const tell = (thread: Thread): string =>
      `up to ${plural(told.peak, 'TLS handshake')} wait at ${machine}, for up to ${formatSeconds(told.longestMs * 1000)}${until(thread)}`
    this.add(`handshakes ${machine}`, timeUs, machine, machine, 'trouble', tell, Number.POSITIVE_INFINITY)
  }

  private clientChanged(timeUs: number, machine: string, event: Extract<ServiceEvent, { kind: 'client-state-changed' }>): void {
    if (event.from === 'connected' && event.to !== 'stopped') {
      this.clientsOut.add(event.clientId)
      this.add(
        'clients out',
        timeUs,
        machine,
        event.clientId,
        'client',
        (thread) =>
          `${plural(thread.what.size, 'client')} ${thread.what.size === 1 ? 'loses its' : 'lose their'} connection${until(thread)}`,
        Number.POSITIVE_INFINITY,
      )
    } else if (event.to === 'connected' && this.clientsOut.delete(event.clientId) && this.phaseUs > 0) {
      const { phaseUs } = this
      const thread = this.add(
        'clients back',
        timeUs,
        machine,
        event.clientId,
        'client',
        ({ what, lastUs }) =>
          `the last of ${plural(what.size, 'client')} is connected again, ${formatSeconds(lastUs - phaseUs)} after the event`,
        Number.POSITIVE_INFINITY,
      )
      thread.placedAt = 'last'
    }
  }

  /** How many clients a fault takes with it, as far as proxies know. */
  private cost(fault: Fault): string {
    const clients = this.places.countOn((proxy) => strikes(fault, this.byName.get(proxy)!))
    return clients > 0 ? `, with ${plural(clients, 'client')} ${fault.kind === 'zone-outage' ? 'on a proxy in it' : 'on it'}` : ''
  }

  private add(
    key: string,
    timeUs: number,
    who: string,
    what: string,
    tone: StoryTone,
    tell: (thread: Thread) => string,
    pauseUs = PAUSE_US,
  ): Thread {
    let thread = this.threads.get(key)
    if (thread !== undefined && timeUs - thread.lastUs > pauseUs) {
      this.close(thread)
      thread = undefined
    }
    if (thread === undefined) {
      thread = { tone, firstUs: timeUs, lastUs: timeUs, who: new Set(), what: new Set(), count: 0, placedAt: 'first', tell }
      this.threads.set(key, thread)
    }
    thread.lastUs = timeUs
    thread.who.add(who)
    thread.what.add(what)
    thread.count++
    return thread
  }

  private close(thread: Thread): void {
    // How the region came up is not part of the story.
    if (this.phaseUs === 0) return
    this.lines.push({ timeUs: thread.placedAt === 'first' ? thread.firstUs : thread.lastUs, tone: thread.tone, text: thread.tell(thread) })
  }

  private beginPhase(timeUs: number): void {
    // Faults of one instant open one phase.
    if (timeUs === this.phaseUs) return
    this.endPhase()
    this.phaseUs = timeUs
  }

  private endPhase(): void {
    for (const thread of this.threads.values()) this.close(thread)
    this.threads = new Map()
    this.handshakeLines = new Map()
    this.moved.clear()
  }
}

function firstLine(text: string | undefined): string {
  return (text ?? 'no word').split('\n')[0]!
}

/** The story of a run. */
export function tellStory(history: readonly HistoryEntry[], machines: readonly MachineSpec[]): readonly StoryLine[] {
  const teller = new Teller(machines)
  for (const entry of history) teller.see(entry)
  return [...teller.end()].sort((a, b) => a.timeUs - b.timeUs)
}

function replacementText(instance: string, zone: string, to: Extract<ServiceEvent, { kind: 'replacement-changed' }>['to']): string {
  switch (to) {
    case 'starting':
      return `${instance} is started in ${zone}, in place of a lost proxy`
    case 'called-off':
      return `${instance} is needed no more, and not started`
    case 'in-service':
      return `${instance} is in service, and the load balancers are told`
    case 'draining':
      return `${instance} is needed no more: it gets nothing new, and is stopped later`
    case 'kept':
      return `${instance} is needed again, and stays`
    case 'stopped':
      return `${instance} is stopped, and stands by again`
  }
}
