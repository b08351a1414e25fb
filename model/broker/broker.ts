/**
 * A broker: hosts shards, takes over those that a majority of nameservers call ownerless, and says of itself what it serves.
 *
 * What it promises is its shards' promises; what keeps two brokers from serving one shard is the volume's epoch and lease, not anything decided here.
 *
 * A shard is handed over in order (`handover.ts`) when its broker stops, and where another broker has at least two fewer (`fair-spread.ts`), one shard an interval
 * and none while a copy of a volume here is lost, slow or behind: it takes no more requests, syncs, has its volume say that this epoch is done, and tells
 * the nameservers; who accepted it attaches at once, without a lease to wait out.
 * Left out: shards are counted, not weighed.
 */
import { listenPrivately } from '../cloud/vpc.ts'
import { emit } from '../events.ts'
import type { Address, Boot, Host, Process } from '../host.ts'
import { Registration, type ServedShard } from '../nameserver/registration.ts'
import { RouteTable } from '../nameserver/route-table.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import { isTopicShard, type ShardCounts, shardTotal } from '../shards.ts'
import { CopyLinks } from '../volume/copy-links.ts'
import type { Placement } from '../volume/kinds.ts'
import { Volume } from '../volume/volume.ts'
import { Link, type LinkHandler } from '../wire/link.ts'
import { type Message, type MessageName, type RequestName, replies } from '../wire/messages.ts'
import { heirs, nextMove } from './fair-spread.ts'
import { type HandoverOwner, type HandoverPeer, Handovers } from './handover.ts'
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
  /** Which of the copy servers hold a volume. */
  readonly placement: (volume: number) => Placement
  /** Every broker of the region, itself too. */
  readonly brokers: readonly HandoverPeer[]
}

/** One shard on this broker: `attaching` until its volume is ours and replayed, then `serving`, `handing-over` where it goes in order, then gone. */
interface Hosted {
  readonly shard: number
  readonly epoch: number
  state: 'attaching' | 'serving' | 'handing-over'
  readonly machine: Shard
  readonly volume: Volume
  /** Called once it is not hosted any more. */
  onGone: (() => void) | undefined
}

const UNREACHABLE_PAUSE_MS = 3000
/** For routes that were asked for to be here. */
const ROUTES_MS = 200
/** For the last datagrams of a broker that stops. */
const LAST_WORDS_MS = 50
const NO_BYTES = Buffer.alloc(0)

export function bootBroker(config: BrokerConfig): Boot {
  return (host) => new Broker(host, config)
}

class Broker implements Process, LinkHandler, HandoverOwner {
  private readonly host: Host
  private readonly config: BrokerConfig
  private readonly registration: Registration
  private readonly leases: ProxyLeases
  private readonly copies: CopyLinks
  private readonly caller: ShardCaller
  private readonly routes: RouteTable
  private readonly handovers: Handovers
  private readonly hosted = new Map<number, Hosted>()
  private stopping = false
  /** When a shard was first found ownerless, and last, for the stagger. */
  private readonly ownerlessSince = new Map<number, { readonly sinceMs: number; readonly seenMs: number }>()
  /** After an attach that found no majority of copies: when to try again. */
  private readonly notBeforeMs = new Map<number, number>()
  /** The highest epoch that a copy has promised for a shard, as told by a refusal. */
  private readonly promisedEpochs = new Map<number, number>()
  /** Who was alive when the spread was last looked at. */
  private aliveBefore = ''

