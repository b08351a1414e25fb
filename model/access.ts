/**
 * Who may connect, and who may publish and subscribe to what: the rules that the control plane hands to every proxy, and what follows from them. The proxy decides by
 * itself, at CONNECT, SUBSCRIBE and PUBLISH; a user's rules hold for the life of a connection.
 *
 * Pure functions. What a client is told in which version is the proxy's matter.
 */
import { parseShared, topicMatches } from './wire/topic.ts'

export interface User {
  readonly username: string
  readonly password: string
  /** Topic filters: the user may publish to topics that one of them matches, wills included. */
  readonly publish: readonly string[]
  /** Topic filters: the user may subscribe to filters that lie within one of them. */
  readonly subscribe: readonly string[]
}

export interface AccessRules {
  /** `open`: any user name and password, or none. `permissions`: only `users`, each within its filters. */
  readonly access: 'open' | 'permissions'
  /** `auto`: a topic is there when it is used. `console`: its first level has to be one of `topics`, created before. */
  readonly topicCreation: 'auto' | 'console'
  readonly topics: ReadonlySet<string>
  /** By user name. */
  readonly users: ReadonlyMap<string, User>
}

export const openAccess: AccessRules = { access: 'open', topicCreation: 'auto', topics: new Set(), users: new Map() }

export type AccessRefusal = 'not-authorized' | 'no-such-topic'

/** @returns the user; `anyone` where access is open; undefined where user name and password are not those of a user. */
export function authenticate(rules: AccessRules, username: string | undefined, password: Buffer | undefined): User | 'anyone' | undefined {
  if (rules.access === 'open') return 'anyone'
  const user = username === undefined ? undefined : rules.users.get(username)
  return user !== undefined && password !== undefined && Buffer.from(user.password).equals(password) ? user : undefined
}

/**
 * Trees that a server keeps for itself; clients may not write there, though they may subscribe. The standard leaves names with a leading `$` to the server
 * (MQTT 5.0 section 4.7.2); `$share` in a name could be taken for a shared subscription.
 */
const SERVER_TREES = ['$SYS/', '$CONTROL/', '$share/']
const DOLLAR = 0x24

/** Whether a message may be published to a topic; undefined: yes. */
export function publishRefusal(rules: AccessRules, user: User | 'anyone', topic: string): AccessRefusal | undefined {
  if (topic.charCodeAt(0) === DOLLAR && SERVER_TREES.some((tree) => topic.startsWith(tree))) return 'not-authorized'
  if (user !== 'anyone' && !user.publish.some((filter) => topicMatches(filter, topic))) return 'not-authorized'
  if (rules.topicCreation === 'console' && !rules.topics.has(firstLevel(topic))) return 'no-such-topic'
  return undefined
}

/** Whether a filter may be subscribed to; undefined: yes. Of a shared subscription, the filter behind the share name counts. */
export function subscribeRefusal(rules: AccessRules, user: User | 'anyone', filter: string): AccessRefusal | undefined {
  const plain = parseShared(filter)?.filter ?? filter
  if (user !== 'anyone' && !user.subscribe.some((outer) => liesWithin(plain, outer))) return 'not-authorized'
  if (rules.topicCreation === 'console') {
    const first = firstLevel(plain)
    if (first !== '+' && first !== '#' && !rules.topics.has(first)) return 'no-such-topic'
  }
  return undefined
}

function firstLevel(topic: string): string {
  const slash = topic.indexOf('/')
  return slash < 0 ? topic : topic.slice(0, slash)
}

/** Whether every topic name that `inner` matches is matched by `outer`. Both are valid filters that are not shared. */
export function liesWithin(inner: string, outer: string): boolean {
  if (outer === '#') return !inner.startsWith('$')
  // `x/#` matches `x` too (section 4.7.1.2), but no name is empty [MQTT-4.7.3-1]: of these two the shortest names are one level longer than they look.
  const inners = (inner === '#' ? '+/#' : inner === '/#' ? '/+/#' : inner).split('/')
  const outers = outer.split('/')
  for (let at = 0; at < outers.length; at++) {
    const wanted = outers[at]!
    if (wanted === '#') return true
    const given = inners[at]
    if (given === undefined || given === '#') return false
    if (wanted === '+' ? at === 0 && given.startsWith('$') : wanted !== given) return false
    // `a` lies within `a/#`.
    if (at === inners.length - 1) return at === outers.length - 1 || (at === outers.length - 2 && outers[at + 1] === '#')
  }
  return false
}
