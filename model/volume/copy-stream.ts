/**
 * The owner's side of one copy: gets its promise, makes its log a prefix of ours, then keeps sending what it has not got.
 *
 *     unreachable → preparing → prepared → cutting → catching-up ⇄ live
 *                      ↓ ↑         (any trouble: back to preparing; link lost: unreachable; end: closed)
 *                    refused
 *
 * Every trouble (no answer, gap, failed sync, new link) ends in the same way: prepare again, compare histories, cut, go on from there.
 * `acked` is how far the copy's log is known to be durable and equal to ours.
 *
 * A copy that is empty where the log is not has lost its disk, or never had a part in it. Before it gets its first byte it notes that it is being filled, and is told
 * that it is whole once it has all that was durable when we met it: the records that its lost disk helped to make durable among them. Only then is its word on what
 * is durable worth anything to the next owner.
 */
import { emit } from '../events.ts'
import type { Timer } from '../host.ts'
import type { Link, Outcome } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { CopyLinks } from './copy-links.ts'
import { commonPrefix, type EpochStart, epochAt, epochEndAt } from './epochs.ts'
import type { LogTail } from './log-tail.ts'

type CopyStreamState = 'unreachable' | 'preparing' | 'prepared' | 'cutting' | 'catching-up' | 'live' | 'refused' | 'closed'

/** What a stream asks of its volume, and tells it. */
export interface StreamOwner {
  readonly volume: number
  readonly epoch: number
  /** Our log's history and end, once a log was chosen. */
  readonly history: readonly EpochStart[]
  readonly tail: LogTail
  /** How far copies may be sent to. */
  readonly sendableOffset: number
  readonly durableOffset: number
  readonly trimOffset: number
  readonly announcedMark: number
  /** Nothing that was ever reported durable lies beyond this. */
  readonly wholeOffset: number
  fetch(offset: number, length: number, limit: number, except: CopyStream | undefined, done: (bytes: Buffer | undefined) => void): void
  onPrepared(stream: CopyStream): void
  onRefused(stream: CopyStream, promisedEpoch: number): void
  /** `acked` or `state` has changed for the better. */
  onProgress(stream: CopyStream): void
  onDropped(stream: CopyStream): void
}

type Prepared = MessageOf<'volumePrepared'>

const CHUNK_BYTES = 256 * 1024
const MAXIMUM_IN_FLIGHT = 32
const MAXIMUM_IN_FLIGHT_BYTES = 2 << 20
const RETRY_MS = 100
const GAP_RETRY_MS = 10
const HOLD_MS = 40

export class CopyStream {
  readonly copy: number
  readonly link: Link
  state: CopyStreamState = 'unreachable'
  /** What the copy said when it promised last. */
  prepared: Prepared | undefined
  acked = 0
  /** By when (our clock) every lease that this copy granted to a former owner is over. */
  formerLeaseEndMs = Number.POSITIVE_INFINITY
  /** It was behind, or had what we have not got, when we met it. */
  wasRepaired = false
  /** The copy has a note that it may lack what was durable before it began. */
  isFilling = false
  private readonly links: CopyLinks
  private readonly owner: StreamOwner
  /** Grows with every new start: answers to what was asked before are not listened to. */
  private attempt = 0
  private sent = 0
  private inFlight = 0
  private inFlightBytes = 0
  private fetching = false
  private held = false
  private retry: Timer | undefined
  private trimmedTo = 0
  /** With all below this a copy that is being filled is whole. */
  private wholeAt = 0
  private toldWhole = false

  constructor(links: CopyLinks, copy: number, owner: StreamOwner) {
    this.links = links
    this.copy = copy
    this.link = links.links[copy]!
    this.owner = owner
  }

  /** What promised last knows of no record: none was ever written there, or its disk was lost. */
  get isBlank(): boolean {
    const { size, trimOffset, epochs } = this.prepared!
    return size === 0 && trimOffset === 0 && epochs.length === 0 && !this.isFilling
  }

  /** Begins, or begins anew. */
  prepare(): void {
    if (this.state === 'closed') return
    const attempt = this.begin()
    if (!this.link.up) {
      this.setState('unreachable')
      return
    }
    this.setState('preparing')
    const { volume, epoch } = this.owner
    const message = { name: 'volumePrepare', volume, epoch, owner: this.links.owner } as const
    this.link.request(message, this.links.settings.requestTimeoutMs, (outcome) => {
      if (attempt === this.attempt) this.onPrepareOutcome(outcome)
    })
  }

