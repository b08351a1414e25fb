/**
 * Which faults are in force, and what they take away from a machine: whether a promise was due there and then depends on it.
 *
 * Errs on the lenient side: a machine that any fault touches counts as disturbed, even if the fault left it a way. Excused are no faults that nobody can feel (clocks, damage on
 * a disk, a machine added), and a machine that was taken out of service, or stands by, is out of order without troubling the region.
 */
import type { Fault, MachineSpec } from '../model/world.ts'
import { type Evidence, NEVER_BEFORE } from './promise.ts'

type Machine = Pick<MachineSpec, 'name' | 'zone' | 'role' | 'standby'>

/** What stands between a client and its messages. Name servers of the DNS and the auditor do not: a client that is served needs neither. */
const ROLES_ON_CLIENTS_WAY: ReadonlySet<string> = new Set(['client', 'load-balancer', 'proxy', 'broker', 'volume', 'nameserver'])

/** Over as soon as they happened; what they leave behind is told by processes that end and start. */
const INSTANT_KINDS: ReadonlySet<Fault['kind']> = new Set([
  'restart',
  'connection-reset',
  'clock-jump',
  'bit-rot',
  'address-change',
  'upgrade',
  'scale-in',
  'scale-out',
])

/** No machine can feel these: wall clocks decide nothing, damage is silent, and a machine that is added takes nothing away. */
const UNFELT: ReadonlySet<Fault['kind']> = new Set(['clock-jump', 'clock-drift', 'bit-rot', 'misdirected-write', 'lying-sync', 'scale-out'])

/** Whether a fault is over as soon as it happened: nothing is taken out again. */
export function isInstant(fault: Fault): boolean {
  return INSTANT_KINDS.has(fault.kind)
}

/** Faults on the way between machines, which leave each of them in order. */
const ON_THE_WAY: ReadonlySet<Fault['kind']> = new Set(['partition', 'link', 'datagram-loss', 'nat-timeout'])

export class Disturbance {
  /** Every fault put in force or taken out, in order. */
  readonly story: Evidence[] = []
  private readonly machines: readonly Machine[]
  private readonly active: Fault[] = []
  /** Since when a machine has had no fault and a running process. */
  private readonly calmSince = new Map<string, number>()
  private readonly down = new Set<string>()
  /** Of those, the ones that are meant to be: they stand by, or have been taken out of service. */
  private readonly outOfService = new Set<string>()
  /** When a fault on the clients' way within the region was last put in force or taken out, or a process there last started or ended. */
  changedAtUs = NEVER_BEFORE
  /** Such a fault is in force, or such a process is down. */
  isTroubled = false

  constructor(machines: readonly Machine[]) {
    this.machines = machines
    for (const { name, standby } of machines) {
      if (standby !== true) continue
      this.down.add(name)
      this.outOfService.add(name)
    }
  }

  onFault(fault: Fault, phase: 'applied' | 'healed', timeUs: number): void {
    this.story.push({ timeUs, text: phase === 'applied' ? describeFault(fault) : `over: ${describeFault(fault)}` })
    if (phase === 'applied') {
      if (!isInstant(fault)) this.active.push(fault)
      if (fault.kind === 'scale-in') for (const name of fault.machines) this.outOfService.add(name)
    } else {
      const at = this.active.indexOf(fault)
      const same = at >= 0 ? at : this.active.findIndex((each) => JSON.stringify(each) === JSON.stringify(fault))
      if (same >= 0) this.active.splice(same, 1)
    }
    for (const machine of this.machines) if (touches(fault, machine)) this.calmSince.set(machine.name, timeUs)
    if (this.isInRegion(fault)) this.changed(timeUs)
  }

  onProcessStarted(machine: string, timeUs: number): void {
    const wasDown = this.down.delete(machine)
    this.outOfService.delete(machine)
    this.calmSince.set(machine, timeUs)
    if (wasDown && this.isOfRegion(machine)) this.changed(timeUs)
  }

  onProcessEnded(machine: string, timeUs: number): void {
    this.down.add(machine)
    this.calmSince.set(machine, timeUs)
    if (this.isOfRegion(machine)) this.changed(timeUs)
  }

  private changed(timeUs: number): void {
    this.changedAtUs = timeUs
    this.isTroubled = this.active.some((fault) => this.isInRegion(fault))
    for (const machine of this.down) if (this.isOfRegion(machine) && !this.outOfService.has(machine)) this.isTroubled = true
  }

  private isOfRegion(name: string): boolean {
    const role = this.machine(name)?.role ?? ''
    return role !== 'client' && ROLES_ON_CLIENTS_WAY.has(role)
  }

