/**
 * `squall list`: the catalogue by statement. Under each statement stand the scenarios that put it to the test, so that one may stand there several times; those that
 * name no statement come last. At most 80 columns.
 */
import { painter, wrap } from '../reports/text.ts'
import { catalogueNames, isSlow } from '../scenarios/catalogue.ts'
import { expectations, type Scenario } from '../scenarios/scenario.ts'
import { scenariosByStatement } from '../scenarios/statements.ts'
import { wantsColour } from './colour.ts'
import { exitCodes } from './exit.ts'
import { openScenarios } from './open-scenario.ts'

const WIDTH = 80
/** Where the text of a statement begins, and the names below it. */
const INDENT = 5
/** A longer name has a line of its own. */
const WIDEST_NAME = 26
const SLOW = '(slow)'

export function listCommand(options: { readonly json?: true }): number {
  const scenarios = openScenarios(catalogueNames(), []).map(({ scenario }) => scenario)
  const text = options.json ? scenarios.map(jsonLine).join('') : renderCatalogue(scenarios, wantsColour(process.stdout))
  process.stdout.write(text)
  return exitCodes.held
}

function jsonLine(scenario: Scenario): string {
  const { name, title, story, statements, tags, budgets } = scenario
  const expected = Object.fromEntries(expectations(scenario))
  return `${JSON.stringify({ scenario: name, title, story, statements, tags, budgetsMs: budgets, expect: expected })}\n`
}

export function renderCatalogue(scenarios: readonly Scenario[], colour: boolean): string {
  const paint = painter(colour)
  const nameWidth = Math.min(Math.max(...scenarios.map(({ name }) => name.length)), WIDEST_NAME)
  const titleColumn = INDENT + nameWidth + 2
  const rows = (of: readonly Scenario[]): readonly string[] =>
    of.flatMap((scenario) => {
      const { name, title } = scenario
      const isLong = name.length > nameWidth
      const lines = wrap(isSlow(scenario) ? `${title} ${SLOW}` : title, WIDTH - titleColumn).map((line, index) => {
        const before = index === 0 && !isLong ? `${' '.repeat(INDENT)}${paint('bold', name.padEnd(nameWidth))}  ` : ' '.repeat(titleColumn)
        return `${before}${line.endsWith(SLOW) ? `${line.slice(0, -SLOW.length)}${paint('yellow', SLOW)}` : line}`
      })
      return isLong ? [`${' '.repeat(INDENT)}${paint('bold', name)}`, ...lines] : lines
    })
  const { byStatement, others } = scenariosByStatement(scenarios)
  const lines = byStatement.flatMap(({ id, sentence, scenarios: putToTest }) => [
    ...wrap(sentence, WIDTH - INDENT).map(
      (line, index) => `${paint(['cyan', 'bold'], (index === 0 ? id : '').padEnd(INDENT))}${paint('cyan', line)}`,
    ),
    ...(putToTest.length > 0 ? rows(putToTest) : [`${' '.repeat(INDENT)}${paint('red', 'no scenario')}`]),
    '',
  ])
  const slow = scenarios.filter(isSlow).length
  const foot = [
    `${scenarios.length} scenarios${slow > 0 ? `; ${slow} slow, which with --all plays the first of many seeds only` : ''}`,
    '',
    'Play one:        squall run az-outage',
    'Play them all:   squall run --all --seeds 1..10',
    'Those of a tag:  squall run --all --tag zone',
  ]
  const apart = others.length > 0 ? [paint(['cyan', 'bold'], 'Without a statement'), ...rows(others), ''] : []
  return `${[...lines, ...apart, ...foot].join('\n')}\n`
}
