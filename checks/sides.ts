/**
 * What both sides of the witness share: who listens to what, and the reading of fields that mean the same in both directions.
 */
import type { Hearing } from './check.ts'
import type { PublishFrame } from './decoder.ts'
import type { Ledger } from './ledger.ts'
import { type Connection, FOR_EVER, type Session } from './state.ts'

/** Those of the checks that listen to each event; a message must not pay for the deaf ones. */
export function listeners(checks: readonly Hearing[]) {
  const hearing = <K extends keyof Hearing>(name: K) =>
    checks.filter((check): check is Hearing & Required<Pick<Hearing, K>> => check[name] !== undefined)
  return {
    connectStarted: hearing('onConnectStarted'),
    connectionOpened: hearing('onConnectionOpened'),
    connectSent: hearing('onConnectSent'),
    connack: hearing('onConnack'),
    left: hearing('onLeft'),
    lateConnack: hearing('onLateConnack'),
    closed: hearing('onClosed'),
    storeLost: hearing('onStoreLost'),
    subscribeSent: hearing('onSubscribeSent'),
    subscribed: hearing('onSubscribed'),
    unsubscribeSent: hearing('onUnsubscribeSent'),
    releaseSent: hearing('onReleaseSent'),
    retainedDelivery: hearing('onRetainedDelivery'),
    publishSent: hearing('onPublishSent'),
    answered: hearing('onAnswered'),
    delivery: hearing('onDelivery'),
    phantom: hearing('onPhantom'),
    acknowledgementSent: hearing('onAcknowledgementSent'),
    spoken: hearing('onSpoken'),
    serverPublish: hearing('onServerPublish'),
    serverAcknowledgement: hearing('onServerAcknowledgement'),
    serverPingresp: hearing('onServerPingresp'),
    serverPacket: hearing('onServerPacket'),
    serverMalformed: hearing('onServerMalformed'),
    sweep: hearing('onSweep'),
  }
}

export type Listeners = ReturnType<typeof listeners>

/** The session of a connection; where no CONNACK has come yet, one to hold what was sent ahead of it. */
export function sessionOf(ledger: Ledger, connection: Connection): Session {
  if (connection.session === undefined) connection.session = ledger.newSession(connection.client)
  return connection.session
}

/** 0xFFFFFFFF on the wire, and `Infinity` in a scenario, mean for ever. */
export function expiryOf(seconds: number): number {
  // Not Math.min, which makes every one of these numbers a float of 16 bytes.
  if (seconds >= FOR_EVER) return FOR_EVER
  return seconds
}

/** Resolves a topic alias, or learns it. */
export function aliased(connection: Connection, key: 'aliasesToServer' | 'aliasesToClient', frame: PublishFrame): string | undefined {
  if (frame.topic === '') return connection[key]?.get(frame.topicAlias)
  let aliases = connection[key]
  if (aliases === undefined) {
    aliases = new Map()
    connection[key] = aliases
  }
  aliases.set(frame.topicAlias, frame.topic)
  return frame.topic
}
