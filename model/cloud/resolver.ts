/**
 * A client's resolver: asks the region's DNS servers for the addresses of a name, over datagrams, and keeps answers as its profile says.
 *
 * - `ttl`: an answer is used until its shortest TTL has passed; its order is turned at random for each who asks, as caching resolvers do.
 * - `ttl-serve-stale`: the same, but while no server answers the old answer stays in use for up to a day more (RFC 8767, "Serving Stale Data to Improve DNS Resiliency"): who asks gets it after
 *   1.8 s, and for the next 30 s at once.
 * - `first-address-pinned`: the first address ever received is all that is ever given again.
 * - `for-ever`: the first answer is used for as long as the process lives.
 *
 * Servers are tried in turn, a second each, two rounds, beginning with the one that answered last. Those who ask for one name at the same time share one flight.
 * Left out: caching of failures, TCP.
 */
import type { Address, DatagramSocket, Host, RandomStream, Timer } from '../host.ts'
import { readDnsMessage, responseCodes, rotated, writeDnsQuery } from './dns-message.ts'

export type ResolverCache = 'ttl' | 'ttl-serve-stale' | 'first-address-pinned' | 'for-ever'

export interface ResolverOptions {
  readonly cache: ResolverCache
}

type Done = (addresses: readonly string[]) => void

interface Flight {
  readonly name: string
  readonly waiting: Done[]
  /** Query id to the server it was sent to: a late answer to an earlier try is as good as any. */
  readonly queries: Map<number, Address>
  serverIndex: number
  tries: number
  timer: Timer | undefined
  /** After it those who wait get what is stale. */
  staleTimer: Timer | undefined
}

interface CachedAnswer {
  readonly addresses: readonly string[]
  validUntilMs: number
  /** Until then it may be given when no server answers. */
  readonly staleUntilMs: number
}

const TRY_TIMEOUT_MS = 1000
const ROUNDS = 2
/** RFC 8767 section 5: the client response timer, the failure recheck timer, and the least of the values recommended for the maximum stale timer. */
const CLIENT_RESPONSE_MS = 1800
const FAILURE_RECHECK_MS = 30_000
const MAXIMUM_STALE_MS = 86_400_000
const forEver = { validUntilMs: Number.POSITIVE_INFINITY, staleUntilMs: Number.POSITIVE_INFINITY }
/** The host gives any free port. */
const ANY_PORT = 0

export class Resolver {
  private readonly host: Host
  private readonly servers: readonly Address[]
  private readonly cache: ResolverCache
  private readonly random: RandomStream
  private readonly socket: DatagramSocket
  private readonly cached = new Map<string, CachedAnswer>()
  private readonly flights = new Map<string, Flight>()
  private readonly flightOfQuery = new Map<number, Flight>()
  private preferredServer: number

  constructor(host: Host, servers: readonly Address[], options: ResolverOptions) {
    if (servers.length === 0) throw new Error('a resolver needs at least one DNS server, got none')
    this.host = host
    this.servers = servers
    this.cache = options.cache
    this.random = host.random('resolver')
    this.preferredServer = this.random.below(servers.length)
    this.socket = host.bind(ANY_PORT, (from, bytes) => this.onDatagram(from, bytes))
  }

  /** Calls back once, never from inside this call, with the addresses in the order in which to try them; with none where the name has none or no server answered. */
  resolve(name: string, done: Done): void {
    const key = name.toLowerCase()
    const cached = this.cached.get(key)
    if (cached !== undefined && this.host.nowMs() < cached.validUntilMs) {
      this.host.setTimer(0, () => this.give(cached.addresses, done))
      return
    }
    const open = this.flights.get(key)
    if (open !== undefined) {
      open.waiting.push(done)
      return
    }
    const flight: Flight = {
      name: key,
      waiting: [done],
      queries: new Map(),
      serverIndex: this.preferredServer,
      tries: 0,
      timer: undefined,
      staleTimer: undefined,
    }
    this.flights.set(key, flight)
    if (this.staleAnswer(key) !== undefined) flight.staleTimer = this.host.setTimer(CLIENT_RESPONSE_MS, () => this.giveStale(flight))
    this.ask(flight)
  }

