import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { crc32c } from './crc32.ts'

/** Bit by bit, as the definition reads. */
function slowCrc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1
  }
  return (crc ^ 0xffff_ffff) >>> 0
}

describe('crc32c', () => {
  test('gives the values of RFC 3720 B.4', () => {
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a91_36aa)
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8_ab43)
    expect(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i)))).toBe(0x46dd_794e)
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe306_9283)
  })

  test('gives what the definition gives, for any range', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(20), fc.nat(20), (bytes, before, after) => {
        const buffer = Buffer.concat([Buffer.alloc(before, 7), bytes, Buffer.alloc(after, 9)])
        expect(crc32c(buffer, before, before + bytes.length)).toBe(slowCrc32c(bytes))
      }),
    )
  })
})
