/**
 * Named sets of settings for a region as a whole. `seconds` is the default: what a region needs to be back within seconds. `rocketmq-defaults` is the same region
 * run by the open defaults of apache/rocketmq (develop, September 2025), where it has a counterpart for a setting; the others stay. A scenario's own settings stand over either.
 *
 * Left out of the second: a nameserver of RocketMQ also drops a broker whose connection closes (BrokerHousekeepingService), so that there only a silent end, such as
 * the loss of power or of the network, takes the whole expiry.
 */
import type { ServiceSettings } from './settings.ts'

/** Any of the settings. */
export type SettingsOverlay = { readonly [Group in keyof ServiceSettings]?: Partial<ServiceSettings[Group]> }

const rocketmqDefaults: SettingsOverlay = {
  nameserver: {
    // namesrv RouteInfoManager.java: DEFAULT_BROKER_CHANNEL_EXPIRED_TIME, 2 minutes.
    expiryMs: 120_000,
    // common NamesrvConfig.java: scanNotActiveBrokerInterval, 5 s.
    scanIntervalMs: 5000,
    // common NamesrvConfig.java: waitSecondsForService, 45 s. It counts only with needWaitForService, which is off by default and stands for on here: otherwise the
    // first broker to start would take every shard.
    unknownForExpiries: 45 / 120,
  },
  broker: {
    // common BrokerConfig.java: registerNameServerPeriod, 30 s.
    heartbeatIntervalMs: 30_000,
    // store MessageStoreConfig.java: fileReservedTime, 72 hours.
    retentionMs: 72 * 3600 * 1000,
  },
  proxy: {
    // proxy ProxyConfig.java: topicRouteServiceCacheExpiredSeconds 300, refreshed after 20 s; a client of its own polls every 30 s (ClientConfig.java, pollNameServerInterval).
    routePullIntervalMs: 20_000,
    // client ClientConfig.java: mqClientApiTimeout; DefaultMQProducer.java: sendMsgTimeout; both 3 s.
    requestTimeoutMs: 3000,
  },
}

/**
 * How long a region takes to stand: with slow heartbeats until every shard has its owner. A scenario begins when its region stands, so all its times count from then.
 */
export const standsAfterMs: Readonly<Record<ServiceProfileName, number>> = {
  seconds: 0,
  // 45 s in which a nameserver answers "unknown", a heartbeat, and another for what the first left.
  'rocketmq-defaults': 110_000,
}

/** In the order in which they are listed. */
export const serviceProfileNames = ['seconds', 'rocketmq-defaults'] as const

export type ServiceProfileName = (typeof serviceProfileNames)[number]

export const serviceProfiles: Readonly<Record<ServiceProfileName, SettingsOverlay>> = {
  seconds: {},
  'rocketmq-defaults': rocketmqDefaults,
}
