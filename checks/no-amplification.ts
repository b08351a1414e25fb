/**
 * `no-amplification`: after a fault no tier of the region gets more requests in any second than three times those of the busiest second before it, plus three for each
 * client that reconnects.
 *
 * Requests are counted at the sockets of each tier (`tiers.ts`). A client reconnects in the second in which it loses its connection (whose end the region has to be told of, as well as the beginning of
 * the next), in that in which it begins one, and in the second after each. At load balancers and proxies each
 * connection that it begins counts as a client: how often it tries is its profile's affair, what the region makes of it is ours. The clients of an inner
 * tier are the machines that call it: each of their connections may bring three requests more, since all of them have to find their way when owners change.
 * Where the clients themselves send more than before (those who come back publish what they had queued, and acknowledge what waited for them), three times becomes as many times more: that
 * is load, not amplification. What they wrote into a connection that led nowhere for a while arrives all at once, and counts when it is answered or delivered.
 * A tier with fewer than twenty requests a second for each of its machines is not flooded, nor are nameservers with fewer than fifty, brokers and volume servers with fewer than a hundred.
 * The seconds before: the last ten at most in which clients sent something and nobody had begun to connect for two seconds, at least two of them; faults that follow within half a minute of
 * another are judged by what was before the first. Judged until half a minute after the region is in order again, or until publishing has stopped and the auditor begins.
 * Put to the test by each of those seconds and each tier.
 */
import type { Check, Shared } from './check.ts'
import { type Evidence, Findings, seconds } from './promise.ts'
import { type Client, NEVER } from './state.ts'
import { KEPT_SECONDS, PerSecond, secondOf, Tier, type TierRole, tierRoles } from './tiers.ts'

const FACTOR = 3
const PER_CLIENT = 3
/** So many requests a second flood no machine, whatever it got before. Brokers and volume servers of a small region have its shards to look after too: each that moves is read and attached to anew. */
const BORNE_PER_MACHINE: Readonly<Record<TierRole, number>> = { 'load-balancer': 20, proxy: 20, nameserver: 50, broker: 100, volume: 100 }
const BASE_SECONDS = 10
const LEAST_BASE_SECONDS = 2
/** After a client began to connect, what it sets off is over within this. */
const SETTLED_SECONDS = 2
const WATCHED_AFTER_SECONDS = 30

/** Whom the clients themselves call. */
const EDGE: ReadonlySet<TierRole> = new Set(['load-balancer', 'proxy'])

interface Base {
  readonly requests: ReadonlyMap<TierRole, number>
  readonly load: number
}

export interface NoAmplification extends Check {
  readonly tiers: ReadonlyMap<TierRole, Tier>
}

