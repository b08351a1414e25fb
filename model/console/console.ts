/**
 * A console: the control plane's process. One a zone, all alike: each answers every request, so that people use whichever they reach.
 *
 * What it decides (topics, quotas, users) is one document in a register that all consoles share (`rules-register.ts`); what it tells of messages and clients it asks the shards.
 * It carries no data: proxies have the last rules that they heard, and go on with those for as long as no console is there.
 * Promises: a change that was answered `done` is told to every connected proxy at once, outlives a minority of the consoles, and is never made again by a copy of the request that comes late.
 * Left out: who may use the console; requests stand on the service's own network, where only operators are. Users are planned with the region.
 */
import { listenPrivately } from '../cloud/vpc.ts'
import { emit } from '../events.ts'
import type { Address, Boot, Host } from '../host.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import type { ShardCounts } from '../shards.ts'
import { Link, type LinkHandler } from '../wire/link.ts'
import type { Message, MessageOf, RulesDocument } from '../wire/messages.ts'
import { RegionQueries } from './region-queries.ts'
import { type RegisterPeer, RulesRegister } from './rules-register.ts'
import { changed, isSuperseded, type RulesChange } from './service-rules.ts'

export interface ConsoleConfig {
  readonly counts: ShardCounts
  readonly settings: ServiceSettings
  readonly nameservers: readonly Address[]
  /** Every console of the region, this one too, in the same order everywhere. */
  readonly consoles: readonly Address[]
  readonly rules: RulesDocument
}

/** Until a console that has just started knows what was chosen before. */
const CATCH_UP_RETRY_MS = 5000

export function bootConsole(config: ConsoleConfig): Boot {
  return (host) => {
    new Console(host, config)
    return {}
  }
}

class Console implements LinkHandler {
  private readonly host: Host
  private readonly settings: ServiceSettings
  private readonly register: RulesRegister
  private readonly queries: RegionQueries
  private readonly peers: readonly Link[]
  /** Who is told of changes: proxies, and the other consoles. */
  private readonly followers = new Set<Link>()
  /** The newest that is known to be chosen. */
  private rules: RulesDocument

  constructor(host: Host, config: ConsoleConfig) {
    this.host = host
    this.settings = config.settings
    this.rules = config.rules
    const { requestTimeoutMs } = config.settings.console
    const others = config.consoles.filter((address) => address.host !== host.address)
    this.peers = others.map((address) =>
      Link.dial(host, address, { onUp: (link) => this.hearFrom(link), onNotice: (_link, message) => this.hear(message) }),
    )
    this.register = new RulesRegister(
      host,
      config.consoles.findIndex((address) => address.host === host.address),
      config.rules,
      this.peers.map((link): RegisterPeer => ({ ask: (message, done) => link.request(message, requestTimeoutMs / 2, done) })),
      requestTimeoutMs,
    )
    this.queries = new RegionQueries(host, config.counts, config.nameservers, config.settings)
    listenPrivately(host, ports.console, (connection) => Link.accept(host, connection, this))
    host.setTimer(CATCH_UP_RETRY_MS * host.random('catch up').next(), () => this.catchUp())
  }

  onRequest(link: Link, message: Message, reply: (message: Message) => void): void {
    switch (message.name) {
      case 'createTopic':
      case 'deleteTopic':
      case 'setQuotas':
        this.change(message, reply)
        break
      case 'pullRules':
        this.followers.add(link)
        reply({ name: 'rules', document: message.version < this.rules.version ? this.rules : undefined })
        break
      case 'rulesPrepare':
        this.register.onPrepare(message, reply)
        break
      case 'rulesAccept':
        this.register.onAccept(message, reply)
        break
      case 'findMessages':
        this.queries.findMessages(message, reply)
        break
      case 'traceMessage':
        this.queries.traceMessage(message, reply)
        break
      case 'listClients':
        this.queries.listClients(message, reply)
        break
      case 'kickClient':
        this.queries.kickClient(message, reply)
        break
    }
  }

  onDown(link: Link): void {
    this.followers.delete(link)
  }

  private change(change: RulesChange, reply: (message: MessageOf<'rulesChanged'>) => void): void {
    let madeVersion = 0
    this.register.change(
      (rules) => {
        const next = changed(rules, change)
        if (next !== undefined && next.version > rules.version) madeVersion = next.version
        return next
      },
      (outcome) => {
        if (outcome.kind === 'out-of-reach') {
          reply({ name: 'rulesChanged', outcome: 'out-of-reach', version: 0 })
          return
        }
        const { version } = outcome.document
        if (outcome.kind === 'chosen') {
          const isNews = this.learn(outcome.document)
          if (isNews && version === madeVersion && this.host.recording)
            emit(this.host, { kind: 'rules-changed', version, change: change.name })
        }
        const chosen = isSuperseded(outcome.document, change) ? 'superseded' : 'done'
        reply({ name: 'rulesChanged', outcome: outcome.kind === 'chosen' ? chosen : 'invalid', version })
      },
    )
  }

  /** A change that changes nothing: its answer is the newest that was chosen. */
  private catchUp(): void {
    this.register.change(
      (rules) => rules,
      (outcome) => {
        if (outcome.kind === 'chosen') this.learn(outcome.document)
        else this.host.setTimer(CATCH_UP_RETRY_MS, () => this.catchUp())
      },
    )
  }

  private hearFrom(peer: Link): void {
    peer.request({ name: 'pullRules', version: this.rules.version }, this.settings.console.requestTimeoutMs, (outcome) => {
      if (outcome.kind === 'reply') this.hear(outcome.message)
    })
  }

  private hear(message: Message): void {
    if (message.name === 'rules' && message.document !== undefined) this.learn(message.document)
  }

  /** @returns whether it was news. */
  private learn(document: RulesDocument): boolean {
    if (document.version <= this.rules.version) return false
    this.rules = document
    for (const link of this.followers) link.notify({ name: 'rules', document })
    return true
  }
}