  /** On the way of all clients, that is: not of those on one machine alone. */
  private isInRegion(fault: Fault): boolean {
    return takesZone(fault) || this.machines.some((machine) => this.isOfRegion(machine.name) && touches(fault, machine))
  }

  machine(name: string): Machine | undefined {
    return this.machines.find((machine) => machine.name === name)
  }

  withRole(role: string): readonly Machine[] {
    return this.machines.filter((machine) => machine.role === role)
  }

  isDisturbed(machine: Machine): boolean {
    return this.down.has(machine.name) || this.active.some((fault) => touches(fault, machine))
  }

  /** Whether it is out of order by itself, whomever it speaks with: faults on the way to single others do not count. */
  isOutOfOrder(machine: Machine): boolean {
    return this.down.has(machine.name) || this.active.some((fault) => !ON_THE_WAY.has(fault.kind) && touches(fault, machine))
  }

  /** Whether it takes something away on a client's way to its messages: a fault elsewhere excuses nobody who is slow to serve clients. */
  isOnClientsWay(fault: Fault): boolean {
    return takesZone(fault) || this.machines.some((machine) => ROLES_ON_CLIENTS_WAY.has(machine.role) && touches(fault, machine))
  }

  calmSinceUs(machine: string): number {
    return this.calmSince.get(machine) ?? NEVER_BEFORE
  }

  /** Whether a client's machine is itself out of order, or cut from every way into the region. */
  isCutOff(machine: string): boolean {
    if (this.down.has(machine)) return true
    for (const fault of this.active) {
      if (SILENCING.has(fault.kind) && 'machines' in fault) {
        if (fault.machines.includes(machine)) return true
      } else if (fault.kind === 'partition' || (fault.kind === 'link' && fault.lossProbability >= 0.5)) {
        if (fault.from.includes(machine) && this.coversEntrance(fault.to)) return true
        if (fault.to.includes(machine) && this.coversEntrance(fault.from)) return true
      }
    }
    return false
  }

  /** The last faults before a time, as evidence. */
  before(timeUs: number, count = 3): readonly Evidence[] {
    return this.story.filter((each) => each.timeUs <= timeUs).slice(-count)
  }

  private coversEntrance(names: readonly string[]): boolean {
    const balancers = this.withRole('load-balancer')
    const entrance = balancers.length > 0 ? balancers : this.withRole('proxy')
    return entrance.every((machine) => names.includes(machine.name))
  }
}

/** A client's machine with such a fault gets no service, whatever the region does. */
const SILENCING: ReadonlySet<Fault['kind']> = new Set(['crash', 'power-loss', 'pause', 'isolation', 'grey', 'disk-loss'])

/** Whether a fault takes something of all machines of a zone. */
function takesZone(fault: Fault): boolean {
  return fault.kind === 'zone-outage' && fault.form !== 'control-plane'
}

function touches(fault: Fault, machine: Machine): boolean {
  if (UNFELT.has(fault.kind)) return false
  if (fault.kind === 'zone-outage') {
    return fault.zone === machine.zone && (fault.form !== 'control-plane' || fault.roles.includes(machine.role))
  }
  if ('from' in fault) return fault.from.includes(machine.name) || fault.to.includes(machine.name)
  return fault.machines.includes(machine.name)
}

const OUTAGES: Readonly<Record<Extract<Fault, { kind: 'zone-outage' }>['form'], string>> = {
  power: 'lost power',
  isolated: 'was isolated',
  'cut-from-zones': 'was cut off from the other zones',
  'cut-from-internet': 'was cut off from the internet',
  'nothing-in': 'got no packet',
  'nothing-out': 'got no packet out',
  'control-plane': 'lost its control plane',
  'brown-out': 'became slow',
}

/** A fault in words. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case 'zone-outage':
      return `zone ${fault.zone} ${OUTAGES[fault.form]}`
    case 'partition':
      return `no packet ${fault.bothWays ? 'between' : 'from'} ${fault.from.join(', ')} ${fault.bothWays ? 'and' : 'to'} ${fault.to.join(', ')}`
    case 'link':
      return `slow or lossy link between ${fault.from.join(', ')} and ${fault.to.join(', ')}`
    case 'connection-reset':
      return `connections between ${fault.from.join(', ')} and ${fault.to.join(', ')} were reset`
    case 'datagram-loss':
      return `loss of datagrams between ${fault.from.join(', ')} and ${fault.to.join(', ')}`
    default:
      return `${fault.kind} of ${fault.machines.join(', ')}`
  }
}
