/**
 * Calls another shard, wherever it is served now: the broker's own way to its peers. A call waits for the route and the connection that it needs, as long as any request
 * may take, and is then sent once; who calls repeats.
 */
import type { Host, Timer } from '../host.ts'
import type { RouteTable } from '../nameserver/route-table.ts'
import { Link, type LinkHandler, type Outcome } from '../wire/link.ts'
import type { MessageOf, ReplyOf, RequestName } from '../wire/messages.ts'

interface WaitingCall {
  readonly shard: number
  readonly timer: Timer
  send(link: Link): void
}

export class ShardCaller implements LinkHandler {
  private readonly host: Host
  private readonly routes: RouteTable
  private readonly timeoutMs: number
  private readonly links = new Map<string, Link>()
  private readonly waiting = new Set<WaitingCall>()

  constructor(host: Host, routes: RouteTable, timeoutMs: number) {
    this.host = host
    this.routes = routes
    this.timeoutMs = timeoutMs
  }

  call<N extends RequestName>(shard: number, message: MessageOf<N>, done: (outcome: Outcome<ReplyOf<N>>) => void): void {
    const link = this.linkTo(shard)
    if (link?.up === true) {
      link.request(message, this.timeoutMs, done)
      return
    }
    if (link === undefined) this.routes.refreshNow()
    const waiting: WaitingCall = {
      shard,
      timer: this.host.setTimer(this.timeoutMs, () => {
        this.waiting.delete(waiting)
        done({ kind: 'not-sent' })
      }),
      send: (to) => to.request(message, this.timeoutMs, done),
    }
    this.waiting.add(waiting)
  }

  refresh(): void {
    this.routes.refreshNow()
  }

  /** A route changed. */
  onRoute(): void {
    this.sendWaiting()
  }

  onUp(): void {
    this.sendWaiting()
  }

  private sendWaiting(): void {
    for (const waiting of [...this.waiting]) {
      const link = this.linkTo(waiting.shard)
      if (link?.up !== true) continue
      this.waiting.delete(waiting)
      waiting.timer.cancel()
      waiting.send(link)
    }
  }

  private linkTo(shard: number): Link | undefined {
    const owner = this.routes.owner(shard)
    if (owner === undefined) return undefined
    const key = `${owner.address.host}:${owner.address.port}`
    let link = this.links.get(key)
    if (link === undefined) {
      link = Link.dial(this.host, owner.address, this)
      this.links.set(key, link)
    }
    return link
  }
}
