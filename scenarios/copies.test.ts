import { describe, expect, test } from 'vitest'
import type { World } from '../model/world.ts'
import { readCopies } from './copies.ts'

type Disks = Readonly<Record<string, Readonly<Record<string, string>>>>

function worldWith(disks: Disks): World {
  const machines = Object.keys(disks).map((name) => ({ name, role: 'volume' }))
  return {
    machines: [...machines, { name: 'broker-1', role: 'broker' }],
    durableFiles: (machine: string, prefix: string) =>
      Object.keys(disks[machine] ?? {})
        .filter((name) => name.startsWith(prefix))
        .sort(),
    durableBytes: (machine: string, file: string) => Buffer.from(disks[machine]![file]!),
  } as unknown as World
}

const log = (start: number, generation = 0): string => `v3/log-${String(start).padStart(16, '0')}.${generation}`

function logsOf(disks: Disks): readonly [string, string][] {
  return readCopies(worldWith(disks), 3).map(({ machine, bytes }) => [machine, bytes.toString()])
}

describe('the copies of a volume', () => {
  test('are read whole, however they are cut into segments', () => {
    expect(logsOf({ 'volume-1': { [log(0)]: 'abcd', [log(4)]: 'ef' }, 'volume-2': { [log(0)]: 'ab', [log(2)]: 'cdef' } })).toEqual([
      ['volume-1', 'abcdef'],
      ['volume-2', 'abcdef'],
    ])
  })

  test('begin where all of them begin, where one has dropped its head', () => {
    expect(logsOf({ 'volume-1': { [log(0)]: 'abcd', [log(4)]: 'ef' }, 'volume-2': { [log(4)]: 'eX' } })).toEqual([
      ['volume-1', 'ef'],
      ['volume-2', 'eX'],
    ])
  })

  test('are read from the lower of two generations of a segment', () => {
    expect(logsOf({ 'volume-1': { [log(0, 2)]: 'a', [log(0, 1)]: 'abcd', [log(4, 1)]: 'ef' } })).toEqual([['volume-1', 'abcdef']])
  })

  test('are those on the brokers too, where the brokers hold them', () => {
    expect(logsOf({ 'volume-1': { [log(0)]: 'ab' }, 'broker-1': { [log(0)]: 'abc' } }).map(([, bytes]) => bytes)).toContain('abc')
  })

  test('end at a hole, and leave out machines and volumes that hold nothing of it', () => {
    expect(logsOf({ 'volume-1': { [log(0)]: 'ab', [log(9)]: 'zz' }, 'volume-2': { 'v4/log-0000000000000000.0': 'q' } })).toEqual([
      ['volume-1', 'ab'],
    ])
  })
})
