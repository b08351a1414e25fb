/**
 * `progress`: an acknowledged message for a connected subscriber moves within the budget (5 s), while no fault is in force: in the warm-up, and in the healed
 * act once clients had their time to come back.
 *
 * The clock of a message starts at the latest of its acknowledgement, the subscriber's CONNACK and the start of the act (plus the reconnect budget after a
 * heal), and starts again with every message that arrives at this subscriber after a wait: who works off a long queue is moving.
 * It is looked at once a second, so a violation is never early and up to two seconds late. A subscriber whose own window is full is waited for.
 * Put to the test by every message delivered in those acts.
 */
import type { Check, Shared } from './check.ts'
import { Findings, seconds } from './promise.ts'
import type { Connection, Flow, Inflow, Session } from './state.ts'

/** What the service lets a 3.x client leave unacknowledged before it holds back (its default; MQTT 5 clients state theirs). */
const WINDOW_3X = 16

export function checkProgress({ context, ledger }: Shared): Check {
  const findings = new Findings('progress')
  const progressUs = context.budgets.progressMs * 1000
  const reconnectUs = context.budgets.reconnectMs * 1000
  const reported = new Set<Inflow>()
  /** When a message that had waited last reached the session. */
  const movedUs = new Map<Session, number>()
  /** The last message acknowledged when looked at last, and the time before: up to `older` a message that arrives has waited for a second at least. */
  const acknowledged = new Map<Flow, { newer: number; older: number }>()
  let judgedFromUs = 0
  let judging = true
  let healedUs = -1

  const windowIsFull = (connection: Connection) =>
    connection.openIncoming >= (connection.version === 5 ? connection.receiveMaximum : WINDOW_3X)

  /** A connection from before the heal over which nothing came since may be dead without the client's knowing: it has the time to find out, and to come back. */
  const graceEndUs = (connection: Connection) => {
    if (connection.connackAtUs >= healedUs || connection.lastSpokenUs >= healedUs) return judgedFromUs
    return judgedFromUs + connection.client.facts.detectionIdleMs * 1000
  }

  return {
    findings,
    onAct(act, timeUs) {
      judging = act !== 'faults'
      if (act === 'warm-up') judgedFromUs = timeUs
      if (act === 'healed') {
        healedUs = timeUs
        judgedFromUs = timeUs + reconnectUs
      }
    },
    onDelivery({ first, flow, session, sequence, timeUs }) {
      if (!judging || !first || flow.qos === 0) return
      findings.exercised++
      if (sequence <= (acknowledged.get(flow)?.older ?? -1)) movedUs.set(session, timeUs)
    },
    onSweep(nowUs) {
      for (const flow of ledger.flows()) {
        if (flow.qos === 0) continue
        const known = acknowledged.get(flow)
        if (known === undefined) acknowledged.set(flow, { newer: flow.acked.max, older: -1 })
        else {
          known.older = known.newer
          known.newer = flow.acked.max
        }
      }
      if (!judging || nowUs <= judgedFromUs) return
      for (const flow of ledger.waitingFlows()) {
        for (const inflow of flow.inflows ?? []) {
          const { session, pendingSequence } = inflow
          if (session.ended || pendingSequence < 0) continue
          const connection = session.client.current
          if (connection === undefined || connection.session !== session || (session.client.strayEnd && session.expirySeconds > 0)) continue
          const fromUs = Math.max(inflow.pendingSinceUs, connection.connackAtUs, graceEndUs(connection), movedUs.get(session) ?? 0)
          if (nowUs - fromUs <= progressUs || windowIsFull(connection) || reported.has(inflow)) continue
          reported.add(inflow)
          findings.violated(nowUs, 'an acknowledged message does not move', () => ({
            text: `Message ${pendingSequence} of publisher ${flow.publisher} on ${flow.topic.name} was acknowledged before ${seconds(inflow.pendingSinceUs)} and has not reached ${session.client.id}, which is connected, by ${seconds(nowUs)}.`,
            evidence: [
              { timeUs: connection.connackAtUs, text: `CONNACK to ${session.client.id}` },
              { timeUs: inflow.pendingSinceUs, text: `message ${pendingSequence} on ${flow.topic.name} was acknowledged` },
              { timeUs: nowUs, text: `it was not delivered; ${connection.openIncoming} messages are open at ${session.client.id}` },
            ].sort((a, b) => a.timeUs - b.timeUs),
          }))
        }
      }
    },
  }
}
