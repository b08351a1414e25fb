/**
 * `acked-survives`: a publish that got PUBACK (QoS 1) or PUBREC (QoS 2) below 0x80 is stored and can be queried.
 *
 * Judged by what the auditor reads back over the network after the last act. Put to the test by a message that was acknowledged before a broker or a volume
 * copy was lost (killed, without power, in a zone that went dark), or before a volume was attached anew, and that the auditor asked for.
 * Left out: messages that may be past their retention (`retention`); a topic that the auditor did not ask for is not judged.
 */
import type { Check, Shared } from './check.ts'
import { IntervalSet, missingRuns } from './intervals.ts'
import { describeRuns, type Evidence, Findings, seconds } from './promise.ts'
import type { Flow } from './state.ts'

export interface AckedSurvives extends Check {
  /** Acknowledged messages that were not read back. */
  lost(): number
}

export function checkAckedSurvives(shared: Shared): AckedSurvives {
  const { ledger, disturbance, ages } = shared
  const findings = new Findings('acked-survives')
  const attached = new Map<number, number>()
  const audited = new Map<string, string | undefined>()
  const nothing = new IntervalSet()
  /** What was acknowledged when the last act ended: the auditor reads a topic once, and clients that come back meanwhile go on publishing their probes. */
  let due: Map<Flow, IntervalSet> | undefined
  let acknowledgedBeforeLoss = 0
  let lost = 0

  const holdsData = (name: string) => {
    const role = disturbance.machine(name)?.role
    return role === 'broker' || role === 'volume'
  }
  const lossOfData = () => {
    acknowledgedBeforeLoss = ledger.totals.acknowledged
  }

  return {
    findings,
    lost: () => lost,
    onAct(act) {
      if (act !== 'drained') return
      due = new Map()
      for (const flow of ledger.flows()) if (flow.qos > 0) due.set(flow, flow.acked.copy())
    },
    onFault(fault, phase) {
      if (phase === 'applied' && fault.kind === 'zone-outage' && (fault.form === 'power' || fault.form === 'isolated')) lossOfData()
    },
    onPowerLost(machine) {
      if (holdsData(machine)) lossOfData()
    },
    onProcessEnded(machine) {
      if (holdsData(machine)) lossOfData()
    },
    onEntry({ event }) {
      if (event.kind !== 'volume-attached') return
      const { volume, epoch } = event as unknown as { volume: number; epoch: number }
      const before = attached.get(volume)
      if (before !== undefined && epoch > before) lossOfData()
      attached.set(volume, epoch)
    },
    onAudited(topic, publisher, sequence, payloadOk) {
      if (!payloadOk) return
      const flow = ledger.flowThatSent(publisher, topic, sequence)
      if (flow === undefined) return
      if (flow.stored === undefined) flow.stored = new IntervalSet()
      flow.stored.add(sequence)
    },
    onAuditEnded(topic, failure) {
      audited.set(topic, failure)
    },
    finish(timeUs) {
      let asked = 0
      for (const flow of ledger.flows()) {
        const acked = due === undefined ? flow.acked : (due.get(flow) ?? nothing)
        if (flow.qos === 0 || acked.max < 0 || !audited.has(flow.topic.name)) continue
        asked += acked.size
        const failure = audited.get(flow.topic.name)
        const { runs, count } = missingRuns(acked, flow.stored ?? nothing, ages.mayBeGoneUpTo(flow, timeUs) + 1, 5)
        if (count === 0) continue
        lost += count
        findings.violated(
          timeUs,
          failure === undefined ? 'an acknowledged message is gone' : 'acknowledged messages cannot be queried',
          () => {
            const evidence: Evidence[] = [
              { timeUs: flow.lastAckUs, text: `last acknowledgement to publisher ${flow.publisher} on ${flow.topic.name}` },
              ...disturbance.before(timeUs),
              {
                timeUs,
                text:
                  failure === undefined
                    ? `${flow.topic.name} was read back whole, without them`
                    : `reading ${flow.topic.name} back failed: ${failure}`,
              },
            ]
            const which = `${count} acknowledged ${count === 1 ? 'message' : 'messages'} of publisher ${flow.publisher} on ${flow.topic.name}`
            return {
              text: `${which} (sequence ${describeRuns(runs)}) ${failure === undefined ? 'cannot be found' : 'cannot be queried'} at ${seconds(timeUs)}.`,
              evidence: evidence.sort((a, b) => a.timeUs - b.timeUs),
            }
          },
          count,
        )
      }
      findings.exercised = Math.min(asked, acknowledgedBeforeLoss)
    },
  }
}
