/**
 * What the format cannot say about faults: whether the region has what a fault is for, whether it has time to work, and which of its fields go together. A sentence for each problem, at its key.
 */
import { machinesOf } from './cast.ts'
import { isLasting, OWN_FIELDS, type PlainFault, type ScenarioFault } from './fault-schema.ts'
import { listNames } from './fault-text.ts'
import { formatDuration } from './fields.ts'
import { didYouMean } from './nearest.ts'
import type { Scenario } from './scenario.ts'
import { type Selectable, type Selector, SelectorProblem, select } from './selector.ts'
import { endOfFaultsMs } from './timing.ts'

/** Faults that are for machines of one role. */
const ONLY_FOR: Readonly<Partial<Record<PlainFault['kind'], { readonly role: string; readonly words: string }>>> = {
  'address-change': { role: 'client', words: "clients' machines" },
  'nat-timeout': { role: 'client', words: "clients' machines" },
  'dns-silent': { role: 'dns', words: 'DNS servers' },
  'dns-stale': { role: 'dns', words: 'DNS servers' },
}

type Path = readonly (string | number)[]

interface FaultProblem {
  readonly path: Path
  readonly text: string
}

export function faultProblems(scenario: Scenario): readonly FaultProblem[] {
  const machines = machinesOf(scenario)
  const endMs = endOfFaultsMs(scenario)
  return scenario.faults.flatMap((fault, index) => {
    const members: readonly PlainFault[] = fault.kind === 'together' ? fault.faults : [fault]
    const problems = [
      ...members.flatMap((member, at) =>
        plainProblems(member, machines).map(({ path, text }) => ({
          path: fault.kind === 'together' ? ['faults', at, ...path] : path,
          text,
        })),
      ),
      ...scheduleProblems(fault, endMs),
    ]
    return problems.map(({ path, text }) => ({ path: ['faults', index, ...path], text }))
  })
}

function plainProblems(fault: PlainFault, machines: readonly Selectable[]): readonly FaultProblem[] {
  const problems: FaultProblem[] = []
  const zones = [...new Set(machines.filter((machine) => machine.standby !== true).map((machine) => machine.zone))].filter((zone) =>
    zone.startsWith('az'),
  )
  if ((fault.kind === 'zone-outage' || fault.kind === 'scale-out') && !zones.includes(fault.zone)) {
    const text = `the region has no zone ${fault.zone}. allowed: ${zones.join(', ')}${didYouMean(fault.zone, zones)}`
    problems.push({ path: ['zone'], text })
  }
  if (fault.kind === 'zone-outage') {
    for (const [field, form] of Object.entries(OWN_FIELDS) as [keyof typeof OWN_FIELDS, string][]) {
      if (fault[field] === undefined || fault.form === form) continue
      problems.push({ path: [field], text: `only the form ${form} has ${field}, and this outage has the form ${fault.form}` })
    }
  }
  for (const [field, selector] of selectorsOf(fault)) {
    let chosen: readonly string[]
    try {
      chosen = select(selector, machines, () => 0)
    } catch (error) {
      if (!(error instanceof SelectorProblem)) throw error
      problems.push({ path: [field], text: error.message })
      continue
    }
    const only = ONLY_FOR[fault.kind]
    if (only === undefined) continue
    const others = chosen.filter((name) => machines.find((machine) => machine.name === name)?.role !== only.role)
    if (others.length > 0) {
      const text = `${fault.kind} is for ${only.words}: ${listNames(others)} ${others.length === 1 ? 'is none' : 'are none'}. allowed: role ${only.role}`
      problems.push({ path: [field], text })
    }
  }
  return problems
}

function scheduleProblems(fault: ScenarioFault, endMs: number): readonly FaultProblem[] {
  const problems: FaultProblem[] = []
  if (fault.times !== undefined && fault.every === undefined) {
    problems.push({ path: ['times'], text: `how often it begins says nothing without how long after one another: give it "every: 10s"` })
  } else if (fault.every !== undefined && fault.times === undefined && endMs <= fault.at + fault.every) {
    const text = `the act of faults ends at ${formatDuration(endMs)}, before it would begin again: give it "times: 3", or the workload a duration`
    problems.push({ path: ['every'], text })
  }
  const forMs = 'for' in fault ? fault.for : undefined
  const needsTime =
    fault.kind === 'together'
      ? fault.faults.some((member) => isLasting(member) && !('for' in member && member.for !== undefined))
      : isLasting(fault)
  if (needsTime && forMs === undefined && endMs <= fault.at) {
    problems.push({ path: [], text: `this fault has no time to work: give it "for: 30s", or give the workload a duration` })
  }
  if (fault.kind === 'together' && forMs !== undefined) {
    fault.faults.forEach(({ after }, index) => {
      if (after >= forMs)
        problems.push({
          path: ['faults', index, 'after'],
          text: `its group is over after ${formatDuration(forMs)}, found ${formatDuration(after)}`,
        })
    })
  }
  return problems
}

/** The selectors of a fault with the keys they stand under. */
function selectorsOf(fault: PlainFault): readonly (readonly [string, Selector])[] {
  if ('machines' in fault) return [['machines', fault.machines]]
  if ('from' in fault) {
    return [
      ['from', fault.from],
      ['to', fault.to],
    ]
  }
  return []
}
