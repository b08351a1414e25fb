/**
 * A region as a list of machines: what stands in which zone, what it runs, and at which address. The plan is plain data plus each machine's `boot`;
 * a World turns it into running processes, virtual or real.
 */
import { type AccessRules, openAccess } from './access.ts'
import { bootBroker } from './broker/broker.ts'
import type { BalancerNode } from './cloud/address-failover.ts'
import { type Access, bootDnsServer } from './cloud/dns-server.ts'
import { bootInstanceGroup, type GroupInstance } from './cloud/instance-group.ts'
import { bootLoadBalancer } from './cloud/load-balancer.ts'
import { bootConsole } from './console/console.ts'
import { plannedRules, type Quotas } from './console/service-rules.ts'
import type { Address, Boot } from './host.ts'
import { bootNameserver } from './nameserver/nameserver.ts'
import { bootProxy } from './proxy/proxy.ts'
import { defaultSettings, ports, type ServiceSettings } from './settings.ts'
import { shardOfTopic, shardTotal } from './shards.ts'
import { bootCopyServer } from './volume/copy-server.ts'
import { placementOf, type VolumeKind } from './volume/kinds.ts'
import type { MachineSpec } from './world.ts'

export interface RegionSpec {
  readonly zones: number
  readonly nameserversPerZone: number
  readonly brokersPerZone: number
  readonly proxiesPerZone: number
  readonly topicShards: number
  readonly sessionShards: number
  readonly volumeKind: VolumeKind
  readonly settings: ServiceSettings
  readonly access: AccessRules
  /** What the region starts with; limits of filters and payload are those of the settings where they are left out, the others none. */
  readonly quotas?: { readonly [Q in keyof Quotas]?: number | undefined } | undefined
  /** Machines that are planned and not there yet, in the order in which they are numbered. */
  readonly standby: readonly { readonly role: 'proxy' | 'broker'; readonly zone: string }[]
}

export const defaultRegion: RegionSpec = {
  zones: 3,
  nameserversPerZone: 1,
  brokersPerZone: 1,
  proxiesPerZone: 1,
  topicShards: 6,
  sessionShards: 6,
  volumeKind: 'regional',
  settings: defaultSettings,
  access: openAccess,
  standby: [],
}

export interface RegionMachine {
  readonly name: string
  readonly address: Address
}

export interface RegionPlan {
  readonly machines: readonly MachineSpec[]
  /** The domain name that clients are given. */
  readonly accessName: string
  /** That, and the name that they are given inside the virtual network. */
  readonly accessNames: Readonly<Record<Access, string>>
  readonly dnsServers: readonly Address[]
  readonly nameservers: readonly Address[]
  /** One a zone, on the virtual network. */
  readonly consoles: readonly Address[]
  /** Before the console changes any. */
  readonly quotas: Quotas
  readonly brokers: readonly RegionMachine[]
  readonly shardCount: number
  shardOfTopic(topic: string): number
}

const ACCESS_NAMES = { public: 'mqtt.region.squall.test', vpc: 'mqtt.vpc.region.squall.test' } as const
const CORES = 4

/** Last byte of the first address of each role: a zone has room for as many machines as lie between two of them. */
const firstAddress = {
  nameserver: 10,
  broker: 30,
  proxy: 60,
  volume: 100,
  dns: 110,
  'load-balancer': 120,
  console: 130,
  'instance-group': 140,
} as const
type Role = keyof typeof firstAddress
/** As above, for the floating address of a zone's load-balancer node. */
const FLOATING_ADDRESS = 150

interface Place {
  readonly name: string
  readonly zone: string
  readonly role: Role
  readonly host: string
}

function zoneNames(zones: number): readonly string[] {
  return Array.from({ length: zones }, (_, i) => `az${i + 1}`)
}

/** Numbers run through the zones: with two brokers a zone, az1 has broker-1 and broker-2, az2 the next two. */
function places(spec: RegionSpec, role: Role, perZone: number): readonly Place[] {
  return zoneNames(spec.zones).flatMap((zone, z) =>
    Array.from({ length: perZone }, (_, i) => ({
      name: `${role}-${z * perZone + i + 1}`,
      zone,
      role,
      host: `10.${z + 1}.0.${firstAddress[role] + i}`,
    })),
  )
}

/** Machines that stand by, numbered on from those that are there. */
function standbyPlaces(spec: RegionSpec, role: 'proxy' | 'broker', perZone: number): readonly Place[] {
  const zones = zoneNames(spec.zones)
  return spec.standby
    .filter((each) => each.role === role)
    .map(({ zone }, i, all) => {
      const before = all.slice(0, i).filter((other) => other.zone === zone).length
      return {
        name: `${role}-${spec.zones * perZone + i + 1}`,
        zone,
        role,
        host: `10.${zones.indexOf(zone) + 1}.0.${firstAddress[role] + perZone + before}`,
      }
    })
}

/** Proxies that stand by for the instance group, so many a zone, numbered on from all the others. */
function sparePlaces(spec: RegionSpec, count: number): readonly Place[] {
  const scaledOut = spec.standby.filter(({ role }) => role === 'proxy')
  const firstNumber = spec.zones * spec.proxiesPerZone + scaledOut.length + 1
  return zoneNames(spec.zones).flatMap((zone, z) => {
    const before = spec.proxiesPerZone + scaledOut.filter((other) => other.zone === zone).length
    return Array.from({ length: count }, (_, i) => ({
      name: `proxy-${firstNumber + z * count + i}`,
      zone,
      role: 'proxy' as const,
      host: `10.${z + 1}.0.${firstAddress.proxy + before + i}`,
    }))
  })
}

