/**
 * What an operator's tool has to reach the console with: it asks one console, a moment later the next as well, until one has answered. All that can be asked of a console may be asked twice.
 *
 * A console that cannot do it (no majority of its peers, a shard out of reach) does not keep the others from being asked; its answer counts where none has a better one.
 */
import type { Address, Host, Timer } from '../host.ts'
import { Link } from '../wire/link.ts'
import type { MessageOf, ReplyOf } from '../wire/messages.ts'

export type ConsoleRequest = 'createTopic' | 'deleteTopic' | 'setQuotas' | 'findMessages' | 'traceMessage' | 'listClients' | 'kickClient'

/** More than a console takes to find out that it cannot answer. */
const TIMEOUT_MS = 5000
/** A console that is silent for this long may be one of a zone that went dark. */
const PATIENCE_MS = 1000
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
    const { links, host } = this
    let triesLeft = links.length * ROUNDS
    let open = 0
    let isOver = false
    let poor: ReplyOf<N> | undefined
    let timer: Timer | undefined
    const settle = (answer: ReplyOf<N> | undefined) => {
      isOver = true
      timer?.cancel()
      done(answer)
    }
    const tryAfter = (delayMs: number) => {
      timer?.cancel()
      timer = host.setTimer(delayMs, tryNext)
    }
    const tryNext = () => {
      if (triesLeft === 0) return
      triesLeft--
      open++
      const asked = this.next
      tryAfter(PATIENCE_MS)
      // Whoever asks next begins with the one after it, until somebody has answered.
      this.next = (asked + 1) % links.length
      links[asked]!.request(request, TIMEOUT_MS, (outcome) => {
        open--
        if (isOver) return
        if (outcome.kind === 'reply' && outcome.message.outcome !== 'out-of-reach') {
          this.next = asked
          settle(outcome.message)
          return
        }
        if (outcome.kind === 'reply') poor = outcome.message
        if (triesLeft > 0) tryAfter(outcome.kind === 'not-sent' ? CONNECT_PAUSE_MS : 0)
        else if (open === 0) settle(poor)
      })
    }
    tryNext()
  }

  close(): void {
    for (const link of this.links) link.close()
  }
}
