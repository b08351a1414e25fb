/** Rules that hold for any packet and any bytes, of all three versions, to a server and to a client. */
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import {
  binary,
  change,
  changed,
  conversation,
  cutInto,
  legalBytes,
  MAXIMUM_PACKET_BYTES,
  propertiesOf,
  randomBytes,
  read,
  topicName,
} from './mqtt-arbitrary.test-support.ts'
import { encodePacket, encodePublish, type Malformed, PacketReader } from './mqtt-codec.ts'
import type { Packet, Publish } from './packets.ts'
import { messageExpiryIn } from './properties.ts'

const withoutRaw = (packet: Packet | Malformed): unknown => {
  if (!('type' in packet) || packet.type !== 'publish') return packet
  const { rawProperties: _, ...rest } = packet
  return rest
}

const singleBytes = (bytes: Buffer): Buffer[] => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))

describe('any packet', () => {
  test('comes back as it was, whatever the chunks, of every kind and version', () => {
    const seen = new Set<string>()
    fc.assert(
      fc.property(conversation, fc.array(fc.nat(1000), { maxLength: 6 }), ({ stream, packets }, places) => {
        const bytes = Buffer.concat(packets.map((packet) => encodePacket(packet, stream.version)))
        expect(read(stream, cutInto(bytes, places)).map(withoutRaw)).toEqual(packets)
        for (const { type } of packets) seen.add(`${type} ${stream.version} to a ${stream.receiver}`)
      }),
      { numRuns: 600 },
    )
    // To each side ten kinds in 3.x (to a client 3.x has no DISCONNECT) and AUTH, and to a client DISCONNECT, in 5.
    const toServer = 'connect publish puback pubrec pubrel pubcomp subscribe unsubscribe pingreq disconnect'.split(' ')
    const toClient = 'connack publish puback pubrec pubrel pubcomp suback unsuback pingresp'.split(' ')
    for (const version of [3, 4, 5]) {
      const ofFive = version === 5 ? ['auth'] : []
      for (const type of [...toServer, ...ofFive]) expect(seen).toContain(`${type} ${version} to a server`)
      for (const type of [...toClient, ...ofFive, ...(version === 5 ? ['disconnect'] : [])]) {
        expect(seen).toContain(`${type} ${version} to a client`)
      }
    }
  })

  test('forwarded with its own bytes, a PUBLISH keeps its properties in their order and takes the expiry it is given [MQTT-3.3.2-4] [MQTT-3.3.2-6] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]', () => {
    const extra = fc.record(
      {
        topicAlias: fc.integer({ min: 1, max: 0xffff }),
        subscriptionIdentifiers: fc.array(fc.integer({ min: 1, max: 0xfffffff }), { minLength: 1 }),
      },
      { requiredKeys: [] },
    )
    const received = fc.tuple(topicName, binary, propertiesOf('publish', 'client'))
    fc.assert(
      fc.property(received, extra, fc.option(fc.nat(), { nil: undefined }), ([topic, payload, properties], ofConnection, expiry) => {
        const plain = { type: 'publish', topic, payload, qos: 0, dup: false, retain: false, packetId: 0 } as const
        const inbound = encodePacket(properties === undefined ? plain : { ...plain, properties }, 5)
        const { rawProperties } = read({ receiver: 'client', version: 5 }, [inbound])[0] as Publish
        expect(messageExpiryIn(rawProperties!)).toBe(properties?.messageExpiryInterval)
        const given = expiry === undefined ? ofConnection : { ...ofConnection, messageExpiryInterval: expiry }
        const outbound = encodePublish({ ...plain, rawProperties: rawProperties!, properties: given }, 5)
        const { topicAlias: _, subscriptionIdentifiers: __, ...travelling } = properties ?? {}
        const expected = { ...travelling, ...given }
        const forwarded = read({ receiver: 'client', version: 5 }, [outbound])[0] as Publish
        expect(forwarded.properties ?? {}).toEqual(expected)
        expect(forwarded.payload).toEqual(payload)
      }),
      { numRuns: 200 },
    )
  })

  test('whose end is cut off, with a length that says so, is refused or is another that is right', () => {
    fc.assert(
      fc.property(conversation, fc.nat(), ({ stream, packets }, place) => {
        const packet = packets.at(-1)
        if (packet === undefined) return
        const before = Buffer.concat(packets.slice(0, -1).map((one) => encodePacket(one, stream.version)))
        const whole = encodePacket(packet, stream.version)
        const body = whole.subarray(whole.length < 130 ? 2 : 3)
        if (body.length === 0) return
        const cut = body.subarray(0, place % Math.min(body.length, 128))
        const last = read(stream, [Buffer.concat([before, Buffer.from([whole[0]!, cut.length]), cut])]).at(-1)!
        if (!('type' in last)) expect(last.reasonCode).toBeGreaterThanOrEqual(0x81)
        // Short forms and payloads: what is left is a packet by itself.
        else expect(last.type).toBe(packet.type)
      }),
      { numRuns: 400 },
    )
  })
})

