/**
 * Epoch histories: which owner's epoch wrote which bytes of a log, as a list of (epoch, first offset), both growing.
 *
 * The rule everything rests on (the log matching property of Raft, section 5.3): one epoch has one owner, who writes each offset once, and whose first
 * byte went only onto copies of the whole log it had chosen. So two logs that hold the same offset in the same epoch are equal up to it.
 */

export interface EpochStart {
  readonly epoch: number
  readonly offset: number
}

/** 0 for a log without a byte. */
export function lastEpoch(epochs: readonly EpochStart[]): number {
  return epochs.length === 0 ? 0 : epochs[epochs.length - 1]!.epoch
}

/** Index of the entry that the byte at `offset` belongs to, or -1. */
function indexAt(epochs: readonly EpochStart[], offset: number): number {
  let index = epochs.length - 1
  while (index >= 0 && epochs[index]!.offset > offset) index--
  return index
}

/** The epoch of the byte at `offset`; 0 before the first. */
export function epochAt(epochs: readonly EpochStart[], offset: number): number {
  return epochs[indexAt(epochs, offset)]?.epoch ?? 0
}

/** Where the epoch of the byte at `offset` ends: the next one's start, or infinity. */
export function epochEndAt(epochs: readonly EpochStart[], offset: number): number {
  return epochs[indexAt(epochs, offset) + 1]?.offset ?? Number.POSITIVE_INFINITY
}

/** The history of a log cut to `size`: an epoch that has no byte left is not in it. */
export function cutEpochs(epochs: readonly EpochStart[], size: number): EpochStart[] {
  return epochs.filter((entry) => entry.offset < size)
}

/** The history without the epochs that end at or before `offset`, but for the last. */
export function trimEpochs(epochs: readonly EpochStart[], offset: number): EpochStart[] {
  return epochs.filter((_, index) => index === epochs.length - 1 || epochs[index + 1]!.offset > offset)
}

/** Up to which offset two logs are surely equal; 0 where no epoch is in both. */
export function commonPrefix(a: readonly EpochStart[], aSize: number, b: readonly EpochStart[], bSize: number): number {
  let common = 0
  let j = 0
  for (let i = 0; i < a.length; i++) {
    const { epoch, offset } = a[i]!
    while (j < b.length && b[j]!.epoch < epoch) j++
    if (j === b.length) break
    if (b[j]!.epoch !== epoch) continue
    const start = Math.max(offset, b[j]!.offset)
    const end = Math.min(a[i + 1]?.offset ?? aSize, b[j + 1]?.offset ?? bSize)
    if (start <= end) common = end
  }
  return common
}
