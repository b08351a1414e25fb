import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CONTROL_CHARACTER, checkUtf8, ILL_FORMED, isCleanText, NULL_CHARACTER, textBytes, WELL_FORMED, writeText } from './utf8.ts'

/** The platform's decoder as the second opinion: it puts U+FFFD in the place of what is ill-formed, and then the bytes do not come back. */
const decodes = (bytes: Uint8Array): boolean => Buffer.from(Buffer.from(bytes).toString('utf8')).equals(bytes)

const verdict = (bytes: Uint8Array) => checkUtf8(bytes, 0, bytes.length)

describe('checkUtf8', () => {
  test.each([
    ['plain ASCII', 'sensor/1', WELL_FORMED],
    ['two, three and four bytes', 'é€𝄞', WELL_FORMED],
    ['U+FEFF at the start [MQTT-1.5.4-3]', '\ufeffa', WELL_FORMED],
    ['non-characters', '\uffff\ufdd0\u{10ffff}', WELL_FORMED],
    ['U+0000 [MQTT-1.5.4-2]', 'a\u0000', NULL_CHARACTER],
    ['U+0001', '\u0001', CONTROL_CHARACTER],
    ['U+007F', '\u007f', CONTROL_CHARACTER],
    ['U+009F', '\u009f', CONTROL_CHARACTER],
    ['U+00A0, the first behind the control characters', '\u00a0', WELL_FORMED],
    ['U+0000 behind a control character', '\u0001\u0000', NULL_CHARACTER],
  ])('%s', (_name, text, expected) => {
    expect(verdict(Buffer.from(text))).toBe(expected)
  })

  test.each([
    ['a surrogate', 'eda080'],
    ['the last surrogate', 'edbfbf'],
    ['U+0000 overlong', 'c080'],
    ['a slash overlong', 'c1af'],
    ['three bytes overlong', 'e09fbf'],
    ['four bytes overlong', 'f08fbfbf'],
    ['above U+10FFFF', 'f4908080'],
    ['a lead that no character has', 'f5808080'],
    ['a continuation alone', '80'],
    ['two bytes cut', 'c3'],
    ['three bytes cut', 'e282'],
    ['four bytes cut', 'f09d84'],
    ['a continuation missing in the middle', 'e24182'],
    ['a control character before it', '01ff'],
  ])('%s is ill-formed [MQTT-1.5.4-1]', (_name, hex) => {
    expect(verdict(Buffer.from(hex, 'hex'))).toBe(ILL_FORMED)
  })

  test('finds ill-formed exactly what the platform finds so, when no U+0000 comes before', () => {
    const nearUtf8 = fc
      .tuple(fc.string({ unit: 'binary' }), fc.array(fc.tuple(fc.nat(64), fc.nat(255)), { maxLength: 2 }))
      .map(([text, changes]) => {
        const bytes = Buffer.from(text)
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
        return bytes
      })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 12 }), nearUtf8), (bytes) => {
        const found = verdict(bytes)
        if (found === NULL_CHARACTER) expect(bytes.includes(0)).toBe(true)
        else expect(found !== ILL_FORMED).toBe(decodes(bytes))
      }),
      { numRuns: 600 },
    )
  })
})

describe('texts', () => {
  test('a text is clean exactly when its bytes are', () => {
    const unit = fc.oneof(fc.nat(0xffff), fc.constantFrom(0x1f, 0x7f, 0x9f, 0xa0, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0x41))
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 8 }), (units) => {
        const text = String.fromCharCode(...units)
        const bytes = Buffer.from(text)
        const survives = bytes.toString() === text
        expect(isCleanText(text)).toBe(survives && verdict(bytes) === WELL_FORMED)
      }),
      { numRuns: 2000 },
    )
  })

  test('a text is clean up to 65,535 bytes', () => {
    expect(isCleanText('a'.repeat(65_535))).toBe(true)
    expect(isCleanText('a'.repeat(65_536))).toBe(false)
    expect(isCleanText(`${'€'.repeat(21_845)}`)).toBe(true)
    expect(isCleanText(`${'€'.repeat(21_845)}a`)).toBe(false)
    expect(isCleanText(`${'𝄞'.repeat(16_383)}aaa`)).toBe(true)
    expect(isCleanText(`${'𝄞'.repeat(16_384)}`)).toBe(false)
  })

  test('what is written is the length and the bytes, whatever the length and the characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 100 }), fc.nat(80), (head, filler) => {
        const text = head + 'x'.repeat(filler)
        const bytes = Buffer.from(text)
        expect(textBytes(text)).toBe(bytes.length)
        const target = Buffer.alloc(bytes.length + 3, 0xee)
        expect(writeText(target, 1, text, bytes.length)).toBe(bytes.length + 3)
        expect(target).toEqual(Buffer.concat([Buffer.from([0xee, bytes.length >>> 8, bytes.length & 0xff]), bytes]))
      }),
    )
  })
})
