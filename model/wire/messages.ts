/**
 * Every internal call of the region: nameserver, volume, session, topic and console traffic. One table; `link.ts` frames and dispatches it.
 *
 * A request has one reply (`replies`), a notice has none. The number of a message is its place on the wire and is never used again for another.
 * What a reply cannot say is "unknown": that is a call without a reply, and the link's word.
 */
import { bool, bytes, list, oneOf, optional, type RecordValue, record, u8, u16, u32, u53, utf8, type Value } from './codec.ts'

/** A subscription as session and topic shards keep it. */
export const subscriptionField = record({
  filter: utf8,
  qos: u8,
  noLocal: bool,
  retainAsPublished: bool,
  retainHandling: u8,
  /** 0 where none was given. */
  subscriptionIdentifier: u32,
})
export type Subscription = Value<typeof subscriptionField>

/** A will as session shards keep it: the message as it will be stored, and how long after the end of the connection. */
export const willField = record({ delaySeconds: u32, message: bytes })
export type StoredWill = Value<typeof willField>

const shardEpoch = record({ shard: u16, epoch: u32 })

/** Which change of the rules it is: the client that asks for it, and a number that rises with each change of that client. */
const changeId = record({ client: u53, number: u53 })

/** What the control plane decides over the region: who may do what, and how much of it. `version` grows with each change. */
export const rulesField = record({
  version: u32,
  access: oneOf('open', 'permissions'),
  topicCreation: oneOf('auto', 'console'),
  topics: list(utf8),
  users: list(record({ username: utf8, password: utf8, publish: list(utf8), subscribe: list(utf8) })),
  /** 0 stands for no limit with the first two. */
  quotas: record({ connectionsPerProxy: u32, messagesPerSecond: u32, filtersPerClient: u32, payloadBytes: u32 }),
  /** The last change of each client that is in here, so that none is made again when it arrives again. */
  lastChanges: list(changeId),
})
export type RulesDocument = Value<typeof rulesField>

