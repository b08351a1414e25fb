/**
 * Who has which reconnect habits: `recommended` is what we advise; the others do what real clients do, also where that is unwise. Facts about real clients carry
 * their source, a file of the client's own repository where nothing else is said. A habit that a library leaves to its user (whether it reconnects at all, when it
 * subscribes again) is set as its own examples set it.
 */
import { pahoC, pahoGo, pahoJava, pahoPython } from './paho-profiles.ts'
import type { ClientProfile } from './profile.ts'

/** What we advise; numbers of the project's design. */
const recommended: ClientProfile = {
  name: 'recommended',
  version: 5,
  cleanStart: false,
  sessionExpirySeconds: 3600,
  keepaliveSeconds: 10,
  keepaliveFrom: 'sends-and-answers',
  keepaliveCheckMs: undefined,
  pingTimeoutMs: 3000,
  acknowledgeTimeoutMs: 3000,
  connectTimeoutMs: 2000,
  connackTimeoutMs: undefined,
  reconnect: {
    kind: 'exponential',
    firstMs: 500,
    capMs: 30_000,
    earlyCapMs: 2000,
    earlyForMs: 10_000,
    jitter: 'full',
    firstAtOnce: false,
  },
  addresses: 'all',
  addressTimeoutMs: undefined,
  nextAddressOn: 'any-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  ownAddressCacheMs: undefined,
  resubscribe: 'when-session-absent',
  unacknowledgedWithoutSession: 'publish-again',
  resendSetsDup: true,
  replayOneByOne: false,
  inFlightLimit: 64,
  queueLimit: 1000,
  queuesQoS0: false,
  receiveMaximum: 100,
}

/** MQTT.js 5.14.1 with its default options on Node 20 or later. */
const mqttJs: ClientProfile = {
  name: 'mqtt.js',
  // src/lib/client.ts, defaultConnectOptions: protocolVersion 4, clean true, keepalive 60, reconnectPeriod 1000, connectTimeout 30 s.
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 60,
  // src/lib/KeepaliveManager.ts: a timer of half the keepalive; the second tick pings, the third closes. It starts anew with each
  // acknowledgement and PINGRESP (src/lib/handlers/index.ts), not with what is sent or published to it.
  keepaliveFrom: 'answers',
  keepaliveCheckMs: undefined,
  pingTimeoutMs: 'half-keepalive',
  acknowledgeTimeoutMs: undefined,
  connectTimeoutMs: 30_000,
  connackTimeoutMs: undefined,
  // src/lib/client.ts, _setupReconnect: setInterval, no back-off, no jitter.
  reconnect: { kind: 'fixed', periodMs: 1000 },
  // nodejs.org/api/net.html, socket.connect: autoSelectFamily (on since 20) tries all addresses in sequence, each but the last for 250 ms.
  addresses: 'all',
  addressTimeoutMs: 250,
  nextAddressOn: 'connect-failure',
  // src/lib/handlers/connack.ts: emits `error` and leaves the connection as it is, unless reconnectOnConnackError is set.
  onConnackError: 'wait-for-server',
  resolverCache: 'ttl',
  ownAddressCacheMs: undefined,
  // src/lib/client.ts, _resubscribe: when clean, or from 3.1.1 on when the session was absent.
  resubscribe: 'always-if-clean',
  // src/lib/client.ts, _onConnect: replays the outgoing store whatever CONNACK said, PUBLISH and PUBREL unchanged (so without DUP), the next
  // one when the last is acknowledged; `connect`, and with it _resubscribe, comes after the whole store.
  unacknowledgedWithoutSession: 'same-ids',
  resendSetsDup: false,
  replayOneByOne: true,
  // No limit of its own. The queue has none either; ours keeps a simulated outage within memory.
  inFlightLimit: 65_535,
  queueLimit: 1000,
  // src/lib/client.ts: queueQoSZero defaults to true.
  queuesQoS0: true,
  receiveMaximum: undefined,
}

