/** When the acts of a scenario's run end, as far as it says so by itself. */
import { machinesOf } from './cast.ts'
import { stepsMs } from './fault-plan.ts'
import type { PlainFault } from './fault-schema.ts'
import { AWAY_STAGGER_MS, type Scenario } from './scenario.ts'
import { SelectorProblem, select } from './selector.ts'

/** When the act of faults ends: every fault is over, all its steps are done, the last request to the console is made, and who was away is on the way back. */
export function endOfFaultsMs(scenario: Scenario): number {
  const { warmUp, duration } = scenario.workload
  let end = warmUp
  for (const { away } of scenario.clients) for (const period of away) end = Math.max(end, period.at + period.for + AWAY_STAGGER_MS)
  for (const { at } of scenario.console) end = Math.max(end, at)
  for (const fault of scenario.faults) {
    const lastAtMs = fault.at + ((fault.times ?? 1) - 1) * (fault.every ?? 0)
    const lastsMs = fault.kind === 'together' ? (fault.for ?? 0) : lengthMs(scenario, fault)
    end = Math.max(end, lastAtMs + lastsMs)
    if (fault.kind !== 'together') continue
    for (const member of fault.faults) {
      const memberMs = member.after + lengthMs(scenario, member)
      end = Math.max(end, lastAtMs + (fault.for === undefined ? memberMs : Math.min(memberMs, fault.for)))
    }
  }
  return duration === undefined ? end : Math.max(end, warmUp + duration)
}

function lengthMs(scenario: Scenario, fault: PlainFault): number {
  const given = 'for' in fault ? fault.for : undefined
  return given ?? stepsMs(fault, () => machineCount(scenario, fault))
}

/** How many machines a fault is for; none where its selector is wrong, which is told elsewhere. */
function machineCount(scenario: Scenario, fault: PlainFault): number {
  if (!('machines' in fault)) return 0
  try {
    return select(fault.machines, machinesOf(scenario), () => 0).length
  } catch (error) {
    if (error instanceof SelectorProblem) return 0
    throw error
  }
}
