import { describe, expect, test } from 'vitest'
import {
  client,
  connect4,
  connect5,
  frame,
  malformedFrames,
  type Part,
  properties,
  server,
  statementOf,
  withNull,
} from './malformed-frames.test-support.ts'
import { type Malformed, PacketReader } from './mqtt-codec.ts'
import { rules } from './mqtt-rules.ts'
import type { ProtocolVersion } from './packets.ts'
import { carrier, propertyTable } from './properties.ts'
import { type Role, reasonCodeFlaw } from './reason-codes.ts'

function verdict(chunks: readonly Buffer[], receiver: Role, version: ProtocolVersion | undefined): Malformed | 'packet' | 'waiting' {
  const reader = new PacketReader({ receiver, maximumPacketBytes: 1000, ...(version === undefined ? {} : { version }) })
  const seen: (Malformed | 'packet')[] = []
  for (const chunk of chunks) reader.read(chunk, { onPacket: () => seen.push('packet'), onMalformed: (problem) => seen.push(problem) })
  expect(seen.length).toBeLessThanOrEqual(1)
  return seen[0] ?? 'waiting'
}

describe('refused', () => {
  test.each(malformedFrames)('%s', (name, receiver, version, bytes, reasonCode) => {
    expect(verdict([bytes], receiver, version)).toMatchObject({ reasonCode, statement: statementOf(name) })
  })

  test.each(malformedFrames)('%s: the same wherever it is cut in two, and byte by byte', (_name, receiver, version, bytes) => {
    const whole = verdict([bytes], receiver, version)
    for (let cut = 1; cut < bytes.length; cut++) {
      expect(verdict([bytes.subarray(0, cut), bytes.subarray(cut)], receiver, version), `cut at ${cut}`).toEqual(whole)
    }
    const single = [...bytes].map((byte) => Buffer.from([byte]))
    expect(verdict(single, receiver, version)).toEqual(whole)
  })

  test('every rule has a row', () => {
    const tried = new Set(
      malformedFrames.map(([, receiver, version, bytes]) => {
        const problem = verdict([bytes], receiver, version)
        return typeof problem === 'string' ? problem : problem.text.split(': ')[0]
      }),
    )
    const untried = Object.values(rules).filter((rule) => !tried.has(rule.text))
    expect(untried.map((rule) => rule.text)).toEqual([])
  })
})

describe('the CONNACK that a refused CONNECT may get', () => {
  test.each<[string, Buffer, Malformed['refusal']]>([
    ['level 2: return code 1 [v3.1.1 MQTT-3.1.2-2]', frame(0x10, 'MQTT', 2, 2, 0, 10, 'c'), { version: 3, reasonCode: 1 }],
    ['a name that does not go with its level: return code 1', frame(0x10, 'MQIsdp', 4, 2, 0, 10, 'c'), { version: 3, reasonCode: 1 }],
    ['the bridge bit: return code 1', frame(0x10, 'MQTT', 0x84, 2, 0, 10, 'c'), { version: 3, reasonCode: 1 }],
    ['level 6: reason code 0x84 [MQTT-3.1.2-2]', frame(0x10, 'MQTT', 6, 2, 0, 10, 'c'), { version: 5, reasonCode: 0x84 }],
    ['3.1.1 without client id: return code 2', connect4(0, ''), { version: 4, reasonCode: 2 }],
    ['3.1 without client id: return code 2', frame(0x10, 'MQIsdp', 3, 2, 0, 10, ''), { version: 3, reasonCode: 2 }],
    ['MQTT 5, malformed: its reason code', connect5(3, 0, 'c'), { version: 5, reasonCode: 0x81 }],
    ['MQTT 5, bad client id: its reason code', connect5(2, 0, withNull), { version: 5, reasonCode: 0x85 }],
    ['MQTT 5, bytes behind the end: its reason code', connect5(2, 0, 'c', 0), { version: 5, reasonCode: 0x81 }],
    ['another protocol name: none', frame(0x10, 'HTTP', 4, 2, 0, 10, 'c'), undefined],
    ['3.1.1, malformed: none', connect4(3, 'c'), undefined],
  ])('%s', (_name, bytes, refusal) => {
    expect((verdict([bytes], server, undefined) as Malformed).refusal).toEqual(refusal)
  })
})

