/** Numbers that tell how hard a run was hit, counted from its history: what the story tells in words. */
import type { ServiceEvent } from '../model/events.ts'
import type { Fault, HistoryEntry, MachineSpec, WorldEvent } from '../model/world.ts'

export interface RunFacts {
  /** Clients whose proxy, by the proxies' word, a fault struck; the sum over faults. */
  readonly clientsStruck: number
  /** Volumes attached anew after a fault: how often a shard moved. */
  readonly shardsMoved: number
  /** Copies of a volume that its owner lost sight of, each counted once. */
  readonly copiesLost: number
  readonly faults: number
}

/** Faults that no client of a machine need notice. */
const HARMLESS_KINDS: ReadonlySet<Fault['kind']> = new Set(['clock-jump', 'clock-drift', 'scale-out', 'fault-point'])

/** Whether a fault puts a machine out of order by itself. */
export function strikes(fault: Fault, machine: Pick<MachineSpec, 'name' | 'zone'>): boolean {
  if (HARMLESS_KINDS.has(fault.kind)) return false
  if (fault.kind === 'zone-outage') return machine.zone === fault.zone && fault.form !== 'control-plane'
  return 'machines' in fault && fault.machines.includes(machine.name)
}

/** Follows which proxy each client is connected to, by the proxies' word. */
export class ClientPlaces {
  private readonly proxyOf = new Map<string, string>()

  see(machine: string, event: ServiceEvent | WorldEvent): void {
    if (event.kind === 'client-connected') this.proxyOf.set(event.clientId, machine)
    else if (event.kind === 'client-closed' && this.proxyOf.get(event.clientId) === machine) this.proxyOf.delete(event.clientId)
  }

  countOn(isStruck: (proxy: string) => boolean): number {
    let count = 0
    for (const proxy of this.proxyOf.values()) if (isStruck(proxy)) count++
    return count
  }
}

export function gatherFacts(history: readonly HistoryEntry[], machines: readonly MachineSpec[]): RunFacts {
  const byName = new Map(machines.map((machine) => [machine.name, machine]))
  const places = new ClientPlaces()
  const copiesLost = new Set<string>()
  let clientsStruck = 0
  let shardsMoved = 0
  let faults = 0
  for (const { machine, event } of history) {
    const known = event as ServiceEvent | WorldEvent
    places.see(machine, known)
    if (known.kind === 'fault-applied') {
      faults++
      clientsStruck += places.countOn((proxy) => strikes(known.fault, byName.get(proxy)!))
    } else if (known.kind === 'volume-attached' && faults > 0) shardsMoved++
    else if (known.kind === 'copy-state-changed' && known.state === 'unreachable' && faults > 0)
      copiesLost.add(`${known.volume} ${known.copy}`)
  }
  return { clientsStruck, shardsMoved, copiesLost: copiesLost.size, faults }
}
