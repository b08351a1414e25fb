/**
 * Whether a live region can take clients in, by what its machines record: every shard is served, every proxy knows where, and every load balancer sees every proxy.
 * What is told may become untrue again later; `ready` is then false again.
 */
import type { HistoryEntry } from '../model/world.ts'

export interface RegionSize {
  readonly shards: number
  readonly proxies: number
  readonly balancers: number
}

/** What the machines record, as far as it is read here. */
interface Told {
  readonly kind: string
  readonly shard?: number
  readonly to?: string
  readonly target?: string
  readonly healthy?: boolean
}

export class Readiness {
  readonly #size: RegionSize
  readonly #servedBy = new Map<number, string>()
  readonly #adopted = new Set<string>()
  readonly #healthy = new Set<string>()

  constructor(size: RegionSize) {
    this.#size = size
  }

  take({ machine, event }: HistoryEntry): void {
    const { kind, shard, to, target, healthy } = event as Told
    if (kind === 'shard-state-changed' && shard !== undefined) {
      if (to === 'serving') this.#servedBy.set(shard, machine)
      else if (this.#servedBy.get(shard) === machine) this.#servedBy.delete(shard)
    } else if (kind === 'routes-adopted' && machine.startsWith('proxy-')) {
      this.#adopted.add(`${machine} ${shard}`)
    } else if (kind === 'target-state-changed') {
      if (healthy) this.#healthy.add(`${machine} ${target}`)
      else this.#healthy.delete(`${machine} ${target}`)
    }
  }

  get ready(): boolean {
    return this.missing.length === 0
  }

  /** What is not there yet, in words. */
  get missing(): readonly string[] {
    const { shards, proxies, balancers } = this.#size
    const of = (what: string, have: number, need: number) => (have >= need ? [] : [`${what} ${have} of ${need}`])
    return [
      ...of('shards served', this.#servedBy.size, shards),
      ...of('routes known to proxies', this.#adopted.size, shards * proxies),
      ...of('proxies seen by load balancers', this.#healthy.size, proxies * balancers),
    ]
  }
}
