/**
 * `progress`: an acknowledged message for a connected subscriber moves within the budget (5 s), while no fault is in force: in the warm-up, and in the healed
 * act once clients had their time to come back.
 *
 * The clock of a message starts at the latest of its acknowledgement, the subscriber's CONNACK and the start of the act (plus the reconnect budget after a
 * heal), and starts again with every message that arrives at this subscriber after a wait: who works off a long queue is moving.
 * It is looked at once a second, so a violation is never early and up to two seconds late. A subscriber whose own window is full is waited for.
 * Left out: shared subscriptions; messages that may have expired, or be past their retention, or may be larger than the subscriber takes.
 * Put to the test by every message delivered in those acts.
 */
import type { Check, Shared } from './check.ts'
import { mayBePastRetention, mayBeTooLarge, mayExpire } from './ledger.ts'
import { Findings, seconds } from './promise.ts'
import type { Inflow } from './state.ts'

export function checkProgress({ context, ledger, calm }: Shared): Check {
  const findings = new Findings('progress')
  const progressUs = context.budgets.progressMs * 1000
  const reported = new Set<Inflow>()

  return {
    findings,
    onDelivery({ first, flow }) {
      if (calm.judging && first && flow.qos > 0) findings.exercised++
    },
    onSweep(nowUs) {
      if (!calm.judging || nowUs <= calm.judgedFromUs) return
      for (const flow of ledger.waitingFlows()) {
        for (const inflow of flow.inflows ?? []) {
          const { session, pendingSequence } = inflow
          if (session.ended || pendingSequence < 0) continue
          const connection = session.client.current
          if (connection === undefined || connection.session !== session || (session.client.strayEnd && session.expirySeconds > 0)) continue
          const fromUs = Math.max(inflow.pendingSinceUs, calm.waitsFromUs(connection))
          if (nowUs - fromUs <= progressUs || calm.windowIsFull(connection) || reported.has(inflow)) continue
          if (mayBePastRetention(inflow, ledger.retentionUs, nowUs)) continue
          if (mayExpire(flow, nowUs) || mayBeTooLarge(flow, connection)) continue
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
