/**
 * The habits of the Eclipse Paho clients. Java and C do not reconnect by themselves unless told: here they are told (`setAutomaticReconnect(true)`,
 * `automaticReconnect = 1`), as their users do. None of them subscribes again: their applications do so in the connect callback.
 *
 * Left out: Java's delay is static, shared by all clients of a JVM, where one success resets everybody's; Python, with a clean session, sends a QoS 2 PUBLISH again
 * even after its PUBREC; Go's memory store replays in no particular order; Go tells its application that a publish is done when the connection is back; C rounds
 * its jitter to whole seconds.
 */
import type { ClientProfile } from './profile.ts'

/** Paho Java 1.2.5 (org.eclipse.paho.client.mqttv3), with automatic reconnect. */
export const pahoJava: ClientProfile = {
  name: 'paho-java',
  // MqttConnectOptions.java: 3.1.1 first, CLEAN_SESSION_DEFAULT true, KEEP_ALIVE_INTERVAL_DEFAULT 60, CONNECTION_TIMEOUT_DEFAULT 30, MAX_INFLIGHT_DEFAULT 10.
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 60,
  // internal/ClientState.java, checkForActivity: pings when nothing came in, or nothing went out, for a keepalive; gives up when a ping is outstanding and nothing
  // came in for a keepalive, looked at when the next ping is due. The log of paho.mqtt.java#576 shows about 120 s.
  keepaliveFrom: 'sends-and-receipts',
  keepaliveCheckMs: undefined,
  pingTimeoutMs: 'keepalive',
  acknowledgeTimeoutMs: undefined,
  connectTimeoutMs: 30_000,
  connackTimeoutMs: undefined,
  // MqttAsyncClient.java: reconnectDelay 1000, doubled at each failure to maxReconnectDelay 128000.
  reconnect: {
    kind: 'exponential',
    firstMs: 1000,
    capMs: 128_000,
    earlyCapMs: 128_000,
    earlyForMs: 0,
    jitter: 'none',
    firstAtOnce: false,
  },
  // internal/TCPNetworkModule.java: new InetSocketAddress(host, port), which takes the first address of the JVM's answer.
  addresses: 'first',
  addressTimeoutMs: undefined,
  nextAddressOn: 'connect-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  // docs.aws.amazon.com, "Set the JVM TTL for DNS name lookups": 30 s without a security manager, for ever with one.
  ownAddressCacheMs: 30_000,
  resubscribe: 'on-each-connect',
  // internal/ClientState.java, notifyReceivedAck: a CONNACK of a clean session clears all state; otherwise what is in flight is restored, whatever it said.
  unacknowledgedWithoutSession: 'drop-if-clean',
  resendSetsDup: true,
  replayOneByOne: false,
  inFlightLimit: 10,
  // Without a connection, or beyond the window, publish() throws (REASON_CODE_CLIENT_NOT_CONNECTED, REASON_CODE_MAX_INFLIGHT); no DisconnectedBufferOptions.
  queueLimit: 0,
  queuesQoS0: false,
  receiveMaximum: undefined,
}

/** Paho Python 2.1 with loop_forever or loop_start. */
export const pahoPython: ClientProfile = {
  name: 'paho-python',
  // src/paho/mqtt/client.py: protocol MQTTv311, clean_session True, connect(keepalive=60).
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 60,
  // src/paho/mqtt/client.py, _check_keepalive: when the last packet out or in is a keepalive old, it pings, and sets both to now; when that is so again with the
  // PINGREQ unanswered, or while it has no CONNACK, it closes.
  keepaliveFrom: 'sends-and-receipts',
  keepaliveCheckMs: undefined,
  pingTimeoutMs: 'keepalive',
  acknowledgeTimeoutMs: undefined,
  // src/paho/mqtt/client.py: _connect_timeout 5.0, given to socket.create_connection, which takes it for each address in turn (docs.python.org, socket).
  connectTimeoutMs: 5000,
  connackTimeoutMs: 'keepalive',
  // src/paho/mqtt/client.py, reconnect_delay_set and _reconnect_wait: min_delay 1, doubling to max_delay 120.
  reconnect: {
    kind: 'exponential',
    firstMs: 1000,
    capMs: 120_000,
    earlyCapMs: 120_000,
    earlyForMs: 0,
    jitter: 'none',
    firstAtOnce: false,
  },
  addresses: 'all',
  addressTimeoutMs: undefined,
  nextAddressOn: 'connect-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  ownAddressCacheMs: undefined,
  resubscribe: 'on-each-connect',
  // README.rst, "Known limitations", and _messages_reconnect_reset_out: QoS 1 and 2 are sent again also with a clean session, QoS 1 with DUP.
  unacknowledgedWithoutSession: 'same-ids',
  resendSetsDup: true,
  replayOneByOne: false,
  // src/paho/mqtt/client.py: _max_inflight_messages 20, _max_queued_messages 0 (no limit); ours keeps a simulated outage within memory.
  inFlightLimit: 20,
  queueLimit: 1000,
  queuesQoS0: true,
  receiveMaximum: undefined,
}

