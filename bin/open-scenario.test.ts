import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { BadInput } from './exit.ts'
import { openScenario, openScenarios, replayCommand } from './open-scenario.ts'

const folder = mkdtempSync(join(tmpdir(), 'squall-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('what a person typed', () => {
  test('is a name of the catalogue, or a file', () => {
    expect(openScenario('calm', []).scenario.name).toBe('calm')
    const file = join(folder, 'my-storm.yaml')
    writeFileSync(file, 'title: Mine\n')
    expect(openScenario(file, []).scenario).toMatchObject({ name: 'my-storm', title: 'Mine' })
  })

  test('is answered with the nearest name where it is neither', () => {
    expect(() => openScenario('az-outge', [])).toThrow(BadInput)
    expect(() => openScenario('az-outge', [])).toThrow(/unknown scenario az-outge\. known: .*\. Did you mean az-outage\?/)
    expect(() => openScenario('./nowhere.yaml', [])).toThrow('no such file: ./nowhere.yaml')
    expect(() => openScenario(folder, [])).toThrow('is not a file')
  })

  test('is told all that is wrong at once', () => {
    expect(() => openScenarios(['clam', 'calm', 'az-outge'], [])).toThrow(/clam.*Did you mean calm\?\nunknown scenario az-outge/)
  })
})

test('the command that replays a run quotes what a shell would take apart', () => {
  expect(replayCommand('az-outage', 7, [])).toBe('npx squall run az-outage --seed 7')
  expect(replayCommand('my storm.yaml', 7, ['faults.0.machines=2 of role broker'])).toBe(
    "npx squall run 'my storm.yaml' --seed 7 --set 'faults.0.machines=2 of role broker'",
  )
})