export function checkNoAmplification({ context, disturbance }: Shared): NoAmplification {
  const findings = new Findings('no-amplification')
  const tiers = new Map(tierRoles.map((role) => [role, new Tier(role)] as const))
  const machines = new Map(tierRoles.map((role) => [role, context.machines.filter((each) => each.role === role).length] as const))
  /** What clients sent once they were connected: publishes, acknowledgements, subscriptions. */
  const load = new PerSecond()
  /** Publishes of clients that surely arrived: those answered, and those delivered for the first time. */
  const answered = new PerSecond()
  const delivered = new PerSecond()
  const connecting = new Map<number, Set<Client>>()
  const losing = new Map<number, Set<Client>>()
  const attempts = new PerSecond()
  let base: Base | undefined
  let faultUs = 0
  let watchedToSecond = -1
  let judgedTo = -1
  let isOver = false

  const offered = (timeUs: number) => load.add(secondOf(timeUs), 1)

  const isQuiet = (second: number) => {
    for (let each = second - SETTLED_SECONDS; each <= second; each++) if (connecting.has(each)) return false
    return load.at(second) > 0
  }

  const baseBefore = (second: number): Base | undefined => {
    const quiet: number[] = []
    for (let each = second - 1; each >= 0 && each >= second - BASE_SECONDS; each--) if (isQuiet(each)) quiet.push(each)
    if (quiet.length < LEAST_BASE_SECONDS) return undefined
    const most = (counts: PerSecond) => quiet.reduce((highest, each) => Math.max(highest, counts.at(each)), 0)
    return { requests: new Map([...tiers].map(([role, { requests }]) => [role, most(requests)] as const)), load: most(load) }
  }

  const reconnecting = (second: number): number => {
    const all = new Set<Client>()
    for (const each of [second - 1, second]) {
      for (const client of connecting.get(each) ?? []) all.add(client)
      for (const client of losing.get(each) ?? []) all.add(client)
    }
    return all.size
  }

  const judge = (second: number, { requests, load: loadBefore }: Base) => {
    const distinct = reconnecting(second)
    const begun = attempts.at(second) + attempts.at(second - 1)
    const loadNow = Math.max(
      load.at(second),
      load.at(second - 1),
      ...[answered, delivered].flatMap((each) => [each.at(second), each.at(second + 1)]),
    )
    const growth = Math.max(1, loadNow / Math.max(1, loadBefore))
    for (const [role, tier] of tiers) {
      const before = requests.get(role)!
      const links = tier.linksIn(second)
      const clients = EDGE.has(role) ? begun : distinct
      const borne = BORNE_PER_MACHINE[role] * (machines.get(role) ?? 0)
      const allowed = Math.max(borne, FACTOR * before * growth + PER_CLIENT * (clients + links))
      const found = tier.requests.at(second)
      findings.exercised++
      if (found <= allowed) continue
      findings.violated((second + 1) * 1_000_000, `the ${role} tier is flooded`, () => {
        const evidence: Evidence[] = [
          ...disturbance.before((second + 1) * 1_000_000),
          { timeUs: faultUs, text: `until then the ${role} tier had at most ${before} requests a second` },
          {
            timeUs: second * 1_000_000,
            text: `${distinct} clients were reconnecting (${begun} attempts), ${links} connections led into the tier, and ${loadNow} packets of clients came a second (${loadBefore} before)`,
          },
          { timeUs: (second + 1) * 1_000_000, text: `${found} requests within this second` },
        ]
        return {
          text: `The ${role} tier got ${found} requests in the second from ${seconds(second * 1_000_000)} on; ${Math.floor(allowed)} would have been borne.`,
          evidence: evidence.sort((a, b) => a.timeUs - b.timeUs),
        }
      })
    }
  }

  const judgeUpTo = (second: number) => {
    if (base === undefined) return
    for (; judgedTo <= second && judgedTo <= watchedToSecond; judgedTo++) judge(judgedTo, base)
  }

  return {
    findings,
    tiers,
    onFault(fault, phase, timeUs) {
      if (isOver || !disturbance.isOnClientsWay(fault)) return
      const second = secondOf(timeUs)
      if (second > watchedToSecond && phase === 'applied') {
        judgeUpTo(watchedToSecond)
        base = baseBefore(second)
        faultUs = timeUs
        judgedTo = second
      }
      watchedToSecond = second + WATCHED_AFTER_SECONDS
    },
    onConnectStarted({ client }, timeUs) {
      const second = secondOf(timeUs)
      attempts.add(second, 1)
      note(connecting, second, client)
    },
    onClosed({ client, connackAtUs }, _reason, _by, timeUs) {
      if (connackAtUs !== NEVER) note(losing, secondOf(timeUs), client)
    },
    onSubscribeSent: (_connection, _open, timeUs) => offered(timeUs),
    onPublishSent: (_connection, _flow, _sequence, _publication, _kind, timeUs) => offered(timeUs),
    onAcknowledgementSent: (_connection, _packetId, timeUs) => offered(timeUs),
    onReleaseSent: (_connection, _packetId, _publication, timeUs) => offered(timeUs),
    onAnswered: (_connection, _publication, _accepted, _first, timeUs) => answered.add(secondOf(timeUs), 1),
    onDelivery({ first, timeUs }) {
      if (first) delivered.add(secondOf(timeUs), 1)
    },
    onAct(act, timeUs) {
      if (act !== 'drained') return
      judgeUpTo(secondOf(timeUs) - 1)
      isOver = true
      base = undefined
    },
    onSweep(nowUs) {
      for (const bySecond of [connecting, losing]) {
        for (const second of bySecond.keys()) {
          if (second >= secondOf(nowUs) - KEPT_SECONDS) break
          bySecond.delete(second)
        }
      }
      if (isOver || base === undefined) return
      if (disturbance.isTroubled) watchedToSecond = Math.max(watchedToSecond, secondOf(nowUs) + WATCHED_AFTER_SECONDS)
      judgeUpTo(secondOf(nowUs) - 2)
    },
  }
}

function note(bySecond: Map<number, Set<Client>>, second: number, client: Client): void {
  const known = bySecond.get(second)
  if (known !== undefined) known.add(client)
  else bySecond.set(second, new Set([client]))
}