describe('the table of properties', () => {
  /** How each packet looks around its properties, for a receiver that may get it. */
  const around: Record<keyof typeof carrier, readonly [Role, ProtocolVersion | undefined, (section: Buffer) => Buffer]> = {
    connect: [server, undefined, (section) => connect5(2, section, 'c')],
    will: [server, undefined, (section) => connect5(6, 0, 'c', section, 'w', '')],
    connack: [client, 5, (section) => frame(0x20, 0, 0, section)],
    publish: [client, 5, (section) => frame(0x30, 'a', section)],
    puback: [server, 5, (section) => frame(0x40, 0, 1, 0, section)],
    pubrec: [server, 5, (section) => frame(0x50, 0, 1, 0, section)],
    pubrel: [server, 5, (section) => frame(0x62, 0, 1, 0, section)],
    pubcomp: [server, 5, (section) => frame(0x70, 0, 1, 0, section)],
    subscribe: [server, 5, (section) => frame(0x82, 0, 1, section, 'a', 0)],
    suback: [client, 5, (section) => frame(0x90, 0, 1, section, 0)],
    unsubscribe: [server, 5, (section) => frame(0xa2, 0, 1, section, 'a')],
    unsuback: [client, 5, (section) => frame(0xb0, 0, 1, section, 0)],
    disconnect: [server, 5, (section) => frame(0xe0, 0, section)],
    auth: [server, 5, (section) => frame(0xf0, 0x18, section)],
  }

  /** Table 2-4 of MQTT 5.0, written down a second time, as the packets stand there. */
  const packetsOf: Record<number, string> = {
    1: 'publish will',
    2: 'publish will',
    3: 'publish will',
    8: 'publish will',
    9: 'publish will',
    11: 'publish subscribe',
    17: 'connect connack disconnect',
    18: 'connack',
    19: 'connack',
    21: 'connect connack auth',
    22: 'connect connack auth',
    23: 'connect',
    24: 'will',
    25: 'connect',
    26: 'connack',
    28: 'connack disconnect',
    31: 'connack puback pubrec pubrel pubcomp suback unsuback disconnect auth',
    33: 'connect connack',
    34: 'connect connack',
    35: 'publish',
    36: 'connack',
    37: 'connack',
    38: Object.keys(carrier).join(' '),
    39: 'connect connack',
    40: 'connack',
    41: 'connack',
    42: 'connack',
  }

  const sampleBytes = { byte: [1], 'two-byte': [0, 1], 'four-byte': [0, 0, 0, 1], variable: [1], binary: [0, 0] } as const
  const some = (type: string): readonly Part[] =>
    type === 'pair' ? ['k', 'v'] : type in sampleBytes ? sampleBytes[type as keyof typeof sampleBytes] : ['x']

  test('has the 27 properties of the standard', () => {
    expect(propertyTable.map((row) => row.id)).toEqual(Object.keys(packetsOf).map(Number))
  })

  for (const packet of Object.keys(carrier) as (keyof typeof carrier)[]) {
    test(`${packet} takes its own properties, once and within their range, and no other`, () => {
      const [receiver, version, build] = around[packet]
      for (const row of propertyTable) {
        const own = packetsOf[row.id]!.split(' ').includes(packet)
        // Not alone: data needs a method, and AUTH always does.
        const method: readonly Part[] = row.id !== 0x15 && (packet === 'auth' || row.id === 0x16) ? [0x15, 'm'] : []
        const outcome = verdict([build(properties(row.id, ...some(row.type), ...(own ? method : [])))], receiver, version)
        if (own) expect(outcome, row.name).toBe('packet')
        else expect(outcome, row.name).toMatchObject({ reasonCode: 0x81, text: expect.stringContaining('does not have') })
        if (!own) continue
        // Out of its range, where the type leaves room for that.
        const numbers = { byte: [2], 'two-byte': [0, 0], 'four-byte': [0, 0, 0, 0], variable: [0] } as Record<string, readonly number[]>
        const out = row.type === 'byte' ? row.most < 0xff : row.least > 0
        if (out) {
          const outside = verdict([build(properties(row.id, ...numbers[row.type]!, ...method))], receiver, version)
          expect(outside, row.name).toMatchObject({ reasonCode: row.name === 'topicAlias' ? 0x94 : 0x82 })
        }
        const twice = verdict([build(properties(row.id, ...some(row.type), row.id, ...some(row.type), ...method))], receiver, version)
        const repeats = row.name === 'userProperties' || (row.name === 'subscriptionIdentifiers' && packet === 'publish')
        if (repeats) expect(twice, row.name).toBe('packet')
        else expect(twice, row.name).toMatchObject({ reasonCode: 0x82, text: expect.stringContaining('more than once') })
      }
    })
  }
})

describe('the table of reason codes', () => {
  test('is that of the standard, from each sender [MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.9.3-2] [MQTT-3.11.3-2] [MQTT-3.14.2-1] [MQTT-3.15.2-1]', () => {
    const packets = ['connack', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'suback', 'unsuback', 'disconnect', 'auth'] as const
    const allowed = (receiver: Role, version: ProtocolVersion) =>
      Object.fromEntries(
        packets.map((packet) => [
          packet,
          Buffer.from([...Array(256).keys()].filter((code) => reasonCodeFlaw(packet, code, receiver, version) === undefined)).toString(
            'hex',
          ),
        ]),
      )
    expect(allowed('client', 5)).toEqual({
      connack: '00808182838485868788898a8c909597999a9b9c9d9f',
      puback: '00108083879091' + '9799',
      pubrec: '00108083879091' + '9799',
      pubrel: '0092',
      pubcomp: '0092',
      suback: '0001028083878f91979ea1a2',
      unsuback: '00118083878f91',
      disconnect: '008081828387898b8c8d8e8f909394959697989' + '99a9b9c9d9e9fa0a1a2',
      auth: '0018',
    })
    expect(allowed('server', 5)).toMatchObject({
      puback: '008083879091' + '9799',
      pubrel: '0092',
      disconnect: '000480818283909394959697' + '9899',
      auth: '1819',
    })
    expect(allowed('client', 4)).toMatchObject({ connack: '000102030405', suback: '00010280' })
  })
})
