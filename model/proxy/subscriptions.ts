/**
 * A client's subscriptions and what has to know of them: the session shard, and every topic shard that a filter may match. Changes run one at a time;
 * each is done when all of those have answered, and only then does SUBACK or UNSUBACK leave.
 *
 * At a topic shard the same call (`attach`) says "these are the session's subscriptions here" and "send its messages to me"; it is repeated in every term of the shard.
 */
import { type ShardCounts, shardsOfFilter } from '../shards.ts'
import { SmallMap } from '../small-map.ts'
import type { MessageOf, Subscription } from '../wire/messages.ts'
import type { SessionAttach } from './attaching.ts'
import type { ClientConnection } from './client-connection.ts'
import { holding } from './holding.ts'
import type { ShardDomain } from './shard-domain.ts'

/** Changes that wait for their turn, beyond which the client is not read. */
const QUEUED_LIMIT = 100

interface Attachment {
  readonly domain: ShardDomain
  /** The version that the shard has confirmed, and in which of its terms. */
  doneVersion: number
  doneTerm: number
  calling: boolean
  /** Where the session's queue ended when this connection first got it; undefined before. */
  firstQueueEnd: number | undefined
}

/** What a SUBSCRIBE or UNSUBSCRIBE makes of the list. */
interface Edit {
  readonly list: readonly Subscription[]
  /** The filters that it added, changed or removed. */
  readonly touched: readonly string[]
}

interface Change {
  readonly version: number
  readonly touched: readonly string[]
  /** Topic shards that have to confirm this version. */
  readonly shards: readonly number[]
  readonly done: () => void
}

export class Subscriptions {
  private readonly counts: ShardCounts
  private readonly timeoutMs: number
  private readonly client: ClientConnection
  private list: readonly Subscription[]
  private version = 0
  private sessionVersion = 0
  private callingSession = false
  private readonly attachments = new SmallMap<number, Attachment>()
  private readonly queued: (() => void)[] = []
  private change: Change | undefined

  constructor(counts: ShardCounts, timeoutMs: number, client: ClientConnection, opened: MessageOf<'sessionOpened'>) {
    this.counts = counts
    this.timeoutMs = timeoutMs
    this.client = client
    this.list = opened.subscriptions
    for (const shard of opened.topicShards) this.attachmentAt(shard)
    this.pursueAll()
  }

  /** Runs a change once those before it are done. `edit` gets the list as it is then; `done` is called when everyone who has to know the new one has it durably. */
  run(edit: (list: readonly Subscription[]) => Edit, done: () => void): void {
    const start = () => {
      const { list, touched } = edit(this.list)
      if (touched.length === 0) {
        done()
        return
      }
      const shards = new Set<number>()
      for (const filter of touched) for (const shard of shardsOfFilter(this.counts, filter)) shards.add(shard)
      this.list = list
      this.version++
      // What the other shards were told is still all that concerns them.
      for (const [shard, attachment] of this.attachments) {
        if (!shards.has(shard) && attachment.doneVersion === this.version - 1) attachment.doneVersion = this.version
      }
      this.change = { version: this.version, touched, shards: [...shards], done }
      for (const shard of shards) this.attachmentAt(shard)
      this.pursueAll()
    }
    if (this.change === undefined && this.queued.length === 0) start()
    else {
      this.queued.push(start)
      if (this.queued.length > QUEUED_LIMIT) this.client.hold(holding.subscribes)
    }
  }

  /** Takes up again what was cut short: a shard has a new owner, or its link came up. */
  pursueAll(): void {
    this.pursueSession()
    for (const attachment of this.attachments.values()) this.pursue(attachment)
  }

  /** Whether the message at this place may have been sent on an earlier connection: what came into the queue after ours took it over cannot have been. */
  mayHaveBeenSent(shard: number, sequence: number): boolean {
    return sequence < (this.attachments.get(shard)?.firstQueueEnd ?? 0)
  }

