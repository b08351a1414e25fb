/** A broker's links to the copy servers, shared by all its volumes, and the leases that are renewed over them. */
import type { Address, Host } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { Link } from '../wire/link.ts'
import type { Placement } from './kinds.ts'
import { LeaseKeeper } from './lease.ts'

export interface CopyLinkUser {
  readonly volume: number
  readonly epoch: number
  onLinkUp(copy: number): void
  onLinkDown(copy: number): void
}

export class CopyLinks {
  readonly host: Host
  /** Names this process, not only its machine: what an earlier process of the same broker sent must not pass for ours. */
  readonly owner: string
  readonly settings: ServiceSettings['volume']
  readonly names: readonly string[]
  readonly links: readonly Link[]
  readonly leases: LeaseKeeper
  /** Which of the links are to the copies of a volume, and which to its backups. */
  readonly placement: (volume: number) => Placement
  private readonly users = new Set<CopyLinkUser>()
  private readonly highestEpoch = new Map<number, number>()

  /** Without a placement every copy server has a copy of every volume. */
  constructor(
    host: Host,
    owner: string,
    copies: readonly { name: string; address: Address }[],
    settings: ServiceSettings,
    placement?: (volume: number) => Placement,
  ) {
    this.host = host
    const everywhere: Placement = { copies: copies.map((_, index) => index), backups: [] }
    this.placement = placement ?? (() => everywhere)
    this.owner = `${owner}/${host.bootId}`
    this.settings = settings.volume
    this.names = copies.map((copy) => copy.name)
    this.links = copies.map((copy, index) =>
      Link.dial(host, copy.address, {
        onUp: () => {
          for (const user of [...this.users]) user.onLinkUp(index)
        },
        onDown: () => {
          for (const user of [...this.users]) user.onLinkDown(index)
        },
      }),
    )
    this.leases = new LeaseKeeper(host, this.owner, this.links, this.settings)
  }

  /** @returns false when this process used that epoch, or a higher one, before: an epoch is for one attach. */
  register(user: CopyLinkUser): boolean {
    if (user.epoch <= (this.highestEpoch.get(user.volume) ?? 0)) return false
    this.highestEpoch.set(user.volume, user.epoch)
    this.users.add(user)
    return true
  }

  unregister(user: CopyLinkUser): void {
    this.users.delete(user)
  }
}
