import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { loadScenario } from '../scenarios/load.ts'
import { renderCatalogue } from './list.ts'

function scenario(name: string, text: string) {
  return loadScenario(text, { file: `${name}.yaml`, name })
}

const scenarios = [
  scenario('dark', 'title: A zone goes dark\nstatements: [H5, H12]\n'),
  scenario(
    'three-days',
    'title: Three days go by with a trickle of messages and at their end nothing is there too long\nstatements: [H12]\ntags: [slow]\n',
  ),
  scenario('takeover', 'title: A device comes back\nstatements: [MQTT-3.1.4-3]\n'),
]
const text = renderCatalogue(scenarios, false)

describe('the catalogue as a text', () => {
  test('has each statement with the scenarios that put it to the test, and says which are slow', () => {
    expect(text).toContain(`
H12  Cloud disks survive the loss of a zone; they have copies and backup points.
     dark        A zone goes dark
     three-days  Three days go by with a trickle of messages and at their end
                 nothing is there too long (slow)

`)
    expect(text).toContain(
      '\nH5   New connections and requests go to the proxies in the other zones.\n     dark        A zone goes dark\n\n',
    )
    expect(text).toContain('\n3 scenarios; 1 slow, which with --all plays')
  })

  test('says where a statement has none, and has those without a statement of ours at the end', () => {
    expect(text).toContain('H8   Clients cannot reach brokers.\n     no scenario\n')
    expect(text).toContain('Without a statement\n     takeover    A device comes back\n\n3 scenarios')
  })

  test('gives a name that is too long for its column a line of its own', () => {
    const long = scenario('nothing-is-replaced-while-nobody-can', 'title: Nothing is replaced\nstatements: [H8]\n')
    expect(renderCatalogue([...scenarios, long], false)).toContain(
      `\n     nothing-is-replaced-while-nobody-can\n${' '.repeat(33)}Nothing is replaced\n`,
    )
  })

  test('is at most 80 columns wide, in colour as without', () => {
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80)
    const coloured = renderCatalogue(scenarios, true)
    expect(coloured).toContain('\x1b[')
    expect(stripVTControlCharacters(coloured)).toBe(text)
  })
})
