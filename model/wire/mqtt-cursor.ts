/**
 * Reads the fields of one MQTT packet and judges each on the way. Nothing throws and nothing is read past the end: the first broken rule is kept in
 * `flaw`, after which every read yields an empty value. One cursor serves many packets in turn.
 */
import { type Malformed, rules } from './mqtt-rules.ts'
import { CONTROL_CHARACTER, checkUtf8, ILL_FORMED, NULL_CHARACTER, WELL_FORMED } from './utf8.ts'

const EMPTY = Buffer.alloc(0)

const NAME_CACHE_SLOTS = 4096
const NAME_CACHE_LONGEST = 64

/** Topic names lately read, by a hash of their bytes: an ASCII name that comes again is the same string, already checked, without a native call. */
const nameCache: (string | undefined)[] = new Array(NAME_CACHE_SLOTS).fill(undefined)
/** The hash that last missed in each slot. A name gets the slot only when it misses twice in a row: more names than slots must not cost more than no cache. */
const lastMiss = new Int32Array(NAME_CACHE_SLOTS)

export class Cursor {
  flaw: Malformed | undefined = undefined
  bytes: Buffer = EMPTY
  at = 0
  end = 0
  /** Of the PUBLISH read last: its properties that travel with the message, as they stood on the wire, without their length. */
  travelling: Buffer = EMPTY

  begin(bytes: Buffer, start: number, end: number): void {
    this.flaw = undefined
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  fail(flaw: Malformed): void {
    if (this.flaw === undefined) this.flaw = flaw
    this.at = this.end
  }

  /** Moves on by `length` bytes. @returns where they begin, or -1 when they are not all there. */
  private take(length: number): number {
    const at = this.at
    if (at + length > this.end) {
      this.fail(rules.cutShort)
      return -1
    }
    this.at = at + length
    return at
  }

  u8(): number {
    const at = this.take(1)
    return at < 0 ? 0 : this.bytes[at]!
  }

  u16(): number {
    const at = this.take(2)
    return at < 0 ? 0 : (this.bytes[at]! << 8) | this.bytes[at + 1]!
  }

  u32(): number {
    const high = this.u16()
    const low = this.u16()
    return this.flaw === undefined ? high * 0x1_0000 + low : 0
  }

  packetId(): number {
    const id = this.u16()
    if (id === 0) this.fail(rules.packetIdZero)
    return id
  }

  variableByteInteger(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const at = this.take(1)
      if (at < 0) return 0
      const byte = this.bytes[at]!
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) this.fail(rules.lengthNotMinimal)
        return value
      }
    }
    this.fail(rules.lengthTooLong)
    return 0
  }

  /** Binary data with a length prefix: a view, not a copy. */
  binary(): Buffer {
    const length = this.u16()
    const at = this.take(length)
    return at < 0 ? EMPTY : this.bytes.subarray(at, at + length)
  }

  /** A string that a person wrote for people: control characters, such as line ends, are allowed. */
  text(): string {
    return this.string(true, undefined)
  }

  /** A string that names something. @param otherwise the rule that every flaw of its characters is put down to, where there is one of its own */
  name(otherwise?: Malformed): string {
    return this.string(false, otherwise)
  }

  private string(controlCharacters: boolean, otherwise: Malformed | undefined): string {
    const length = this.u16()
    const at = this.take(length)
    if (at < 0) return ''
    const verdict = checkUtf8(this.bytes, at, at + length)
    if (verdict !== WELL_FORMED && !(verdict === CONTROL_CHARACTER && controlCharacters)) {
      this.fail(
        otherwise ??
          (verdict === ILL_FORMED ? rules.illFormedUtf8 : verdict === NULL_CHARACTER ? rules.nullCharacter : rules.controlCharacter),
      )
      return ''
    }
    return this.bytes.toString('utf8', at, at + length)
  }

  /** The topic name of a PUBLISH; may be empty. The hot path. */
  topicName(): string {
    const bytes = this.bytes
    const start = this.at + 2
    if (start <= this.end) {
      const length = (bytes[start - 2]! << 8) | bytes[start - 1]!
      const end = start + length
      if (length <= NAME_CACHE_LONGEST && end <= this.end) {
        let hash = length
        let at = start
        for (; at < end; at++) {
          const byte = bytes[at]!
          // Not plain: control, beyond ASCII, `#` or `+`.
          if (byte < 0x20 || byte > 0x7e || byte === 0x23 || byte === 0x2b) break
          hash = Math.imul(hash ^ byte, 0x0100_0193)
        }
        if (at === end) {
          this.at = end
          const slot = (hash ^ (hash >>> 15)) & (NAME_CACHE_SLOTS - 1)
          const known = nameCache[slot]
          if (known !== undefined && known.length === length) {
            let i = 0
            while (i < length && known.charCodeAt(i) === bytes[start + i]) i += 1
            if (i === length) return known
          }
          const name = bytes.toString('latin1', start, end)
          if (lastMiss[slot] === hash) nameCache[slot] = name
          else lastMiss[slot] = hash
          return name
        }
      }
    }
    return this.rareTopicName(rules.wildcardInTopic)
  }

  /** A topic name where it is read seldom, or is long, not ASCII, or bad. May be empty. */
  rareTopicName(wildcard: Malformed): string {
    const start = this.at + 2
    const name = this.name()
    for (let at = start; at < this.at && this.flaw === undefined; at++) {
      const byte = this.bytes[at]!
      if (byte === 0x23 || byte === 0x2b) this.fail(wildcard)
    }
    return name
  }
}
