/**
 * What a proxy knows of one shard: where it is served, over which link, and for how long it may speak in that shard's name.
 *
 * `term` grows with every new connection to an owner and with every new owner. What was validated or attached in an earlier term has to be done again: a word of the broker
 * (a takeover, a removal) may have been lost with the connection.
 */
import type { Host } from '../host.ts'
import type { Outcome } from '../wire/link.ts'
import type { MessageOf, ReplyOf } from '../wire/messages.ts'
import { Attacher } from './attaching.ts'
import type { BrokerLink } from './broker-links.ts'
import type { ClientConnection } from './client-connection.ts'
import { type Asked, ShardGate } from './shard-gate.ts'
import { ShardRetries } from './shard-retries.ts'

export class ShardDomain {
  readonly shard: number
  readonly retries: ShardRetries
  readonly attacher: Attacher
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
  private readonly gate = new ShardGate()

  /** @param lookForOwner asks the nameservers who serves the shard */
  constructor(host: Host, shard: number, requestTimeoutMs: number, lookForOwner: () => void) {
    this.shard = shard
    this.retries = new ShardRetries(host, shard, { lookForOwner, retrying: () => this.gate.doubt() })
    this.attacher = new Attacher(this, requestTimeoutMs)
    this.lastReachedMs = host.nowMs()
  }

  get up(): boolean {
    return this.broker?.link.up === true
  }

  /** @param make gives what is asked when it leaves, or undefined where nothing is to be asked any more */
  ask<N extends Asked>(make: () => MessageOf<N> | undefined, timeoutMs: number, done: (outcome: Outcome<ReplyOf<N>>) => void): void {
    this.gate.ask(this.broker!.link, make, timeoutMs, done)
  }

  /** A new owner, or a new link to it. Whoever waits for the shard has to ask again. */
  beginTerm(): void {
    this.term++
    this.gate.onTerm()
    this.retries.onTerm()
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
