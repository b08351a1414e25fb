/**
 * A broker: hosts shards, takes over those that a majority of nameservers call ownerless, and says of itself what it serves.
 *
 * What it promises is its shards' promises; what keeps two brokers from serving one shard is the volume's epoch and lease, not anything decided here.
 * Left out: planned handover and rebalancing; a shard stays where it is until its broker goes.
 */
import { emit } from '../events.ts'
import type { Address, Boot, Host, Process } from '../host.ts'
import { Registration, type ServedShard } from '../nameserver/registration.ts'
import { RouteTable } from '../nameserver/route-table.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { isTopicShard, type ShardCounts, shardTotal } from '../shards.ts'
import { CopyLinks } from '../volume/copy-links.ts'
import { Volume } from '../volume/volume.ts'
import { Link, type LinkHandler } from '../wire/link.ts'
import { type Message, type MessageName, type RequestName, replies } from '../wire/messages.ts'
import { ProxyLeases } from './proxy-leases.ts'
import { SessionShard } from './session-shard.ts'
import type { Shard } from './shard.ts'
import { ShardCaller } from './shard-caller.ts'
import { TopicShard } from './topic-shard.ts'

export interface BrokerConfig {
  readonly counts: ShardCounts
  readonly settings: ServiceSettings
  readonly nameservers: readonly Address[]
  readonly copies: readonly { readonly name: string; readonly address: Address }[]
}

/** One shard on this broker: `attaching` until its volume is ours and replayed, then `serving`, then gone. */
interface Hosted {
  readonly shard: number
  readonly epoch: number
  state: 'attaching' | 'serving'
  readonly machine: Shard
  readonly volume: Volume
}

const UNREACHABLE_PAUSE_MS = 3000

export function bootBroker(config: BrokerConfig): Boot {
  return (host) => new Broker(host, config)
}

class Broker implements Process, LinkHandler {
  private readonly host: Host
  private readonly config: BrokerConfig
  private readonly registration: Registration
  private readonly leases: ProxyLeases
  private readonly copies: CopyLinks
  private readonly caller: ShardCaller
  private readonly hosted = new Map<number, Hosted>()
  private stopping = false
  /** When a shard was first found ownerless, for the stagger. */
  private readonly ownerlessSinceMs = new Map<number, number>()
  /** After an attach that found no majority of copies: when to try again. */
  private readonly notBeforeMs = new Map<number, number>()
  /** The highest epoch that a copy has promised for a shard, as told by a refusal. */
  private readonly promisedEpochs = new Map<number, number>()

  constructor(host: Host, config: BrokerConfig) {
    this.host = host
    this.config = config
    this.leases = new ProxyLeases(host, config.settings)
    // The process, not the machine, is the owner: a restarted broker waits out what its former self was granted.
    this.copies = new CopyLinks(host, `${host.machine}#${host.bootId}`, config.copies, config.settings)
    const routes = new RouteTable(host, config.nameservers, config.settings, 'on-demand', () => this.caller.onRoute())
    this.caller = new ShardCaller(host, routes, config.settings.proxy.requestTimeoutMs)
    this.registration = new Registration(host, {
      broker: host.machine,
      address: { host: host.address, port: ports.broker },
      nameservers: config.nameservers,
      settings: config.settings,
      serving: () => [...this.hosted.values()].filter((hosted) => hosted.state === 'serving').map(({ shard, epoch }) => ({ shard, epoch })),
      attaching: () => [...this.hosted.values()].filter((hosted) => hosted.state === 'attaching').map(({ shard }) => shard),
      onTick: () => this.considerTakeovers(),
    })
    host.listen(ports.broker, (connection) => Link.accept(host, connection, this))
  }

  /** Takes no more requests, lets what was appended become durable, and tells the nameservers that it serves nothing. */
  stop(done: () => void): void {
    this.stopping = true
    const open = [...this.hosted.values()].filter((hosted) => hosted.state === 'serving')
    let left = open.length
    const finish = () => {
      this.registration.changed()
      done()
    }
    if (left === 0) finish()
    for (const hosted of open) {
      hosted.volume.whenDurable(() => {
        this.release(hosted)
        hosted.volume.close()
        if (--left === 0) finish()
      })
    }
  }

  onRequest(link: Link, message: Message, reply: (message: Message) => void): void {
    if (message.name === 'ping') {
      reply(this.leases.answerPing(link, message, ...this.held()))
      return
    }
    if (!('shard' in message)) return
    const hosted = this.hosted.get(message.shard)
    if (hosted?.state === 'serving' && !this.stopping) hosted.machine.onRequest(link, message, reply)
    else reply(notOwner(message.name))
  }

  onNotice(link: Link, message: Message): void {
    if (!('shard' in message)) return
    const hosted = this.hosted.get(message.shard)
    if (hosted?.state === 'serving') hosted.machine.onNotice(link, message)
  }

  onDown(link: Link): void {
    this.leases.onLinkDown(link)
    for (const hosted of this.hosted.values()) if (hosted.state === 'serving') hosted.machine.onLinkDown(link)
  }

