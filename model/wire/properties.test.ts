import { describe, expect, test } from 'vitest'
import { PacketReader } from './mqtt-codec.ts'
import type { Packet, Properties } from './packets.ts'
import { encodeMessageProperties, messageExpiryIn } from './properties.ts'

const userProperties = [
  ['b', '1'],
  ['a', ''],
  ['b', '0'],
] as const

describe('the properties of a will that travel with its message', () => {
  const properties: Properties = {
    userProperties,
    willDelayInterval: 7,
    correlationData: Buffer.from([0, 255]),
    contentType: 'text/plain',
    messageExpiryInterval: 300,
    responseTopic: 'r',
    payloadFormatIndicator: 0,
  }

  test('are those of a PUBLISH, without the delay, user properties in their order [MQTT-3.1.3-10]', () => {
    const raw = encodeMessageProperties(properties)
    const head = Buffer.concat([Buffer.from([0x30, 4 + raw.length, 0, 1, 0x77, raw.length]), raw])
    const packets: Packet[] = []
    const reader = new PacketReader({ receiver: 'client', version: 5, maximumPacketBytes: 1000 })
    reader.read(head, { onPacket: (packet) => packets.push(packet), onMalformed: (problem) => expect.fail(problem.text) })
    const { willDelayInterval: _, ...travelling } = properties
    expect(packets).toMatchObject([{ topic: 'w', properties: travelling, rawProperties: raw }])
    expect(messageExpiryIn(raw)).toBe(300)
  })

  test('are written in the order of the table of properties, whatever the order they were given in', () => {
    expect(encodeMessageProperties({ contentType: 'c', messageExpiryInterval: 1, payloadFormatIndicator: 1 }).toString('hex')).toBe(
      '0101' + '0200000001' + '03000163',
    )
  })

  test('take no room where there are none', () => {
    expect(encodeMessageProperties({ willDelayInterval: 7 })).toHaveLength(0)
    expect(encodeMessageProperties({})).toHaveLength(0)
  })

  test('leave out what belongs to one connection', () => {
    expect(encodeMessageProperties({ topicAlias: 1, subscriptionIdentifiers: [1], payloadFormatIndicator: 1 }).toString('hex')).toBe('0101')
  })
})
