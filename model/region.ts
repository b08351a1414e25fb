/**
 * A region as a list of machines: what stands in which zone, what it runs, and at which address. The plan is plain data plus each machine's `boot`;
 * a World turns it into running processes, virtual or real.
 */
import { type AccessRules, openAccess } from './access.ts'
import { bootBroker } from './broker/broker.ts'
import { bootDnsServer } from './cloud/dns-server.ts'
import { bootLoadBalancer } from './cloud/load-balancer.ts'
import type { Address, Boot } from './host.ts'
import { bootNameserver } from './nameserver/nameserver.ts'
import { bootProxy } from './proxy/proxy.ts'
import { defaultSettings, ports, type ServiceSettings } from './settings.ts'
import { shardOfTopic, shardTotal } from './shards.ts'
import { bootCopyServer } from './volume/copy-server.ts'
import type { MachineSpec } from './world.ts'

export interface RegionSpec {
  readonly zones: number
  readonly nameserversPerZone: number
  readonly brokersPerZone: number
  readonly proxiesPerZone: number
  readonly topicShards: number
  readonly sessionShards: number
  readonly settings: ServiceSettings
  readonly access: AccessRules
}

export const defaultRegion: RegionSpec = {
  zones: 3,
  nameserversPerZone: 1,
  brokersPerZone: 1,
  proxiesPerZone: 1,
  topicShards: 6,
  sessionShards: 6,
  settings: defaultSettings,
  access: openAccess,
}

export interface RegionMachine {
  readonly name: string
  readonly address: Address
}

export interface RegionPlan {
  readonly machines: readonly MachineSpec[]
  /** The domain name that clients are given. */
  readonly accessName: string
  readonly dnsServers: readonly Address[]
  readonly nameservers: readonly Address[]
  readonly brokers: readonly RegionMachine[]
  readonly shardCount: number
  shardOfTopic(topic: string): number
}

const ACCESS_NAME = 'mqtt.region.squall.test'
const CORES = 4

/** Last byte of the first address of each role: a zone has room for as many machines as lie between two of them. */
const firstAddress = { nameserver: 10, broker: 30, proxy: 60, volume: 100, dns: 110, 'load-balancer': 120 } as const
type Role = keyof typeof firstAddress

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

export function planRegion(spec: RegionSpec): RegionPlan {
  const { settings } = spec
  const counts = { topicShards: spec.topicShards, sessionShards: spec.sessionShards }
  const at = (port: number) => (place: Place) => ({ name: place.name, address: { host: place.host, port } })

  const nameserverPlaces = places(spec, 'nameserver', spec.nameserversPerZone)
  const brokerPlaces = places(spec, 'broker', spec.brokersPerZone)
  const proxyPlaces = places(spec, 'proxy', spec.proxiesPerZone)
  const volumePlaces = places(spec, 'volume', 1)
  const dnsPlaces = places(spec, 'dns', 1)
  const balancerPlaces = places(spec, 'load-balancer', 1)

  const nameservers = nameserverPlaces.map(at(ports.nameserver)).map(({ address }) => address)
  const copies = volumePlaces.map(at(ports.volume))
  const targets = proxyPlaces.map(at(ports.mqtt))
  const names = new Map([[ACCESS_NAME, balancerPlaces.map((place) => place.host)]])

  const boots: Record<Role, Boot> = {
    volume: bootCopyServer({ settings }),
    nameserver: bootNameserver({ settings, shardCount: shardTotal(counts) }),
    broker: bootBroker({ counts, settings, nameservers, copies }),
    proxy: bootProxy({ counts, settings, nameservers, access: spec.access }),
    dns: bootDnsServer({ settings, names }),
    'load-balancer': bootLoadBalancer({ settings, targets, port: ports.mqtt }),
  }
  const machines = [volumePlaces, nameserverPlaces, brokerPlaces, proxyPlaces, dnsPlaces, balancerPlaces]
    .flat()
    .map(({ name, zone, role, host }): MachineSpec => ({ name, zone, role, address: host, cores: CORES, boot: boots[role] }))

  return {
    machines,
    accessName: ACCESS_NAME,
    dnsServers: dnsPlaces.map(at(ports.dns)).map(({ address }) => address),
    nameservers,
    brokers: brokerPlaces.map(at(ports.broker)),
    shardCount: shardTotal(counts),
    shardOfTopic: (topic) => shardOfTopic(counts, topic),
  }
}
