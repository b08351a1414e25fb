/**
 * `replaced`: for each proxy that is lost for longer than its budget, one that stood by runs, and the load balancers lead to it.
 *
 * A proxy is lost while its process is dead, its machine or zone has no power, or no packet reaches or leaves it. All of this are the world's facts: faults, processes that started, and probes of
 * load balancers that got through to machines that stood by: a balancer probes its registered targets alone. The clock begins with the loss, and anew when a majority of the instance group's controllers
 * comes back, when a zone is lost or back, and when a replacement is lost itself. No more is asked than machines stand by in zones that are well.
 * Put to the test by each proxy that stays lost for so long; regions without an instance group put nothing to the test.
 * Left out: proxies that are slow, paused, or reached by some and not by others.
 */
import type { Fault, SocketObserver } from '../model/world.ts'
import type { Check, Shared } from './check.ts'
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
  /** A load balancer has probed the process that runs now, and got through. */
  isTarget: boolean
}

const LOSING: ReadonlySet<Fault['kind']> = new Set(['crash', 'power-loss', 'disk-loss', 'isolation'])
const LOSING_FORMS: ReadonlySet<string> = new Set(['power', 'isolated', 'nothing-in', 'nothing-out'])

export interface Replaced extends Check {
  /** Of the load balancers' machines. */
  readonly balancers: SocketObserver
}

/** How load balancers label the connections of their probes; the name of the machine follows. */
const PROBE = 'probe '

export function checkReplaced({ context, disturbance }: Shared): Replaced {
  const findings = new Findings('replaced')
  const budgetUs = context.budgets.replacementMs * 1000
  const controllers = context.machines.filter(({ role }) => role === 'instance-group')
  /** By the number of a probe's connection. */
  const probed = new Map<number, Proxy>()
  const proxies = new Map<string, Proxy>()
  for (const { name, zone, role, standby } of context.machines) {
    if (role !== 'proxy') continue
    const isSpare = standby === true
    proxies.set(name, { name, zone, isSpare, faults: 0, isRunning: !isSpare, lostAtUs: undefined, isJudged: false, isTarget: false })
  }
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

  const judge = (nowUs: number) => {
    const all = [...proxies.values()]
    const due = all.filter(({ lostAtUs }) => lostAtUs !== undefined && Math.max(lostAtUs, ableSinceUs) + budgetUs <= nowUs)
    if (due.every(({ isJudged }) => isJudged)) return
    const spares = all.filter((proxy) => proxy.isSpare && isWell(proxy) && proxy.faults === 0)
    const standing = spares.filter(({ isRunning, isTarget }) => isRunning && isTarget)
    const wanted = Math.min(due.length, spares.length)
    const unjudged = due.filter(({ isJudged }) => !isJudged)
    for (const proxy of unjudged) proxy.isJudged = true
    if (wanted === 0) return
    findings.exercised += unjudged.length
    if (standing.length >= wanted) return
    const names = due.map(({ name }) => name).join(', ')
    findings.violated(nowUs, 'a lost proxy is not replaced', () => ({
      text: `${names} ${due.length === 1 ? 'was' : 'were'} lost for longer than ${seconds(budgetUs)} by ${seconds(nowUs)}, and ${standing.length} of ${wanted} replacements ${standing.length === 1 ? 'stands' : 'stand'} in place.`,
      evidence: [
        ...disturbance.before(nowUs),
        ...due.map(({ name, lostAtUs }) => ({ timeUs: lostAtUs!, text: `${name} was lost` })),
        ...spares.map(({ name, isRunning, isTarget }) => ({
          timeUs: nowUs,
          text: isRunning
            ? `${name} runs, and ${isTarget ? 'load balancers lead to it' : 'no load balancer knows of it'}`
            : `${name} stands by`,
        })),
      ].sort((a, b) => a.timeUs - b.timeUs),
    }))
  }

  return {
    findings,
    balancers: {
      onConnect(connectionId, _machine, label) {
        const proxy = label.startsWith(PROBE) ? proxies.get(label.slice(PROBE.length)) : undefined
        if (proxy?.isSpare === true) probed.set(connectionId, proxy)
      },
      onOpen(connectionId) {
        const proxy = probed.get(connectionId)
        if (proxy?.isRunning === true) proxy.isTarget = true
      },
      onSent() {},
      onReceived() {},
      onClosed(connectionId) {
        probed.delete(connectionId)
      },
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
      look(timeUs)
    },
    onProcessStarted(machine, timeUs) {
      judge(timeUs)
      const proxy = proxies.get(machine)
      if (proxy !== undefined) {
        proxy.isRunning = true
        proxy.isTarget = false
      }
      look(timeUs)
    },
    onProcessEnded(machine, _cause, _error, timeUs) {
      judge(timeUs)
      const proxy = proxies.get(machine)
      if (proxy !== undefined) {
        proxy.isRunning = false
        proxy.isTarget = false
      }
      look(timeUs)
    },
    onSweep: judge,
  }
}
