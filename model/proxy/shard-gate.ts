/**
 * What a proxy asks a shard passes here. As long as the shard answers, everything leaves at once. After a new term, a call without a definite answer or a pause (`doubt`) one call
 * goes ahead alone; those behind it are held until it has its answer, and then leave in the order in which they came, or come back unsent. So a shard whose owner
 * is not there yet gets one call from each proxy at a time, however many clients wait for it.
 *
 * What is asked is made when it leaves, so that whoever was held says what is so by then, or nothing. Left out: opening a session, which may wait for another proxy's word and must
 * not hold up the rest; closing one, which must not be overtaken by the next opening; and notices.
 */
import type { Link, Outcome } from '../wire/link.ts'
import type { MessageOf, ReplyOf } from '../wire/messages.ts'

export type Asked = 'publish' | 'attach' | 'setSubscriptions' | 'resumeSessions' | 'receivePublish' | 'releasePublish'

interface Held {
  readonly send: () => void
  readonly refuse: () => void
}

export class ShardGate {
  private state: 'open' | 'doubtful' | 'probing' = 'doubtful'
  private term = 0
  private held: Held[] = []

  /** @param make gives what is asked at the moment when it leaves, or undefined where that has become idle: then it is `not-sent`. */
  ask<N extends Asked>(
    link: Link,
    make: () => MessageOf<N> | undefined,
    timeoutMs: number,
    done: (outcome: Outcome<ReplyOf<N>>) => void,
  ): void {
    if (this.state === 'probing') {
      const refuse = () => done({ kind: 'not-sent' })
      const send = () => {
        if (!this.send(link, make, timeoutMs, done, false)) refuse()
      }
      this.held.push({ send, refuse })
      return
    }
    const isProbe = this.state === 'doubtful'
    if (this.send(link, make, timeoutMs, done, isProbe)) {
      if (isProbe) this.state = 'probing'
    } else done({ kind: 'not-sent' })
  }

  /** Whether the shard answers has to be found out again. */
  doubt(): void {
    if (this.state === 'open') this.state = 'doubtful'
  }

  /** The shard has a new owner, or its link is up again: what is held comes back, to be asked in the new term. */
  onTerm(): void {
    this.term++
    this.state = 'doubtful'
    this.refuseHeld()
  }

  private send<N extends Asked>(
    link: Link,
    make: () => MessageOf<N> | undefined,
    timeoutMs: number,
    done: (outcome: Outcome<ReplyOf<N>>) => void,
    isProbe: boolean,
  ): boolean {
    const message = make()
    if (message === undefined) return false
    const { term } = this
    link.request(message, timeoutMs, (outcome) => {
      // What is held was asked before anything that the answer sets off.
      if (term === this.term) this.heard(outcome.kind === 'reply' && outcome.message.outcome !== 'not-owner', isProbe)
      done(outcome)
    })
    return true
  }

  private heard(isDefinite: boolean, isProbe: boolean): void {
    if (isDefinite) {
      this.state = 'open'
      const released = this.held
      this.held = []
      for (const { send } of released) send()
    } else if (isProbe) {
      this.state = 'doubtful'
      this.refuseHeld()
    } else this.doubt()
  }

  private refuseHeld(): void {
    const refused = this.held
    this.held = []
    for (const { refuse } of refused) refuse()
  }
}
