/**
 * What a console asks of the shards for people: messages by topic and time, a message and its trace by id, the clients, and that one be sent away.
 *
 * Every answer is the owner's own; a console keeps none of it. Where a shard stays out of reach for longer than the patience, that is the answer.
 */
import { ShardCaller } from '../broker/shard-caller.ts'
import type { Address, Host } from '../host.ts'
import { RouteTable } from '../nameserver/route-table.ts'
import type { ServiceSettings } from '../settings.ts'
import { type ShardCounts, shardOfClient, shardOfTopic, shardTotal } from '../shards.ts'
import type { MessageOf, ReplyOf } from '../wire/messages.ts'

/** Questions to a shard, all of which may be asked again. */
type ShardQuestion = 'queryMessages' | 'traceMessage' | 'listSessions' | 'kickFromShard'

const RETRY_MS = 200
/** In one answer. */
const MOST_CLIENTS = 1000

const NO_MESSAGE = Buffer.alloc(0)

export class RegionQueries {
  private readonly host: Host
  private readonly counts: ShardCounts
  private readonly patienceMs: number
  private readonly caller: ShardCaller

  constructor(host: Host, counts: ShardCounts, nameservers: readonly Address[], settings: ServiceSettings) {
    this.host = host
    this.counts = counts
    this.patienceMs = settings.console.requestTimeoutMs
    const routes = new RouteTable(host, nameservers, settings, 'on-demand', () => this.caller.onRoute())
    this.caller = new ShardCaller(host, routes, settings.console.requestTimeoutMs)
  }

  findMessages(question: MessageOf<'findMessages'>, reply: (answer: MessageOf<'messagesListed'>) => void): void {
    const { topic, fromMs, toMs, afterOffset, limit } = question
    const shard = shardOfTopic(this.counts, topic)
    this.ask(shard, { name: 'queryMessages', shard, topic, fromMs, toMs, afterOffset, limit }, (found) => {
      if (found === undefined) reply({ name: 'messagesListed', outcome: 'out-of-reach', shard, messages: [], more: false })
      else reply({ name: 'messagesListed', outcome: 'found', shard, messages: found.messages, more: found.more })
    })
  }

  traceMessage(question: MessageOf<'traceMessage'>, reply: (answer: MessageOf<'messageTraced'>) => void): void {
    const nothing = (outcome: 'none' | 'out-of-reach') =>
      reply({ name: 'messageTraced', outcome, storedAtMs: 0, message: NO_MESSAGE, isWhole: false, deliveries: [] })
    if (question.shard >= this.counts.topicShards) nothing('none')
    else
      this.ask(question.shard, question, (traced) => {
        if (traced === undefined) nothing('out-of-reach')
        else reply(traced)
      })
  }

  listClients({ after, limit }: MessageOf<'listClients'>, reply: (answer: MessageOf<'clientsListed'>) => void): void {
    const most = Math.min(limit, MOST_CLIENTS)
    const clients: MessageOf<'sessionsListed'>['clients'][number][] = []
    const missing: number[] = []
    let more = false
    let open = this.counts.sessionShards
    for (let shard = this.counts.topicShards; shard < shardTotal(this.counts); shard++) {
      this.ask(shard, { name: 'listSessions', shard, after, limit: most }, (listed) => {
        if (listed === undefined) missing.push(shard)
        else {
          clients.push(...listed.clients)
          more ||= listed.more
        }
        if (--open > 0) return
        clients.sort((a, b) => (a.clientId < b.clientId ? -1 : 1))
        reply({
          name: 'clientsListed',
          outcome: missing.length === 0 ? 'found' : 'partial',
          missing: missing.sort((a, b) => a - b),
          clients: clients.slice(0, most),
          more: more || clients.length > most,
        })
      })
    }
  }

  kickClient({ clientId }: MessageOf<'kickClient'>, reply: (answer: MessageOf<'clientKicked'>) => void): void {
    const shard = shardOfClient(this.counts, clientId)
    this.ask(shard, { name: 'kickFromShard', shard, clientId }, (kicked) =>
      reply(kicked ?? { name: 'clientKicked', outcome: 'out-of-reach' }),
    )
  }

  /** Until the owner has answered, wherever it is by then. Undefined: it has not in time. */
  private ask<N extends ShardQuestion>(shard: number, question: MessageOf<N>, done: (answer: ReplyOf<N> | undefined) => void): void {
    const deadlineMs = this.host.nowMs() + this.patienceMs
    const attempt = () => {
      // Questions are rare, and the routes known may be as old as the last one.
      this.caller.refresh()
      this.caller.call(shard, question, (outcome) => {
        if (outcome.kind === 'reply' && outcome.message.outcome !== 'not-owner') done(outcome.message)
        else if (this.host.nowMs() + RETRY_MS >= deadlineMs) done(undefined)
        else this.host.setTimer(RETRY_MS, attempt)
      })
    }
    attempt()
  }
}