  constructor(host: Host, config: BrokerConfig) {
    this.host = host
    this.config = config
    this.leases = new ProxyLeases(host, config.settings)
    // The process, not the machine, is the owner: a restarted broker waits out what its former self was granted.
    this.copies = new CopyLinks(host, `${host.machine}#${host.bootId}`, config.copies, config.settings, config.placement)
    this.routes = new RouteTable(host, config.nameservers, config.settings, 'on-demand', () => this.caller.onRoute())
    this.caller = new ShardCaller(host, this.routes, config.settings.proxy.requestTimeoutMs)
    this.registration = new Registration(host, {
      broker: host.machine,
      address: { host: host.address, port: ports.broker },
      nameservers: config.nameservers,
      settings: config.settings,
      serving: () => [...this.hosted.values()].filter(({ state }) => state !== 'attaching').map(({ shard, epoch }) => ({ shard, epoch })),
      attaching: () => [...this.inState('attaching').map(({ shard }) => shard), ...this.handovers.reserved()],
      onTick: () => this.considerTakeovers(),
    })
    this.handovers = new Handovers(host, this)
    const { rebalanceIntervalMs } = config.settings.broker
    if (rebalanceIntervalMs > 0) this.armRebalancing(rebalanceIntervalMs * (1 + host.random('rebalancing phase').next()))
    listenPrivately(host, ports.broker, (connection) => Link.accept(host, connection, this))
  }

  /** Hands every shard over in order, to others where there are any, and tells the nameservers that it serves nothing. */
  stop(done: () => void): void {
    this.stopping = true
    for (const hosted of this.inState('attaching')) {
      hosted.volume.close()
      this.release(hosted)
    }
    const shards = [...this.hosted.values()]
    let left = shards.length
    const finish = () => {
      this.registration.changed()
      this.host.setTimer(LAST_WORDS_MS, done)
    }
    if (left === 0) finish()
    const oneLess = () => {
      if (--left === 0) finish()
    }
    const others = this.registration.alive().filter((name) => name !== this.host.machine)
    const owners = this.ownersOfShards()
    const chosen = heirs(
      shards.map(({ shard }) => shard),
      owners,
      others,
    )
    for (const hosted of shards) {
      const to = this.config.brokers.find(({ name }) => name === chosen.get(hosted.shard))
      if (hosted.state === 'handing-over') this.whenGone(hosted, oneLess)
      else if (to === undefined) this.letGo(hosted, undefined, 'stopping', oneLess)
      else {
        this.handovers.offer(hosted.shard, hosted.epoch, to, (accepted) =>
          this.letGo(hosted, accepted ? to : undefined, 'stopping', oneLess),
        )
      }
    }
  }

  onRequest(link: Link, message: Message, reply: (message: Message) => void): void {
    if (message.name === 'ping') {
      reply(this.leases.answerPing(link, message, ...this.held()))
      return
    }
    if (!('shard' in message)) return
    const hosted = this.hosted.get(message.shard)
    if (hosted?.state === 'serving') hosted.machine.onRequest(link, message, reply)
    else reply(notOwner(message.name))
  }

  onNotice(link: Link, message: Message): void {
    if (!('shard' in message)) return
    const hosted = this.hosted.get(message.shard)
    if (hosted?.state === 'serving') hosted.machine.onNotice(link, message)
  }

  onDown(link: Link): void {
    this.leases.onLinkDown(link)
    for (const hosted of this.inState('serving')) hosted.machine.onLinkDown(link)
  }

  private inState(state: Hosted['state']): readonly Hosted[] {
    return [...this.hosted.values()].filter((hosted) => hosted.state === state)
  }

  // Handing over

  wants(shard: number): boolean {
    return !this.stopping && !this.hosted.has(shard)
  }

  onReserved(): void {
    this.registration.changed()
  }

  take(shard: number, epoch: number): void {
    if (!this.wants(shard)) return
    this.host.reached('shard taken that was handed over')
    this.takeOver(shard, Math.max(epoch, this.promisedEpochs.get(shard) ?? 0) + 1)
  }

  /** The shard takes no more requests; once all that it was asked is durable its volume is let go. */
  private letGo(hosted: Hosted, to: HandoverPeer | undefined, why: 'stopping' | 'rebalancing', done: () => void): void {
    if (this.hosted.get(hosted.shard) !== hosted || hosted.state !== 'serving') {
      this.whenGone(hosted, done)
      return
    }
    const { shard, epoch, volume, machine } = hosted
    this.changeState(hosted, 'handing-over')
    this.whenGone(hosted, done)
    volume.whenDurable(() => {
      machine.close()
      volume.release(() => {
        if (this.host.recording) emit(this.host, { kind: 'shard-handed-over', shard, epoch, to: to?.name ?? '', why })
        this.release(hosted)
        if (to !== undefined) this.handovers.tellTake(shard, epoch, to)
      })
    })
  }

