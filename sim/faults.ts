/**
 * Faults: what may break in the virtual world, put in force and taken out again.
 *
 * - Machines: a process crashes (its kernel answers for it), a machine loses power (nobody answers, unsynced writes are at risk), a process is paused
 *   (its kernel goes on buffering), or its work takes longer. A process is stopped in order, for good, or to start again as its next version; a machine that stood by is
 *   switched on. A zone outage by power is the power loss of every machine that stands in the zone at that moment, and a brown-out makes each of them slow.
 * - Links: nothing gets from one set of machines to another, one way or both; or later, or not always; or an RST on every connection between them. A zone is cut
 *   off at its border, from all or from some, one way or both; inside it all is well. A grey machine answers SYNs and passes nothing. Packets already on their way arrive.
 * - Disks: see disk.ts.
 * - Clocks: a wall clock jumps, for good, or drifts.
 * - Addresses: a machine gets another one, or stands behind a translator that forgets idle connections; either way connections go silent.
 * - Fault points: code takes its rarer branch.
 * Any number may be in force at once, on the same machine too: it is off while one of them holds it off, and so for the rest. Losses of several links rules on one
 * packet do not add up, delays do. Whether a service can be expected to withstand a combination is for scenarios to know.
 *
 * Never broken here: bytes on the way (TCP's checksums are believed), the order of a connection, monotonic clocks.
 */
import type { Fault, Heal, MachineSpec } from '../model/world.ts'
import type { History } from './history.ts'
import {
  degradedLinkRule,
  greyRule,
  isolatedMachinesRule,
  lossyDatagramRule,
  lossyMachinesRule,
  partitionRule,
  zoneBorderRule,
} from './link-rules.ts'
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
        return this.zoneOutage(fault, machines)
      case 'power-loss':
        return machines.map((machine) => machine.holdOff())
      case 'crash':
        return machines.map((machine) => machine.holdDown())
      case 'restart':
        for (const machine of machines) machine.restart()
        return []
      case 'pause':
        return machines.map((machine) => machine.holdPaused())
      case 'slow':
        return machines.map((machine) => machine.processor.slow(fault.factor))
      case 'upgrade':
        for (const machine of machines) machine.upgradeWithin(microseconds(fault.graceMs), microseconds(fault.downMs))
        return []
      case 'scale-in':
        for (const machine of machines) machine.stop(microseconds(fault.graceMs))
        return []
      case 'scale-out':
        for (const machine of machines) machine.commission()
        return []
      case 'datagram-loss':
        return [rules.add(lossyDatagramRule(this.indices(fault.from), this.indices(fault.to), fault.probability))]
      case 'isolation':
        return [rules.add(isolatedMachinesRule(indicesOf(machines), fault.direction))]
      case 'grey':
        return [rules.add(greyRule(indicesOf(machines)))]
      case 'partition':
        return [rules.add(partitionRule(this.indices(fault.from), this.indices(fault.to), fault.bothWays))]
      case 'link': {
        const addedUs = microseconds(fault.addedLatencyMs)
        return [rules.add(degradedLinkRule(this.indices(fault.from), this.indices(fault.to), addedUs, fault.lossProbability))]
      }
      case 'connection-reset':
        this.resetConnections(this.indices(fault.from), this.indices(fault.to))
        return []
      case 'sync-failure':
        return machines.map((machine) => machine.disk.failSyncs(fault.probability))
      case 'disk-stall':
        return machines.map((machine) => machine.disk.stall())
      case 'disk-slow':
        return machines.map((machine) => machine.disk.slow(fault.factor))
      case 'disk-full':
        return machines.map((machine) => machine.disk.fill())
      case 'lying-sync':
        return machines.map((machine) => machine.disk.lie(fault.probability))
      case 'misdirected-write':
        return machines.map((machine) => machine.disk.misdirectWrites(fault.probability))
      case 'bit-rot':
        for (const machine of machines) machine.disk.rot(fault.bits)
        return []
      case 'disk-loss':
        return machines.map((machine) => machine.loseDisk())
      case 'clock-jump':
        for (const machine of machines) machine.clock.jump(fault.byMs)
        return []
      case 'clock-drift':
        return machines.map((machine) => {
          machine.clock.driftBy(fault.partsPerMillion, machine.kernel.nowUs)
          return () => machine.clock.driftBy(-fault.partsPerMillion, machine.kernel.nowUs)
        })
      case 'address-change':
        for (const machine of machines) machine.changeAddress()
        return []
      case 'nat-timeout':
        return [rules.addNat({ machines: indicesOf(machines), afterUs: microseconds(fault.idleMs) })]
      case 'fault-point':
        return machines.map((machine) => machine.faultPoints.hold(fault.point, fault.probability))
    }
  }

  private zoneOutage(fault: Extract<Fault, { kind: 'zone-outage' }>, machines: readonly Machine[]): readonly Heal[] {
    const { rules } = this.network
    switch (fault.form) {
      case 'power':
        return machines.map((machine) => machine.holdOff())
      case 'control-plane': {
        const cut = machines.filter((machine) => fault.roles.includes(machine.spec.role))
        return [rules.add(isolatedMachinesRule(indicesOf(cut), 'both'))]
      }
      case 'brown-out':
        return [
          rules.add(lossyMachinesRule(indicesOf(machines), fault.lossProbability)),
          ...machines.flatMap((machine) => [machine.processor.slow(fault.slowdown), machine.disk.slow(fault.slowdown)]),
        ]
      default:
        return [rules.add(zoneBorderRule(fault.zone, fault.form))]
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
      case 'datagram-loss':
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

function indicesOf(machines: readonly Machine[]): ReadonlySet<number> {
  return new Set(machines.map((machine) => machine.index))
}

function microseconds(durationMs: number): number {
  return Math.round(durationMs * 1000)
}
