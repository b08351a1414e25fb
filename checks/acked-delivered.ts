/**
 * `acked-delivered`: an acknowledged message is delivered at least once to every session it is due to. Due: the SUBACK (at QoS 1 or 2) was received before the
 * PUBLISH was first sent; until UNSUBSCRIBE was sent, or the session ended or may have.
 *
 * Judged when the observation ends, for sessions whose client has been connected for longer than the progress budget; and at once for a session that the
 * service dropped although it surely was to be kept. Put to the test by every message acknowledged and due to a session that lives on to the end.
 * Of a shared subscription one member has to get it, whichever (`groups.ts`); judged at the end, when all of them are connected, so that the chosen one is.
 * Left out: messages acknowledged less than a progress budget before the end; those that may have expired, or be past their retention, or may be larger than the client takes; a client
 * that is not connected at the end (that is `reconnect-in-time`'s affair), or whose connection may be dead since a fault without its having had the time to notice.
 */
import type { Check, Shared } from './check.ts'
import { missingRuns } from './intervals.ts'
import { lowestUndelivered, mayBePastRetention, mayBeTooLarge, mayExpire } from './ledger.ts'
import { describeRuns, type Evidence, Findings } from './promise.ts'
import { type Client, type Connection, type Inflow, NOTHING, type Session, type SharedGroup } from './state.ts'

export function checkAckedDelivered(shared: Shared): Check {
  const { ledger, disturbance, calm } = shared
  const progressUs = shared.context.budgets.progressMs * 1000
  const findings = new Findings('acked-delivered')

  const judge = (inflow: Inflow, to: string, timeUs: number, kind: string, ending: Evidence) => {
    if (mayExpire(inflow.flow, timeUs) || mayBePastRetention(inflow, ledger.retentionUs, timeUs)) return
    const lowest = lowestUndelivered(inflow)
    if (lowest < 0) return
    const { flow } = inflow
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
          { timeUs, text: last < 0 ? `${to} got nothing of it` : `the latest that ${to} got is ${last}` },
          ending,
        ]
        return {
          text: `${count} acknowledged ${count === 1 ? 'message' : 'messages'} of publisher ${flow.publisher} on ${flow.topic.name} (sequence ${describeRuns(runs)}) never reached ${to}, which was subscribed before.`,
          evidence: evidence.sort((a, b) => a.timeUs - b.timeUs),
        }
      },
      count,
    )
  }

  const dueTo = (session: Session) => session.inflows.filter((inflow) => inflow.dueFrom !== NOTHING || inflow.extraDue !== undefined)

  /** The connection of a session that has been connected long enough, and surely lives. */
  const steady = (client: Client, session: Session | undefined, timeUs: number): Connection | undefined => {
    const connection = client.current
    if (connection === undefined || session === undefined || connection.session !== session || session.ended) return undefined
    if (timeUs - connection.connackAtUs < progressUs || (client.strayEnd && session.expirySeconds > 0)) return undefined
    if (calm.isUnproven(connection, timeUs)) return undefined
    return connection
  }

  const judgeEnd = (inflow: Inflow, to: string, timeUs: number, kind: string, ending: Evidence) => {
    const due = inflow.flow.acked.max >= inflow.dueFrom || inflow.extraDue !== undefined
    if (!due) return
    findings.exercised += Math.max(1, inflow.delivered.size)
    const quiet = timeUs - inflow.flow.lastAckUs >= progressUs
    const overdue = inflow.pendingSequence >= 0 && timeUs - inflow.pendingSinceUs >= progressUs
    if (quiet || overdue) judge(inflow, to, timeUs, kind, ending)
  }

  const judgeGroup = (group: SharedGroup, timeUs: number) => {
    if (!group.sure) return
    const filter = group.members[0]!.filter
    const connections = group.members.map(({ session }) => steady(session.client, session, timeUs))
    if (connections.includes(undefined)) return
    const ending = { timeUs, text: `all members of ${filter} are connected, and nothing more came` }
    for (const inflow of dueTo(group.hub)) {
      if (connections.some((connection) => mayBeTooLarge(inflow.flow, connection!))) continue
      judgeEnd(inflow, `any member of ${filter}`, timeUs, 'undelivered to a shared subscription', ending)
    }
  }

  return {
    findings,
    onConnack(connection, present, knowledge, former, timeUs) {
      if (present !== false || former === undefined || knowledge !== 'surely-there' || connection.cleanStart) return
      const ending = { timeUs, text: `CONNACK to ${connection.client.id} said that its session, which was to be kept, is gone` }
      for (const inflow of dueTo(former)) judge(inflow, former.client.id, timeUs, 'undelivered when the session was dropped', ending)
    },
    finish(timeUs) {
      for (const client of ledger.clients.values()) {
        const connection = steady(client, client.session, timeUs)
        if (connection === undefined) continue
        const ending = { timeUs, text: `${client.id} is connected, and nothing more came` }
        for (const inflow of dueTo(connection.session!)) {
          if (!mayBeTooLarge(inflow.flow, connection)) judgeEnd(inflow, client.id, timeUs, 'undelivered at the end', ending)
        }
      }
      for (const group of ledger.groups.all()) judgeGroup(group, timeUs)
    },
  }
}
