/**
 * A proxy's route table: which broker serves a shard, as pulled from the nameservers.
 *
 * A route is a hint that may be late, never a permission: the broker that is asked knows whether it serves. What is promised: the table never goes back to a lower epoch, whatever
 * a nameserver that lags behind says; and while any nameserver can be reached its word is heard within one pull interval times the number of nameservers, after an error at once.
 * Routes are never forgotten: with no nameserver left the table serves what it knows.
 */
import { emit } from '../events.ts'
import type { Address, Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { Link, type LinkHandler } from '../wire/link.ts'
import type { MessageOf } from '../wire/messages.ts'

export interface ShardOwner {
  readonly epoch: number
  readonly broker: string
  readonly address: Address
}

/** A burst of errors asks the nameservers once. */
const REFRESH_GAP_MS = 100

export class RouteTable {
  private readonly host: Host
  private readonly pullIntervalMs: number
  private readonly onChange: (shard: number) => void
  private readonly sources: readonly Source[]
  private readonly owners: (ShardOwner | undefined)[] = []
  private nextSource = 0
  private refreshedMs = Number.NEGATIVE_INFINITY
  private refreshTimer: Timer | undefined

  /** @param pulling `periodic`, as a proxy needs it; `on-demand`: only `refreshNow` asks, and a link that comes up. */
  constructor(
    host: Host,
    nameservers: readonly Address[],
    settings: ServiceSettings,
    pulling: 'periodic' | 'on-demand',
    onChange: (shard: number) => void,
  ) {
    this.host = host
    this.pullIntervalMs = settings.proxy.routePullIntervalMs
    this.onChange = onChange
    const timeoutMs = Math.min(settings.proxy.routePullIntervalMs, settings.proxy.requestTimeoutMs)
    this.sources = nameservers.map((address) => new Source(host, address, timeoutMs, (routes) => this.merge(routes)))
    const random = host.random('route pull')
    this.nextSource = random.below(Math.max(1, nameservers.length))
    if (pulling === 'periodic') this.arm(random.next() * this.pullIntervalMs)
  }

  owner(shard: number): ShardOwner | undefined {
    return this.owners[shard]
  }

  /** Asks every nameserver, at most once in 100 ms: a call that comes too early is made good at the end of them. */
  refreshNow(): void {
    if (this.refreshTimer !== undefined) return
    const waitMs = this.refreshedMs + REFRESH_GAP_MS - this.host.nowMs()
    if (waitMs <= 0) {
      this.refresh()
      return
    }
    this.refreshTimer = this.host.setTimer(waitMs, () => {
      this.refreshTimer = undefined
      this.refresh()
    })
  }

  private refresh(): void {
    this.refreshedMs = this.host.nowMs()
    for (const source of this.sources) source.pull()
  }

  private arm(delayMs: number): void {
    this.host.setTimer(delayMs, () => {
      this.pullFromNext()
      this.arm(this.pullIntervalMs)
    })
  }

  /** From the next one that is connected, so that a dead nameserver costs no turn. */
  private pullFromNext(): void {
    const { sources } = this
    for (let tried = 0; tried < sources.length; tried++) {
      const source = sources[this.nextSource]!
      this.nextSource = (this.nextSource + 1) % sources.length
      if (source.pull()) return
    }
  }

  private merge(routes: MessageOf<'routes'>): void {
    for (const { shard, epoch, broker, host, port } of routes.entries) {
      const known = this.owners[shard]
      if (known !== undefined) {
        if (epoch < known.epoch) {
          this.host.reached('route of a lower epoch not adopted')
          continue
        }
        const same = known.address.host === host && known.address.port === port
        if (epoch === known.epoch && (known.broker !== broker || same)) continue
      }
      this.owners[shard] = { epoch, broker, address: { host, port } }
      if (this.host.recording) emit(this.host, { kind: 'routes-adopted', shard, epoch, broker })
      this.onChange(shard)
    }
  }
}

/** One nameserver as a source of routes, with the version that was last read from it. */
class Source implements LinkHandler {
  private readonly link: Link
  private readonly timeoutMs: number
  private readonly onRoutes: (routes: MessageOf<'routes'>) => void
  private instance = 0
  private version = 0
  private waiting = false

  constructor(host: Host, address: Address, timeoutMs: number, onRoutes: (routes: MessageOf<'routes'>) => void) {
    this.timeoutMs = timeoutMs
    this.onRoutes = onRoutes
    this.link = Link.dial(host, address, this)
  }

  onUp(): void {
    this.pull()
  }

  /** @returns false when there is no connection to ask over. */
  pull(): boolean {
    const { link } = this
    if (!link.up) return false
    if (this.waiting) return true
    this.waiting = true
    const { generation } = link
    link.request({ name: 'pullRoutes', instance: this.instance, version: this.version }, this.timeoutMs, (outcome) => {
      this.waiting = false
      if (outcome.kind !== 'reply') {
        // Silence on a connection that is up: a new one is there sooner than TCP's next retransmission.
        if (link.up && link.generation === generation) link.abort()
        return
      }
      this.instance = outcome.message.instance
      this.version = outcome.message.version
      if (!outcome.message.unchanged) this.onRoutes(outcome.message)
    })
    return true
  }
}
