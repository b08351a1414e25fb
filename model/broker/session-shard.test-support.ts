/**
 * One session shard alone: its log in memory, the topic shards and the proxies' leases played, time virtual. For rules that a whole region would blur.
 * The log keeps what is durable over an owner's death, and of the rest as many records as a test says.
 */
import { newWorld, Puppet } from '../../sim/puppets.test-support.ts'
import type { Host } from '../host.ts'
import { defaultSettings } from '../settings.ts'
import { shardOfTopic } from '../shards.ts'
import type { Volume } from '../volume/volume.ts'
import { Reader, Writer } from '../wire/codec.ts'
import type { Link } from '../wire/link.ts'
import { type Message, type MessageOf, type ReplyOf, type RequestName, type StoredWill, storedMessageField } from '../wire/messages.ts'
import type { ProxyLeases } from './proxy-leases.ts'
import { SessionShard } from './session-shard.ts'
import type { ShardCaller } from './shard-caller.ts'

const COUNTS = { topicShards: 6, sessionShards: 6 }
const SHARD = 6
const SYNC_MS = 1
const KICK_MS = 20
const LEASE_MS = 100
const CALL_MS = 2
const UNKNOWN_AFTER_MS = 500

interface LogRecord {
  readonly offset: number
  readonly type: number
  readonly version: number
  readonly body: Buffer
}

/** What a shard uses of a `Volume`. */
class MemoryVolume {
  readonly records: LogRecord[]
  markOffset: number
  endOffset: number
  durable: number
  lease = true
  /** Nothing becomes durable meanwhile. */
  held = false
  private readonly host: Host
  private waiters: { readonly count: number; readonly done: () => void }[] = []
  private closed = false

  constructor(host: Host, records: readonly LogRecord[], markOffset: number) {
    this.host = host
    this.records = [...records]
    this.markOffset = markOffset
    this.endOffset = records.reduce((end, record) => Math.max(end, record.offset + record.body.length + 1), 1)
    this.durable = records.length
  }

  append(type: number, version: number, write: (writer: Writer) => void): number {
    const writer = new Writer().begin()
    write(writer)
    const body = Buffer.from(writer.finish())
    const offset = this.endOffset
    this.records.push({ offset, type, version, body })
    this.endOffset += body.length + 1
    const count = this.records.length
    this.host.setTimer(SYNC_MS, () => this.synced(count))
    return offset
  }

  whenDurable(done: () => void): void {
    this.waiters.push({ count: this.records.length, done })
    this.host.setTimer(0, () => this.wake())
  }

  mark(offset: number): void {
    this.markOffset = offset
  }

  trim(offset: number): void {
    if (offset > this.markOffset) throw new Error('trimmed beyond the mark, from which the next owner replays')
  }

  leaseValid(): boolean {
    return this.lease
  }

  close(): void {
    this.closed = true
  }

  private synced(count: number): void {
    if (this.held || this.closed) return
    this.durable = Math.max(this.durable, count)
    this.wake()
  }

  private wake(): void {
    while (!this.closed && this.waiters.length > 0 && this.waiters[0]!.count <= this.durable) this.waiters.shift()!.done()
  }
}

/** How a topic shard answers: as it should, or it gets the will and the answer is lost, or nothing arrives at all. */
export type TopicShardMood = 'answers' | 'stores-silently' | 'unreachable'

export function will(text: string, delaySeconds: number, topic = 'wills/t'): StoredWill {
  const writer = new Writer().begin()
  const message = {
    topic,
    publisher: 'c',
    qos: 1,
    retain: false,
    publishedAtMs: 0,
    properties: Buffer.alloc(0),
    payload: Buffer.from(text),
  }
  storedMessageField.write(writer, message)
  return { delaySeconds, message: Buffer.from(writer.finish()) }
}

export interface Connection {
  readonly clientId: string
  readonly epoch: number
  readonly handle: number
  readonly sessionPresent: boolean
  readonly link: Link
}

interface OpenOptions {
  readonly cleanStart?: boolean
  readonly expirySeconds?: number
  readonly will?: StoredWill | undefined
}

