/**
 * `replaced`: for each proxy that is lost for longer than its budget, one that stood by runs, and every load balancer leads to it, for as long as the loss lasts; there are never more of them than losses,
 * and when the loss is over they go.
 *
 * A proxy is lost while its process is dead, its machine or zone has no power, or no packet reaches or leaves it. All of this are the world's facts: faults, processes that started, and probes of
 * load balancers that were answered by machines that stood by: a balancer probes its registered targets alone, so one that has probed a machine of late leads to it. Asked are the nodes that nothing has
 * troubled for as long as it may take to tell them. The clock begins with the loss, and anew when a majority of the instance group's controllers
 * comes back, when a zone is lost or back, and when a replacement is lost itself. No more is asked than machines stand by in zones that are well.
 * A loss, or any other fault of a proxy, excuses one replacement: until it is over, and for as long after that as it may take to take one back. The time begins anew with whatever befalls a
 * controller or a proxy; while faults lie on the way of controllers that run, nobody is blamed for one too many. Orders for machines count as well: that they were given the group's own word proves.
 * Put to the test by each proxy that stays lost for so long; regions without an instance group put nothing to the test.
 * Left out: proxies that are slow, paused, or reached by some and not by others.
 */
import type { ServiceEvent } from '../model/events.ts'
import type { Fault, SocketObserver } from '../model/world.ts'
import type { Check, Shared } from './check.ts'
import { observeProbes } from './probes.ts'
import { Findings, NEVER_BEFORE, seconds } from './promise.ts'

interface Proxy {
  readonly name: string
  readonly zone: string
  readonly isSpare: boolean
  /** Faults in force that take it away. */
  faults: number
  isRunning: boolean
  lostAtUs: number | undefined
  /** The loss was judged. */
  isJudged: boolean
  /** When each load balancer last probed the process that runs now, and got through. */
  readonly probedAtUs: Map<string, number>
  /** For one that stood by: it is ordered, and has not begun to run. */
  isOrdered: boolean
  /** Since when it has been no reason for a replacement; `undefined`: it never was one, `Infinity`: it is. */
  excuseOverUs: number | undefined
}

const LOSING: ReadonlySet<Fault['kind']> = new Set(['crash', 'power-loss', 'disk-loss', 'isolation'])
const LOSING_FORMS: ReadonlySet<string> = new Set(['power', 'isolated', 'nothing-in', 'nothing-out'])

export interface Replaced extends Check {
  /** Of the load balancers' machines. */
  readonly balancers: SocketObserver
}

/** A set of targets is told again after so long to a node that went back to those of its plan. */
const TOLD_AGAIN_MS = 10_000
/** A replacement's process gets so long to tell its clients. */
const STOP_WITHIN_MS = 5000
const SLACK_MS = 2000

