/**
 * `session-kept`: session present tells the truth [MQTT-3.2.2-2, -3], and messages that were in flight to a client whose session is present come again with
 * their old packet identifiers [MQTT-4.4.0-1]: as PUBLISH, or as PUBREL where the client had sent PUBREC. A PUBREL that the client repeats is answered with
 * PUBCOMP [MQTT-4.3.3-11] within the progress budget, judged in calm alone.
 *
 * Put to the test by every CONNACK to a client that had connected before, where the truth is known: a clean start gets 0; a session that surely is there
 * gets 1; a client that was never seen gets 0, and so does one whose session surely has expired: no connection of the client was there for the expiry and longer, counted from when
 * the service must have noticed the end of the last one (keepalive * 1.5) or all is quiet, whichever is later. After an unanswered CONNECT either may be true, and a CONNACK of MQTT 3.1 does not say. That subscriptions are still in force is what
 * `acked-delivered` sees.
 */
import type { Check, Shared } from './check.ts'
import { type Evidence, Findings, seconds } from './promise.ts'
import { type Client, type Connection, NEVER, type Session } from './state.ts'

interface Awaited {
  readonly packetIds: Set<number>
  readonly untilUs: number
}

/** What is known of the connections that a client had since its session was last accepted. */
interface Absence {
  endedAtUs: number
  /** The greatest that any of them asked for. */
  keepaliveSeconds: number
  expirySeconds: number
}

