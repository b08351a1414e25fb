/**
 * Sessions that are over, and the topic shards that have not yet said that they forgot them. Tried until each has; repeating it is harmless.
 * Not begun before the end is durable: a new owner that knew nothing of it would present a session whose messages are gone.
 */
import type { Host, Timer } from '../host.ts'
import type { Volume } from '../volume/volume.ts'
import type { ShardCaller } from './shard-caller.ts'

export interface Cleanup {
  readonly clientId: string
  readonly incarnation: number
  readonly epoch: number
  readonly topicShards: readonly number[]
}

const RETRY_MS = 1000

export class SessionCleanups {
  private readonly host: Host
  private readonly caller: Pick<ShardCaller, 'call' | 'refresh'>
  private readonly onCleaned: (incarnation: number) => void
  /** By incarnation, which is unique in a shard. */
  private readonly open = new Map<number, { readonly cleanup: Cleanup; readonly left: Set<number>; logged: boolean }>()
  private volume: Volume | undefined
  private timer: Timer | undefined

  constructor(host: Host, caller: Pick<ShardCaller, 'call' | 'refresh'>, onCleaned: (incarnation: number) => void) {
    this.host = host
    this.caller = caller
    this.onCleaned = onCleaned
  }

  /** By the log: this one is over. */
  add(cleanup: Cleanup): void {
    if (cleanup.topicShards.length === 0) return
    const entry = { cleanup, left: new Set(cleanup.topicShards), logged: this.volume === undefined }
    this.open.set(cleanup.incarnation, entry)
    this.volume?.whenDurable(() => {
      entry.logged = true
      this.pursue(cleanup.incarnation)
    })
  }

  /** By the log: this one is finished. */
  done(incarnation: number): void {
    this.open.delete(incarnation)
  }

  snapshot(): readonly Cleanup[] {
    return [...this.open.values()].map((entry) => entry.cleanup)
  }

  /** What was replayed is durable. */
  start(volume: Volume): void {
    this.volume = volume
    for (const incarnation of [...this.open.keys()]) this.pursue(incarnation)
  }

  stop(): void {
    this.volume = undefined
    this.timer?.cancel()
  }

  private pursue(incarnation: number): void {
    const entry = this.open.get(incarnation)
    if (entry === undefined || !entry.logged) return
    const { clientId, epoch } = entry.cleanup
    for (const shard of [...entry.left]) {
      this.caller.call(shard, { name: 'endSession', shard, clientId, incarnation, epoch }, (outcome) => {
        if (this.volume === undefined || this.open.get(incarnation) !== entry) return
        if (outcome.kind !== 'reply' || outcome.message.outcome !== 'done') {
          this.retryLater()
          return
        }
        entry.left.delete(shard)
        if (entry.left.size > 0) return
        this.open.delete(incarnation)
        this.onCleaned(incarnation)
      })
    }
  }

  private retryLater(): void {
    this.timer ??= this.host.setTimer(RETRY_MS, () => {
      this.timer = undefined
      this.caller.refresh()
      for (const incarnation of [...this.open.keys()]) this.pursue(incarnation)
    })
  }
}
