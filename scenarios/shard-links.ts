/** The way of a caller from outside to whoever owns a shard now, as the auditor and the like have it: routes of the nameservers, and a connection to each owner, dialled once. */
import type { Address, Host } from '../model/host.ts'
import { RouteTable } from '../model/nameserver/route-table.ts'
import type { ServiceSettings } from '../model/settings.ts'
import { Link } from '../model/wire/link.ts'

export class ShardLinks {
  private readonly host: Host
  private readonly routes: RouteTable
  private readonly links = new Map<string, Link>()

  constructor(host: Host, nameservers: readonly Address[], settings: ServiceSettings) {
    this.host = host
    this.routes = new RouteTable(host, nameservers, settings, 'on-demand', () => undefined)
    this.refreshNow()
  }

  refreshNow(): void {
    this.routes.refreshNow()
  }

  /** Undefined while no owner is known, or its connection is not open; then it is dialled, for the next time. */
  to(shard: number): Link | undefined {
    const address = this.routes.owner(shard)?.address
    if (address === undefined) return undefined
    const key = `${address.host}:${address.port}`
    let link = this.links.get(key)
    if (link === undefined) {
      link = Link.dial(this.host, address, {})
      this.links.set(key, link)
    }
    return link.up ? link : undefined
  }

  close(): void {
    for (const link of this.links.values()) link.close()
  }
}
