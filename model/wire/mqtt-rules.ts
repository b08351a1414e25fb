/**
 * Why a frame is refused: one row for each rule that the strict codec holds a peer to, with the reason code for DISCONNECT or CONNACK.
 *
 * `statement` is the OASIS id in MQTT 5.0; where only MQTT 3.1.1 states the rule, its id there follows the word `v3.1.1`; where the standard gives
 * a rule no id, its section in MQTT 5.0 is named. Reason codes are the standard's where it gives one; else 0x81 for what cannot be parsed
 * and 0x82 for what can, but is not allowed (MQTT 5.0 section 4.13 and 1.2, "Malformed Packet" and "Protocol Error").
 */
import type { ProtocolVersion } from './packets.ts'

export interface Malformed {
  readonly reasonCode: number
  readonly statement: string
  readonly text: string
  /**
   * Only where the bad packet is a CONNECT that may be answered: the CONNACK to send before closing, in the shape of `version`
   * (3 and 4: a return code; 5: a reason code). Where absent, close without a word.
   */
  readonly refusal?: { readonly version: ProtocolVersion; readonly reasonCode: number }
}

const MALFORMED = 0x81
const PROTOCOL_ERROR = 0x82
const UNSUPPORTED_VERSION = 0x84
const BAD_CLIENT_IDENTIFIER = 0x85
const TOPIC_ALIAS_INVALID = 0x94
const TOO_LARGE = 0x95

function rule(reasonCode: number, statement: string, text: string): Malformed {
  return { reasonCode, statement, text }
}

