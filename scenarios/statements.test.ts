import { describe, expect, test } from 'vitest'
import { loadScenario, ScenarioProblem } from './load.ts'
import { scenariosByStatement, statementIds, statementProblem, statements } from './statements.ts'

const load = (statement: string) => loadScenario(`title: x\nstatements: [${statement}]\n`, { file: 'x.yaml', name: 'x' })

describe('a statement that a scenario names', () => {
  test('is one of H1 to H15, or of the MQTT 5 standard', () => {
    expect(load('H1, H15, MQTT-3.3.1-5').statements).toEqual(['H1', 'H15', 'MQTT-3.3.1-5'])
    expect(statementIds.map(statementProblem)).toEqual(statementIds.map(() => undefined))
  })

  test.each(['H0', 'H16', 'h3', 'MQTT-3.3', 'durability'])('%s does not exist, and the error names those that do, with the place', (id) => {
    expect(() => load(id)).toThrow(ScenarioProblem)
    expect(() => load(id)).toThrow(`x.yaml:2:14: statements.0: "${id}" is not a statement. allowed: H1, H2, H3,`)
  })

  test('is meant, if it is misspelt', () => {
    expect(statementProblem('h3')).toMatch(/such as MQTT-3\.3\.1-5\. Did you mean H3\?$/)
  })
})

test('scenarios go by statement, in the order of statements, and those without one are apart', () => {
  const [both, none, standard] = [load('H9, H1'), { ...load('H1'), statements: [] }, load('MQTT-3.3.1-5')]
  const { byStatement, others } = scenariosByStatement([both, none, standard])
  expect(byStatement.map(({ id }) => id)).toEqual(statementIds)
  expect(byStatement.filter(({ scenarios }) => scenarios.length > 0).map(({ id, scenarios }) => [id, scenarios])).toEqual([
    ['H1', [both]],
    ['H9', [both]],
  ])
  expect(byStatement[8]!.sentence).toBe(statements.H9)
  expect(others).toEqual([none, standard])
})
