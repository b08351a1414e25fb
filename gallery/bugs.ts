/**
 * The planted bugs: a patch each, `gallery/<id>.patch`. Above the diff, which `git apply` looks for, stands a head of fields, each on a line of its own
 * and continued on indented ones:
 *
 *     Title:     the bug in one line
 *     Story:     where it happened in life, and what it does here
 *     Breaks:    the promise that has to catch it
 *     Scenario:  a name of the catalogue, or a file: gallery/<name>.yaml, scenarios/regressions/<name>.yaml
 *     Statement: what it takes out is the mechanism behind this statement, such as H7. Only where that is so
 *     Seeds:     A..B, the seeds of which one has to catch it
 *
 * Those that play a regression take out again what mended it: they show that the scenario still sees the bug.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type PromiseId, promiseIds } from '../checks/promise.ts'
import { catalogueEntry } from '../scenarios/catalogue.ts'
import { loadScenario } from '../scenarios/load.ts'
import type { Scenario } from '../scenarios/scenario.ts'
import { isStatementId, type StatementId, statementIds } from '../scenarios/statements.ts'

export interface PlantedBug {
  readonly id: string
  readonly title: string
  readonly story: string
  readonly breaks: PromiseId
  readonly scenario: string
  /** The mechanism behind this statement is what the patch takes out. */
  readonly statement?: StatementId
  readonly seeds: readonly number[]
  /** The whole file. */
  readonly patch: string
}

const folder = new URL('./', import.meta.url)
const fieldNames = ['Title', 'Story', 'Breaks', 'Scenario', 'Statement', 'Seeds'] as const
const optionalFields: ReadonlySet<string> = new Set(['Statement'])

function readFields(id: string, patch: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  let name = ''
  for (const line of patch.split('\n')) {
    if (line.startsWith('--- ')) break
    const [, begun, text] = /^(\w+): +(.+)$/.exec(line) ?? []
    if (begun !== undefined) {
      name = begun
      fields.set(name, text!)
    } else if (/^\s+\S/.test(line) && name !== '') fields.set(name, `${fields.get(name)} ${line.trim()}`)
    else if (line.trim() !== '') throw new Error(`${id}.patch: cannot read ${JSON.stringify(line)} in its head`)
  }
  if ([...fields.keys()].join() !== fieldNames.filter((name) => fields.has(name) || !optionalFields.has(name)).join()) {
    const expected = fieldNames.map((name) => (optionalFields.has(name) ? `${name} (or none)` : name))
    throw new Error(`${id}.patch: its head has the fields ${[...fields.keys()].join(', ')}; expected ${expected.join(', ')}`)
  }
  return fields
}

export function parseBug(id: string, patch: string): PlantedBug {
  const fields = readFields(id, patch)
  const breaks = promiseIds.find((promise) => promise === fields.get('Breaks'))
  if (breaks === undefined) throw new Error(`${id}.patch: breaks ${fields.get('Breaks')}; promises are ${promiseIds.join(', ')}`)
  const statement = fields.get('Statement')
  if (statement !== undefined && !isStatementId(statement)) {
    throw new Error(`${id}.patch: statement ${statement}; statements are ${statementIds.join(', ')}`)
  }
  const [, first, last] = /^(\d+)\.\.(\d+)$/.exec(fields.get('Seeds')!)?.map(Number) ?? []
  if (first === undefined || last === undefined || last < first) {
    throw new Error(`${id}.patch: seeds ${fields.get('Seeds')}; expected A..B`)
  }
  return {
    id,
    title: fields.get('Title')!,
    story: fields.get('Story')!,
    breaks,
    scenario: fields.get('Scenario')!,
    ...(statement === undefined ? {} : { statement }),
    seeds: Array.from({ length: last - first + 1 }, (_, index) => first + index),
    patch,
  }
}

export function readBugs(): readonly PlantedBug[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.patch'))
    .sort()
    .map((file) => parseBug(file.slice(0, -'.patch'.length), readFileSync(new URL(file, folder), 'utf8')))
}

/** The scenario that a patch names. */
export function scenarioOf(name: string): Scenario {
  if (!name.endsWith('.yaml')) {
    const { file, text } = catalogueEntry(name)
    return loadScenario(text, { file, name })
  }
  const url = new URL(`../${name}`, import.meta.url)
  return loadScenario(readFileSync(url, 'utf8'), { file: fileURLToPath(url), name: basename(name, '.yaml') })
}
