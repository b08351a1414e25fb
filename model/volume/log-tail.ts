/**
 * The newest part of a volume's log in the owner's memory: what is not yet durable, and a bounded rest behind it for copies that lag and readers of
 * what was just written.
 *
 * Records lie one after the other in slabs; none lies in two slabs, and a byte once written is never written again, so a view of a slab can go to a port.
 */

const FIRST_SLAB_BYTES = 8 * 1024
const SLAB_BYTES = 64 * 1024

interface Slab {
  readonly start: number
  readonly bytes: Buffer
  used: number
}

export class LogTail {
  /** Where the log ends. */
  end: number
  private readonly slabs: Slab[] = []
  private held = 0

  constructor(offset: number) {
    this.end = offset
  }

  /** The first offset in memory; the end where there is none. */
  get start(): number {
    return this.slabs[0]?.start ?? this.end
  }

  append(record: Buffer): void {
    let slab = this.slabs[this.slabs.length - 1]
    if (slab === undefined || slab.used + record.length > slab.bytes.length) {
      const room = Math.max(record.length, this.slabs.length === 0 ? FIRST_SLAB_BYTES : SLAB_BYTES)
      slab = { start: this.end, bytes: Buffer.allocUnsafeSlow(room), used: 0 }
      this.slabs.push(slab)
      this.held += room
    }
    record.copy(slab.bytes, slab.used)
    slab.used += record.length
    this.end += record.length
  }

  /** Whole records from `offset` on, as far as one slab holds them and `limit` allows; `limit` lies between records. */
  at(offset: number, limit: number): Buffer | undefined {
    if (offset < this.start || offset >= limit) return undefined
    let index = this.slabs.length - 1
    while (this.slabs[index]!.start > offset) index--
    const slab = this.slabs[index]!
    return slab.bytes.subarray(offset - slab.start, Math.min(slab.used, limit - slab.start))
  }

  /** Lets go of the oldest slabs that end at or before `offset` while more than `keepBytes` are held. */
  release(offset: number, keepBytes: number): void {
    while (this.held > keepBytes && this.slabs.length > 1) {
      const first = this.slabs[0]!
      if (first.start + first.used > offset) return
      this.held -= first.bytes.length
      this.slabs.shift()
    }
  }
}