export class SessionBench {
  readonly world = newWorld({ recording: true })
  readonly host: Host
  /** Wills that topic shards stored, in order: their payloads. */
  readonly published: string[] = []
  /** Of every call to a topic shard, its name and client. */
  readonly calls: string[] = []
  /** For the next calls; the last one stays. */
  moods: TopicShardMood[] = ['answers']
  shard!: SessionShard
  volume!: MemoryVolume
  private readonly checkpointBytes: number
  private readonly storedEpochs = new Map<string, number>()
  private readonly inCall = new Set<string>()
  private nextHandle = 1
  /** The message ids that connections were told, by `exchangeOf`. */
  private readonly exchanges = new Map<string, number>()

  constructor(options: { readonly checkpointBytes?: number } = {}) {
    const puppet = new Puppet(this.world, 'broker-1', 'az1', { onBoot: () => {} })
    this.checkpointBytes = options.checkpointBytes ?? 1 << 20
    this.run(1)
    this.host = puppet.host
    this.serve([], 0)
  }

  get nowMs(): number {
    return this.host.nowMs()
  }

  run(ms: number): void {
    this.world.run(this.world.nowUs() + ms * 1000)
  }

  events(kind: string): readonly Record<string, unknown>[] {
    return this.world.history.map(({ event }) => event as unknown as Record<string, unknown>).filter((event) => event.kind === kind)
  }

  /** The owner dies; the next one replays what was durable and the first `kept` of the other records. */
  failOver(kept = 0): void {
    const { records, durable, markOffset } = this.volume
    this.shard.close()
    this.volume.close()
    this.inCall.clear()
    this.serve(records.slice(0, durable + kept), markOffset)
  }

  private serve(records: readonly LogRecord[], markOffset: number): void {
    const settings = { ...defaultSettings, broker: { ...defaultSettings.broker, checkpointBytes: this.checkpointBytes } }
    const leases: Pick<ProxyLeases, 'silence' | 'remainingMs'> = {
      silence: (_link, _kick, done) => void this.host.setTimer(KICK_MS, () => done('kicked')),
      remainingMs: () => LEASE_MS,
    }
    const caller = { call: this.callTopicShard.bind(this), refresh: () => {} } as Pick<ShardCaller, 'call' | 'refresh'>
    this.shard = new SessionShard(this.host, COUNTS, settings, leases, caller)
    this.volume = new MemoryVolume(this.host, records, markOffset)
    for (const { offset, type, version, body } of records) if (offset >= markOffset) this.shard.replay(offset, type, version, body)
    this.shard.serve(this.volume as unknown as Volume)
  }

  private callTopicShard(
    shard: number,
    message: MessageOf<'publishWill'> | MessageOf<'endSession'>,
    done: (outcome: { kind: 'reply'; message: Message } | { kind: 'unknown' }) => void,
  ): void {
    const { clientId, epoch } = message
    this.calls.push(`${message.name} ${clientId} ${epoch}`)
    const mood = this.moods.length > 1 ? this.moods.shift()! : this.moods[0]!
    if (message.name === 'publishWill') {
      const lane = `${shard} ${clientId}`
      if (this.inCall.has(lane)) throw new Error(`two wills of ${clientId} under way to shard ${shard}`)
      this.inCall.add(lane)
      this.host.setTimer(mood === 'answers' ? CALL_MS : UNKNOWN_AFTER_MS, () => this.inCall.delete(lane))
      const { topic, payload } = storedMessageField.read(new Reader(message.message))
      if (shardOfTopic(COUNTS, topic) !== shard) throw new Error(`a will for ${topic} came to shard ${shard}`)
      if (mood !== 'unreachable' && epoch > (this.storedEpochs.get(lane) ?? 0)) {
        this.storedEpochs.set(lane, epoch)
        this.published.push(payload.toString())
      }
    }
    const reply: Message =
      message.name === 'publishWill'
        ? { name: 'published', outcome: 'stored', offset: 1, matched: false }
        : { name: 'answer', outcome: 'done' }
    if (mood === 'answers') this.host.setTimer(CALL_MS, () => done({ kind: 'reply', message: reply }))
    else this.host.setTimer(UNKNOWN_AFTER_MS, () => done({ kind: 'unknown' }))
  }

