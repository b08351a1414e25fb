/**
 * From the faults of a scenario to those that a World takes: when each of them fires, on which machines, and what it comes to.
 *
 * Machines are chosen when a fault fires: a selector with a number draws among those that run. Draws come from the run's seed, the fault's place in the scenario, and how often it fired before:
 * no fault moves another one's. A fault on processes that finds none running is not put in force, and says so; nor is a loss of power that finds no
 * machine on, with a process or without. Faults on links, disks and clocks strike machines that are off, too.
 * Some faults are several of the world's, one after the other: a gradual outage, a rolling upgrade, the loss of a zone's control plane.
 */
import seedrandom from 'seedrandom'
import type { FaultPoint } from '../model/fault-points.ts'
import type { Fault } from '../model/world.ts'
import { BROWN_OUT, GRADUAL_OVER_MS, type PlainFault, type ScenarioFault } from './fault-schema.ts'
import { type Selectable, type Selector, select } from './selector.ts'

/** One time at which a fault begins. */
export interface Firing {
  readonly planned: PlainFault
  readonly atMs: number
  /** When it is taken out again. */
  readonly endMs: number
  /** Names its draws. */
  readonly key: string
}

/** One of the world's faults, so long after the firing. */
export interface TimedFault {
  readonly afterMs: number
  readonly fault: Fault
}

/** Nobody was there to be struck. */
export interface Nobody {
  readonly kind: Fault['kind']
  readonly wanted: string
}

/** What a fault may choose from, at the moment when it fires. */
export interface Stage {
  readonly machines: readonly Selectable[]
  readonly seed: number
  isRunning(machine: string): boolean
  /** It has power, whatever has become of its process. */
  isOn(machine: string): boolean
}

/** Roles of the control plane in a zone; its DNS servers go on answering, by what they knew last. */
const CONTROL_PLANE: readonly string[] = ['nameserver', 'console', 'instance-group']
/** The fault point of a DNS server (`model/cloud/dns-server.ts`) that keeps its answers as they are. */
const STALE_ANSWERS: FaultPoint = 'dns-health-checks-stand-still'

/** Every firing of the faults within the act of faults, in the order of the scenario. */
export function firingsOf(faults: readonly ScenarioFault[], endOfFaultsMs: number): readonly Firing[] {
  return faults.flatMap((fault, index) => {
    const firings: Firing[] = []
    const times = fault.every === undefined ? 1 : (fault.times ?? Number.POSITIVE_INFINITY)
    for (let round = 0; round < times; round++) {
      const atMs = fault.at + round * (fault.every ?? 0)
      // Once it happens whenever it was asked for; again only while there is somebody to see it.
      if (round > 0 && atMs >= endOfFaultsMs) break
      const key = round === 0 ? `${index}` : `${index} ${round}`
      const endMs = endOf(fault, atMs, endOfFaultsMs)
      if (fault.kind !== 'together') firings.push({ planned: fault, atMs, endMs, key })
      else {
        fault.faults.forEach((planned, member) => {
          const memberAtMs = atMs + planned.after
          firings.push({ planned, atMs: memberAtMs, endMs: endOf(planned, memberAtMs, endMs), key: `${key}.${member}` })
        })
      }
    }
    return firings
  })
}

function endOf(fault: { readonly for?: number | undefined } | object, atMs: number, latestMs: number): number {
  const lastingMs = 'for' in fault ? fault.for : undefined
  return Math.max(atMs, lastingMs === undefined ? latestMs : Math.min(latestMs, atMs + lastingMs))
}

/** From the first of a fault's steps to the last, given how many machines it is for. */
export function stepsMs(fault: PlainFault, machineCount: () => number): number {
  switch (fault.kind) {
    case 'zone-outage':
      return fault.form === 'gradual' ? (fault.over ?? GRADUAL_OVER_MS) : 0
    case 'rolling-upgrade':
      return machineCount() * (fault.grace + fault.startUp + fault.pause)
    case 'scale-in':
      return fault.grace
    default:
      return 0
  }
}

