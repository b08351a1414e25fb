/**
 * The publishes a client has open or waiting. Open ones hold a packet id and stay, in the order of their first sending, until they are
 * acknowledged, across connections; waiting ones are sent in the order of publishing once the window has room.
 *
 * Promises: an id belongs to one open publish; resends go out in the original order and before anything new [MQTT-4.6.0-1].
 * Left out: persistence; a client that restarts has forgotten its publishes.
 */
import type { Properties } from '../wire/packets.ts'

const NOT_SENT = -1

/** A message on its way out; also what `encodePublish` takes. */
export class OutgoingPublish {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1
  readonly retain: boolean
  readonly token: number
  readonly properties?: Properties
  packetId = 0
  dup = false
  /** When it was written to the present connection. */
  sentAtMs = NOT_SENT

  constructor(message: { topic: string; payload: Buffer; qos: 0 | 1; retain: boolean }, token: number) {
    this.topic = message.topic
    this.payload = message.payload
    this.qos = message.qos
    this.retain = message.retain
    this.token = token
  }
}

export class OutgoingStore {
  /** By packet id, in the order of first sending. */
  private open = new Map<number, OutgoingPublish>()
  private waiting: OutgoingPublish[] = []
  private waitingHead = 0
  /** Of the open ones, those written to the present connection. They come first in `open`, because resends keep the order. */
  private onTheWire = 0
  /** Walks over what is still to be resent; undefined when nothing is. */
  private resends: Iterator<OutgoingPublish> | undefined
  /** How many of the publishes that a replay one by one began with are not settled. */
  replayLeft = 0

  get openCount(): number {
    return this.open.size
  }

  get waitingCount(): number {
    return this.waiting.length - this.waitingHead
  }

  holds(packetId: number): boolean {
    return this.open.has(packetId)
  }

  enqueue(publish: OutgoingPublish): void {
    this.waiting.push(publish)
  }

  /** A connection is up and the open publishes belong to its session: they will be sent again under their ids. */
  resume(setDup: boolean, oneByOne: boolean): void {
    this.onTheWire = 0
    this.resends = undefined
    if (this.open.size > 0) {
      for (const publish of this.open.values()) {
        publish.sentAtMs = NOT_SENT
        publish.dup = setDup
      }
      this.resends = this.open.values()
    }
    this.replayLeft = oneByOne ? this.open.size + this.waitingCount : 0
  }

  /** A connection is up without a session: what was open becomes new publications, ahead of what waits. @returns how many. */
  startOver(): number {
    const again = [...this.open.values()]
    for (const publish of again) {
      publish.packetId = 0
      publish.dup = false
      publish.sentAtMs = NOT_SENT
    }
    this.open = new Map()
    this.waiting = again.concat(this.waitingHead === 0 ? this.waiting : this.waiting.slice(this.waitingHead))
    this.waitingHead = 0
    this.onTheWire = 0
    this.resends = undefined
    this.replayLeft = 0
    return again.length
  }

  /** What to write next when `window` publishes may be unacknowledged, or undefined. A packet id of 0 means that it is new. */
  next(window: number): OutgoingPublish | undefined {
    const limit = this.replayLeft > 0 ? 1 : window
    if (this.resends !== undefined) {
      if (this.onTheWire >= limit) return undefined
      const step = this.resends.next()
      if (step.done !== true) return step.value
      this.resends = undefined
    }
    const publish = this.waiting[this.waitingHead]
    if (publish === undefined || (publish.qos > 0 && this.onTheWire >= limit)) return undefined
    this.waitingHead++
    if (this.waitingHead === this.waiting.length) {
      this.waiting.length = 0
      this.waitingHead = 0
    } else if (this.waitingHead >= 64 && this.waitingHead * 2 >= this.waiting.length) {
      this.waiting.splice(0, this.waitingHead)
      this.waitingHead = 0
    }
    return publish
  }

  /** A QoS 1 publish with its packet id set was written. */
  sent(publish: OutgoingPublish, nowMs: number): void {
    publish.sentAtMs = nowMs
    this.onTheWire++
    this.open.set(publish.packetId, publish)
  }

  /** The server answered. @returns undefined when nothing of that id is open on the present connection. */
  acknowledge(packetId: number): OutgoingPublish | undefined {
    const publish = this.open.get(packetId)
    if (publish === undefined || publish.sentAtMs === NOT_SENT) return undefined
    this.open.delete(packetId)
    this.onTheWire--
    this.settled()
    return publish
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

  /** When the longest open publish on the present connection was written; infinite when there is none. */
  oldestSentAtMs(): number {
    if (this.onTheWire === 0) return Number.POSITIVE_INFINITY
    for (const publish of this.open.values()) return publish.sentAtMs
    return Number.POSITIVE_INFINITY
  }
}
