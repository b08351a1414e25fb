/**
 * The payload of every message in a run: who published it and the how-manieth it was, then filler that both determine. So a subscriber's witness needs no
 * copy of what was published to know, byte for byte, whether what arrived is genuine.
 *
 * Layout: 0x53 0x51, publisher u32, sequence u32 (big-endian), filler. The filler depends on the size too, so that a payload cut short is found out; one of
 * exactly ten bytes has no filler, and only its header speaks for it.
 */

const MINIMUM_PAYLOAD_BYTES = 10
const MAGIC_HIGH = 0x53
const MAGIC_LOW = 0x51

/** Mixes the identity into a start value for the filler (multiply and xor-shift; never 0, where xorshift32 would stay). */
function fillerSeed(publisher: number, sequence: number, size: number): number {
  let state = Math.imul(publisher ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(sequence + 0x7f4a7c15, 0xc2b2ae35) ^ Math.imul(size, 0x27d4eb2f)
  state ^= state >>> 15
  state = Math.imul(state, 0x2c1b3c6d)
  state ^= state >>> 12
  return state === 0 ? 1 : state
}

/** Marsaglia's xorshift32. */
function nextFiller(state: number): number {
  let next = state ^ (state << 13)
  next ^= next >>> 17
  return next ^ (next << 5)
}

/** The payload of `size` bytes (at least ten are made) of this publisher's message with this sequence. */
export function encodePayload(publisher: number, sequence: number, size: number): Buffer {
  const length = Math.max(size, MINIMUM_PAYLOAD_BYTES)
  const bytes = Buffer.allocUnsafe(length)
  bytes[0] = MAGIC_HIGH
  bytes[1] = MAGIC_LOW
  bytes[2] = publisher >>> 24
  bytes[3] = publisher >>> 16
  bytes[4] = publisher >>> 8
  bytes[5] = publisher
  bytes[6] = sequence >>> 24
  bytes[7] = sequence >>> 16
  bytes[8] = sequence >>> 8
  bytes[9] = sequence
  let state = fillerSeed(publisher, sequence, length)
  let at = MINIMUM_PAYLOAD_BYTES
  while (at + 4 <= length) {
    state = nextFiller(state)
    bytes[at] = state
    bytes[at + 1] = state >>> 8
    bytes[at + 2] = state >>> 16
    bytes[at + 3] = state >>> 24
    at += 4
  }
  if (at < length) {
    state = nextFiller(state)
    for (let shift = 0; at < length; at++, shift += 8) bytes[at] = state >>> shift
  }
  return bytes
}

/** Whether bytes `start` to `end` begin as a payload of ours; then `publisherAt` and `sequenceAt` say whose. */
export function isPayloadHeader(bytes: Buffer, start: number, end: number): boolean {
  return end - start >= MINIMUM_PAYLOAD_BYTES && bytes[start] === MAGIC_HIGH && bytes[start + 1] === MAGIC_LOW
}

export function publisherAt(bytes: Buffer, start: number): number {
  return ((bytes[start + 2]! << 24) | (bytes[start + 3]! << 16) | (bytes[start + 4]! << 8) | bytes[start + 5]!) >>> 0
}

export function sequenceAt(bytes: Buffer, start: number): number {
  return ((bytes[start + 6]! << 24) | (bytes[start + 7]! << 16) | (bytes[start + 8]! << 8) | bytes[start + 9]!) >>> 0
}

/** Whether bytes `start` to `end` are exactly the payload that their header names. */
export function isGenuinePayload(bytes: Buffer, start: number, end: number): boolean {
  if (!isPayloadHeader(bytes, start, end)) return false
  let state = fillerSeed(publisherAt(bytes, start), sequenceAt(bytes, start), end - start)
  let at = start + MINIMUM_PAYLOAD_BYTES
  while (at + 4 <= end) {
    state = nextFiller(state)
    const found = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    if (found !== state) return false
    at += 4
  }
  if (at < end) {
    state = nextFiller(state)
    for (let shift = 0; at < end; at++, shift += 8) if (bytes[at] !== ((state >>> shift) & 0xff)) return false
  }
  return true
}

/** Who published it and the how-manieth it was; undefined when a single byte is not as it was made. */
export function decodePayload(bytes: Buffer): { readonly publisher: number; readonly sequence: number } | undefined {
  if (!isGenuinePayload(bytes, 0, bytes.length)) return undefined
  return { publisher: publisherAt(bytes, 0), sequence: sequenceAt(bytes, 0) }
}
