/**
 * `publisher-order`: per publisher and subscriber incarnation, topic and effective QoS, first deliveries come in the order of publication
 * [MQTT-4.6.0-5, -6].
 *
 * Put to the test by every first delivery that follows another of the same flow. A delivery out of order is a message delivered for the first time after a
 * later one of the same incarnation of its publisher. A message that was published again, by a client whose session was gone, counts from its last
 * publication: a gap may be filled later from another incarnation.
 * Left out: shared subscriptions; retained messages.
 */
import type { Check } from './check.ts'
import { Findings } from './promise.ts'

export function checkPublisherOrder(): Check {
  const findings = new Findings('publisher-order')
  return {
    findings,
    onDelivery({ inflow, flow, sequence, first, session, timeUs }) {
      if (!first) return
      const highest = inflow.delivered.max
      if (highest < 0) return
      findings.exercised++
      if (sequence > highest) return
      const republished = flow.republished
      // Of a message published twice nobody can say which of the two came.
      if (republished?.has(highest)) return
      const incarnation = republished?.get(sequence) ?? flow.incarnationOf(sequence)
      if (incarnation !== flow.incarnationOf(highest)) return
      findings.violated(timeUs, 'out of order', () => ({
        text: `${session.client.id} got message ${sequence} of publisher ${flow.publisher} on ${flow.topic.name} for the first time after message ${highest}, which was published later.`,
        evidence: [{ timeUs, text: `PUBLISH ${flow.topic.name} with message ${sequence}; message ${highest} had been delivered before` }],
      }))
    },
  }
}
