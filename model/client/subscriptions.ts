/**
 * What a client wants to be subscribed to, and the SUBSCRIBEs that are unanswered on the present connection. A filter that was refused, or whose SUBACK never came,
 * is asked for again on the next connection.
 */
import type { SubscriptionRequest } from './options.ts'

export interface Subscription extends SubscriptionRequest {
  state: 'wanted' | 'asked' | 'granted'
}

interface OpenSubscribe {
  readonly subscriptions: readonly Subscription[]
  readonly sentAtMs: number
}

export class Subscriptions {
  private readonly all: Subscription[] = []
  private open: Map<number, OpenSubscribe> | undefined

  get anyOpen(): boolean {
    return this.open !== undefined
  }

  holds(packetId: number): boolean {
    return this.open?.has(packetId) === true
  }

  /** A filter that is known already is replaced. */
  add({ filter, qos }: SubscriptionRequest): void {
    const index = this.all.findIndex((known) => known.filter === filter)
    const subscription: Subscription = { filter, qos, state: 'wanted' }
    if (index === -1) this.all.push(subscription)
    else this.all[index] = subscription
  }

  /** A new connection; `kept`: the server still has what it granted. */
  restart(kept: boolean): void {
    this.open = undefined
    for (const subscription of this.all) {
      if (!kept || subscription.state !== 'granted') subscription.state = 'wanted'
    }
  }

  wanted(): readonly Subscription[] {
    return this.all.filter((subscription) => subscription.state === 'wanted')
  }

  asked(packetId: number, subscriptions: readonly Subscription[], nowMs: number): void {
    for (const subscription of subscriptions) subscription.state = 'asked'
    this.open ??= new Map()
    this.open.set(packetId, { subscriptions, sentAtMs: nowMs })
  }

  /** How many filters the open SUBSCRIBE of this id has; 0 when there is none. */
  filtersOf(packetId: number): number {
    return this.open?.get(packetId)?.subscriptions.length ?? 0
  }

  /** The server answered each filter of the open SUBSCRIBE of this id. */
  answered(packetId: number, reasonCodes: readonly number[]): void {
    for (const [index, subscription] of this.open!.get(packetId)!.subscriptions.entries()) {
      if (subscription.state === 'asked' && reasonCodes[index]! < 0x80) subscription.state = 'granted'
    }
    if (this.open!.size === 1) this.open = undefined
    else this.open!.delete(packetId)
  }

  oldestSentAtMs(): number {
    let oldestMs = Number.POSITIVE_INFINITY
    if (this.open !== undefined) for (const open of this.open.values()) oldestMs = Math.min(oldestMs, open.sentAtMs)
    return oldestMs
  }
}
