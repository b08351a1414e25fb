/**
 * Checkpoints: a shard's whole state as records of its own log, in pieces that stand together. Once they are durable the volume's mark moves to the first
 * piece, and a later attach replays from there: a checkpoint and a bounded tail.
 */
import type { Volume } from '../volume/volume.ts'
import { Writer } from '../wire/codec.ts'
import { checkpointRecord, RECORD_VERSION } from './topic-records.ts'

const PIECE_BYTES = 256 * 1024

/** Says when the next checkpoint is due: after so many bytes of log, and never more often than its own size allows. */
export class CheckpointTrigger {
  private readonly leastBytes: number
  private lastEnd = 0
  private lastBytes = 0
  private writing = false

  constructor(leastBytes: number) {
    this.leastBytes = leastBytes
  }

  attached(volume: Volume): void {
    this.lastEnd = volume.markOffset
  }

  due(volume: Volume): boolean {
    return !this.writing && volume.endOffset - this.lastEnd >= Math.max(this.leastBytes, 4 * this.lastBytes)
  }

  begun(): void {
    this.writing = true
  }

  ended(endOffset: number, bytes: number): void {
    this.writing = false
    this.lastEnd = endOffset
    this.lastBytes = bytes
  }
}

export function appendCheckpoint(volume: Volume, trigger: CheckpointTrigger, recordType: number, write: (writer: Writer) => void): void {
  trigger.begun()
  const writer = new Writer().begin()
  write(writer)
  const bytes = writer.finish()
  let start = -1
  for (let at = 0; at === 0 || at < bytes.length; at += PIECE_BYTES) {
    const piece = { first: at === 0, last: at + PIECE_BYTES >= bytes.length, bytes: bytes.subarray(at, at + PIECE_BYTES) }
    const offset = volume.append(recordType, RECORD_VERSION, (piecewise) => checkpointRecord.write(piecewise, piece))
    if (start < 0) start = offset
  }
  const endOffset = volume.endOffset
  volume.whenDurable(() => {
    volume.mark(start)
    trigger.ended(endOffset, bytes.length)
  })
}

/** Puts the pieces of a checkpoint together again. */
export class CheckpointReader {
  private pieces: Buffer[] = []

  /** @returns the whole checkpoint with its last piece. */
  take(piece: { readonly first: boolean; readonly last: boolean; readonly bytes: Buffer }): Buffer | undefined {
    if (piece.first) this.pieces = []
    this.pieces.push(piece.bytes)
    return piece.last ? Buffer.concat(this.pieces) : undefined
  }
}
