/**
 * The auditor: after the last act it asks the service, over the network as any caller would, for every message of every topic, page by page.
 *
 * Of those that `wantsTrace` names it then asks the console for the trace, by the message's id.
 *
 * What it reports is what the service can still give back. A topic that could not be read to its end within the budget is named as unanswered: an
 * audit that could not be made proves nothing about the messages, and says so.
 */
import { ConsoleClient } from '../model/console/console-client.ts'
import type { Address, Boot, Host } from '../model/host.ts'
import type { ServiceSettings } from '../model/settings.ts'
import { Reader } from '../model/wire/codec.ts'
import { type MessageOf, type StoredMessage, storedMessageField } from '../model/wire/messages.ts'
import { ShardLinks } from './shard-links.ts'

export interface AuditConfig {
  readonly nameservers: readonly Address[]
  readonly settings: ServiceSettings
  readonly topics: readonly string[]
  shardOfTopic(topic: string): number
  readonly budgetMs: number
  /** In the order of the topic's log. */
  onMessage(topic: string, message: StoredMessage): void
  readonly consoles: readonly Address[]
  wantsTrace(message: StoredMessage): boolean
  /** Undefined: no console has answered. `wallMs`: what the auditor's clock shows. */
  onTrace(message: StoredMessage, trace: MessageOf<'messageTraced'> | undefined, wallMs: number): void
  onDone(report: AuditReport): void
}

export interface AuditReport {
  readonly topics: number
  readonly messages: number
  /** Topics that were not read to their end. */
  readonly unanswered: readonly string[]
  /** Answers that could not be decoded, or went against the order of the log. */
  readonly malformed: readonly string[]
}

const PAGE = 500
const TRACES_AT_ONCE = 4
/** The links to the consoles come up meanwhile. */
const CONNECT_MS = 100
const RETRY_MS = 250
const REQUEST_TIMEOUT_MS = 3000
const END_OF_TIME_MS = Number.MAX_SAFE_INTEGER

/** The topics of one shard, asked for one after the other. */
interface Lane {
  readonly shard: number
  readonly topics: readonly string[]
  next: number
  afterOffset: number
}

class Auditor {
  private readonly host: Host
  private readonly config: AuditConfig
  private readonly links: ShardLinks
  private readonly lanes: readonly Lane[]
  private readonly malformed: string[] = []
  private readonly toTrace: { readonly shard: number; readonly offset: number; readonly message: StoredMessage }[] = []
  private messages = 0
  private ended = false

  constructor(host: Host, config: AuditConfig) {
    this.host = host
    this.config = config
    const byShard = new Map<number, string[]>()
    for (const topic of config.topics) {
      const shard = config.shardOfTopic(topic)
      const topics = byShard.get(shard)
      if (topics === undefined) byShard.set(shard, [topic])
      else topics.push(topic)
    }
    this.lanes = [...byShard].map(([shard, topics]) => ({ shard, topics, next: 0, afterOffset: 0 }))
    this.links = new ShardLinks(host, config.nameservers, config.settings)
    host.setTimer(config.budgetMs, () => this.end())
    for (const lane of this.lanes) this.ask(lane)
    if (this.lanes.length === 0) this.end()
  }

  private ask(lane: Lane): void {
    if (this.ended) return
    const topic = lane.topics[lane.next]
    if (topic === undefined) {
      if (this.lanes.every((other) => other.next === other.topics.length)) this.askForTraces()
      return
    }
    const link = this.links.to(lane.shard)
    if (link === undefined) {
      this.later(lane)
      return
    }
    const { shard, afterOffset } = lane
    link.request(
      { name: 'queryMessages', shard, topic, fromMs: 0, toMs: END_OF_TIME_MS, afterOffset, limit: PAGE },
      REQUEST_TIMEOUT_MS,
      (outcome) => {
        if (this.ended) return
        if (outcome.kind !== 'reply' || outcome.message.outcome !== 'found') {
          this.later(lane)
          return
        }
        for (const found of outcome.message.messages) this.take(lane, topic, found.offset, found.message)
        if (!outcome.message.more || outcome.message.messages.length === 0) {
          lane.next++
          lane.afterOffset = 0
        }
        this.ask(lane)
      },
    )
  }

  private take(lane: Lane, topic: string, offset: number, bytes: Buffer): void {
    const reader = new Reader(bytes)
    const message = storedMessageField.read(reader)
    if (!reader.complete()) this.malformed.push(`${topic}: the message at offset ${offset} cannot be decoded`)
    else if (message.topic !== topic) this.malformed.push(`${topic}: the message at offset ${offset} is of topic ${message.topic}`)
    else if (offset <= lane.afterOffset) this.malformed.push(`${topic}: offset ${offset} came after ${lane.afterOffset}`)
    else {
      this.messages++
      this.config.onMessage(topic, message)
      if (this.config.wantsTrace(message)) this.toTrace.push({ shard: lane.shard, offset, message })
    }
    lane.afterOffset = Math.max(lane.afterOffset, offset)
  }

  /** A few at a time: each is a look through a shard's log. */
  private askForTraces(): void {
    const console = new ConsoleClient(this.host, this.config.consoles)
    let next = 0
    let open = 0
    const more = () => {
      const due = this.toTrace[next++]
      if (this.ended) return
      if (due === undefined) {
        if (open > 0) return
        console.close()
        this.end()
        return
      }
      open++
      const { shard, offset, message } = due
      console.ask({ name: 'traceMessage', shard, offset }, (trace) => {
        open--
        if (this.ended) return
        this.config.onTrace(message, trace, this.host.wallMs())
        more()
      })
    }
    for (let lane = 0; lane < TRACES_AT_ONCE; lane++) this.host.setTimer(CONNECT_MS, more)
  }

  private later(lane: Lane): void {
    this.links.refreshNow()
    this.host.setTimer(RETRY_MS, () => this.ask(lane))
  }

  private end(): void {
    if (this.ended) return
    this.ended = true
    this.links.close()
    const unanswered = this.lanes.flatMap((lane) => lane.topics.slice(lane.next))
    this.config.onDone({ topics: this.config.topics.length, messages: this.messages, unanswered, malformed: this.malformed })
  }
}

export function bootAuditor(config: AuditConfig): Boot {
  return (host) => {
    new Auditor(host, config)
    return {}
  }
}