/** Paho Go 1.5 (eclipse/paho.mqtt.golang), NewClientOptions. */
export const pahoGo: ClientProfile = {
  name: 'paho-go',
  // options.go, NewClientOptions: 3.1.1 first, CleanSession true, KeepAlive 30, PingTimeout 10 s, ConnectTimeout 30 s, AutoReconnect true.
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 30,
  // ping.go, keepalive: a ticker of 5 s (for a keepalive above 10 s) pings when the last packet out or in is a keepalive old, and gives up when the ping is
  // PingTimeout old.
  keepaliveFrom: 'sends-and-receipts',
  keepaliveCheckMs: 5000,
  pingTimeoutMs: 10_000,
  acknowledgeTimeoutMs: undefined,
  connectTimeoutMs: 30_000,
  connackTimeoutMs: undefined,
  // client.go, reconnect: the first try at once, then 1 s, doubling to MaxReconnectInterval, 10 min. Its 1 s wait before a connection that was lost within 3 s is left out.
  reconnect: {
    kind: 'exponential',
    firstMs: 1000,
    capMs: 600_000,
    earlyCapMs: 600_000,
    earlyForMs: 0,
    jitter: 'none',
    firstAtOnce: true,
  },
  // golang/go src/net/dial.go, dialSerial and partialDeadline: all addresses in turn, the time left shared among those left, at least 2 s each.
  addresses: 'all',
  addressTimeoutMs: 'equal-share',
  nextAddressOn: 'connect-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  ownAddressCacheMs: undefined,
  // options.go: ResumeSubs false.
  resubscribe: 'on-each-connect',
  // client.go, reconnect and resume: the store is sent again whatever CONNACK said, PUBLISH with DUP.
  unacknowledgedWithoutSession: 'same-ids',
  resendSetsDup: true,
  replayOneByOne: false,
  // messageids.go: as many as there are ids. The store has no limit; ours keeps a simulated outage within memory.
  inFlightLimit: 65_535,
  queueLimit: 1000,
  queuesQoS0: false,
  receiveMaximum: undefined,
}

/** Paho C 1.3 (MQTTAsync), with automatic reconnect. */
export const pahoC: ClientProfile = {
  name: 'paho-c',
  // src/MQTTAsync.h, MQTTAsync_connectOptions_initializer: 3.1.1 first, keepAliveInterval 60, cleansession 1, maxInflight 65535, connectTimeout 30,
  // minRetryInterval 1, maxRetryInterval 60.
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: 0,
  keepaliveSeconds: 60,
  // src/MQTTProtocolClient.c, MQTTProtocol_keepalive: pings when the last packet out or in is a keepalive old, closes when the ping is one old.
  keepaliveFrom: 'sends-and-receipts',
  keepaliveCheckMs: undefined,
  pingTimeoutMs: 'keepalive',
  acknowledgeTimeoutMs: undefined,
  connectTimeoutMs: 30_000,
  connackTimeoutMs: undefined,
  // src/MQTTAsyncUtils.c, MQTTAsync_startConnectRetry and MQTTAsync_randomJitter: doubling, each between 1/1.2 and 1.2 of it.
  reconnect: {
    kind: 'exponential',
    firstMs: 1000,
    capMs: 60_000,
    earlyCapMs: 60_000,
    earlyForMs: 0,
    jitter: { fromShare: 1 / 1.2, toShare: 1.2 },
    firstAtOnce: false,
  },
  // src/Socket.c, Socket_new: the first IPv4 address of getaddrinfo's answer.
  addresses: 'first',
  addressTimeoutMs: undefined,
  nextAddressOn: 'connect-failure',
  onConnackError: 'close',
  resolverCache: 'ttl',
  ownAddressCacheMs: undefined,
  resubscribe: 'on-each-connect',
  // src/MQTTAsyncUtils.c, MQTTAsync_completeConnection: cleans the session's state after a clean start, and where CONNACK says that there is none.
  unacknowledgedWithoutSession: 'drop',
  resendSetsDup: true,
  replayOneByOne: false,
  inFlightLimit: 65_535,
  // src/MQTTAsync.c, MQTTAsync_send: MQTTASYNC_DISCONNECTED without a connection, unless created with sendWhileDisconnected.
  queueLimit: 0,
  queuesQoS0: false,
  receiveMaximum: undefined,
}
