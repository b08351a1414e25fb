/**
 * A proxy's links to the brokers: one each, kept open, pinged; the pings' answers are the leases. Subscriber acknowledgements wait here for company; a PUBREC does not,
 * because the subscriber waits for the PUBREL.
 */
import type { Address, Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { Link, type LinkHandler } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'

export interface BrokerLinksOwner {
  onBrokerUp(broker: BrokerLink): void
  onBrokerAnswered(broker: BrokerLink): void
  onDeliver(message: MessageOf<'deliver'>): void
  onRelease(message: MessageOf<'release'>): void
  onKick(message: MessageOf<'kickSession'>): void
  onDrop(message: MessageOf<'dropConnection'>): void
}

/** So many acknowledgements are sent at once, without waiting for more. */
const ACKNOWLEDGE_AT = 16

export class BrokerLink implements LinkHandler {
  readonly link: Link
  readonly address: Address
  /** Until when the last answered ping lets us speak for the shards in `serving`. */
  leaseUntilMs = 0
  /** By shard, under which epoch. */
  serving: ReadonlyMap<number, number> = new Map()
  lastPingSentMs = 0
  private readonly host: Host
  private readonly settings: ServiceSettings
  private readonly owner: BrokerLinksOwner
  private readonly acknowledged = new Map<number, { handle: number; sequence: number }[]>()
  private acknowledgedCount = 0
  private acknowledgeTimer: Timer | undefined

  constructor(host: Host, address: Address, settings: ServiceSettings, owner: BrokerLinksOwner) {
    this.host = host
    this.address = address
    this.settings = settings
    this.owner = owner
    this.link = Link.dial(host, address, this)
  }

  onUp(): void {
    this.leaseUntilMs = 0
    this.ping()
    this.owner.onBrokerUp(this)
  }

  onDown(): void {
    this.leaseUntilMs = 0
    this.acknowledged.clear()
    this.acknowledgedCount = 0
  }

  onNotice(_link: Link, message: Message): void {
    if (message.name === 'deliver') this.owner.onDeliver(message)
    else if (message.name === 'release') this.owner.onRelease(message)
  }

  onRequest(_link: Link, message: Message, reply: (message: Message) => void): void {
    if (message.name === 'kickSession') this.owner.onKick(message)
    else if (message.name === 'dropConnection') this.owner.onDrop(message)
    else return
    reply({ name: 'kicked' })
  }

  ping(): void {
    const { host, link } = this
    const sentMs = host.nowMs()
    if (!link.up || sentMs === this.lastPingSentMs) return
    const { generation } = link
    this.lastPingSentMs = sentMs
    link.request({ name: 'ping', proxy: host.machine, bootId: host.bootId }, this.settings.proxy.sessionLeaseMs, (outcome) => {
      if (!link.up || link.generation !== generation) return
      if (outcome.kind !== 'reply') {
        // A link that is up and says nothing: a new connection is there sooner than TCP gives this one up.
        link.abort()
        return
      }
      this.leaseUntilMs = Math.max(this.leaseUntilMs, sentMs + outcome.message.grantMs)
      this.serving = new Map(outcome.message.serving.map(({ shard, epoch }) => [shard, epoch]))
      this.lastPingSentMs = sentMs
      this.owner.onBrokerAnswered(this)
    })
  }

  /** The subscriber behind `handle` acknowledged a place of its queue at `shard`. Losing this means a repetition, no more. */
  acknowledge(shard: number, handle: number, sequence: number): void {
    if (!this.link.up) return
    const places = this.acknowledged.get(shard)
    if (places === undefined) this.acknowledged.set(shard, [{ handle, sequence }])
    else places.push({ handle, sequence })
    this.acknowledgedCount++
    if (this.acknowledgedCount >= ACKNOWLEDGE_AT) this.sendAcknowledged()
    else this.acknowledgeTimer ??= this.host.setTimer(this.settings.proxy.acknowledgeDelayMs, () => this.sendAcknowledged())
  }

  /**
   * The subscriber behind `handle` has the QoS 2 message at a place of its queue (PUBREC). Losing this means that the shard delivers the place again, and is told again.
   *
   * Acknowledgements that wait for company are overtaken, and may be: they are for other places (this one's follows its PUBREL, which follows the answer to this),
   * and what a shard knows of one place does not depend on another.
   */
  received(shard: number, handle: number, sequence: number): void {
    this.link.notify({ name: 'received', shard, places: [{ handle, sequence }] })
  }

  /** The message at a place expired here. Losing this means that the shard delivers the place again, as one that may have been sent. */
  expired(shard: number, handle: number, sequence: number): void {
    this.link.notify({ name: 'expired', shard, places: [{ handle, sequence }] })
  }

  /** Sends what waits for company: at once, because what comes next must not overtake it. */
  sendAcknowledged(): void {
    this.acknowledgeTimer?.cancel()
    this.acknowledgeTimer = undefined
    for (const [shard, places] of this.acknowledged) this.link.notify({ name: 'acknowledge', shard, places })
    this.acknowledged.clear()
    this.acknowledgedCount = 0
  }
}

export class BrokerLinks {
  private readonly host: Host
  private readonly settings: ServiceSettings
  private readonly owner: BrokerLinksOwner
  private readonly byAddress = new Map<string, BrokerLink>()

  constructor(host: Host, settings: ServiceSettings, owner: BrokerLinksOwner) {
    this.host = host
    this.settings = settings
    this.owner = owner
  }

  to(address: Address): BrokerLink {
    const key = `${address.host}:${address.port}`
    let broker = this.byAddress.get(key)
    if (broker === undefined) {
      broker = new BrokerLink(this.host, address, this.settings, this.owner)
      this.byAddress.set(key, broker)
    }
    return broker
  }

  pingAll(): void {
    for (const broker of this.byAddress.values()) broker.ping()
  }
}
