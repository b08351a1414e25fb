/**
 * What the witness knows of a topic's retained message: a register to which several clients write at once. A value is one publication with RETAIN.
 *
 * The order of two of them is known only where one had surely been processed (acknowledged, or seen by a subscriber) before the other was first sent, or where
 * one incarnation of a client's session sent both at one QoS. A value is surely overwritten once a later one was surely processed.
 * A message of QoS 1 that is sent again may be stored again, and counts as written again.
 * Wills are values that may be written at any time after their CONNECT.
 * Keeps few values: of those forgotten it is known until when the last of them may have been current, and of those that nobody can order, which they are.
 */
import { IntervalSet } from './intervals.ts'
import { type Flow, NEVER } from './state.ts'

interface Value {
  readonly flow: Flow
  readonly sequence: number
  readonly incarnation: number
  readonly sentAtUs: number
  /** When it was first known that the service had it, and when that it had a later one. */
  processedAtUs: number
  overwrittenAtUs: number
}

const KEPT_VALUES = 32
/** In place of an incarnation: wills come in no order. */
export const NO_ORDER = -2

export class RetainedRegister {
  /** Since when it surely holds something; only while nothing may empty it. */
  heldSinceUs = NEVER
  /** Something that expires, or has QoS 0, or that is none of our messages, was written: it may be empty, or hold what need not arrive. */
  uncertain = false
  overwritten = 0
  private values: Value[] = []
  private forgottenUpToUs = NEVER
  private readonly unordered = new Map<Flow, IntervalSet>()

  sent(flow: Flow, sequence: number, incarnation: number, timeUs: number): void {
    this.values.push({ flow, sequence, incarnation, sentAtUs: timeUs, processedAtUs: NEVER, overwrittenAtUs: NEVER })
    if (this.values.length > KEPT_VALUES) this.forgetOne()
  }

  /** The service surely has this value. */
  processed(flow: Flow, sequence: number, timeUs: number, how: 'acknowledged' | 'delivered'): void {
    let at = this.values.length - 1
    while (at >= 0 && (this.values[at]!.flow !== flow || this.values[at]!.sequence !== sequence)) at--
    const value = this.values[at]
    if (value === undefined || value.processedAtUs !== NEVER) return
    // Of one sent twice nobody can say which was delivered.
    if (how === 'delivered' && this.values.some((each) => each !== value && each.flow === flow && each.sequence === sequence)) return
    value.processedAtUs = timeUs
    for (let i = 0; i < this.values.length; i++) {
      const other = this.values[i]!
      if (other === value || other.overwrittenAtUs !== NEVER) continue
      const before = other.processedAtUs !== NEVER && other.processedAtUs < value.sentAtUs
      const inOrder = i < at && other.flow === flow && other.incarnation === value.incarnation && value.incarnation !== NO_ORDER
      if (!before && !inOrder) continue
      other.overwrittenAtUs = timeUs
      this.overwritten++
    }
  }

  /** Whether a SUBSCRIBE sent at this time may be answered with this value. */
  mayAnswer(flow: Flow, sequence: number, subscribeSentAtUs: number): boolean {
    if (this.unordered.get(flow)?.has(sequence)) return true
    let known = false
    for (const value of this.values) {
      if (value.flow !== flow || value.sequence !== sequence) continue
      if (value.overwrittenAtUs === NEVER || value.overwrittenAtUs >= subscribeSentAtUs) return true
      known = true
    }
    return !known && flow.retained?.has(sequence) === true && this.forgottenUpToUs >= subscribeSentAtUs
  }

  /** When this value was surely overwritten, as far as is remembered. */
  overwrittenAtUs(flow: Flow, sequence: number): number {
    for (const value of this.values) if (value.flow === flow && value.sequence === sequence) return value.overwrittenAtUs
    return this.forgottenUpToUs
  }

  private forgetOne(): void {
    const at = this.values.findIndex((value) => value.overwrittenAtUs !== NEVER)
    const [value] = this.values.splice(Math.max(at, 0), 1)
    if (value!.overwrittenAtUs !== NEVER) {
      if (value!.overwrittenAtUs > this.forgottenUpToUs) this.forgottenUpToUs = value!.overwrittenAtUs
      return
    }
    let unordered = this.unordered.get(value!.flow)
    if (unordered === undefined) {
      unordered = new IntervalSet()
      this.unordered.set(value!.flow, unordered)
    }
    unordered.add(value!.sequence)
  }
}
