/** What a client and its session have to do with each other while it is connected: each packet to the part that deals with it, and what the shards say to the client. */

import type { User } from '../access.ts'
import type { MessageOf } from '../wire/messages.ts'
import { encodeAcknowledgement, encodePacket } from '../wire/mqtt-codec.ts'
import type { Acknowledgement, Packet } from '../wire/packets.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Handshake } from './handshake.ts'
import type { Outlet } from './outlet.ts'
import type { ProxyContext } from './proxy-context.ts'
import { Publishing } from './publishing.ts'
import { REFUSALS_FROM, reason } from './reasons.ts'
import type { ShardDomain } from './shard-domain.ts'
import { SubscribeHandler } from './subscribe-handler.ts'
import { type Delivery, Subscriber } from './subscriber.ts'
import { Subscriptions } from './subscriptions.ts'

export class ConnectedSession {
  private readonly context: ProxyContext
  private readonly client: ClientConnection
  private readonly user: User | 'anyone'
  /** Undefined before the first publish: many only listen. */
  private publishing: Publishing | undefined
  private readonly subscriber: Subscriber
  private readonly subscriptions: Subscriptions
  private readonly subscribing: SubscribeHandler

  constructor(context: ProxyContext, client: ClientConnection, outlet: Outlet, handshake: Handshake, opened: MessageOf<'sessionOpened'>) {
    const { counts, settings } = context
    const { version, receiveMaximum: windowSize, maximumPacketBytes, topicAliasMaximum, user } = handshake
    this.context = context
    this.client = client
    this.user = user
    this.subscriber = new Subscriber({ counts, version, windowSize, maximumPacketBytes, topicAliasMaximum }, outlet)
    this.subscriptions = new Subscriptions(counts, settings.proxy.requestTimeoutMs, client, opened)
    this.subscribing = new SubscribeHandler(context, client, user, this.subscriptions)
  }

  onPacket(packet: Packet): void {
    const { client } = this
    switch (packet.type) {
      case 'publish':
        this.publisher().onPublish(packet)
        break
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        this.onAnswer(packet)
        break
      case 'pubrel':
        this.publisher().onPubrel(packet.packetId)
        break
      case 'subscribe':
        this.subscribing.onSubscribe(packet)
        break
      case 'unsubscribe':
        this.subscribing.onUnsubscribe(packet)
        break
      case 'pingreq':
        client.sendWhenConfirmed(encodePacket({ type: 'pingresp' }, client.version))
        break
      case 'disconnect':
        client.onDisconnect(packet)
        break
      case 'connect':
        client.disconnect(reason.protocolError, 'a second CONNECT [MQTT-3.1.0-2]')
        break
      default:
        // AUTH: nobody gets here by an authentication method, and without one it must not be sent [MQTT-4.12.0-7].
        client.disconnect(reason.protocolError, `${packet.type} is not expected here`)
    }
  }

  private publisher(): Publishing {
    this.publishing ??= new Publishing(this.context, this.client, this.user)
    return this.publishing
  }

  /** An answer to a message that was sent to the client. */
  private onAnswer({ type, packetId, reasonCode }: Acknowledgement): void {
    const { client, subscriber } = this
    const verdict =
      type === 'puback'
        ? subscriber.onPuback(packetId, reasonCode)
        : type === 'pubrec'
          ? subscriber.onPubrec(packetId, reasonCode)
          : subscriber.onPubcomp(packetId)
    if (verdict === 'wrong-type') client.disconnect(reason.protocolError, `${type} for a message that waits for another answer`)
    // A PUBREC is answered by PUBREL [MQTT-4.3.3-4]; that its id is not known is no error while sessions are recovered (section 3.6.2.1). Of a session that goes on,
    // the shard with the place may not have spoken yet: it will deliver or release it on this connection, and no PUBREL may leave before it has stored the receipt.
    else if (verdict === 'unknown' && type === 'pubrec' && reasonCode < REFUSALS_FROM && !client.wasResumed) {
      client.sendWhenConfirmed(encodeAcknowledgement('pubrel', packetId, reason.success, client.version))
    }
  }

  deliver(delivery: Delivery): void {
    // A new owner of the queue cannot know what the former one sent; this connection knows what was before its own time [MQTT-3.3.1-3].
    const dup = delivery.dup && this.client.wasResumed && this.subscriptions.mayHaveBeenSent(delivery.shard, delivery.sequence)
    this.subscriber.take(dup === delivery.dup ? delivery : { ...delivery, dup })
  }

  /** The shard's word that the client's PUBREC for a place is durable. */
  release(shard: number, sequence: number): void {
    this.subscriber.release(shard, sequence)
  }

  /** The shard of the session, or of a subscription, has a new owner or a new link to it. */
  onTerm(domain: ShardDomain): void {
    if (domain === this.client.sessionDomain) this.publishing?.onSessionTerm()
    this.subscriptions.pursueAll()
  }

  sendAcknowledgements(): void {
    this.publishing?.sendAcknowledgements()
  }

  sendMessages(): void {
    this.subscriber.flush()
  }

  /** The connection is over: nothing of it is sent again, and its messages wait in their queues. */
  abandon(): void {
    this.publishing?.abandon()
    this.subscriptions.detach()
  }
}
