/**
 * `acked-delivered`: an acknowledged message is delivered at least once to every session it is due to. Due: the SUBACK (at QoS 1 or 2) was received before the
 * PUBLISH was first sent; until UNSUBSCRIBE was sent, or the session ended or may have.
 *
 * Judged when the observation ends, for sessions whose client has been connected for longer than the progress budget; and at once for a session that the
 * service dropped although it surely was to be kept. Put to the test by every message acknowledged and due to a session that lives on to the end.
 * Left out: messages acknowledged less than a progress budget before the end; shared subscriptions; a client that is not connected at the end (that is
 * `reconnect-in-time`'s affair).
 */
import type { Check, Shared } from './check.ts'
import { missingRuns } from './intervals.ts'
import { lowestUndelivered } from './ledger.ts'
import { describeRuns, type Evidence, Findings } from './promise.ts'
import { type Inflow, NOTHING, type Session } from './state.ts'

export function checkAckedDelivered(shared: Shared): Check {
  const { ledger, disturbance } = shared
  const progressUs = shared.context.budgets.progressMs * 1000
  const findings = new Findings('acked-delivered')

  const judge = (inflow: Inflow, timeUs: number, kind: string, ending: Evidence) => {
    const lowest = lowestUndelivered(inflow)
    if (lowest < 0) return
    const { flow, session } = inflow
    // Numbers below `dueFrom` are due one by one; they are few, and the first stands for them.
    const { runs, count } =
      lowest >= inflow.dueFrom ? missingRuns(flow.acked, inflow.delivered, lowest, 5) : { runs: [[lowest, lowest]] as const, count: 1 }
    findings.violated(
      timeUs,
      kind,
      () => {
        const last = inflow.delivered.max
        const evidence: Evidence[] = [
          { timeUs: flow.lastAckUs, text: `last acknowledgement to publisher ${flow.publisher} on ${flow.topic.name}` },
          ...disturbance.before(timeUs),
          { timeUs, text: last < 0 ? `${session.client.id} got nothing of it` : `the latest that ${session.client.id} got is ${last}` },
          ending,
        ]
        return {
          text: `${count} acknowledged ${count === 1 ? 'message' : 'messages'} of publisher ${flow.publisher} on ${flow.topic.name} (sequence ${describeRuns(runs)}) never reached ${session.client.id}, which was subscribed before.`,
          evidence: evidence.sort((a, b) => a.timeUs - b.timeUs),
        }
      },
      count,
    )
  }

  const dueTo = (session: Session) => session.inflows.filter((inflow) => inflow.dueFrom !== NOTHING || inflow.extraDue !== undefined)

  return {
    findings,
    onConnack(connection, present, knowledge, former, timeUs) {
      if (present || former === undefined || knowledge !== 'surely-there' || connection.cleanStart) return
      const ending = { timeUs, text: `CONNACK to ${connection.client.id} said that its session, which was to be kept, is gone` }
      for (const inflow of dueTo(former)) judge(inflow, timeUs, 'undelivered when the session was dropped', ending)
    },
    finish(timeUs) {
      for (const client of ledger.clients.values()) {
        const connection = client.current
        const session = client.session
        if (connection === undefined || session === undefined || connection.session !== session || session.ended) continue
        if (timeUs - connection.connackAtUs < progressUs || (client.strayEnd && session.expirySeconds > 0)) continue
        for (const inflow of dueTo(session)) {
          const due = inflow.flow.acked.max >= inflow.dueFrom || inflow.extraDue !== undefined
          if (!due) continue
          findings.exercised += Math.max(1, inflow.delivered.size)
          const quiet = timeUs - inflow.flow.lastAckUs >= progressUs
          const overdue = inflow.pendingSequence >= 0 && timeUs - inflow.pendingSinceUs >= progressUs
          if (quiet || overdue)
            judge(inflow, timeUs, 'undelivered at the end', { timeUs, text: `${client.id} is connected, and nothing more came` })
        }
      }
    },
  }
}
