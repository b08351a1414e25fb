import { expect, test } from 'vitest'
import { Flood, heapBytes } from './memory.test-support.ts'

test('ten million messages through the checks take the room of one million, plus the gaps', { timeout: 600_000 }, () => {
  const flood = new Flood()
  const empty = heapBytes()
  flood.until(1_000_000)
  const one = heapBytes() - empty
  flood.until(10_000_000)
  const ten = heapBytes() - empty
  console.log(`heap after 1 million messages: ${(one / 1e6).toFixed(2)} MB; after 10 million: ${(ten / 1e6).toFixed(2)} MB`)
  // 900 gaps more, each a run in a few sets and an open publish: some hundred bytes a gap.
  expect(ten - one).toBeLessThan(2_000_000)
  expect([...flood.stage.finish().values()].filter((result) => result.verdict === 'violated')).toEqual([])
})
