/**
 * One copy a shared group: who of a group has a message so that nobody else of it may get it. To the others it is a message to which they have no subscription:
 * by theirs the group is due one copy (MQTT 5, section 4.8.2).
 *
 * A member has it for good once it came to it at QoS 0, where nothing more is done for it, or at QoS 2, whose delivery belongs to that member even when its session ends
 * [MQTT-4.8.2-5]; at QoS 1 once it has acknowledged it, and as long as its session surely goes on. What it has not acknowledged may go to another.
 * Left out: messages that their publisher may have published twice, at QoS 1 by sending them again; a session that may get another copy by a subscription of its own.
 */
import type { Delivery } from './check.ts'
import { IntervalSet } from './intervals.ts'
import type { Ledger } from './ledger.ts'
import type { Flow, Incoming, Inflow, Session } from './state.ts'

export class SharedOnce {
  private readonly ledger: Ledger
  /** Of what a group gets: messages that came to a member at QoS 0 or 2. */
  private readonly begun = new WeakMap<Inflow, IntervalSet>()
  /** Of what a member gets: messages that it has acknowledged. */
  private readonly acknowledged = new WeakMap<Inflow, IntervalSet>()
  private readonly sentAgain = new WeakMap<Flow, IntervalSet>()
  private hasGroups = false

  constructor(ledger: Ledger) {
    this.ledger = ledger
  }

  /** By its publisher. */
  onSentAgain(flow: Flow, sequence: number): void {
    if (flow.qos === 1 && flow.inflows?.some(({ groups }) => groups !== undefined)) add(this.sentAgain, flow, sequence)
  }

  onAcknowledged(session: Session | undefined, { qos, flow, sequence }: Incoming): void {
    if (!this.hasGroups || qos !== 1 || flow === undefined) return
    const inflow = session?.inflowOf(flow)
    if (inflow?.groups !== undefined) add(this.acknowledged, inflow, sequence)
  }

  /** To be told of each delivery. @returns why nobody else of the group should have got the message, where that is so. */
  whyTaken({ inflow, flow, sequence, qos, first, mayBeRetained }: Delivery): string | undefined {
    if (inflow.groups === undefined) return undefined
    this.hasGroups = true
    if (!first || mayBeRetained || this.ledger.mayGetSeveral(inflow) || this.ledger.mayBeLoose(inflow)) return undefined
    if (flow.republished?.has(sequence) || this.sentAgain.get(flow)?.has(sequence)) return undefined
    const group = inflow.groups[0]!
    const begunBefore = this.begun.get(group)?.has(sequence) === true
    if (qos !== 1) add(this.begun, group, sequence)
    if (begunBefore) return 'another member had been sent it for good'
    for (const other of flow.inflows ?? []) {
      if (other === inflow || other.groups?.includes(group) !== true || !this.acknowledged.get(other)?.has(sequence)) continue
      if (!this.ledger.mayGetSeveral(other) && !this.ledger.mayHaveEnded(other.session))
        return `${other.session.client.id} had acknowledged it`
    }
    return undefined
  }
}

function add<K extends object>(sets: WeakMap<K, IntervalSet>, key: K, value: number): void {
  let set = sets.get(key)
  if (set === undefined) {
    set = new IntervalSet()
    sets.set(key, set)
  }
  set.add(value)
}