  /** For how long the shards that are served are surely ours, and which they are. */
  private held(): [heldForMs: number, serving: readonly ServedShard[]] {
    let heldForMs = Number.MAX_SAFE_INTEGER
    const serving: ServedShard[] = []
    for (const { shard, epoch, state, volume } of this.hosted.values()) {
      const remainingMs = state === 'serving' ? volume.leaseRemainingMs() : 0
      if (remainingMs <= 0) continue
      serving.push({ shard, epoch })
      heldForMs = Math.min(heldForMs, remainingMs)
    }
    return [serving.length === 0 ? 0 : heldForMs, serving]
  }

  private considerTakeovers(): void {
    if (this.stopping) return
    const nowMs = this.host.nowMs()
    const total = shardTotal(this.config.counts)
    let alive: readonly string[] | undefined
    for (let shard = 0; shard < total; shard++) {
      const ownerless = this.hosted.has(shard) ? undefined : this.registration.ownerless(shard)
      if (ownerless === undefined) {
        this.ownerlessSinceMs.delete(shard)
        continue
      }
      const sinceMs = this.ownerlessSinceMs.get(shard) ?? nowMs
      this.ownerlessSinceMs.set(shard, sinceMs)
      alive ??= this.registration.alive()
      const place = alive.indexOf(this.host.machine)
      const rank = (place - (shard % alive.length) + alive.length) % alive.length
      if (nowMs < (this.notBeforeMs.get(shard) ?? 0)) continue
      if (nowMs - sinceMs < rank * this.config.settings.broker.takeoverStaggerMs) continue
      this.takeOver(shard, Math.max(ownerless.epoch, this.promisedEpochs.get(shard) ?? 0) + 1)
    }
  }

  private takeOver(shard: number, epoch: number): void {
    const { host, config } = this
    this.ownerlessSinceMs.delete(shard)
    if (host.recording) emit(host, { kind: 'owner-found-silent', shard, epoch })
    const machine: Shard = isTopicShard(config.counts, shard)
      ? new TopicShard(host, shard, config.settings)
      : new SessionShard(host, config.counts, config.settings, this.leases, this.caller)
    const volume = Volume.attach(this.copies, shard, epoch, {
      onReplay: (offset, type, version, body) => machine.replay(offset, type, version, body),
      onAttached: () => {
        this.changeState(hosted, 'serving')
        machine.serve(volume)
        this.registration.changed()
      },
      onLost: (reason, promisedEpoch) => {
        // Others may reach the copies that we could not: they get their turn.
        if (reason === 'unreachable') this.notBeforeMs.set(shard, host.nowMs() + UNREACHABLE_PAUSE_MS)
        this.promisedEpochs.set(shard, Math.max(promisedEpoch, this.promisedEpochs.get(shard) ?? 0))
        this.release(hosted)
      },
    })
    const hosted: Hosted = { shard, epoch, state: 'attaching', machine, volume }
    this.hosted.set(shard, hosted)
    if (host.recording) emit(host, { kind: 'shard-state-changed', shard, epoch, from: 'none', to: 'attaching' })
    this.registration.changed()
  }

  private changeState(hosted: Hosted, to: 'serving'): void {
    if (this.host.recording) {
      emit(this.host, { kind: 'shard-state-changed', shard: hosted.shard, epoch: hosted.epoch, from: hosted.state, to })
    }
    hosted.state = to
  }

  private release(hosted: Hosted): void {
    if (this.hosted.get(hosted.shard) !== hosted) return
    if (this.host.recording) {
      emit(this.host, { kind: 'shard-state-changed', shard: hosted.shard, epoch: hosted.epoch, from: hosted.state, to: 'closed' })
    }
    this.hosted.delete(hosted.shard)
    hosted.machine.close()
    this.registration.changed()
  }
}

/** The refusal, in the shape of each request's reply. */
function notOwner(name: MessageName): Message {
  switch (replies[name as RequestName]) {
    case 'sessionOpened':
      return {
        name: 'sessionOpened',
        outcome: 'not-owner',
        sessionPresent: false,
        epoch: 0,
        incarnation: 0,
        subscriptions: [],
        topicShards: [],
      }
    case 'sessionsResumed':
      return { name: 'sessionsResumed', outcome: 'not-owner', superseded: [], lost: [] }
    case 'published':
      return { name: 'published', outcome: 'not-owner', offset: 0, matched: false }
    case 'publishReceived':
      return { name: 'publishReceived', outcome: 'not-owner', messageId: 0, openFrom: 0 }
    case 'publishReleased':
      return { name: 'publishReleased', outcome: 'not-owner' }
    case 'attached':
      return { name: 'attached', outcome: 'not-owner', queueEnd: 0 }
    case 'messagesFound':
      return { name: 'messagesFound', outcome: 'not-owner', messages: [], more: false }
    default:
      return { name: 'answer', outcome: 'not-owner' }
  }
}
