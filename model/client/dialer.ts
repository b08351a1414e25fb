/**
 * Where a client goes next: each round resolves the access name and offers the addresses of the answer by the profile's rule; between the rounds of one outage
 * stand the waits of its back-off. Which failure leads to the next address, and which ends the round, the client decides.
 */
import type { Host, RandomStream } from '../host.ts'
import { Backoff } from './backoff.ts'
import type { MqttClientOptions } from './options.ts'

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

  constructor(host: Host, options: MqttClientOptions) {
    this.host = host
    this.options = options
  }

  get hasNext(): boolean {
    return this.addresses !== undefined && this.nextAddress < this.addresses.length
  }

  /** @param done is told whether there is an address; not called after `finish`. */
  beginRound(done: (found: boolean) => void): void {
    const { options } = this
    this.backoff ??= new Backoff(options.profile.reconnect, this.host.nowMs())
    const round = ++this.round
    options.resolver.resolve(options.accessName, (addresses) => {
      if (round !== this.round) return
      this.addresses = options.profile.addresses === 'all' ? addresses : addresses.slice(0, 1)
      this.nextAddress = 0
      done(this.hasNext)
    })
  }

  /** The next address; only where `hasNext`. */
  next(): string {
    return this.addresses![this.nextAddress++]!
  }

  /** How long the address that `next` gave may leave the SYN unanswered. */
  get openTimeoutMs(): number {
    const { addressTimeoutMs, connectTimeoutMs } = this.options.profile
    return this.hasNext ? (addressTimeoutMs ?? connectTimeoutMs) : connectTimeoutMs
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
