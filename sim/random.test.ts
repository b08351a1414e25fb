import seedrandom from 'seedrandom'
import { describe, expect, test } from 'vitest'
import { defaultLatency, delayOf, delayTable, medianOf, secondDelayOf } from './latency.ts'
import { derivedKey, drawAt, drawKey, isWithin, RandomStreams } from './random.ts'

const count = 20_000

/** Pearson's correlation of two sequences of numbers from 0 to 1. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const [meanA, meanB] = [mean(a), mean(b)]
  let [ab, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    ab += (a[i]! - meanA) * (b[i]! - meanB)
    aa += (a[i]! - meanA) * (a[i]! - meanA)
    bb += (b[i]! - meanB) * (b[i]! - meanB)
  }
  return ab / Math.sqrt(aa * bb)
}

const unit = (draw: number) => (draw >>> 0) / 0x100000000
const sequence = (key: number) => Array.from({ length: count }, (_, i) => unit(drawAt(key, i)))

describe('counted draws', () => {
  test('are spread evenly', () => {
    const buckets = new Array<number>(16).fill(0)
    for (const value of sequence(drawKey(1, 'client-1'))) buckets[Math.floor(value * 16)]!++
    for (const inBucket of buckets) expect(Math.abs(inBucket - count / 16)).toBeLessThan(150)
  })

  test('of neighbouring seeds, names, numbers and indices have nothing to do with each other', () => {
    const key = drawKey(1, 'client-1')
    const base = sequence(key)
    const others = [drawKey(2, 'client-1'), drawKey(1, 'client-2'), derivedKey(key, 0), derivedKey(key, 1)].map(sequence)
    for (const other of others) expect(Math.abs(correlation(base, other))).toBeLessThan(0.03)
    expect(Math.abs(correlation(base.slice(1), base.slice(0, -1)))).toBeLessThan(0.03)
    const firsts = (offset: number) => Array.from({ length: count }, (_, seed) => unit(drawAt(drawKey(seed + offset, 'x'), 0)))
    expect(Math.abs(correlation(firsts(0), firsts(1)))).toBeLessThan(0.03)
  })

  test('fall within a probability as often as it says; never for 0, always for 1', () => {
    const draws = Array.from({ length: count }, (_, i) => drawAt(7, i))
    const share = (probability: number) => draws.filter((draw) => isWithin(draw, probability)).length / count
    expect([share(0), share(1), isWithin(-1, 1)]).toEqual([0, 1, true])
    expect(Math.abs(share(0.02) - 0.02)).toBeLessThan(0.005)
  })
})

test('streams are the same for the same seed, name and purpose, and go on where they were', () => {
  const [one, other] = [new RandomStreams(1), new RandomStreams(1)]
  const take = (streams: RandomStreams) => Array.from({ length: 5 }, () => streams.stream('a', 'jitter').next())
  other.stream('b', 'jitter').next()
  const first = take(one)
  expect(take(other)).toEqual(first)
  expect(take(one)).not.toEqual(first)
  for (const value of take(one)) expect(value >= 0 && value < 1).toBe(true)
})

test('a stream is the alea of seed, name and purpose, number by number', () => {
  const stream = new RandomStreams(7).stream('broker-1', 'jitter')
  const alea = seedrandom.alea('7/broker-1/jitter')
  for (let i = 0; i < 10_000; i++) {
    if (i % 3 === 0) expect(stream.below(100)).toBe(Math.floor(alea() * 100))
    else expect(stream.next()).toBe(alea())
  }
})

describe('a table of delays', () => {
  test('has the percentiles it was made of', () => {
    const table = delayTable(defaultLatency.sameZone)
    const draws = Array.from({ length: 200_000 }, (_, i) => delayOf(table, drawAt(3, i))).sort((a, b) => a - b)
    const at = (share: number) => draws[Math.floor(share * draws.length)]!
    expect(medianOf(table)).toBe(150)
    expect(Math.abs(at(0.5) - 150)).toBeLessThan(5)
    expect(Math.abs(at(0.9) - 225)).toBeLessThan(15)
    expect(Math.abs(at(0.99) - 450)).toBeLessThan(60)
    expect([draws[0], draws.at(-1)]).toEqual([113, 1500])
  })

  test('read twice by one draw gives two independent delays', () => {
    const table = delayTable(defaultLatency.internet)
    const draws = Array.from({ length: count }, (_, i) => drawAt(5, i))
    expect(
      Math.abs(
        correlation(
          draws.map((draw) => delayOf(table, draw)),
          draws.map((draw) => secondDelayOf(table, draw)),
        ),
      ),
    ).toBeLessThan(0.03)
  })
})
