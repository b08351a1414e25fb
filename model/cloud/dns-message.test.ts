import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readDnsMessage, responseCodes, rotated, writeDnsQuery, writeDnsResponse } from './dns-message.ts'

const query = (name: string, id = 7) => readDnsMessage(writeDnsQuery(id, name))!
const label = fc.stringMatching(/^[a-z0-9_-]{1,20}$/)
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
const address = fc.ipV4()

describe('DNS messages', () => {
  test('a query is read as it was written', () => {
    expect(query('MQTT.Example.com', 4242)).toMatchObject({
      id: 4242,
      isResponse: false,
      opcode: 0,
      recursionDesired: true,
      question: { name: 'mqtt.example.com', type: 'A' },
    })
  })

  test('a query has the bytes of RFC 1035', () => {
    expect(writeDnsQuery(0x1234, 'a.bc').toString('hex')).toBe('123401000001000000000000' + '0161026263000001' + '0001')
  })

  test('an answer carries id, question and addresses in order, for any of them', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), name, fc.array(address, { maxLength: 5 }), fc.nat(100_000), (id, name, addresses, ttlSeconds) => {
        const answer = readDnsMessage(writeDnsResponse(query(name, id), responseCodes.noError, addresses, ttlSeconds))!
        expect(answer).toMatchObject({ id, isResponse: true, responseCode: 0, question: { name } })
        expect(answer.addresses).toEqual(addresses.map((address) => ({ address, ttlSeconds })))
      }),
    )
  })

  test('an answer fits a datagram of 512 bytes, however many addresses there are', () => {
    fc.assert(
      fc.property(name, fc.array(address, { minLength: 20, maxLength: 100 }), (name, addresses) => {
        const bytes = writeDnsResponse(query(name), responseCodes.noError, addresses, 60)
        expect(bytes.length).toBeLessThanOrEqual(512)
        expect(readDnsMessage(bytes)!.addresses.length).toBeGreaterThan(3)
      }),
    )
  })

  test('the question is echoed in the case in which it was asked', () => {
    const bytes = writeDnsResponse(query('MqTT.example'), responseCodes.nameError, [], 0)
    expect(bytes.includes('MqTT')).toBe(true)
    expect(readDnsMessage(bytes)).toMatchObject({ responseCode: responseCodes.nameError, addresses: [] })
  })

  test('no bytes make reading throw, and none make answering throw', () => {
    const mutated = fc
      .tuple(name, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 6 }), fc.nat(60))
      .map(([name, changes, length]) => {
        const bytes = writeDnsResponse(query(name), responseCodes.noError, ['10.1.2.3'], 60)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        return bytes.subarray(0, Math.max(length, bytes.length - 20))
      })
    const random = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(mutated, random), (bytes) => {
        const message = readDnsMessage(bytes)
        if (message !== undefined)
          expect(writeDnsResponse(message, responseCodes.formatError, ['10.0.0.1'], 1).length).toBeLessThanOrEqual(512)
      }),
      { numRuns: 2000 },
    )
  })

  test('a name that no host can have is no question', () => {
    expect(query('spaces are wrong').question).toBeUndefined()
    expect(query('ümlaut').question).toBeUndefined()
  })

  test('rotating keeps every value', () => {
    expect(rotated([1, 2, 3], 0)).toEqual([1, 2, 3])
    expect(rotated([1, 2, 3], 2)).toEqual([3, 1, 2])
    expect(rotated([], 0)).toEqual([])
  })
})
