/**
 * How old messages are, as far as the witnesses know: marks in true time, at each of which it is noted how far every flow had been sent and acknowledged. A message that was sent after a
 * mark is younger than it; one that had been acknowledged by then is older.
 *
 * Nothing is noted where the retention is longer than the observation; else a few hundred marks, whatever the number of messages.
 */
import type { Act, CheckContext, Hearing } from './check.ts'
import type { Disturbance } from './disturbance.ts'
import { IntervalSet } from './intervals.ts'
import type { Ledger } from './ledger.ts'
import type { Flow } from './state.ts'

interface Mark {
  readonly atUs: number
  readonly flows: ReadonlyMap<Flow, { readonly sentUpTo: number; readonly acknowledgedUpTo: number }>
  /** How many messages of each shard had been acknowledged. */
  readonly shards: ReadonlyMap<number, number>
}

export interface PastRetention {
  /** Every message up to this sequence had been acknowledged by `acknowledgedUs`, and its segment was finished by `finishedUs`. */
  readonly upTo: number
  readonly acknowledgedUs: number
  readonly finishedUs: number
}

const MARKS_PER_RETENTION = 128
const LEAST_SPACING_US = 1_000_000
const KEPT_MARKS = 4 * MARKS_PER_RETENTION
/** By how much the clocks that age is counted by may be wrong. */
const CLOCK_SHARE = 0.001
const MINUTE_US = 60_000_000
/** For what is on its way, and for an owner to come round to it. */
const LATENESS_US = 5_000_000
/** Messages that were stored before a mark and acknowledged after it. */
const IN_FLIGHT_SHARE = 0.05

export class Ages implements Hearing {
  private readonly ledger: Ledger
  private readonly disturbance: Disturbance
  private readonly retention: CheckContext['retention']
  private readonly spacingUs: number
  private readonly retentionUs: number
  private marks: Mark[] = []
  private troubledUs = 0
  private lastSweepUs = 0
  private beforeAudit: Map<Flow, IntervalSet> | undefined = undefined

  constructor(ledger: Ledger, disturbance: Disturbance, { retention }: CheckContext) {
    this.ledger = ledger
    this.disturbance = disturbance
    this.retention = retention
    this.retentionUs = retention === undefined ? Number.POSITIVE_INFINITY : retention.retentionMs * 1000
    this.spacingUs = Math.max(LEAST_SPACING_US, this.retentionUs / MARKS_PER_RETENTION)
  }

  onSweep(nowUs: number): void {
    if (this.disturbance.isTroubled) this.troubledUs += nowUs - this.lastSweepUs
    this.lastSweepUs = nowUs
    if (nowUs < (this.marks.at(-1)?.atUs ?? 0) + this.spacingUs) return
    this.marks.push(this.mark(nowUs))
    if (this.marks.length > KEPT_MARKS) this.marks.shift()
  }

  onAct(act: Act, timeUs: number): void {
    if (act !== 'drained' || timeUs < this.retentionUs) return
    this.beforeAudit = new Map()
    for (const flow of this.ledger.flows()) if (flow.qos > 0) this.beforeAudit.set(flow, flow.acked.copy())
  }

  /** What had been acknowledged when the auditor began to read: a topic is read once, and clients may go on publishing meanwhile. */
  acknowledgedBeforeAudit(flow: Flow): IntervalSet {
    return this.beforeAudit === undefined ? flow.acked : (this.beforeAudit.get(flow) ?? new IntervalSet())
  }

  /** Up to which sequence messages of a flow may be past their retention, or -1. */
  mayBeGoneUpTo(flow: Flow, nowUs: number): number {
    const cutUs = nowUs - this.retentionUs * (1 - CLOCK_SHARE)
    if (!(cutUs > 0)) return -1
    const mark = this.marks.find(({ atUs }) => atUs >= cutUs)
    return mark === undefined ? flow.sent.max : (mark.flows.get(flow)?.sentUpTo ?? -1)
  }

  /** Up to which sequence all of a flow had surely been acknowledged at a time, or -1. */
  acknowledgedUpTo(flow: Flow, timeUs: number): number {
    return this.marks.findLast(({ atUs }) => atUs <= timeUs)?.flows.get(flow)?.acknowledgedUpTo ?? -1
  }

  /** What of a flow was surely to be gone at a time; undefined where nothing was. */
  mustBeGone(flow: Flow, nowUs: number): PastRetention | undefined {
    if (this.retention === undefined) return undefined
    const { segmentMessages, segmentMs, shardOfTopic } = this.retention
    const shard = shardOfTopic(flow.topic.name)
    const latestUs = nowUs - this.retentionUs * (1 + CLOCK_SHARE) - MINUTE_US - LATENESS_US - this.troubledUs
    const finished = this.marks.findLast(({ atUs }) => atUs <= latestUs)
    if (finished === undefined) return undefined
    const before = (finished.shards.get(shard) ?? 0) - segmentMessages * (1 + IN_FLIGHT_SHARE)
    const oldUs = latestUs - segmentMs * 1000 * (1 + CLOCK_SHARE)
    const stored = this.marks.findLast((mark) => mark.atUs <= oldUs || (mark.shards.get(shard) ?? 0) <= before)
    const upTo = stored?.flows.get(flow)?.acknowledgedUpTo ?? -1
    return stored === undefined || upTo < 0 ? undefined : { upTo, acknowledgedUs: stored.atUs, finishedUs: finished.atUs }
  }

  private mark(atUs: number): Mark {
    const flows = new Map<Flow, { sentUpTo: number; acknowledgedUpTo: number }>()
    const shards = new Map<number, number>()
    for (const flow of this.ledger.flows()) {
      if (flow.qos === 0) continue
      const open = flow.sent.firstMissingFrom(flow.acked, 0)
      flows.set(flow, { sentUpTo: flow.sent.max, acknowledgedUpTo: open < 0 ? flow.sent.max : open - 1 })
      const shard = this.retention?.shardOfTopic(flow.topic.name) ?? 0
      shards.set(shard, (shards.get(shard) ?? 0) + flow.acked.size)
    }
    return { atUs, flows, shards }
  }
}
