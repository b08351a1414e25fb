/**
 * A proxy's knowledge of the control plane's rules: those that were planned with it at first, then the newest that any console has told.
 *
 * No client waits on it: whatever becomes of the consoles, the last rules stay in force, for ever. A change comes as a notice over any link to a console; the pulls are for
 * what was changed while the link at hand was dead without a word: they find that out, and the new link asks.
 */
import { emit } from '../events.ts'
import type { Address, Host } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { Link, type LinkHandler } from '../wire/link.ts'
import type { Message, RulesDocument } from '../wire/messages.ts'

export class RulesFollower implements LinkHandler {
  rules: RulesDocument
  private readonly host: Host
  private readonly settings: ServiceSettings['console']
  private readonly onChange: () => void
  private readonly links: readonly Link[]
  private next: number

  constructor(
    host: Host,
    consoles: readonly Address[],
    planned: RulesDocument,
    settings: ServiceSettings['console'],
    onChange: () => void,
  ) {
    this.host = host
    this.rules = planned
    this.settings = settings
    this.onChange = onChange
    this.links = consoles.map((address) => Link.dial(host, address, this))
    const random = host.random('rules pull')
    this.next = random.below(Math.max(1, consoles.length))
    if (consoles.length > 0) this.arm(random.next() * settings.rulesPullIntervalMs)
  }

  onUp(link: Link): void {
    this.pull(link)
  }

  onNotice(_link: Link, message: Message): void {
    if (message.name === 'rules') this.adopt(message.document)
  }

  private arm(delayMs: number): void {
    this.host.setTimer(delayMs, () => {
      const link = this.links[this.next]!
      this.next = (this.next + 1) % this.links.length
      if (link.up) this.pull(link)
      this.arm(this.settings.rulesPullIntervalMs)
    })
  }

  private pull(link: Link): void {
    const { generation } = link
    link.request({ name: 'pullRules', version: this.rules.version }, this.settings.requestTimeoutMs, (outcome) => {
      if (outcome.kind === 'reply') this.adopt(outcome.message.document)
      // Up and silent: only a new connection will bring news.
      else if (link.up && link.generation === generation) link.abort()
    })
  }

  private adopt(document: RulesDocument | undefined): void {
    if (document === undefined || document.version <= this.rules.version) return
    this.rules = document
    if (this.host.recording) emit(this.host, { kind: 'rules-adopted', version: document.version })
    this.onChange()
  }
}
