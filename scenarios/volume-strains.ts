/**
 * What the faults of a run did to the volumes, in the words of the table in `model/volume/kinds.ts`, and so which violated promises volumes of that kind never made. It explains
 * a verdict and does not change it: who chose such volumes is to see what is lost.
 *
 * Errs on the large side: a fault that reaches machines with copies counts as long as it was in force, however short; what overlaps in time adds up.
 */
import { notPromised, placementOf, type VolumeKind, type VolumeStrain, volumeStrains } from '../model/volume/kinds.ts'
import type { Fault, MachineSpec } from '../model/world.ts'
import { strikes } from './facts.ts'

type Machine = Pick<MachineSpec, 'name' | 'zone' | 'role'>

/** Partial faults of a zone that leave its disks in reach of the brokers of other zones. */
const REACHABLE_FORMS: ReadonlySet<string> = new Set(['cut-from-internet', 'brown-out', 'control-plane'])
/** Kinds after which a machine says nothing, for as long as they are in force. */
const SILENCING: ReadonlySet<string> = new Set([
  'crash',
  'restart',
  'power-loss',
  'pause',
  'disk-stall',
  'disk-loss',
  'isolation',
  'grey',
  'scale-in',
])

/** Follows the faults of a run, and keeps every strain that any volume was under at any time. */
export class VolumeStrains {
  private readonly kind: VolumeKind
  private readonly volumes: number
  private readonly copies: readonly Machine[]
  private readonly brokers: readonly Machine[]
  private readonly active: Fault[] = []
  private readonly destroyed = new Set<string>()
  private readonly found = new Set<VolumeStrain>()

  constructor(kind: VolumeKind, volumes: number, machines: readonly Machine[]) {
    this.kind = kind
    this.volumes = volumes
    this.brokers = machines.filter(({ role }) => role === 'broker')
    this.copies = kind === 'replicated' ? this.brokers : machines.filter(({ role }) => role === 'volume')
  }

  onFault(fault: Fault, phase: 'applied' | 'healed'): void {
    if (phase === 'healed') {
      const at = this.active.indexOf(fault)
      if (at >= 0) this.active.splice(at, 1)
      return
    }
    this.active.push(fault)
    if (fault.kind === 'disk-loss') for (const name of fault.machines) this.destroyed.add(name)
    this.look()
    if (fault.kind === 'restart') this.active.splice(this.active.indexOf(fault), 1)
  }

  /** Why volumes of this kind do not keep a promise under what was done to them; undefined where they should have. */
  notPromised(promise: string): string | undefined {
    for (const strain of volumeStrains) {
      const line = this.found.has(strain) ? notPromised(this.kind, strain, promise) : undefined
      if (line !== undefined) return line
    }
    return undefined
  }

  private look(): void {
    const isSilent = (machine: Machine): boolean => this.active.some((fault) => silences(fault, machine))
    const silentBrokers = this.brokers.filter(isSilent).length
    if (silentBrokers > 0) this.found.add(silentBrokers === this.brokers.length ? 'all-brokers-lost' : 'broker-lost')
    const zones = this.copies.map(({ zone }) => zone)
    for (let volume = 0; volume < this.volumes; volume++) {
      const held = placementOf(this.kind, volume, zones).copies.map((index) => this.copies[index]!)
      const dark = held.filter(isSilent).length
      const destroyed = held.filter(({ name }) => this.destroyed.has(name)).length
      if (dark > 0) this.found.add(dark * 2 >= held.length ? 'majority-dark' : 'copy-dark')
      if (destroyed > 0) this.found.add(destroyed * 2 >= held.length ? 'majority-destroyed' : 'copy-destroyed')
    }
  }
}

function silences(fault: Fault, machine: Machine): boolean {
  if (fault.kind === 'zone-outage') return machine.zone === fault.zone && !REACHABLE_FORMS.has(fault.form)
  return SILENCING.has(fault.kind) && strikes(fault, machine)
}
