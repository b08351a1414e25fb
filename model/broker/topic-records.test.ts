import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytes, list, Reader, record, u32, u53, utf8, Writer } from '../wire/codec.ts'
import { messageRecord } from './topic-records.ts'

const byTable = record({
  epoch: u32,
  sequence: u32,
  messageId: u53,
  openFrom: u53,
  ageMs: u53,
  storedAtMs: u53,
  chosen: list(record({ share: utf8, clientId: utf8 })),
  message: bytes,
})

const text = fc.string({ unit: 'binary', maxLength: 10 })
const word = fc.nat(0xffff_ffff)
const long = fc.maxSafeNat()
const stored = fc.record({
  epoch: word,
  sequence: word,
  messageId: long,
  openFrom: long,
  ageMs: long,
  storedAtMs: long,
  chosen: fc.array(fc.record({ share: text, clientId: text }), { maxLength: 3 }),
  message: fc.uint8Array({ maxLength: 30 }).map((some) => Buffer.from(some)),
})

test('the record of a stored message is its fields one after the other, and reads back', () => {
  fc.assert(
    fc.property(stored, (value) => {
      const writer = new Writer().begin()
      messageRecord.write(writer, value)
      const written = writer.finish()
      writer.begin()
      byTable.write(writer, value)
      expect(written).toEqual(writer.finish())
      const reader = new Reader(written)
      expect(messageRecord.read(reader)).toEqual(value)
      expect(reader.complete()).toBe(true)
    }),
  )
})
