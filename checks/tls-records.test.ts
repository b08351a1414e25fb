import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { TlsRecords } from './tls-records.ts'

function record(bytes: number): Buffer {
  const whole = Buffer.alloc(5 + bytes, 0x16)
  whole.writeUInt16BE(0x0303, 1)
  whole.writeUInt16BE(bytes, 3)
  return whole
}

describe('the records of a TLS handshake', () => {
  test('are cut off, however the bytes come, and nothing else is', () => {
    const lengths = fc.array(fc.nat(300), { maxLength: 3 })
    const sizes = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 })
    // CONNECT, or CONNACK, and anything.
    const packets = fc
      .tuple(fc.constantFrom(0x10, 0x20), fc.uint8Array({ maxLength: 60 }))
      .map(([first, rest]) => Buffer.from([first, ...rest]))
    fc.assert(
      fc.property(lengths, sizes, packets, (handshake, cuts, behind) => {
        const bytes = Buffer.concat([...handshake.map(record), behind])
        const records = new TlsRecords()
        const left: Buffer[] = []
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const chunk = bytes.subarray(at, at + cuts[i % cuts.length]!)
          at += chunk.length
          const rest = records.isOver ? chunk : records.cut(chunk)
          if (rest !== undefined) left.push(rest)
        }
        expect(Buffer.concat(left)).toEqual(behind)
        expect(records.isOver).toBe(true)
      }),
    )
  })
})