  onLinkDown(): void {
    const former = this.state
    if (former === 'closed') return
    this.begin()
    this.setState('unreachable')
    if (former !== 'unreachable') this.owner.onDropped(this)
  }

  close(): void {
    this.begin()
    this.state = 'closed'
  }

  /** The volume knows its log now: makes the copy's a prefix of it. */
  follow(): void {
    const { history, tail, trimOffset } = this.owner
    const { size, epochs, trimOffset: copyTrim } = this.prepared!
    const position = Math.max(copyTrim, commonPrefix(history, tail.end, epochs, size))
    this.trimmedTo = copyTrim
    this.setState('cutting')
    this.wasRepaired = size !== tail.end || position !== size
    if (size > position) this.cut(position)
    else if (this.isBlank && this.owner.wholeOffset > 0) this.tellFilling(true, () => this.follow())
    else if (position < trimOffset) this.skipTo(trimOffset)
    else this.goOn(position)
  }

  /** Sends what there is to send. */
  pump(): void {
    if (this.state !== 'catching-up' && this.state !== 'live') return
    while (
      this.sent < this.owner.sendableOffset &&
      this.inFlight < MAXIMUM_IN_FLIGHT &&
      this.inFlightBytes < MAXIMUM_IN_FLIGHT_BYTES &&
      !this.fetching &&
      !this.held
    ) {
      if (this.links.host.perturb('volume-holds-one-copy')) {
        this.hold()
        return
      }
      const limit = Math.min(this.owner.sendableOffset, epochEndAt(this.owner.history, this.sent))
      const bytes = this.owner.tail.at(this.sent, limit)
      if (bytes === undefined) this.fetch(limit)
      else this.send(bytes)
    }
  }

  trim(): void {
    if (this.state !== 'live' || this.trimmedTo >= this.owner.trimOffset) return
    const { volume, epoch, trimOffset } = this.owner
    this.trimmedTo = trimOffset
    const attempt = this.attempt
    this.link.request({ name: 'volumeTrim', volume, epoch, offset: trimOffset }, this.links.settings.requestTimeoutMs, (outcome) => {
      if (attempt !== this.attempt) return
      if (outcome.kind !== 'reply' || outcome.message.outcome !== 'done') this.startOver(RETRY_MS)
    })
  }

  private begin(): number {
    this.inFlight = 0
    this.inFlightBytes = 0
    this.fetching = false
    this.held = false
    this.toldWhole = false
    this.sent = 0
    this.retry?.cancel()
    this.retry = undefined
    return ++this.attempt
  }

  private startOver(delayMs: number): void {
    const former = this.state
    this.begin()
    this.setState(this.link.up ? 'preparing' : 'unreachable')
    if (this.link.up) this.retry = this.links.host.setTimer(delayMs, () => this.prepare())
    if (former !== 'preparing') this.owner.onDropped(this)
  }

  private onPrepareOutcome(outcome: Outcome<Prepared>): void {
    if (outcome.kind !== 'reply') {
      this.startOver(0)
      return
    }
    const { message } = outcome
    switch (message.outcome) {
      case 'failed':
        this.startOver(RETRY_MS)
        break
      case 'refused':
        this.setState('refused')
        this.retry = this.links.host.setTimer(this.links.settings.leaseRenewIntervalMs, () => this.prepare())
        this.owner.onRefused(this, message.promisedEpoch)
        break
      case 'promised':
        this.prepared = message
        this.isFilling = message.isFilling
        this.formerLeaseEndMs = Math.min(this.formerLeaseEndMs, this.links.host.nowMs() + message.leaseRemainingMs)
        this.setState('prepared')
        this.owner.onPrepared(this)
    }
  }

  private cut(position: number): void {
    const { volume, epoch } = this.owner
    const attempt = this.attempt
    this.link.request({ name: 'volumeCut', volume, epoch, offset: position }, this.links.settings.requestTimeoutMs, (outcome) => {
      if (attempt !== this.attempt) return
      if (outcome.kind !== 'reply') this.startOver(0)
      else if (outcome.message.outcome === 'refused') this.owner.onRefused(this, outcome.message.promisedEpoch)
      else if (outcome.message.outcome !== 'durable' || outcome.message.size !== position) this.startOver(RETRY_MS)
      else {
        this.links.host.reached('divergent tail cut')
        if (position < this.owner.trimOffset) this.skipTo(this.owner.trimOffset)
        else this.goOn(position)
      }
    })
  }

