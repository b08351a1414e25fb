import { expect, test } from 'vitest'
import { scenarioJsonSchema } from './scenario.ts'

test('the editor schema that is committed is the one that the format yields (after a change of the format: npx vitest run scenarios/schema -u)', async () => {
  await expect(`${JSON.stringify(scenarioJsonSchema(), undefined, 2)}\n`).toMatchFileSnapshot('./scenario.schema.json')
})