/** What a firing comes to now. */
export function whatFires({ planned, key }: Firing, stage: Stage): readonly TimedFault[] | Nobody {
  const draw = seedrandom.alea(`${stage.seed} fault ${key}`)
  return new Chooser(stage, (bound) => Math.floor(draw() * bound)).faultsOf(planned)
}

class Chooser {
  private readonly stage: Stage
  private readonly below: (bound: number) => number

  constructor(stage: Stage, below: (bound: number) => number) {
    this.stage = stage
    this.below = below
  }

  faultsOf(planned: PlainFault): readonly TimedFault[] | Nobody {
    switch (planned.kind) {
      case 'zone-outage':
        return this.zoneOutage(planned)
      case 'crash':
      case 'restart':
      case 'pause':
      case 'address-change':
        return this.onProcesses(planned.machines, (machines) => ({ kind: planned.kind, machines }))
      case 'power-loss':
        return this.onMachines(
          planned.machines,
          (name) => this.stage.isOn(name),
          (machines) => ({ kind: 'power-loss', machines }),
        )
      case 'slow':
        return this.onProcesses(planned.machines, (machines) => ({ kind: 'slow', machines, factor: planned.factor }))
      case 'scale-in':
        return this.onProcesses(planned.machines, (machines) => ({ kind: 'scale-in', machines, graceMs: planned.grace }))
      case 'rolling-upgrade': {
        const found = this.onProcesses(planned.machines, (machines) => ({
          kind: 'upgrade',
          machines,
          graceMs: planned.grace,
          downMs: planned.startUp,
        }))
        return 'wanted' in found ? found : oneByOne(found[0]!.fault, planned.grace + planned.startUp + planned.pause)
      }
      case 'scale-out': {
        const { role, zone, count } = planned
        const free = this.stage.machines.filter(
          (machine) => machine.standby === true && machine.role === role && machine.zone === zone && !this.stage.isRunning(machine.name),
        )
        const machines = free.slice(0, count).map(({ name }) => name)
        return machines.length === 0 ? { kind: 'scale-out', wanted: `role ${role} in zone ${zone}` } : once({ kind: 'scale-out', machines })
      }
      case 'partition':
        return once({ ...this.ends(planned), kind: 'partition', bothWays: planned.bothWays })
      case 'link':
        return once({ ...this.ends(planned), kind: 'link', addedLatencyMs: planned.addedLatency, lossProbability: planned.loss })
      case 'datagram-loss':
        return once({ ...this.ends(planned), kind: 'datagram-loss', probability: planned.loss })
      case 'connection-reset':
        return once({ ...this.ends(planned), kind: 'connection-reset' })
      case 'isolation':
        return once({ kind: 'isolation', machines: this.pick(planned.machines), direction: planned.direction })
      case 'dns-silent':
        return once({ kind: 'isolation', machines: this.pick(planned.machines), direction: 'both' })
      case 'dns-stale':
        return once({ kind: 'fault-point', machines: this.pick(planned.machines), point: STALE_ANSWERS, probability: 1 })
      case 'fault-point': {
        const { point, probability } = planned
        return once({ kind: 'fault-point', machines: this.pick(planned.machines), point, probability })
      }
      case 'grey':
      case 'disk-stall':
      case 'disk-full':
      case 'disk-loss':
        return once({ kind: planned.kind, machines: this.pick(planned.machines) })
      case 'disk-slow':
        return once({ kind: 'disk-slow', machines: this.pick(planned.machines), factor: planned.factor })
      case 'sync-failure':
      case 'lying-sync':
      case 'misdirected-write':
        return once({ kind: planned.kind, machines: this.pick(planned.machines), probability: planned.probability })
      case 'bit-rot':
        return once({ kind: 'bit-rot', machines: this.pick(planned.machines), bits: planned.bits })
      case 'clock-jump':
        return once({ kind: 'clock-jump', machines: this.pick(planned.machines), byMs: planned.by })
      case 'clock-drift':
        return once({ kind: 'clock-drift', machines: this.pick(planned.machines), partsPerMillion: planned.partsPerMillion })
      case 'nat-timeout':
        return once({ kind: 'nat-timeout', machines: this.pick(planned.machines), idleMs: planned.idle })
    }
  }

