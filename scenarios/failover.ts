/**
 * How long the service itself took to get over the loss of brokers, from its own events: the parts of a recovery that no client can shorten, with the settings that
 * decide them. It explains; the promises are checked without it. Shards whose owner no fault struck, such as those handed over by plan, are no part of it.
 */
import { isInstant } from '../checks/disturbance.ts'
import { summarise, type TimeSummary } from '../checks/histogram.ts'
import type { ServiceEvent } from '../model/events.ts'
import type { ServiceSettings } from '../model/settings.ts'
import type { Fault, HistoryEntry, MachineSpec, WorldEvent } from '../model/world.ts'
import { strikes } from './facts.ts'

export interface Failover {
  /** Shards that were taken over, by another or by the same after its return, because a fault struck their owner. */
  readonly shards: number
  /** The longest that one of them was, from the fault until the next owner served it. */
  readonly ownerlessMs: number
  /** The longest that a proxy, of those in order, took from there to know the new owner. */
  readonly routesMs: number
  /** Each of those times: a shard without an owner, a proxy that did not know a new owner. */
  readonly shardFailover: TimeSummary
  readonly routeRefresh: TimeSummary
  /** The settings behind the times. */
  readonly expiryMs: number
  readonly scanIntervalMs: number
  readonly heartbeatIntervalMs: number
  readonly routePullIntervalMs: number
}

/** Undefined where no shard was taken over. */
export function gatherFailover(
  history: readonly HistoryEntry[],
  machines: readonly Pick<MachineSpec, 'name' | 'zone' | 'role'>[],
  { nameserver, broker, proxy }: ServiceSettings,
): Failover | undefined {
  const byName = new Map(machines.map((machine) => [machine.name, machine]))
  const owners = new Map<number, string>()
  const inForce: Fault[] = []
  const strikesOwner = (fault: Fault, owner: string): boolean => {
    const machine = byName.get(owner)
    return machine !== undefined && strikes(fault, machine)
  }
  /** Since when a shard's owner is struck. It may get over it, and go on. */
  const struckUs = new Map<number, number>()
  /** When the present owner of a shard that had none took it, and with which epoch. */
  const takenUs = new Map<number, { readonly epoch: number; readonly timeUs: number }>()
  /** The epoch with which somebody last set out to take a shard that a majority called ownerless. */
  const found = new Map<number, number>()
  /** When the last fault that struck a machine was over, or its process last started. */
  const backUs = new Map<string, number>()
  const shards = new Set<number>()
  const ownerlessUs: number[] = []
  const routesUs: number[] = []
  for (const { machine, timeUs, event } of history) {
    const known = event as ServiceEvent | WorldEvent
    if (known.kind === 'fault-applied') {
      for (const [shard, owner] of owners) {
        if (!strikesOwner(known.fault, owner)) continue
        if (!struckUs.has(shard) || !inForce.some((fault) => strikesOwner(fault, owner))) struckUs.set(shard, timeUs)
      }
      if (!isInstant(known.fault)) inForce.push(known.fault)
    } else if (known.kind === 'fault-healed') {
      const healed = JSON.stringify(known.fault)
      const at = inForce.findIndex((fault) => JSON.stringify(fault) === healed)
      if (at >= 0) inForce.splice(at, 1)
      for (const each of machines) if (strikes(known.fault, each)) backUs.set(each.name, timeUs)
    } else if (known.kind === 'process-started') backUs.set(machine, timeUs)
    else if (known.kind === 'owner-found-silent') found.set(known.shard, known.epoch)
    else if (known.kind === 'volume-attached') {
      owners.set(known.volume, machine)
      takenUs.delete(known.volume)
      const sinceUs = struckUs.get(known.volume)
      struckUs.delete(known.volume)
      if (sinceUs === undefined || found.get(known.volume) !== known.epoch) continue
      shards.add(known.volume)
      ownerlessUs.push(timeUs - sinceUs)
      takenUs.set(known.volume, { epoch: known.epoch, timeUs })
    } else if (known.kind === 'routes-adopted' && byName.get(machine)?.role === 'proxy') {
      const taken = takenUs.get(known.shard)
      if (taken?.epoch === known.epoch && (backUs.get(machine) ?? 0) <= taken.timeUs) routesUs.push(timeUs - taken.timeUs)
    }
  }
  if (shards.size === 0) return undefined
  const shardFailover = summarise(ownerlessUs)
  const routeRefresh = summarise(routesUs)
  return {
    shards: shards.size,
    ownerlessMs: shardFailover.max,
    routesMs: routeRefresh.max,
    shardFailover,
    routeRefresh,
    expiryMs: nameserver.expiryMs,
    scanIntervalMs: nameserver.scanIntervalMs,
    heartbeatIntervalMs: broker.heartbeatIntervalMs,
    routePullIntervalMs: proxy.routePullIntervalMs,
  }
}
