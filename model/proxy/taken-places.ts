/** Which places of a session's queue at one shard have come to a connection: nearly all in a row, so kept as ranges, the last of them at hand. */

/** Beyond this the oldest gap counts as taken. What fills a gap comes with an attachment, at its beginning. */
const MOST_RANGES = 64

export class TakenPlaces {
  /** The range that grows: from `first` to `last`. */
  private first: number
  private last: number
  /** Those before it: first, last, first, last, rising; no two of them touch. Undefined while there are none. */
  private earlier: number[] | undefined = undefined

  constructor(place: number) {
    this.first = place
    this.last = place
  }

  /** @returns false where the place was there. */
  add(place: number): boolean {
    if (place < this.first) return this.addEarlier(place)
    if (place <= this.last) return false
    if (place > this.last + 1) {
      this.keepEarlier(this.first, this.last)
      this.first = place
    }
    this.last = place
    return true
  }

  private addEarlier(place: number): boolean {
    const ranges = this.earlier
    if (ranges === undefined) {
      this.earlier = [place, place]
      return true
    }
    let at = ranges.length - 2
    while (at >= 0 && ranges[at]! > place) at -= 2
    // `at` is now the range that begins at or before the place, or -2.
    if (at >= 0 && place <= ranges[at + 1]!) return false
    const touchesBelow = at >= 0 && ranges[at + 1] === place - 1
    const touchesAbove = ranges[at + 2] === place + 1
    if (touchesBelow && touchesAbove) ranges.splice(at + 1, 2)
    else if (touchesBelow) ranges[at + 1] = place
    else if (touchesAbove) ranges[at + 2] = place
    else this.insert(ranges, at + 2, place, place)
    return true
  }

  private keepEarlier(first: number, last: number): void {
    if (this.earlier === undefined) this.earlier = [first, last]
    else this.insert(this.earlier, this.earlier.length, first, last)
  }

  private insert(ranges: number[], at: number, first: number, last: number): void {
    ranges.splice(at, 0, first, last)
    if (ranges.length > 2 * MOST_RANGES) ranges.splice(1, 2)
  }
}
