/**
 * How long things take: one-way delays by distance and the time of a disk sync, as percentiles that are spread out into integer tables of 1024
 * equally likely values, so that a draw costs one look-up and gives the same integer on every machine.
 *
 * Left out: bandwidth of the network, and delays that depend on load.
 */

export interface Percentiles {
  readonly leastUs: number
  readonly p50Us: number
  readonly p90Us: number
  readonly p99Us: number
  readonly p999Us: number
}

/** One-way delays. */
export interface LatencyModel {
  readonly loopback: Percentiles
  readonly sameZone: Percentiles
  readonly otherZone: Percentiles
  /** Wherever one side stands on the internet. */
  readonly internet: Percentiles
}

/** A median with the usual tail: a hundredth takes three times as long, a thousandth ten times. */
export function withTail(medianUs: number): Percentiles {
  return {
    leastUs: Math.round((medianUs * 3) / 4),
    p50Us: medianUs,
    p90Us: Math.round((medianUs * 3) / 2),
    p99Us: medianUs * 3,
    p999Us: medianUs * 10,
  }
}

/** Round trips of 0.3 ms, 1 ms and 40 ms, halved. */
export const defaultLatency: LatencyModel = {
  loopback: { leastUs: 20, p50Us: 20, p90Us: 20, p99Us: 20, p999Us: 20 },
  sameZone: withTail(150),
  otherZone: withTail(500),
  internet: withTail(20_000),
}

const tableBits = 10
const tableSize = 1 << tableBits

export type DelayTable = Int32Array

/** Linear between the percentiles; the last of the 1024 values is the one in a thousand. */
export function delayTable(percentiles: Percentiles): DelayTable {
  const points: readonly (readonly [number, number])[] = [
    [0, percentiles.leastUs],
    [512, percentiles.p50Us],
    [922, percentiles.p90Us],
    [1013, percentiles.p99Us],
    [1023, percentiles.p999Us],
  ]
  const table = new Int32Array(tableSize)
  let next = 1
  for (let i = 0; i < tableSize; i++) {
    while (i > points[next]![0]) next++
    const [fromIndex, fromUs] = points[next - 1]!
    const [toIndex, toUs] = points[next]!
    table[i] = fromUs + Math.floor(((toUs - fromUs) * (i - fromIndex)) / (toIndex - fromIndex))
  }
  return table
}

/** The value that the top bits of a draw choose. */
export function delayOf(table: DelayTable, draw: number): number {
  return table[draw >>> (32 - tableBits)]!
}

/** As `delayOf`, from bits that `delayOf` did not look at. */
export function secondDelayOf(table: DelayTable, draw: number): number {
  return table[(draw >>> (32 - 2 * tableBits)) & (tableSize - 1)]!
}

export function medianOf(table: DelayTable): number {
  return table[tableSize / 2]!
}
