/** MQTT 5 reason codes that the proxy gives of itself [MQTT 5.0, 2.4], and how a refused CONNECT is put to a client of 3.x. */
import type { ProtocolVersion } from '../wire/packets.ts'

export const reason = {
  success: 0x00,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  protocolError: 0x82,
  implementationSpecific: 0x83,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
} as const

/** From here on a reason code refuses. */
export const REFUSALS_FROM = 0x80

/** Reason codes of DISCONNECT that CONNACK does not have; there they are protocol errors. */
const notInConnack: readonly number[] = [reason.receiveMaximumExceeded, reason.topicAliasInvalid]

/** The code of a CONNACK that refuses: MQTT 5's own, or the return code of 3.1.1 (section 3.2.2.3) that comes closest. */
export function connackCode(reasonCode: number, version: ProtocolVersion): number {
  if (version === 5) return notInConnack.includes(reasonCode) ? reason.protocolError : reasonCode
  switch (reasonCode) {
    case reason.serverUnavailable:
      return 3
    case reason.badUserNameOrPassword:
      return 4
    default:
      return 5
  }
}
