/**
 * Faults: what may break in the virtual world, put in force and taken out again.
 *
 * - Machines: a process crashes (its kernel answers for it), a machine loses power (nobody answers, unsynced writes are at risk), a process is paused
 *   (its kernel goes on buffering). A zone outage by power is the power loss of every machine that stands in the zone at that moment.
 * - Links: nothing gets from one set of machines to another, one way or both; or later, or not always; or an RST on every connection between them. An
 *   isolated zone is cut off at its border, inside it all is well. Packets already on their way arrive.
 * - Disks: syncs fail, or do not come back.
 * - Clocks: a wall clock jumps, for good.
 * Any number may be in force at once, on the same machine too: it is off while one of them holds it off, and so for the rest. Losses of several links rules on one
 * packet do not add up, delays do. Whether a service can be expected to withstand a combination is for scenarios to know.
 *
 * Never broken here: bytes on the way (TCP's checksums are believed), the order of a connection, monotonic clocks, durable bytes.
 */
import type { Fault, Heal, MachineSpec } from '../model/world.ts'
import type { History } from './history.ts'
import { degradedLinkRule, isolatedZoneRule, partitionRule } from './link-rules.ts'
import type { Machine } from './machine.ts'
import type { Network } from './network.ts'
import { DirectRoute } from './route.ts'

export class Faults {
  private readonly machines: ReadonlyMap<string, Machine>
  private readonly network: Network
  private readonly history: History

  constructor(machines: ReadonlyMap<string, Machine>, network: Network, history: History) {
    this.machines = machines
    this.network = network
    this.history = history
  }

  apply(fault: Fault): Heal {
    const machines = this.machinesOf(fault)
    this.history.fault(fault, 'applied')
    const heals = this.putInForce(fault, machines)
    let isHealed = false
    return () => {
      if (isHealed) return
      isHealed = true
      this.history.fault(fault, 'healed')
      for (const heal of heals) heal()
    }
  }

  private putInForce(fault: Fault, machines: readonly Machine[]): readonly Heal[] {
    const { rules } = this.network
    switch (fault.kind) {
      case 'zone-outage':
        if (fault.form === 'isolated') return [rules.add(isolatedZoneRule(fault.zone))]
        return machines.map((machine) => machine.holdOff())
      case 'power-loss':
        return machines.map((machine) => machine.holdOff())
      case 'crash':
        return machines.map((machine) => machine.holdDown())
      case 'restart':
        for (const machine of machines) machine.restart()
        return []
      case 'pause':
        return machines.map((machine) => machine.holdPaused())
      case 'partition':
        return [rules.add(partitionRule(this.indices(fault.from), this.indices(fault.to), fault.bothWays))]
      case 'link': {
        const addedUs = Math.round(fault.addedLatencyMs * 1000)
        return [rules.add(degradedLinkRule(this.indices(fault.from), this.indices(fault.to), addedUs, fault.lossProbability))]
      }
      case 'connection-reset':
        this.resetConnections(this.indices(fault.from), this.indices(fault.to))
        return []
      case 'sync-failure':
        return machines.map((machine) => machine.disk.failSyncs(fault.probability))
      case 'disk-stall':
        return machines.map((machine) => machine.disk.stall())
      case 'clock-jump':
        for (const machine of machines) machine.clock.jump(fault.byMs)
        return []
    }
  }

  /** Every machine that a fault names or covers; one that is named and does not exist is an error of the caller. */
  private machinesOf(fault: Fault): readonly Machine[] {
    switch (fault.kind) {
      case 'zone-outage': {
        const inZone = [...this.machines.values()].filter((machine) => machine.zone === fault.zone)
        if (inZone.length === 0) throw new Error(`no machine stands in the zone '${fault.zone}'`)
        return inZone
      }
      case 'partition':
      case 'link':
      case 'connection-reset':
        return [...fault.from, ...fault.to].map((name) => this.machine(name))
      default:
        return fault.machines.map((name) => this.machine(name))
    }
  }

  private machine(name: MachineSpec['name']): Machine {
    const machine = this.machines.get(name)
    if (machine === undefined) throw new Error(`there is no machine '${name}'`)
    return machine
  }

  private indices(names: readonly string[]): ReadonlySet<number> {
    return new Set(names.map((name) => this.machine(name).index))
  }

  private resetConnections(from: ReadonlySet<number>, to: ReadonlySet<number>): void {
    const concerns = (a: Machine, b: Machine) => (from.has(a.index) && to.has(b.index)) || (from.has(b.index) && to.has(a.index))
    for (const machine of this.machines.values()) {
      for (const joint of machine.joints) if (joint.legs().some(([a, b]) => concerns(a, b))) joint.injectReset()
      for (const end of machine.connections.all()) {
        const { peer } = end
        if (peer !== undefined && end.route instanceof DirectRoute && concerns(machine, peer.machine)) end.injectReset()
      }
    }
  }
}
