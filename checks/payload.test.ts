import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodePayload, encodePayload } from './payload.ts'

const publisher = fc.nat(0xffff_ffff)
const sequence = fc.nat(0xffff_ffff)
const size = fc.integer({ min: 10, max: 200 })

describe('payloads', () => {
  test('say who published them and which they are', () => {
    fc.assert(
      fc.property(publisher, sequence, size, (p, s, bytes) => {
        const payload = encodePayload(p, s, bytes)
        expect(payload.length).toBe(bytes)
        expect(decodePayload(payload)).toEqual({ publisher: p, sequence: s })
      }),
    )
  })

  test('begin with 0x53 0x51, publisher and sequence, and have ten bytes at least', () => {
    expect(encodePayload(1, 2, 0).toString('hex')).toBe('53510000000100000002')
  })

  test('a changed byte is found out, wherever it is', () => {
    fc.assert(
      fc.property(
        publisher,
        sequence,
        fc.integer({ min: 14, max: 200 }),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (p, s, bytes, at, change) => {
          const payload = encodePayload(p, s, bytes)
          payload[at % bytes]! ^= change
          expect(decodePayload(payload)).toBeUndefined()
        },
      ),
    )
  })

  test('a payload cut short is found out', () => {
    expect(decodePayload(encodePayload(7, 9, 64).subarray(0, 63))).toBeUndefined()
    expect(decodePayload(encodePayload(7, 9, 64).subarray(0, 9))).toBeUndefined()
  })
})
