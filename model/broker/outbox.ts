/**
 * What a session shard owes to topic shards: calls that are made from when the log says that they are due, again and again until each shard has answered, by whoever owns the
 * session shard by then (a transactional outbox).
 *
 * Promises: nothing is called of which a new owner would not know that it is due; for one client a shard is called for one item after the other, in the order in which they came.
 * What was answered and is not yet logged as done is called again by a new owner, so a repetition has to be harmless.
 */
import type { Host, Timer } from '../host.ts'
import type { Volume } from '../volume/volume.ts'
import type { ShardCaller } from './shard-caller.ts'

export type OutboxCaller = Pick<ShardCaller, 'call' | 'refresh'>

/** What the items are, and how a shard is told of one. */
export interface Errand<Item> {
  /** Among all items that are not done. */
  key(item: Item): number
  shards(item: Item): readonly number[]
  call(caller: OutboxCaller, shard: number, item: Item, answered: (isDone: boolean) => void): void
  /** Every shard has answered: to be logged. */
  onDone(item: Item): void
}

interface Entry<Item> {
  readonly item: Item
  readonly left: Set<number>
  /** Shards that have not answered the last call yet. */
  readonly called: Set<number>
  isLogged: boolean
}

const RETRY_MS = 250

export class Outbox<Item extends { readonly clientId: string }> {
  private readonly host: Host
  private readonly caller: OutboxCaller
  private readonly errand: Errand<Item>
  private readonly entries = new Map<number, Entry<Item>>()
  private readonly byClient = new Map<string, Set<Entry<Item>>>()
  private volume: Volume | undefined
  private timer: Timer | undefined

  constructor(host: Host, caller: OutboxCaller, errand: Errand<Item>) {
    this.host = host
    this.caller = caller
    this.errand = errand
  }

  /** By the log: this one is due. */
  add(item: Item): void {
    const left = new Set(this.errand.shards(item))
    if (left.size === 0) return
    const entry: Entry<Item> = { item, left, called: new Set(), isLogged: this.volume === undefined }
    this.entries.set(this.errand.key(item), entry)
    const others = this.byClient.get(item.clientId)
    if (others === undefined) this.byClient.set(item.clientId, new Set([entry]))
    else others.add(entry)
    this.volume?.whenDurable(() => {
      entry.isLogged = true
      this.pursue(item.clientId)
    })
  }

  /** By the log: every shard has this one. */
  done(key: number): void {
    const entry = this.entries.get(key)
    if (entry === undefined) return
    this.entries.delete(key)
    const others = this.byClient.get(entry.item.clientId)!
    others.delete(entry)
    if (others.size === 0) this.byClient.delete(entry.item.clientId)
  }

  snapshot(): readonly Item[] {
    return [...this.entries.values()].map(({ item }) => item)
  }

  /** What was replayed is durable. */
  start(volume: Volume): void {
    this.volume = volume
    this.pursueAll()
  }

  stop(): void {
    this.volume = undefined
    this.timer?.cancel()
  }

  private pursueAll(): void {
    for (const clientId of [...this.byClient.keys()]) this.pursue(clientId)
  }

  private pursue(clientId: string): void {
    const taken = new Set<number>()
    for (const entry of [...(this.byClient.get(clientId) ?? [])]) {
      for (const shard of [...entry.left]) {
        if (entry.isLogged && !taken.has(shard) && !entry.called.has(shard)) this.call(entry, shard)
        taken.add(shard)
      }
    }
  }

  private call(entry: Entry<Item>, shard: number): void {
    entry.called.add(shard)
    this.errand.call(this.caller, shard, entry.item, (isDone) => {
      entry.called.delete(shard)
      if (this.volume === undefined) return
      if (!isDone) {
        this.retryLater()
        return
      }
      entry.left.delete(shard)
      if (entry.left.size === 0) this.errand.onDone(entry.item)
      this.pursue(entry.item.clientId)
    })
  }

  private retryLater(): void {
    this.timer ??= this.host.setTimer(RETRY_MS, () => {
      this.timer = undefined
      this.caller.refresh()
      this.pursueAll()
    })
  }
}
