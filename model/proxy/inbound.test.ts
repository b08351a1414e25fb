import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Exchange, Inbound, type Slot } from './inbound.ts'

const exchange: Exchange = { state: 'storing', messageId: 0, reasonCode: undefined, slots: [] }

describe('acknowledgements of publishes', () => {
  test('wait for their turn among their own kind, not for the other kind', () => {
    const inbound = new Inbound()
    const first = inbound.receivedQoS1(1)
    const second = inbound.receivedQoS2(2, exchange)
    const third = inbound.receivedQoS2(3, exchange)
    const fourth = inbound.receivedQoS1(4)
    expect(inbound.open).toBe(4)
    third.reasonCode = 0
    fourth.reasonCode = 0x10
    expect(inbound.takeReady()).toBe(undefined)
    second.reasonCode = 0x97
    expect(inbound.takeReady()).toEqual({ exchange, packetId: 2, reasonCode: 0x97 })
    expect(inbound.takeReady()).toEqual({ exchange, packetId: 3, reasonCode: 0 })
    expect(inbound.takeReady()).toBe(undefined)
    expect(inbound.open).toBe(2)
    first.reasonCode = 0
    expect(inbound.takeReady()).toEqual({ exchange: undefined, packetId: 1, reasonCode: 0 })
    expect(inbound.takeReady()).toEqual({ exchange: undefined, packetId: 4, reasonCode: 0x10 })
    expect(inbound.open).toBe(0)
  })

  const publishes = fc.array(fc.constantFrom<1 | 2>(1, 2), { minLength: 1, maxLength: 30 }).chain((qualities) =>
    fc.record({
      qualities: fc.constant(qualities),
      answered: fc.shuffledSubarray([...qualities.keys()], { minLength: qualities.length }),
    }),
  )

  const leaveInOrder = (qos: 1 | 2) =>
    fc.assert(
      fc.property(publishes, ({ qualities, answered }) => {
        const inbound = new Inbound()
        const slots: Slot[] = qualities.map((one, index) =>
          one === 1 ? inbound.receivedQoS1(index + 1) : inbound.receivedQoS2(index + 1, exchange),
        )
        const expected = qualities.flatMap((one, index) => (one === qos ? [index + 1] : []))
        const left: number[] = []
        for (const index of answered) {
          slots[index]!.reasonCode = 0
          for (let ready = inbound.takeReady(); ready !== undefined; ready = inbound.takeReady()) {
            if ((ready.exchange === undefined) === (qos === 1)) left.push(ready.packetId)
          }
          // All that are answered have left up to the first that is not.
          const open = expected.findIndex((packetId) => slots[packetId - 1]!.reasonCode === undefined)
          expect(left).toEqual(open < 0 ? expected : expected.slice(0, open))
        }
        expect(left).toEqual(expected)
        expect(inbound.open).toBe(0)
      }),
    )

  test('of QoS 1 leave in the order of the publishes [MQTT-4.6.0-2]', () => leaveInOrder(1))
  test('of QoS 2 leave in the order of the publishes [MQTT-4.6.0-3]', () => leaveInOrder(2))
})

test('an abandoned way in abandons the appends to every shard', () => {
  const inbound = new Inbound()
  const streams = [3, 5, 3].map((shard) => inbound.streamTo(shard, 'c', 7))
  expect(streams[0]).toBe(streams[2])
  inbound.abandon()
  expect(streams.map((stream) => stream.abandoned)).toEqual([true, true, true])
})
