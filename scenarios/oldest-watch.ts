/**
 * Asks the service now and then, over the network as any caller would, for the oldest message that it still has of each topic: where a run is longer than the retention, that says
 * when messages go. The auditor's look at the end is one instant, and would not see what is late, or early, at another.
 *
 * A shard that does not answer is not asked again before the next time: nothing is said of it then.
 */
import type { Address, Boot, Host } from '../model/host.ts'
import type { ServiceSettings } from '../model/settings.ts'
import { Reader } from '../model/wire/codec.ts'
import { type StoredMessage, storedMessageField } from '../model/wire/messages.ts'
import { ShardLinks } from './shard-links.ts'

export interface OldestWatchConfig {
  readonly nameservers: readonly Address[]
  readonly settings: ServiceSettings
  readonly intervalMs: number
  /** Those to ask for, as they come up. */
  topics(): readonly string[]
  shardOfTopic(topic: string): number
  /** Undefined: the service has none. `tookMs`: from question to answer. */
  onOldest(topic: string, oldest: StoredMessage | undefined, tookMs: number): void
}

const REQUEST_TIMEOUT_MS = 1000
const END_OF_TIME_MS = Number.MAX_SAFE_INTEGER

class OldestWatch {
  private readonly host: Host
  private readonly config: OldestWatchConfig
  private readonly links: ShardLinks

  constructor(host: Host, config: OldestWatchConfig) {
    this.host = host
    this.config = config
    this.links = new ShardLinks(host, config.nameservers, config.settings)
    this.wait()
  }

  private wait(): void {
    this.host.setTimer(this.config.intervalMs, () => {
      this.links.refreshNow()
      for (const topic of this.config.topics()) this.ask(topic)
      this.wait()
    })
  }

  private ask(topic: string): void {
    const shard = this.config.shardOfTopic(topic)
    const link = this.links.to(shard)
    if (link === undefined) return
    const askedMs = this.host.nowMs()
    link.request(
      { name: 'queryMessages', shard, topic, fromMs: 0, toMs: END_OF_TIME_MS, afterOffset: 0, limit: 1 },
      REQUEST_TIMEOUT_MS,
      (outcome) => {
        if (outcome.kind !== 'reply' || outcome.message.outcome !== 'found') return
        const bytes = outcome.message.messages[0]?.message
        const oldest = bytes === undefined ? undefined : storedMessageField.read(new Reader(bytes))
        this.config.onOldest(topic, oldest, this.host.nowMs() - askedMs)
      },
    )
  }
}

export function bootOldestWatch(config: OldestWatchConfig): Boot {
  return (host) => {
    new OldestWatch(host, config)
    return {}
  }
}
