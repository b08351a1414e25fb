/**
 * What a command asks to be played: which scenarios, each on which seeds, and in which order. Of the whole catalogue the slow scenarios play one seed only; a scenario
 * that was named plays every seed that was asked for.
 */
import { catalogueNames, isSlow } from '../scenarios/catalogue.ts'
import { didYouMean } from '../scenarios/nearest.ts'
import type { Scenario } from '../scenarios/scenario.ts'
import { BadInput } from './exit.ts'
import { openScenarios } from './open-scenario.ts'

export interface Choice {
  /** The whole catalogue, and of it only what has one of the tags. */
  readonly all?: true
  readonly tag?: readonly string[]
  readonly seed?: number
  readonly seeds?: readonly [number, number]
}

type Played = Pick<Scenario, 'name' | 'seed' | 'tags'>

const openCatalogue = (): readonly Played[] => openScenarios(catalogueNames(), []).map(({ scenario }) => scenario)

/** @param open gives the scenarios of the catalogue, of which the tags decide. */
export function namesToPlay(names: readonly string[], { all, tag }: Choice, open = openCatalogue): readonly string[] {
  if (all !== true) {
    if (tag !== undefined) throw new BadInput('--tag chooses among all scenarios: squall run --all --tag zone')
    if (names.length === 0) throw new BadInput('no scenario is named. allowed: names from `squall list`, scenario files, or --all')
    return names
  }
  if (names.length > 0) throw new BadInput(`--all plays every scenario of the catalogue, and takes no names: ${names.join(', ')}`)
  if (tag === undefined) return catalogueNames()
  const catalogue = open()
  const known = [...new Set(catalogue.flatMap(({ tags }) => tags))].sort()
  const unknown = tag.find((one) => !known.includes(one))
  if (unknown !== undefined)
    throw new BadInput(`no scenario has the tag ${unknown}. known: ${known.join(', ')}${didYouMean(unknown, known)}`)
  return catalogue.filter(({ tags }) => tags.some((one) => tag.includes(one))).map(({ name }) => name)
}

function playsFirstSeedOnly(scenario: Played, { all, seeds }: Choice): boolean {
  return all === true && seeds !== undefined && seeds[1] > seeds[0] && isSlow(scenario)
}

export function seedsFor(scenario: Played, choice: Choice): readonly number[] {
  if (choice.seeds === undefined) return [choice.seed ?? scenario.seed ?? 1]
  const [first, last] = choice.seeds
  if (playsFirstSeedOnly(scenario, choice)) return [first]
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

/** Names of those that play fewer seeds than were asked for. */
export function seedsLeftOut(scenarios: readonly Played[], choice: Choice): readonly string[] {
  return scenarios.filter((scenario) => playsFirstSeedOnly(scenario, choice)).map(({ name }) => name)
}

/** In which order runs are begun on several threads, by their places: the slow ones first, so that in the end no thread is left alone with one. */
export function workOrder(slow: readonly boolean[]): readonly number[] {
  const places = [...slow.keys()]
  return [...places.filter((place) => slow[place]), ...places.filter((place) => !slow[place])]
}
