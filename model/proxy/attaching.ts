/**
 * Attaches sessions at one topic shard. One that comes by itself is asked for at once; those that are held at the shard's gate, as all of a proxy are when the shard has a
 * new owner, wait there together and leave in one request.
 */
import type { Outcome } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { ShardDomain } from './shard-domain.ts'

export type SessionAttach = MessageOf<'attach'>['sessions'][number]
export type SessionAttached = MessageOf<'attached'>['sessions'][number]

export interface Attaching {
  /** What to ask, as it is when the request leaves; undefined where the client has gone. */
  make(): SessionAttach | undefined
  /** Undefined: without a definite answer. */
  done(answer: SessionAttached | undefined): void
}

/** Sessions in one request. */
const BATCH = 500
/** A request with so many bytes of filters takes no more sessions: a frame has an end. */
const BATCH_BYTES = 1 << 20

export class Attacher {
  private readonly domain: ShardDomain
  private readonly timeoutMs: number
  /** Those that leave with the next request that is held. */
  private gathering: Attaching[] | undefined

  constructor(domain: ShardDomain, timeoutMs: number) {
    this.domain = domain
    this.timeoutMs = timeoutMs
  }

  attach(who: Attaching): void {
    if (this.gathering !== undefined && this.gathering.length < BATCH) this.gathering.push(who)
    else this.ask([who])
  }

  private ask(all: Attaching[]): void {
    const { shard } = this.domain
    let asked: readonly Attaching[] = all
    this.gathering = all
    const make = () => {
      this.gatheredEnough(all)
      const { taken, sessions, left } = fill(all)
      asked = taken
      if (left.length > 0) this.ask(left)
      return sessions.length === 0 ? undefined : ({ name: 'attach', shard, sessions } as const)
    }
    this.domain.ask<'attach'>(make, this.timeoutMs, (outcome) => {
      this.gatheredEnough(all)
      answer(asked, outcome)
    })
  }

  private gatheredEnough(all: Attaching[]): void {
    if (this.gathering === all) this.gathering = undefined
  }
}

function fill(all: readonly Attaching[]): { taken: readonly Attaching[]; sessions: readonly SessionAttach[]; left: Attaching[] } {
  const taken: Attaching[] = []
  const sessions: SessionAttach[] = []
  let bytes = 0
  for (const [at, who] of all.entries()) {
    if (bytes >= BATCH_BYTES) return { taken, sessions, left: all.slice(at) }
    const session = who.make()
    if (session === undefined) continue
    taken.push(who)
    sessions.push(session)
    for (const { filter } of session.subscriptions) bytes += Buffer.byteLength(filter)
  }
  return { taken, sessions, left: [] }
}

function answer(asked: readonly Attaching[], outcome: Outcome<MessageOf<'attached'>>): void {
  const sessions = outcome.kind === 'reply' && outcome.message.outcome === 'done' ? outcome.message.sessions : undefined
  for (const [at, who] of asked.entries()) who.done(sessions?.[at])
}