/** HiveMQ MQTT Client for Java, `automaticReconnectWithDefaultConfig()`. Left out: it ends a connection on which the server sends a message again. */
const hivemq: ClientProfile = {
  name: 'hivemq',
  version: 5,
  // Mqtt5Connect.java: clean start true, session expiry 0, keep alive 60.
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 60,
  // internal/mqtt/handler/ping/MqttPingHandler.java, nextDelay and run: the older of last read and last flush; any message read answers the ping; after a PINGREQ
  // it looks again one keepalive later.
  keepaliveFrom: 'sends-and-receipts',
  keepaliveCheckMs: undefined,
  pingTimeoutMs: 'keepalive',
  acknowledgeTimeoutMs: undefined,
  // MqttClientTransportConfig.java: socketConnectTimeout 10 s, mqttConnectTimeout 60 s.
  connectTimeoutMs: 10_000,
  connackTimeoutMs: 60_000,
  // internal/mqtt/lifecycle/MqttClientAutoReconnectImpl.java: 1 s, doubling to 120 s, and up to a quarter of that more or less.
  reconnect: {
    kind: 'exponential',
    firstMs: 1000,
    capMs: 120_000,
    earlyCapMs: 120_000,
    earlyForMs: 0,
    jitter: { fromShare: 0.75, toShare: 1.25 },
    firstAtOnce: false,
  },
  // netty.io, DefaultNameResolver.doResolve: InetAddress.getByName, which is the first address of the JVM's answer.
  addresses: 'first',
  addressTimeoutMs: undefined,
  nextAddressOn: 'connect-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  // docs.aws.amazon.com, "Set the JVM TTL for DNS name lookups": 30 s without a security manager, for ever with one.
  ownAddressCacheMs: 30_000,
  // internal/mqtt/lifecycle/MqttClientReconnector.java: resubscribeIfSessionExpired true, republishIfSessionExpired false.
  resubscribe: 'when-session-absent',
  unacknowledgedWithoutSession: 'drop',
  // internal/mqtt/handler/publish/outgoing/MqttOutgoingQosHandler.java, resend: with DUP; sendMaximum is the server's Receive Maximum.
  resendSetsDup: true,
  replayOneByOne: false,
  inFlightLimit: 65_535,
  // Its queue has no limit; ours keeps a simulated outage within memory. QoS 0 goes through the same queue.
  queueLimit: 1000,
  queuesQoS0: true,
  receiveMaximum: undefined,
}

/** libmosquitto as mosquitto_sub and mosquitto_pub -l use it. */
const mosquitto: ClientProfile = {
  name: 'mosquitto',
  // lib/libmosquitto.c, mosquitto_reinitialise: 3.1.1, keepalive 60, reconnect_delay 1, reconnect_delay_max 1, no exponential back-off; lib/options.c and
  // client/client_shared.c: clean session unless -c.
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 60,
  // lib/util_mosq.c, mosquitto__check_keepalive: when the last packet out or in is a keepalive old, it pings, and sets both to now; when that is so again with the
  // PINGREQ unanswered, or while it has no CONNACK, it closes.
  keepaliveFrom: 'sends-and-receipts',
  keepaliveCheckMs: undefined,
  pingTimeoutMs: 'keepalive',
  acknowledgeTimeoutMs: undefined,
  // lib/net_mosq.c, net__try_connect_tcp: a blocking connect() to each address in turn, which Linux ends after 127 s (tcp(7), tcp_syn_retries 6).
  connectTimeoutMs: 127_000,
  connackTimeoutMs: 'keepalive',
  reconnect: { kind: 'fixed', periodMs: 1000 },
  addresses: 'all',
  addressTimeoutMs: undefined,
  nextAddressOn: 'connect-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  ownAddressCacheMs: undefined,
  // client/sub_client.c, my_connect_callback: subscribes whenever it is connected.
  resubscribe: 'on-each-connect',
  // lib/messages_mosq.c, message__reconnect_reset: whatever CONNACK says of the session, PUBLISH with DUP, or PUBREL, is sent again.
  unacknowledgedWithoutSession: 'same-ids',
  resendSetsDup: true,
  replayOneByOne: false,
  // lib/libmosquitto.c: max_inflight_messages 20. The queue has no limit; ours keeps a simulated outage within memory.
  inFlightLimit: 20,
  queueLimit: 1000,
  // lib/actions.c, mosquitto_publish: QoS 0 without a connection is MOSQ_ERR_NO_CONN.
  queuesQoS0: false,
  receiveMaximum: undefined,
}

/** In the order in which they are listed. */
export const profileNames = ['recommended', 'mqtt.js', 'paho-java', 'paho-python', 'paho-go', 'paho-c', 'hivemq', 'mosquitto'] as const

export type ProfileName = (typeof profileNames)[number]

export const clientProfiles: Readonly<Record<ProfileName, ClientProfile>> = {
  recommended,
  'mqtt.js': mqttJs,
  'paho-java': pahoJava,
  'paho-python': pahoPython,
  'paho-go': pahoGo,
  'paho-c': pahoC,
  hivemq,
  mosquitto,
}