  private zoneOutage(planned: Extract<PlainFault, { kind: 'zone-outage' }>): readonly TimedFault[] | Nobody {
    const { zone, form } = planned
    const inZone = this.stage.machines.filter((machine) => machine.zone === zone)
    switch (form) {
      case 'control-plane': {
        const servers = inZone.filter(({ role }) => role === 'dns').map(({ name }) => name)
        return [
          ...once({ kind: 'zone-outage', zone, form, roles: CONTROL_PLANE }),
          ...(servers.length === 0 ? [] : once({ kind: 'fault-point', machines: servers, point: STALE_ANSWERS, probability: 1 })),
        ]
      }
      case 'brown-out': {
        const { slowdown = BROWN_OUT.slowdown, loss = BROWN_OUT.loss } = planned
        return once({ kind: 'zone-outage', zone, form, slowdown, lossProbability: loss })
      }
      case 'gradual': {
        const on = inZone.filter(({ name }) => this.stage.isOn(name)).map(({ name }) => name)
        if (on.length === 0) return { kind: 'power-loss', wanted: `zone ${zone}` }
        const machines: string[] = []
        while (on.length > 0) machines.push(...on.splice(this.below(on.length), 1))
        return oneByOne({ kind: 'power-loss', machines }, (planned.over ?? GRADUAL_OVER_MS) / Math.max(1, machines.length - 1))
      }
      default:
        return once({ kind: 'zone-outage', zone, form })
    }
  }

  private ends(planned: { readonly from: Selector; readonly to: Selector }): {
    readonly from: readonly string[]
    readonly to: readonly string[]
  } {
    return { from: this.pick(planned.from), to: this.pick(planned.to) }
  }

  private pick(selector: Selector): readonly string[] {
    return select(selector, this.machines(), this.below)
  }

  /** Who was switched on stands by no more. */
  private machines(): readonly Selectable[] {
    return this.stage.machines.map((machine) => {
      const { name, zone, role, standby } = machine
      return standby === true && this.stage.isRunning(name) ? { name, zone, role } : machine
    })
  }

  private onProcesses<F extends Extract<Fault, { machines: readonly string[] }>>(
    selector: Selector,
    faultOn: (machines: readonly string[]) => F,
  ): readonly TimedFault[] | Nobody {
    return this.onMachines(selector, (name) => this.stage.isRunning(name), faultOn)
  }

  private onMachines<F extends Extract<Fault, { machines: readonly string[] }>>(
    selector: Selector,
    isThere: (machine: string) => boolean,
    faultOn: (machines: readonly string[]) => F,
  ): readonly TimedFault[] | Nobody {
    const machines = select(selector, this.machines(), this.below, isThere)
    const fault = faultOn(machines)
    return machines.length === 0 ? { kind: fault.kind, wanted: wordsOf(selector) } : once(fault)
  }
}

function once(fault: Fault): readonly TimedFault[] {
  return [{ afterMs: 0, fault }]
}

function oneByOne(fault: Fault, everyMs: number): readonly TimedFault[] {
  if (!('machines' in fault)) return once(fault)
  return fault.machines.map((machine, index) => ({ afterMs: Math.round(index * everyMs), fault: { ...fault, machines: [machine] } }))
}

function wordsOf(selector: Selector): string {
  if (typeof selector === 'string') return selector
  if (Array.isArray(selector)) return selector.join(', ')
  const { role, zone, machine, count } = selector
  const named = [
    ...(machine === undefined ? [] : [machine]),
    ...(role === undefined ? [] : [`role ${role}`]),
    ...(zone === undefined ? [] : [`zone ${zone}`]),
  ].join(' in ')
  return count === undefined ? named : `${count} of ${named}`
}
