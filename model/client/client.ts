/**
 * An MQTT 3.1, 3.1.1 or 5 client with the habits of a profile: it resolves the access name, connects, keeps alive, notices dead paths, backs off, reconnects,
 * subscribes again and sends again, for as long as it runs. QoS 0, 1 and 2 both ways. This file is what the application calls, and which part gets which packet.
 *
 * Promises: a packet id belongs to one open publish, subscribe or unsubscribe; an MQTT 5 server's Receive Maximum [MQTT-3.3.4-7], Maximum Packet Size, Maximum QoS,
 * Retain Available and Server Keep Alive are respected; nothing is sent again but after a reconnect [MQTT-4.4.0-1]. What publishing, receiving and subscribing promise
 * stands in their files. What a client does not use (QoS 2, publishes, subscriptions, a will) it has no memory for.
 *
 * Left out: topic aliases, enhanced authentication (its AUTH counts as a violation), and of TLS all but its cost and round trips; the session's state does not outlive the process.
 */
import type { Packet } from '../wire/packets.ts'
import type { ClientCore } from './core.ts'
import type { OutgoingMessage, SubscriptionRequest } from './options.ts'
import { OutgoingPublish } from './outgoing.ts'
import { Publishing, sendAtMostOnce } from './publishing.ts'
import { receivePublish, receiveRelease } from './receiving.ts'
import { ReconnectingConnection } from './reconnecting-connection.ts'
import { Subscriptions } from './subscriptions.ts'

const NEVER = Number.POSITIVE_INFINITY

export class MqttClient extends ReconnectingConnection implements ClientCore {
  unreleased: Set<number> | undefined
  private publishing: Publishing | undefined
  private subscriptions: Subscriptions | undefined
  private lastPacketId = 0

  /** Publishes that are not done with: sent or not, without PUBACK or, of QoS 2, without PUBCOMP. */
  get unacknowledged(): number {
    return this.publishing === undefined ? 0 : this.publishing.unfinished
  }

  /**
   * Sends a message now or, where it must wait for the connection or the window, later.
   * @returns false when it was dropped: QoS 0 without a connection (for most profiles), or too many wait.
   */
  publish(message: OutgoingMessage, token = 0): boolean {
    const { counters, profile } = this.options
    counters.published++
    if (this.state === 'stopped') return this.dropped()
    if (message.qos === 0 && this.state === 'connected' && !this.replaying) {
      sendAtMostOnce(this, new OutgoingPublish(message, token))
      return true
    }
    if (message.qos === 0 && !profile.queuesQoS0) return this.dropped()
    this.publishing ??= new Publishing(this)
    if (!this.publishing.enqueue(message, token)) return this.dropped()
    this.pump()
    return true
  }

  /** Adds subscriptions, or replaces those of the same filters (which asks the server for retained messages again), and keeps them in force over reconnects. */
  subscribe(requests: readonly SubscriptionRequest[]): void {
    this.subscriptions ??= new Subscriptions(this)
    for (const request of requests) this.subscriptions.want(request)
    if (!this.replaying) this.subscriptions.send()
  }

  /** Gives up subscriptions, known to this client or not. */
  unsubscribe(filters: readonly string[]): void {
    this.subscriptions ??= new Subscriptions(this)
    for (const filter of filters) this.subscriptions.leave(filter)
    if (!this.replaying) this.subscriptions.send()
  }

  /** Once a replay is over, whatever was the last of it, the subscriptions follow. */
  pump(): void {
    this.publishing?.sendWaiting()
    if (this.ready || this.replaying) return
    this.subscriptions?.send()
    this.becomeReady()
  }

  unusedPacketId(): number {
    let packetId = this.lastPacketId
    do packetId = packetId === 0xffff ? 1 : packetId + 1
    while (this.publishing?.holds(packetId) === true || this.subscriptions?.holds(packetId) === true)
    this.lastPacketId = packetId
    return packetId
  }

  // What the connection tells.

  protected onSessionPacket(packet: Packet): void {
    switch (packet.type) {
      case 'publish':
        receivePublish(this, packet)
        return
      case 'pubrel':
        receiveRelease(this, packet)
        return
      case 'puback':
        this.publisher().onPuback(packet)
        return
      case 'pubrec':
        this.publisher().onPubrec(packet)
        return
      case 'pubcomp':
        this.publisher().onPubcomp(packet)
        return
      case 'suback':
        if (this.subscriber().onSuback(packet)) this.becomeReady()
        return
      case 'unsuback':
        this.subscriber().onUnsuback(packet)
        return
      default:
        this.violated(`${packet.type} out of place`, 0x82)
    }
  }

  protected onSession(resumed: boolean, kept: boolean): void {
    if (!resumed) this.unreleased = undefined
    this.publishing?.restart(resumed)
    this.subscriptions?.restart(resumed, kept)
    if (!this.replaying) this.subscriptions?.send()
  }

  protected oldestUnansweredMs(): number {
    return Math.min(this.publishing?.oldestSentAtMs() ?? NEVER, this.subscriptions?.oldestSentAtMs() ?? NEVER)
  }

  private publisher(): Publishing {
    this.publishing ??= new Publishing(this)
    return this.publishing
  }

  private subscriber(): Subscriptions {
    this.subscriptions ??= new Subscriptions(this)
    return this.subscriptions
  }

  private get replaying(): boolean {
    return this.publishing?.replaying === true
  }

  private dropped(): false {
    this.options.counters.dropped++
    return false
  }

  private becomeReady(): void {
    if (this.state !== 'connected' || this.ready || this.replaying || this.subscriptions?.anyAsked === true) return
    this.ready = true
    this.listener.onReady()
  }
}
