/** Which reason codes a packet may carry, by its sender (MQTT 5.0 table 2-6 and the table of each packet; MQTT 3.1.1 sections 3.2.2.3 and 3.9.3). */
import { type Malformed, rules } from './mqtt-rules.ts'
import type { ProtocolVersion } from './packets.ts'

export type Role = 'server' | 'client'

const CLIENT = 1
const SERVER = 2
const EITHER = CLIENT | SERVER

function codes(either: readonly number[], server: readonly number[] = [], client: readonly number[] = []): Uint8Array {
  const senders = new Uint8Array(256)
  for (const code of either) senders[code] = EITHER
  for (const code of server) senders[code] = SERVER
  for (const code of client) senders[code] = CLIENT
  return senders
}

interface Codes {
  /** For each code, who may send it. */
  readonly senders: Uint8Array
  readonly otherwise: Malformed
}

const published = [0x00, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]

const codesOf5 = {
  connack: {
    senders: codes(
      [],
      [0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f],
    ),
    otherwise: rules.connackCode,
  },
  // 0x10, no matching subscribers, "is sent only by the Server".
  puback: { senders: codes(published, [0x10]), otherwise: rules.pubackCode },
  pubrec: { senders: codes(published, [0x10]), otherwise: rules.pubrecCode },
  pubrel: { senders: codes([0x00, 0x92]), otherwise: rules.pubrelCode },
  pubcomp: { senders: codes([0x00, 0x92]), otherwise: rules.pubcompCode },
  suback: {
    senders: codes([], [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]),
    otherwise: rules.subackCode,
  },
  unsuback: { senders: codes([], [0x00, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]), otherwise: rules.unsubackCode },
  disconnect: {
    senders: codes(
      [0x00, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99],
      // 0x8c stands in table 2-6 only, not in the table of DISCONNECT.
      [0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2],
      [0x04],
    ),
    otherwise: rules.disconnectCode,
  },
  auth: { senders: codes([0x18], [0x00], [0x19]), otherwise: rules.authCode },
} as const satisfies Record<string, Codes>

const codesOf3 = {
  connack: { senders: codes([], [0, 1, 2, 3, 4, 5]), otherwise: rules.connackCode },
  suback: { senders: codes([], [0x00, 0x01, 0x02, 0x80]), otherwise: rules.subackCode },
} as const satisfies Record<string, Codes>

function checked(table: Codes, code: number, receiver: Role): Malformed | undefined {
  return (table.senders[code]! & (receiver === 'server' ? CLIENT : SERVER)) === 0 ? table.otherwise : undefined
}

/** @returns the rule that a code breaks. Packets that carry no code in 3.x are not asked about there. */
export function reasonCodeFlaw(
  packet: keyof typeof codesOf5,
  code: number,
  receiver: Role,
  version: ProtocolVersion,
): Malformed | undefined {
  if (version !== 5 && (packet === 'connack' || packet === 'suback')) return checked(codesOf3[packet], code, receiver)
  return checked(codesOf5[packet], code, receiver)
}
