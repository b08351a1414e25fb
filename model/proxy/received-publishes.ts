/**
 * The packet ids of a client's QoS 2 publishes, as its session shard knows them: which message each stands for, until PUBREL.
 *
 * Every question is asked until it has a definite answer, and answered in the order of asking, once each. They are sent without waiting for each other; when one has no
 * definite answer, all that are unanswered are asked again, in order. To ask again is harmless as long as nothing else has happened to the packet id meanwhile: so a release
 * waits until every question before it about its packet id has its answer, and the other way round. Else the repetition of a PUBLISH, asked again after the release, would be
 * taken for a new message. Promises nothing once the connection is closed: then no question is answered any more.
 */
import { appended } from '../small-list.ts'
import type { ShardDomain } from './shard-domain.ts'

/** What this asks of the client's connection. */
export interface ReceivedPublishesPorts {
  readonly clientId: string
  readonly epoch: number
  readonly sessionDomain: ShardDomain
  isClosed(): boolean
  /** Another connection has the session. */
  superseded(): void
}

type ReceiveAnswer =
  | { readonly kind: 'received'; readonly messageId: number; readonly openFrom: number }
  /** The session has too many packet ids in use. */
  | { readonly kind: 'quota' }

interface ReceiveAsk {
  readonly kind: 'receive'
  readonly packetId: number
  readonly done: (answer: ReceiveAnswer) => void
}

interface ReleaseAsk {
  readonly kind: 'release'
  readonly packetId: number
  readonly messageId: number
  readonly done: () => void
}

interface Entry {
  readonly ask: ReceiveAsk | ReleaseAsk
  /** Hands the answer over; undefined until there is one. */
  answer: (() => void) | undefined
}

export class ReceivedPublishes {
  private readonly timeoutMs: number
  private readonly ports: ReceivedPublishesPorts
  private entries: Entry[] = []
  /** How many of `entries` have been sent in the present attempt. */
  private sent = 0
  private attempt = 0

  constructor(timeoutMs: number, ports: ReceivedPublishesPorts) {
    this.timeoutMs = timeoutMs
    this.ports = ports
  }

  /** A PUBLISH with this packet id has come: which message is it? */
  receive(packetId: number, done: (answer: ReceiveAnswer) => void): void {
    this.add({ kind: 'receive', packetId, done })
  }

  /** PUBREL for a message; 0: for whatever the packet id stands for. That it stands for nothing is no error, since PUBREL comes again where PUBCOMP was lost. */
  release(packetId: number, messageId: number, done: () => void): void {
    this.add({ kind: 'release', packetId, messageId, done })
  }

  /** The session's shard has a new owner, or its link is up again. */
  restart(): void {
    this.attempt++
    this.sent = 0
    this.send()
  }

  private add(ask: ReceiveAsk | ReleaseAsk): void {
    this.entries = appended(this.entries, { ask, answer: undefined })
    this.send()
  }

  private send(): void {
    const { ports } = this
    if (ports.isClosed() || !ports.sessionDomain.up || ports.sessionDomain.retries.isWaiting(this)) return
    while (this.sent < this.entries.length) {
      const entry = this.entries[this.sent]!
      if (this.mustWait(entry)) return
      this.sent++
      if (entry.answer !== undefined) continue
      if (entry.ask.kind === 'receive') this.callReceive(entry, entry.ask)
      else this.callRelease(entry, entry.ask)
    }
  }

  /** Whether the other question about the same packet id was asked before and has no answer yet. */
  private mustWait({ ask }: Entry): boolean {
    for (const earlier of this.entries) {
      if (earlier.ask === ask) return false
      if (earlier.answer === undefined && earlier.ask.packetId === ask.packetId && earlier.ask.kind !== ask.kind) return true
    }
    return false
  }

  private callReceive(entry: Entry, { packetId, done }: ReceiveAsk): void {
    const { attempt } = this
    const { sessionDomain: domain, clientId, epoch } = this.ports
    const make = () => this.unlessIdle(entry, attempt, { name: 'receivePublish', shard: domain.shard, clientId, epoch, packetId } as const)
    domain.ask<'receivePublish'>(make, this.timeoutMs, (outcome) => {
      if (outcome.kind !== 'reply' || outcome.message.outcome === 'not-owner') this.unanswered(entry, attempt)
      else if (outcome.message.outcome === 'fenced') this.fenced()
      else if (outcome.message.outcome === 'quota') this.settle(entry, () => done({ kind: 'quota' }))
      else {
        const { messageId, openFrom } = outcome.message
        this.settle(entry, () => done({ kind: 'received', messageId, openFrom }))
      }
    })
  }

  private callRelease(entry: Entry, { packetId, messageId, done }: ReleaseAsk): void {
    const { attempt } = this
    const { sessionDomain: domain, clientId, epoch } = this.ports
    const make = () =>
      this.unlessIdle(entry, attempt, { name: 'releasePublish', shard: domain.shard, clientId, epoch, packetId, messageId } as const)
    domain.ask<'releasePublish'>(make, this.timeoutMs, (outcome) => {
      if (outcome.kind !== 'reply' || outcome.message.outcome === 'not-owner') this.unanswered(entry, attempt)
      else if (outcome.message.outcome === 'fenced') this.fenced()
      else this.settle(entry, done)
    })
  }

  /** What was held has been answered or asked again meanwhile, or its client has gone. */
  private unlessIdle<M>(entry: Entry, attempt: number, message: M): M | undefined {
    return attempt !== this.attempt || entry.answer !== undefined || this.ports.isClosed() ? undefined : message
  }

  private fenced(): void {
    if (!this.ports.isClosed()) this.ports.superseded()
  }

  /** Hands over what is answered, as far as nothing asked before is still open. */
  private settle(entry: Entry, answer: () => void): void {
    if (entry.answer !== undefined) return
    entry.answer = answer
    this.send()
    for (let head = this.entries[0]; head?.answer !== undefined; head = this.entries[0]) {
      if (this.ports.isClosed()) return
      this.entries.shift()
      if (this.sent > 0) this.sent--
      head.answer()
    }
  }

  private unanswered(entry: Entry, attempt: number): void {
    if (attempt !== this.attempt || entry.answer !== undefined || this.ports.isClosed()) return
    this.ports.sessionDomain.retries.later(this, () => this.restart())
  }
}
