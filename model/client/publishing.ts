/**
 * The sender's side of PUBLISH: QoS 0, 1 and 2 out.
 *
 * Promises: publishes leave in the order of `publish`, what is sent again first; nothing is sent again on a connection on which it was sent [MQTT-4.4.0-1]; no more
 * publishes are open than the server's Receive Maximum [MQTT-3.3.4-7]; a PUBLISH whose PUBREC came is never sent again [MQTT-4.3.3-6]. The application is told of
 * each QoS 1 and 2 publish once, at PUBACK or PUBREC; of one that its profile gives up with the session it is not told, and it is counted as dropped.
 */
import { encodeAcknowledgement, encodePublish } from '../wire/mqtt-codec.ts'
import type { Acknowledgement } from '../wire/packets.ts'
import { cleanStartOf } from './connect.ts'
import type { ClientCore } from './core.ts'
import { countReason } from './counters.ts'
import type { OutgoingMessage } from './options.ts'
import { OutgoingPublish, OutgoingStore } from './outgoing.ts'

/** Of the 65,535 packet ids, those that publishes may hold: the rest is for subscribes, so that there is always one to find. */
const PUBLISHES_IN_FLIGHT_AT_MOST = 65_000
/** Packet Identifier not found. */
const NOT_FOUND = 0x92

export function sendAtMostOnce(core: ClientCore, publish: OutgoingPublish): void {
  const { counters } = core.options
  const bytes = encodePublish(publish, core.version)
  if (core.limits.refusalOf(publish, bytes.length) !== 0) {
    counters.refused++
    return
  }
  counters.sent++
  core.send(bytes)
}

export class Publishing {
  private readonly core: ClientCore
  private readonly store = new OutgoingStore()

  constructor(core: ClientCore) {
    this.core = core
  }

  /** Publishes that are not done with. */
  get unfinished(): number {
    return this.store.openCount + this.store.waitingCount
  }

  get replaying(): boolean {
    return this.store.replayLeft > 0
  }

  holds(packetId: number): boolean {
    return this.store.holds(packetId)
  }

  oldestSentAtMs(): number {
    return this.store.oldestSentAtMs()
  }

  /** @returns false when it would have to wait, and too many do. */
  enqueue(message: OutgoingMessage, token: number): boolean {
    if (this.store.waitingCount >= this.core.options.profile.queueLimit && !this.sendsAtOnce) return false
    this.store.enqueue(new OutgoingPublish(message, token))
    return true
  }

  /** CONNACK accepted; `resumed`: into the session that the open publishes belong to. */
  restart(resumed: boolean): void {
    const { options } = this.core
    const { profile, counters } = options
    const { unacknowledgedWithoutSession: habit } = profile
    const dropped = habit === 'drop' || (habit === 'drop-if-clean' && cleanStartOf(options))
    if (resumed || (habit !== 'publish-again' && !dropped)) this.store.resume(profile.resendSetsDup, profile.replayOneByOne)
    else if (dropped) counters.dropped += this.store.giveUp()
    else counters.publishedAgain += this.store.startOver()
  }

  private get sendsAtOnce(): boolean {
    return this.core.accepted !== undefined && this.core.writable && this.store.hasRoom(this.window)
  }

  private get window(): number {
    return Math.min(this.core.options.profile.inFlightLimit, this.core.limits.receiveMaximum, PUBLISHES_IN_FLIGHT_AT_MOST)
  }

  sendWaiting(): void {
    const { core, store } = this
    if (core.accepted === undefined) return
    for (let packetId = store.nextRelease(); packetId !== 0; packetId = store.nextRelease()) {
      const nowMs = core.host.nowMs()
      store.releaseSent(packetId, nowMs)
      core.sendForAnswer(encodeAcknowledgement('pubrel', packetId, 0, core.version), nowMs)
    }
    const { window } = this
    while (core.writable && core.accepted !== undefined) {
      const publish = store.next(window)
      if (publish === undefined) return
      if (publish.qos === 0) {
        store.settled()
        sendAtMostOnce(core, publish)
      } else this.send(publish)
    }
  }

  onPuback({ packetId, reasonCode }: Acknowledgement): void {
    const publish = this.store.written(packetId)
    if (publish === undefined) this.core.options.counters.unexpectedAcknowledgements++
    else if (publish.qos === 2) this.core.violated('PUBACK of a QoS 2 PUBLISH [MQTT-3.3.4-1]', 0x82)
    else {
      this.store.acknowledged(publish)
      this.tell(publish, 'puback', reasonCode)
    }
  }

  onPubrec({ packetId, reasonCode }: Acknowledgement): void {
    const { core, store } = this
    const publish = store.written(packetId)
    if (publish === undefined) this.onPubrecAgain(packetId, reasonCode)
    else if (publish.qos === 1) core.violated('PUBREC of a QoS 1 PUBLISH [MQTT-3.3.4-1]', 0x82)
    else {
      if (reasonCode >= 0x80) store.acknowledged(publish)
      else {
        const nowMs = core.host.nowMs()
        store.received(publish, nowMs)
        core.sendForAnswer(encodeAcknowledgement('pubrel', packetId, 0, core.version), nowMs)
      }
      this.tell(publish, 'pubrec', reasonCode)
    }
  }

  onPubcomp({ packetId, reasonCode }: Acknowledgement): void {
    const { core, store } = this
    if (!store.releaseWritten(packetId)) {
      if (store.written(packetId) === undefined) core.options.counters.unexpectedAcknowledgements++
      else core.violated('PUBCOMP without a PUBREL [MQTT-4.3.3-11]', 0x82)
      return
    }
    store.completed(packetId)
    if (reasonCode >= 0x80) countReason(core.options.counters, 'pubcomp', reasonCode)
    core.answered()
    core.pump()
  }

  /** A PUBREC for no open PUBLISH of this connection: a PUBREL answers it, or it would be said again (mosquitto's lib/handle_pubrec.c does the same). */
  private onPubrecAgain(packetId: number, reasonCode: number): void {
    const { core, store } = this
    core.options.counters.unexpectedAcknowledgements++
    // One to be sent again keeps its place in the order; to a refusal nothing is answered [MQTT-4.3.3-4].
    if (reasonCode >= 0x80 || (store.holds(packetId) && !store.releaseWritten(packetId))) return
    core.send(encodeAcknowledgement('pubrel', packetId, store.holds(packetId) ? 0 : NOT_FOUND, core.version))
  }

  private send(publish: OutgoingPublish): void {
    const { core, store } = this
    const { counters } = core.options
    const isNew = publish.packetId === 0
    if (isNew) publish.packetId = core.unusedPacketId()
    const bytes = encodePublish(publish, core.version)
    const refusal = core.limits.refusalOf(publish, bytes.length)
    if (refusal !== 0) {
      store.abandon(publish)
      counters.refused++
      core.listener.onPublished(publish.token, refusal)
      return
    }
    const nowMs = core.host.nowMs()
    store.sent(publish, nowMs)
    if (isNew) counters.sent++
    else counters.resent++
    core.sendForAnswer(bytes, nowMs)
  }

  private tell(publish: OutgoingPublish, packetType: string, reasonCode: number): void {
    const { core } = this
    const { counters } = core.options
    core.answered()
    if (reasonCode >= 0x80) {
      counters.refused++
      countReason(counters, packetType, reasonCode)
    } else counters.acknowledged++
    const connection = core.accepted
    core.listener.onPublished(publish.token, reasonCode)
    if (connection === core.accepted) core.pump()
  }
}
