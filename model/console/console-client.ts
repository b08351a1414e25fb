/**
 * What an operator's tool has to reach the console with: it asks one console after the other until one has answered. All that can be asked of a console may be asked twice.
 */
import type { Address, Host } from '../host.ts'
import { Link } from '../wire/link.ts'
import type { MessageOf, ReplyOf } from '../wire/messages.ts'

export type ConsoleRequest = 'createTopic' | 'deleteTopic' | 'setQuotas' | 'findMessages' | 'traceMessage' | 'listClients' | 'kickClient'

/** More than a console takes to find out that it cannot answer. */
const TIMEOUT_MS = 5000
const CONNECT_PAUSE_MS = 100
/** Each console is tried so often. */
const ROUNDS = 2

export class ConsoleClient {
  private readonly host: Host
  private readonly links: readonly Link[]
  private next = 0

  constructor(host: Host, consoles: readonly Address[]) {
    this.host = host
    this.links = consoles.map((address) => Link.dial(host, address, {}))
  }

  /** Undefined: no console has answered. */
  ask<N extends ConsoleRequest>(request: MessageOf<N>, done: (answer: ReplyOf<N> | undefined) => void): void {
    this.attempt(request, this.links.length * ROUNDS, undefined, done)
  }

  close(): void {
    for (const link of this.links) link.close()
  }

  /** @param before what a console has said that could not do it. */
  private attempt<N extends ConsoleRequest>(
    request: MessageOf<N>,
    left: number,
    before: ReplyOf<N> | undefined,
    done: (answer: ReplyOf<N> | undefined) => void,
  ): void {
    const link = this.links[this.next]!
    link.request(request, TIMEOUT_MS, (outcome) => {
      if (outcome.kind === 'reply' && outcome.message.outcome !== 'out-of-reach') {
        done(outcome.message)
        return
      }
      const answer = outcome.kind === 'reply' ? outcome.message : before
      if (left <= 1) {
        done(answer)
        return
      }
      this.next = (this.next + 1) % this.links.length
      this.host.setTimer(outcome.kind === 'not-sent' ? CONNECT_PAUSE_MS : 0, () => this.attempt(request, left - 1, answer, done))
    })
  }
}
