/**
 * Every number that the service runs by, with its default. Defaults follow the public documentation of RocketMQ (heartbeat, retention), of managed MQTT services
 * (limits of a client) and of cloud load balancers (probes), or else are the project's own choice. All can be set in a scenario.
 */

export interface ServiceSettings {
  readonly nameserver: {
    /** A broker that sent no heartbeat for this long is called silent. */
    readonly expiryMs: number
    /** Silence is looked for only so often; 0: whenever a question comes. */
    readonly scanIntervalMs: number
    /** For how many expiries after its start a nameserver says of a broker that it has not heard "unknown" instead of "dead". */
    readonly unknownForExpiries: number
  }
  readonly broker: {
    readonly heartbeatIntervalMs: number
    /** How much later the second choice for an ownerless shard tries, the third twice that, and so on. */
    readonly takeoverStaggerMs: number
    /** A checkpoint is written once this many bytes were logged since the last one, or four times its size, whichever is more. */
    readonly checkpointBytes: number
    readonly segmentBytes: number
    /** Messages are kept for this long, and given up in stretches of the log, once the newest of a stretch is that old. */
    readonly retentionMs: number
    /** Such a stretch is finished when its first message is this old, unless it was long enough before. */
    readonly segmentAgeMs: number
    /** How often a broker sees whether it should hand a shard to one that has fewer; 0: never. */
    readonly rebalanceIntervalMs: number
  }
  readonly volume: {
    /** How long a copy's word that an owner is the owner holds. */
    readonly leaseMs: number
    readonly leaseRenewIntervalMs: number
    readonly requestTimeoutMs: number
    /** By how much a machine's clock may run fast or slow, in millionths: leases and grants are shortened so that it does no harm (NTP slews by at most 500). */
    readonly maximumClockDriftPpm: number
    /** A copy that is this late with what is durable elsewhere is called slow. */
    readonly slowCopyMs: number
    /** How often a zonal volume gets a backup point. */
    readonly backupIntervalMs: number
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
    /** What a probe asks for: a TCP handshake, or a CONNACK. */
    readonly probe: 'tcp' | 'mqtt'
    /** Whether the connections to a target found dead get RST. */
    readonly resetUnhealthy: boolean
    /** For how long the share of a target that came back grows, linearly, to that of the others; 0: it has it at once. */
    readonly slowStartMs: number
    /** How long a target that was taken out on purpose keeps its connections. */
    readonly drainMs: number
    /** A connection on which nothing was sent, either way, for this long is forgotten, and whoever sends then gets RST. */
    readonly idleTimeoutMs: number
    /** Whether a node uses the targets of all zones, or only those of its own. */
    readonly crossZone: boolean
    /** A node that did not answer for this long loses its access address to one in another zone, until it is back; 0: addresses stay where they are. */
    readonly addressFailoverMs: number
  }
  readonly dns: {
    readonly ttlSeconds: number
    /** Whether the servers probe the load-balancer nodes and leave the dead ones out. */
    readonly healthDriven: boolean
    readonly probeIntervalMs: number
    readonly probeTimeoutMs: number
    readonly unhealthyThreshold: number
    readonly healthyThreshold: number
  }
  readonly console: {
    /** How often a proxy asks whether the rules have changed: only for news that a console had no connection to tell over. */
    readonly rulesPullIntervalMs: number
    /** How long a console waits for its peers and for shards. */
    readonly requestTimeoutMs: number
  }
  readonly instanceGroup: {
    /** How often the controller that acts looks at its peers and at every proxy, while all is well. */
    readonly probeIntervalMs: number
    /** As long as something is not well. */
    readonly recheckIntervalMs: number
    readonly probeTimeoutMs: number
    /** A proxy that did not answer for this long is called lost. */
    readonly lostAfterMs: number
    /** From the order for a replacement until its process runs. */
    readonly startUpMs: number
    /** How many proxies a zone has room for beyond those planned; 0: there is no instance group. */
    readonly spareInstancesPerZone: number
    /** How long all must be well before a replacement is taken back; its connections are then drained. */
    readonly takeBackAfterMs: number
  }
}

export const defaultSettings: ServiceSettings = {
  nameserver: { expiryMs: 3000, scanIntervalMs: 0, unknownForExpiries: 1 },
  broker: {
    heartbeatIntervalMs: 1000,
    takeoverStaggerMs: 500,
    checkpointBytes: 1 << 20,
    segmentBytes: 8 << 20,
    retentionMs: 3 * 24 * 3600 * 1000,
    segmentAgeMs: 3600 * 1000,
    rebalanceIntervalMs: 10_000,
  },
  volume: {
    leaseMs: 3000,
    leaseRenewIntervalMs: 1000,
    requestTimeoutMs: 1000,
    maximumClockDriftPpm: 500,
    slowCopyMs: 1000,
    backupIntervalMs: 60_000,
  },
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
  loadBalancer: {
    probeIntervalMs: 2000,
    probeTimeoutMs: 1000,
    unhealthyThreshold: 2,
    healthyThreshold: 2,
    probe: 'tcp',
    resetUnhealthy: true,
    slowStartMs: 30_000,
    drainMs: 300_000,
    idleTimeoutMs: 350_000,
    crossZone: true,
    addressFailoverMs: 0,
  },
  dns: { ttlSeconds: 60, healthDriven: true, probeIntervalMs: 5000, probeTimeoutMs: 2000, unhealthyThreshold: 2, healthyThreshold: 2 },
  console: { rulesPullIntervalMs: 6000, requestTimeoutMs: 2000 },
  instanceGroup: {
    probeIntervalMs: 15_000,
    recheckIntervalMs: 2000,
    probeTimeoutMs: 1000,
    lostAfterMs: 10_000,
    startUpMs: 20_000,
    spareInstancesPerZone: 1,
    takeBackAfterMs: 60_000,
  },
}

/** Ports that every machine of a role listens on. */
export const ports = {
  mqtt: 1883,
  nameserver: 9876,
  broker: 10911,
  handover: 10912,
  volume: 3260,
  dns: 53,
  loadBalancerHealth: 8081,
  targetRegistration: 8082,
  console: 9877,
  instanceGroup: 8083,
} as const