export function checkSessionKept({ context, calm }: Shared): Check {
  const findings = new Findings('session-kept')
  const progressUs = context.budgets.progressMs * 1000
  const awaited = new Map<Connection, Awaited>()
  /** By connection: identifiers of PUBRELs sent again there, and when. */
  const released = new Map<Connection, Map<number, number>>()

  const absences = new Map<Client, Absence>()

  const noteEnd = (connection: Connection, timeUs: number) => {
    if (connection.connectSentAtUs === NEVER) return
    const { client, keepaliveSeconds, expirySeconds } = connection
    const before = absences.get(client)
    absences.set(client, {
      endedAtUs: timeUs,
      // Without keepalive the service may never notice.
      keepaliveSeconds: Math.max(before?.keepaliveSeconds ?? 0, keepaliveSeconds === 0 ? Number.POSITIVE_INFINITY : keepaliveSeconds),
      expirySeconds: Math.max(before?.expirySeconds ?? 0, expirySeconds, connection.session?.expirySeconds ?? 0),
    })
  }

  /** Since when the session surely is gone, or `Infinity`. */
  const surelyExpiredUs = (connection: Connection, former: Session | undefined): number => {
    const { client } = connection
    const absence = absences.get(client)
    if (former === undefined || absence === undefined || client.connections.length > 1) return Number.POSITIVE_INFINITY
    return calm.overAtUs(absence.endedAtUs + absence.keepaliveSeconds * 1_500_000, Math.max(absence.expirySeconds, former.expirySeconds))
  }

  const lie = (connection: Connection, timeUs: number, kind: string, text: string, before?: Evidence) => {
    findings.violated(timeUs, kind, () => ({
      text: `${connection.client.id} was told at ${seconds(timeUs)} that ${text}.`,
      evidence: [
        ...(before === undefined ? [] : [before]),
        { timeUs: connection.connectSentAtUs, text: `CONNECT with clean start ${connection.cleanStart ? 1 : 0}` },
        { timeUs, text: `CONNACK, session ${kind}` },
      ],
    }))
  }

  const forget = (connection: Connection) => {
    awaited.delete(connection)
    released.delete(connection)
  }

  const judgeReleases = (nowUs: number) => {
    for (const [connection, open] of released) {
      if (open.size === 0) released.delete(connection)
      for (const [packetId, sentAtUs] of open) {
        if (nowUs - Math.max(sentAtUs, calm.waitsFromUs(connection)) <= progressUs) continue
        open.delete(packetId)
        findings.violated(nowUs, 'a repeated PUBREL is not answered', () => ({
          text: `${connection.client.id} repeated its PUBREL ${packetId} at ${seconds(sentAtUs)} on a session that is present, and got no PUBCOMP by ${seconds(nowUs)}.`,
          evidence: [
            { timeUs: connection.connackAtUs, text: `CONNACK with session present 1 on connection ${connection.id}` },
            { timeUs: sentAtUs, text: `PUBREL ${packetId} again [MQTT-4.4.0-1]` },
            { timeUs: nowUs, text: 'no PUBCOMP [MQTT-4.3.3-11]' },
          ],
        }))
      }
    }
  }

  return {
    findings,
    onConnack(connection, present, knowledge, former, timeUs) {
      const client = connection.client
      const expiredUs = surelyExpiredUs(connection, former)
      absences.delete(client)
      if (connection.cleanStart) {
        if (client.accepted > 1) findings.exercised++
        if (present) lie(connection, timeUs, 'present after a clean start', 'its session is present, though it asked for a clean start')
        return
      }
      if (knowledge === 'surely-none' && present) {
        lie(connection, timeUs, 'present that never was', 'its session is present, though it never connected before')
      }
      if (connection.connectSentAtUs >= expiredUs && present !== undefined) {
        findings.exercised++
        const expired = { timeUs: expiredUs, text: `by now the session has expired, which was to be kept for ${former!.expirySeconds} s` }
        if (present) lie(connection, timeUs, 'present that has expired', 'its session is present, though it has expired', expired)
      }
      if (knowledge === 'surely-there' && present !== undefined) {
        findings.exercised++
        if (!present) {
          const spoken = {
            timeUs: former!.lastProofUs,
            text: `the server last spoke on the session, which it keeps for ${former!.expirySeconds} s`,
          }
          lie(connection, timeUs, 'absent though it was to be kept', 'its session is not present, though it has not expired', spoken)
        }
      }
      if (former === undefined || !(present ?? knowledge === 'surely-there')) return
      const packetIds = new Set<number>()
      for (const incoming of former.incoming.values()) {
        if (incoming.connectionId !== connection.id) packetIds.add(incoming.packetId)
      }
      if (packetIds.size === 0) return
      findings.exercised++
      awaited.set(connection, { packetIds, untilUs: timeUs + progressUs })
    },
    onReleaseSent(connection, packetId, publication, timeUs) {
      if (publication?.received && publication.connectionId !== connection.id) {
        findings.exercised++
        const open = released.get(connection)
        if (open === undefined) released.set(connection, new Map([[packetId, timeUs]]))
        else open.set(packetId, timeUs)
      }
    },
    onServerAcknowledgement(connection, kind, packetId) {
      if (kind === 'pubcomp') released.get(connection)?.delete(packetId)
      else if (kind === 'pubrel') awaited.get(connection)?.packetIds.delete(packetId)
    },
    onServerPublish(connection, frame) {
      if (awaited.size > 0 && frame.qos > 0) awaited.get(connection)?.packetIds.delete(frame.packetId)
    },
    onAcknowledgementSent(connection, { packetId }) {
      if (awaited.size > 0) awaited.get(connection)?.packetIds.delete(packetId)
    },
    onLeft: forget,
    onClosed(connection, _reason, _by, timeUs) {
      forget(connection)
      noteEnd(connection, timeUs)
    },
    onSweep(nowUs) {
      if (released.size > 0 && calm.judging) judgeReleases(nowUs)
      for (const [connection, { packetIds, untilUs }] of awaited) {
        if (packetIds.size === 0) awaited.delete(connection)
        else if (nowUs > untilUs) {
          awaited.delete(connection)
          findings.violated(nowUs, 'in-flight messages not sent again', () => ({
            text: `${connection.client.id} was told that its session is present, and ${packetIds.size} messages that it had not acknowledged did not come again.`,
            evidence: [
              { timeUs: connection.connackAtUs, text: `CONNACK with session present 1 on connection ${connection.id}` },
              { timeUs: nowUs, text: `packet identifiers ${[...packetIds].slice(0, 10).join(', ')} [MQTT-4.4.0-1] were not seen again` },
            ],
          }))
        }
      }
    },
  }
}
