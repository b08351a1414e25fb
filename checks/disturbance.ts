/**
 * Which faults are in force, and what they take away from a machine: whether a promise was due there and then depends on it.
 *
 * Errs on the lenient side: a machine that any fault touches counts as disturbed, even if the fault left it a way.
 */
import type { Fault, MachineSpec } from '../model/world.ts'
import { type Evidence, NEVER_BEFORE } from './promise.ts'

type Machine = Pick<MachineSpec, 'name' | 'zone' | 'role'>

/** What stands between a client and its messages. Name servers of the DNS and the auditor do not: a client that is served needs neither. */
const ROLES_ON_CLIENTS_WAY: ReadonlySet<string> = new Set(['client', 'load-balancer', 'proxy', 'broker', 'volume', 'nameserver'])

export class Disturbance {
  /** Every fault put in force or taken out, in order. */
  readonly story: Evidence[] = []
  private readonly machines: readonly Machine[]
  private readonly active: Fault[] = []
  /** Since when a machine has had no fault and a running process. */
  private readonly calmSince = new Map<string, number>()
  private readonly down = new Set<string>()
  /** When a fault on the clients' way within the region was last put in force or taken out, or a process there last started or ended. */
  changedAtUs = NEVER_BEFORE
  /** Such a fault is in force, or such a process is down. */
  isTroubled = false

  constructor(machines: readonly Machine[]) {
    this.machines = machines
  }

  onFault(fault: Fault, phase: 'applied' | 'healed', timeUs: number): void {
    this.story.push({ timeUs, text: phase === 'applied' ? describeFault(fault) : `over: ${describeFault(fault)}` })
    if (phase === 'applied') {
      if (fault.kind !== 'restart' && fault.kind !== 'connection-reset') this.active.push(fault)
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
    for (const machine of this.down) if (this.isOfRegion(machine)) this.isTroubled = true
  }

  private isOfRegion(name: string): boolean {
    const role = this.machine(name)?.role ?? ''
    return role !== 'client' && ROLES_ON_CLIENTS_WAY.has(role)
  }

  /** On the way of all clients, that is: not of those on one machine alone. */
  private isInRegion(fault: Fault): boolean {
    return fault.kind === 'zone-outage' || this.machines.some((machine) => this.isOfRegion(machine.name) && touches(fault, machine))
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
    return (
      this.down.has(machine.name) ||
      this.active.some((fault) => fault.kind !== 'partition' && fault.kind !== 'link' && touches(fault, machine))
    )
  }

  /** Whether it takes something away on a client's way to its messages: a fault elsewhere excuses nobody who is slow to serve clients. */
  isOnClientsWay(fault: Fault): boolean {
    return (
      fault.kind === 'zone-outage' || this.machines.some((machine) => ROLES_ON_CLIENTS_WAY.has(machine.role) && touches(fault, machine))
    )
  }

  calmSinceUs(machine: string): number {
    return this.calmSince.get(machine) ?? NEVER_BEFORE
  }

  /** Whether a client's machine is itself out of order, or cut from every way into the region. */
  isCutOff(machine: string): boolean {
    if (this.down.has(machine)) return true
    for (const fault of this.active) {
      if (fault.kind === 'crash' || fault.kind === 'power-loss' || fault.kind === 'pause') {
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

function touches(fault: Fault, machine: Machine): boolean {
  switch (fault.kind) {
    case 'zone-outage':
      return fault.zone === machine.zone
    case 'partition':
    case 'link':
    case 'connection-reset':
      return fault.from.includes(machine.name) || fault.to.includes(machine.name)
    // Wall clocks decide nothing, so that this excuses nobody.
    case 'clock-jump':
      return false
    default:
      return fault.machines.includes(machine.name)
  }
}

/** A fault in words. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case 'zone-outage':
      return fault.form === 'power' ? `zone ${fault.zone} lost power` : `zone ${fault.zone} was isolated`
    case 'partition':
      return `no packet ${fault.bothWays ? 'between' : 'from'} ${fault.from.join(', ')} ${fault.bothWays ? 'and' : 'to'} ${fault.to.join(', ')}`
    case 'link':
      return `slow or lossy link between ${fault.from.join(', ')} and ${fault.to.join(', ')}`
    case 'connection-reset':
      return `connections between ${fault.from.join(', ')} and ${fault.to.join(', ')} were reset`
    default:
      return `${fault.kind} of ${fault.machines.join(', ')}`
  }
}
