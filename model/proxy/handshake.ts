/**
 * CONNECT and CONNACK: what the client asks for, whether it gets it, and what it is told. A pure judgement; the session is asked for elsewhere.
 *
 * No authentication method is offered, so enhanced authentication ends here (MQTT 5.0 section 4.12); Response Information is not offered either, and not given.
 */
import { type AccessRefusal, type AccessRules, authenticate, publishRefusal, type User } from '../access.ts'
import type { ServiceSettings } from '../settings.ts'
import type { StoredWill } from '../wire/messages.ts'
import { encodePacket } from '../wire/mqtt-codec.ts'
import type { Connect, Properties, ProtocolVersion } from '../wire/packets.ts'
import { reason } from './reasons.ts'
import { encodeWill } from './stored-message.ts'

/** What was agreed with a client. */
export interface Handshake {
  readonly version: ProtocolVersion
  readonly clientId: string
  /** The id is ours: the client came without one. */
  readonly assigned: boolean
  readonly cleanStart: boolean
  readonly user: User | 'anyone'
  /** How long the session outlives the connection. */
  readonly expirySeconds: number
  readonly keepaliveSeconds: number
  /** Another keepalive than the client asked for: it has to be told. */
  readonly keepaliveIsOurs: boolean
  readonly will: StoredWill | undefined
  /** Messages that the client takes at once, how large, and with how many topic aliases. */
  readonly receiveMaximum: number
  readonly maximumPacketBytes: number
  readonly topicAliasMaximum: number
}

type Judgement =
  | { readonly kind: 'accepted'; readonly handshake: Handshake }
  | { readonly kind: 'refused'; readonly reasonCode: number; readonly why: string }

const NEVER_EXPIRES = 0xffff_ffff
const LONGEST_KEEPALIVE_SECONDS = 65_535
const LARGEST_RECEIVE_MAXIMUM = 65_535

/** @param newClientId called where the client left its id to us [MQTT-3.1.3-6] */
export function judgeConnect(
  connect: Connect,
  rules: AccessRules,
  settings: ServiceSettings['proxy'],
  newClientId: () => string,
  wallMs: number,
): Judgement {
  const { version, will, properties, cleanStart } = connect
  if (properties?.authenticationMethod !== undefined) {
    return refused(reason.badAuthenticationMethod, `authentication method ${properties.authenticationMethod} [MQTT-4.12.0-1]`)
  }
  const user = authenticate(rules, connect.username, connect.password)
  if (user === undefined) return refused(reason.badUserNameOrPassword, 'bad user name or password')
  if (will !== undefined) {
    const refusal = publishRefusal(rules, user, will.topic)
    if (refusal !== undefined) return refused(reasonOf(refusal), `will to ${will.topic}: ${refusal}`)
    if (will.payload.length > settings.maximumPayloadBytes) return refused(reason.quotaExceeded, 'will with a payload over the limit')
  }
  const assigned = connect.clientId === ''
  const clientId = assigned ? newClientId() : connect.clientId
  const ours = keepaliveOfOurs(connect, settings.maximumKeepaliveSeconds)
  return {
    kind: 'accepted',
    handshake: {
      version,
      clientId,
      assigned,
      cleanStart,
      user,
      expirySeconds: version === 5 ? (properties?.sessionExpiryInterval ?? 0) : cleanStart ? 0 : NEVER_EXPIRES,
      keepaliveSeconds: ours ?? connect.keepAliveSeconds,
      keepaliveIsOurs: ours !== undefined,
      will: will === undefined ? undefined : encodeWill(will, clientId, wallMs),
      receiveMaximum: version === 5 ? (properties?.receiveMaximum ?? LARGEST_RECEIVE_MAXIMUM) : settings.window3x,
      maximumPacketBytes: properties?.maximumPacketSize ?? Number.MAX_SAFE_INTEGER,
      topicAliasMaximum: Math.min(settings.topicAliasesToClient, properties?.topicAliasMaximum ?? 0),
    },
  }
}

/** A client of 3.x cannot be told, and keeps the keepalive that it asked for. */
function keepaliveOfOurs({ version, keepAliveSeconds }: Connect, maximumSeconds: number): number | undefined {
  if (version !== 5 || maximumSeconds >= LONGEST_KEEPALIVE_SECONDS) return undefined
  return keepAliveSeconds === 0 || keepAliveSeconds > maximumSeconds ? maximumSeconds : undefined
}

export function reasonOf(refusal: AccessRefusal): number {
  return refusal === 'not-authorized' ? reason.notAuthorized : reason.topicNameInvalid
}

function refused(reasonCode: number, why: string): Judgement {
  return { kind: 'refused', reasonCode, why }
}

export function encodeConnack(handshake: Handshake, sessionPresent: boolean, settings: ServiceSettings['proxy']): Buffer {
  const { version } = handshake
  if (version !== 5) {
    // The byte is reserved in MQTT 3.1 (section 3.2); Session Present came with 3.1.1.
    return encodePacket({ type: 'connack', sessionPresent: sessionPresent && version === 4, reasonCode: reason.success }, version)
  }
  const properties: Properties = {
    ...(settings.receiveMaximum < LARGEST_RECEIVE_MAXIMUM ? { receiveMaximum: settings.receiveMaximum } : {}),
    maximumPacketSize: settings.maximumPacketBytes,
    ...(settings.topicAliasMaximum > 0 ? { topicAliasMaximum: settings.topicAliasMaximum } : {}),
    ...(handshake.assigned ? { assignedClientIdentifier: handshake.clientId } : {}),
    ...(handshake.keepaliveIsOurs ? { serverKeepAlive: handshake.keepaliveSeconds } : {}),
  }
  return encodePacket({ type: 'connack', sessionPresent, reasonCode: reason.success, properties }, version)
}
