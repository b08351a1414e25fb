/**
 * The broker's leases: one `volumeLease` an interval to each copy server, for all the volumes the broker holds.
 *
 * A volume's lease is valid while a majority of its copies granted it in answer to a request sent less than `leaseMs` ago; a copy counts from the request's
 * arrival, so it always believes in the lease for longer than the owner does, though its clock be the fastest and the owner's the slowest that
 * `maximumClockDriftPpm` allows (`ownersShareMs`). The same call tells a dead link from a quiet one: without an answer
 * in time the connection is dropped and made anew.
 */
import type { Host, Timer } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import type { Link } from '../wire/link.ts'

/** A volume that wants the lease. */
export interface Leaseholder {
  readonly volume: number
  readonly epoch: number
  /** Whether this copy server's word counts: it holds a copy, and not a backup. */
  isCopy(copy: number): boolean
  /** A majority has promised this epoch, so the lease may be asked for. */
  wantsLease(): boolean
  onLeaseRefused(promisedEpoch: number): void
  onLeaseGranted(copy: number, sentAtMs: number): void
  /** Once an interval: time to see how long there has been no lease. */
  onLeaseInterval(): void
}

/**
 * How much of a time that another machine counts may be counted here, so that it surely is over here first: there a second may be shorter than true by
 * the bound, here longer. The same factor serves from the copies' lease to the owner's, and from the owner's to a proxy's grant.
 */
export function ownersShareMs(othersMs: number, maximumClockDriftPpm: number): number {
  return (othersMs * (1_000_000 - maximumClockDriftPpm)) / (1_000_000 + maximumClockDriftPpm)
}

/** How long to wait here for a time that another machine counts to be over there: the other way round. */
export function outlastingMs(othersMs: number, maximumClockDriftPpm: number): number {
  return (othersMs * (1_000_000 + maximumClockDriftPpm)) / (1_000_000 - maximumClockDriftPpm)
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
    const asked = [...this.holders].filter((holder) => holder.wantsLease() && holder.isCopy(copy))
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
