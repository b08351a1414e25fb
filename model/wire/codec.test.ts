import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bool, bytes, type Field, list, oneOf, optional, Reader, record, u8, u16, u32, u53, utf8, Writer } from './codec.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

function written<T>(field: Field<T>, value: T): Buffer {
  const writer = new Writer().begin()
  field.write(writer, value)
  return writer.finish()
}

const text = fc.string({ unit: 'binary', maxLength: 12 })
const buffer = fc.uint8Array({ maxLength: 40 }).map((some) => Buffer.from(some))
const colour = oneOf('red', 'green', 'blue')
const point = record({ x: u16, y: u53 })
const everything = record({
  a: u8,
  b: u16,
  c: u32,
  d: u53,
  e: utf8,
  f: bytes,
  g: bool,
  h: colour,
  i: optional(point),
  j: list(record({ name: utf8, points: list(point) })),
})
const somePoint = fc.record({ x: fc.nat(0xffff), y: fc.maxSafeNat() })
const something = fc.record({
  a: fc.nat(0xff),
  b: fc.nat(0xffff),
  c: fc.nat(0xffff_ffff),
  d: fc.maxSafeNat(),
  e: text,
  f: buffer,
  g: fc.boolean(),
  h: fc.constantFrom('red' as const, 'green' as const, 'blue' as const),
  i: fc.option(somePoint, { nil: undefined }),
  j: fc.array(fc.record({ name: text, points: fc.array(somePoint, { maxLength: 3 }) }), { maxLength: 3 }),
})

describe('writing', () => {
  test.each<[string, Buffer, string]>([
    ['u8', written(u8, 0xfe), 'fe'],
    ['u16', written(u16, 0x0102), '0102'],
    ['u32', written(u32, 0xfffefdfc), 'fffefdfc'],
    ['u53, the largest', written(u53, Number.MAX_SAFE_INTEGER), '001fffff ffffffff'],
    ['u53, above 32 bits', written(u53, 0x1_0000_0002), '00000001 00000002'],
    ['utf8', written(utf8, 'é'), '0002 c3a9'],
    ['bytes', written(bytes, hex('0708')), '00000002 0708'],
    ['bool', written(bool, true), '01'],
    ['oneOf', written(colour, 'blue'), '02'],
    ['optional, absent', written(optional(u8), undefined), '00'],
    ['optional, present', written(optional(u8), 7), '0107'],
    ['list', written(list(u8), [1, 2]), '00000002 0102'],
    ['record', written(point, { x: 1, y: 2 }), '0001 0000000000000002'],
  ])('%s', (_name, result, expected) => {
    expect(result).toEqual(hex(expected))
  })

  test('values that were finished stay as they are while others are written, over slabs and beyond them', () => {
    const sizes = [10, 1000, 70_000, 3, 60_000, 5000, 200_000, 64 * 1024, 1]
    const values = sizes.map((size, i) => written(bytes, Buffer.alloc(size, i + 1)))
    values.forEach((value, i) => {
      expect(value.equals(Buffer.concat([written(u32, sizes[i]!), Buffer.alloc(sizes[i]!, i + 1)])), `value ${i}`).toBe(true)
    })
  })

  test('a text of any length reads back, whether it is ASCII or not, and however often texts of its length were read before', () => {
    for (let length = 0; length < 140; length++) {
      for (const value of ['x'.repeat(length), `${'x'.repeat(length)}y`, `${'x'.repeat(length)}é`, `\u0000${'€'.repeat(length)}\u007f`]) {
        const result = written(utf8, value)
        expect(result.readUInt16BE(0)).toBe(Buffer.byteLength(value))
        expect(result.subarray(2)).toEqual(Buffer.from(value))
        for (let again = 0; again < 2; again++) expect(new Reader(result).utf8()).toBe(value)
      }
    }
  })

  test('a value that was begun and not finished is written over', () => {
    const writer = new Writer().begin()
    writer.u32(1)
    writer.begin()
    writer.u8(2)
    expect(writer.finish()).toEqual(hex('02'))
  })

  test('a length can be put in later, and what was written looked at', () => {
    const writer = new Writer().begin()
    writer.u32(0)
    writer.utf8('ab')
    writer.patchU32(0, writer.length)
    expect(writer.view(4)).toEqual(hex('0002 6162'))
    expect(writer.finish()).toEqual(hex('00000008 0002 6162'))
  })
})

describe('reading', () => {
  test('any value comes back as it was', () => {
    fc.assert(
      fc.property(something, (value) => {
        const reader = new Reader(written(everything, value))
        expect(everything.read(reader)).toEqual(value)
        expect(reader.complete()).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test('a value that is cut anywhere is malformed', () => {
    fc.assert(
      fc.property(something, fc.nat(), (value, place) => {
        const whole = written(everything, value)
        const reader = new Reader(whole, 0, place % whole.length)
        everything.read(reader)
        expect(reader.complete()).toBe(false)
        expect(reader.malformed).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test('a value with bytes behind it is not complete', () => {
    const reader = new Reader(Buffer.concat([written(point, { x: 1, y: 2 }), hex('00')]))
    point.read(reader)
    expect(reader.malformed).toBe(false)
    expect(reader.complete()).toBe(false)
  })

  test('any bytes are read without throwing, never past the end, and what is taken says itself again', () => {
    const bad = fc.oneof(
      fc.uint8Array({ maxLength: 80 }).map((some) => Buffer.from(some)),
      fc.tuple(something, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
        const result = Buffer.from(written(everything, value))
        result[at % result.length] = byte
        return result
      }),
    )
    fc.assert(
      fc.property(bad, (some) => {
        const reader = new Reader(Buffer.concat([some, hex('ffffffffffffffff')]), 0, some.length)
        const value = everything.read(reader)
        expect(reader.offset).toBeLessThanOrEqual(some.length)
        // Strings are the exception: what is not UTF-8 becomes U+FFFD.
        if (reader.complete() && !JSON.stringify(value).includes('\ufffd')) expect(written(everything, value)).toEqual(some)
      }),
      { numRuns: 1000 },
    )
  })

  test.each<[string, Field<unknown>, string]>([
    ['a bool of 2', bool, '02'],
    ['a word that is not in the list', colour, '03'],
    ['u53 above 2^53 - 1', u53, '0020000000000000'],
    ['an optional that is neither there nor not', optional(u8), '0200'],
    ['bytes longer than there are', bytes, '0000000301'],
    ['text longer than there is', utf8, '0002 61'],
  ])('%s is malformed', (_name, field, bad) => {
    const reader = new Reader(hex(bad))
    field.read(reader)
    expect(reader.malformed).toBe(true)
    expect(reader.complete()).toBe(false)
  })

  test('an announced count allocates nothing before its elements came', () => {
    const reader = new Reader(hex('ffffffff 00000000'))
    expect(list(u8).read(reader)).toEqual([])
    expect(reader.malformed).toBe(true)
  })

  test('after the first thing that does not fit every read is empty', () => {
    const reader = new Reader(hex('01020304'))
    reader.raw(5)
    expect([reader.u8(), reader.u16(), reader.u32(), reader.u53(), reader.utf8(), reader.bytes().length]).toEqual([0, 0, 0, 0, '', 0])
    expect(reader.remaining).toBe(0)
  })

  test('byte fields are views, not copies', () => {
    const source = written(bytes, hex('0102'))
    expect(new Reader(source).bytes().buffer).toBe(source.buffer)
  })
})
