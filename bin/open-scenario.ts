/** From what a person typed, a catalogue name or a file, to a loaded scenario; whatever is wrong with it is bad input. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { type CatalogueEntry, catalogueEntry, catalogueNames } from '../scenarios/catalogue.ts'
import { loadScenario, ScenarioProblem } from '../scenarios/load.ts'
import { didYouMean } from '../scenarios/nearest.ts'
import type { Scenario } from '../scenarios/scenario.ts'
import { BadInput } from './exit.ts'

export interface OpenedScenario {
  /** As it was typed. */
  readonly typed: string
  /** As errors name the file. */
  readonly file: string
  readonly text: string
  readonly scenario: Scenario
}

function find(typed: string): CatalogueEntry {
  const names = catalogueNames()
  if (names.includes(typed)) return catalogueEntry(typed)
  const looksLikeFile = /[/\\]/.test(typed) || /\.ya?ml$/.test(typed)
  if (existsSync(typed)) {
    if (!statSync(typed).isFile()) throw new BadInput(`${typed} is not a file`)
    return { name: basename(typed).replace(/\.ya?ml$/, ''), file: typed, text: readFileSync(typed, 'utf8') }
  }
  if (looksLikeFile) throw new BadInput(`no such file: ${typed}`)
  throw new BadInput(`unknown scenario ${typed}. known: ${names.join(', ')}${didYouMean(typed, names)}`)
}

export function openScenario(typed: string, set: readonly string[]): OpenedScenario {
  const { name, file, text } = find(typed)
  try {
    return { typed, file, text, scenario: loadScenario(text, { file: name === typed ? `${name}.yaml` : file, name, set }) }
  } catch (error) {
    if (error instanceof ScenarioProblem) throw new BadInput(error.problems.join('\n'))
    throw error
  }
}

/** Opens all, and tells what is wrong with any. */
export function openScenarios(typed: readonly string[], set: readonly string[]): readonly OpenedScenario[] {
  const problems: string[] = []
  const opened = typed.flatMap((name) => {
    try {
      return [openScenario(name, set)]
    } catch (error) {
      if (!(error instanceof BadInput)) throw error
      problems.push(error.message)
      return []
    }
  })
  if (problems.length > 0) throw new BadInput([...new Set(problems)].join('\n'))
  return opened
}

/** A word for a shell: quoted where it needs to be. */
function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}

/** The command that plays a run again. */
export function replayCommand(typed: string, seed: number, set: readonly string[]): string {
  return ['npx squall run', shellWord(typed), '--seed', seed, ...set.map((text) => `--set ${shellWord(text)}`)].join(' ')
}
