/**
 * `readmission`: a target that came back to a load-balancer node gets no more of the connections through it than its slow start allows: with a share w that grows linearly from 0 to 1 over
 * the slow start, at most w times (the most that a target at full weight holds, and one).
 *
 * When a slow start begins and ends is told by the node's own events; how many connections it leads to which target by the world's. A connection that was chosen a moment before others
 * were lost, or while others were still being made, is not blamed on the node: the most is that of the second before and the second after, and one connection more is borne.
 * Judged when a connection is led to the warming target: one that it kept from before is not. A slow start without a target at full weight beside it, which the node is to end at
 * once, allows nothing and is not judged.
 * Put to the test by every connection that a node leads anywhere while a target of its warms up. Runs that do not record put nothing to the test.
 */
import type { ServiceEvent } from '../model/events.ts'
import type { WorldEvent } from '../model/world.ts'
import type { Check } from './check.ts'
import { type Evidence, Findings, seconds } from './promise.ts'

/** Within this of each other things happen at once, as far as a node can know. */
const AROUND_US = 1_000_000
const BORNE = 1

interface SlowStart {
  readonly beganUs: number
  readonly durationUs: number
}

interface TargetView {
  readonly name: string
  connections: number
  /** Led by a process of the node that is no more: the present one does not know of them. */
  forgotten: number
  /** The most connections of late: pairs of time and count, counts falling. */
  peaks: { readonly untilUs: number; readonly count: number }[]
  healthy: boolean
  slowStart: SlowStart | undefined
}

/** A connection led to a warming target, until what was around it is known. */
interface Sample {
  readonly atUs: number
  readonly target: string
  readonly connections: number
  readonly share: number
  readonly slowStart: SlowStart
  /** The most at one target at full weight; -1 while there is none. */
  most: number
}

interface Node {
  readonly name: string
  readonly targets: Map<string, TargetView>
  samples: Sample[]
}

export function checkReadmission(): Check {
  const findings = new Findings('readmission')
  const nodes = new Map<string, Node>()

  const nodeOf = (name: string): Node => {
    let node = nodes.get(name)
    if (node === undefined) {
      node = { name, targets: new Map(), samples: [] }
      nodes.set(name, node)
    }
    return node
  }

  const targetOf = (node: Node, name: string): TargetView => {
    let target = node.targets.get(name)
    if (target === undefined) {
      target = { name, connections: 0, forgotten: 0, peaks: [], healthy: true, slowStart: undefined }
      node.targets.set(name, target)
    }
    return target
  }

  /** The most that a target held within the last second. */
  const peakOf = (target: TargetView, nowUs: number): number => {
    target.peaks = target.peaks.filter(({ untilUs }) => untilUs >= nowUs - AROUND_US)
    return target.peaks.reduce((most, { count }) => Math.max(most, count), target.connections)
  }

  const isAtFullWeight = (target: TargetView) => target.healthy && target.slowStart === undefined

  const judge = (node: Node, sample: Sample) => {
    const { atUs, target, connections, share, slowStart, most } = sample
    const allowed = share * (most + 1) + BORNE
    if (most < 0 || connections <= allowed) return
    findings.violated(atUs, 'a target that came back got too much', () => {
      const percent = Math.round(share * 100)
      const evidence: Evidence[] = [
        { timeUs: slowStart.beganUs, text: `${node.name} began the slow start of ${target}, for ${seconds(slowStart.durationUs)}` },
        { timeUs: atUs, text: `${target} got another connection and held ${connections}, at ${percent} % of a full share` },
        { timeUs: atUs, text: `the most that a target at full weight held through ${node.name} was ${most}` },
      ]
      return {
        text: `${target} was back for ${seconds(atUs - slowStart.beganUs)} when ${node.name} led its connection number ${connections} to it; its slow start allowed ${Math.floor(allowed)}.`,
        evidence,
      }
    })
  }

  const judgeBefore = (node: Node, timeUs: number) => {
    while (node.samples.length > 0 && node.samples[0]!.atUs < timeUs) judge(node, node.samples.shift()!)
  }

  const grown = (node: Node, target: TargetView) => {
    if (!isAtFullWeight(target)) return
    for (const sample of node.samples) sample.most = Math.max(sample.most, target.connections)
  }

  const forwarded = (node: Node, target: TargetView, timeUs: number) => {
    target.connections++
    grown(node, target)
    const targets = [...node.targets.values()]
    if (targets.some(({ slowStart }) => slowStart !== undefined)) findings.exercised++
    const { slowStart } = target
    if (slowStart === undefined) return
    const most = targets.reduce((highest, each) => (isAtFullWeight(each) ? Math.max(highest, peakOf(each, timeUs)) : highest), -1)
    const share = Math.min(1, (timeUs - slowStart.beganUs) / slowStart.durationUs)
    node.samples.push({ atUs: timeUs, target: target.name, connections: target.connections, share, slowStart, most })
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

  return {
    findings,
    onEntry({ machine, timeUs, event }) {
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
        case 'slow-start-began':
          targetOf(nodeOf(machine), known.target).slowStart = { beganUs: timeUs, durationUs: known.durationMs * 1000 }
          return
        case 'slow-start-ended': {
          const node = nodeOf(machine)
          const target = targetOf(node, known.target)
          target.slowStart = undefined
          grown(node, target)
          return
        }
        case 'target-state-changed':
          targetOf(nodeOf(machine), known.target).healthy = known.healthy
          return
        case 'target-registered':
        case 'target-draining':
          targetOf(nodeOf(machine), known.target).healthy = false
          return
        case 'process-started':
          // A node that starts anew has forgotten what it knew; the connections that it led may go on.
          for (const target of nodes.get(machine)?.targets.values() ?? []) {
            target.slowStart = undefined
            target.healthy = true
            target.forgotten += target.connections
            target.connections = 0
          }
          return
        default:
      }
    },
    finish() {
      for (const node of nodes.values()) judgeBefore(node, Number.POSITIVE_INFINITY)
    },
  }
}
