/**
 * `no-phantom`: nothing arrives that was not published, to none without a subscription that may have been in force, byte for byte; and nothing else is stored.
 *
 * Put to the test by every delivery, and by every message that the auditor reads back. After an UNSUBACK messages published before it may still come
 * [MQTT-3.10.4-3]; a SUBSCRIBE may be in force from the moment it was sent. A will counts as published from its CONNECT on: whether it was due is the affair of
 * `will-once`; which retained message may come, that of `retained-last`.
 */
import type { Check, Delivery, Shared } from './check.ts'
import { Findings } from './promise.ts'
import { matches, plainFilter } from './topic-match.ts'

export function checkNoPhantom({ ledger }: Shared): Check {
  const findings = new Findings('no-phantom')
  const arrived = ({ inflow, flow, sequence, session, connection, timeUs }: Delivery) => {
    findings.exercised++
    if (inflow.maximumQos >= 0 || sequence <= inflow.leftoverUpTo) return
    const loose = session.client.looseFilters
    if (loose?.some((filter) => matches(plainFilter(filter), flow.topic.name))) return
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
    onDelivery: arrived,
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
