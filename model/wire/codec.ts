/**
 * Binary fields of the region's internal calls and log records: big-endian, length-prefixed, no self-description.
 *
 * Reading never throws and never reads past the end: the first thing that does not fit sets `Reader.malformed`, after which every read yields an
 * empty value. Who reads a whole value asks `Reader.complete()` once at the end.
 * Writing goes straight into a shared slab that is never rewritten, so that a finished value can be handed to a port without a copy.
 */

const SLAB_BYTES = 64 * 1024

let slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
let slabUsed = 0

/** Builds one value at the end of the shared slab. Only one writer is in use at a time: a handler starts, fills and finishes it without a break. */
export class Writer {
  private buffer = slab
  private start = 0
  private position = 0

  begin(): this {
    if (slabUsed > SLAB_BYTES - 1024) {
      slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      slabUsed = 0
    }
    this.buffer = slab
    this.start = slabUsed
    this.position = slabUsed
    return this
  }

  /** The bytes written since `begin`. */
  finish(): Buffer {
    if (this.buffer === slab) slabUsed = this.position
    return this.buffer.subarray(this.start, this.position)
  }

  get length(): number {
    return this.position - this.start
  }

  private reserve(bytes: number): number {
    const at = this.position
    if (at + bytes > this.buffer.length) {
      const used = at - this.start
      const larger = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, (used + bytes) * 2))
      this.buffer.copy(larger, 0, this.start, at)
      if (larger.length === SLAB_BYTES) {
        slab = larger
        slabUsed = 0
      }
      this.buffer = larger
      this.start = 0
      this.position = used + bytes
      return used
    }
    this.position = at + bytes
    return at
  }

  u8(value: number): void {
    const at = this.reserve(1)
    this.buffer[at] = value
  }

  u16(value: number): void {
    const at = this.reserve(2)
    const buffer = this.buffer
    buffer[at] = value >>> 8
    buffer[at + 1] = value
  }

  u32(value: number): void {
    const at = this.reserve(4)
    const buffer = this.buffer
    buffer[at] = value >>> 24
    buffer[at + 1] = value >>> 16
    buffer[at + 2] = value >>> 8
    buffer[at + 3] = value
  }

  /** An integer from 0 to 2^53 - 1, in eight bytes. */
  u53(value: number): void {
    this.u32(Math.floor(value / 0x1_0000_0000))
    this.u32(value >>> 0)
  }

  /** At most 65,535 bytes long: MQTT's strings are, and ours. */
  utf8(value: string): void {
    if (value.length <= SHORT_TEXT && this.shortAscii(value)) return
    const bytes = Buffer.byteLength(value)
    if (bytes > 0xffff) throw new RangeError(`expected a text of at most 65535 bytes, got ${bytes}`)
    this.u16(bytes)
    const at = this.reserve(bytes)
    this.buffer.write(value, at, bytes, 'utf8')
  }

  /** Most texts are names, for which a call into the runtime costs more than the bytes. @returns false, with nothing written, for any other text. */
  private shortAscii(value: string): boolean {
    const { length } = value
    const at = this.reserve(2 + length)
    const { buffer } = this
    buffer[at] = 0
    buffer[at + 1] = length
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i)
      if (unit > 0x7f) {
        this.position = at
        return false
      }
      buffer[at + 2 + i] = unit
    }
    return true
  }

  bytes(value: Buffer): void {
    this.u32(value.length)
    this.raw(value)
  }

  /** Bytes without a length before them. */
  raw(value: Buffer): void {
    const at = this.reserve(value.length)
    value.copy(this.buffer, at)
  }

  /** Overwrites four bytes written earlier in this value, such as a length known only at the end. */
  patchU32(offset: number, value: number): void {
    this.buffer.writeUInt32BE(value >>> 0, this.start + offset)
  }

  /** What was written so far from `offset` on, for a checksum over it. */
  view(offset: number): Buffer {
    return this.buffer.subarray(this.start + offset, this.position)
  }
}

const EMPTY = Buffer.alloc(0)
const NONE: readonly never[] = []

/** Texts up to this length are looked for among those read before. Below 256, so that one byte holds the length. */
const SHORT_TEXT = 64
/** A power of two. */
const KNOWN_TEXTS = 4096
const knownTexts: string[] = new Array<string>(KNOWN_TEXTS).fill('')

/** The same topics and client ids are read again and again: a text that was read lately is found instead of made. @returns undefined where it is not ASCII. */
function shortAsciiAt(buffer: Buffer, from: number, to: number): string | undefined {
  let hash = to - from
  for (let at = from; at < to; at++) {
    const byte = buffer[at]!
    if (byte > 0x7f) return undefined
    hash = Math.imul(hash ^ byte, 0x0100_0193)
  }
  const place = (hash ^ (hash >>> 15)) & (KNOWN_TEXTS - 1)
  const known = knownTexts[place]!
  if (known.length === to - from) {
    let at = from
    while (at < to && known.charCodeAt(at - from) === buffer[at]) at++
    if (at === to) return known
  }
  const text = buffer.toString('latin1', from, to)
  knownTexts[place] = text
  return text
}

