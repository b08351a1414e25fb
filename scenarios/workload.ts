/**
 * Who publishes and subscribes to what: turns a scenario's groups of clients into single clients, numbered through from 0, and into the rules of a region in
 * which each of them may do that and nothing else.
 */
import type { AccessRules, User } from '../model/access.ts'
import { clientIdOf, type FleetAway, type FleetClient, probeTopicOf, willTopicOf } from './fleet.ts'
import { AWAY_STAGGER_MS, type ClientGroup, type Scenario } from './scenario.ts'

export interface WorkloadTiming {
  readonly startAtMs: number
  /** Clients connect spread at random over this long. */
  readonly connectStaggerMs: number
}

const DEFAULT_SESSION_EXPIRY_MS = 3_600_000
/** The first levels of every topic there is. */
const FIRST_LEVELS: readonly string[] = ['data', 'probe', 'will']

/** The topic that a client publishes to. */
function topicOf(client: number): string {
  return `data/${client}`
}

/** All clients of a scenario in the order of their numbers. The ring runs through all groups, so that clients of different habits and versions meet. */
export function planClients(groups: readonly ClientGroup[], timing: WorkloadTiming): readonly FleetClient[] {
  const count = groups.reduce((sum, group) => sum + group.count, 0)
  const clients: FleetClient[] = []
  for (const group of groups) {
    const away = group.away.map((period) => ({ atMs: period.at, forMs: period.for, ending: period.ending }))
    for (let left = group.count; left > 0; left--) clients.push(planClient(group, clients.length, count, away, timing))
  }
  return clients
}

function planClient(group: ClientGroup, number: number, count: number, away: readonly FleetAway[], timing: WorkloadTiming): FleetClient {
  const { publish, subscribe, will } = group
  return {
    number,
    profile: group.profile,
    version: group.version,
    cleanStart: group.cleanStart,
    sessionExpirySeconds: (group.sessionExpiry ?? DEFAULT_SESSION_EXPIRY_MS) / 1000,
    ...(group.keepalive === undefined ? {} : { keepaliveSeconds: group.keepalive / 1000 }),
    ...(group.resolver === undefined ? {} : { resolverCache: group.resolver === 'pinned' ? 'first-address-pinned' : group.resolver }),
    leavesSocketsOpen: group.leavesSocketsOpen,
    ...(group.tls === undefined ? {} : { tls: group.tls }),
    ...credentialsOf(number),
    subscribe:
      subscribe === 'none'
        ? []
        : [
            {
              filter: sharedBy(subscribe.share, filterOf(subscribe.topics, number, count)),
              qos: subscribe.qos,
              ...(subscribe.noLocal ? { noLocal: true } : {}),
            },
          ],
    ...(subscribe === 'none' || subscribe.again === undefined ? {} : { subscribeAgainMs: subscribe.again }),
    publish:
      publish === 'none'
        ? undefined
        : {
            topic: topicOf(number),
            qos: publish.qos,
            intervalMs: publish.every,
            payloadBytes: publish.payloadBytes,
            retain: publish.retain,
            ...(publish.expiry === undefined ? {} : { expirySeconds: publish.expiry / 1000 }),
          },
    ...(will === undefined ? {} : { will: { qos: will.qos, retain: will.retain, delaySeconds: will.delay / 1000 } }),
    away,
    awayStaggerMs: AWAY_STAGGER_MS,
    ...timing,
  }
}

/** `ring`: the topic of the client before, so that each message has one subscriber. `fan-in`: every topic. `wills`: every will. */
function filterOf(topics: 'ring' | 'fan-in' | 'wills', number: number, count: number): string {
  if (topics === 'wills') return 'will/+'
  return topics === 'ring' ? topicOf((number + count - 1) % count) : 'data/+'
}

function sharedBy(group: string | undefined, filter: string): string {
  return group === undefined ? filter : `$share/${group}/${filter}`
}

/** A password that is not the user name, so that nobody is let in by mistaking one for the other. */
function credentialsOf(number: number): { readonly username: string; readonly password: string } {
  return { username: `user-${number}`, password: `secret of ${clientIdOf(number)}` }
}

/** Who may do what in the region. */
export function accessRules({ region: { access, topicCreation }, clients: groups }: Scenario): AccessRules {
  const users = access === 'open' ? [] : planClients(groups, { startAtMs: 0, connectStaggerMs: 0 }).map(userOf)
  return {
    access,
    topicCreation,
    topics: new Set(topicCreation === 'console' ? FIRST_LEVELS : []),
    users: new Map(users.map((user) => [user.username, user])),
  }
}

/** What a client needs, and no more. A permission is for the topics of a shared subscription, whatever its group. */
function userOf({ number, publish, subscribe, will }: FleetClient): User {
  const probe = probeTopicOf(number)
  return {
    ...credentialsOf(number),
    publish: [...(publish === undefined ? [] : [publish.topic]), ...(will === undefined ? [] : [willTopicOf(number)]), probe],
    subscribe: [...subscribe.map(({ filter }) => filter.replace(/^\$share\/[^/]+\//, '')), probe],
  }
}
