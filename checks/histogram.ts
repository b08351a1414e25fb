/**
 * Times as a histogram: percentiles, and how many fell into each bucket. Few times are kept one by one and summed up exactly (`summarise`); many are kept by buckets alone
 * (`LatencyHistogram`), whose percentiles are at most an eighth too high.
 */

export interface TimeSummary {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
  readonly count: number
  /** Times above the bucket before and up to `upToMs`; buckets without any are left out. */
  readonly buckets: readonly TimeBucket[]
}

export interface TimeBucket {
  readonly upToMs: number
  readonly count: number
}

/** 1, 2 and 5 of every power of ten, from a tenth of a millisecond to a day. */
const BOUNDS_MS: readonly number[] = Array.from({ length: 27 }, (_, i) => [1, 2, 5][i % 3]! * Number(`1e${Math.floor(i / 3) - 1}`))

/** Percentiles by nearest rank, in ms. */
export function summarise(timesUs: readonly number[]): TimeSummary {
  const sorted = Float64Array.from(timesUs).sort()
  const rank = (share: number) =>
    sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]! / 1000
  const counts = new Array<number>(BOUNDS_MS.length).fill(0)
  for (const timeUs of sorted) counts[boundOf(timeUs / 1000)]!++
  return { p50: rank(0.5), p90: rank(0.9), p99: rank(0.99), max: rank(1), count: sorted.length, buckets: bucketsOf(counts) }
}

function boundOf(ms: number): number {
  const at = BOUNDS_MS.findIndex((bound) => ms <= bound)
  return at < 0 ? BOUNDS_MS.length - 1 : at
}

function bucketsOf(counts: readonly number[]): readonly TimeBucket[] {
  return counts.flatMap((count, i) => (count === 0 ? [] : [{ upToMs: BOUNDS_MS[i]!, count }]))
}

/** Parts of each doubling. */
const PARTS = 8
const DOUBLINGS = 40

export class LatencyHistogram {
  count = 0
  private maximumUs = 0
  private readonly counts = new Float64Array(PARTS * DOUBLINGS)

  add(timeUs: number): void {
    this.count++
    if (timeUs > this.maximumUs) this.maximumUs = timeUs
    this.counts[slotOf(timeUs)]!++
  }

  /** In µs; never below the true one. */
  quantile(share: number): number {
    let rank = Math.ceil(share * this.count)
    for (let slot = 0; slot < this.counts.length; slot++) {
      rank -= this.counts[slot]!
      if (rank <= 0) return Math.min(this.maximumUs, endOf(slot))
    }
    return this.maximumUs
  }

  summary(): TimeSummary {
    const counts = new Array<number>(BOUNDS_MS.length).fill(0)
    this.counts.forEach((count, slot) => {
      if (count > 0) counts[boundOf(Math.min(this.maximumUs, endOf(slot)) / 1000)]! += count
    })
    const ms = (share: number) => (this.count === 0 ? 0 : this.quantile(share) / 1000)
    return { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), max: this.maximumUs / 1000, count: this.count, buckets: bucketsOf(counts) }
  }
}

function slotOf(timeUs: number): number {
  const at = Math.max(1, Math.floor(timeUs))
  const doubling = Math.min(DOUBLINGS - 1, Math.floor(Math.log2(at)))
  const from = 2 ** doubling
  return doubling * PARTS + Math.min(PARTS - 1, Math.floor(((at - from) * PARTS) / from))
}

/** The greatest time of a slot. */
function endOf(slot: number): number {
  const from = 2 ** Math.floor(slot / PARTS)
  return from + (from * ((slot % PARTS) + 1)) / PARTS
}