  private tellFilling(isFilling: boolean, then: () => void): void {
    const { volume, epoch } = this.owner
    const attempt = this.attempt
    this.link.request({ name: 'volumeFilling', volume, epoch, isFilling }, this.links.settings.requestTimeoutMs, (outcome) => {
      if (attempt !== this.attempt) return
      if (outcome.kind !== 'reply' || outcome.message.outcome !== 'done') {
        this.startOver(RETRY_MS)
        return
      }
      this.isFilling = isFilling
      then()
    })
  }

  private considerWhole(): void {
    if (!this.isFilling || this.toldWhole || this.acked < this.wholeAt) return
    this.toldWhole = true
    this.tellFilling(false, () => this.links.host.reached('copy filled anew'))
  }

  /** What the copy lacks is trimmed everywhere: it goes on behind it. */
  private skipTo(offset: number): void {
    const { volume, epoch } = this.owner
    const attempt = this.attempt
    this.link.request({ name: 'volumeTrim', volume, epoch, offset }, this.links.settings.requestTimeoutMs, (outcome) => {
      if (attempt !== this.attempt) return
      if (outcome.kind !== 'reply' || outcome.message.outcome !== 'done') {
        this.startOver(RETRY_MS)
        return
      }
      this.links.host.reached('copy skipped what was trimmed')
      this.trimmedTo = offset
      this.goOn(offset)
    })
  }

  private goOn(position: number): void {
    this.setState('catching-up')
    this.sent = position
    this.acked = position
    // What this copy had said that a lost disk had, and what came to count by it, lies below.
    this.wholeAt = this.owner.wholeOffset
    this.setState('catching-up')
    this.settle()
    this.owner.onProgress(this)
    this.pump()
  }

  private settle(): void {
    this.considerWhole()
    if (this.state !== 'catching-up' || this.acked < this.owner.durableOffset || this.acked < this.owner.tail.start) return
    if (this.wasRepaired && this.owner.durableOffset > 0) this.links.host.reached('late copy caught up')
    this.setState('live')
    this.trim()
  }

  private fetch(limit: number): void {
    if (this.state === 'live') this.setState('catching-up')
    this.fetching = true
    const attempt = this.attempt
    this.owner.fetch(this.sent, CHUNK_BYTES, limit, this, (bytes) => {
      if (attempt !== this.attempt) return
      if (bytes === undefined) {
        this.links.host.setTimer(RETRY_MS, () => {
          if (attempt !== this.attempt) return
          // Trimmed everywhere since it was met: it is to skip that.
          if (this.sent < this.owner.trimOffset) this.startOver(0)
          else {
            this.fetching = false
            this.pump()
          }
        })
        return
      }
      this.fetching = false
      this.send(bytes)
      this.pump()
    })
  }

  private send(bytes: Buffer): void {
    const { volume, epoch, announcedMark: markOffset } = this.owner
    const offset = this.sent
    const length = bytes.length
    const dataEpoch = epochAt(this.owner.history, offset)
    const attempt = this.attempt
    this.sent += length
    this.inFlight++
    this.inFlightBytes += length
    const message = { name: 'volumeAppend', volume, epoch, dataEpoch, offset, markOffset, bytes } as const
    this.link.request(message, this.links.settings.requestTimeoutMs, (outcome) => {
      if (attempt === this.attempt) this.onAppendOutcome(outcome, length)
    })
  }

  private onAppendOutcome(outcome: Outcome<MessageOf<'volumeAppended'>>, length: number): void {
    if (outcome.kind !== 'reply') {
      this.startOver(0)
      return
    }
    const { message } = outcome
    switch (message.outcome) {
      case 'refused':
        this.owner.onRefused(this, message.promisedEpoch)
        break
      case 'gap':
        this.startOver(GAP_RETRY_MS)
        break
      case 'failed':
        this.startOver(RETRY_MS)
        break
      case 'durable':
        this.inFlight--
        this.inFlightBytes -= length
        this.acked = Math.max(this.acked, Math.min(message.size, this.sent))
        this.settle()
        this.owner.onProgress(this)
        this.pump()
    }
  }

  private hold(): void {
    this.held = true
    const attempt = this.attempt
    this.links.host.setTimer(HOLD_MS, () => {
      if (attempt !== this.attempt) return
      this.held = false
      this.pump()
    })
  }

  private setState(state: CopyStreamState): void {
    if (this.state === state) return
    this.state = state
    const { host } = this.links
    if (host.recording) {
      emit(host, { kind: 'copy-state-changed', volume: this.owner.volume, copy: this.links.names[this.copy]!, state })
    }
  }
}
