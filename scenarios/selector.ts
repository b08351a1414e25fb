/**
 * Which machines a fault is for. In a scenario: `role broker`, `zone az2`, `machine broker-2` or just `broker-2`, joined as in `role broker in zone az2`,
 * `all` (every machine of the region), `2 of role broker` (that many, drawn by the run's seed); or the same as a map; or a list of these.
 */
import * as z from 'zod'
import { integer, strict } from './fields.ts'
import { didYouMean } from './nearest.ts'

/** Machines that a number may ask for. */
const MOST = 1000

export const selectorSchema = z
  .union([
    z.string(),
    strict({
      role: z.string().optional(),
      zone: z.string().optional(),
      machine: z.string().optional(),
      count: integer(1, MOST).optional(),
    }),
    z.array(z.string()).min(1, { error: 'a list of machines names at least one, found an empty list' }),
  ])
  .meta({
    id: 'selector',
    description: 'Machines: role broker | zone az2 | broker-2 | role broker in zone az2 | 2 of role broker | all; or a list.',
  })

export type Selector = z.output<typeof selectorSchema>

/** A machine as far as selecting it goes. */
export interface Selectable {
  readonly name: string
  readonly zone: string
  readonly role: string
  /** It is planned, and not switched on. */
  readonly standby?: boolean
}

/** Roles that faults reach only when they are named: they stand outside the region. */
const OUTSIDE = ['client', 'auditor', 'operator', 'intruder']

interface Criteria {
  role?: string
  zone?: string
  machine?: string
  count?: number
  all?: true
}

/** Something about a selector that no region could satisfy, in words. */
export class SelectorProblem extends Error {}

function parseText(text: string): Criteria {
  const criteria: Criteria = {}
  let words = text
    .trim()
    .split(/[\s:]+/)
    .filter((word) => word !== '' && word !== 'in')
  if (words.length > 2 && words[1] === 'of' && /^\d+$/.test(words[0]!)) {
    criteria.count = Number(words[0])
    if (criteria.count < 1 || criteria.count > MOST)
      throw new SelectorProblem(`"${text}": expected a whole number from 1 to ${MOST}, found ${words[0]}`)
    words = words.slice(2)
  }
  while (words.length > 0) {
    const [word, value] = words as [string, string | undefined]
    if ((word === 'role' || word === 'zone' || word === 'machine') && value !== undefined) {
      if (criteria[word] !== undefined) throw new SelectorProblem(`"${text}" names two of ${word}; use a list`)
      criteria[word] = value
      words = words.slice(2)
      continue
    }
    if (words.length === 1 && word === 'all') criteria.all = true
    else if (words.length === 1 && Object.keys(criteria).every((key) => key === 'count')) criteria.machine = word
    else {
      throw new SelectorProblem(
        `cannot read "${text}". allowed: role broker, zone az2, broker-2, role broker in zone az2, 2 of role broker, all`,
      )
    }
    break
  }
  return criteria
}

function unknown(what: string, value: string, known: readonly string[]): SelectorProblem {
  return new SelectorProblem(`the region has no ${what} ${value}. allowed: ${known.join(', ')}${didYouMean(value, known)}`)
}

function distinct(values: readonly string[]): readonly string[] {
  return [...new Set(values)]
}

function matchOne(
  text: string | Criteria,
  machines: readonly Selectable[],
  below: (bound: number) => number,
  isAlive: ((machine: string) => boolean) | undefined,
): readonly string[] {
  const criteria = typeof text === 'string' ? parseText(text) : text
  const zones = distinct(machines.map((machine) => machine.zone))
  const roles = distinct(machines.map((machine) => machine.role))
  const names = machines.map((machine) => machine.name)
  if (criteria.role !== undefined && !roles.includes(criteria.role)) throw unknown('role', criteria.role, roles)
  if (criteria.zone !== undefined && !zones.includes(criteria.zone)) {
    const meant = machines.filter(({ role }) => (criteria.role === undefined ? !OUTSIDE.includes(role) : role === criteria.role))
    throw unknown('zone', criteria.zone, distinct(meant.map(({ zone }) => zone)))
  }
  if (criteria.machine !== undefined && !names.includes(criteria.machine)) {
    const word = criteria.machine
    if (zones.includes(word)) throw new SelectorProblem(`${word} is a zone: write zone ${word}`)
    if (roles.includes(word)) throw new SelectorProblem(`${word} is a role: write role ${word}`)
    throw unknown('machine', word, names)
  }
  const named = criteria.role !== undefined || criteria.zone !== undefined || criteria.machine !== undefined
  const matching = machines
    .filter((machine) => criteria.zone === undefined || machine.zone === criteria.zone)
    .filter((machine) => criteria.role === undefined || machine.role === criteria.role)
    .filter((machine) => criteria.machine === undefined || machine.name === criteria.machine)
    .filter((machine) => named || !OUTSIDE.includes(machine.role))
  const words = typeof text === 'string' ? `"${text}"` : JSON.stringify(text)
  if (matching.length === 0) throw new SelectorProblem(`${words} matches no machine of the region. machines: ${names.join(', ')}`)
  if (criteria.count !== undefined && criteria.count > matching.length) {
    const found = matching.map((machine) => machine.name).join(', ')
    throw new SelectorProblem(`${words} asks for ${criteria.count} machines and only ${matching.length} match: ${found}`)
  }
  const inService = matching.filter((machine) => machine.standby !== true)
  const meant = (inService.length > 0 ? inService : matching).map((machine) => machine.name)
  const alive = isAlive === undefined ? meant : meant.filter(isAlive)
  if (criteria.count === undefined) return alive.length === 0 ? [] : meant
  const left = [...alive]
  const drawn: string[] = []
  while (drawn.length < criteria.count && left.length > 0) drawn.push(...left.splice(below(left.length), 1))
  return drawn.sort()
}

/**
 * The names of the machines that a selector stands for. `below(n)` draws an integer in [0, n).
 *
 * With `isAlive` a number is drawn from those alive, as many as there are; without a number it stands for all that match, where one of them at least is alive. None otherwise.
 * Machines that stand by are meant only where no others match.
 * @throws SelectorProblem when it can match nothing, whoever is alive.
 */
export function select(
  selector: Selector,
  machines: readonly Selectable[],
  below: (bound: number) => number,
  isAlive?: (machine: string) => boolean,
): readonly string[] {
  if (Array.isArray(selector)) return distinct(selector.flatMap((one) => matchOne(one, machines, below, isAlive)))
  return matchOne(selector as string | Criteria, machines, below, isAlive)
}
