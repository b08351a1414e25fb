/**
 * From a file's text to a scenario, or to errors that a person can act on: file, line and column, what is wrong, what is allowed, the line itself.
 * Every problem of a file is told at once. What a command line sets (`--set path=value`) goes through the same schema and is named in its errors.
 */
import { type Document, isMap, isNode, isPair, isSeq, LineCounter, type Node, parseDocument, parse as parseYaml } from 'yaml'
import type * as z from 'zod'
import { standsAfterMs } from '../model/service-profiles.ts'
import { faultProblems } from './fault-rules.ts'
import { groupProblems } from './group-rules.ts'
import { type Scenario, scenarioSchema } from './scenario.ts'

/** What is wrong with a scenario, a text for each problem. */
export class ScenarioProblem extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.problems = problems
  }
}

export interface LoadOptions {
  /** As errors shall name it. */
  readonly file: string
  readonly name: string
  /** `path=value`, such as `clients.0.count=500`. */
  readonly set?: readonly string[]
}

type Path = readonly (string | number)[]

interface Problem {
  readonly path: Path
  /** The problem is this key of the map at `path`, not its value. */
  readonly key?: string
  readonly text: string
}

interface Assignment {
  readonly text: string
  readonly path: Path
}

/** @throws ScenarioProblem */
export function loadScenario(text: string, options: LoadOptions): Scenario {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const report = (problems: readonly Problem[], assignments: readonly Assignment[]): ScenarioProblem =>
    new ScenarioProblem(problems.map((problem) => locate(problem, document, lines, text, options.file, assignments)))
  if (document.errors.length > 0) {
    throw new ScenarioProblem(
      document.errors.map((error) => at(error.pos[0], lines, text, options.file, `not readable as YAML: ${plain(error.message)}`)),
    )
  }
  const assignments: Assignment[] = []
  let data: unknown = document.toJS({ maxAliasCount: 100 })
  for (const assignment of options.set ?? []) data = assign(data, assignment, assignments)

  const parsed = scenarioSchema.safeParse(data)
  if (!parsed.success) throw report(withoutEchoes(parsed.error.issues.flatMap(problemsOf)), assignments)
  const written: Scenario = { ...parsed.data, name: options.name }
  const scenario = onceItStands(written)
  const problems = [...groupProblems(written), ...faultProblems(written)]
  if (problems.length > 0) throw report(problems, assignments)
  return scenario
}

/** A region that takes its time to stand is given it, and everything in the scenario comes so much later. */
function onceItStands(scenario: Scenario): Scenario {
  const laterMs = standsAfterMs[scenario.region.profile]
  if (laterMs === 0) return scenario
  return {
    ...scenario,
    workload: { ...scenario.workload, warmUp: scenario.workload.warmUp + laterMs },
    faults: scenario.faults.map((fault) => ({ ...fault, at: fault.at + laterMs })),
    clients: scenario.clients.map((group) => ({ ...group, away: group.away.map((period) => ({ ...period, at: period.at + laterMs })) })),
  }
}

/** A key that was misspelt is not missing as well. Misspelt keys come first: they explain most. */
function withoutEchoes(problems: readonly Problem[]): readonly Problem[] {
  const misspelt = problems.filter((problem) => problem.key !== undefined)
  const rest = problems.filter(
    ({ path, key }) =>
      key === undefined &&
      !misspelt.some(
        (other) => other.path.join('.') === path.slice(0, -1).join('.') && other.text.endsWith(` Did you mean ${path.at(-1)}?`),
      ),
  )
  return [...misspelt, ...rest]
}

function plain(message: string): string {
  return message.replace(/\s+/g, ' ').replace(/^(.)/, (first) => first.toLowerCase())
}

function problemsOf(issue: z.core.$ZodIssue): readonly Problem[] {
  const path = issue.path as Path
  if (issue.code === 'unrecognized_keys') {
    // One message holds a sentence for each unknown key, in their order.
    const sentences = issue.message.split('; ')
    return issue.keys.map((key, index) => ({ path, key, text: sentences[index] ?? issue.message }))
  }
  if (issue.code === 'invalid_key')
    return [{ path: path.slice(0, -1), key: String(path.at(-1)), text: issue.issues.map((inner) => inner.message).join('; ') }]
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    if (issue.message !== 'Invalid input') return [{ path, text: issue.message }]
    // The alternative that was meant is the one that got furthest before it failed, and of those the one with the least against it.
    const depth = (issues: readonly z.core.$ZodIssue[]): number =>
      Math.max(...issues.map((inner) => inner.path.length + (inner.code === 'invalid_type' || inner.code === 'invalid_value' ? 0 : 1)))
    const furthest = Math.max(...issue.errors.map(depth))
    const meant = issue.errors.filter((issues) => depth(issues) === furthest).sort((a, b) => a.length - b.length)
    if (furthest > 0)
      return meant[0]!.flatMap((inner) => problemsOf({ ...inner, path: [...issue.path, ...inner.path] } as z.core.$ZodIssue))
    const texts = issue.errors.flatMap((issues) => issues.map((inner) => inner.message.replace(/^Invalid input: /, '')))
    return [{ path, text: [...new Set(texts)].join('; or ') }]
  }
  return [{ path, text: issue.message.replace(/^Invalid input: /, '') }]
}

