/**
 * The service's typed events: every change of state that a person may want to see. Reports and the dashboard are folds over them;
 * checks explain with them and prove nothing by them.
 */
import type { Host } from './host.ts'

export type ServiceEvent =
  // Nameserver
  | { readonly kind: 'broker-registered'; readonly broker: string }
  | { readonly kind: 'broker-silent'; readonly broker: string; readonly silentMs: number }
  | { readonly kind: 'route-changed'; readonly shard: number; readonly epoch: number; readonly broker: string }
  // Volume
  | { readonly kind: 'copy-promised'; readonly volume: number; readonly epoch: number; readonly owner: string }
  | { readonly kind: 'copy-refused'; readonly volume: number; readonly epoch: number; readonly promisedEpoch: number }
  | { readonly kind: 'copy-torn-tail-cut'; readonly volume: number; readonly fromSize: number; readonly toSize: number }
  | { readonly kind: 'copy-state-changed'; readonly volume: number; readonly copy: string; readonly state: string }
  | {
      readonly kind: 'volume-attached'
      readonly volume: number
      readonly epoch: number
      readonly size: number
      readonly repairedCopies: number
    }
  | { readonly kind: 'volume-lost'; readonly volume: number; readonly epoch: number; readonly reason: string }
  /** Its owner is done with it, durably: the next attach waits for nobody. */
  | { readonly kind: 'volume-released'; readonly volume: number; readonly epoch: number }
  | {
      readonly kind: 'copy-health-changed'
      readonly volume: number
      readonly epoch: number
      readonly copy: string
      readonly health: 'whole' | 'slow' | 'lost' | 'resyncing'
      readonly behindBytes: number
    }
  | {
      readonly kind: 'volume-health-changed'
      readonly volume: number
      readonly epoch: number
      readonly health: 'whole' | 'degraded' | 'stopped'
      readonly copiesWhole: number
      readonly copies: number
    }
  | {
      readonly kind: 'backup-taken'
      readonly volume: number
      readonly epoch: number
      readonly offset: number
      readonly copies: readonly string[]
    }
  /** The only copy's disk is gone: the log goes on at the offset and wall time of the last backup point (0: its time is not known), and what came after is lost. */
  | {
      readonly kind: 'volume-restored'
      readonly volume: number
      readonly epoch: number
      readonly offset: number
      readonly pointAtMs: number
      readonly from: string
    }
  // Broker
  | { readonly kind: 'shard-state-changed'; readonly shard: number; readonly epoch: number; readonly from: string; readonly to: string }
  | { readonly kind: 'owner-found-silent'; readonly shard: number; readonly epoch: number }
  | {
      readonly kind: 'shard-handed-over'
      readonly shard: number
      readonly epoch: number
      /** Empty where nobody was there to take it: whoever finds it ownerless does. */
      readonly to: string
      readonly why: 'stopping' | 'rebalancing'
    }
  | {
      readonly kind: 'session-opened'
      readonly clientId: string
      readonly epoch: number
      readonly proxy: string
      readonly sessionPresent: boolean
    }
  | { readonly kind: 'session-taken-over'; readonly clientId: string; readonly epoch: number; readonly by: 'kicked' | 'lease-ended' }
  | { readonly kind: 'session-ended'; readonly clientId: string; readonly incarnation: number }
  | { readonly kind: 'will-fired'; readonly clientId: string; readonly epoch: number; readonly topic: string }
  | { readonly kind: 'will-dropped'; readonly clientId: string; readonly epoch: number; readonly why: 'discarded' | 'reconnected' }
  // Proxy
  | { readonly kind: 'routes-adopted'; readonly shard: number; readonly epoch: number; readonly broker: string }
  | { readonly kind: 'client-connected'; readonly clientId: string; readonly version: number }
  | { readonly kind: 'client-closed'; readonly clientId: string; readonly reason: string }
  /** It waited so long for its turn, and so many others wait for theirs. */
  | { readonly kind: 'tls-handshake-done'; readonly waitedMs: number; readonly waiting: number }
  | { readonly kind: 'publish-refused'; readonly clientId: string; readonly topic: string; readonly reasonCode: number }
  | { readonly kind: 'session-suspended'; readonly clientId: string }
  | { readonly kind: 'session-resumed'; readonly clientId: string }
  // Cloud
  | { readonly kind: 'target-state-changed'; readonly target: string; readonly healthy: boolean }
  | { readonly kind: 'connections-reset'; readonly target: string; readonly count: number }
  | { readonly kind: 'slow-start-began'; readonly target: string; readonly durationMs: number }
  /** `full`: its weight is that of the others. `alone`: no other target is at full weight. `out`: it is dead, or was taken out. */
  | { readonly kind: 'slow-start-ended'; readonly target: string; readonly why: 'full' | 'alone' | 'out' }
  | { readonly kind: 'target-registered'; readonly target: string }
  | { readonly kind: 'target-draining'; readonly target: string; readonly connections: number }
  | { readonly kind: 'target-removed'; readonly target: string }
  | { readonly kind: 'answer-changed'; readonly name: string; readonly addresses: readonly string[] }
  /** An access address reaches another node of the load balancer. */
  | { readonly kind: 'address-moved'; readonly address: string; readonly from: string; readonly to: string }
  // Instance group
  /** Of the controllers, one acts. */
  | { readonly kind: 'controller-changed'; readonly acting: boolean }
  | { readonly kind: 'instance-lost'; readonly instance: string; readonly silentMs: number }
  | { readonly kind: 'instance-recovered'; readonly instance: string }
  /** `called-off`: it was needed no more before its start-up was over. `draining`: it gets nothing new, and is stopped after that. */
  | {
      readonly kind: 'replacement-changed'
      readonly instance: string
      readonly zone: string
      readonly to: 'starting' | 'called-off' | 'in-service' | 'draining' | 'kept' | 'stopped'
    }
  /** So many more replacements are needed, and no zone that is well has room for one. */
  | { readonly kind: 'capacity-short'; readonly missing: number }
  // Console
  | { readonly kind: 'rules-changed'; readonly version: number; readonly change: string }
  | { readonly kind: 'rules-adopted'; readonly version: number }
  | { readonly kind: 'client-kicked'; readonly clientId: string }
  /** An operator's request, and what came of it; `unanswered` where no console has said anything. */
  | { readonly kind: 'console-answered'; readonly request: string; readonly outcome: string; readonly tookMs: number }
  // Client
  | { readonly kind: 'client-state-changed'; readonly clientId: string; readonly from: string; readonly to: string; readonly why: string }

/** Records an event. Callers ask `host.recording` first, so that an event nobody sees is never built. */
export function emit(host: Host, event: ServiceEvent): void {
  host.record(event)
}