  private ask(flight: Flight): void {
    if (flight.tries === ROUNDS * this.servers.length) {
      this.land(flight, [])
      return
    }
    if (flight.tries > 0) flight.serverIndex = (flight.serverIndex + 1) % this.servers.length
    flight.tries++
    const server = this.servers[flight.serverIndex]!
    const id = this.freshQueryId()
    flight.queries.set(id, server)
    this.flightOfQuery.set(id, flight)
    this.socket.send(server, writeDnsQuery(id, flight.name))
    flight.timer = this.host.setTimer(TRY_TIMEOUT_MS, () => this.ask(flight))
  }

  private staleAnswer(name: string): CachedAnswer | undefined {
    const cached = this.cached.get(name)
    return cached !== undefined && this.host.nowMs() < cached.staleUntilMs ? cached : undefined
  }

  /** No server has answered for too long. The flight goes on: an answer that still comes is kept. */
  private giveStale(flight: Flight): void {
    const stale = this.staleAnswer(flight.name)
    if (stale === undefined) return
    this.host.reached('resolver serves stale data')
    stale.validUntilMs = Math.min(stale.staleUntilMs, this.host.nowMs() + FAILURE_RECHECK_MS)
    for (const done of flight.waiting.splice(0)) this.give(stale.addresses, done)
  }

  /** Unguessable, as RFC 5452 section 9.2 asks, and not in use. */
  private freshQueryId(): number {
    let id = this.random.below(0x1_0000)
    while (this.flightOfQuery.has(id)) id = (id + 1) & 0xffff
    return id
  }

  private onDatagram(from: Address, bytes: Buffer): void {
    const message = readDnsMessage(bytes)
    if (message === undefined || !message.isResponse) return
    const flight = this.flightOfQuery.get(message.id)
    const server = flight?.queries.get(message.id)
    if (flight === undefined || server === undefined) return
    // RFC 5452 section 9.1: an answer counts only from where the question went, and to the question that was asked.
    if (from.host !== server.host || from.port !== server.port) return
    if (message.question?.name !== flight.name || message.question.type !== 'A') return

    if (message.responseCode !== responseCodes.noError && message.responseCode !== responseCodes.nameError) {
      // That server cannot say. Unless it is one of an earlier try, ask the next.
      if (server !== this.servers[flight.serverIndex]) return
      flight.timer?.cancel()
      // Not more than one question a millisecond, whatever the servers say.
      flight.timer = this.host.setTimer(1, () => this.ask(flight))
      return
    }
    this.preferredServer = this.servers.indexOf(server)
    const addresses = message.addresses.map(({ address }) => address)
    if (addresses.length > 0) {
      const ttlSeconds = message.addresses.reduce((least, { ttlSeconds }) => Math.min(least, ttlSeconds), Number.POSITIVE_INFINITY)
      this.keep(flight.name, addresses, ttlSeconds)
    } else this.cached.delete(flight.name)
    this.land(flight, addresses)
  }

  private keep(name: string, addresses: readonly string[], ttlSeconds: number): void {
    const expiryMs = this.host.nowMs() + ttlSeconds * 1000
    switch (this.cache) {
      case 'ttl':
        this.cached.set(name, { addresses, validUntilMs: expiryMs, staleUntilMs: expiryMs })
        return
      case 'ttl-serve-stale':
        this.cached.set(name, { addresses, validUntilMs: expiryMs, staleUntilMs: expiryMs + MAXIMUM_STALE_MS })
        return
      case 'first-address-pinned':
        this.cached.set(name, { addresses: addresses.slice(0, 1), ...forEver })
        return
      case 'for-ever':
        this.cached.set(name, { addresses, ...forEver })
    }
  }

  private land(flight: Flight, addresses: readonly string[]): void {
    flight.timer?.cancel()
    flight.staleTimer?.cancel()
    this.flights.delete(flight.name)
    for (const id of flight.queries.keys()) this.flightOfQuery.delete(id)
    // The pinned address is all that is given even to those who shared the first flight.
    const given = this.cache === 'first-address-pinned' ? addresses.slice(0, 1) : addresses
    for (const done of flight.waiting) this.give(given, done)
  }

  private give(addresses: readonly string[], done: Done): void {
    done(rotated(addresses, this.random.below(Math.max(1, addresses.length))))
  }
}