describe('any bytes', () => {
  const anyBytes = fc.oneof({ weight: 3, arbitrary: legalBytes }, { weight: 2, arbitrary: randomBytes })

  test('never throw, end, and get the same verdict for any chunks', () => {
    fc.assert(
      fc.property(
        anyBytes,
        fc.array(change, { maxLength: 3 }),
        fc.array(fc.nat(1000), { maxLength: 6 }),
        ({ stream, bytes }, changes, places) => {
          const bad = changed(bytes, changes)
          const whole = read(stream, [bad])
          expect(read(stream, cutInto(bad, places))).toEqual(whole)
          expect(read(stream, singleBytes(bad))).toEqual(whole)
        },
      ),
      { numRuns: 800 },
    )
  })

  test('end with the first that is refused: nothing is told after it', () => {
    fc.assert(
      fc.property(anyBytes, fc.array(change, { maxLength: 2 }), randomBytes, ({ stream, bytes }, changes, { bytes: after }) => {
        const outcome = read(stream, [changed(bytes, changes), after])
        const refusals = outcome.flatMap((one, at) => ('type' in one ? [] : [at]))
        if (refusals.length > 0) expect(refusals).toEqual([outcome.length - 1])
      }),
      { numRuns: 300 },
    )
  })

  test('take memory in proportion to what came, whatever a header announces', () => {
    const endless = fc.record({
      firstByte: fc.constantFrom(0x10, 0x30, 0x32, 0x82, 0xa2),
      length: fc.integer({ min: 1 << 21, max: 0x0fff_ffff }),
      pieces: fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 20 }),
    })
    const filler = Buffer.alloc(5000, 0x61)
    fc.assert(
      fc.property(endless, fc.constantFrom(MAXIMUM_PACKET_BYTES, 0x1000_0005), ({ firstByte, length, pieces }, maximumPacketBytes) => {
        const header = [firstByte, (length & 127) | 128, ((length >> 7) & 127) | 128, ((length >> 14) & 127) | 128, length >> 21]
        const reader = new PacketReader({ receiver: 'server', maximumPacketBytes, version: 4 })
        const room = vi.spyOn(Buffer, 'allocUnsafe')
        const problems: number[] = []
        const sink = {
          onPacket: () => expect.fail('no packet is whole'),
          onMalformed: (problem: Malformed) => problems.push(problem.reasonCode),
        }
        try {
          let came = 0
          for (const chunk of [Buffer.from(header), ...pieces.map((size) => filler.subarray(0, size))]) {
            reader.read(chunk, sink)
            came += chunk.length
          }
          const largest = Math.max(0, ...room.mock.calls.map(([bytes]) => bytes))
          const tooLarge = maximumPacketBytes < length
          expect(problems).toEqual(tooLarge ? [0x95] : [])
          expect(largest).toBeLessThanOrEqual(tooLarge ? 5 : Math.max(2048, 2 * came))
        } finally {
          room.mockRestore()
        }
      }),
      { numRuns: 200 },
    )
  })

  test('that are taken can be said again: decoding what was encoded from them gives the same', () => {
    fc.assert(
      fc.property(legalBytes, fc.array(change, { maxLength: 2 }), ({ stream, bytes }, changes) => {
        const packets = read(stream, [changed(bytes, changes)]).filter((one): one is Packet => 'type' in one)
        const version = packets[0]?.type === 'connect' ? packets[0].version : stream.version
        const again = Buffer.concat(packets.map((packet) => encodePacket(packet, version)))
        expect(read({ ...stream, version }, [again])).toEqual(packets)
      }),
      { numRuns: 300 },
    )
  })
})
