/**
 * `routes-converge`: every proxy that runs and can reach the region has a shard's live route within the budget (5 s) after its new owner began to serve it,
 * and does not go back to an older one for longer.
 *
 * Told by the service's own events (`shard-state-changed` to `serving`, `routes-adopted`), since no packet shows a route; so it is not exercised where the
 * run does not record. Put to the test by every proxy and every move of a shard to a higher epoch.
 * A proxy that is out of order has its budget from when that is over; an owner that is out of order is waited for, and so is a region none of whose
 * nameservers is untouched. Where one is, no partition and no bad link stands between it and anybody, or it would be touched.
 */
import type { ServiceEvent } from '../model/events.ts'
import type { Check, Shared } from './check.ts'
import { Findings, seconds } from './promise.ts'

/** Entries are passed on in batches; until a batch has come nobody is called late. One that adopts late is found out by the time of its entry. */
const ENTRY_LAG_US = 2_000_000

interface Move {
  readonly shard: number
  readonly epoch: number
  readonly broker: string
  readonly servingUs: number
  /** The proxies that do not go by it, and since when they do not. */
  readonly missing: Map<string, number>
}

export function checkRoutesConverge({ context, disturbance }: Shared): Check {
  const findings = new Findings('routes-converge')
  const budgetUs = context.budgets.routesMs * 1000
  /** The latest epoch served, by shard. */
  const served = new Map<number, number>()
  const adopted = new Map<string, Map<number, number>>()
  /** The latest move of each shard. It stays: a proxy may forget it, or be misled. */
  const moves = new Map<number, Move>()

  /** Brokers have routes too, to call each other; they ask when they need one. */
  const isProxy = (machine: string) => disturbance.machine(machine)?.role === 'proxy'

  const late = (proxy: string, move: Move, fromUs: number, timeUs: number) => {
    move.missing.delete(proxy)
    findings.violated(timeUs, 'a proxy kept an old route', () => ({
      text: `${proxy} did not know by ${seconds(fromUs + budgetUs)} that shard ${move.shard} is served by ${move.broker} (epoch ${move.epoch}).`,
      evidence: [
        ...disturbance.before(timeUs),
        { timeUs: move.servingUs, text: `${move.broker} began to serve shard ${move.shard} with epoch ${move.epoch}` },
        { timeUs, text: `the latest epoch that ${proxy} adopted for it is ${adopted.get(proxy)?.get(move.shard) ?? 'none'}` },
      ].sort((a, b) => a.timeUs - b.timeUs),
    }))
  }

  /** When the proxy's time began to run for this move, or undefined while it does not run. */
  const dueFromUs = (proxy: string, move: Move): number | undefined => {
    const machine = disturbance.machine(proxy)
    const owner = disturbance.machine(move.broker)
    if (machine === undefined || disturbance.isOutOfOrder(machine) || (owner !== undefined && disturbance.isOutOfOrder(owner)))
      return undefined
    const nameservers = disturbance.withRole('nameserver')
    if (nameservers.length > 0 && nameservers.every((each) => disturbance.isDisturbed(each))) return undefined
    let fromUs = Math.max(move.missing.get(proxy)!, disturbance.calmSinceUs(proxy), disturbance.calmSinceUs(move.broker))
    if (nameservers.length > 0) fromUs = Math.max(fromUs, Math.min(...nameservers.map((each) => disturbance.calmSinceUs(each.name))))
    return fromUs
  }

  const settled = (proxy: string, move: Move, timeUs: number) => {
    const fromUs = dueFromUs(proxy, move)
    if (fromUs !== undefined && timeUs > fromUs + budgetUs) late(proxy, move, fromUs, timeUs)
    else if (move.missing.delete(proxy)) findings.exercised++
  }

  const judge = (nowUs: number) => {
    for (const move of moves.values()) {
      for (const proxy of move.missing.keys()) {
        const fromUs = dueFromUs(proxy, move)
        if (fromUs !== undefined && nowUs > fromUs + budgetUs) late(proxy, move, fromUs, nowUs)
      }
    }
  }

  return {
    findings,
    onEntry({ event, machine, timeUs }) {
      const change = event as ServiceEvent
      if (change.kind === 'shard-state-changed' && change.to === 'serving') {
        const before = served.get(change.shard)
        if (before !== undefined && before >= change.epoch) return
        served.set(change.shard, change.epoch)
        if (before === undefined) return
        const behind = disturbance.withRole('proxy').filter((proxy) => (adopted.get(proxy.name)?.get(change.shard) ?? -1) < change.epoch)
        findings.exercised += disturbance.withRole('proxy').length - behind.length
        moves.set(change.shard, {
          shard: change.shard,
          epoch: change.epoch,
          broker: machine,
          servingUs: timeUs,
          missing: new Map(behind.map((proxy) => [proxy.name, timeUs])),
        })
      } else if (change.kind === 'routes-adopted' && isProxy(machine)) {
        let routes = adopted.get(machine)
        if (routes === undefined) {
          routes = new Map()
          adopted.set(machine, routes)
        }
        routes.set(change.shard, change.epoch)
        const move = moves.get(change.shard)
        if (move === undefined) return
        if (change.epoch < move.epoch) move.missing.set(machine, move.missing.get(machine) ?? timeUs)
        else if (move.missing.has(machine)) settled(machine, move, timeUs)
      }
    },
    onProcessStarted(machine, timeUs) {
      // A new process begins with no routes.
      const routes = adopted.get(machine)
      if (routes === undefined) return
      routes.clear()
      for (const move of moves.values()) move.missing.set(machine, timeUs)
    },
    onSweep(nowUs) {
      judge(nowUs - ENTRY_LAG_US)
    },
    finish: judge,
  }
}
