/**
 * One file on a virtual disk: what programs see (cached), what would be found after a power loss (durable), and the operations between the two.
 *
 * What is appended is copied into chunks of the file's own: a message's bytes would else hold on to the whole buffer they came in, which is shared with
 * much that is long gone. A byte in a chunk is never written again, so what was read may be a view of it.
 *
 * A power loss does one of these to what was not synced, by draw: all of it is there, none of it is, or it is torn: some operations are there, of the next
 * append only whole sectors, and now and then a sector in the middle reads zeros. A failed sync leaves its operations out for good, though the page
 * cache calls them clean: bytes synced later stand behind a hole of zeros, and without such bytes nothing is there.
 *
 * The medium may be damaged (a flipped bit, a sector that is not where it belongs): reads find the damage at once, as if nothing were cached, and what was truly written
 * is kept beside it.
 */

export const sectorBytes = 512

const smallestChunkBytes = 512
const largestChunkBytes = 64 * 1024

/** A stretch of a chunk. */
interface Piece {
  readonly chunk: Buffer
  readonly from: number
  to: number
}

class Extents {
  size = 0
  private readonly pieces: Piece[] = []
  private readonly starts: number[] = []

  /** What goes on in the chunk where the last piece ends makes that one longer. */
  append(chunk: Buffer, from: number, to: number): void {
    if (from === to) return
    const last = this.pieces[this.pieces.length - 1]
    if (last !== undefined && last.chunk === chunk && last.to === from) last.to = to
    else {
      this.pieces.push({ chunk, from, to })
      this.starts.push(this.size)
    }
    this.size += to - from
  }

  appendWhole(bytes: Buffer): void {
    this.append(bytes, 0, bytes.length)
  }

  cut(size: number): void {
    if (size >= this.size) return
    while (this.starts.length > 0 && this.starts[this.starts.length - 1]! >= size) {
      this.starts.pop()
      this.pieces.pop()
    }
    const last = this.pieces[this.pieces.length - 1]
    if (last !== undefined) last.to = last.from + size - this.starts[this.starts.length - 1]!
    this.size = size
  }

  /** The bytes from one offset to another, in order. */
  slice(from: number, to: number): Buffer[] {
    const end = Math.min(to, this.size)
    const found: Buffer[] = []
    for (let i = this.indexAt(from); i < this.pieces.length && this.starts[i]! < end; i++) {
      const start = this.starts[i]!
      const piece = this.pieces[i]!
      const first = piece.from + Math.max(0, from - start)
      const last = Math.min(piece.to, piece.from + end - start)
      if (last > first) found.push(piece.chunk.subarray(first, last))
    }
    return found
  }

  copy(): Extents {
    const copy = new Extents()
    for (const { chunk, from, to } of this.pieces) copy.append(chunk, from, to)
    return copy
  }

  /** The last piece that begins at or before the offset. */
  private indexAt(offset: number): number {
    let low = 0
    let high = this.starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.starts[middle]! <= offset) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** Bytes on the medium that are not what was written there. */
interface Damage {
  readonly offset: number
  readonly bytes: Buffer
}

interface Append {
  readonly kind: 'append'
  readonly chunk: Buffer
  readonly from: number
  readonly to: number
  /** Covered by a sync that failed. */
  isLost: boolean
}

interface Cut {
  readonly kind: 'cut'
  readonly size: number
  isLost: boolean
}

type Operation = Append | Cut

const noChunk = Buffer.alloc(0)

export class SimFile {
  /** Whether the file would be there after a power loss. */
  isDurable = false
  /** Completions on one file come in order. */
  lastCompletionUs = 0
  private cached = new Extents()
  private durable = new Extents()
  /** Not durable yet, in order. */
  private pending: Operation[] = []
  /** Operations that left `pending`, so that a sync can name those it covers by a number. */
  private settledOperations = 0
  private unsyncedBytes = 0
  /** Where the next append goes, if there is room. */
  private chunk = noChunk
  private chunkUsed = 0
  /** Where the durable bytes stop being what was written. */
  private holeAt = Number.POSITIVE_INFINITY
  /** Whether programs still read what is a hole on the disk. */
  private hidesHole = false
  /** What reads find in place of what was written, in the order in which it came about. */
  private damages: Damage[] | undefined = undefined

  get size(): number {
    return this.cached.size
  }

  append(bytes: Buffer): void {
    const { length } = bytes
    if (this.chunkUsed + length > this.chunk.length) {
      const larger = Math.min(Math.max(this.chunk.length * 2, smallestChunkBytes), largestChunkBytes)
      this.chunk = Buffer.allocUnsafeSlow(Math.max(length, larger))
      this.chunkUsed = 0
    }
    const { chunk, chunkUsed: from } = this
    const to = from + length
    bytes.copy(chunk, from)
    this.chunkUsed = to
    this.cached.append(chunk, from, to)
    this.pending.push({ kind: 'append', chunk, from, to, isLost: false })
    this.unsyncedBytes += length
  }

  cutTail(size: number): void {
    if (size >= this.cached.size) return
    this.cached.cut(size)
    if (this.damages !== undefined) this.damages = damagesBefore(this.damages, size)
    this.pending.push({ kind: 'cut', size, isLost: false })
  }

  read(offset: number, length: number): Buffer {
    const bytes = joined(this.cached.slice(offset, offset + length))
    return this.damages === undefined ? bytes : damaged(bytes, offset, this.damages)
  }

  get durableSize(): number {
    return this.durable.size
  }