export function checkReplaced({ context, disturbance }: Shared): Replaced {
  const findings = new Findings('replaced')
  const budgetUs = context.budgets.replacementMs * 1000
  const controllers = context.machines.filter(({ role }) => role === 'instance-group')
  const nodes = context.machines.filter(({ role }) => role === 'load-balancer')
  const { probe, probeIntervalMs, probeTimeoutMs, drainMs } = context.loadBalancer
  const { probeIntervalMs: roundMs, recheckIntervalMs, takeBackAfterMs } = context.instanceGroup
  /** A target is probed at least as often. */
  const probedWithinUs = (probeIntervalMs + probeTimeoutMs + SLACK_MS) * 1000
  const toldWithinUs = TOLD_AGAIN_MS * 1000 + probedWithinUs
  const takenBackWithinUs = (roundMs + 3 * recheckIntervalMs + takeBackAfterMs + drainMs + STOP_WITHIN_MS + SLACK_MS) * 1000
  const proxies = new Map<string, Proxy>()
  for (const { name, zone, role, standby } of context.machines) {
    if (role !== 'proxy') continue
    const isSpare = standby === true
    const now = { faults: 0, isRunning: !isSpare, lostAtUs: undefined, isJudged: false, isOrdered: false, excuseOverUs: undefined }
    proxies.set(name, { name, zone, isSpare, ...now, probedAtUs: new Map() })
  }
  /** When something last befell a controller or a proxy. */
  let befellAtUs = NEVER_BEFORE
  let isMissing = false
  let isTooMany = false
  const lostZones = new Map<string, number>()
  /** Since when the group can do its work as it stands; `Infinity` while it cannot. */
  let ableSinceUs = controllers.length === 0 ? Number.POSITIVE_INFINITY : NEVER_BEFORE

  const isLost = ({ faults, isRunning }: Proxy) => faults > 0 || !isRunning
  const isWell = ({ zone }: Proxy) => (lostZones.get(zone) ?? 0) === 0

  const look = (timeUs: number) => {
    const inOrder = controllers.filter((machine) => !disturbance.isDisturbed(machine)).length
    const isMajority = inOrder > controllers.length / 2
    if (!isMajority) ableSinceUs = Number.POSITIVE_INFINITY
    else if (ableSinceUs === Number.POSITIVE_INFINITY) ableSinceUs = timeUs
    for (const proxy of proxies.values()) {
      const machine = disturbance.machine(proxy.name)
      const isExcuse = proxy.isSpare
        ? proxy.isRunning && proxy.faults > 0
        : isLost(proxy) || (machine !== undefined && disturbance.isDisturbed(machine))
      if (isExcuse) proxy.excuseOverUs = Number.POSITIVE_INFINITY
      else if (proxy.excuseOverUs === Number.POSITIVE_INFINITY) proxy.excuseOverUs = timeUs
      if (proxy.isSpare) continue
      if (!isLost(proxy)) {
        proxy.lostAtUs = undefined
        proxy.isJudged = false
      } else proxy.lostAtUs ??= timeUs
    }
  }

  const beginAnew = (timeUs: number) => {
    if (ableSinceUs !== Number.POSITIVE_INFINITY) ableSinceUs = timeUs
  }

  /** Nodes that do not lead to it, of those that have to. */
  const nodesWithout = (proxy: Proxy, nowUs: number) =>
    nodes.filter(
      (node) =>
        !disturbance.isDisturbed(node) &&
        nowUs - disturbance.calmSinceUs(node.name) > toldWithinUs &&
        !((proxy.probedAtUs.get(node.name) ?? NEVER_BEFORE) >= nowUs - probedWithinUs),
    )

  const judgeTooFew = (nowUs: number) => {
    const all = [...proxies.values()]
    const due = all.filter(({ lostAtUs }) => lostAtUs !== undefined && Math.max(lostAtUs, ableSinceUs) + budgetUs <= nowUs)
    const spares = all.filter((proxy) => proxy.isSpare && isWell(proxy) && proxy.faults === 0)
    const standing = spares.filter((proxy) => proxy.isRunning && nodesWithout(proxy, nowUs).length === 0)
    const wanted = Math.min(due.length, spares.length)
    const unjudged = due.filter(({ isJudged }) => !isJudged)
    for (const proxy of unjudged) proxy.isJudged = true
    const wasMissing = isMissing && unjudged.length === 0
    isMissing = standing.length < wanted
    if (wanted > 0) findings.exercised += unjudged.length
    if (!isMissing || wasMissing) return
    const names = due.map(({ name }) => name).join(', ')
    findings.violated(nowUs, 'a lost proxy is not replaced', () => ({
      text: `${names} ${due.length === 1 ? 'was' : 'were'} lost for longer than ${seconds(budgetUs)} by ${seconds(nowUs)}, and ${standing.length} of ${wanted} replacements ${standing.length === 1 ? 'stands' : 'stand'} in place.`,
      evidence: [
        ...disturbance.before(nowUs),
        ...due.map(({ name, lostAtUs }) => ({ timeUs: lostAtUs!, text: `${name} was lost` })),
        ...spares.map((proxy) => ({ timeUs: nowUs, text: standingOf(proxy, nowUs) })),
      ].sort((a, b) => a.timeUs - b.timeUs),
    }))
  }

  const standingOf = (proxy: Proxy, nowUs: number): string => {
    if (!proxy.isRunning) return `${proxy.name} stands by`
    const without = nodesWithout(proxy, nowUs).map(({ name }) => name)
    const known = without.length === 0 ? 'every load balancer leads to it' : `${without.join(', ')} did not probe it of late`
    return `${proxy.name} runs, and ${known}`
  }

  const judgeTooMany = (nowUs: number) => {
    const isOnTheWay = controllers.some((machine) => disturbance.isDisturbed(machine) && !disturbance.isOutOfOrder(machine))
    if (ableSinceUs === Number.POSITIVE_INFINITY || isOnTheWay) return
    const all = [...proxies.values()]
    const there = all.filter((proxy) => proxy.isSpare && proxy.faults === 0 && (proxy.isRunning || proxy.isOrdered))
    const lastUs = Math.max(befellAtUs, ableSinceUs)
    const excuses = all.filter(
      ({ excuseOverUs }) => excuseOverUs !== undefined && Math.max(excuseOverUs, lastUs) + takenBackWithinUs > nowUs,
    )
    const wasTooMany = isTooMany
    isTooMany = there.length > excuses.length
    if (!isTooMany || wasTooMany) return
    const kind = excuses.length === 0 ? 'a replacement stays when the loss is over' : 'more replacements than losses'
    findings.violated(nowUs, kind, () => ({
      text: `At ${seconds(nowUs)} ${there.map(({ name }) => name).join(', ')} ${there.length === 1 ? 'was' : 'were'} there in place of ${excuses.length === 0 ? 'nobody' : excuses.map(({ name }) => name).join(', ')}.`,
      evidence: [
        ...disturbance.before(nowUs),
        ...there.map(({ name, isRunning }) => ({ timeUs: nowUs, text: isRunning ? `${name} runs` : `${name} is ordered` })),
      ],
    }))
  }

  const judge = (nowUs: number) => {
    judgeTooFew(nowUs)
    judgeTooMany(nowUs)
  }

  const befell = (timeUs: number, machine: string) => {
    const role = disturbance.machine(machine)?.role
    if (role === 'instance-group' || proxies.get(machine)?.isSpare === false) befellAtUs = timeUs
  }

  return {
    findings,
    balancers: observeProbes(probe, (node, target, answered, timeUs) => {
      const proxy = answered ? proxies.get(target) : undefined
      if (proxy?.isRunning === true) proxy.probedAtUs.set(node, timeUs)
    }),
    onEntry({ timeUs, event }) {
      const known = event as ServiceEvent
      if (known.kind !== 'replacement-changed') return
      const proxy = proxies.get(known.instance)
      if (proxy === undefined) return
      proxy.isOrdered = known.to === 'starting'
      judgeTooMany(timeUs)
    },
    onFault(fault, phase, timeUs) {
      judge(timeUs)
      const step = phase === 'applied' ? 1 : -1
      if (fault.kind === 'scale-out') for (const name of fault.machines) proxies.delete(name)
      else if (fault.kind === 'scale-in') for (const name of fault.machines) proxies.delete(name)
      else if (fault.kind === 'zone-outage' && LOSING_FORMS.has(fault.form)) {
        lostZones.set(fault.zone, (lostZones.get(fault.zone) ?? 0) + step)
        for (const proxy of proxies.values()) if (proxy.zone === fault.zone) proxy.faults += step
        beginAnew(timeUs)
      } else if (LOSING.has(fault.kind) && 'machines' in fault) {
        for (const name of fault.machines) {
          const proxy = proxies.get(name)
          if (proxy === undefined) continue
          proxy.faults += step
          if (proxy.isSpare) beginAnew(timeUs)
        }
      }
      if ('machines' in fault) for (const name of fault.machines) befell(timeUs, name)
      else befellAtUs = timeUs
      look(timeUs)
    },
    onProcessStarted(machine, timeUs) {
      judge(timeUs)
      const proxy = proxies.get(machine)
      if (proxy !== undefined) {
        proxy.isRunning = true
        proxy.isOrdered = false
        proxy.probedAtUs.clear()
      }
      befell(timeUs, machine)
      look(timeUs)
    },
    onProcessEnded(machine, cause, _error, timeUs) {
      judge(timeUs)
      const proxy = proxies.get(machine)
      if (proxy !== undefined) {
        // One that stood by and was killed has to be replaced as well.
        if (proxy.isSpare && proxy.isRunning && cause !== 'stopped') proxy.excuseOverUs = timeUs
        proxy.isRunning = false
        proxy.isOrdered = false
      }
      befell(timeUs, machine)
      look(timeUs)
    },
    onSweep: judge,
  }
}
