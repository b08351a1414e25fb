/**
 * `readmission`: a target that came back to a load-balancer node gets no more of the connections through it than its slow start allows: with a share w that grows linearly from 0 to 1 over
 * the slow start, at most w times (the most that a target at full weight holds, and the one that is led), and one in any case.
 *
 * How long a slow start is, is told by the settings, and when one is due by the node's probes, seen at its sockets: a target that failed as many as put it out begins with the success that lets it in
 * again, and one that stood by with the first. What the node itself tells of a slow start may begin one more (a target that took itself out before it stopped answers all its probes), never shorten one,
 * and must tell the length that is set. How many connections it leads to which target the world tells.
 * A connection that was chosen a moment before others were lost, or while others were still being made, is not blamed on the node: the most is that of the second before and the second after.
 * Judged when a connection is led to the warming target: one that it kept from before is not. A slow start without a target at full weight beside it, which the node is to end at
 * once, allows nothing and is not judged; nor is a node that a fault touches.
 * Put to the test by each connection that a node leads while a warming target is tempting: it has the fewest, and its share is used up. Each node at which a slow start with a connection was due has to
 * have been tempted, or nothing was put to the test. Runs that do not record put nothing to the test.
 */
import type { ServiceEvent } from '../model/events.ts'
import type { SocketObserver, WorldEvent } from '../model/world.ts'
import type { Check, Shared } from './check.ts'
import { observeProbes } from './probes.ts'
import { type Evidence, Findings, seconds } from './promise.ts'

/** Within this of each other things happen at once, as far as a node can know. */
const AROUND_US = 1_000_000

interface TargetView {
  readonly name: string
  connections: number
  /** Led by a process of the node that is no more: the present one does not know of them. */
  forgotten: number
  /** The most connections of late: pairs of time and count, counts falling. */
  peaks: { readonly untilUs: number; readonly count: number }[]
  /** As its probes have it. */
  health: 'initial' | 'healthy' | 'unhealthy'
  failuresInARow: number
  successesInARow: number
  /** It drains, or has taken itself out: nothing is led there. */
  isOut: boolean
  slowStartUs: number | undefined
}

/** A connection led to a warming target, until what was around it is known. */
interface Sample {
  readonly atUs: number
  readonly target: string
  readonly connections: number
  readonly share: number
  readonly beganUs: number
  /** The most at one target at full weight. */
  most: number
}

interface Node {
  readonly name: string
  readonly zone: string | undefined
  readonly targets: Map<string, TargetView>
  samples: Sample[]
  /** It led a connection while a target of its warmed up, and how often it was tempted. */
  hasLed: boolean
  temptations: number
}

export interface Readmission extends Check {
  /** Of the load balancers' machines. */
  readonly balancers: SocketObserver
}

