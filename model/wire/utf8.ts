/**
 * UTF-8 Encoded Strings of MQTT (MQTT 5.0 section 1.5.4): what is well-formed, how long a text is on the wire, and writing it.
 *
 * The check follows the table of well-formed byte sequences (Unicode 15, table 3-7; RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF.
 * U+FEFF is a character like any other [MQTT-1.5.4-3], and so are non-characters.
 */

export const WELL_FORMED = 0
export const ILL_FORMED = 1
/** Contains U+0000. */
export const NULL_CHARACTER = 2
/** Well-formed, but contains U+0001..U+001F or U+007F..U+009F. */
export const CONTROL_CHARACTER = 3
type Utf8Verdict = typeof WELL_FORMED | typeof ILL_FORMED | typeof NULL_CHARACTER | typeof CONTROL_CHARACTER

/** Judges `bytes[start, end)`. What is worse wins: a control character is named only where there is nothing else. */
export function checkUtf8(bytes: Uint8Array, start: number, end: number): Utf8Verdict {
  let verdict: Utf8Verdict = WELL_FORMED
  let at = start
  while (at < end) {
    const lead = bytes[at]!
    if (lead < 0x80) {
      if (lead < 0x20 || lead === 0x7f) {
        if (lead === 0) return NULL_CHARACTER
        verdict = CONTROL_CHARACTER
      }
      at += 1
      continue
    }
    // Below 0xc2: a continuation byte, or the lead of an overlong form.
    if (lead < 0xc2 || lead > 0xf4) return ILL_FORMED
    const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
    if (at + length > end) return ILL_FORMED
    const second = bytes[at + 1]!
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
    if (second < least || second > most) return ILL_FORMED
    if (length > 2 && (bytes[at + 2]! & 0xc0) !== 0x80) return ILL_FORMED
    if (length > 3 && (bytes[at + 3]! & 0xc0) !== 0x80) return ILL_FORMED
    if (lead === 0xc2 && second < 0xa0) verdict = CONTROL_CHARACTER
    at += length
  }
  return verdict
}

export const MAXIMUM_TEXT_BYTES = 0xffff

/** Whether a text can be written as a string that `checkUtf8` finds without a flaw, and is short enough for its length prefix. */
export function isCleanText(text: string): boolean {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0)) return false
    if (unit < 0x80) continue
    bytes += unit < 0x800 ? 1 : 2
    if (unit < 0xd800 || unit > 0xdfff) continue
    const next = text.charCodeAt(i + 1)
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return false
    // Two units, four bytes.
    i += 1
  }
  return bytes <= MAXIMUM_TEXT_BYTES
}

/** Whether a text has neither U+0000 nor half a surrogate pair: whether every reader takes its encoding for well-formed. */
export function isWritableText(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit === 0) return false
    if (unit < 0xd800 || unit > 0xdfff) continue
    const next = text.charCodeAt(i + 1)
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return false
    i += 1
  }
  return true
}

/** How many bytes a text takes on the wire, without its length prefix. Native calls cost more than a loop over a short text. */
export function textBytes(text: string): number {
  const length = text.length
  if (length > 64) return Buffer.byteLength(text)
  for (let i = 0; i < length; i++) {
    if (text.charCodeAt(i) > 0x7f) return Buffer.byteLength(text)
  }
  return length
}

/**
 * Writes the length prefix and the text. @param bytes what `textBytes` said.
 * @returns the offset behind it
 */
export function writeText(target: Buffer, offset: number, text: string, bytes: number): number {
  target[offset] = bytes >>> 8
  target[offset + 1] = bytes
  const start = offset + 2
  if (bytes !== text.length) {
    target.write(text, start, bytes, 'utf8')
  } else if (bytes > 32) {
    target.write(text, start, bytes, 'latin1')
  } else {
    for (let i = 0; i < bytes; i++) target[start + i] = text.charCodeAt(i)
  }
  return start + bytes
}