function quotasOf({ quotas, settings }: RegionSpec): Quotas {
  const { maximumFilters, maximumPayloadBytes } = settings.proxy
  return {
    connectionsPerProxy: quotas?.connectionsPerProxy ?? 0,
    messagesPerSecond: quotas?.messagesPerSecond ?? 0,
    filtersPerClient: quotas?.filtersPerClient ?? maximumFilters,
    payloadBytes: quotas?.payloadBytes ?? maximumPayloadBytes,
  }
}

export function planRegion(spec: RegionSpec): RegionPlan {
  const { settings } = spec
  const counts = { topicShards: spec.topicShards, sessionShards: spec.sessionShards }
  const at = (port: number) => (place: Place) => ({ name: place.name, address: { host: place.host, port } })

  const nameserverPlaces = places(spec, 'nameserver', spec.nameserversPerZone)
  const brokerPlaces = places(spec, 'broker', spec.brokersPerZone)
  const proxyPlaces = places(spec, 'proxy', spec.proxiesPerZone)
  const standbyBrokers = standbyPlaces(spec, 'broker', spec.brokersPerZone)
  const standbyProxies = standbyPlaces(spec, 'proxy', spec.proxiesPerZone)
  const isReplicated = spec.volumeKind === 'replicated'
  const volumePlaces = isReplicated ? [] : places(spec, 'volume', 1)
  const copyPlaces = isReplicated ? brokerPlaces : volumePlaces
  const dnsPlaces = places(spec, 'dns', 1)
  const balancerPlaces = places(spec, 'load-balancer', 1)
  const consolePlaces = places(spec, 'console', 1)

  const nameservers = nameserverPlaces.map(at(ports.nameserver)).map(({ address }) => address)
  const consoles = consolePlaces.map(at(ports.console)).map(({ address }) => address)
  const rules = plannedRules(spec.access, quotasOf(spec))
  const copies = copyPlaces.map(at(ports.volume))
  const copyZones = copyPlaces.map(({ zone }) => zone)
  const placement = (volume: number) => placementOf(spec.volumeKind, volume, copyZones)
  const targets = [...proxyPlaces, ...standbyProxies].map((place) => ({ ...at(ports.mqtt)(place), zone: place.zone }))
  // One address stands for a node's public one and for that in the virtual network.
  const { spareInstancesPerZone } = settings.instanceGroup
  const isFloating = settings.loadBalancer.addressFailoverMs > 0 && spareInstancesPerZone > 0
  const balancers = balancerPlaces.map(({ name, host }, z): BalancerNode => {
    return { name, host, accessAddress: isFloating ? `10.${z + 1}.0.${FLOATING_ADDRESS}` : host }
  })
  const addresses = balancers.map(({ accessAddress }) => accessAddress)
  const groupPlaces = spareInstancesPerZone > 0 ? places(spec, 'instance-group', 1) : []
  const spares = sparePlaces(spec, spareInstancesPerZone)
  const instances: readonly GroupInstance[] = [
    ...targets.map((target) => ({ ...target, isReplacement: false })),
    ...spares.map((place) => ({ ...at(ports.mqtt)(place), zone: place.zone, isReplacement: true })),
  ]
  const names = (['public', 'vpc'] as const).map((access) => ({ name: ACCESS_NAMES[access], access, addresses }))

  const brokerPeers = [...brokerPlaces, ...standbyBrokers].map(at(ports.handover))
  const bootCopies = bootCopyServer({ settings })
  const bootBrokerAlone = bootBroker({ counts, settings, nameservers, copies, placement, brokers: brokerPeers })
  const withCopies: Boot = (host) => {
    bootCopies(host)
    return bootBrokerAlone(host)
  }
  const boots: Record<Role, Boot> = {
    volume: bootCopies,
    nameserver: bootNameserver({ settings, shardCount: shardTotal(counts) }),
    broker: isReplicated ? withCopies : bootBrokerAlone,
    proxy: bootProxy({ counts, settings, nameservers, consoles, balancers: balancers.map((node) => node.host), rules }),
    console: bootConsole({ counts, settings, nameservers, consoles, rules }),
    dns: bootDnsServer({ settings, names }),
    'load-balancer': bootLoadBalancer({ settings, targets, port: ports.mqtt }),
    'instance-group': bootInstanceGroup({ settings, controllers: groupPlaces, instances, balancers }),
  }
  const machines = [volumePlaces, nameserverPlaces, brokerPlaces, proxyPlaces, dnsPlaces, balancerPlaces, consolePlaces, groupPlaces]
    .flat()
    .map(({ name, zone, role, host }): MachineSpec => {
      const floating = isFloating ? balancers.find((node) => node.name === name) : undefined
      const floatingAddresses = floating === undefined ? undefined : { floatingAddresses: [floating.accessAddress] }
      return { name, zone, role, address: host, cores: CORES, boot: boots[role], ...floatingAddresses }
    })

  const standby = [...standbyBrokers, ...standbyProxies, ...spares].map(
    ({ name, zone, role, host }): MachineSpec => ({ name, zone, role, address: host, cores: CORES, boot: boots[role], standby: true }),
  )

  return {
    machines: [...machines, ...standby],
    accessName: ACCESS_NAMES.public,
    accessNames: ACCESS_NAMES,
    dnsServers: dnsPlaces.map(at(ports.dns)).map(({ address }) => address),
    nameservers,
    consoles,
    quotas: rules.quotas,
    brokers: brokerPlaces.map(at(ports.broker)),
    shardCount: shardTotal(counts),
    shardOfTopic: (topic) => shardOfTopic(counts, topic),
  }
}
