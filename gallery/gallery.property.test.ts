import { afterAll, describe, expect, test } from 'vitest'
import { promiseIds } from '../checks/promise.ts'
import { parseBug, readBugs, scenarioOf } from './bugs.ts'
import { Greenhouse } from './plant.ts'

const bugs = readBugs()
const greenhouse = new Greenhouse()

afterAll(() => greenhouse.close())

describe.concurrent('a planted bug is caught', () => {
  for (const { id, title, patch, scenario, seeds, breaks } of bugs) {
    test(`${title}: by ${breaks}`, async () => {
      const planted = await greenhouse.plant(id, patch)
      try {
        const { caught, others } = await planted.play({ scenario: scenarioOf(scenario), seeds, breaks })
        if (caught === undefined) {
          expect.fail(`${breaks} held on all seeds ${seeds.join(', ')}; violated were: ${others.join(', ') || 'none'}`)
        }
        console.log(`${title} (${id}, ${scenario}, seed ${caught.seed})\n  ${breaks}: ${caught.text}`)
      } finally {
        planted.remove()
      }
    })
  }
})

test('every promise has a planted bug that it catches', () => {
  expect(promiseIds.filter((id) => !bugs.some(({ breaks }) => breaks === id))).toEqual([])
})

test('a patch that does not fit the service, or says nothing of itself, fails loudly', async () => {
  const head = 'Title: a\nStory: b\n  c\nBreaks: no-crash\nScenario: calm\nSeeds: 1..2\n\n'
  expect(parseBug('a', head)).toMatchObject({ title: 'a', story: 'b c', breaks: 'no-crash', seeds: [1, 2] })
  expect(() => parseBug('a', head.replace('no-crash', 'no-cash'))).toThrow('a.patch: breaks no-cash; promises are acked-survives')
  expect(() => parseBug('a', head.replace('Story: b\n  c\n', ''))).toThrow('expected Title, Story, Breaks')
  expect(parseBug('a', head)).not.toHaveProperty('statement')
  expect(parseBug('a', head.replace('Seeds:', 'Statement: H7\nSeeds:'))).toMatchObject({ statement: 'H7', seeds: [1, 2] })
  expect(() => parseBug('a', head.replace('Seeds:', 'Statement: H77\nSeeds:'))).toThrow('a.patch: statement H77; statements are H1, H2')
  expect(() => parseBug('a', `${head.trimEnd()}\nStatement: H7\n`)).toThrow('Scenario, Statement (or none), Seeds')
  const diff = '--- a/model/shards.ts\n+++ b/model/shards.ts\n@@ -1,1 +1,1 @@\n-what was never there\n+x\n'
  await expect(greenhouse.plant('does-not-fit', head + diff)).rejects.toThrow(
    /does-not-fit\.patch does not apply to the service any more:\nerror: patch failed/,
  )
  await expect(greenhouse.plant('empty', head)).rejects.toThrow('does not apply')
})