export const messages = {
  // Nameserver
  /** `attaching`: shards that the broker is about to serve, so that no other tries the same meanwhile. */
  register: {
    number: 1,
    body: { broker: utf8, bootId: u32, zone: utf8, host: utf8, port: u16, serving: list(shardEpoch), attaching: list(u16) },
  },
  registered: { number: 2, body: { young: bool } },
  heartbeat: { number: 3, body: { broker: utf8, bootId: u32 } },
  /** `known` false: register again. `young`: up for less than one expiry, so `ownerless` means nothing yet. */
  heartbeatAnswer: { number: 4, body: { known: bool, young: bool, ownerless: list(shardEpoch), alive: list(utf8) } },
  pullRoutes: { number: 5, body: { instance: u32, version: u32 } },
  /** `unchanged` when the caller's (instance, version) is still the newest; then `entries` is empty. */
  routes: {
    number: 6,
    body: {
      instance: u32,
      version: u32,
      young: bool,
      unchanged: bool,
      entries: list(record({ shard: u16, epoch: u32, broker: utf8, host: utf8, port: u16 })),
    },
  },

  // Volume
  volumePrepare: { number: 10, body: { volume: u16, epoch: u32, owner: utf8 } },
  /**
   * `leaseRemainingMs`: how long the former owner may still believe in a lease that this copy granted. `isFilling`: the copy was empty when it joined a log that
   * was not, and nobody has said since that it has all of it.
   */
  volumePrepared: {
    number: 11,
    body: {
      outcome: oneOf('promised', 'refused', 'failed'),
      promisedEpoch: u32,
      size: u53,
      markOffset: u53,
      trimOffset: u53,
      epochs: list(record({ epoch: u32, offset: u53 })),
      leaseRemainingMs: u32,
      isFilling: bool,
    },
  },
  /** Bytes at `offset`, written under `dataEpoch` by the owner of that epoch, sent by the owner of `epoch`. Never crosses an epoch's border. */
  volumeAppend: { number: 12, body: { volume: u16, epoch: u32, dataEpoch: u32, offset: u53, markOffset: u53, bytes } },
  /** `durable`: all bytes below `size` are synced. `gap`: the copy's log ends at `size`, elsewhere than the write begins. */
  volumeAppended: { number: 13, body: { outcome: oneOf('durable', 'refused', 'gap', 'failed'), promisedEpoch: u32, size: u53 } },
  volumeCut: { number: 14, body: { volume: u16, epoch: u32, offset: u53 } },
  volumeRead: { number: 15, body: { volume: u16, offset: u53, length: u32 } },
  volumeData: { number: 16, body: { outcome: oneOf('read', 'trimmed', 'failed'), bytes } },
  volumeTrim: { number: 17, body: { volume: u16, epoch: u32, offset: u53 } },
  volumeLease: { number: 18, body: { owner: utf8, volumes: list(record({ volume: u16, epoch: u32 })) } },
  volumeLeased: { number: 19, body: { lost: list(record({ volume: u16, epoch: u32 })) } },
  /** Before the first byte for an empty copy of a log that is not empty, and once the copy lacks nothing. */
  volumeFilling: { number: 20, body: { volume: u16, epoch: u32, isFilling: bool } },

  // Proxy and session shard
  ping: { number: 30, body: { proxy: utf8, bootId: u32 } },
  /** `grantMs`: for how long, from when the ping was sent, the proxy may speak for sessions of these shards that it validated on this link. */
  pong: { number: 31, body: { grantMs: u32, serving: list(shardEpoch) } },
  openSession: {
    number: 32,
    body: {
      shard: u16,
      clientId: utf8,
      proxy: utf8,
      bootId: u32,
      /** The proxy's number for the client's connection; with (proxy, bootId) it names this attempt, so that a retry is known as one. */
      handle: u32,
      cleanStart: bool,
      /** Seconds that the session outlives its connection; 0xffffffff for ever. */
      expirySeconds: u32,
      /** The connection's will, as a topic shard would store it. */
      will: optional(willField),
    },
  },
  sessionOpened: {
    number: 33,
    body: {
      outcome: oneOf('opened', 'not-owner', 'superseded'),
      sessionPresent: bool,
      epoch: u32,
      incarnation: u32,
      subscriptions: list(subscriptionField),
      /** Those that may hold a queue for the session: also after UNSUBSCRIBE, since what was begun is completed [MQTT-3.10.4-3]. */
      topicShards: list(u16),
    },
  },
  /** Replaces the session's subscriptions; `version` grows with each change within an epoch. */
  setSubscriptions: {
    number: 34,
    body: { shard: u16, clientId: utf8, epoch: u32, version: u32, subscriptions: list(subscriptionField) },
  },
  /**
   * Closes the connection of that epoch; with epoch 0, whose open had no answer, the one of that attempt. `will`: whether the client took it back by
   * DISCONNECT 0x00 [MQTT-3.14.4-3], or it is due.
   */
  closeSession: {
    number: 35,
    body: {
      shard: u16,
      clientId: utf8,
      epoch: u32,
      proxy: utf8,
      bootId: u32,
      handle: u32,
      expirySeconds: u32,
      will: oneOf('discarded', 'due'),
    },
  },
  resumeSessions: { number: 36, body: { shard: u16, sessions: list(record({ clientId: utf8, epoch: u32, handle: u32 })) } },
  /** `superseded`: another connection has the session. `lost`: nobody has, it was closed or ended meanwhile. */
  sessionsResumed: { number: 37, body: { outcome: oneOf('done', 'not-owner'), superseded: list(u32), lost: list(u32) } },
  /** From the session shard to the proxy: another connection took the session over, or it ended. */
  kickSession: { number: 38, body: { clientId: utf8, epoch: u32, handle: u32 } },
  kicked: { number: 39, body: {} },
  /**
   * A QoS 2 PUBLISH: makes (session, packet id) to message id durable. A packet id that is not released yet gives the same message id again, whoever asks.
   * `openFrom`: message ids of this session below it are all released.
   */
  receivePublish: { number: 40, body: { shard: u16, clientId: utf8, epoch: u32, packetId: u16 } },
  publishReceived: {
    number: 41,
    body: { outcome: oneOf('received', 'quota', 'not-owner', 'fenced'), messageId: u53, openFrom: u53 },
  },
  /**
   * PUBREL: the packet id does not stand for the message any more, durably. `messageId` 0: for the one that an earlier connection of the session left, which a proxy does not know.
   * Where it stands for nothing, or for another message by now, that is so already: the answer is `released`.
   */
  releasePublish: { number: 42, body: { shard: u16, clientId: utf8, epoch: u32, packetId: u16, messageId: u53 } },
  publishReleased: { number: 43, body: { outcome: oneOf('released', 'not-owner', 'fenced') } },

  // Proxy and topic shard
  /**
   * `sequence` numbers a session epoch's appends to one shard from 1 without gaps; 0 for QoS 0, which is not stored. Up to `confirmed` the proxy knows them
   * stored: a shard that has forgotten an idle publisher goes on from there. `messageId`: of a QoS 2 message, else 0; the shard stores a message id of a
   * client once, whatever epoch or sequence it comes with, for as long as it may come again (`openFrom`).
   */
  publish: {
    number: 50,
    body: { shard: u16, clientId: utf8, epoch: u32, sequence: u32, confirmed: u32, messageId: u53, openFrom: u53, message: bytes },
  },
  published: { number: 51, body: { outcome: oneOf('stored', 'not-owner', 'fenced', 'gap'), offset: u53, matched: bool } },
  /** From the session shard: the will of the connection of that epoch. Stored once, however often it comes; never fenced by a later epoch of the client. */
  publishWill: { number: 62, body: { shard: u16, clientId: utf8, epoch: u32, message: bytes } },
  /**
   * Makes the shard's knowledge of each session's subscriptions equal to `subscriptions`, durably, and asks for its messages on this link.
   * `touched`: filters that the SUBSCRIBE or UNSUBSCRIBE behind this version named. The shard decides by retain handling what retained messages are due, once for the version.
   */
  attach: {
    number: 63,
    body: {
      shard: u16,
      sessions: list(
        record({
          clientId: utf8,
          incarnation: u32,
          epoch: u32,
          version: u32,
          handle: u32,
          subscriptions: list(subscriptionField),
          touched: list(utf8),
        }),
      ),
    },
  },
  /** `sessions`: in the order of the request. `queueEnd`: one past the last place of the session's queue when its messages began to go to this link. */
  attached: {
    number: 64,
    body: { outcome: oneOf('done', 'not-owner'), sessions: list(record({ outcome: oneOf('done', 'fenced'), queueEnd: u53 })) },
  },
  detach: { number: 53, body: { shard: u16, clientId: utf8, epoch: u32, handle: u32 } },
  /**
   * One message for sessions of one proxy. `sequence` is the place in the session's queue at this shard, 0 for a QoS 0 message that has none: one with
   * a place (a retained message) is acknowledged when it has been written. `waitedMs`: how long the message has been stored [MQTT-3.3.2-6].
   */
  deliver: {
    number: 54,
    body: {
      shard: u16,
      waitedMs: u32,
      message: bytes,
      targets: list(record({ handle: u32, sequence: u53, qos: u8, flags: u8, subscriptionIdentifiers: list(u32) })),
    },
  },
  /** The subscriber is done with these places of its queue: PUBACK, PUBCOMP, or a PUBREC that refuses. */
  acknowledge: { number: 55, body: { shard: u16, places: list(record({ handle: u32, sequence: u53 })) } },
  /** The messages at these places expired with the proxy, before they were sent [MQTT-3.3.2-5]: done with as well, though the subscriber has not had them. */
  expired: { number: 49, body: { shard: u16, places: list(record({ handle: u32, sequence: u53 })) } },
  /** PUBREC: the subscriber has the QoS 2 messages at these places. Answered by `release` once that is durable. */
  received: { number: 58, body: { shard: u16, places: list(record({ handle: u32, sequence: u53 })) } },
  /** To the proxy: that the subscriber has these is durable, PUBREL may leave. Said again to each connection that takes over, until the place is acknowledged. */
  release: { number: 59, body: { shard: u16, places: list(record({ handle: u32, sequence: u53 })) } },
  endSession: { number: 56, body: { shard: u16, clientId: utf8, incarnation: u32, epoch: u32 } },

  // Query
  queryMessages: { number: 60, body: { shard: u16, topic: utf8, fromMs: u53, toMs: u53, afterOffset: u53, limit: u16 } },
  messagesFound: {
    number: 61,
    body: {
      outcome: oneOf('found', 'not-owner'),
      messages: list(record({ offset: u53, storedAtMs: u53, message: bytes })),
      /** More match after the last one given. */
      more: bool,
    },
  },

  // Console
  /** `topic` is a first level. One that is there already, or gone already, is `done` too. */
  createTopic: { number: 80, body: { id: changeId, topic: utf8 } },
  deleteTopic: { number: 81, body: { id: changeId, topic: utf8 } },
  setQuotas: {
    number: 82,
    body: { id: changeId, connectionsPerProxy: u32, messagesPerSecond: u32, filtersPerClient: u32, payloadBytes: u32 },
  },
  /**
   * `out-of-reach`: no majority of the consoles has answered; the change may take effect all the same. `superseded`: a later change of the same client was made already, so this one is
   * not made any more.
   */
  rulesChanged: { number: 83, body: { outcome: oneOf('done', 'invalid', 'out-of-reach', 'superseded'), version: u32 } },
  /** Who has asked for the rules over a link is told of each change over it, by `rules` as a notice. */
  pullRules: { number: 84, body: { version: u32 } },
  /** Without a document where the caller has the newest. */
  rules: { number: 85, body: { document: optional(rulesField) } },
  rulesPrepare: { number: 86, body: { ballot: u53 } },
  /** `accepted`: what this console accepted last, under which ballot; 0: nothing yet. */
  rulesPrepared: {
    number: 87,
    body: { outcome: oneOf('promised', 'refused', 'failed'), promisedBallot: u53, acceptedBallot: u53, accepted: optional(rulesField) },
  },
  rulesAccept: { number: 88, body: { ballot: u53, document: rulesField } },
  rulesAccepted: { number: 89, body: { outcome: oneOf('accepted', 'refused', 'failed'), promisedBallot: u53 } },
  /** To a console: by topic and time. A message's id is its shard and offset. */
  findMessages: { number: 90, body: { topic: utf8, fromMs: u53, toMs: u53, afterOffset: u53, limit: u16 } },
  messagesListed: {
    number: 91,
    body: {
      outcome: oneOf('found', 'out-of-reach'),
      shard: u16,
      messages: list(record({ offset: u53, storedAtMs: u53, message: bytes })),
      more: bool,
    },
  },
  /** To a console, which passes it on to the shard: a message by its id, and what became of it. */
  traceMessage: { number: 92, body: { shard: u16, offset: u53 } },
  messageTraced: {
    number: 93,
    body: {
      outcome: oneOf('found', 'none', 'not-owner', 'out-of-reach'),
      storedAtMs: u53,
      message: bytes,
      /** False where the log that tells of the deliveries is not kept, or too long to be read for one question. */
      isWhole: bool,
      /**
       * `sent`: or may have been, by a former owner. `ended`: the session is over. `expired`: before it was sent. `unknown`: the log is too long for one question. Times are 0 where it did
       * not happen, or no record says when.
       */
      deliveries: list(
        record({
          clientId: utf8,
          sequence: u53,
          qos: u8,
          state: oneOf('waiting', 'sent', 'received', 'acknowledged', 'ended', 'expired', 'unknown'),
          receivedAtMs: u53,
          acknowledgedAtMs: u53,
        }),
      ),
    },
  },
  /** To a console: in the order of client ids, those after `after`. */
  listClients: { number: 94, body: { after: utf8, limit: u16 } },
  /** `partial`: of the sessions at `missing` shards nothing is known. */
  clientsListed: {
    number: 95,
    body: {
      outcome: oneOf('found', 'partial'),
      missing: list(u16),
      clients: list(record({ clientId: utf8, connected: bool, proxy: utf8, sinceMs: u53 })),
      more: bool,
    },
  },
  /** To a session shard. `sinceMs`: wall clock when it connected last. */
  listSessions: { number: 96, body: { shard: u16, after: utf8, limit: u16 } },
  sessionsListed: {
    number: 97,
    body: {
      outcome: oneOf('found', 'not-owner'),
      clients: list(record({ clientId: utf8, connected: bool, proxy: utf8, sinceMs: u53 })),
      more: bool,
    },
  },
  /** To a console: closes the client's connection and keeps its session. */
  kickClient: { number: 98, body: { clientId: utf8 } },
  kickFromShard: { number: 99, body: { shard: u16, clientId: utf8 } },
  /** `unreachable`: its proxy did not answer. */
  clientKicked: { number: 100, body: { outcome: oneOf('kicked', 'not-connected', 'unreachable', 'not-owner', 'out-of-reach') } },
  /** From the session shard to the proxy: the connection is to be closed with this reason, as an abnormal end. */
  dropConnection: { number: 101, body: { clientId: utf8, epoch: u32, handle: u32, reasonCode: u8 } },

  /** The plain answer to a request that has no more to say. */
  answer: { number: 70, body: { outcome: oneOf('done', 'not-owner', 'fenced') } },
} as const

