/** What a client's connection asks of the proxy around it. */
import type { AccessRules } from '../access.ts'
import type { Quotas } from '../console/service-rules.ts'
import type { Host } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import type { ShardCounts } from '../shards.ts'
import type { ClientConnection } from './client-connection.ts'
import type { PublishLane } from './publish-lane.ts'
import type { ShardDomain } from './shard-domain.ts'

export interface ProxyContext {
  readonly host: Host
  readonly counts: ShardCounts
  readonly settings: ServiceSettings
  readonly access: AccessRules
  readonly quotas: Quotas
  /** Whether the quota of connections leaves room for one more. */
  hasRoom(): boolean
  domainOf(shard: number): ShardDomain
  sessionDomainOf(clientId: string): ShardDomain
  laneOf(shard: number): PublishLane
  expired(shard: number, handle: number, sequence: number): void
  acknowledge(shard: number, handle: number, sequence: number): void
  received(shard: number, handle: number, sequence: number): void
  newClientId(): string
  /** The connection is over; what the region has to know of it is told. `told`: its session shard knows. */
  onClosed(client: ClientConnection, told?: () => void): void
  /** A connection that is over had asked for its session, and will never know the answer. */
  onAbandoned(client: ClientConnection): void
}
