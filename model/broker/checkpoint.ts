/**
 * Checkpoints: a shard's whole state as records of its own log, in pieces that stand together. Once they are durable the volume's mark moves to the first
 * piece, and a later attach replays from there: a checkpoint and a bounded tail. A shard says what its state is and how it is written, once (`Checkpoints`).
 * Where nobody reads older records any more, the log is trimmed up to its newest checkpoint, as soon as the mark there is durable.
 */
import type { Host } from '../host.ts'
import type { Volume } from '../volume/volume.ts'
import { type Field, Reader, Writer } from '../wire/codec.ts'
import { checkpointRecord, RECORD_VERSION } from './topic-records.ts'

const PIECE_BYTES = 256 * 1024

/** Says when the next checkpoint is due: after so many bytes of log, and never more often than its own size allows. */
class CheckpointTrigger {
  private readonly leastBytes: number
  private lastEnd = 0
  private lastBytes = 0
  writing = false

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

function appendCheckpoint(
  volume: Volume,
  trigger: CheckpointTrigger,
  recordType: number,
  write: (writer: Writer) => void,
  onMarked: (start: number) => void,
): void {
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
    onMarked(start)
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

/** A shard's state as a whole. */
interface CheckpointedState<State> {
  /** Of the shard, for people: `session shard`. */
  readonly name: string
  readonly recordType: number
  readonly field: Field<State>
  /** What a record says is in the state, so that no record before a checkpoint is read again. */
  readonly isAllInState: boolean
  snapshot(): State
  restore(state: State): void
}

/** The checkpoints of one shard: when to write them, and what a replay makes of them. */
export class Checkpoints<State> {
  private readonly host: Host
  private readonly state: CheckpointedState<State>
  private readonly trigger: CheckpointTrigger
  private readonly reader = new CheckpointReader()
  private pristine = true

  constructor(host: Host, leastBytes: number, state: CheckpointedState<State>) {
    this.host = host
    this.state = state
    this.trigger = new CheckpointTrigger(leastBytes)
  }

  /**
   * To be asked about each record of a replay. Only the checkpoint that the replay began with counts: a later one says what the records before it have said.
   * @returns whether the record was part of a checkpoint, and so is dealt with.
   */
  replay(recordType: number, body: Buffer): boolean {
    if (recordType !== this.state.recordType) {
      this.pristine = false
      return false
    }
    const whole = this.reader.take(checkpointRecord.read(new Reader(body)))
    if (whole === undefined || !this.pristine) return true
    this.pristine = false
    this.host.reached(`${this.state.name} restored from a checkpoint`)
    const reader = new Reader(whole)
    const state = this.state.field.read(reader)
    if (!reader.complete()) throw new Error(`checkpoint of a ${this.state.name} does not decode`)
    this.state.restore(state)
    return true
  }

  attached(volume: Volume): void {
    this.trigger.attached(volume)
    this.trim(volume, volume.markOffset)
  }

  writeIfDue(volume: Volume): void {
    if (this.trigger.due(volume)) this.write(volume)
  }

  /** Does nothing while one is being written. */
  write(volume: Volume): void {
    if (this.trigger.writing) return
    const { recordType, field } = this.state
    const snapshot = this.state.snapshot()
    const write = (writer: Writer) => field.write(writer, snapshot)
    appendCheckpoint(volume, this.trigger, recordType, write, (start) => this.trim(volume, start))
  }

  private trim(volume: Volume, start: number): void {
    if (this.state.isAllInState) volume.trim(start)
  }
}
