/**
 * For tests: one topic shard over a log in memory, and the hands of its proxies. What is durable, what time it is and who owns the log is the test's to say;
 * a new owner replays the log from its mark, as in life.
 */
import type { Host, Timer } from '../host.ts'
import { defaultSettings, type ServiceSettings } from '../settings.ts'
import { encodeLogRecord, scanRecords } from '../volume/log-record.ts'
import type { Volume } from '../volume/volume.ts'
import { Reader, Writer } from '../wire/codec.ts'
import type { Link } from '../wire/link.ts'
import { type Message, type MessageOf, type Subscription, storedMessageField } from '../wire/messages.ts'
import { messageExpiryIn } from '../wire/properties.ts'
import { TopicShard } from './topic-shard.ts'

/** As much of a volume as shards use: a log in memory that is durable at once, unless it is held, and can be trimmed. */
export class LogInMemory {
  trimOffset = 0
  markOffset = 0
  reads = 0
  held = false
  leaseHolds = true
  durableOffset = 0
  endOffset = 0
  private bytes = Buffer.alloc(1 << 22)
  private waiters: { readonly offset: number; readonly done: () => void }[] = []

  append(type: number, version: number, writeBody: (writer: Writer) => void): number {
    const record = encodeLogRecord(type, version, writeBody)
    const offset = this.endOffset
    record.copy(this.bytes, offset)
    this.endOffset += record.length
    if (!this.held) this.sync()
    return offset
  }

  /** Makes all that was appended durable. */
  sync(): void {
    this.durableOffset = this.endOffset
    for (;;) {
      const waiter = this.waiters[0]
      if (waiter === undefined || waiter.offset > this.durableOffset) return
      this.waiters.shift()
      waiter.done()
    }
  }

  /** What was not durable never was. */
  forgetUnsynced(): void {
    this.endOffset = this.durableOffset
    this.waiters = []
  }

  whenDurable(done: () => void): void {
    this.waiters.push({ offset: this.endOffset, done })
    if (!this.held) this.sync()
  }

  read(offset: number, length: number, done: (bytes: Buffer | undefined) => void): void {
    this.reads++
    if (offset < this.trimOffset || offset >= this.durableOffset) {
      done(undefined)
      return
    }
    const bytes = this.bytes.subarray(offset, Math.min(this.durableOffset, offset + length))
    done(bytes.subarray(0, scanRecords(bytes, 0).end))
  }

  trim(offset: number): void {
    this.trimOffset = offset
  }

  mark(offset: number): void {
    this.markOffset = offset
  }

  leaseValid(): boolean {
    return this.leaseHolds
  }

  replayInto(replay: (offset: number, type: number, version: number, body: Buffer) => void): void {
    const from = Math.max(this.markOffset, this.trimOffset)
    scanRecords(this.bytes.subarray(from, this.endOffset), 0, (at, type, version, body) => replay(from + at, type, version, body))
  }

  get asVolume(): Volume {
    return this as unknown as Volume
  }
}

/** A clock and timers that the test moves. */
class StageHost {
  nowAtMs = 0
  wallOffsetMs = 1_000_000
  readonly goals = new Map<string, number>()
  readonly recording = false
  private timers: { readonly atMs: number; readonly callback: () => void; cancelled: boolean }[] = []

  nowMs(): number {
    return this.nowAtMs
  }

  wallMs(): number {
    return this.nowAtMs + this.wallOffsetMs
  }

  work(): void {}

  reached(goal: string): void {
    this.goals.set(goal, (this.goals.get(goal) ?? 0) + 1)
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.nowAtMs + delayMs, callback, cancelled: false }
    this.timers.push(timer)
    return {
      cancel: () => {
        timer.cancelled = true
      },
    }
  }

  run(ms: number): void {
    const untilMs = this.nowAtMs + ms
    for (;;) {
      let next: (typeof this.timers)[number] | undefined
      for (const timer of this.timers)
        if (!timer.cancelled && timer.atMs <= untilMs && (next === undefined || timer.atMs < next.atMs)) next = timer
      if (next === undefined) break
      const due = next
      this.timers = this.timers.filter((timer) => timer !== due && !timer.cancelled)
      this.nowAtMs = Math.max(this.nowAtMs, due.atMs)
      due.callback()
    }
    this.nowAtMs = untilMs
  }

  get asHost(): Host {
    return this as unknown as Host
  }
}