  // Proxies

  /** @returns where the reply will be. */
  request<N extends RequestName>(message: MessageOf<N>, link: Link = newLink()): { reply: ReplyOf<N> | undefined } {
    const waiting: { reply: ReplyOf<N> | undefined } = { reply: undefined }
    this.shard.onRequest(link, message as unknown as Message, (reply) => {
      waiting.reply = reply as unknown as ReplyOf<N>
    })
    return waiting
  }

  ask<N extends RequestName>(message: MessageOf<N>, link?: Link): ReplyOf<N> {
    const waiting = this.request(message, link)
    for (let i = 0; i < 100 && waiting.reply === undefined; i++) this.run(1)
    if (waiting.reply === undefined) throw new Error(`${message.name} was not answered`)
    return waiting.reply
  }

  openRequest(clientId: string, options: OpenOptions = {}, handle = this.nextHandle++): MessageOf<'openSession'> {
    const { cleanStart = false, expirySeconds = 3600, will: stored } = options
    return { name: 'openSession', shard: SHARD, clientId, proxy: 'proxy-1', bootId: 1, handle, cleanStart, expirySeconds, will: stored }
  }

  open(clientId: string, options: OpenOptions = {}): Connection {
    return this.opened(this.openRequest(clientId, options))
  }

  opened(request: MessageOf<'openSession'>): Connection {
    const link = newLink()
    const { outcome, epoch, sessionPresent } = this.ask(request, link)
    if (outcome !== 'opened') throw new Error(`the open was answered ${outcome}`)
    return { clientId: request.clientId, handle: request.handle, epoch, sessionPresent, link }
  }

  closeRequest(connection: Connection, stored: 'discarded' | 'due', expirySeconds = 3600): MessageOf<'closeSession'> {
    const { clientId, epoch, handle } = connection
    return { name: 'closeSession', shard: SHARD, clientId, epoch, proxy: 'proxy-1', bootId: 1, handle, expirySeconds, will: stored }
  }

  close(connection: Connection, stored: 'discarded' | 'due', expirySeconds = 3600): void {
    this.ask(this.closeRequest(connection, stored, expirySeconds))
  }

  /** After a failover: the proxy says that it still has these connections. */
  resume(...connections: readonly Connection[]): ReplyOf<'resumeSessions'> {
    const answers = connections.map(({ link, clientId, epoch, handle }) =>
      this.ask({ name: 'resumeSessions', shard: SHARD, sessions: [{ clientId, epoch, handle }] }, link),
    )
    return { ...answers[0]!, lost: answers.flatMap(({ lost }) => lost), superseded: answers.flatMap(({ superseded }) => superseded) }
  }

  receiveRequest({ clientId, epoch }: Connection, packetId: number): MessageOf<'receivePublish'> {
    return { name: 'receivePublish', shard: SHARD, clientId, epoch, packetId }
  }

  receive(connection: Connection, packetId: number): ReplyOf<'receivePublish'> {
    const reply = this.ask(this.receiveRequest(connection, packetId))
    this.exchanges.set(exchangeOf(connection, packetId), reply.messageId)
    return reply
  }

  /** As the proxy asks unless a message is named: for the one that it was told on this connection, 0 where there was none. */
  releaseRequest(connection: Connection, packetId: number, messageId?: number): MessageOf<'releasePublish'> {
    const { clientId, epoch } = connection
    const meant = messageId ?? this.exchanges.get(exchangeOf(connection, packetId)) ?? 0
    return { name: 'releasePublish', shard: SHARD, clientId, epoch, packetId, messageId: meant }
  }

  release(connection: Connection, packetId: number, messageId?: number): string {
    const { outcome } = this.ask(this.releaseRequest(connection, packetId, messageId))
    this.exchanges.delete(exchangeOf(connection, packetId))
    return outcome
  }
}

const exchangeOf = ({ clientId, epoch }: Connection, packetId: number) => `${clientId} ${epoch} ${packetId}`

function newLink(): Link {
  return {} as Link
}
