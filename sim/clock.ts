/**
 * A machine's wall clock: true time from a fixed epoch on, plus an offset that may jump, plus a drift. For display and query only; the monotonic clock of a
 * process is true time and never wrong.
 */

/** What the wall clock of a right machine shows when the world begins: 2026-01-01T00:00:00Z. */
const epochMs = 1_767_225_600_000

export class WallClock {
  private offsetUs = 0
  private driftPartsPerMillion = 0
  private driftSinceUs = 0

  wallMs(nowUs: number): number {
    return epochMs + (nowUs + this.offsetUs + this.driftedUs(nowUs)) / 1000
  }

  jump(byMs: number): void {
    this.offsetUs += byMs * 1000
  }

  /** From now on it gains so many µs a second; negative: it loses. What it gained before stays. */
  drift(partsPerMillion: number, nowUs: number): void {
    this.offsetUs += this.driftedUs(nowUs)
    this.driftSinceUs = nowUs
    this.driftPartsPerMillion = partsPerMillion
  }

  /** Adds to the rate of its drift from now on. */
  driftBy(partsPerMillion: number, nowUs: number): void {
    this.drift(this.driftPartsPerMillion + partsPerMillion, nowUs)
  }

  private driftedUs(nowUs: number): number {
    return Math.trunc(((nowUs - this.driftSinceUs) * this.driftPartsPerMillion) / 1_000_000)
  }
}
