/** Connections that are over, and whose session shard has not yet said that it knows. Told until it does; the epoch makes it harmless to tell late. */
import type { MessageOf } from '../wire/messages.ts'
import type { ShardDomain } from './shard-domain.ts'

type Closing = Omit<MessageOf<'closeSession'>, 'name' | 'shard'>

interface Waiting {
  readonly closing: Closing
  /** The session shard knows. */
  readonly told: (() => void) | undefined
}

export class SessionClosings {
  private readonly timeoutMs: number
  private readonly waiting = new Map<ShardDomain, Set<Waiting>>()
  private readonly calling = new Set<Waiting>()

  constructor(timeoutMs: number) {
    this.timeoutMs = timeoutMs
  }

  add(domain: ShardDomain, closing: Closing, told?: () => void): void {
    let all = this.waiting.get(domain)
    if (all === undefined) {
      all = new Set()
      this.waiting.set(domain, all)
    }
    const entry = { closing, told }
    all.add(entry)
    this.call(domain, entry)
  }

  /** Whether every shard knows of all that was to be told. */
  get settled(): boolean {
    for (const all of this.waiting.values()) if (all.size > 0) return false
    return true
  }

  pursue(domain: ShardDomain): void {
    const all = this.waiting.get(domain)
    if (all !== undefined) for (const entry of all) this.call(domain, entry)
  }

  private call(domain: ShardDomain, entry: Waiting): void {
    if (!domain.up || this.calling.has(entry)) return
    this.calling.add(entry)
    domain.broker!.link.request({ name: 'closeSession', shard: domain.shard, ...entry.closing }, this.timeoutMs, (outcome) => {
      this.calling.delete(entry)
      if (outcome.kind !== 'reply' || outcome.message.outcome === 'not-owner') return
      this.waiting.get(domain)!.delete(entry)
      entry.told?.()
    })
  }
}
