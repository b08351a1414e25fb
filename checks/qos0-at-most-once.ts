/**
 * `qos0-at-most-once`: no QoS 0 publication is delivered twice to a subscription by the service's doing [MQTT-4.3.1-1].
 *
 * Put to the test by every QoS 0 publication that is delivered. A publication is one PUBLISH on the wire: a client that sends the same payload twice has
 * published twice, and both may arrive. Overlapping subscriptions of one session count as one, because the service promises one copy for them.
 * A session with a shared subscription and another may get both copies. Retained copies and wills are the affair of `retained-last` and `will-once`.
 */
import type { Check, Shared } from './check.ts'
import { Findings, seconds } from './promise.ts'

export function checkQos0AtMostOnce({ ledger }: Shared): Check {
  const findings = new Findings('qos0-at-most-once')
  return {
    findings,
    onDelivery({ flow, first, inflow, sequence, mayBeRetained, session, connection, timeUs }) {
      if (flow.qos !== 0 || mayBeRetained || flow.wills?.has(sequence)) return
      if (first) {
        findings.exercised++
        return
      }
      if (flow.republished?.has(sequence) || ledger.mayGetSeveral(inflow)) return
      findings.violated(timeUs, 'delivered twice', () => ({
        text: `Message ${sequence} of publisher ${flow.publisher} on ${flow.topic.name}, published once at QoS 0, was delivered to ${session.client.id} a second time at ${seconds(timeUs)}.`,
        evidence: [
          { timeUs: connection.connackAtUs, text: `CONNACK on the connection of ${session.client.id} that it came through` },
          { timeUs, text: `PUBLISH ${flow.topic.name} with message ${sequence} again; the latest before was ${inflow.delivered.max}` },
        ],
      }))
    },
  }
}
