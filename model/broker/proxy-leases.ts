/**
 * For how long each proxy may speak for the sessions it validated with this broker, and how to make it stop.
 *
 * A lease belongs to one connection of one proxy process and is extended by each ping that this broker answers on it. A grant never outlasts the broker's own hold
 * on its volumes, so whoever owns the shards next, having waited that out, need not know what was granted here. Both reckon with clocks that run fast or slow.
 */
import type { Host } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { outlastingMs, ownersShareMs } from '../volume/lease.ts'
import type { Link } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'

interface Lease {
  readonly proxy: string
  readonly bootId: number
  grantedUntilMs: number
}

/** How it became sure that a proxy's connection says nothing more. */
export type Silenced = 'kicked' | 'lease-ended'

export class ProxyLeases {
  private readonly host: Host
  private readonly settings: ServiceSettings
  private readonly leases = new Map<Link, Lease>()

  constructor(host: Host, settings: ServiceSettings) {
    this.host = host
    this.settings = settings
  }

  /** @param heldForMs for how long this broker surely holds the shards that it tells of. */
  answerPing(link: Link, ping: MessageOf<'ping'>, heldForMs: number, serving: MessageOf<'pong'>['serving']): MessageOf<'pong'> {
    const { maximumClockDriftPpm } = this.settings.volume
    const grantMs = Math.max(0, Math.floor(Math.min(this.settings.proxy.sessionLeaseMs, ownersShareMs(heldForMs, maximumClockDriftPpm))))
    const grantedUntilMs = this.host.nowMs() + outlastingMs(grantMs, maximumClockDriftPpm)
    const lease = this.leases.get(link)
    if (lease === undefined) this.leases.set(link, { proxy: ping.proxy, bootId: ping.bootId, grantedUntilMs })
    else lease.grantedUntilMs = Math.max(lease.grantedUntilMs, grantedUntilMs)
    return { name: 'pong', grantMs, serving }
  }

  /** Milliseconds until nothing more can be said by what was granted on this link. */
  remainingMs(link: Link): number {
    const lease = this.leases.get(link)
    return lease === undefined ? 0 : Math.max(0, lease.grantedUntilMs - this.host.nowMs())
  }

  /** Forgets a link that is down, once its lease is over. */
  onLinkDown(link: Link): void {
    this.host.setTimer(this.remainingMs(link) + 1, () => this.leases.delete(link))
  }

  /** Makes sure that the connection `handle`, validated on `link`, says nothing more, by asking or by waiting. */
  silence(link: Link, kick: Omit<MessageOf<'kickSession'>, 'name'>, done: (by: Silenced) => void): void {
    const waitOut = () => {
      const remainingMs = this.remainingMs(link)
      // Another process of the same proxy has reported since: the one that held the lease is dead.
      if (remainingMs === 0 || this.wasReplaced(link)) done('lease-ended')
      else this.host.setTimer(remainingMs + 1, () => done('lease-ended'))
    }
    if (!link.up) {
      waitOut()
      return
    }
    link.request({ name: 'kickSession', ...kick }, Math.max(1, this.remainingMs(link)), (outcome) => {
      if (outcome.kind === 'reply') done('kicked')
      else waitOut()
    })
  }

  private wasReplaced(link: Link): boolean {
    const lease = this.leases.get(link)
    if (lease === undefined) return true
    for (const other of this.leases.values()) if (other.proxy === lease.proxy && other.bootId > lease.bootId) return true
    return false
  }
}