/** The text of a problem with its place: in the file, or on the command line where that is what set it. */
function locate(
  problem: Problem,
  document: Document,
  lines: LineCounter,
  text: string,
  file: string,
  assignments: readonly Assignment[],
): string {
  const full = problem.key === undefined ? problem.path : [...problem.path, problem.key]
  const culprit = assignments.find(({ path }) => {
    const shared = Math.min(path.length, full.length)
    return shared > 0 && path.slice(0, shared).every((part, index) => String(part) === String(full[index]))
  })
  const where = full.length === 0 ? '' : `${full.join('.')}: `
  if (culprit !== undefined) return `--set ${culprit.text}: ${where}${problem.text}`
  return at(offsetOf(document, problem), lines, text, file, `${where}${problem.text}`)
}

function at(offset: number, lines: LineCounter, text: string, file: string, message: string): string {
  const { line, col } = lines.linePos(Math.min(offset, text.length))
  const source = text.split('\n')[line - 1] ?? ''
  const place = `${file}:${line}:${col}: ${message}`
  return source.trim() === '' ? place : `${place}\n    ${source.replace(/\t/g, ' ')}\n    ${' '.repeat(col - 1)}^`
}

/** Where the nearest thing that exists on the way to the problem stands. */
function offsetOf(document: Document, problem: Problem): number {
  let node: unknown = document.contents
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0
  const steps = problem.key === undefined ? problem.path : [...problem.path, problem.key]
  for (const [index, step] of steps.entries()) {
    const last = index === steps.length - 1
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => isPair(item) && String((item.key as { value?: unknown } | null)?.value ?? item.key) === String(step),
      )
      if (pair === undefined) return offset
      const key = pair.key as Node | null
      const value = pair.value as Node | null
      const pointAtKey = (last && problem.key !== undefined) || value?.range == null
      offset = (pointAtKey ? key?.range?.[0] : value.range![0]) ?? offset
      node = value
    } else if (isSeq(node)) {
      const item = node.items[Number(step)]
      if (!isNode(item)) return offset
      offset = item.range?.[0] ?? offset
      node = item
    } else return offset
  }
  return offset
}

/** Carries out one `path=value` on plain data. @throws ScenarioProblem when it cannot be read or leads nowhere. */
function assign(data: unknown, text: string, assignments: Assignment[]): unknown {
  const split = text.indexOf('=')
  if (split <= 0)
    throw new ScenarioProblem([`--set ${text}: expected path=value, such as --set clients.0.count=500 or --set faults.0.for=20s`])
  const path = text
    .slice(0, split)
    .trim()
    .replace(/\[(\d+)\]/g, '.$1')
    .split('.')
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part))
  let value: unknown
  try {
    value = parseYaml(text.slice(split + 1))
  } catch {
    throw new ScenarioProblem([`--set ${text}: the value is not readable as YAML`])
  }
  assignments.push({ text, path })
  const put = (container: unknown, depth: number): unknown => {
    const part = path[depth]!
    const rest = (inner: unknown): unknown => (depth === path.length - 1 ? value : put(inner, depth + 1))
    const here = path.slice(0, depth).join('.') || 'the scenario'
    if (typeof part === 'number') {
      if (container !== undefined && container !== null && !Array.isArray(container))
        throw new ScenarioProblem([`--set ${text}: ${here} is not a list`])
      const list = [...((container as unknown[] | null | undefined) ?? [])]
      if (part > list.length) throw new ScenarioProblem([`--set ${text}: ${here} has ${list.length} items in the file, counted from 0`])
      list[part] = rest(list[part])
      return list
    }
    if (container !== undefined && container !== null && (typeof container !== 'object' || Array.isArray(container))) {
      throw new ScenarioProblem([
        `--set ${text}: ${here} is ${Array.isArray(container) ? 'a list: use a number, counted from 0' : 'not a map'}`,
      ])
    }
    const map = { ...(container as Record<string, unknown> | null | undefined) }
    map[part] = rest(map[part])
    return map
  }
  return put(data, 0)
}
