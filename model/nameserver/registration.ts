/**
 * A broker's standing with the nameservers: it registers with each of them, sends heartbeats, and keeps their last answers.
 *
 * What it promises: each nameserver that can be reached is told what the broker serves now, in the order in which that changed; and `ownerless` speaks only for a majority of all
 * nameservers, heard lately, none of them young. It does not decide who takes a shard, and a wrong answer costs no message: the volume's epochs keep two owners apart.
 */
import type { Address, Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { Link, type LinkHandler } from '../wire/link.ts'

export interface ServedShard {
  readonly shard: number
  readonly epoch: number
}

export interface RegistrationOptions {
  readonly broker: string
  readonly address: Address
  readonly nameservers: readonly Address[]
  readonly settings: ServiceSettings
  /** What the broker serves at this moment. Asked for at each register. */
  readonly serving: () => readonly ServedShard[]
  /** What it is taking over at this moment. */
  readonly attaching: () => readonly number[]
  /** After an answer that lists ownerless shards, or is the first that lists none again: time to ask `ownerless`. */
  readonly onTick?: () => void
}

/** Heartbeats may be this much late before the answers count as old. */
const FRESH_INTERVALS = 1.5

export class Registration {
  private readonly host: Host
  private readonly options: RegistrationOptions
  private readonly peers: readonly Peer[]
  private readonly freshMs: number
  private lastBeatMs = 0
  private telling: Timer | undefined

  constructor(host: Host, options: RegistrationOptions) {
    this.host = host
    this.options = options
    const intervalMs = options.settings.broker.heartbeatIntervalMs
    this.freshMs = FRESH_INTERVALS * intervalMs
    this.peers = options.nameservers.map((address) => new Peer(host, address, options))
    // Brokers that start together do not beat together.
    this.arm(host.random('heartbeat phase').next() * intervalMs)
  }

  /** What the broker serves, or is taking over, has changed: every nameserver is told, once for all that changes in one instant. A broker may take many shards at a time. */
  changed(): void {
    if (this.telling !== undefined) return
    this.telling = this.host.setTimer(0, () => {
      this.telling = undefined
      for (const peer of this.peers) peer.servingChanged()
    })
  }

  /**
   * @returns the highest epoch known of the shard, 0 where it never had one, when a majority says that nobody serves it; else undefined. Only answers to the
   * latest heartbeat count: since an older one, which may be half a minute old, another broker may have taken the shard.
   */
  ownerless(shard: number): { readonly epoch: number } | undefined {
    let votes = 0
    let epoch = 0
    for (const { answer } of this.peers) {
      const listed = answer?.ownerless.get(shard)
      if (answer === undefined || listed === undefined) continue
      if (listed > epoch) epoch = listed
      if (!answer.young && answer.askedMs >= this.lastBeatMs) votes++
    }
    return this.isMajority(votes) ? { epoch } : undefined
  }

  /** The brokers that a majority of nameservers calls alive, and always the own name; sorted by code unit. */
  alive(): readonly string[] {
    const nowMs = this.host.nowMs()
    const votes = new Map<string, number>()
    for (const { answer } of this.peers) {
      if (answer === undefined || nowMs - answer.askedMs > this.freshMs) continue
      for (const name of answer.alive) votes.set(name, (votes.get(name) ?? 0) + 1)
    }
    const names = [this.options.broker]
    for (const [name, count] of votes) if (name !== this.options.broker && this.isMajority(count)) names.push(name)
    return names.sort()
  }

  private isMajority(votes: number): boolean {
    return votes * 2 > this.peers.length
  }

  private arm(delayMs: number): void {
    this.host.setTimer(delayMs, () => {
      this.lastBeatMs = this.host.nowMs()
      for (const peer of this.peers) peer.beat()
      this.arm(this.options.settings.broker.heartbeatIntervalMs)
    })
  }
}

interface Answer {
  /** When the heartbeat left: what it says was true at some time after that. */
  readonly askedMs: number
  readonly young: boolean
  /** Highest epoch by shard. */
  readonly ownerless: ReadonlyMap<number, number>
  readonly alive: readonly string[]
}

/**
 * One nameserver as the broker sees it. A call without an answer breaks the link and dials anew: after a partition a new connection is there sooner than
 * TCP's next retransmission, and the register that goes first on it makes up for whatever was lost.
 */
class Peer implements LinkHandler {
  answer: Answer | undefined
  private readonly host: Host
  private readonly options: RegistrationOptions
  private readonly link: Link

  constructor(host: Host, address: Address, options: RegistrationOptions) {
    this.host = host
    this.options = options
    this.link = Link.dial(host, address, this)
  }

  onUp(): void {
    this.register()
    this.beat()
  }

  servingChanged(): void {
    if (this.link.up) this.register()
  }

  beat(): void {
    if (!this.link.up) return
    const { broker, settings } = this.options
    const { generation } = this.link
    const askedMs = this.host.nowMs()
    this.link.request({ name: 'heartbeat', broker, bootId: this.host.bootId }, settings.broker.heartbeatIntervalMs, (outcome) => {
      if (outcome.kind !== 'reply') {
        this.giveUp(generation)
        return
      }
      const { known, young, ownerless, alive } = outcome.message
      const before = this.answer
      this.answer = { askedMs, young, ownerless: new Map(ownerless.map(({ shard, epoch }) => [shard, epoch])), alive }
      if (!known) this.register()
      if (ownerless.length > 0 || (before !== undefined && before.ownerless.size > 0)) this.options.onTick?.()
    })
  }

  private register(): void {
    const { broker, address, settings, serving, attaching } = this.options
    const { generation } = this.link
    const message = {
      name: 'register' as const,
      broker,
      bootId: this.host.bootId,
      zone: this.host.zone,
      host: address.host,
      port: address.port,
      serving: serving(),
      attaching: attaching(),
    }
    this.link.request(message, settings.broker.heartbeatIntervalMs, (outcome) => {
      if (outcome.kind !== 'reply') this.giveUp(generation)
    })
  }

  private giveUp(generation: number): void {
    if (this.link.up && this.link.generation === generation) this.link.abort()
  }
}
