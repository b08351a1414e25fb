/**
 * A nameserver: who serves which shard, by the word of the brokers that register with it and send it heartbeats.
 *
 * Nameservers are peers that share nothing and store nothing. One that started less than one expiry ago has not had time to hear from every broker: it says `young`, and its
 * "nobody serves this" is to be taken as "unknown". A route only ever moves to a higher epoch, so that a late word of a former owner changes nothing.
 * It promises no agreement: brokers act on a majority of nameservers, and what keeps two owners apart is the volume.
 *
 * No timer runs here. Who is silent is found out when somebody asks, since nobody can tell the difference before that.
 */
import { listenPrivately } from '../cloud/vpc.ts'
import { emit } from '../events.ts'
import type { Address, Boot, Connection, Host } from '../host.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { Link } from '../wire/link.ts'
import type { Message, MessageOf } from '../wire/messages.ts'

export interface NameserverConfig {
  readonly settings: ServiceSettings
  readonly shardCount: number
}

export function bootNameserver(config: NameserverConfig): Boot {
  return (host) => {
    const nameserver = new Nameserver(host, config)
    listenPrivately(host, ports.nameserver, (connection) => nameserver.accept(connection))
    return {}
  }
}

type BrokerState = 'heard' | 'silent'

interface Broker {
  readonly name: string
  state: BrokerState
  bootId: number
  address: Address
  zone: string
  lastHeardMs: number
  /** The accepted link that registered last. A broker dials anew only after it gave up its former link, so what an older link still carries is older. */
  linkNumber: number
  /** Epoch by shard, from the latest register. */
  serving: ReadonlyMap<number, number>
  /** Shards that it is taking over, by its latest register. */
  attaching: ReadonlySet<number>
}

interface Route {
  readonly shard: number
  readonly epoch: number
  readonly owner: Broker
}

class Nameserver {
  private readonly host: Host
  private readonly expiryMs: number
  private readonly scanIntervalMs: number
  private readonly youngMs: number
  private readonly shardCount: number
  /** Differs from start to start, so that a version number of a former life is not taken for one of this. */
  private readonly instance: number
  private version = 0
  private readonly brokers = new Map<string, Broker>()
  private readonly routes: (Route | undefined)[] = []
  private linksAccepted = 0
  /** What heartbeats are answered, until a broker registers or falls silent. */
  private view: Pick<MessageOf<'heartbeatAnswer'>, 'ownerless' | 'alive'> | undefined = undefined

  constructor(host: Host, config: NameserverConfig) {
    this.host = host
    const { expiryMs, scanIntervalMs, unknownForExpiries } = config.settings.nameserver
    this.expiryMs = expiryMs
    this.scanIntervalMs = scanIntervalMs
    this.youngMs = expiryMs * unknownForExpiries
    this.shardCount = config.shardCount
    this.instance = host.random(`nameserver instance ${host.bootId}`).below(0x1_0000_0000)
  }

  accept(connection: Connection): Link {
    this.linksAccepted++
    const linkNumber = this.linksAccepted
    return Link.accept(this.host, connection, {
      onRequest: (link, message, reply) => {
        const answer = this.answer(linkNumber, message)
        // What no nameserver is ever asked comes from a program that is not one of ours: after that no byte of it can be trusted.
        if (answer === undefined) link.abort()
        else reply(answer)
      },
    })
  }

  private answer(linkNumber: number, message: Message): Message | undefined {
    this.noticeSilence()
    switch (message.name) {
      case 'register':
        this.register(linkNumber, message)
        return { name: 'registered', young: this.young() }
      case 'heartbeat':
        return this.heartbeat(message)
      case 'pullRoutes':
        return this.pullRoutes(message)
      default:
        return undefined
    }
  }

  private young(): boolean {
    return this.host.nowMs() < this.youngMs
  }

  private noticeSilence(): void {
    const nowMs = this.latestScanMs()
    for (const broker of this.brokers.values()) {
      const silentMs = nowMs - broker.lastHeardMs
      if (broker.state === 'silent' || silentMs <= this.expiryMs) continue
      broker.state = 'silent'
      if (this.host.recording) emit(this.host, { kind: 'broker-silent', broker: broker.name, silentMs: Math.round(silentMs) })
      this.view = undefined
    }
  }

