/**
 * Shared subscriptions: what is due to a group as a whole. A message that was acknowledged while the group surely had a member is due to one of its members,
 * whichever the service chose.
 *
 * Any doubt about a member makes all that was published before due no more, since the service may have chosen that one: it is about to leave, was granted
 * QoS 0, or its session ended or may have. A member whose session may have ended stands in the way until the service surely knows of its end.
 * Where a session surely ended, what was published at QoS 1 stays due: what waited for that member goes to another, if one was there already.
 */
import type { Ledger } from './ledger.ts'
import { type Client, type Inflow, NEVER, NOTHING, Session, type SharedGroup, type Subscription } from './state.ts'

export class SharedGroups {
  private readonly byFilter = new Map<string, SharedGroup>()
  private readonly ledger: Ledger
  /** Whose the hubs are. */
  private readonly nobody: Client

  constructor(ledger: Ledger, nobody: Client) {
    this.ledger = ledger
    this.nobody = nobody
  }

  all(): IterableIterator<SharedGroup> {
    return this.byFilter.values()
  }

  /** A member sent SUBSCRIBE. */
  asked(subscription: Subscription): void {
    const group = this.of(subscription)
    if (!group.members.includes(subscription)) group.members.push(subscription)
    // Asked for again: it keeps its grant meanwhile. A new member at QoS 0 may be chosen from now on.
    if (subscription.requestedQos === 0) this.doubted(group)
  }

  granted(subscription: Subscription): void {
    const group = this.of(subscription)
    const before = group.sure
    group.sure = isSure(group)
    if (!group.sure) this.doubted(group)
    else if (!before) this.dueFromNow(group, subscription)
  }

  /** It sent UNSUBSCRIBE, or was refused what it had. */
  left(subscription: Subscription): void {
    const group = this.byFilter.get(subscription.filter)
    if (group !== undefined) this.doubted(group)
  }

  /** It surely is no member any more. */
  gone(subscription: Subscription): void {
    const group = this.byFilter.get(subscription.filter)
    if (group === undefined) return
    group.members = group.members.filter((each) => each !== subscription)
    this.doubted(group)
    group.sure = isSure(group)
    if (group.sure) this.dueFromNow(group, subscription)
  }

  ended(subscription: Subscription, surely: boolean): void {
    const group = this.byFilter.get(subscription.filter)
    if (group === undefined || !group.members.includes(subscription)) return
    if (!surely) this.doubted(group)
    else if (group.sure && hasHeir(group, subscription)) this.inherited(group, subscription)
    else this.gone(subscription)
  }

  private inherited(group: SharedGroup, subscription: Subscription): void {
    group.members = group.members.filter((each) => each !== subscription)
    group.sure = isSure(group)
    if (!group.sure) this.doubted(group)
    else {
      for (const inflow of group.hub.inflows) {
        // At QoS 2 a delivery that was begun goes to nobody else [MQTT-4.8.2-5].
        if (inflow.flow.qos === 1) continue
        inflow.dueFrom = inflow.flow.qos === 0 ? NOTHING : inflow.flow.sent.max + 1
        inflow.settled = 0
        inflow.extraDue = undefined
      }
    }
  }

  /** A member gets a flow: from `dueFrom` on its messages are due to the group. */
  link(subscription: Subscription, inflow: Inflow, dueFrom: number): void {
    const group = this.of(subscription)
    const shared = this.ledger.inflow(group.hub, inflow.flow)
    if (inflow.groups?.includes(shared) !== true) inflow.groups = [...(inflow.groups ?? []), shared]
    if (group.sure && inflow.flow.qos > 0 && dueFrom < shared.dueFrom) shared.dueFrom = dueFrom
  }

  private of(subscription: Subscription): SharedGroup {
    let group = this.byFilter.get(subscription.filter)
    if (group === undefined) {
      group = { hub: new Session(this.nobody, 0), members: [], sure: false }
      this.byFilter.set(subscription.filter, group)
    }
    return group
  }

  private doubted(group: SharedGroup): void {
    group.sure = false
    for (const inflow of group.hub.inflows) {
      inflow.dueFrom = NOTHING
      inflow.extraDue = undefined
    }
  }

  private dueFromNow(group: SharedGroup, subscription: Subscription): void {
    this.ledger.eachFlow(subscription, (flow) => {
      if (flow.qos === 0) return
      const inflow = this.ledger.inflow(group.hub, flow)
      inflow.dueFrom = flow.sent.max + 1
      inflow.settled = 0
    })
  }
}

/** Whether another was a member while the session of this one surely lived. */
function hasHeir({ members }: SharedGroup, leaver: Subscription): boolean {
  return members.some((each) => each !== leaver && each.grantedAtUs !== NEVER && each.grantedAtUs <= leaver.session.lastProofUs)
}

function isSure(group: SharedGroup): boolean {
  let granted = false
  for (const { session, leaving, requestedQos, grantedQos } of group.members) {
    if (session.ended || leaving || requestedQos === 0 || grantedQos === 0) return false
    if (grantedQos > 0) granted = true
  }
  return granted
}
