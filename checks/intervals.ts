/**
 * A set of sequence numbers, kept as sorted runs of neighbours. What the checks know of millions of messages is a few of these: ten million numbers in a row
 * take the room of one, and every gap costs one run more.
 *
 * The newest run stands in two fields, because nearly every change extends it; older runs are a flat list of pairs, made when there is a first gap.
 * Left out: taking numbers out again, which no check needs.
 */
export class IntervalSet {
  private first = 0
  private last = -1
  /** Pairs (first, last) of the runs below `first`, ascending; undefined while there is but one run. */
  private older: number[] | undefined = undefined

  copy(): IntervalSet {
    const copy = new IntervalSet()
    copy.first = this.first
    copy.last = this.last
    copy.older = this.older === undefined ? undefined : [...this.older]
    return copy
  }

  /** The greatest number in the set, or -1. */
  get max(): number {
    return this.last
  }

  get runs(): number {
    return (this.last < 0 ? 0 : 1) + (this.older === undefined ? 0 : this.older.length / 2)
  }

  /** How many numbers are in the set. */
  get size(): number {
    let total = this.last < 0 ? 0 : this.last - this.first + 1
    const older = this.older
    if (older !== undefined) for (let i = 0; i < older.length; i += 2) total += older[i + 1]! - older[i]! + 1
    return total
  }

  has(value: number): boolean {
    if (value >= this.first) return value <= this.last
    const older = this.older
    if (older === undefined) return false
    const at = this.runBelow(value)
    return at >= 0 && value <= older[at + 1]!
  }

  /** Adds a number; false when it was there. */
  add(value: number): boolean {
    if (value === this.last + 1 && this.last >= 0) {
      this.last = value
      return true
    }
    if (value > this.last) {
      if (this.last >= 0) {
        if (this.older === undefined) this.older = []
        this.older.push(this.first, this.last)
      }
      this.first = value
      this.last = value
      return true
    }
    if (value >= this.first) return false
    return this.addBelow(value)
  }

  /** The first number not below `from` that is in this set and not in `other`, or -1. */
  firstMissingFrom(other: IntervalSet, from: number): number {
    let candidate = this.nextIn(from)
    while (candidate >= 0) {
      const gap = other.nextNotIn(candidate)
      if (gap === candidate) return candidate
      candidate = this.nextIn(gap)
    }
    return -1
  }

  /** The first number not below `from` that is in the set, or -1. */
  nextIn(from: number): number {
    if (from > this.last) return -1
    if (from >= this.first) return from
    const older = this.older
    if (older === undefined) return this.first
    const at = this.runBelow(from)
    if (at >= 0 && from <= older[at + 1]!) return from
    return at + 2 < older.length ? older[at + 2]! : this.first
  }

  /** The first number not below `from` that is not in the set. */
  nextNotIn(from: number): number {
    if (from > this.last) return from
    if (from >= this.first) return this.last + 1
    const older = this.older
    if (older === undefined) return from
    const at = this.runBelow(from)
    return at >= 0 && from <= older[at + 1]! ? older[at + 1]! + 1 : from
  }

  /** Index of the last older run that begins at or below `value`, or -2. */
  private runBelow(value: number): number {
    const older = this.older!
    let low = 0
    let high = older.length >> 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (older[middle * 2]! <= value) low = middle + 1
      else high = middle
    }
    return (low - 1) * 2
  }

  private addBelow(value: number): boolean {
    if (this.older === undefined) this.older = []
    const older = this.older
    const at = this.runBelow(value)
    if (at >= 0 && value <= older[at + 1]!) return false
    const joinsLower = at >= 0 && older[at + 1]! === value - 1
    const next = at + 2
    const upperIsNewest = next >= older.length
    const joinsUpper = (upperIsNewest ? this.first : older[next]!) === value + 1
    if (joinsLower && joinsUpper) {
      if (upperIsNewest) {
        this.first = older[at]!
        older.length -= 2
      } else {
        older[at + 1] = older[next + 1]!
        older.splice(next, 2)
      }
    } else if (joinsLower) older[at + 1] = value
    else if (joinsUpper) {
      if (upperIsNewest) this.first = value
      else older[next] = value
    } else older.splice(next, 0, value, value)
    if (older.length === 0) this.older = undefined
    return true
  }
}

/** The runs of numbers from `from` on that are in `required` and not in `present`, as pairs, at most `limit`; and how many numbers they hold in all. */
export function missingRuns(
  required: IntervalSet,
  present: IntervalSet,
  from: number,
  limit: number,
): { readonly runs: readonly (readonly [number, number])[]; readonly count: number } {
  const runs: [number, number][] = []
  let count = 0
  let at = required.firstMissingFrom(present, from)
  while (at >= 0) {
    const endOfRequired = required.nextNotIn(at)
    const found = present.nextIn(at)
    const end = found >= 0 && found < endOfRequired ? found : endOfRequired
    count += end - at
    if (runs.length < limit) runs.push([at, end - 1])
    at = required.firstMissingFrom(present, end)
  }
  return { runs, count }
}