  /** The time of the latest scan. Nobody knows of a scan before the next question, so that it needs no timer. */
  private latestScanMs(): number {
    const nowMs = this.host.nowMs()
    return this.scanIntervalMs === 0 ? nowMs : Math.floor(nowMs / this.scanIntervalMs) * this.scanIntervalMs
  }

  private register(linkNumber: number, message: MessageOf<'register'>): void {
    const known = this.brokers.get(message.broker)
    if (known !== undefined && isStale(known, linkNumber, message.bootId)) return
    this.view = undefined
    const address = { host: message.host, port: message.port }
    const serving = new Map<number, number>()
    for (const { shard, epoch } of message.serving) if (shard < this.shardCount) serving.set(shard, epoch)

    const attaching = new Set(message.attaching)

    let broker = known
    const isNews = broker === undefined || broker.bootId !== message.bootId || broker.state === 'silent'
    if (broker === undefined) {
      broker = {
        name: message.broker,
        state: 'heard',
        bootId: message.bootId,
        address,
        zone: message.zone,
        lastHeardMs: 0,
        linkNumber,
        serving,
        attaching,
      }
      this.brokers.set(message.broker, broker)
    }
    const moved = broker.address.host !== address.host || broker.address.port !== address.port
    broker.state = 'heard'
    broker.bootId = message.bootId
    broker.address = address
    broker.zone = message.zone
    broker.lastHeardMs = this.host.nowMs()
    broker.linkNumber = linkNumber
    broker.serving = serving
    broker.attaching = attaching
    if (isNews && this.host.recording) emit(this.host, { kind: 'broker-registered', broker: broker.name })
    if (moved) this.version++
    for (const [shard, epoch] of serving) this.offerRoute(shard, epoch, broker)
  }

  private offerRoute(shard: number, epoch: number, owner: Broker): void {
    const route = this.routes[shard]
    if (route !== undefined && epoch <= route.epoch) {
      if (route.owner !== owner) this.host.reached('route of a lower epoch refused')
      return
    }
    this.routes[shard] = { shard, epoch, owner }
    this.version++
    if (this.host.recording) emit(this.host, { kind: 'route-changed', shard, epoch, broker: owner.name })
  }

  private heartbeat(message: MessageOf<'heartbeat'>): MessageOf<'heartbeatAnswer'> {
    const broker = this.brokers.get(message.broker)
    // A broker that was silent has to register again: what it served when it was last heard says nothing about now.
    const known = broker !== undefined && broker.bootId === message.bootId && broker.state === 'heard'
    if (known) broker.lastHeardMs = this.host.nowMs()
    this.view ??= { ownerless: this.ownerless(), alive: this.alive() }
    const { ownerless, alive } = this.view
    return { name: 'heartbeatAnswer', known, young: this.young(), ownerless, alive }
  }

  /** Shards that nobody serves, and that no broker is about to: two that try at once only displace each other, each with a lease to wait out. */
  private ownerless(): readonly { shard: number; epoch: number }[] {
    const ownerless: { shard: number; epoch: number }[] = []
    const heard = [...this.brokers.values()].filter((broker) => broker.state === 'heard')
    for (let shard = 0; shard < this.shardCount; shard++) {
      if (heard.some((broker) => broker.attaching.has(shard))) continue
      const route = this.routes[shard]
      if (route === undefined) ownerless.push({ shard, epoch: 0 })
      else if (route.owner.state === 'silent' || route.owner.serving.get(shard) !== route.epoch)
        ownerless.push({ shard, epoch: route.epoch })
    }
    return ownerless
  }

  private alive(): readonly string[] {
    const names: string[] = []
    for (const broker of this.brokers.values()) if (broker.state === 'heard') names.push(broker.name)
    return names.sort()
  }

  private pullRoutes(message: MessageOf<'pullRoutes'>): MessageOf<'routes'> {
    const { instance, version } = this
    const unchanged = message.instance === instance && message.version === version
    const entries = []
    if (!unchanged) {
      for (const route of this.routes) {
        if (route === undefined) continue
        const { name, address } = route.owner
        entries.push({ shard: route.shard, epoch: route.epoch, broker: name, host: address.host, port: address.port })
      }
    }
    return { name: 'routes', instance, version, young: this.young(), unchanged, entries }
  }
}

/** A word of a former life, or one that was under way on a former link while a newer link already spoke. */
function isStale(known: Broker, linkNumber: number, bootId: number): boolean {
  return bootId < known.bootId || (bootId === known.bootId && linkNumber < known.linkNumber)
}
