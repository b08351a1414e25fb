/**
 * `no-phantom`: nothing arrives that was not published, to none without a subscription that may have been in force, byte for byte; and nothing else is stored.
 * Of a shared group one member has a claim to a message, and no other (`shared-once.ts`).
 *
 * Put to the test by every delivery, and by every message that the auditor reads back. After an UNSUBACK messages published before it may still come
 * [MQTT-3.10.4-3]; a SUBSCRIBE may be in force from the moment it was sent. A will counts as published from its CONNECT on: whether it was due is the affair of
 * `will-once`; which retained message may come, that of `retained-last`.
 */
import type { Check, Delivery, Shared } from './check.ts'
import { Findings } from './promise.ts'
import { SharedOnce } from './shared-once.ts'

export function checkNoPhantom({ ledger }: Shared): Check {
  const findings = new Findings('no-phantom')
  const sharedOnce = new SharedOnce(ledger)
  const arrived = ({ inflow, flow, sequence, session, connection, timeUs }: Delivery) => {
    findings.exercised++
    if (inflow.maximumQos >= 0 || sequence <= inflow.leftoverUpTo) return
    if (ledger.mayBeLoose(inflow)) return
    findings.violated(timeUs, 'not subscribed', () => ({
      text: `${session.client.id} received message ${sequence} on ${flow.topic.name}, to which it has no subscription.`,
      evidence: [
        { timeUs: connection.connackAtUs, text: `CONNACK to ${session.client.id}` },
        { timeUs, text: `PUBLISH on ${flow.topic.name}; in force may be: ${describeFilters(session.subscriptions)}` },
      ],
    }))
  }

  return {
    findings,
    onPhantom(connection, topic, why, timeUs) {
      findings.violated(timeUs, 'never published', () => ({
        text: `${connection.client.id} received a message on ${topic} that nobody published: ${why}.`,
        evidence: [
          { timeUs: connection.connackAtUs, text: `CONNACK to ${connection.client.id}` },
          { timeUs, text: `PUBLISH on ${topic}: ${why}` },
        ],
      }))
    },
    onPublishSent(_connection, flow, sequence, _publication, kind) {
      if (kind === 'resent') sharedOnce.onSentAgain(flow, sequence)
    },
    onAcknowledgementSent: (connection, incoming) => sharedOnce.onAcknowledged(connection.session, incoming),
    onDelivery(delivery) {
      arrived(delivery)
      const why = sharedOnce.whyTaken(delivery)
      if (why === undefined) return
      const { flow, sequence, session, qos, timeUs } = delivery
      findings.violated(timeUs, 'to two of a shared group', () => ({
        text: `${session.client.id} received message ${sequence} on ${flow.topic.name} by a shared subscription, though ${why}.`,
        evidence: [
          { timeUs: flow.lastAckUs, text: `last acknowledgement to publisher ${flow.publisher} on ${flow.topic.name}` },
          { timeUs, text: `PUBLISH with QoS ${qos} to ${session.client.id}, a second copy for the group` },
        ].filter((each) => each.timeUs >= 0),
      }))
    },
    onRetainedDelivery: arrived,
    onAudited(topic, publisher, sequence, payloadOk) {
      findings.exercised++
      if (payloadOk && ledger.flowThatSent(publisher, topic, sequence) !== undefined) return
      findings.violated(ledger.nowUs, 'stored but never published', () => ({
        text: payloadOk
          ? `Message ${sequence} of publisher ${publisher} was read back from ${topic}, where it was never published.`
          : `A message read back from ${topic} is not, byte for byte, one that was published.`,
        evidence: [],
      }))
    },
  }
}

function describeFilters(subscriptions: readonly { readonly filter: string; readonly gone: boolean }[]): string {
  const filters = subscriptions.filter((each) => !each.gone).map((each) => each.filter)
  return filters.length === 0 ? 'none' : filters.join(', ')
}
