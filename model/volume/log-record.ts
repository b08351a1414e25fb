/**
 * The frame of a log record: length u32 | CRC-32C u32 of what follows | type u8 | version u8 | body. `length` counts what follows the checksum.
 *
 * A reader knows a whole record from one that is cut short (`incomplete`) and from one whose bytes are wrong (`torn`); zeros, as a disk leaves
 * them where a write was lost, are torn. Type numbers are the broker's to choose, but for those below. A later version of a record may only add to the end of its body:
 * during a rolling upgrade a program of the version before reads it too, as far as it knows it.
 */
import { Writer } from '../wire/codec.ts'
import { crc32c } from '../wire/crc32.ts'

/** The volume's own record, the first of every epoch; its body is the epoch, and from version 2 on which version of the program its owner runs. */
export const EPOCH_BEGIN = 1
/** The highest version in which the first record of an epoch is written. */
export const EPOCH_BEGIN_LATEST = 2
/** The last record of an epoch whose owner handed the volume over: it says nothing more in the volume's name. Its body is the epoch. */
export const EPOCH_END = 250
/** Up to here goes a backup point; the body is the owner's wall clock, for people. */
export const BACKUP_POINT = 251
/** In place of `EPOCH_BEGIN` where what came before is a backup point and something after it is lost. Replayed to whoever lives on the volume. */
export const RESTORED = 252

const RECORD_HEADER_BYTES = 8
/** Type and version. */
const SHORTEST = 2
/** Where a record's body begins. */
export const RECORD_BODY_OFFSET = RECORD_HEADER_BYTES + SHORTEST
/** Longer than any record that is written, and far below what a frame of an internal call may carry. */
const MAXIMUM_RECORD_BYTES = 8 << 20

const writer = new Writer()

/** The body must not use another `Writer` while it is written. */
export function encodeLogRecord(type: number, version: number, writeBody: (writer: Writer) => void): Buffer {
  writer.begin()
  writer.u32(0)
  writer.u32(0)
  writer.u8(type)
  writer.u8(version)
  writeBody(writer)
  if (writer.length > MAXIMUM_RECORD_BYTES)
    throw new Error(`a log record of ${writer.length} bytes; at most ${MAXIMUM_RECORD_BYTES} are allowed`)
  writer.patchU32(0, writer.length - RECORD_HEADER_BYTES)
  writer.patchU32(4, crc32c(writer.view(RECORD_HEADER_BYTES)))
  return writer.finish()
}

export const INCOMPLETE = 0
export const TORN = -1

/** @returns how many bytes the whole, sound record at `at` takes, or `INCOMPLETE`, or `TORN`. */
export function recordLengthAt(buffer: Buffer, at: number): number {
  const available = buffer.length - at
  if (available < 4) return INCOMPLETE
  const length = buffer.readUInt32BE(at)
  if (length < SHORTEST || length > MAXIMUM_RECORD_BYTES - RECORD_HEADER_BYTES) return TORN
  const total = length + RECORD_HEADER_BYTES
  if (available < total) return INCOMPLETE
  return crc32c(buffer, at + RECORD_HEADER_BYTES, at + total) === buffer.readUInt32BE(at + 4) ? total : TORN
}

/** Where whole records end and what comes after them there. */
interface RecordScan {
  readonly end: number
  readonly records: number
  readonly after: 'nothing' | 'incomplete' | 'torn'
}

/** Walks the records from `start` on and stops at the first that is not whole and sound. */
export function scanRecords(
  buffer: Buffer,
  start: number,
  visit?: (at: number, type: number, version: number, body: Buffer) => void,
): RecordScan {
  let at = start
  let records = 0
  while (at < buffer.length) {
    const total = recordLengthAt(buffer, at)
    if (total === INCOMPLETE || total === TORN) return { end: at, records, after: total === TORN ? 'torn' : 'incomplete' }
    if (visit !== undefined) visit(at, buffer[at + 8]!, buffer[at + 9]!, buffer.subarray(at + 10, at + total))
    at += total
    records++
  }
  return { end: at, records, after: 'nothing' }
}

/** How long the record at `at` says it is, where at least its length is there; for who wants to read the rest of it. */
export function announcedLengthAt(buffer: Buffer, at: number): number {
  return buffer.length - at < 4 ? RECORD_HEADER_BYTES : Math.min(buffer.readUInt32BE(at) + RECORD_HEADER_BYTES, MAXIMUM_RECORD_BYTES)
}
