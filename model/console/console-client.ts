/**
 * What an operator's tool has to reach the console with: it asks one console, a moment later the next as well, until one has answered.
 *
 * So the same request may be underway to several consoles, and one of them may take it up long after another has answered. Questions and kicks may be asked twice. A change says whose it is and
 * which one of theirs, by which the consoles make it once (`service-rules.ts`); for that the changes of one client wait for each other.
 * A console that cannot do it (no majority of its peers, a shard out of reach) does not keep the others from being asked; its answer counts where none has a better one.
 */
import type { Address, Host, Timer } from '../host.ts'
import { Link } from '../wire/link.ts'
import type { MessageOf, ReplyOf } from '../wire/messages.ts'
import type { RulesChange } from './service-rules.ts'

export type ConsoleRequest = RulesChange['name'] | 'findMessages' | 'traceMessage' | 'listClients' | 'kickClient'
/** Without the id of a change, which is the client's own matter. */
export type Asked<N extends ConsoleRequest> = { readonly name: N } & Omit<MessageOf<N>, 'id' | 'name'>

/** More than a console takes to find out that it cannot answer. */
const TIMEOUT_MS = 5000
/** A console that is silent for this long may be one of a zone that went dark. */
const PATIENCE_MS = 1000
const CONNECT_PAUSE_MS = 100
/** Each console is tried so often. */
const ROUNDS = 2
const CHANGES: ReadonlySet<ConsoleRequest> = new Set<RulesChange['name']>(['createTopic', 'deleteTopic', 'setQuotas'])

export class ConsoleClient {
  private readonly host: Host
  private readonly links: readonly Link[]
  private readonly id: number
  private next = 0
  private changes = 0
  /** The one that is underway, and those that wait for it. */
  private readonly waiting: (() => void)[] = []

  constructor(host: Host, consoles: readonly Address[]) {
    this.host = host
    // No other has it: the stream goes on where it was left, after a restart too.
    const random = host.random('console client')
    this.id = random.below(0x20_0000) * 0x1_0000_0000 + random.below(0x1_0000_0000)
    this.links = consoles.map((address) => Link.dial(host, address, {}))
  }

  /** Undefined: no console has answered. */
  ask<N extends ConsoleRequest>(asked: Asked<N>, done: (answer: ReplyOf<N> | undefined) => void): void {
    if (!CHANGES.has(asked.name)) {
      this.tryAll(asked as unknown as MessageOf<N>, done)
      return
    }
    const request = { ...asked, id: { client: this.id, number: ++this.changes } } as unknown as MessageOf<N>
    this.waiting.push(() =>
      this.tryAll(request, (answer) => {
        this.waiting.shift()
        this.waiting[0]?.()
        done(answer)
      }),
    )
    if (this.waiting.length === 1) this.waiting[0]!()
  }

  private tryAll<N extends ConsoleRequest>(request: MessageOf<N>, done: (answer: ReplyOf<N> | undefined) => void): void {
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