  private whenGone(hosted: Hosted, done: () => void): void {
    if (this.hosted.get(hosted.shard) !== hosted) {
      done()
      return
    }
    const before = hosted.onGone
    hosted.onGone = () => {
      before?.()
      done()
    }
  }

  private ownersOfShards(): readonly (string | undefined)[] {
    return Array.from({ length: shardTotal(this.config.counts) }, (_, shard) => {
      const hosted = this.hosted.get(shard)
      return hosted !== undefined && hosted.state !== 'attaching' ? this.host.machine : this.routes.owner(shard)?.broker
    })
  }

  private armRebalancing(delayMs: number): void {
    this.host.setTimer(delayMs, () => {
      this.routes.refreshNow()
      this.host.setTimer(ROUTES_MS, () => this.rebalance())
      this.armRebalancing(this.config.settings.broker.rebalanceIntervalMs)
    })
  }

  private rebalance(): void {
    const alive = this.registration.alive()
    // Who has just come back may be gone again.
    const isSettled = this.aliveBefore === alive.join()
    this.aliveBefore = alive.join()
    if (this.stopping || !isSettled) return
    const move = nextMove(this.ownersOfShards(), alive)
    if (move === undefined || move.from !== this.host.machine) return
    const hosted = this.hosted.get(move.shard)
    const to = this.config.brokers.find(({ name }) => name === move.to)
    if (hosted === undefined || to === undefined || ![...this.hosted.values()].every(volumeIsWhole)) return
    this.handovers.offer(move.shard, hosted.epoch, to, (accepted) => {
      if (accepted && volumeIsWhole(hosted)) this.letGo(hosted, to, 'rebalancing', () => undefined)
    })
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
    const reserved = this.handovers.reserved()
    const patienceMs = 1.5 * this.config.settings.broker.heartbeatIntervalMs
    let alive: readonly string[] | undefined
    for (let shard = 0; shard < total; shard++) {
      const isOurs = this.hosted.has(shard) || reserved.includes(shard)
      const ownerless = isOurs ? undefined : this.registration.ownerless(shard)
      const before = this.ownerlessSince.get(shard)
      if (ownerless === undefined) {
        // Between a heartbeat and the answers of a majority nothing is known either way.
        if (before !== undefined && (isOurs || nowMs - before.seenMs > patienceMs)) this.ownerlessSince.delete(shard)
        continue
      }
      const sinceMs = before?.sinceMs ?? nowMs
      this.ownerlessSince.set(shard, { sinceMs, seenMs: nowMs })
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
    this.ownerlessSince.delete(shard)
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
    const hosted: Hosted = { shard, epoch, state: 'attaching', machine, volume, onGone: undefined }
    this.hosted.set(shard, hosted)
    if (host.recording) emit(host, { kind: 'shard-state-changed', shard, epoch, from: 'none', to: 'attaching' })
    this.registration.changed()
  }

  private changeState(hosted: Hosted, to: 'serving' | 'handing-over'): void {
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
    hosted.onGone?.()
  }
}

function volumeIsWhole({ volume }: Hosted): boolean {
  return volume.isWhole()
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
      return { name: 'attached', outcome: 'not-owner', sessions: [] }
    case 'messagesFound':
      return { name: 'messagesFound', outcome: 'not-owner', messages: [], more: false }
    case 'messageTraced':
      return { name: 'messageTraced', outcome: 'not-owner', storedAtMs: 0, message: NO_BYTES, isWhole: false, deliveries: [] }
    case 'sessionsListed':
      return { name: 'sessionsListed', outcome: 'not-owner', clients: [], more: false }
    case 'clientKicked':
      return { name: 'clientKicked', outcome: 'not-owner' }
    default:
      return { name: 'answer', outcome: 'not-owner' }
  }
}
