/**
 * Shared subscriptions (MQTT 5, section 4.8.2): for each `$share/<group>/<filter>` the sessions that share it, and which of them gets a message.
 *
 * Who is chosen is written into the log with the message, so it need not follow from anything: connected members with room take turns, then connected ones
 * without, then the absent, whose sessions keep the message for them.
 */
import type { Subscription } from '../wire/messages.ts'
import { parseShared } from '../wire/topic.ts'
import { QUEUE_WINDOW, type SessionQueue } from './session-queue.ts'
import { SubscriptionIndex } from './subscription-index.ts'

export class SharedGroup {
  /** The whole filter, share name included. */
  readonly share: string
  readonly members = new Map<SessionQueue, Subscription>()
  private turn = 0

  constructor(share: string) {
    this.share = share
  }

  /** @param wanted `connected`: a QoS 0 message is for now or never. `queued`: it has to have a place, which a QoS 0 subscription does not give. */
  choose(wanted: 'anyone' | 'connected' | 'queued'): SessionQueue | undefined {
    const members = [...this.members.keys()]
    const first = this.turn++ % Math.max(1, members.length)
    let best: SessionQueue | undefined
    let bestRank = wanted === 'connected' ? 1 : 0
    for (let i = 0; i < members.length; i++) {
      const queue = members[(first + i) % members.length]!
      const rank = wanted === 'queued' && this.members.get(queue)!.qos === 0 ? 0 : this.rankOf(queue)
      if (rank <= bestRank) continue
      best = queue
      bestRank = rank
    }
    return best
  }

  private rankOf(queue: SessionQueue): number {
    if (queue.attachment === undefined) return this.members.get(queue)!.qos > 0 ? 1 : 0
    return queue.end - queue.base < QUEUE_WINDOW ? 3 : 2
  }
}

const NONE: readonly SharedGroup[] = []

export class SharedGroups {
  private readonly groups = new Map<string, SharedGroup>()
  private readonly index = new SubscriptionIndex<SharedGroup>()

  add(queue: SessionQueue, subscription: Subscription): void {
    let group = this.groups.get(subscription.filter)
    if (group === undefined) {
      group = new SharedGroup(subscription.filter)
      this.groups.set(subscription.filter, group)
      this.index.add(group, { ...subscription, filter: parseShared(subscription.filter)!.filter })
    }
    group.members.set(queue, subscription)
  }

  remove(queue: SessionQueue, share: string): void {
    const group = this.groups.get(share)
    if (group === undefined || !group.members.delete(queue) || group.members.size > 0) return
    this.groups.delete(share)
    this.index.remove(group, parseShared(share)!.filter)
  }

  get(share: string): SharedGroup | undefined {
    return this.groups.get(share)
  }

  match(topic: string): readonly SharedGroup[] {
    return this.groups.size === 0 ? NONE : this.index.match(topic).map(({ session }) => session)
  }
}
