/**
 * `retention`: nothing goes before its time; what is past it is gone within a segment and a minute. The segment is a stretch of a shard's log, which is given up as a whole, once
 * the newest message in it is past its retention; it is finished by so many messages, or by its age.
 *
 * Judged by what the auditor reads back, and by which message is the oldest of its topic at many instants before, against the true times at which the publishers sent their messages and received the acknowledgements (`ages.ts`). Put to the test by messages
 * acknowledged: by those that were there although others were past their time, and by those that had to be gone. So a run that is shorter than the retention puts nothing to the test:
 * that what is younger survives is `acked-survives` then.
 * Left out: a message in a segment that is not surely finished, wills, and messages that were published again. The time during which the region was troubled is borne on top: age is counted by
 * owners, and a shard without one does not grow older.
 */
import type { Check, OldestMessage, Shared } from './check.ts'
import { IntervalSet, missingRuns } from './intervals.ts'
import { describeRuns, Findings, seconds } from './promise.ts'
import type { Flow } from './state.ts'

/** What is promised where nothing else was asked for: three days, the default of RocketMQ too (`fileReservedTime`, in hours: 72). */
export const PROMISED_RETENTION_MS = 3 * 24 * 3600 * 1000

export function checkRetention({ context, ledger, ages }: Shared): Check {
  const findings = new Findings('retention')
  const audited = new Set<string>()
  const nothing = new IntervalSet()
  let auditFromUs = 0
  const foundEarly = new Set<Flow>()
  const foundLate = new Set<Flow>()

  const judgeOldest = (flow: Flow, oldest: OldestMessage | undefined, askedUs: number, timeUs: number) => {
    const { retentionMs } = context.retention!
    const mayBeGoneUpTo = ages.mayBeGoneUpTo(flow, timeUs)
    if (mayBeGoneUpTo < 0) return
    findings.exercised++
    const name = `publisher ${flow.publisher} on ${flow.topic.name}`
    const goneUpTo = oldest === undefined ? ages.acknowledgedUpTo(flow, askedUs) : oldest.sequence - 1
    const early = flow.acked.nextIn(mayBeGoneUpTo + 1)
    if (early >= 0 && early <= goneUpTo && !foundEarly.has(flow)) {
      foundEarly.add(flow)
      findings.violated(timeUs, 'gone before its time', () => ({
        text: `Acknowledged messages of ${name} from sequence ${early} on were gone at ${seconds(timeUs)}, and none of them was ${seconds(retentionMs * 1000)} old.`,
        evidence: [
          { timeUs, text: `of its messages those up to sequence ${mayBeGoneUpTo} may be past their retention` },
          { timeUs, text: oldest === undefined ? 'there was none' : `the oldest that there was is of sequence ${oldest.sequence}` },
        ],
      }))
    }
    const gone = ages.mustBeGone(flow, askedUs)
    if (gone === undefined || oldest === undefined || oldest.sequence > gone.upTo || foundLate.has(flow)) return
    foundLate.add(flow)
    findings.violated(timeUs, 'not gone after its time', () => ({
      text: `Sequence ${oldest.sequence} of ${name} was there at ${seconds(timeUs)}, past its retention of ${seconds(retentionMs * 1000)}, a segment and a minute.`,
      evidence: [
        { timeUs: gone.acknowledgedUs, text: `by then the service had acknowledged all of them up to sequence ${gone.upTo}` },
        { timeUs: gone.finishedUs, text: 'by then the segment that they stand in was finished: by the messages after them, or by its age' },
        { timeUs: askedUs, text: 'it was asked for the oldest of the topic' },
      ],
    }))
  }

  return {
    findings,
    onAct(act, timeUs) {
      if (act === 'drained') auditFromUs = timeUs
    },
    onOldest(topic, oldest, askedUs, timeUs) {
      if (context.retention === undefined) return
      const flows = ledger.topics.get(topic)?.flows.filter(({ qos }) => qos > 0) ?? []
      const flow = flows[0]
      // Where others write there too, or messages are published again, the oldest does not say what else is gone.
      if (flow === undefined || flows.length > 1 || (oldest !== undefined && oldest.publisher !== flow.publisher)) return
      if ((flow.republished?.size ?? 0) > 0 || (flow.wills?.size ?? 0) > 0) return
      judgeOldest(flow, oldest, askedUs, timeUs)
    },
    onAuditEnded(topic, failure) {
      if (failure === undefined) audited.add(topic)
    },
    finish(timeUs) {
      if (context.retention === undefined) return
      const { retentionMs } = context.retention
      for (const flow of ledger.flows()) {
        if (flow.qos === 0 || flow.acked.max < 0 || !audited.has(flow.topic.name)) continue
        const stored = flow.stored ?? nothing
        const mayBeGoneUpTo = ages.mayBeGoneUpTo(flow, timeUs)
        if (mayBeGoneUpTo < 0) continue
        const acked = ages.acknowledgedBeforeAudit(flow)
        const early = missingRuns(acked, stored, mayBeGoneUpTo + 1, 5)
        findings.exercised += acked.size
        if (early.count > 0) {
          findings.violated(
            timeUs,
            'gone before its time',
            () => ({
              text: `${early.count} acknowledged messages of publisher ${flow.publisher} on ${flow.topic.name} (sequence ${describeRuns(early.runs)}) are gone, and none of them was ${seconds(retentionMs * 1000)} old.`,
              evidence: [
                { timeUs: flow.lastAckUs, text: `last acknowledgement to publisher ${flow.publisher} on ${flow.topic.name}` },
                { timeUs, text: `of its messages those up to sequence ${mayBeGoneUpTo} may be past their retention` },
              ],
            }),
            early.count,
          )
        }
        const gone = ages.mustBeGone(flow, auditFromUs)
        if (gone === undefined) continue
        const left = storedUpTo(flow, stored, gone.upTo)
        if (left.length === 0) continue
        findings.violated(
          timeUs,
          'not gone after its time',
          () => ({
            text: `${left.length} messages of publisher ${flow.publisher} on ${flow.topic.name} (the first of sequence ${left[0]}) could be read back although they were past their retention of ${seconds(retentionMs * 1000)}, a segment and a minute.`,
            evidence: [
              { timeUs: gone.acknowledgedUs, text: `by then the service had acknowledged all of them up to sequence ${gone.upTo}` },
              {
                timeUs: gone.finishedUs,
                text: 'by then the segment that they stand in was finished: by the messages after them, or by its age',
              },
              { timeUs: auditFromUs, text: 'the auditor began to read' },
            ],
          }),
          left.length,
        )
      }
    },
  }
}

/** What was read back of it up to a sequence; what was published twice may be younger than it seems, and wills are published late. */
function storedUpTo(flow: Flow, stored: IntervalSet, upTo: number): readonly number[] {
  const found: number[] = []
  for (let at = stored.nextIn(0); at >= 0 && at <= upTo; at = stored.nextIn(at + 1))
    if (flow.republished?.has(at) !== true && flow.wills?.has(at) !== true) found.push(at)
  return found
}