export const rules = {
  // Fixed header
  notConnect: rule(PROTOCOL_ERROR, 'MQTT-3.1.0-1', 'the first packet is not CONNECT'),
  reservedType: rule(PROTOCOL_ERROR, 'section 2.1.2', 'packet type that this version does not have'),
  wrongDirection: rule(PROTOCOL_ERROR, 'section 2.1.2', 'packet type that this side never receives'),
  reservedFlags: rule(MALFORMED, 'MQTT-2.1.3-1', 'reserved flags of the fixed header are not as listed'),
  pubrelFlags: rule(MALFORMED, 'MQTT-3.6.1-1', 'reserved flags of PUBREL are not 0010'),
  subscribeFlags: rule(MALFORMED, 'MQTT-3.8.1-1', 'reserved flags of SUBSCRIBE are not 0010'),
  unsubscribeFlags: rule(MALFORMED, 'MQTT-3.10.1-1', 'reserved flags of UNSUBSCRIBE are not 0010'),
  disconnectFlags: rule(MALFORMED, 'MQTT-3.14.1-1', 'reserved flags of DISCONNECT are not 0'),
  authFlags: rule(MALFORMED, 'MQTT-3.15.1-1', 'reserved flags of AUTH are not 0'),
  qos3: rule(MALFORMED, 'MQTT-3.3.1-4', 'PUBLISH with both QoS bits set'),
  dupQos0: rule(MALFORMED, 'MQTT-3.3.1-2', 'DUP set on a QoS 0 PUBLISH'),
  lengthNotMinimal: rule(MALFORMED, 'MQTT-1.5.5-1', 'variable byte integer longer than needed'),
  lengthTooLong: rule(MALFORMED, 'section 1.5.5', 'variable byte integer of more than four bytes'),
  tooLargeForServer: rule(TOO_LARGE, 'MQTT-3.2.2-15', 'packet larger than the maximum packet size'),
  tooLargeForClient: rule(TOO_LARGE, 'MQTT-3.1.2-24', 'packet larger than the maximum packet size'),

  // Fields
  cutShort: rule(MALFORMED, 'section 2.1.4', 'the packet, or the property length, ends inside a field'),
  trailingBytes: rule(MALFORMED, 'section 2.1.4', 'bytes left after the last field'),
  illFormedUtf8: rule(MALFORMED, 'MQTT-1.5.4-1', 'string that is not well-formed UTF-8'),
  nullCharacter: rule(MALFORMED, 'MQTT-1.5.4-2', 'string with U+0000'),
  // "MAY treat the packet as malformed": taken up for names, where such a character can only mislead.
  controlCharacter: rule(MALFORMED, 'section 1.5.4', 'name with a control character'),
  packetIdZero: rule(PROTOCOL_ERROR, 'MQTT-2.2.1-3', 'packet identifier 0'),

  // Topics
  emptyTopic: rule(PROTOCOL_ERROR, 'section 3.3.2.1', 'empty topic name without a topic alias'),
  emptyTopicName: rule(MALFORMED, 'MQTT-4.7.3-1', 'empty topic name'),
  wildcardInTopic: rule(MALFORMED, 'MQTT-3.3.2-2', 'topic name with a wildcard'),
  wildcardInWillTopic: rule(MALFORMED, 'MQTT-4.7.0-1', 'will topic with a wildcard'),
  emptyFilter: rule(MALFORMED, 'MQTT-4.7.3-1', 'empty topic filter'),
  multiLevelWildcard: rule(MALFORMED, 'MQTT-4.7.1-1', 'topic filter with # not alone in its last level'),
  singleLevelWildcard: rule(MALFORMED, 'MQTT-4.7.1-2', 'topic filter with + not alone in its level'),
  shareName: rule(MALFORMED, 'MQTT-4.8.2-1', 'shared subscription with an empty share name, or a wildcard in it'),
  sharedFilter: rule(MALFORMED, 'MQTT-4.8.2-2', 'share name without a topic filter behind it'),

  // Properties
  unknownProperty: rule(MALFORMED, 'section 2.2.2.2', 'unknown property'),
  foreignProperty: rule(MALFORMED, 'section 2.2.2.2', 'property that this packet does not have'),
  propertyTwice: rule(PROTOCOL_ERROR, 'section 2.2.2.2', 'property given more than once'),
  propertyRange: rule(PROTOCOL_ERROR, 'section 2.2.2.2', 'property with a value that it cannot have'),
  topicAliasZero: rule(TOPIC_ALIAS_INVALID, 'MQTT-3.3.2-8', 'topic alias 0'),
  responseTopicWildcard: rule(PROTOCOL_ERROR, 'MQTT-3.3.2-14', 'response topic with a wildcard'),
  responseTopicEmpty: rule(PROTOCOL_ERROR, 'MQTT-4.7.3-1', 'empty response topic'),
  subscriptionIdentifierFromClient: rule(PROTOCOL_ERROR, 'MQTT-3.3.4-6', 'subscription identifier in a PUBLISH to a server'),
  sessionExpiryFromServer: rule(PROTOCOL_ERROR, 'MQTT-3.14.2-2', 'session expiry interval in a DISCONNECT from a server'),
  authenticationDataAlone: rule(PROTOCOL_ERROR, 'section 3.1.2.11.10', 'authentication data without an authentication method'),
  authenticationMethodMissing: rule(PROTOCOL_ERROR, 'section 3.15.2.2.2', 'AUTH with properties but without an authentication method'),

  // CONNECT
  protocolName: rule(UNSUPPORTED_VERSION, 'MQTT-3.1.2-1', 'protocol name that is neither MQTT nor MQIsdp'),
  protocolLevel: rule(UNSUPPORTED_VERSION, 'MQTT-3.1.2-2', 'protocol level that is not served under this protocol name'),
  connectReservedFlag: rule(MALFORMED, 'MQTT-3.1.2-3', 'reserved bit of the connect flags set'),
  willQosWithoutWill: rule(MALFORMED, 'MQTT-3.1.2-11', 'will QoS without a will'),
  willQos3: rule(MALFORMED, 'MQTT-3.1.2-12', 'will QoS 3'),
  willRetainWithoutWill: rule(MALFORMED, 'MQTT-3.1.2-13', 'will retain without a will'),
  passwordWithoutUserName: rule(MALFORMED, 'v3.1.1 MQTT-3.1.2-22', 'password flag without user name flag'),
  emptyClientIdentifier: rule(BAD_CLIENT_IDENTIFIER, 'v3.1.1 MQTT-3.1.3-8', 'empty client identifier for a session to keep'),
  clientIdentifierText: rule(BAD_CLIENT_IDENTIFIER, 'MQTT-3.1.3-4', 'client identifier that is not a clean UTF-8 string'),

  // Acknowledgements and answers
  connackFlags: rule(MALFORMED, 'MQTT-3.2.2-1', 'reserved connect acknowledge flags set'),
  sessionPresentOnRefusal: rule(PROTOCOL_ERROR, 'MQTT-3.2.2-6', 'session present in a CONNACK that refuses'),
  connackCode: rule(PROTOCOL_ERROR, 'MQTT-3.2.2-8', 'reason code that CONNACK does not have'),
  pubackCode: rule(PROTOCOL_ERROR, 'MQTT-3.4.2-1', 'reason code that PUBACK does not have'),
  pubrecCode: rule(PROTOCOL_ERROR, 'MQTT-3.5.2-1', 'reason code that PUBREC does not have'),
  pubrelCode: rule(PROTOCOL_ERROR, 'MQTT-3.6.2-1', 'reason code that PUBREL does not have'),
  pubcompCode: rule(PROTOCOL_ERROR, 'MQTT-3.7.2-1', 'reason code that PUBCOMP does not have'),
  subackCode: rule(PROTOCOL_ERROR, 'MQTT-3.9.3-2', 'reason code that SUBACK does not have'),
  subackEmpty: rule(PROTOCOL_ERROR, 'MQTT-3.8.4-6', 'SUBACK without a reason code'),
  unsubackCode: rule(PROTOCOL_ERROR, 'MQTT-3.11.3-2', 'reason code that UNSUBACK does not have'),
  unsubackEmpty: rule(PROTOCOL_ERROR, 'MQTT-3.11.3-2', 'UNSUBACK without a reason code'),
  disconnectCode: rule(PROTOCOL_ERROR, 'MQTT-3.14.2-1', 'reason code that this side may not put into DISCONNECT'),
  authCode: rule(PROTOCOL_ERROR, 'MQTT-3.15.2-1', 'reason code that this side may not put into AUTH'),

  // SUBSCRIBE and UNSUBSCRIBE
  subscribeEmpty: rule(PROTOCOL_ERROR, 'MQTT-3.8.3-2', 'SUBSCRIBE without a topic filter'),
  unsubscribeEmpty: rule(PROTOCOL_ERROR, 'MQTT-3.10.3-2', 'UNSUBSCRIBE without a topic filter'),
  subscriptionReservedBits: rule(MALFORMED, 'MQTT-3.8.3-5', 'reserved bits of the subscription options set'),
  subscriptionQos3: rule(PROTOCOL_ERROR, 'section 3.8.3.1', 'requested QoS 3'),
  retainHandling3: rule(PROTOCOL_ERROR, 'section 3.8.3.1', 'retain handling 3'),
  noLocalShared: rule(PROTOCOL_ERROR, 'MQTT-3.8.3-4', 'No Local on a shared subscription'),
} as const
