/** Sessions that are over, and the topic shards that have not yet said that they forgot them. Tried until each has; repeating it is harmless. */
import type { Host, Timer } from '../host.ts'
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
  private readonly caller: ShardCaller
  private readonly onCleaned: (incarnation: number) => void
  /** By incarnation, which is unique in a shard. */
  private readonly open = new Map<number, { readonly cleanup: Cleanup; readonly left: Set<number> }>()
  private started = false
  private timer: Timer | undefined

  constructor(host: Host, caller: ShardCaller, onCleaned: (incarnation: number) => void) {
    this.host = host
    this.caller = caller
    this.onCleaned = onCleaned
  }

  add(cleanup: Cleanup): void {
    if (cleanup.topicShards.length === 0) return
    this.open.set(cleanup.incarnation, { cleanup, left: new Set(cleanup.topicShards) })
    if (this.started) this.pursue(cleanup.incarnation)
  }

  /** By the log: this one is finished. */
  done(incarnation: number): void {
    this.open.delete(incarnation)
  }

  snapshot(): readonly Cleanup[] {
    return [...this.open.values()].map((entry) => entry.cleanup)
  }

  start(): void {
    this.started = true
    for (const incarnation of [...this.open.keys()]) this.pursue(incarnation)
  }

  stop(): void {
    this.started = false
    this.timer?.cancel()
  }

  private pursue(incarnation: number): void {
    const entry = this.open.get(incarnation)
    if (entry === undefined) return
    const { clientId, epoch } = entry.cleanup
    for (const shard of [...entry.left]) {
      this.caller.call(shard, { name: 'endSession', shard, clientId, incarnation, epoch }, (outcome) => {
        if (!this.started || this.open.get(incarnation) !== entry) return
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
