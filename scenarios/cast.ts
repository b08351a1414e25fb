/**
 * Everything that stands on the stage of a run: the region's machines, the clients' machines on the internet, and the auditor's, in a zone of its own
 * that no fault of the region reaches.
 */
import { loadBalancerProfiles } from '../model/cloud/profiles.ts'
import { planRegion, type RegionPlan, type RegionSpec } from '../model/region.ts'
import { serviceProfiles } from '../model/service-profiles.ts'
import { defaultSettings, type ServiceSettings } from '../model/settings.ts'
import { INTERNET } from '../model/world.ts'
import type { PlainFault } from './fault-schema.ts'
import type { Scenario } from './scenario.ts'
import type { Selectable } from './selector.ts'
import { accessRules } from './workload.ts'

const CLIENTS_PER_MACHINE = 100

/** By which the checks observe them. */
export const INTRUDER_ROLE = 'intruder'

/** Where clients stand that use the virtual network: near all zones, and in none of them. */
const VPC = 'vpc'

/** A machine that stands for some of the clients. */
export interface ClientMachine extends Selectable {
  readonly address: string
  /** Publisher number of its first client. */
  readonly firstClient: number
  readonly count: number
  /** Which of the scenario's groups its clients belong to. */
  readonly group: number
}

export const auditorMachine = { name: 'auditor', zone: 'ops', role: 'auditor', address: '10.255.0.1' } as const

/** Where messages pass their retention during the run: who looks meanwhile. */
export const oldestWatchMachine = { name: 'oldest-watch', zone: 'ops', role: 'auditor', address: '10.255.0.3' } as const

/** Where the operator stands who asks the console what a scenario says. */
export const operatorMachine = { name: 'operator', zone: 'ops', role: 'operator', address: '10.255.0.2' } as const

/** The machines of the clients: of one group each, so that every client of a machine is alike. */
export function clientMachines(scenario: Scenario): readonly ClientMachine[] {
  const machines: ClientMachine[] = []
  let firstClient = 0
  for (const [group, { count, access }] of scenario.clients.entries()) {
    for (let left = count; left > 0; left -= CLIENTS_PER_MACHINE) {
      const number = machines.length + 1
      const here = Math.min(left, CLIENTS_PER_MACHINE)
      const [zone, network] = access === 'vpc' ? [VPC, '172.16'] : [INTERNET, '203.0']
      const address = `${network}.${113 + (number >> 8)}.${number & 0xff}`
      machines.push({ name: `clients-${number}`, zone, role: 'client', address, firstClient, count: here, group })
      firstClient += here
    }
  }
  return machines
}

/** Machines of those who try to reach what clients may not. */
export function intruderMachines(scenario: Scenario) {
  return scenario.intruders.map(({ from, dials }, index) => ({
    name: `intruder-${index + 1}`,
    zone: from === 'vpc' ? VPC : INTERNET,
    role: INTRUDER_ROLE,
    address: `${from === 'vpc' ? '172.17.0' : '203.0.112'}.${index + 1}`,
    dials,
  }))
}

function overlay<T extends object>(defaults: T, given: { readonly [K in keyof T]?: unknown } | undefined): T {
  const result = { ...defaults }
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === undefined) continue
    const key = name as keyof T
    const isGroup = typeof value === 'object' && value !== null
    result[key] = (isGroup ? overlay(defaults[key] as object, value) : value) as T[keyof T]
  }
  return result
}

/** The service's settings: the defaults, over them the region's profile, that of its load balancers, and over these what the scenario sets. */
function settingsOf(scenario: Scenario): ServiceSettings {
  const { profile, loadBalancerProfile, settings } = scenario.region
  const ofProfiles = overlay(overlay(defaultSettings, serviceProfiles[profile]), {
    loadBalancer: loadBalancerProfiles[loadBalancerProfile],
  })
  const { backupInterval } = scenario.volumes
  const ofVolumes = backupInterval === undefined ? undefined : { volume: { backupIntervalMs: backupInterval } }
  return overlay(overlay(ofProfiles, settings), ofVolumes)
}

/** The machines that its faults add while it runs. */
function standbyOf(scenario: Scenario): RegionSpec['standby'] {
  return scenario.faults.flatMap((fault) => {
    const members: readonly PlainFault[] = fault.kind === 'together' ? fault.faults : [fault]
    const rounds = fault.every === undefined ? 1 : (fault.times ?? 1)
    return members.flatMap((member) =>
      member.kind === 'scale-out' ? Array.from({ length: member.count * rounds }, () => ({ role: member.role, zone: member.zone })) : [],
    )
  })
}

export function regionSpec(scenario: Scenario): RegionSpec {
  return {
    volumeKind: scenario.volumes.kind,
    ...scenario.region,
    settings: settingsOf(scenario),
    access: accessRules(scenario),
    standby: standbyOf(scenario),
  }
}

/** All that a selector can choose from. */
export function machinesOf(scenario: Scenario, plan: RegionPlan = planRegion(regionSpec(scenario))): readonly Selectable[] {
  const operators = scenario.console.length > 0 ? [operatorMachine] : []
  return [...plan.machines, ...clientMachines(scenario), ...intruderMachines(scenario), ...operators, auditorMachine].map(
    (machine: Selectable) => {
      const { name, zone, role, standby } = machine
      return standby === true ? { name, zone, role, standby } : { name, zone, role }
    },
  )
}
