/**
 * Where a client goes next: each round resolves the access name and offers the addresses of the answer by the profile's rule; between the rounds of one outage
 * stand the waits of its back-off. Which failure leads to the next address, and which ends the round, the client decides. A process that keeps answers of its own
 * does so on top of its resolver's cache, over rounds and outages.
 */
import type { Host, RandomStream } from '../host.ts'
import { Backoff } from './backoff.ts'
import type { MqttClientOptions } from './options.ts'

/** golang/go src/net/dial.go, partialDeadline: no address gets less. */
const LEAST_SHARE_MS = 2000

export class Dialer {
  private readonly host: Host
  private readonly options: MqttClientOptions
  /** Addresses of the present round that were not tried yet are those from `nextAddress` on. */
  private addresses: readonly string[] | undefined
  private nextAddress = 0
  /** Counts rounds, so that a late answer of the resolver is known as late. */
  private round = 0
  private backoff: Backoff | undefined
  private random: RandomStream | undefined
  /** The process's own copy of an answer. */
  private kept: readonly string[] | undefined
  private keptUntilMs = 0
  private roundStartedMs = 0

  constructor(host: Host, options: MqttClientOptions) {
    this.host = host
    this.options = options
  }

  get hasNext(): boolean {
    return this.untried > 0
  }

  /** @param done is told whether there is an address; not called after `finish`. */
  beginRound(done: (found: boolean) => void): void {
    const { options } = this
    this.backoff ??= new Backoff(options.profile.reconnect, this.host.nowMs())
    const round = ++this.round
    this.resolve((addresses) => {
      if (round !== this.round) return
      this.addresses = options.profile.addresses === 'all' ? addresses : addresses.slice(0, 1)
      this.nextAddress = 0
      this.roundStartedMs = this.host.nowMs()
      done(this.hasNext)
    })
  }

  private resolve(done: (addresses: readonly string[]) => void): void {
    const { resolver, accessName, profile } = this.options
    const { kept } = this
    if (kept !== undefined && this.host.nowMs() < this.keptUntilMs) {
      this.host.setTimer(0, () => done(kept))
      return
    }
    resolver.resolve(accessName, (addresses) => {
      if (profile.ownAddressCacheMs !== undefined && addresses.length > 0) {
        this.kept = addresses
        this.keptUntilMs = this.host.nowMs() + profile.ownAddressCacheMs
      }
      done(addresses)
    })
  }

  /** The next address; only where `hasNext`. */
  next(): string {
    return this.addresses![this.nextAddress++]!
  }

  /** How long the address that `next` gave may leave the SYN unanswered. */
  get openTimeoutMs(): number {
    const { addressTimeoutMs, connectTimeoutMs } = this.options.profile
    if (addressTimeoutMs === 'equal-share') {
      const leftMs = connectTimeoutMs - (this.host.nowMs() - this.roundStartedMs)
      return Math.max(LEAST_SHARE_MS, leftMs / (1 + this.untried))
    }
    return this.hasNext ? (addressTimeoutMs ?? connectTimeoutMs) : connectTimeoutMs
  }

  private get untried(): number {
    return this.addresses === undefined ? 0 : this.addresses.length - this.nextAddress
  }

  /** The other addresses of this round are not tried. */
  endRound(): void {
    this.addresses = undefined
  }

  /** The wait before the next round. */
  nextWaitMs(): number {
    const nowMs = this.host.nowMs()
    this.backoff ??= new Backoff(this.options.profile.reconnect, nowMs)
    return this.backoff.nextMs(nowMs, () => {
      this.random ??= this.host.random(`client ${this.options.clientId}`)
      return this.random
    })
  }

  /** The outage is over, or nobody wants a connection any more: the next round is the first of another outage. */
  finish(): void {
    this.round++
    this.addresses = undefined
    this.backoff = undefined
  }
}
