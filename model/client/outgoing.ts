/**
 * The publishes a client has open or waiting. Open ones hold a packet id and stay, across connections: a PUBLISH, in the order of first sending, until it is
 * acknowledged; of QoS 2, what is left of it then is a PUBREL, in the order of the PUBRECs, until PUBCOMP. Waiting ones are sent in the order of publishing once
 * the window has room.
 *
 * Promises: an id belongs to one open publish; after a reconnect the PUBRELs go first, which no window holds back [MQTT-3.3.4-8], in their order [MQTT-4.6.0-4],
 * then the PUBLISHes in theirs [MQTT-4.6.0-1], then what is new. Both count for the window, on each connection until PUBACK or PUBCOMP: for a PUBREL sent again
 * MQTT 5 section 4.9 would not ask for it.
 * Left out: persistence (a client that restarts has forgotten its publishes); MQTT.js replays PUBRELs and PUBLISHes in one order, that of first sending.
 */
import { appended, NONE } from '../small-list.ts'
import type { Properties, QoS } from '../wire/packets.ts'
import type { OutgoingMessage } from './options.ts'

const NOT_SENT = -1

/** A message on its way out; also what `encodePublish` takes. */
export class OutgoingPublish {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: QoS
  readonly retain: boolean
  readonly token: number
  readonly properties?: Properties
  packetId = 0
  dup = false
  /** When it was written to the present connection. */
  sentAtMs = NOT_SENT

  constructor(message: OutgoingMessage, token: number) {
    this.topic = message.topic
    this.payload = message.payload
    this.qos = message.qos
    this.retain = message.retain
    this.token = token
    if (message.properties !== undefined) this.properties = message.properties
  }
}

export class OutgoingStore {
  /** By packet id, in the order of first sending. */
  private open = new Map<number, OutgoingPublish>()
  /** Packet ids whose PUBREL awaits PUBCOMP, in the order of the PUBRECs, and when it was written to the present connection. Made with the first. */
  private released: Map<number, number> | undefined
  private waiting: OutgoingPublish[] = NONE
  private waitingHead = 0
  /** How many packets of the present connection await PUBACK, PUBREC or PUBCOMP. */
  private onTheWire = 0
  /** Walk over what is still to be sent again; undefined when nothing is. */
  private releasesAgain: Iterator<number> | undefined
  private publishesAgain: Iterator<OutgoingPublish> | undefined
  /** How many of the publishes that a replay one by one began with are not settled. */
  replayLeft = 0

  /** Open ones, whether PUBLISH or PUBREL. */
  get openCount(): number {
    return this.open.size + (this.released === undefined ? 0 : this.released.size)
  }

  get waitingCount(): number {
    return this.waiting.length - this.waitingHead
  }

  holds(packetId: number): boolean {
    return this.open.has(packetId) || this.released?.has(packetId) === true
  }

  enqueue(publish: OutgoingPublish): void {
    this.waiting = appended(this.waiting, publish)
  }

  /** A connection is up and the open publishes belong to its session: they will be sent again under their ids. */
  resume(setDup: boolean, oneByOne: boolean): void {
    this.onTheWire = 0
    this.releasesAgain = undefined
    this.publishesAgain = undefined
    if (this.released !== undefined && this.released.size > 0) {
      for (const packetId of this.released.keys()) this.released.set(packetId, NOT_SENT)
      this.releasesAgain = this.released.keys()
    }
    if (this.open.size > 0) {
      for (const publish of this.open.values()) {
        publish.sentAtMs = NOT_SENT
        publish.dup = setDup
      }
      this.publishesAgain = this.open.values()
    }
    this.replayLeft = oneByOne ? this.openCount + this.waitingCount : 0
  }

  /**
   * A connection is up without a session: what the server had not acknowledged becomes new publications, ahead of what waits. What it had received is done with.
   * @returns how many are new
   */
  startOver(): number {
    const again = [...this.open.values()]
    for (const publish of again) {
      publish.packetId = 0
      publish.dup = false
      publish.sentAtMs = NOT_SENT
    }
    this.forgetAllBut(again.concat(this.waitingHead === 0 ? this.waiting : this.waiting.slice(this.waitingHead)))
    return again.length
  }

  /** A connection is up without a session: all that was open or waiting is given up. @returns how many */
  giveUp(): number {
    const count = this.open.size + this.waitingCount
    this.forgetAllBut([])
    return count
  }

