/** That every statement has what the project promises for it: a scenario of the catalogue, a planted bug that takes the mechanism behind it out, a row in the docs. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { catalogueEntry, catalogueNames, loadCatalogue } from '../scenarios/catalogue.ts'
import { type StatementId, scenariosByStatement, statements } from '../scenarios/statements.ts'
import { readBugs } from './bugs.ts'

const bugs = readBugs()
const scenariosOf = new Map<StatementId, readonly string[]>(
  scenariosByStatement(loadCatalogue()).byStatement.map(({ id, scenarios }) => [id, scenarios.map(({ name }) => name)]),
)

describe.each([...scenariosOf])('the statement %s', (id, scenarios) => {
  test('is put to the test by a scenario of the catalogue', () => {
    expect(scenarios).not.toEqual([])
  })

  test('has such a scenario that fails when the mechanism behind it is taken out', () => {
    const proofs = bugs.filter(({ statement }) => statement === id)
    expect(proofs).not.toEqual([])
    expect(scenarios).toEqual(expect.arrayContaining(proofs.map(({ scenario }) => scenario)))
  })

  test('has its row in the docs', () => {
    const page = readFileSync(new URL('../docs/high-availability.md', import.meta.url), 'utf8')
    expect(page).toContain(`\n| **${id}** | ${statements[id]} |`)
  })
})

describe('the catalogue', () => {
  test('has at least thirty scenarios', () => {
    expect(catalogueNames().length).toBeGreaterThanOrEqual(30)
  })

  test.each(catalogueNames())('says of %s what happens, how to find it, what it may cost and what it expects', (name) => {
    const file = parse(catalogueEntry(name).text) as Readonly<Record<'title' | 'story' | 'tags' | 'budgets' | 'expect', unknown>>
    expect(file).toMatchObject({ title: expect.stringMatching(/\w/), story: expect.stringMatching(/\w/) })
    for (const field of [file.tags, file.budgets, file.expect]) expect(Object.keys(Object(field))).not.toEqual([])
  })
})
