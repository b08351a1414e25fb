/**
 * `one-owner`: after a new CONNACK for a client id, no acknowledgement and no later message leaves through an older connection of that id; and the copies of
 * a volume's log share a prefix.
 *
 * Put to the test by a takeover at the sockets, which is a CONNACK while another accepted connection of the same client id is still open at the client; and by
 * every pair of copies compared that both hold something, of a volume that had more than one owner. Either is enough, and `takeovers` counts the former alone.
 * What counts is when the server wrote a packet, not when it arrived; DISCONNECT and PINGRESP may still come.
 * Left out: which writer a copy accepted; the bytes tell it only where they differ. That a volume had a second owner is told by the service's own event
 * (`volume-attached`), so copies put nothing to the test where the run does not record; where they differ it is found all the same.
 */
import type { ServiceEvent } from '../model/events.ts'
import type { Check, CopyLog, Shared } from './check.ts'
import { Findings, seconds } from './promise.ts'
import { type Connection, NEVER } from './state.ts'

export interface OneOwner extends Check {
  /** CONNACKs while another accepted connection of the client was still open at it. */
  takeovers(): number
}

export function checkOneOwner({ ledger }: Shared): OneOwner {
  const findings = new Findings('one-owner')
  /** How often each volume was attached. */
  const owners = new Map<number, number>()
  let takeovers = 0

  const spokeAfter = (older: Connection, newer: Connection, timeUs: number) => {
    findings.violated(timeUs, `${older.lastSpoken} through the old connection`, () => ({
      text: `${older.client.id} was accepted on a new connection at ${seconds(newer.connackSentAtUs)}, and ${older.lastSpoken} left through its old one at ${seconds(older.lastSpokenUs)}.`,
      evidence: [
        { timeUs: older.connackSentAtUs, text: `the server wrote CONNACK on connection ${older.id} of ${older.client.id}` },
        { timeUs: newer.connackSentAtUs, text: `the server wrote CONNACK on connection ${newer.id} of ${newer.client.id}` },
        { timeUs: older.lastSpokenUs, text: `the server wrote ${older.lastSpoken} on connection ${older.id}` },
      ],
    }))
  }

  const accepted = (connection: Connection, timeUs: number) => {
    for (const other of connection.client.connections) {
      if (other === connection || other.connackAtUs === NEVER) continue
      findings.exercised++
      takeovers++
      // The two CONNACKs may arrive in the other order than they were written.
      const [older, newer] = other.connackSentAtUs <= connection.connackSentAtUs ? [other, connection] : [connection, other]
      if (older.lastSpokenUs > newer.connackSentAtUs) spokeAfter(older, newer, timeUs)
    }
  }

  return {
    findings,
    takeovers: () => takeovers,
    onConnack: (connection, _present, _knowledge, _former, timeUs) => accepted(connection, timeUs),
    onLateConnack: accepted,
    onSpoken(connection, sentAtUs, timeUs) {
      const open = connection.client.connections
      if (open.length < 2 || connection.connackAtUs === NEVER) return
      for (const other of open) {
        if (other === connection || other.connackAtUs === NEVER) continue
        if (other.connackSentAtUs > connection.connackSentAtUs && sentAtUs > other.connackSentAtUs) spokeAfter(connection, other, timeUs)
      }
    },
    onEntry({ event }) {
      const known = event as ServiceEvent
      if (known.kind === 'volume-attached') owners.set(known.volume, (owners.get(known.volume) ?? 0) + 1)
    },
    onCopies(volume, logs) {
      const moved = (owners.get(volume) ?? 0) > 1
      for (let a = 0; a < logs.length; a++) {
        for (let b = a + 1; b < logs.length; b++) {
          const [one, two] = [logs[a]!, logs[b]!]
          const shared = Math.min(one.bytes.length, two.bytes.length)
          if (shared === 0) continue
          if (moved) findings.exercised++
          if (one.bytes.compare(two.bytes, 0, shared, 0, shared) === 0) continue
          const at = firstDifference(one, two, shared)
          findings.violated(ledger.nowUs, 'copies differ', () => ({
            text: `The copies of volume ${volume} on ${one.machine} and ${two.machine} differ from byte ${at} on, so two writers were accepted.`,
            evidence: [
              {
                timeUs: ledger.nowUs,
                text: `${one.machine}: ${one.bytes.subarray(at, at + 16).toString('hex')} of ${one.bytes.length} bytes`,
              },
              {
                timeUs: ledger.nowUs,
                text: `${two.machine}: ${two.bytes.subarray(at, at + 16).toString('hex')} of ${two.bytes.length} bytes`,
              },
            ],
          }))
        }
      }
    },
  }
}

function firstDifference(one: CopyLog, two: CopyLog, length: number): number {
  for (let i = 0; i < length; i++) if (one.bytes[i] !== two.bytes[i]) return i
  return length
}
