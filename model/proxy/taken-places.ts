/** Which places of a session's queue at one shard have come to a connection: nearly all in a row, so kept as ranges. */

/** Beyond this the oldest gap counts as taken. What fills a gap comes with an attachment, at its beginning. */
const MOST_RANGES = 64

export class TakenPlaces {
  /** First, last, first, last, rising; no two touch. */
  private ranges: number[] = []

  has(place: number): boolean {
    const { ranges } = this
    for (let at = ranges.length - 2; at >= 0; at -= 2) if (place >= ranges[at]!) return place <= ranges[at + 1]!
    return false
  }

  add(place: number): void {
    const { ranges } = this
    let at = ranges.length - 2
    while (at >= 0 && ranges[at]! > place) at -= 2
    // `at` is now the range that begins at or before the place, or -2.
    if (at >= 0 && place <= ranges[at + 1]!) return
    const touchesBelow = at >= 0 && ranges[at + 1] === place - 1
    const touchesAbove = ranges[at + 2] === place + 1
    if (touchesBelow && touchesAbove) ranges.splice(at + 1, 2)
    else if (touchesBelow) ranges[at + 1] = place
    else if (touchesAbove) ranges[at + 2] = place
    else if (ranges.length === 0) this.ranges = [place, place]
    else {
      ranges.splice(at + 2, 0, place, place)
      if (ranges.length > 2 * MOST_RANGES) ranges.splice(1, 2)
    }
  }
}
