import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EPOCH_BEGIN, encodeLogRecord, INCOMPLETE, recordLengthAt, scanRecords, TORN } from './log-record.ts'

const body = (bytes: Buffer | Uint8Array) => (writer: { raw(value: Buffer): void }) => writer.raw(Buffer.from(bytes))

describe('log records', () => {
  test('have the documented frame', () => {
    const record = encodeLogRecord(EPOCH_BEGIN, 3, (writer) => writer.u32(7))
    expect(record.readUInt32BE(0)).toBe(6)
    expect([...record.subarray(8)]).toEqual([EPOCH_BEGIN, 3, 0, 0, 0, 7])
    expect(recordLengthAt(record, 0)).toBe(record.length)
  })

  test('are read back in order, with their offsets, whatever was written', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ type: fc.nat(255), version: fc.nat(255), body: fc.uint8Array({ maxLength: 50 }) })), (records) => {
        const log = Buffer.concat(records.map((r) => encodeLogRecord(r.type, r.version, body(r.body))))
        const seen: unknown[] = []
        let offset = 0
        const scan = scanRecords(log, 0, (at, type, version, bytes) => {
          expect(at).toBe(offset)
          offset += bytes.length + 10
          seen.push({ type, version, body: new Uint8Array(bytes) })
        })
        expect(scan).toEqual({ end: log.length, records: records.length, after: 'nothing' })
        expect(seen).toEqual(records)
      }),
    )
  })

  test('that are cut short are incomplete at every length', () => {
    const record = encodeLogRecord(9, 1, body(Buffer.from('some bytes')))
    for (let length = 0; length < record.length; length++) expect(recordLengthAt(record.subarray(0, length), 0)).toBe(INCOMPLETE)
  })

  test('are torn when any bit behind the length is wrong', () => {
    const record = encodeLogRecord(9, 1, body(Buffer.from('some bytes')))
    for (let bit = 32; bit < record.length * 8; bit++) {
      const rotten = Buffer.from(record)
      rotten[bit >> 3]! ^= 1 << (bit & 7)
      expect(recordLengthAt(rotten, 0)).toBe(TORN)
    }
  })

  test('end before zeros, before a wrong length and before a torn one', () => {
    const first = encodeLogRecord(9, 1, body(Buffer.from('first')))
    const second = Buffer.from(encodeLogRecord(9, 1, body(Buffer.from('second'))))
    second[12]! ^= 1
    const tails = [Buffer.alloc(16), Buffer.from([0xff, 0, 0, 0, 1, 2, 3, 4]), second]
    for (const tail of tails) {
      expect(scanRecords(Buffer.concat([first, tail]), 0)).toEqual({ end: first.length, records: 1, after: 'torn' })
    }
  })
})
