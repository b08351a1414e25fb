import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SimFile } from './file.ts'
import { drawAt } from './random.ts'

function synced(file: SimFile): number | undefined {
  return file.syncSucceeded(file.beginSync().covers)
}

describe('a file', () => {
  test('holds what was synced through any power loss, and of the rest whole sectors in order, with zeros for a lost one', () => {
    const outcomes = new Set<string>()
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 6 }),
        fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 6 }),
        (seed, before, after) => {
          const file = new SimFile()
          let fill = 0
          const append = (size: number) => {
            const bytes = Buffer.alloc(size, (fill++ % 255) + 1)
            file.append(bytes)
            return bytes
          }
          const durable = Buffer.concat(before.map(append))
          synced(file)
          const whole = Buffer.concat([durable, ...after.map(append)])
          const isLost = file.losePower((index) => drawAt(seed, index))
          const found = file.read(0, whole.length + 1)
          expect(file.durableBytes().equals(found)).toBe(true)
          expect(found.length).toBeGreaterThanOrEqual(durable.length)
          expect(found.subarray(0, durable.length).equals(durable)).toBe(true)
          const zeros = zeroedSectors(found, whole)
          expect(zeros.length).toBeLessThanOrEqual(1)
          for (const at of zeros) expect(at * 512).toBeGreaterThanOrEqual(durable.length)
          expect(isLost).toBe(found.length < whole.length || zeros.length > 0)
          const isTorn = !after.some((_, index) => durable.length + sum(after.slice(0, index)) === found.length)
          if (isTorn && found.length < whole.length) expect(found.length % 512).toBe(0)
          outcomes.add(
            zeros.length > 0 ? 'hole' : found.length === whole.length ? 'kept' : found.length === durable.length ? 'gone' : 'torn',
          )
        },
      ),
      { numRuns: 800, seed: 7 },
    )
    expect([...outcomes].sort()).toEqual(['gone', 'hole', 'kept', 'torn'])
  })

  test('does not get durable by a sync after one that failed: the bytes are gone at the next power loss', () => {
    const file = new SimFile()
    file.append(Buffer.from('kept'))
    expect(synced(file)).toBe(4)
    file.append(Buffer.from('lost'))
    file.syncFailed(file.beginSync().covers)
    expect(synced(file)).toBeUndefined()
    expect(file.read(0, 100).toString()).toBe('keptlost')
    expect(file.losePower((index) => drawAt(1, index))).toBe(true)
    expect(file.read(0, 100).toString()).toBe('kept')
  })

  test('has a hole of zeros where a failed sync left bytes out and later ones were synced', () => {
    const file = new SimFile()
    file.append(Buffer.from('lost'))
    file.syncFailed(file.beginSync().covers)
    file.append(Buffer.from('later'))
    expect(synced(file)).toBe(0)
    file.losePower((index) => drawAt(1, index))
    expect(file.read(0, 100)).toEqual(Buffer.concat([Buffer.alloc(4), Buffer.from('later')]))
  })

  test('has its tail back where cutting it was not synced, in some power losses', () => {
    const found = new Set<number>()
    for (let seed = 0; seed < 50; seed++) {
      const file = new SimFile()
      file.append(Buffer.alloc(100, 1))
      synced(file)
      file.cutTail(10)
      file.losePower((index) => drawAt(seed, index))
      found.add(file.size)
    }
    expect([...found].sort((a, b) => a - b)).toEqual([10, 100])
  })

  test('that was never synced may not exist after a power loss', () => {
    const exists = new Set<boolean>()
    for (let seed = 0; seed < 50; seed++) {
      const file = new SimFile()
      file.append(Buffer.from('x'))
      file.losePower((index) => drawAt(seed, index))
      exists.add(file.isDurable)
    }
    expect(exists.size).toBe(2)
  })

  test('holds on to no buffer that it was given, and reads a stretch that was appended in pieces without copying it', () => {
    const shared = Buffer.from('..bytes..')
    const file = new SimFile()
    file.append(shared.subarray(2, 5))
    file.append(shared.subarray(5, 7))
    shared.fill(0)
    synced(file)
    const found = file.read(0, 5)
    expect(found.toString()).toBe('bytes')
    expect(file.durableBytes().buffer).toBe(found.buffer)
    expect(file.read(1, 2).toString()).toBe('yt')
  })

  test('gives what was read before unchanged, though its tail was cut and written anew since', () => {
    const file = new SimFile()
    file.append(Buffer.from('first'))
    const found = file.read(0, 5)
    file.cutTail(2)
    file.append(Buffer.from('nish'))
    expect(file.read(0, 100).toString()).toBe('finish')
    expect(found.toString()).toBe('first')
    synced(file)
    expect(file.durableBytes().toString()).toBe('finish')
  })
})

/** Numbers of the sectors that differ from what was written; each of them must be zeros. */
function zeroedSectors(found: Buffer, whole: Buffer): number[] {
  const sectors: number[] = []
  for (let at = 0; at < found.length; at++) {
    if (found[at] === whole[at]) continue
    expect(found[at]).toBe(0)
    const sector = Math.floor(at / 512)
    if (sectors.at(-1) !== sector) sectors.push(sector)
  }
  return sectors
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
