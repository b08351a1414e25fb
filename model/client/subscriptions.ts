/**
 * What a client wants to be subscribed to, its SUBSCRIBEs and UNSUBSCRIBEs, and which of them are unanswered on the present connection.
 *
 * A filter that was refused, or whose SUBACK never came, is asked for again on the next connection. An UNSUBSCRIBE that was not answered, or not sent, is sent on
 * the next connection where that is into the same session, and dropped otherwise: then there is nothing to leave. One SUBSCRIBE carries one subscription identifier,
 * so those with different ones go apart.
 */
import { encodePacket } from '../wire/mqtt-codec.ts'
import type { Suback, Unsuback } from '../wire/packets.ts'
import type { ClientCore } from './core.ts'
import { countReason } from './counters.ts'
import type { SubscriptionRequest } from './options.ts'

interface Subscription {
  readonly request: SubscriptionRequest
  state: 'wanted' | 'asked' | 'granted' | 'unwanted' | 'leaving'
}

interface OpenRequest {
  readonly kind: 'subscribe' | 'unsubscribe'
  readonly subscriptions: readonly Subscription[]
  readonly sentAtMs: number
}

export class Subscriptions {
  private readonly core: ClientCore
  private all: Subscription[] = []
  private open: Map<number, OpenRequest> | undefined

  constructor(core: ClientCore) {
    this.core = core
  }

  /** Whether a SUBSCRIBE is unanswered. */
  get anyAsked(): boolean {
    if (this.open !== undefined) for (const { kind } of this.open.values()) if (kind === 'subscribe') return true
    return false
  }

  holds(packetId: number): boolean {
    return this.open?.has(packetId) === true
  }

  /** A filter that is known already is replaced, and asked for again. */
  want(request: SubscriptionRequest): void {
    this.put({ request, state: 'wanted' })
  }

  leave(filter: string): void {
    this.put({ request: { filter, qos: 0 }, state: 'unwanted' })
  }

  /** CONNACK accepted. `resumed`: into the session of before; `kept`: the client relies on what was granted in it. */
  restart(resumed: boolean, kept: boolean): void {
    this.open = undefined
    if (!resumed && this.all.some(isLeaving)) this.all = this.all.filter((subscription) => !isLeaving(subscription))
    for (const subscription of this.all) {
      if (subscription.state === 'leaving') subscription.state = 'unwanted'
      else if (subscription.state === 'asked' || (subscription.state === 'granted' && !kept)) subscription.state = 'wanted'
    }
  }

  /** Sends what the application asked for since the last call. */
  send(): void {
    if (this.core.accepted === undefined) return
    this.sendUnsubscribe()
    let wanted = this.all.filter(({ state }) => state === 'wanted')
    while (wanted.length > 0) {
      const { subscriptionIdentifier } = wanted[0]!.request
      const alike = (one: Subscription): boolean => this.core.version < 5 || one.request.subscriptionIdentifier === subscriptionIdentifier
      this.sendSubscribe(wanted.filter(alike), subscriptionIdentifier)
      wanted = wanted.filter((one) => !alike(one))
    }
  }

  /** @returns false when it answered no SUBSCRIBE, or not as it should */
  onSuback({ packetId, reasonCodes }: Suback): boolean {
    const { core } = this
    const subscriptions = this.openOf('subscribe', packetId)
    if (subscriptions === undefined) return false
    if (reasonCodes.length !== subscriptions.length) {
      core.violated('SUBACK with a reason code for not every filter [MQTT-3.8.4-6]', 0x82)
      return false
    }
    core.answered()
    for (const [index, subscription] of subscriptions.entries()) {
      const reasonCode = reasonCodes[index]!
      if (reasonCode >= 0x80) countReason(core.options.counters, 'suback', reasonCode)
      else if (subscription.state === 'asked') subscription.state = 'granted'
    }
    this.close(packetId)
    return true
  }

  onUnsuback({ packetId, reasonCodes }: Unsuback): void {
    const { core } = this
    const subscriptions = this.openOf('unsubscribe', packetId)
    if (subscriptions === undefined) return
    if (core.version === 5 && reasonCodes.length !== subscriptions.length) {
      core.violated('UNSUBACK with a reason code for not every filter [MQTT-3.11.3-2]', 0x82)
      return
    }
    core.answered()
    for (const reasonCode of reasonCodes) if (reasonCode >= 0x80) countReason(core.options.counters, 'unsuback', reasonCode)
    // By identity: a filter that is wanted again meanwhile is another entry.
    this.all = this.all.filter((subscription) => !subscriptions.includes(subscription))
    this.close(packetId)
  }

  oldestSentAtMs(): number {
    let oldestMs = Number.POSITIVE_INFINITY
    if (this.open !== undefined) for (const open of this.open.values()) oldestMs = Math.min(oldestMs, open.sentAtMs)
    return oldestMs
  }

  private put(subscription: Subscription): void {
    const index = this.all.findIndex(({ request }) => request.filter === subscription.request.filter)
    if (index === -1) this.all.push(subscription)
    else this.all[index] = subscription
  }

  private sendSubscribe(wanted: readonly Subscription[], subscriptionIdentifier: number | undefined): void {
    const packetId = this.core.unusedPacketId()
    const subscriptions = wanted.map(
      ({ request: { filter, qos, noLocal = false, retainAsPublished = false, retainHandling = 0 } }) =>
        ({ filter, qos, noLocal, retainAsPublished, retainHandling }) as const,
    )
    const properties = subscriptionIdentifier === undefined ? {} : { properties: { subscriptionIdentifiers: [subscriptionIdentifier] } }
    this.ask('subscribe', packetId, wanted, encodePacket({ type: 'subscribe', packetId, subscriptions, ...properties }, this.core.version))
  }

  private sendUnsubscribe(): void {
    if (!this.all.some(({ state }) => state === 'unwanted')) return
    const unwanted = this.all.filter(({ state }) => state === 'unwanted')
    const packetId = this.core.unusedPacketId()
    const filters = unwanted.map(({ request }) => request.filter)
    this.ask('unsubscribe', packetId, unwanted, encodePacket({ type: 'unsubscribe', packetId, filters }, this.core.version))
  }

  private ask(kind: OpenRequest['kind'], packetId: number, subscriptions: readonly Subscription[], bytes: Buffer): void {
    const nowMs = this.core.host.nowMs()
    for (const subscription of subscriptions) subscription.state = kind === 'subscribe' ? 'asked' : 'leaving'
    this.open ??= new Map()
    this.open.set(packetId, { kind, subscriptions, sentAtMs: nowMs })
    this.core.sendForAnswer(bytes, nowMs)
  }

  /** What the open request of this kind and id named. Counts an answer to nothing. */
  private openOf(kind: OpenRequest['kind'], packetId: number): readonly Subscription[] | undefined {
    const open = this.open?.get(packetId)
    if (open?.kind === kind) return open.subscriptions
    this.core.options.counters.unexpectedAcknowledgements++
    return undefined
  }

  private close(packetId: number): void {
    if (this.open!.size === 1) this.open = undefined
    else this.open!.delete(packetId)
  }
}

function isLeaving({ state }: Subscription): boolean {
  return state === 'unwanted' || state === 'leaving'
}
