/** A few numbers about a list of samples. The median, because a noisy machine only ever makes a sample worse; the extremes, so that the noise is seen. */

export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** @throws where there is no sample: a figure of nothing would look like a figure. */
export function spreadOf(samples: readonly number[]): Spread {
  if (samples.length === 0) throw new Error('nothing was measured')
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, least: sorted[0]!, most: sorted.at(-1)! }
}
