/** SUBSCRIBE and UNSUBSCRIBE: what is granted, and the answer once everyone who has to know it knows it durably [MQTT-3.8.4-1]. */
import type { Subscription } from '../wire/messages.ts'
import { encodePacket } from '../wire/mqtt-codec.ts'
import type { Subscribe, Unsubscribe } from '../wire/packets.ts'
import { parseShared } from '../wire/topic.ts'
import { type ClientConnection, reason } from './client-connection.ts'
import type { Subscriptions } from './subscriptions.ts'

/** The highest QoS that is offered, and granted in place of a higher one [MQTT-3.8.4-7]. */
const MAXIMUM_QOS = 1
/** SUBACK's failure of MQTT 3.1.1, which has no reason codes. */
const FAILURE_3X = 0x80
const NO_SUBSCRIPTION_EXISTED = 0x11

export function answerSubscribe(client: ClientConnection, subscriptions: Subscriptions, packet: Subscribe, maximumFilters: number): void {
  const reasonCodes: number[] = []
  let overLimit = false
  subscriptions.run(
    (list) => {
      const byFilter = new Map(list.map((subscription) => [subscription.filter, subscription]))
      const touched: string[] = []
      for (const request of packet.subscriptions) {
        if (parseShared(request.filter) !== undefined) {
          reasonCodes.push(client.version === 5 ? reason.sharedSubscriptionsNotSupported : FAILURE_3X)
          continue
        }
        if (!byFilter.has(request.filter) && byFilter.size >= maximumFilters) {
          overLimit = true
          reasonCodes.push(reason.quotaExceeded)
          continue
        }
        const granted: Subscription = {
          filter: request.filter,
          qos: Math.min(request.qos, MAXIMUM_QOS),
          noLocal: request.noLocal,
          // 3.x has no such option, and clears the flag when it forwards [MQTT-3.3.1-9 of 3.1.1].
          retainAsPublished: request.retainAsPublished,
          retainHandling: request.retainHandling,
          subscriptionIdentifier: packet.properties?.subscriptionIdentifiers?.[0] ?? 0,
        }
        byFilter.set(request.filter, granted)
        touched.push(request.filter)
        reasonCodes.push(granted.qos)
      }
      return { list: [...byFilter.values()], touched }
    },
    () => {
      if (client.isClosed()) return
      // MQTT 3.x cannot say "quota exceeded": the product closes the connection.
      if (overLimit && client.version !== 5) client.disconnect(reason.quotaExceeded, 'too many topic filters')
      else client.sendWhenConfirmed(encodePacket({ type: 'suback', packetId: packet.packetId, reasonCodes }, client.version))
    },
  )
}

export function answerUnsubscribe(client: ClientConnection, subscriptions: Subscriptions, packet: Unsubscribe): void {
  const codes: number[] = []
  subscriptions.run(
    (list) => {
      const byFilter = new Map(list.map((subscription) => [subscription.filter, subscription]))
      const touched: string[] = []
      for (const filter of packet.filters) {
        const existed = byFilter.delete(filter)
        codes.push(existed ? reason.success : NO_SUBSCRIPTION_EXISTED)
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
