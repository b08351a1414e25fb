/** `squall list`: the scenarios of the catalogue, a line each. */
import { styleText } from 'node:util'
import { catalogueNames } from '../scenarios/catalogue.ts'
import { wantsColour } from './colour.ts'
import { exitCodes } from './exit.ts'
import { openScenario } from './open-scenario.ts'

export function listCommand(options: { readonly json?: true }): number {
  const names = catalogueNames()
  const width = Math.max(...names.map((name) => name.length))
  for (const name of names) {
    const { scenario } = openScenario(name, [])
    if (options.json) {
      const { title, story, tags } = scenario
      process.stdout.write(`${JSON.stringify({ scenario: name, title, story, tags })}\n`)
    } else {
      const shown = name.padEnd(width)
      process.stdout.write(`  ${wantsColour(process.stdout) ? styleText('bold', shown) : shown}  ${scenario.title}\n`)
    }
  }
  if (!options.json) process.stdout.write(`\nPlay one: squall run ${names.includes('az-outage') ? 'az-outage' : names[0]}\n`)
  return exitCodes.held
}