  private forgetAllBut(waiting: OutgoingPublish[]): void {
    this.open = new Map()
    this.released = undefined
    this.waiting = waiting
    this.waitingHead = 0
    this.onTheWire = 0
    this.releasesAgain = undefined
    this.publishesAgain = undefined
    this.replayLeft = 0
  }

  /** Whether a new publish could be sent at once: nothing is ahead of it, and the window has room. */
  hasRoom(window: number): boolean {
    return (
      this.replayLeft === 0 &&
      this.releasesAgain === undefined &&
      this.publishesAgain === undefined &&
      this.waitingCount === 0 &&
      this.onTheWire < window
    )
  }

  /** The packet id of the PUBREL to send again next, or 0. */
  nextRelease(): number {
    if (this.releasesAgain === undefined || (this.replayLeft > 0 && this.onTheWire > 0)) return 0
    const step = this.releasesAgain.next()
    if (step.done !== true) return step.value
    this.releasesAgain = undefined
    return 0
  }

  /** What to publish next when `window` publishes may be unacknowledged, or undefined. A packet id of 0 means that it is new. */
  next(window: number): OutgoingPublish | undefined {
    if (this.releasesAgain !== undefined) return undefined
    const limit = this.replayLeft > 0 ? 1 : window
    if (this.publishesAgain !== undefined) {
      if (this.onTheWire >= limit) return undefined
      const step = this.publishesAgain.next()
      if (step.done !== true) return step.value
      this.publishesAgain = undefined
    }
    const publish = this.waiting[this.waitingHead]
    if (publish === undefined || (publish.qos > 0 && this.onTheWire >= limit)) return undefined
    this.waitingHead++
    if (this.waitingHead === this.waiting.length) {
      this.waiting = NONE
      this.waitingHead = 0
    } else if (this.waitingHead >= 64 && this.waitingHead * 2 >= this.waiting.length) {
      this.waiting.splice(0, this.waitingHead)
      this.waitingHead = 0
    }
    return publish
  }

  /** A PUBLISH with its packet id set was written. */
  sent(publish: OutgoingPublish, nowMs: number): void {
    publish.sentAtMs = nowMs
    this.onTheWire++
    this.open.set(publish.packetId, publish)
  }

  /** The PUBREL that `nextRelease` named was written. */
  releaseSent(packetId: number, nowMs: number): void {
    this.onTheWire++
    this.released!.set(packetId, nowMs)
  }

  /** The PUBLISH of this id that is open and was written to the present connection. */
  written(packetId: number): OutgoingPublish | undefined {
    const publish = this.open.get(packetId)
    return publish === undefined || publish.sentAtMs === NOT_SENT ? undefined : publish
  }

  /** Whether the PUBREL of this id is open and was written to the present connection. */
  releaseWritten(packetId: number): boolean {
    const sentAtMs = this.released?.get(packetId)
    return sentAtMs !== undefined && sentAtMs !== NOT_SENT
  }

  /** The server acknowledged, or refused, a PUBLISH for good. */
  acknowledged(publish: OutgoingPublish): void {
    this.open.delete(publish.packetId)
    this.onTheWire--
    this.settled()
  }

  /** The server has received a QoS 2 PUBLISH, and its PUBREL is written: the message itself is let go. */
  received(publish: OutgoingPublish, nowMs: number): void {
    this.open.delete(publish.packetId)
    this.released ??= new Map()
    this.released.set(publish.packetId, nowMs)
  }

  /** PUBCOMP came. */
  completed(packetId: number): void {
    this.released!.delete(packetId)
    this.onTheWire--
    this.settled()
  }

  /** Gives up a publish that `next` returned. */
  abandon(publish: OutgoingPublish): void {
    if (publish.packetId !== 0) this.open.delete(publish.packetId)
    this.settled()
  }

  /** One of the publishes that a replay began with is through. */
  settled(): void {
    if (this.replayLeft > 0) this.replayLeft--
  }

  /** When the packet that has waited longest for its answer was written to the present connection; infinite when there is none. */
  oldestSentAtMs(): number {
    if (this.onTheWire === 0) return Number.POSITIVE_INFINITY
    // The first of each was written first: what is sent again keeps the order, and comes before what is new.
    let oldestMs = Number.POSITIVE_INFINITY
    for (const publish of this.open.values()) {
      if (publish.sentAtMs !== NOT_SENT) oldestMs = publish.sentAtMs
      break
    }
    if (this.released === undefined) return oldestMs
    for (const sentAtMs of this.released.values()) return sentAtMs === NOT_SENT ? oldestMs : Math.min(oldestMs, sentAtMs)
    return oldestMs
  }
}