/** One delivery, as a proxy gets it. */
export interface Delivered {
  readonly sequence: number
  readonly qos: number
  readonly text: string
  readonly flags: number
  readonly identifiers: readonly number[]
  readonly waitedMs: number
}

/** A proxy's link, and what came over it. */
export class StageLink {
  readonly generation = 1
  up = true
  readonly delivered = new Map<number, Delivered[]>()
  readonly released = new Map<number, number[]>()

  notify(message: Message): void {
    if (message.name === 'release') {
      for (const { handle, sequence } of message.places) listOf(this.released, handle).push(sequence)
    }
    if (message.name !== 'deliver') return
    const text = textOf(message.message)
    for (const { handle, sequence, qos, flags, subscriptionIdentifiers: identifiers } of message.targets) {
      listOf(this.delivered, handle).push({ sequence, qos, text, flags, identifiers, waitedMs: message.waitedMs })
    }
  }

  texts(handle: number): readonly string[] {
    return (this.delivered.get(handle) ?? []).map(({ text }) => text)
  }

  get asLink(): Link {
    return this as unknown as Link
  }
}

function listOf<T>(map: Map<number, T[]>, key: number): T[] {
  let list = map.get(key)
  if (list === undefined) {
    list = []
    map.set(key, list)
  }
  return list
}

export interface StageMessage {
  readonly topic: string
  readonly text: string
  readonly qos?: number
  readonly retain?: boolean
  readonly expirySeconds?: number
}

function expiryProperty(seconds: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes[0] = 0x02
  bytes.writeUInt32BE(seconds, 1)
  if (messageExpiryIn(bytes) !== seconds) throw new Error('not a Message Expiry Interval')
  return bytes
}

function encodeMessage(publisher: string, { topic, text, qos = 1, retain = false, expirySeconds }: StageMessage): Buffer {
  const writer = new Writer().begin()
  storedMessageField.write(writer, {
    topic,
    publisher,
    qos,
    retain,
    publishedAtMs: 0,
    properties: expirySeconds === undefined ? Buffer.alloc(0) : expiryProperty(expirySeconds),
    payload: Buffer.from(text),
  })
  return Buffer.from(writer.finish())
}

function textOf(message: Buffer): string {
  return storedMessageField.read(new Reader(message)).payload.toString()
}

export function subscription(filter: string, qos = 1, options: Partial<Subscription> = {}): Subscription {
  return { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0, ...options }
}

export class ShardStage {
  readonly host = new StageHost()
  readonly log = new LogInMemory()
  readonly settings: ServiceSettings
  shard!: TopicShard
  private readonly versions = new Map<string, number>()
  private readonly sequences = new Map<string, number>()

  constructor(broker: Partial<ServiceSettings['broker']> = {}) {
    this.settings = { ...defaultSettings, broker: { ...defaultSettings.broker, ...broker } }
    // As in a real log, the first record is the volume's own.
    this.log.append(1, 1, (writer) => writer.u32(1))
    this.newOwner()
  }

  /** The shard goes to another broker: what was not durable is lost, or not. */
  newOwner(): void {
    this.shard?.close()
    this.log.forgetUnsynced()
    this.shard = new TopicShard(this.host.asHost, 0, this.settings)
    this.log.replayInto((offset, type, version, body) => {
      if (type !== 1) this.shard.replay(offset, type, version, body)
    })
    this.shard.serve(this.log.asVolume)
  }

