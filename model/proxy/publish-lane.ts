/**
 * All appends of one proxy to one topic shard, in order. They are sent without waiting for each other; when one has no definite answer, everything
 * from the first unanswered one on is sent again, in the same order, to whoever owns the shard then. The shard knows repetitions by (client, epoch, sequence), and
 * those of a QoS 2 message that a later connection sends again by (client, message id).
 */
import { appended } from '../small-list.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { ShardDomain } from './shard-domain.ts'

export type AppendResult = 'stored' | 'fenced' | 'gap'

/** One session epoch's appends to one shard. */
export interface AppendStream {
  readonly clientId: string
  readonly epoch: number
  /** The last sequence given, and the last known to be stored. */
  last: number
  confirmed: number
  /** The publisher's connection is over: nothing of it is sent again. What has no acknowledgement is still the publisher's. */
  abandoned: boolean
}

export interface Append {
  readonly stream: AppendStream
  readonly sequence: number
  /** Of a QoS 2 message, by which its shard knows it again whoever sends it; else 0. */
  readonly messageId: number
  /** Message ids of the client below this cannot come again; 0 where nothing is known. */
  readonly openFrom: number
  readonly message: Buffer
  /** `matched`: somebody subscribes to the topic. */
  readonly done: (result: AppendResult, matched: boolean) => void
}

interface Entry {
  readonly append: Append
  answered: boolean
}

export class PublishLane {
  private readonly domain: ShardDomain
  private readonly timeoutMs: number
  private entries: Entry[] = []
  /** How many of `entries` have been sent in the present attempt. */
  private sent = 0
  private attempt = 0

  constructor(domain: ShardDomain, timeoutMs: number) {
    this.domain = domain
    this.timeoutMs = timeoutMs
  }

  append(append: Append): void {
    this.entries = appended(this.entries, { append, answered: false })
    this.send()
  }

  /** QoS 0: now or never. */
  passOn(message: Omit<MessageOf<'publish'>, 'name'>): void {
    if (this.domain.up) this.domain.broker!.link.notify({ name: 'publish', ...message })
  }

  /** The shard has a new owner, or its link is up again; or the owner at hand had no definite answer last time. */
  restart(): void {
    this.attempt++
    this.entries = this.entries.filter((entry) => !entry.answered && !entry.append.stream.abandoned)
    this.sent = 0
    this.send()
  }

  private send(): void {
    if (!this.domain.up || this.domain.retries.isWaiting(this)) return
    const { attempt } = this
    while (this.sent < this.entries.length) {
      const entry = this.entries[this.sent++]!
      const isIdle = () => attempt !== this.attempt || entry.answered || entry.append.stream.abandoned
      const make = () => (isIdle() ? undefined : this.requestOf(entry.append))
      this.domain.ask<'publish'>(make, this.timeoutMs, (outcome) => {
        const answer = outcome.kind === 'reply' ? outcome.message : undefined
        const definite =
          answer !== undefined && answer.outcome !== 'not-owner' && !(answer.outcome === 'gap' && this.isBehindAnother(entry))
        if (definite) this.settle(entry, answer.outcome as AppendResult, answer.matched)
        else if (attempt === this.attempt && !entry.answered) this.retryLater()
      })
    }
  }

  private requestOf({ stream, sequence, messageId, openFrom, message }: Append): MessageOf<'publish'> {
    const { clientId, epoch, confirmed } = stream
    return { name: 'publish', shard: this.domain.shard, clientId, epoch, sequence, confirmed, messageId, openFrom, message }
  }

  /** Whether an earlier append of the same stream is still to be answered: refused, it leaves a gap before this one, which closes when both are sent again. */
  private isBehindAnother(entry: Entry): boolean {
    for (const other of this.entries) {
      if (other === entry) return false
      if (!other.answered && other.append.stream === entry.append.stream) return true
    }
    return false
  }

  private settle(entry: Entry, result: AppendResult, matched: boolean): void {
    if (entry.answered) return
    entry.answered = true
    const { stream, sequence } = entry.append
    if (result === 'stored') stream.confirmed = Math.max(stream.confirmed, sequence)
    while (this.entries[0]?.answered === true) {
      this.entries.shift()
      if (this.sent > 0) this.sent--
    }
    entry.append.done(result, matched)
  }

  private retryLater(): void {
    this.domain.retries.later(this, () => this.restart())
  }
}
