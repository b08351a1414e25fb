/**
 * Everything that stands on the stage of a run: the region's machines, the clients' machines on the internet, and the auditor's, in a zone of its own
 * that no fault of the region reaches.
 */
import { planRegion, type RegionPlan, type RegionSpec } from '../model/region.ts'
import { defaultSettings, type ServiceSettings } from '../model/settings.ts'
import { INTERNET } from '../model/world.ts'
import type { Scenario } from './scenario.ts'
import type { Selectable } from './selector.ts'
import { accessRules } from './workload.ts'

const CLIENTS_PER_MACHINE = 100

/** A machine that stands for some of the clients. */
export interface ClientMachine extends Selectable {
  readonly address: string
  /** Publisher number of its first client. */
  readonly firstClient: number
  readonly count: number
  /** Which of the scenario's groups its clients belong to. */
  readonly group: number
}

export const auditorMachine = { name: 'auditor', zone: 'ops', role: 'auditor', address: '198.51.100.1' } as const

/** The machines of the clients: of one group each, so that every client of a machine is alike. */
export function clientMachines(scenario: Scenario): readonly ClientMachine[] {
  const machines: ClientMachine[] = []
  let firstClient = 0
  for (const [group, { count }] of scenario.clients.entries()) {
    for (let left = count; left > 0; left -= CLIENTS_PER_MACHINE) {
      const number = machines.length + 1
      const here = Math.min(left, CLIENTS_PER_MACHINE)
      const address = `203.0.${113 + (number >> 8)}.${number & 0xff}`
      machines.push({ name: `clients-${number}`, zone: INTERNET, role: 'client', address, firstClient, count: here, group })
      firstClient += here
    }
  }
  return machines
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

/** The service's settings: the defaults, and over them what the scenario sets. */
function settingsOf(scenario: Scenario): ServiceSettings {
  return overlay(defaultSettings, scenario.region.settings)
}

export function regionSpec(scenario: Scenario): RegionSpec {
  return { ...scenario.region, settings: settingsOf(scenario), access: accessRules(scenario) }
}

/** All that a selector can choose from. */
export function machinesOf(scenario: Scenario, plan: RegionPlan = planRegion(regionSpec(scenario))): readonly Selectable[] {
  return [...plan.machines, ...clientMachines(scenario), auditorMachine].map(({ name, zone, role }) => ({ name, zone, role }))
}