/** Reads fields from one buffer. Byte fields are views of it, not copies. */
export class Reader {
  malformed = false
  private readonly buffer: Buffer
  private position: number
  private readonly end: number

  constructor(buffer: Buffer, start = 0, end = buffer.length) {
    this.buffer = buffer
    this.position = start
    this.end = end
  }

  get offset(): number {
    return this.position
  }

  get remaining(): number {
    return this.end - this.position
  }

  /** True when every byte was read and none was missing. */
  complete(): boolean {
    return !this.malformed && this.position === this.end
  }

  fail(): void {
    this.malformed = true
    this.position = this.end
  }

  private take(bytes: number): number {
    const at = this.position
    if (at + bytes > this.end) {
      this.fail()
      return -1
    }
    this.position = at + bytes
    return at
  }

  u8(): number {
    const at = this.take(1)
    return at < 0 ? 0 : this.buffer[at]!
  }

  u16(): number {
    const at = this.take(2)
    if (at < 0) return 0
    const buffer = this.buffer
    return (buffer[at]! << 8) | buffer[at + 1]!
  }

  u32(): number {
    const at = this.take(4)
    if (at < 0) return 0
    const buffer = this.buffer
    return ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0
  }

  u53(): number {
    const high = this.u32()
    const low = this.u32()
    if (high > 0x1f_ffff) this.fail()
    return this.malformed ? 0 : high * 0x1_0000_0000 + low
  }

  utf8(): string {
    const length = this.u16()
    const at = this.take(length)
    if (at < 0) return ''
    const known = length <= SHORT_TEXT ? shortAsciiAt(this.buffer, at, at + length) : undefined
    return known ?? this.buffer.toString('utf8', at, at + length)
  }

  bytes(): Buffer {
    return this.raw(this.u32())
  }

  raw(length: number): Buffer {
    const at = this.take(length)
    return at < 0 ? EMPTY : this.buffer.subarray(at, at + length)
  }
}

/** How one value is written and read. */
export interface Field<T> {
  write(writer: Writer, value: T): void
  read(reader: Reader): T
}

export type Value<F> = F extends Field<infer T> ? T : never

export const u8: Field<number> = { write: (w, v) => w.u8(v), read: (r) => r.u8() }
export const u16: Field<number> = { write: (w, v) => w.u16(v), read: (r) => r.u16() }
export const u32: Field<number> = { write: (w, v) => w.u32(v), read: (r) => r.u32() }
export const u53: Field<number> = { write: (w, v) => w.u53(v), read: (r) => r.u53() }
export const utf8: Field<string> = { write: (w, v) => w.utf8(v), read: (r) => r.utf8() }
export const bytes: Field<Buffer> = { write: (w, v) => w.bytes(v), read: (r) => r.bytes() }
export const bool: Field<boolean> = {
  write: (w, v) => w.u8(v ? 1 : 0),
  read: (r) => {
    const value = r.u8()
    if (value > 1) r.fail()
    return value === 1
  },
}

/** One of a fixed list of words, as its index. Words are only ever added at the end of the list: the index is the wire format. */
export function oneOf<const W extends string>(...words: readonly W[]): Field<W> {
  return {
    write: (w, v) => w.u8(words.indexOf(v)),
    read: (r) => {
      const word = words[r.u8()]
      if (word === undefined) r.fail()
      return word ?? words[0]!
    },
  }
}

export function optional<T>(field: Field<T>): Field<T | undefined> {
  return {
    write: (w, v) => {
      w.u8(v === undefined ? 0 : 1)
      if (v !== undefined) field.write(w, v)
    },
    read: (r) => (bool.read(r) ? field.read(r) : undefined),
  }
}

export function list<T>(field: Field<T>): Field<readonly T[]> {
  return {
    write: (w, values) => {
      w.u32(values.length)
      for (let i = 0; i < values.length; i++) field.write(w, values[i]!)
    },
    read: (r) => {
      const count = r.u32()
      // Every element takes at least a byte, so that an announced count cannot make us allocate more than came.
      if (count > r.remaining) r.fail()
      if (count === 0 || r.malformed) return NONE
      // Lists are mostly this short and some are kept for long: `push` makes room for sixteen more.
      const values = [field.read(r)]
      for (let i = 1; i < count && !r.malformed; i++) values.push(field.read(r))
      return values
    },
  }
}

interface AnyField {
  write(writer: Writer, value: never): void
  read(reader: Reader): unknown
}
type Fields = Readonly<Record<string, AnyField>>
export type RecordValue<F> = { readonly [K in keyof F]: Value<F[K]> }

/** Fields one after the other, in the order in which they are written down. */
export function record<const F extends Fields>(fields: F): Field<RecordValue<F>> {
  const names = Object.keys(fields)
  const parts = names.map((name) => fields[name] as unknown as Field<unknown>)
  return {
    write: (w, value) => {
      const values = value as Record<string, unknown>
      for (let i = 0; i < parts.length; i++) parts[i]!.write(w, values[names[i]!])
    },
    read: (r) => {
      const value: Record<string, unknown> = {}
      for (let i = 0; i < parts.length; i++) value[names[i]!] = parts[i]!.read(r)
      return value as RecordValue<F>
    },
  }
}
