/**
 * `spread`: brokers that are in order have as many shards each, to within one, or come closer to it: as long as one has two more than another, a shard moves within three rebalance
 * intervals and five seconds.
 *
 * Told by the service's own events (`shard-state-changed` to `serving`), so it is not exercised where the run does not record. The time counts from the last move, and anew from
 * whatever troubled the region last: a broker that comes back or joins gets its share after that, one shard at a time. Judged while every shard has an owner that is in order.
 * Put to the test by each time at which the shards were not fairly spread and then are. A region whose brokers do not rebalance puts nothing to the test.
 */
import type { ServiceEvent } from '../model/events.ts'
import type { Check, Shared } from './check.ts'
import { Findings, seconds } from './promise.ts'

const INTERVALS = 3
/** For what a broker has to hear before it gives something away, and for the move itself. */
const LATENESS_US = 5_000_000

export function checkSpread({ context, disturbance }: Shared): Check {
  const findings = new Findings('spread')
  /** By shard: the epoch of its latest owner, and who that is. */
  const owners = new Map<number, { readonly epoch: number; readonly broker: string }>()
  let movedAtUs = 0
  /** Since when they have not been fairly spread, told once. */
  let unfairSinceUs: number | undefined
  let isTold = false

  const counts = (): ReadonlyMap<string, number> | undefined => {
    const inOrder = disturbance.withRole('broker').filter((broker) => !disturbance.isDisturbed(broker))
    const byBroker = new Map(inOrder.map(({ name }) => [name, 0]))
    for (const { broker } of owners.values()) {
      const count = byBroker.get(broker)
      if (count === undefined) return undefined
      byBroker.set(broker, count + 1)
    }
    return byBroker
  }

  const judge = (nowUs: number) => {
    const intervalMs = context.rebalanceIntervalMs ?? 0
    if (intervalMs === 0 || owners.size === 0 || disturbance.isTroubled) return
    const byBroker = counts()
    if (byBroker === undefined || byBroker.size < 2) return
    const sorted = [...byBroker].sort(([, one], [, other]) => one - other)
    const [fewest, most] = [sorted[0]!, sorted.at(-1)!]
    if (most[1] - fewest[1] < 2) {
      if (unfairSinceUs !== undefined) findings.exercised++
      unfairSinceUs = undefined
      isTold = false
      return
    }
    unfairSinceUs ??= nowUs
    const fromUs = Math.max(movedAtUs, disturbance.changedAtUs)
    const boundUs = INTERVALS * intervalMs * 1000 + LATENESS_US
    if (isTold || nowUs <= fromUs + boundUs) return
    isTold = true
    findings.violated(nowUs, 'a broker did not get its share', () => ({
      text: `${most[0]} had ${most[1]} shards and ${fewest[0]} had ${fewest[1]}, and none moved from ${seconds(fromUs)} to ${seconds(nowUs)}.`,
      evidence: [
        ...disturbance.before(fromUs),
        { timeUs: fromUs, text: 'from then on nothing troubled the region, and no shard moved' },
        { timeUs: nowUs, text: sorted.map(([name, count]) => `${name} has ${count}`).join(', ') },
      ],
    }))
  }

  return {
    findings,
    onEntry({ event, machine, timeUs }) {
      const change = event as ServiceEvent
      if (change.kind !== 'shard-state-changed' || change.to !== 'serving') return
      if ((owners.get(change.shard)?.epoch ?? -1) >= change.epoch) return
      owners.set(change.shard, { epoch: change.epoch, broker: machine })
      movedAtUs = timeUs
      isTold = false
    },
    onSweep: judge,
  }
}
