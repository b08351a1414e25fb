import { expect, test } from 'vitest'
import { Flood, heapBytes } from './memory.test-support.ts'

test('three hundred thousand messages through the checks take the room of a hundred thousand, plus the gaps', { timeout: 30_000 }, () => {
  const flood = new Flood()
  flood.until(100_000)
  const before = heapBytes()
  flood.until(300_000)
  const grown = heapBytes() - before
  // Twenty gaps more, in three sets each.
  expect(grown).toBeLessThan(300_000)
  const results = flood.stage.finish()
  expect([...results.values()].filter((result) => result.verdict === 'violated')).toEqual([])
  expect(results.get('no-phantom')!.exercised).toBe(299_970)
})