  /** From now on reads find these bytes there; what was truly written stays known. Nothing before the end of what is durable. */
  damage(offset: number, bytes: Buffer): void {
    this.damages ??= []
    this.damages.push({ offset, bytes: bytes.subarray(0, Math.max(0, this.durable.size - offset)) })
  }

  durableBytes(): Buffer {
    return joined(this.durable.slice(0, this.durable.size))
  }

  /** The operations so far, by number, and the bytes a sync that begins now has to write. */
  beginSync(): { readonly covers: number; readonly bytes: number } {
    const bytes = this.unsyncedBytes
    this.unsyncedBytes = 0
    return { covers: this.settledOperations + this.pending.length, bytes }
  }

  /** @returns the size up to which bytes are durable as written, or undefined where nothing became durable. */
  syncSucceeded(covers: number): number | undefined {
    const count = covers - this.settledOperations
    const isNew = !this.isDurable
    if (count > 0 && this.pending[count - 1]!.isLost) return undefined
    this.isDurable = true
    if (count > 0) {
      if (count === this.pending.length) {
        this.settle(this.pending)
        this.pending.length = 0
      } else this.settle(this.pending.splice(0, count))
      this.settledOperations = covers
    } else if (!isNew) return undefined
    return Math.min(this.durable.size, this.holeAt)
  }

  /** The pages count as clean from now on: no later sync writes them. */
  syncFailed(covers: number): void {
    for (let i = covers - this.settledOperations - 1; i >= 0; i--) this.pending[i]!.isLost = true
  }

  /**
   * The machine has lost power. `draw` gives the n-th of some 32-bit draws.
   * @returns whether bytes that were written are not there any more.
   */
  losePower(draw: (index: number) => number): boolean {
    const { pending } = this
    if (pending.length === 0 && !this.hidesHole) return false
    const durableSize = this.durable.size
    const outcome = draw(0) & 3
    const keptCount = outcome === 0 ? pending.length : outcome === 1 ? 0 : (draw(1) >>> 1) % (pending.length + 1)
    let kept = pending.slice(0, keptCount)
    while (kept.at(-1)?.isLost === true) kept = kept.slice(0, -1)
    this.settle(kept)
    let isLost =
      this.hidesHole ||
      (kept.length < pending.length &&
        pending.slice(kept.length).some((operation) => operation.kind === 'append' && operation.to > operation.from))
    const next = pending[keptCount]
    if (outcome >= 2) {
      if (next?.kind === 'append' && !next.isLost && kept.length === keptCount) this.keepSectorsOf(next, draw(2))
      isLost = this.loseSector(durableSize, draw(3), draw(4)) || isLost
    }
    this.isDurable ||= kept.length > 0 || this.durable.size > 0
    this.cached = this.durable.copy()
    this.settledOperations += pending.length
    this.pending = []
    this.unsyncedBytes = 0
    this.hidesHole = false
    return isLost
  }

  private settle(operations: readonly Operation[]): void {
    for (const operation of operations) {
      if (operation.kind === 'cut') {
        this.durable.cut(operation.size)
        if (operation.size <= this.holeAt) this.holeAt = Number.POSITIVE_INFINITY
      } else if (operation.isLost) {
        if (operation.to > operation.from) {
          this.holeAt = Math.min(this.holeAt, this.durable.size)
          this.hidesHole = true
        }
        this.durable.appendWhole(Buffer.alloc(operation.to - operation.from))
      } else this.durable.append(operation.chunk, operation.from, operation.to)
    }
  }

  /** Of an append that was being written, the sectors up to some boundary are there. */
  private keepSectorsOf({ chunk, from, to }: Append, draw: number): void {
    const start = this.durable.size
    const firstBoundary = (Math.floor(start / sectorBytes) + 1) * sectorBytes
    const boundaries = Math.ceil((start + to - from - firstBoundary) / sectorBytes)
    if (boundaries <= 0) return
    const boundary = firstBoundary + ((draw >>> 1) % boundaries) * sectorBytes
    this.durable.append(chunk, from, from + boundary - start)
  }

  /** A whole sector of what was not synced, with others after it, was not written; in one of four cases. */
  private loseSector(durableSize: number, chance: number, draw: number): boolean {
    const first = Math.ceil(durableSize / sectorBytes)
    const count = Math.floor((this.durable.size - 1) / sectorBytes) - first
    if (count <= 0 || (chance & 3) !== 0) return false
    const from = (first + ((draw >>> 1) % count)) * sectorBytes
    const rest = this.durable.slice(from + sectorBytes, this.durable.size)
    this.durable.cut(from)
    this.durable.appendWhole(Buffer.alloc(sectorBytes))
    for (const bytes of rest) this.durable.appendWhole(bytes)
    if (from < this.holeAt) this.holeAt = from
    return true
  }
}

function joined(pieces: Buffer[]): Buffer {
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
}

/** A read of `bytes` that stand at `offset`, with the damage done to them. */
function damaged(bytes: Buffer, offset: number, damages: readonly Damage[]): Buffer {
  let found = bytes
  for (const damage of damages) {
    const from = Math.max(offset, damage.offset)
    const to = Math.min(offset + bytes.length, damage.offset + damage.bytes.length)
    if (from >= to) continue
    if (found === bytes) found = Buffer.from(bytes)
    damage.bytes.copy(found, from - offset, from - damage.offset, to - damage.offset)
  }
  return found
}

/** The damage to what is left after a cut. */
function damagesBefore(damages: readonly Damage[], size: number): Damage[] {
  return damages.filter(({ offset }) => offset < size).map(({ offset, bytes }) => ({ offset, bytes: bytes.subarray(0, size - offset) }))
}