  ask<R extends Message>(request: Message, link = new StageLink()): { answer: R | undefined } {
    const result: { answer: R | undefined } = { answer: undefined }
    this.shard.onRequest(link.asLink, request, (message) => {
      result.answer = message as R
    })
    return result
  }

  publish(
    clientId: string,
    message: StageMessage,
    about: Partial<MessageOf<'publish'>> = {},
  ): { answer: MessageOf<'published'> | undefined } {
    const epoch = about.epoch ?? 1
    const key = `${clientId} ${epoch}`
    const sequence = about.sequence ?? (this.sequences.get(key) ?? 0) + 1
    this.sequences.set(key, Math.max(sequence, this.sequences.get(key) ?? 0))
    const body = { shard: 0, clientId, epoch, sequence, confirmed: 0, messageId: 0, openFrom: 0, message: encodeMessage(clientId, message) }
    return this.ask({ name: 'publish', ...body, ...about })
  }

  passOn(clientId: string, message: StageMessage, epoch = 1): void {
    const bytes = encodeMessage(clientId, { qos: 0, ...message })
    const notice = {
      name: 'publish',
      shard: 0,
      clientId,
      epoch,
      sequence: 0,
      confirmed: 0,
      messageId: 0,
      openFrom: 0,
      message: bytes,
    } as const
    this.shard.onNotice(new StageLink().asLink, notice)
  }

  will(clientId: string, epoch: number, message: StageMessage): { answer: MessageOf<'published'> | undefined } {
    return this.ask({ name: 'publishWill', shard: 0, clientId, epoch, message: encodeMessage(clientId, message) })
  }

  /** The session's subscriptions are these from now on, and its messages go to `link`. */
  attach(
    link: StageLink,
    clientId: string,
    handle: number,
    subscriptions: readonly Subscription[],
    about: {
      readonly epoch?: number
      readonly incarnation?: number
      readonly touched?: readonly string[]
      readonly version?: number
    } = {},
  ): { answer: MessageOf<'attached'> | undefined } {
    const { epoch = 1, incarnation = 1, touched = [] } = about
    const version = about.version ?? (this.versions.get(clientId) ?? 0) + 1
    this.versions.set(clientId, version)
    return this.ask(
      { name: 'attach', shard: 0, sessions: [{ clientId, incarnation, epoch, version, handle, subscriptions, touched }] },
      link,
    )
  }

  detach(link: StageLink, clientId: string, handle: number, epoch = 1): void {
    this.shard.onNotice(link.asLink, { name: 'detach', shard: 0, clientId, epoch, handle })
  }

  acknowledge(link: StageLink, handle: number, ...sequences: readonly number[]): void {
    this.shard.onNotice(link.asLink, { name: 'acknowledge', shard: 0, places: sequences.map((sequence) => ({ handle, sequence })) })
  }

  expired(link: StageLink, handle: number, ...sequences: readonly number[]): void {
    this.shard.onNotice(link.asLink, { name: 'expired', shard: 0, places: sequences.map((sequence) => ({ handle, sequence })) })
  }

  received(link: StageLink, handle: number, ...sequences: readonly number[]): void {
    this.shard.onNotice(link.asLink, { name: 'received', shard: 0, places: sequences.map((sequence) => ({ handle, sequence })) })
  }

  trace(offset: number, link = new StageLink()): { answer: MessageOf<'messageTraced'> | undefined } {
    return this.ask({ name: 'traceMessage', shard: 0, offset }, link)
  }

  endSession(clientId: string, incarnation = 1): void {
    this.ask({ name: 'endSession', shard: 0, clientId, incarnation, epoch: incarnation })
  }

  stored(topic: string): readonly string[] {
    const query = { shard: 0, topic, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, afterOffset: 0, limit: 1000 }
    const { answer } = this.ask<MessageOf<'messagesFound'>>({ name: 'queryMessages', ...query })
    return answer!.messages.map(({ message }) => textOf(message))
  }
}