export function checkReadmission({ context, disturbance }: Shared): Readmission {
  const findings = new Findings('readmission')
  const { probe, healthyThreshold, unhealthyThreshold, slowStartMs, crossZone } = context.loadBalancer
  const slowStartUs = slowStartMs * 1000
  const nodes = new Map<string, Node>()
  /** Sockets are heard of at once, entries a little later: what the sockets told waits for the entries of its time. */
  const heard: { readonly timeUs: number; readonly take: () => void }[] = []

  const nodeOf = (name: string): Node => {
    let node = nodes.get(name)
    if (node === undefined) {
      node = { name, zone: disturbance.machine(name)?.zone, targets: new Map(), samples: [], hasLed: false, temptations: 0 }
      nodes.set(name, node)
    }
    return node
  }

  const targetOf = (node: Node, name: string): TargetView => {
    let target = node.targets.get(name)
    if (target === undefined) {
      const fresh = { health: 'initial', failuresInARow: 0, successesInARow: 0, isOut: false, slowStartUs: undefined } as const
      target = { name, connections: 0, forgotten: 0, peaks: [], ...fresh }
      node.targets.set(name, target)
    }
    return target
  }

  const startOver = (target: TargetView) => {
    target.health = 'initial'
    target.failuresInARow = 0
    target.successesInARow = 0
    target.slowStartUs = undefined
  }

  /** The most that a target held within the last second. */
  const peakOf = (target: TargetView, nowUs: number): number => {
    target.peaks = target.peaks.filter(({ untilUs }) => untilUs >= nowUs - AROUND_US)
    return target.peaks.reduce((most, { count }) => Math.max(most, count), target.connections)
  }

  const isWarming = ({ slowStartUs: sinceUs }: TargetView, nowUs: number) => sinceUs !== undefined && nowUs < sinceUs + slowStartUs

  const isAtFullWeight = (node: Node, target: TargetView, nowUs: number) =>
    target.health === 'healthy' &&
    !target.isOut &&
    !isWarming(target, nowUs) &&
    (crossZone || disturbance.machine(target.name)?.zone === node.zone)

  const someAtFullWeight = (node: Node, nowUs: number) => [...node.targets.values()].some((target) => isAtFullWeight(node, target, nowUs))

  /** With no target at full weight beside them there is nobody to spare them the load. */
  const endSlowStartsOfTheLonely = (node: Node, nowUs: number) => {
    if (someAtFullWeight(node, nowUs)) return
    for (const target of node.targets.values()) target.slowStartUs = undefined
  }

  const judge = (node: Node, sample: Sample) => {
    const { atUs, target, connections, share, beganUs, most } = sample
    const allowed = Math.max(1, share * (most + 1))
    if (connections <= allowed) return
    findings.violated(atUs, 'a target that came back got too much', () => {
      const percent = Math.round(share * 100)
      const evidence: Evidence[] = [
        { timeUs: beganUs, text: `${target} was back at ${node.name}, for a slow start of ${seconds(slowStartUs)}` },
        { timeUs: atUs, text: `${target} got another connection and held ${connections}, at ${percent} % of a full share` },
        { timeUs: atUs, text: `the most that a target at full weight held through ${node.name} was ${most}` },
      ]
      return {
        text: `${target} was back for ${seconds(atUs - beganUs)} when ${node.name} led its connection number ${connections} to it; its slow start allowed ${Math.floor(allowed)}.`,
        evidence,
      }
    })
  }

  const judgeBefore = (node: Node, timeUs: number) => {
    while (node.samples.length > 0 && node.samples[0]!.atUs < timeUs) judge(node, node.samples.shift()!)
  }

  const grown = (node: Node, target: TargetView, nowUs: number) => {
    if (!isAtFullWeight(node, target, nowUs)) return
    for (const sample of node.samples) sample.most = Math.max(sample.most, target.connections)
  }

  const forwarded = (node: Node, target: TargetView, timeUs: number) => {
    const targets = [...node.targets.values()]
    const full = targets.filter((each) => isAtFullWeight(node, each, timeUs))
    const most = full.reduce((highest, each) => Math.max(highest, peakOf(each, timeUs)), -1)
    const fewest = full.reduce((lowest, each) => Math.min(lowest, each.connections), Number.POSITIVE_INFINITY)
    const shareOf = (beganUs: number) => Math.min(1, (timeUs - beganUs) / slowStartUs)
    const machine = disturbance.machine(node.name)
    const isDue = full.length > 0 && machine !== undefined && !disturbance.isDisturbed(machine)
    const warming = isDue ? targets.filter((each) => isWarming(each, timeUs) && !each.isOut) : []
    if (warming.length > 0) node.hasLed = true
    if (warming.some((each) => each.connections < fewest && each.connections + 1 > Math.max(1, shareOf(each.slowStartUs!) * (most + 1))))
      node.temptations++
    target.connections++
    target.isOut = false
    grown(node, target, timeUs)
    const { slowStartUs: beganUs, connections } = target
    if (warming.includes(target))
      node.samples.push({ atUs: timeUs, target: target.name, connections, share: shareOf(beganUs!), beganUs: beganUs!, most })
  }

  const ended = (target: TargetView, timeUs: number) => {
    if (target.forgotten > 0) {
      target.forgotten--
      return
    }
    if (target.connections === 0) return
    // Many end at once: one entry stands for them.
    if (target.peaks.at(-1)?.untilUs !== timeUs) target.peaks.push({ untilUs: timeUs, count: target.connections })
    target.connections--
    if (target.peaks.length > 64) peakOf(target, timeUs)
  }

  const begin = (node: Node, target: TargetView, timeUs: number) => {
    if (slowStartUs === 0 || target.slowStartUs !== undefined) return
    if ([...node.targets.values()].some((other) => other !== target && isAtFullWeight(node, other, timeUs))) target.slowStartUs = timeUs
  }

  const probed = (node: Node, target: TargetView, answered: boolean, timeUs: number) => {
    target.successesInARow = answered ? target.successesInARow + 1 : 0
    target.failuresInARow = answered ? 0 : target.failuresInARow + 1
    const { health } = target
    if (answered && health !== 'healthy' && target.successesInARow >= (health === 'initial' ? 1 : healthyThreshold)) {
      target.health = 'healthy'
      target.slowStartUs = undefined
      // Whoever was there from the node's first look on does not warm up; one that stood by was not.
      if (health === 'unhealthy' || disturbance.machine(target.name)?.standby === true) begin(node, target, timeUs)
    } else if (!answered && health !== 'unhealthy' && target.failuresInARow >= unhealthyThreshold) {
      target.health = 'unhealthy'
      target.slowStartUs = undefined
      endSlowStartsOfTheLonely(node, timeUs)
    }
  }

  const takeHeard = (untilUs: number) => {
    let count = 0
    while (count < heard.length && heard[count]!.timeUs <= untilUs) heard[count++]!.take()
    heard.splice(0, count)
  }

  return {
    findings,
    balancers: observeProbes(probe, (nodeName, name, answered, timeUs) => {
      const take = () => {
        const node = nodeOf(nodeName)
        probed(node, targetOf(node, name), answered, timeUs)
      }
      heard.push({ timeUs, take })
    }),
    onEntry({ machine, timeUs, event }) {
      takeHeard(timeUs)
      const known = event as ServiceEvent | WorldEvent
      switch (known.kind) {
        case 'connection-forwarded': {
          const node = nodeOf(machine)
          judgeBefore(node, timeUs - AROUND_US)
          forwarded(node, targetOf(node, known.to), timeUs)
          return
        }
        case 'forwarding-ended':
          ended(targetOf(nodeOf(machine), known.to), timeUs)
          return
        case 'slow-start-began': {
          const node = nodeOf(machine)
          const target = targetOf(node, known.target)
          target.isOut = false
          begin(node, target, timeUs)
          if (known.durationMs === slowStartMs) return
          findings.violated(timeUs, 'a slow start of another length than set', () => ({
            text: `${machine} began a slow start of ${seconds(known.durationMs * 1000)} for ${known.target}, where ${seconds(slowStartUs)} are set.`,
            evidence: [{ timeUs, text: `${machine} told of it` }],
          }))
          return
        }
        case 'target-registered':
        case 'target-removed':
          startOver(targetOf(nodeOf(machine), known.target))
          return
        case 'target-draining': {
          const node = nodeOf(machine)
          const target = targetOf(node, known.target)
          target.isOut = true
          target.slowStartUs = undefined
          endSlowStartsOfTheLonely(node, timeUs)
          return
        }
        case 'process-started':
          // A node that starts anew has forgotten what it knew; the connections that it led may go on.
          for (const target of nodes.get(machine)?.targets.values() ?? []) {
            startOver(target)
            target.isOut = false
            target.forgotten += target.connections
            target.connections = 0
          }
          return
        default:
      }
    },
    onSweep(nowUs) {
      // Entries are at most a second late; runs that do not record have none.
      takeHeard(nowUs - 2 * AROUND_US)
    },
    finish() {
      takeHeard(Number.POSITIVE_INFINITY)
      for (const node of nodes.values()) judgeBefore(node, Number.POSITIVE_INFINITY)
      const due = [...nodes.values()].filter(({ hasLed }) => hasLed)
      if (due.every(({ temptations }) => temptations > 0)) for (const { temptations } of due) findings.exercised += temptations
    },
  }
}
