import { describe, expect, test } from 'vitest'
import { BadInput } from './exit.ts'
import { runCommand } from './run.ts'

describe('a command that asks for too many runs', () => {
  test.each<[string, readonly string[], readonly [number, number], number]>([
    ['of one scenario', ['calm'], [0, 0xffff_ffff], 4_294_967_296],
    ['of several together', ['calm', 'az-outage'], [1, 500_001], 1_000_002],
  ])('%s is refused before any is planned', async (_, names, seeds, count) => {
    await expect(runCommand(names, { seeds })).rejects.toEqual(
      new BadInput(`this command asks for ${count} runs. allowed: at most 1000000 in one command`),
    )
  })
})
