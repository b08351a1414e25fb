/**
 * SUBSCRIBE and UNSUBSCRIBE: what is granted, and the answer once everyone who has to know it knows it durably [MQTT-3.8.4-1].
 *
 * Each filter is judged by itself, in order, as if it had come alone [MQTT-3.8.4-5]; what is granted is what was asked for, or nothing.
 */
import { subscribeRefusal, type User } from '../access.ts'
import type { Subscription } from '../wire/messages.ts'
import { encodePacket } from '../wire/mqtt-codec.ts'
import type { Subscribe, SubscribeRequest, Unsubscribe } from '../wire/packets.ts'
import { parseShared } from '../wire/topic.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ProxyContext } from './proxy-context.ts'
import { reason } from './reasons.ts'
import type { Subscriptions } from './subscriptions.ts'

/** SUBACK's failure of MQTT 3.1.1, which has no reason codes. */
const FAILURE_3X = 0x80

export class SubscribeHandler {
  private readonly context: ProxyContext
  private readonly client: ClientConnection
  private readonly user: User | 'anyone'
  private readonly subscriptions: Subscriptions

  constructor(context: ProxyContext, client: ClientConnection, user: User | 'anyone', subscriptions: Subscriptions) {
    this.context = context
    this.client = client
    this.user = user
    this.subscriptions = subscriptions
  }

  onSubscribe(packet: Subscribe): void {
    const { client } = this
    const identifier = packet.properties?.subscriptionIdentifiers?.[0] ?? 0
    const reasonCodes: number[] = []
    this.subscriptions.run(
      (list) => {
        const byFilter = new Map(list.map((subscription) => [subscription.filter, subscription]))
        const touched: string[] = []
        for (const request of packet.subscriptions) {
          const refusal = this.refusalOf(request, byFilter)
          if (refusal !== undefined) {
            reasonCodes.push(refusal)
            continue
          }
          // A repetition replaces the subscription [MQTT-3.8.4-3]. Options that 3.x does not have are 0 in its packets.
          byFilter.set(request.filter, asSubscription(request, identifier))
          touched.push(request.filter)
          reasonCodes.push(request.qos)
        }
        return { list: [...byFilter.values()], touched }
      },
      () => {
        if (client.isClosed()) return
        if (client.version === 5) this.answer(packet.packetId, reasonCodes)
        // MQTT 3.x cannot say "quota exceeded": the product closes the connection.
        else if (reasonCodes.includes(reason.quotaExceeded)) client.disconnect(reason.quotaExceeded, 'too many topic filters')
        else
          this.answer(
            packet.packetId,
            reasonCodes.map((code) => (code > FAILURE_3X ? FAILURE_3X : code)),
          )
      },
    )
  }

  private answer(packetId: number, reasonCodes: readonly number[]): void {
    this.client.sendWhenConfirmed(encodePacket({ type: 'suback', packetId, reasonCodes }, this.client.version))
  }

  private refusalOf({ filter }: SubscribeRequest, byFilter: ReadonlyMap<string, Subscription>): number | undefined {
    // The codec lets it pass in 3.x only, where the standard gives `$share/` no meaning; this service does, in every version.
    if (filter.startsWith('$share/') && parseShared(filter) === undefined) return reason.topicFilterInvalid
    const refusal = subscribeRefusal(this.context.access, this.user, filter)
    if (refusal !== undefined) return refusal === 'not-authorized' ? reason.notAuthorized : reason.topicFilterInvalid
    if (!byFilter.has(filter) && byFilter.size >= this.context.settings.proxy.maximumFilters) return reason.quotaExceeded
    return undefined
  }

  onUnsubscribe(packet: Unsubscribe): void {
    const { client } = this
    const codes: number[] = []
    this.subscriptions.run(
      (list) => {
        const byFilter = new Map(list.map((subscription) => [subscription.filter, subscription]))
        const touched: string[] = []
        for (const filter of packet.filters) {
          const existed = byFilter.delete(filter)
          codes.push(existed ? reason.success : reason.noSubscriptionExisted)
          if (existed) touched.push(filter)
        }
        return { list: [...byFilter.values()], touched }
      },
      () => {
        if (client.isClosed()) return
        const reasonCodes = client.version === 5 ? codes : []
        client.sendWhenConfirmed(encodePacket({ type: 'unsuback', packetId: packet.packetId, reasonCodes }, client.version))
      },
    )
  }
}

function asSubscription(request: SubscribeRequest, subscriptionIdentifier: number): Subscription {
  const { filter, qos, noLocal, retainAsPublished, retainHandling } = request
  return { filter, qos, noLocal, retainAsPublished, retainHandling, subscriptionIdentifier }
}
