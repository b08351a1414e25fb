/**
 * The broker's leases: one `volumeLease` an interval to each copy server, for all the volumes the broker holds.
 *
 * A volume's lease is valid while a majority of its copies granted it in answer to a request sent less than `leaseMs` ago; a copy counts from the request's
 * arrival, so it always believes in the lease for longer than the owner does. The same call tells a dead link from a quiet one: without an answer
 * in time the connection is dropped and made anew.
 *
 * Left out: clocks that run at different rates.
 */
import type { Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import type { Link } from '../wire/link.ts'

/** A volume that wants the lease. */
export interface Leaseholder {
  readonly volume: number
  readonly epoch: number
  /** A majority has promised this epoch, so the lease may be asked for. */
  wantsLease(): boolean
  onLeaseRefused(promisedEpoch: number): void
  onLeaseGranted(copy: number, sentAtMs: number): void
  /** Once an interval: time to see how long there has been no lease. */
  onLeaseInterval(): void
}

export class LeaseKeeper {
  private readonly host: Host
  private readonly owner: string
  private readonly links: readonly Link[]
  private readonly settings: ServiceSettings['volume']
  private readonly holders = new Set<Leaseholder>()
  private timer: Timer | undefined

  constructor(host: Host, owner: string, links: readonly Link[], settings: ServiceSettings['volume']) {
    this.host = host
    this.owner = owner
    this.links = links
    this.settings = settings
  }

  add(holder: Leaseholder): void {
    this.holders.add(holder)
    if (this.timer === undefined) this.tick()
  }

  remove(holder: Leaseholder): void {
    this.holders.delete(holder)
    if (this.holders.size > 0) return
    this.timer?.cancel()
    this.timer = undefined
  }

  /** Asks every copy server now: a volume has just come to want its lease. */
  renew(): void {
    for (let copy = 0; copy < this.links.length; copy++) this.ask(copy)
  }

  /** Asks one copy server, such as one that has just promised. */
  ask(copy: number): void {
    const link = this.links[copy]!
    if (!link.up) return
    const asked = [...this.holders].filter((holder) => holder.wantsLease())
    const volumes = asked.map(({ volume, epoch }) => ({ volume, epoch }))
    const sentAtMs = this.host.nowMs()
    const generation = link.generation
    link.request({ name: 'volumeLease', owner: this.owner, volumes }, this.settings.requestTimeoutMs, (outcome) => {
      if (outcome.kind !== 'reply') {
        // Not from here: the link is walking through its open requests.
        this.host.setTimer(0, () => {
          if (link.up && link.generation === generation) link.abort()
        })
        return
      }
      for (const holder of asked) {
        if (!this.holders.has(holder)) continue
        const against = outcome.message.lost.find((entry) => entry.volume === holder.volume)
        if (against === undefined) holder.onLeaseGranted(copy, sentAtMs)
        else if (against.epoch > holder.epoch) holder.onLeaseRefused(against.epoch)
      }
    })
  }

  private tick(): void {
    this.timer = this.host.setTimer(this.settings.leaseRenewIntervalMs, () => this.tick())
    for (const holder of [...this.holders]) holder.onLeaseInterval()
    this.renew()
  }
}
