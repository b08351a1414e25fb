/**
 * What a proxy knows of one shard: where it is served, over which link, and for how long it may speak in that shard's name.
 *
 * `term` grows with every new connection to an owner and with every new owner. What was validated or attached in an earlier term has to be done again: a word of the broker
 * (a takeover, a removal) may have been lost with the connection.
 */
import type { BrokerLink } from './broker-links.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ShardRetries } from './shard-retries.ts'

export class ShardDomain {
  readonly shard: number
  readonly retries: ShardRetries
  broker: BrokerLink | undefined
  /** The owner's epoch, by the route. */
  epoch = 0
  term = 0
  /** When the ping was sent whose answer last named this shard. */
  lastReachedMs: number
  /** Clients whose session is here (session shard), or that have subscriptions here (topic shard). */
  readonly clients = new Set<ClientConnection>()
  /** Whether it could be spoken for when that was last asked for: to notice when it can be again. */
  private spoke = false

  constructor(shard: number, nowMs: number, retries: ShardRetries) {
    this.shard = shard
    this.retries = retries
    this.lastReachedMs = nowMs
  }

  get up(): boolean {
    return this.broker?.link.up === true
  }

  /** Whether the owner's word still holds that the sessions validated in this term are ours to speak for. */
  canSpeak(nowMs: number): boolean {
    const broker = this.broker
    this.spoke = broker !== undefined && broker.leaseUntilMs > nowMs && broker.link.up && this.isServedBy(broker)
    return this.spoke
  }

  /** An owner that lost the shard and got it back, in another epoch, has not confirmed what was confirmed in ours. */
  isServedBy(broker: BrokerLink): boolean {
    return broker.serving.get(this.shard) === this.epoch
  }

  /** @returns true when it can be spoken for now and could not when last asked. */
  regained(nowMs: number): boolean {
    const before = this.spoke
    return this.canSpeak(nowMs) && !before
  }
}
