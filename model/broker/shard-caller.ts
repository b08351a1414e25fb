/** Calls another shard, wherever it is served now: the broker's own way to its peers. It tries once; who calls repeats. */
import type { Host } from '../host.ts'
import type { RouteTable } from '../nameserver/route-table.ts'
import { Link, type Outcome } from '../wire/link.ts'
import type { MessageOf, ReplyOf, RequestName } from '../wire/messages.ts'

export class ShardCaller {
  private readonly host: Host
  private readonly routes: RouteTable
  private readonly timeoutMs: number
  private readonly links = new Map<string, Link>()

  constructor(host: Host, routes: RouteTable, timeoutMs: number) {
    this.host = host
    this.routes = routes
    this.timeoutMs = timeoutMs
  }

  call<N extends RequestName>(shard: number, message: MessageOf<N>, done: (outcome: Outcome<ReplyOf<N>>) => void): void {
    const owner = this.routes.owner(shard)
    if (owner === undefined) {
      this.routes.refreshNow()
      this.host.setTimer(0, () => done({ kind: 'not-sent' }))
      return
    }
    const key = `${owner.address.host}:${owner.address.port}`
    let link = this.links.get(key)
    if (link === undefined) {
      link = Link.dial(this.host, owner.address, {})
      this.links.set(key, link)
    }
    link.request(message, this.timeoutMs, done)
  }

  refresh(): void {
    this.routes.refreshNow()
  }
}
