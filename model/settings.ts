/**
 * Every number that the service runs by, with its default. Defaults follow the public documentation of RocketMQ (heartbeat, retention), of managed MQTT services
 * (limits of a client) and of cloud load balancers (probes), or else are the project's own choice. All can be set in a scenario.
 */

export interface ServiceSettings {
  readonly nameserver: {
    /** A broker that sent no heartbeat for this long is called silent. */
    readonly expiryMs: number
  }
  readonly broker: {
    readonly heartbeatIntervalMs: number
    /** How much later the second choice for an ownerless shard tries, the third twice that, and so on. */
    readonly takeoverStaggerMs: number
    /** A checkpoint is written once this many bytes were logged since the last one, or four times its size, whichever is more. */
    readonly checkpointBytes: number
    readonly segmentBytes: number
    readonly retentionMs: number
  }
  readonly volume: {
    /** How long a copy's word that an owner is the owner holds. */
    readonly leaseMs: number
    readonly leaseRenewIntervalMs: number
    readonly requestTimeoutMs: number
  }
  readonly proxy: {
    readonly routePullIntervalMs: number
    readonly pingIntervalMs: number
    /** For how long after an answered ping a proxy may speak for the sessions it validated with that broker. */
    readonly sessionLeaseMs: number
    /** A client whose session cannot be reached for this long is closed, so that it goes elsewhere. */
    readonly unreachableCloseMs: number
    readonly requestTimeoutMs: number
    /** Delivery window to a 3.x subscriber; MQTT 5 clients state their Receive Maximum. */
    readonly window3x: number
    /** Subscriber acknowledgements wait at most this long for a frame to ride on. */
    readonly acknowledgeDelayMs: number
    readonly maximumPacketBytes: number
    readonly maximumPayloadBytes: number
    /** Publishes of QoS 1 and 2 that an MQTT 5 client may have open (Receive Maximum); a 3.x client is not read beyond it. */
    readonly receiveMaximum: number
    /** Topic aliases that an MQTT 5 client may set up on a connection. */
    readonly topicAliasMaximum: number
    /** Aliases that we set up towards a client, at most, where it allows as many. */
    readonly topicAliasesToClient: number
    /** A longer keepalive is cut to this, which MQTT 5 clients are told (Server Keep Alive). */
    readonly maximumKeepaliveSeconds: number
    readonly maximumFilters: number
    readonly connectTimeoutMs: number
  }
  readonly loadBalancer: {
    readonly probeIntervalMs: number
    readonly probeTimeoutMs: number
    /** Failures in a row until a target is out, successes in a row until it is back. */
    readonly unhealthyThreshold: number
    readonly healthyThreshold: number
  }
  readonly dns: { readonly ttlSeconds: number }
}

export const defaultSettings: ServiceSettings = {
  nameserver: { expiryMs: 3000 },
  broker: {
    heartbeatIntervalMs: 1000,
    takeoverStaggerMs: 500,
    checkpointBytes: 1 << 20,
    segmentBytes: 8 << 20,
    retentionMs: 3 * 24 * 3600 * 1000,
  },
  volume: { leaseMs: 3000, leaseRenewIntervalMs: 1000, requestTimeoutMs: 1000 },
  proxy: {
    routePullIntervalMs: 1000,
    pingIntervalMs: 1000,
    sessionLeaseMs: 2000,
    unreachableCloseMs: 5000,
    requestTimeoutMs: 2000,
    window3x: 16,
    acknowledgeDelayMs: 200,
    maximumPacketBytes: 256 * 1024,
    maximumPayloadBytes: 64 * 1024,
    receiveMaximum: 1000,
    topicAliasMaximum: 10,
    topicAliasesToClient: 10,
    maximumKeepaliveSeconds: 65_535,
    maximumFilters: 30,
    connectTimeoutMs: 10_000,
  },
  loadBalancer: { probeIntervalMs: 2000, probeTimeoutMs: 1000, unhealthyThreshold: 2, healthyThreshold: 2 },
  dns: { ttlSeconds: 60 },
}

/** Ports that every machine of a role listens on. */
export const ports = { mqtt: 1883, nameserver: 9876, broker: 10911, volume: 3260, dns: 53 } as const
