import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const folder = new URL('./regressions/', import.meta.url)

/** Each of these failed once, and its story tells how. `gallery/` takes out again what mended it, and sees that it still does. */
describe('a bug of our own stays mended', () => {
  for (const file of readdirSync(folder).sort()) {
    const url = new URL(file, folder)
    const scenario = loadScenario(readFileSync(url, 'utf8'), { file: fileURLToPath(url), name: file.replace('.yaml', '') })
    test(scenario.title, () => {
      expect(scenario.seed, 'a regression names its seed').toBeDefined()
      const result = runScenario(scenario, { seed: scenario.seed!, recording: true })
      const violations = result.promises.flatMap(({ violations }) => violations.map(({ text }) => text))
      expect({ violations, verdict: result.verdict }).toEqual({ violations: [], verdict: 'held' })
    })
  }
})
