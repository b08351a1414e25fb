/**
 * `publisher-order`: per publisher and subscriber incarnation, topic and effective QoS, first deliveries come in the order of publication
 * [MQTT-4.6.0-5, -6].
 *
 * Put to the test by every first delivery that follows another of the same flow. A delivery out of order is a message delivered for the first time after a
 * later one of the same incarnation of its publisher. A message that was published again, by a client whose session was gone, counts from its last
 * publication: a gap may be filled later from another incarnation.
 * A message first sent before the SUBACK and sent again, under its packet identifier, counts from when it was sent last: the service may have received it the first
 * time before the subscription was there, and the order is that in which it receives them (MQTT 5, section 4.6). So does one with an expiry: what came first may have expired
 * in the subscriber's queue, and what came again has an expiry of its own.
 * Left out: sessions with a shared subscription to the topic; retained messages; wills.
 */
import type { Check } from './check.ts'
import { Findings } from './promise.ts'
import { type Flow, FOR_EVER } from './state.ts'

export function checkPublisherOrder(): Check {
  const findings = new Findings('publisher-order')
  /** Messages sent again that were not due to some subscriber or may have expired, each with the greatest that had been sent when it was sent again last. */
  const resent = new Map<Flow, Map<number, number>>()
  return {
    findings,
    onPublishSent(_connection, flow, sequence, _publication, kind) {
      if (kind !== 'resent') return
      if (!expires(flow) && flow.inflows?.some(({ session, dueFrom }) => !session.ended && sequence < dueFrom) !== true) return
      let ofFlow = resent.get(flow)
      if (ofFlow === undefined) {
        ofFlow = new Map()
        resent.set(flow, ofFlow)
      }
      ofFlow.set(sequence, flow.sent.max)
    },
    onDelivery({ inflow, flow, sequence, first, mayBeRetained, session, timeUs }) {
      if (!first || mayBeRetained || inflow.groups !== undefined || flow.wills !== undefined) return
      const highest = inflow.delivered.max
      if (highest < 0) return
      findings.exercised++
      if (sequence > highest) return
      const republished = flow.republished
      // Of a message published twice nobody can say which of the two came.
      if (republished?.has(highest)) return
      const incarnation = republished?.get(sequence) ?? flow.incarnationOf(sequence)
      if (incarnation !== flow.incarnationOf(highest)) return
      if ((sequence < inflow.dueFrom || expires(flow)) && highest <= (resent.get(flow)?.get(sequence) ?? -1)) return
      findings.violated(timeUs, 'out of order', () => ({
        text: `${session.client.id} got message ${sequence} of publisher ${flow.publisher} on ${flow.topic.name} for the first time after message ${highest}, which was published later.`,
        evidence: [{ timeUs, text: `PUBLISH ${flow.topic.name} with message ${sequence}; message ${highest} had been delivered before` }],
      }))
    },
  }
}

function expires(flow: Flow): boolean {
  return flow.expirySeconds !== FOR_EVER
}
