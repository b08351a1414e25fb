/**
 * Wills that have fired, on their way to the topic shards. Sent from when the firing is durable, again and again until the topic shard has it.
 *
 * Promises: none is sent of which a new owner of the session shard would not know that it fired; the wills of one client go to a topic shard one after the
 * other, in the order of their epochs, which is how the topic shard knows a repetition. What was stored and not yet logged as stored is sent again by a new owner.
 */
import type { Host, Timer } from '../host.ts'
import { type ShardCounts, shardOfTopic } from '../shards.ts'
import type { Volume } from '../volume/volume.ts'
import { peekMessage } from './message-index.ts'
import type { ShardCaller } from './shard-caller.ts'

export interface FiredWill {
  readonly clientId: string
  readonly epoch: number
  readonly message: Buffer
}

interface Entry {
  readonly will: FiredWill
  readonly shard: number
  state: 'being-logged' | 'waiting' | 'called'
}

const RETRY_MS = 250

export class WillOutbox {
  private readonly host: Host
  private readonly counts: ShardCounts
  private readonly caller: Pick<ShardCaller, 'call' | 'refresh'>
  private readonly onStored: (will: FiredWill) => void
  /** By client, in the order of firing. */
  private readonly entries = new Map<string, Entry[]>()
  private volume: Volume | undefined
  private timer: Timer | undefined

  constructor(host: Host, counts: ShardCounts, caller: Pick<ShardCaller, 'call' | 'refresh'>, onStored: (will: FiredWill) => void) {
    this.host = host
    this.counts = counts
    this.caller = caller
    this.onStored = onStored
  }

  /** By the log: this one has fired. */
  add(will: FiredWill): void {
    const entry: Entry = { will, shard: shardOfTopic(this.counts, peekMessage(will.message).topic), state: 'waiting' }
    const entries = this.entries.get(will.clientId)
    if (entries === undefined) this.entries.set(will.clientId, [entry])
    else entries.push(entry)
    if (this.volume === undefined) return
    entry.state = 'being-logged'
    this.volume.whenDurable(() => {
      entry.state = 'waiting'
      this.pursue(will.clientId)
    })
  }

  /** By the log: the topic shard has this one. */
  done(clientId: string, epoch: number): void {
    const left = (this.entries.get(clientId) ?? []).filter(({ will }) => will.epoch !== epoch)
    if (left.length === 0) this.entries.delete(clientId)
    else this.entries.set(clientId, left)
  }

  snapshot(): readonly FiredWill[] {
    return [...this.entries.values()].flatMap((entries) => entries.map(({ will }) => will))
  }

  /** What was replayed is durable. */
  start(volume: Volume): void {
    this.volume = volume
    for (const clientId of [...this.entries.keys()]) this.pursue(clientId)
  }

  stop(): void {
    this.volume = undefined
    this.timer?.cancel()
  }

  private pursue(clientId: string): void {
    const entries = this.entries.get(clientId) ?? []
    for (const entry of entries) {
      const isFirst = entries.find(({ shard }) => shard === entry.shard) === entry
      if (isFirst && entry.state === 'waiting') this.call(entry)
    }
  }

  private call(entry: Entry): void {
    const { will, shard } = entry
    const { clientId, epoch, message } = will
    entry.state = 'called'
    this.caller.call(shard, { name: 'publishWill', shard, clientId, epoch, message }, (outcome) => {
      if (this.volume === undefined) return
      if (outcome.kind === 'reply' && outcome.message.outcome === 'stored') {
        this.onStored(will)
        this.pursue(clientId)
        return
      }
      entry.state = 'waiting'
      this.retryLater()
    })
  }

  private retryLater(): void {
    this.timer ??= this.host.setTimer(RETRY_MS, () => {
      this.timer = undefined
      this.caller.refresh()
      for (const clientId of [...this.entries.keys()]) this.pursue(clientId)
    })
  }
}
