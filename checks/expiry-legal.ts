/**
 * Whether a message should have expired before it was first sent to a session [MQTT-3.3.2-5].
 *
 * Its age counts from when its publisher had the acknowledgement, since the service surely had it by then, or from when all is quiet, whichever is later; and the
 * clocks of the service may be a tenth slow, and have two seconds to spare. What counts is when the service sent it.
 * Left out: QoS 0, which nobody acknowledges; wills; flows whose messages differ in their expiry; messages that were published again; a PUBLISH with DUP, whose
 * delivery may have begun in time.
 */
import type { Calm } from './calm.ts'
import type { Delivery } from './check.ts'
import { IntervalSet } from './intervals.ts'
import type { Ledger } from './ledger.ts'
import { type Flow, FOR_EVER, NEVER } from './state.ts'

/** How old the messages of a flow are, by the second. */
class Ages {
  /** The greatest sequence acknowledged at a time, ascending. */
  readonly marks: { readonly upTo: number; readonly atUs: number }[] = []
  /** Up to here they have expired, and when that was found. */
  expiredUpTo = NEVER
  foundAtUs = 0
  sentAgain: IntervalSet | undefined = undefined
}

export class ExpiryJudge {
  private readonly ledger: Ledger
  private readonly calm: Calm
  private readonly byFlow = new Map<Flow, Ages>()

  constructor(ledger: Ledger, calm: Calm) {
    this.ledger = ledger
    this.calm = calm
  }

  onSentAgain(flow: Flow, sequence: number): void {
    if (!expires(flow)) return
    const ages = this.agesOf(flow)
    if (ages.sentAgain === undefined) ages.sentAgain = new IntervalSet()
    ages.sentAgain.add(sequence)
  }

  onSweep(nowUs: number): void {
    for (const flow of this.ledger.flows()) if (expires(flow) && flow.acked.max >= 0) this.age(flow, this.agesOf(flow), nowUs)
  }

  /** `retained`: it comes because of a SUBSCRIBE, whether the session had it before or not. */
  hasExpired({ flow, sequence, first, dup, connection }: Delivery, retained: boolean): boolean {
    if (!expires(flow) || dup || !(first || retained)) return false
    const ages = this.byFlow.get(flow)
    if (ages === undefined || sequence > ages.expiredUpTo || !flow.acked.has(sequence)) return false
    if (ages.sentAgain?.has(sequence) || flow.republished?.has(sequence)) return false
    const sentAtUs = connection.lastSpokenUs
    return sentAtUs >= ages.foundAtUs && sentAtUs >= this.calm.overAtUs(0, flow.expirySeconds, connection.machine)
  }

  private agesOf(flow: Flow): Ages {
    let ages = this.byFlow.get(flow)
    if (ages === undefined) {
      ages = new Ages()
      this.byFlow.set(flow, ages)
    }
    return ages
  }

  private age(flow: Flow, ages: Ages, nowUs: number): void {
    const { marks } = ages
    if (flow.acked.max > (marks.at(-1)?.upTo ?? ages.expiredUpTo)) marks.push({ upTo: flow.acked.max, atUs: nowUs })
    while (marks.length > 0 && this.calm.overAtUs(marks[0]!.atUs, flow.expirySeconds) <= nowUs) {
      ages.expiredUpTo = marks.shift()!.upTo
      ages.foundAtUs = nowUs
    }
  }
}

function expires(flow: Flow): boolean {
  return flow.expirySeconds !== FOR_EVER && flow.expirySeconds >= 0 && flow.qos > 0 && flow.wills === undefined
}