type Table = typeof messages
export type MessageName = keyof Table
export type Message = { [N in MessageName]: MessageOf<N> }[MessageName]
export type MessageOf<N extends MessageName> = { readonly name: N } & RecordValue<Table[N]['body']>

/** Which message answers which request. What is not a key here is a notice or itself a reply. */
export const replies = {
  register: 'registered',
  heartbeat: 'heartbeatAnswer',
  pullRoutes: 'routes',
  volumePrepare: 'volumePrepared',
  volumeAppend: 'volumeAppended',
  volumeCut: 'volumeAppended',
  volumeRead: 'volumeData',
  volumeTrim: 'answer',
  volumeFilling: 'answer',
  volumeLease: 'volumeLeased',
  ping: 'pong',
  openSession: 'sessionOpened',
  setSubscriptions: 'answer',
  closeSession: 'answer',
  resumeSessions: 'sessionsResumed',
  kickSession: 'kicked',
  receivePublish: 'publishReceived',
  releasePublish: 'publishReleased',
  publish: 'published',
  publishWill: 'published',
  attach: 'attached',
  endSession: 'answer',
  queryMessages: 'messagesFound',
  createTopic: 'rulesChanged',
  deleteTopic: 'rulesChanged',
  setQuotas: 'rulesChanged',
  pullRules: 'rules',
  rulesPrepare: 'rulesPrepared',
  rulesAccept: 'rulesAccepted',
  findMessages: 'messagesListed',
  traceMessage: 'messageTraced',
  listClients: 'clientsListed',
  listSessions: 'sessionsListed',
  kickClient: 'clientKicked',
  kickFromShard: 'clientKicked',
  dropConnection: 'kicked',
} as const satisfies Partial<Record<MessageName, MessageName>>

export type RequestName = keyof typeof replies
export type ReplyOf<N extends RequestName> = MessageOf<(typeof replies)[N]>
/** `publish` as a notice is a QoS 0 message. */
export type Notice =
  | MessageOf<'publish'>
  | MessageOf<'detach'>
  | MessageOf<'deliver'>
  | MessageOf<'acknowledge'>
  | MessageOf<'expired'>
  | MessageOf<'received'>
  | MessageOf<'release'>
  | MessageOf<'rules'>

/** A message as topic shards store it and proxies carry it: encoded once by the publisher's proxy, never decoded whole on the way. */
export const storedMessageField = record({
  topic: utf8,
  /** Client id of the publisher. */
  publisher: utf8,
  qos: u8,
  retain: bool,
  /** Wall clock of the publisher's proxy, for people. */
  publishedAtMs: u53,
  /** MQTT 5 properties that travel with the message, as on the wire, without their length; empty for 3.x. */
  properties: bytes,
  payload: bytes,
})
export type StoredMessage = Value<typeof storedMessageField>
