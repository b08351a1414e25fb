/** MQTT control packets as values: what the strict codec yields and takes. Names are the standard's. */

/** The protocol level of CONNECT: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0. */
export type ProtocolVersion = 3 | 4 | 5
export type QoS = 0 | 1 | 2

/** MQTT 5 properties by their names in the standard. Absent where not given. */
export interface Properties {
  readonly payloadFormatIndicator?: number
  readonly messageExpiryInterval?: number
  readonly contentType?: string
  readonly responseTopic?: string
  readonly correlationData?: Buffer
  /** PUBLISH to a client may carry several; SUBSCRIBE one. */
  readonly subscriptionIdentifiers?: readonly number[]
  readonly sessionExpiryInterval?: number
  readonly assignedClientIdentifier?: string
  readonly serverKeepAlive?: number
  readonly authenticationMethod?: string
  readonly authenticationData?: Buffer
  readonly requestProblemInformation?: number
  readonly willDelayInterval?: number
  readonly requestResponseInformation?: number
  readonly responseInformation?: string
  readonly serverReference?: string
  readonly reasonString?: string
  readonly receiveMaximum?: number
  readonly topicAliasMaximum?: number
  readonly topicAlias?: number
  readonly maximumQoS?: number
  readonly retainAvailable?: number
  /** In the order in which they were given. */
  readonly userProperties?: readonly (readonly [string, string])[]
  readonly maximumPacketSize?: number
  readonly wildcardSubscriptionAvailable?: number
  readonly subscriptionIdentifierAvailable?: number
  readonly sharedSubscriptionAvailable?: number
}

export interface Will {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly retain: boolean
  readonly properties?: Properties
}

export interface Connect {
  readonly type: 'connect'
  readonly version: ProtocolVersion
  readonly clientId: string
  readonly cleanStart: boolean
  readonly keepAliveSeconds: number
  readonly username?: string
  readonly password?: Buffer
  readonly will?: Will
  readonly properties?: Properties
}

export interface Connack {
  readonly type: 'connack'
  readonly sessionPresent: boolean
  /** 3.x: the return code (0 to 5). 5.0: the reason code. */
  readonly reasonCode: number
  readonly properties?: Properties
}

export interface Publish {
  readonly type: 'publish'
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly dup: boolean
  readonly retain: boolean
  /** 0 for QoS 0. */
  readonly packetId: number
  readonly properties?: Properties
  /** MQTT 5, when decoded: the properties' bytes as they stood on the wire, without their length. */
  readonly rawProperties?: Buffer
}

/** PUBACK, PUBREC, PUBREL, PUBCOMP. `reasonCode` is 0 in 3.x. */
export interface Acknowledgement {
  readonly type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'
  readonly packetId: number
  readonly reasonCode: number
  readonly properties?: Properties
}

export interface SubscribeRequest {
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
}

export interface Subscribe {
  readonly type: 'subscribe'
  readonly packetId: number
  readonly subscriptions: readonly SubscribeRequest[]
  readonly properties?: Properties
}

export interface Suback {
  readonly type: 'suback'
  readonly packetId: number
  readonly reasonCodes: readonly number[]
  readonly properties?: Properties
}

export interface Unsubscribe {
  readonly type: 'unsubscribe'
  readonly packetId: number
  readonly filters: readonly string[]
  readonly properties?: Properties
}

export interface Unsuback {
  readonly type: 'unsuback'
  readonly packetId: number
  /** Empty in 3.x. */
  readonly reasonCodes: readonly number[]
  readonly properties?: Properties
}

export interface Pingreq {
  readonly type: 'pingreq'
}

export interface Pingresp {
  readonly type: 'pingresp'
}

export interface Disconnect {
  readonly type: 'disconnect'
  readonly reasonCode: number
  readonly properties?: Properties
}

export interface Auth {
  readonly type: 'auth'
  readonly reasonCode: number
  readonly properties?: Properties
}

export type Packet =
  | Connect
  | Connack
  | Publish
  | Acknowledgement
  | Subscribe
  | Suback
  | Unsubscribe
  | Unsuback
  | Pingreq
  | Pingresp
  | Disconnect
  | Auth
