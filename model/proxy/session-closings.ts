/** Connections that are over, and whose session shard has not yet said that it knows. Told until it does; the epoch makes it harmless to tell late. */
import type { ShardDomain } from './shard-domain.ts'

interface Closing {
  readonly clientId: string
  /** 0: not known, the open had no answer. */
  readonly epoch: number
  readonly proxy: string
  readonly bootId: number
  readonly handle: number
  readonly expirySeconds: number
}

export class SessionClosings {
  private readonly timeoutMs: number
  private readonly waiting = new Map<ShardDomain, Set<Closing>>()
  private readonly calling = new Set<Closing>()

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs
  }

  add(domain: ShardDomain, closing: Closing): void {
    let closings = this.waiting.get(domain)
    if (closings === undefined) {
      closings = new Set()
      this.waiting.set(domain, closings)
    }
    closings.add(closing)
    this.call(domain, closing)
  }

  pursue(domain: ShardDomain): void {
    const closings = this.waiting.get(domain)
    if (closings !== undefined) for (const closing of closings) this.call(domain, closing)
  }

  private call(domain: ShardDomain, closing: Closing): void {
    if (!domain.up || this.calling.has(closing)) return
    this.calling.add(closing)
    domain.broker!.link.request({ name: 'closeSession', shard: domain.shard, ...closing, will: 'due' }, this.timeoutMs, (outcome) => {
      this.calling.delete(closing)
      if (outcome.kind === 'reply' && outcome.message.outcome !== 'not-owner') this.waiting.get(domain)!.delete(closing)
    })
  }
}
