import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { differenceText, firstDifference } from './check-determinism.ts'

const folder = mkdtempSync(join(tmpdir(), 'squall-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, lines: readonly string[]): string {
  const path = join(folder, name)
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''))
  return path
}

const common = Array.from({ length: 200_000 }, (_, i) => `${i * 10} ${i} timer broker-1 0`)
const answers = [
  { digest: 'aa', events: 3 },
  { digest: 'bb', events: 3 },
] as const

describe('two files of events', () => {
  test('that are equal have no difference', () => {
    expect(firstDifference(file('a', common), file('b', common))).toBeUndefined()
  })

  test('are told apart at the first event that differs, with what came before and after', () => {
    const alone = file('a', [...common, '2000000 200000 data proxy-1 1f', '2000001 200001 timer proxy-1 0'])
    const other = file('b', [...common, '2000000 200000 data proxy-1 2e', '2000001 200001 timer proxy-1 0'])
    const difference = firstDifference(alone, other)!
    expect(difference.index).toBe(200_000)
    expect(differenceText('calm', 3, ...answers, difference)).toMatchInlineSnapshot(`
      "calm seed 3: the two processes part
        alone, without recording       3 events, digest aa
        after others, with recording   3 events, digest bb

      The first event that differs is number 200001:
              1.999940 s  #199994    timer        broker-1
              1.999950 s  #199995    timer        broker-1
              1.999960 s  #199996    timer        broker-1
              1.999970 s  #199997    timer        broker-1
              1.999980 s  #199998    timer        broker-1
              1.999990 s  #199999    timer        broker-1
        -     2.000000 s  #200000    data         proxy-1  bytes 1f
        -     2.000001 s  #200001    timer        proxy-1
        +     2.000000 s  #200000    data         proxy-1  bytes 2e
        +     2.000001 s  #200001    timer        proxy-1

        - alone, + after others"
    `)
  })

  test('differ where one of them ends', () => {
    const difference = firstDifference(file('a', common.slice(0, 2)), file('b', common.slice(0, 3)))!
    expect(difference).toMatchObject({ index: 2, alone: [], afterOthers: [common[2]] })
    expect(differenceText('calm', 3, ...answers, difference)).toContain('- (no more events)')
  })
})
