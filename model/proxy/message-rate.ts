/**
 * How many messages a client has published in the present second, for a quota. A bucket that holds a second's worth and fills evenly, so that the rate holds over any
 * second that follows, and a client that was held back by us may catch up once. Only what was admitted counts.
 */
export class MessageRate {
  private left: number
  private countedMs: number

  constructor(perSecond: number, nowMs: number) {
    this.left = perSecond
    this.countedMs = nowMs
  }

  /** Counts one message. @returns false where it is one too many. */
  admit(perSecond: number, nowMs: number): boolean {
    this.left = Math.min(perSecond, this.left + ((nowMs - this.countedMs) / 1000) * perSecond)
    this.countedMs = nowMs
    if (this.left < 1) return false
    this.left--
    return true
  }

  /** After a refusal: how long until one more is admitted, if the rate stays as it is. */
  waitMs(perSecond: number): number {
    return Math.max(1, Math.ceil(((1 - this.left) * 1000) / perSecond))
  }
}
