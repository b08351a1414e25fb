/**
 * Progress on standard error, so that standard output stays what was asked for. On a terminal one line that is written over; elsewhere a line now and
 * then. Work that is over within a second shows nothing.
 */
const SILENT_MS = 1000
const TERMINAL_INTERVAL_MS = 100
const PLAIN_INTERVAL_MS = 15_000

export class Progress {
  private readonly stream: NodeJS.WriteStream
  private readonly startedMs = performance.now()
  private shownMs = Number.NEGATIVE_INFINITY
  private dirty = false

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream
  }

  show(text: () => string): void {
    const nowMs = performance.now()
    const terminal = this.stream.isTTY === true
    if (nowMs - this.startedMs < (terminal ? SILENT_MS : PLAIN_INTERVAL_MS)) return
    if (nowMs - this.shownMs < (terminal ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS)) return
    this.shownMs = nowMs
    if (terminal) {
      this.stream.write(`\r\x1b[K${text().slice(0, (this.stream.columns ?? 80) - 1)}`)
      this.dirty = true
    } else this.stream.write(`${text()}\n`)
  }

  /** Takes the line away, before something else is written. */
  clear(): void {
    if (!this.dirty) return
    this.stream.write('\r\x1b[K')
    this.dirty = false
  }
}
