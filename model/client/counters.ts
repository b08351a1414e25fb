/** What clients count, for progress and summaries; many clients may share one. The promises are not checked with these. */

export interface ClientCounters {
  /** Publishes that the application asked for, whatever became of them. */
  published: number
  /** PUBLISH packets written for the first time, and written again. */
  sent: number
  resent: number
  /** Publications made anew because the server had kept no session. */
  publishedAgain: number
  /** Acknowledged by PUBACK, or by PUBREC. */
  acknowledged: number
  /** Answered by a reason code of 0x80 or more, or beyond what the server said it takes. */
  refused: number
  /** Dropped here: QoS 0 while offline, or the queue was full. */
  dropped: number
  /** Given to the application. */
  received: number
  /** Of QoS 2, repeated by the server before its PUBREL, and not given to the application again. */
  receivedAgain: number
  connects: number
  sessionsResumed: number
  connectFailures: number
  connectionsLost: number
  acknowledgeTimeouts: number
  pingTimeouts: number
  /** Acknowledgements for which nothing was open; nothing changes by them. */
  unexpectedAcknowledgements: number
  /** Malformed or out-of-place packets of the server; each closed the connection. */
  protocolViolations: number
  /** How often the server gave which code other than success, by packet type and code, such as `connack 0x88`. */
  readonly reasonCodes: Map<string, number>
}

export function createClientCounters(): ClientCounters {
  return {
    published: 0,
    sent: 0,
    resent: 0,
    publishedAgain: 0,
    acknowledged: 0,
    refused: 0,
    dropped: 0,
    received: 0,
    receivedAgain: 0,
    connects: 0,
    sessionsResumed: 0,
    connectFailures: 0,
    connectionsLost: 0,
    acknowledgeTimeouts: 0,
    pingTimeouts: 0,
    unexpectedAcknowledgements: 0,
    protocolViolations: 0,
    reasonCodes: new Map(),
  }
}

/** Such as `connack 0x88`. */
export function reasonText(packetType: string, reasonCode: number): string {
  return `${packetType} 0x${reasonCode.toString(16).padStart(2, '0')}`
}

export function countReason(counters: ClientCounters, packetType: string, reasonCode: number): void {
  const text = reasonText(packetType, reasonCode)
  counters.reasonCodes.set(text, (counters.reasonCodes.get(text) ?? 0) + 1)
}
