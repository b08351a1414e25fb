/**
 * `qos2-exactly-once`: at most one delivery per publication and subscriber session at effective QoS 2, while both sessions continued and both clients kept
 * their state. A publication is one use of a packet identifier in one incarnation of the publisher's session; a delivery is one use of a packet identifier
 * towards the subscriber: the same PUBLISH again, until PUBREL was received, is the same delivery [MQTT-4.3.3-10], under another identifier or after PUBREL it is
 * a second one [MQTT-4.3.3-12].
 *
 * Put to the test by repetitions alone: a PUBLISH of QoS 2 sent again by its publisher where a subscriber at QoS 2 listens, a PUBREL sent again on another
 * connection, by either side, and a PUBLISH of QoS 2 that a subscriber gets again; and, since the service repeats among its own machines what it has no answer to,
 * by each flow of QoS 2 that is open at its client when a fault on the clients' way sets in. All that counts only for
 * flows of which something came to a subscriber at QoS 2.
 * A message published twice, by a client whose session was gone or that had lost it, may arrive twice, and no more. Overlapping filters of a session are one copy;
 * one with a shared subscription to the topic besides is not judged, nor are messages that a client received before it lost its store.
 * Left out: retained copies, of which each SUBSCRIBE may bring one; wills, which are no use of a packet identifier (`will-once`).
 */
import type { Check, Shared } from './check.ts'
import { type Evidence, Findings, seconds } from './promise.ts'
import type { Flow, Inflow } from './state.ts'

export function checkQos2ExactlyOnce({ ledger, disturbance }: Shared): Check {
  const findings = new Findings('qos2-exactly-once')
  /** Of messages published more than once: how often, and how often each session got them. */
  const publications = new Map<Flow, Map<number, number>>()
  const copies = new Map<Inflow, Map<number, number>>()
  /** Up to which message a subscriber that lost its store may not know what it had. */
  const forgotten = new Map<Inflow, number>()

  /** Flows of which something came at QoS 2; and how often others would have been put to the test. */
  const arrivedAtQos2 = new Set<Flow>()
  const untested = new Map<Flow, number>()

  const tested = (flow: Flow) => {
    if (flow.inflows?.some(({ session, maximumQos }) => !session.ended && maximumQos === 2) !== true) return
    if (arrivedAtQos2.has(flow)) findings.exercised++
    else untested.set(flow, (untested.get(flow) ?? 0) + 1)
  }

  const arrived = (flow: Flow) => {
    if (arrivedAtQos2.has(flow)) return
    arrivedAtQos2.add(flow)
    findings.exercised += untested.get(flow) ?? 0
    untested.delete(flow)
  }

  const openFlows = () => {
    for (const { session } of ledger.clients.values()) {
      if (session === undefined || session.ended) continue
      for (const { qos, flow } of session.outgoing.values()) if (qos === 2 && flow !== undefined) tested(flow)
      for (const { qos } of session.incoming.values()) if (qos === 2) findings.exercised++
    }
  }

  return {
    findings,
    onFault(fault, phase) {
      if (phase === 'applied' && disturbance.isOnClientsWay(fault)) openFlows()
    },
    onPublishSent(_connection, flow, sequence, _publication, kind) {
      if (flow.qos !== 2 || kind === 'new') return
      tested(flow)
      if (kind === 'republished') count(publications, flow, sequence, 1)
    },
    onReleaseSent(connection, _packetId, publication) {
      if (publication?.flow !== undefined && publication.qos === 2 && publication.connectionId !== connection.id) tested(publication.flow)
    },
    onServerAcknowledgement(connection, kind, packetId) {
      if (kind !== 'pubrel') return
      const incoming = connection.session?.incoming.get(packetId)
      if (incoming !== undefined && incoming.connectionId !== connection.id) findings.exercised++
    },
    onStoreLost(client) {
      for (const inflow of client.session?.inflows ?? []) {
        if (inflow.flow.qos === 2 && inflow.delivered.max >= 0) forgotten.set(inflow, inflow.delivered.max)
      }
    },
    onDelivery({ qos, flow, inflow, session, sequence, first, repeated, mayBeRetained, packetId, connection, timeUs }) {
      if (qos !== 2) return
      arrived(flow)
      if (first) return
      if (repeated) {
        findings.exercised++
        return
      }
      if (mayBeRetained || flow.wills?.has(sequence) || ledger.mayGetSeveral(inflow)) return
      if (sequence <= (forgotten.get(inflow) ?? -1)) return
      findings.exercised++
      if (flow.republished?.has(sequence)) {
        const published = 1 + (publications.get(flow)?.get(sequence) ?? 0)
        if (count(copies, inflow, sequence, 1) < published) return
      }
      findings.violated(timeUs, 'delivered twice', () => {
        const evidence: Evidence[] = [
          ...disturbance.before(timeUs),
          { timeUs: connection.connackAtUs, text: `CONNACK to ${session.client.id} on the connection that the second copy came through` },
          { timeUs, text: `PUBLISH ${flow.topic.name} with message ${sequence} under packet identifier ${packetId}, as a new delivery` },
        ]
        return {
          text: `Message ${sequence} of publisher ${flow.publisher} on ${flow.topic.name}, published at QoS 2, was delivered to ${session.client.id} once more at ${seconds(timeUs)}.`,
          evidence: evidence.sort((a, b) => a.timeUs - b.timeUs),
        }
      })
    },
  }
}

function count<K>(map: Map<K, Map<number, number>>, key: K, sequence: number, by: number): number {
  let inner = map.get(key)
  if (inner === undefined) {
    inner = new Map()
    map.set(key, inner)
  }
  const total = (inner.get(sequence) ?? 0) + by
  inner.set(sequence, total)
  return total
}
