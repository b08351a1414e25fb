/**
 * What a PUBLISH must carry besides the message: its QoS, RETAIN, subscription identifiers, Message Expiry Interval.
 *
 * The QoS is the lesser of that published and that granted [MQTT-3.8.4-8], by the greatest grant where several subscriptions match [MQTT-3.3.4-2].
 * An identifier must be one that the client gave to a subscription which matches, now or before. That it is exactly those of all that match is held against
 * the service for messages first sent after the last change of the session's subscriptions to the topic was acknowledged; the same goes for RETAIN and the QoS.
 * Left out: of a session with a shared subscription to the topic, which of its copies carries which; of retained messages the identifiers, of which only foreign
 * ones are found out, and a QoS that is too low.
 */
import type { Delivery } from './check.ts'
import type { Flaw } from './connack-legal.ts'
import type { Ledger } from './ledger.ts'
import { FOR_EVER, type Subscription } from './state.ts'

export function forwardingFlaw(ledger: Ledger, delivery: Delivery): Flaw | undefined {
  const { inflow, flow, sequence } = delivery
  const foreign = expiryFlaw(delivery) ?? foreignIdentifier(ledger, delivery)
  if (foreign !== undefined) return foreign
  if (sequence < inflow.constantFrom || inflow.groups !== undefined || flow.republished?.has(sequence)) return undefined
  const wrongQos = qosFlaw(ledger, delivery)
  if (wrongQos !== undefined || delivery.connection.version !== 5) return wrongQos
  if (flow.retained === undefined && inflow.session.subscriptions.every(({ identifier }) => identifier === 0)) return undefined
  const covering = ledger.covering(inflow)
  return retainFlaw(delivery, covering) ?? missingIdentifier(delivery, covering)
}

function qosFlaw(ledger: Ledger, { inflow, flow, qos, mayBeRetained }: Delivery): Flaw | undefined {
  const due = flow.qos < inflow.grantedQos ? flow.qos : inflow.grantedQos
  if (qos === due || due < 0 || mayBeRetained || ledger.mayBeLoose(inflow)) return undefined
  return {
    statement: ledger.covering(inflow).length > 1 ? 'MQTT-3.3.4-2' : 'MQTT-3.8.4-8',
    text: `PUBLISH with QoS ${qos} of a message of QoS ${flow.qos} where QoS ${inflow.grantedQos} was granted`,
  }
}

export function retainedFlaw(ledger: Ledger, delivery: Delivery): Flaw | undefined {
  return expiryFlaw(delivery) ?? foreignIdentifier(ledger, delivery)
}

/** Live, that is: one without RETAIN that all matching subscriptions should have passed on. */
function retainFlaw({ flow, sequence, frame }: Delivery, covering: readonly Subscription[]): Flaw | undefined {
  if (frame.retain || flow.retained?.has(sequence) !== true || covering.length === 0) return undefined
  if (!covering.every((each) => each.retainAsPublished)) return undefined
  return { statement: 'MQTT-3.3.1-13', text: 'PUBLISH without RETAIN of a retained message, to a subscription with Retain As Published' }
}

function foreignIdentifier(ledger: Ledger, { inflow, frame }: Delivery): Flaw | undefined {
  for (let i = 0; i < frame.identifierCount; i++) {
    const identifier = frame.identifiers[i]!
    const known = ledger.everCovered(inflow).some((each) => each.identifier === identifier || each.formerIdentifiers.includes(identifier))
    if (!known)
      return { statement: 'MQTT-3.3.4-4', text: `PUBLISH with subscription identifier ${identifier}, which no matching subscription has` }
    if (frame.identifiers.indexOf(identifier) < i && !sharedByTwo(ledger.everCovered(inflow), identifier)) {
      return { statement: 'MQTT-3.3.4-4', text: `PUBLISH with subscription identifier ${identifier} twice` }
    }
  }
  return undefined
}

/** Two subscriptions may have one identifier, and then it may come twice. */
function sharedByTwo(subscriptions: readonly Subscription[], identifier: number): boolean {
  return subscriptions.filter((each) => each.identifier === identifier || each.formerIdentifiers.includes(identifier)).length > 1
}

function missingIdentifier({ frame }: Delivery, covering: readonly Subscription[]): Flaw | undefined {
  for (const { identifier } of covering) {
    if (identifier === 0) continue
    const at = frame.identifiers.indexOf(identifier)
    if (at < 0 || at >= frame.identifierCount) {
      return { statement: 'MQTT-3.3.4-4', text: `PUBLISH without subscription identifier ${identifier} of a subscription that matches` }
    }
  }
  return undefined
}

function expiryFlaw({ connection, flow, frame }: Delivery): Flaw | undefined {
  if (connection.version !== 5 || flow.expirySeconds < 0) return undefined
  if (flow.expirySeconds === FOR_EVER) {
    if (frame.expirySeconds < 0 || frame.expirySeconds >= FOR_EVER) return undefined
    return { statement: 'MQTT-3.3.2-6', text: `PUBLISH with Message Expiry Interval ${frame.expirySeconds}, though none was published` }
  }
  if (frame.expirySeconds < 0) return { statement: 'MQTT-3.3.2-6', text: 'PUBLISH without the Message Expiry Interval that was published' }
  if (frame.expirySeconds <= flow.expirySeconds) return undefined
  return {
    statement: 'MQTT-3.3.2-6',
    text: `PUBLISH with Message Expiry Interval ${frame.expirySeconds}, above the published ${flow.expirySeconds}`,
  }
}