  /** The client is gone: its messages wait in their queues again. */
  detach(): void {
    for (const { domain } of this.attachments.values()) {
      domain.clients.delete(this.client)
      if (domain.up) {
        const { clientId, epoch, handle } = this.client
        // What the client acknowledged is known by its handle, which means nothing any more after this.
        domain.broker!.sendAcknowledged()
        domain.broker!.link.notify({ name: 'detach', shard: domain.shard, clientId, epoch, handle })
      }
    }
  }

  private attachmentAt(shard: number): Attachment {
    let attachment = this.attachments.get(shard)
    if (attachment === undefined) {
      const domain = this.client.domainOf(shard)
      domain.clients.add(this.client)
      attachment = { domain, doneVersion: -1, doneTerm: -1, calling: false, firstQueueEnd: undefined }
      this.attachments.set(shard, attachment)
    }
    return attachment
  }

  private pursueSession(): void {
    const domain = this.client.sessionDomain
    if (this.callingSession || this.sessionVersion === this.version || !domain.up || domain.retries.isWaiting(this)) return
    this.callingSession = true
    let { version } = this
    const make = () => {
      if (this.client.isClosed()) return undefined
      version = this.version
      const { clientId, epoch } = this.client
      return { name: 'setSubscriptions', shard: domain.shard, clientId, epoch, version, subscriptions: this.list } as const
    }
    domain.ask<'setSubscriptions'>(make, this.timeoutMs, (outcome) => {
      this.callingSession = false
      if (this.client.isClosed()) return
      if (outcome.kind === 'reply' && outcome.message.outcome === 'fenced') {
        this.client.superseded()
        return
      }
      if (outcome.kind === 'reply' && outcome.message.outcome === 'done') {
        this.sessionVersion = version
        this.settle()
        this.pursueSession()
      } else this.retryLater(domain, this, () => this.pursueSession())
    })
  }

  private pursue(attachment: Attachment): void {
    const { domain } = attachment
    if (attachment.calling || !domain.up || domain.retries.isWaiting(attachment)) return
    if (attachment.doneVersion === this.version && attachment.doneTerm === domain.term) return
    attachment.calling = true
    const { term } = domain
    let { version } = this
    domain.attacher.attach({
      make: () => {
        if (this.client.isClosed()) return undefined
        version = this.version
        return this.attachRequest(attachment)
      },
      done: (answer) => {
        attachment.calling = false
        if (this.client.isClosed()) return
        if (answer === undefined) this.retryLater(domain, attachment, () => this.pursue(attachment))
        else if (answer.outcome === 'fenced') this.client.superseded()
        else {
          attachment.doneVersion = version
          attachment.doneTerm = term
          attachment.firstQueueEnd ??= answer.queueEnd
          this.settle()
          this.pursue(attachment)
        }
      },
    })
  }

  private attachRequest({ domain, doneVersion }: Attachment): SessionAttach {
    const { version } = this
    const { clientId, incarnation, epoch, handle } = this.client
    const concerns = (filter: string) => shardsOfFilter(this.counts, filter).includes(domain.shard)
    const subscriptions = this.list.filter(({ filter }) => concerns(filter))
    // They belong to the version: asked for again until the shard has it, and not when it only changes hands.
    const touched = doneVersion < version ? (this.change?.touched.filter(concerns) ?? []) : []
    return { clientId, incarnation, epoch, version, handle, subscriptions, touched }
  }

  private settle(): void {
    const { change } = this
    if (change === undefined || this.sessionVersion < change.version) return
    if (change.shards.some((shard) => this.attachments.get(shard)!.doneVersion < change.version)) return
    this.change = undefined
    change.done()
    this.next()
  }

  private next(): void {
    // A change that touches nothing is done at once. A refusal may have ended the connection: then nothing is attached any more.
    while (this.change === undefined && this.queued.length > 0 && !this.client.isClosed()) this.queued.shift()!()
    if (this.queued.length <= QUEUED_LIMIT / 2) this.client.readOn(holding.subscribes)
  }

  private retryLater(domain: ShardDomain, who: object, again: () => void): void {
    domain.retries.later(who, () => {
      if (!this.client.isClosed()) again()
    })
  }
}
