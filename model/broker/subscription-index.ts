/**
 * Which sessions want a topic: a trie over filter levels, with a memo for each topic that was asked for since the last change.
 * Overlapping filters of one session are merged into one match: the highest QoS, every subscription identifier
 * [MQTT-3.3.4-2, MQTT-3.3.4-3]. The work of a match grows with the filters that match, not with those that are held.
 */
import { SmallMap } from '../small-map.ts'
import type { Subscription } from '../wire/messages.ts'

/** What one session gets of a topic. */
export interface Match<S> {
  readonly session: S
  /** The highest QoS granted by the filters that match. */
  readonly qos: number
  readonly retainAsPublished: boolean
  readonly subscriptionIdentifiers: readonly number[]
  /** The same for messages that the session itself published: filters with No Local left out [MQTT-3.8.3-3]; undefined when none is left. */
  readonly own:
    | { readonly qos: number; readonly retainAsPublished: boolean; readonly subscriptionIdentifiers: readonly number[] }
    | undefined
}

/** Most nodes are the end of one session's filter. */
interface Node<S> {
  children: Map<string, Node<S>> | undefined
  /** By session, the subscription with the filter that ends here. */
  here: SmallMap<S, Subscription> | undefined
}

const MEMO_LIMIT = 10_000

export class SubscriptionIndex<S> {
  private readonly root: Node<S> = newNode()
  private readonly memo = new Map<string, readonly Match<S>[]>()

  add(session: S, subscription: Subscription): void {
    let node = this.root
    for (const level of subscription.filter.split('/')) {
      node.children ??= new Map()
      let child = node.children.get(level)
      if (child === undefined) {
        child = newNode()
        node.children.set(level, child)
      }
      node = child
    }
    node.here ??= new SmallMap()
    node.here.set(session, subscription)
    this.memo.clear()
  }

  remove(session: S, filter: string): void {
    const levels = filter.split('/')
    const path: Node<S>[] = [this.root]
    for (const level of levels) {
      const child = path[path.length - 1]!.children?.get(level)
      if (child === undefined) return
      path.push(child)
    }
    path[path.length - 1]!.here?.delete(session)
    for (let i = levels.length; i > 0; i--) {
      const node = path[i]!
      if ((node.here?.size ?? 0) > 0 || (node.children?.size ?? 0) > 0) break
      path[i - 1]!.children!.delete(levels[i - 1]!)
    }
    this.memo.clear()
  }

  match(topic: string): readonly Match<S>[] {
    const known = this.memo.get(topic)
    if (known !== undefined) return known
    const found = new Map<S, Subscription[]>()
    collect(this.root, topic.split('/'), 0, found)
    const matches = Array.from(found, ([session, subscriptions]): Match<S> => {
      const all = merge(subscriptions)
      const foreign = subscriptions.filter((subscription) => !subscription.noLocal)
      const own = foreign.length === subscriptions.length ? all : foreign.length === 0 ? undefined : merge(foreign)
      return { session, ...all, own }
    })
    if (this.memo.size >= MEMO_LIMIT) this.memo.clear()
    this.memo.set(topic, matches)
    return matches
  }
}

function newNode<S>(): Node<S> {
  return { children: undefined, here: undefined }
}

function collect<S>(node: Node<S>, levels: readonly string[], depth: number, found: Map<S, Subscription[]>): void {
  // A filter that begins with a wildcard does not match a topic that begins with $ [MQTT-4.7.2-1].
  const wildcards = depth > 0 || !levels[0]!.startsWith('$')
  if (wildcards) {
    const rest = node.children?.get('#')
    if (rest !== undefined) take(rest, found)
  }
  if (depth === levels.length) {
    take(node, found)
    return
  }
  const exact = node.children?.get(levels[depth]!)
  if (exact !== undefined) collect(exact, levels, depth + 1, found)
  if (wildcards) {
    const any = node.children?.get('+')
    if (any !== undefined) collect(any, levels, depth + 1, found)
  }
}

function take<S>(node: Node<S>, found: Map<S, Subscription[]>): void {
  if (node.here === undefined) return
  for (const [session, subscription] of node.here) {
    const list = found.get(session)
    if (list === undefined) found.set(session, [subscription])
    else list.push(subscription)
  }
}

function merge(subscriptions: readonly Subscription[]): {
  qos: number
  retainAsPublished: boolean
  subscriptionIdentifiers: readonly number[]
} {
  let qos = 0
  let retainAsPublished = false
  const identifiers: number[] = []
  for (const subscription of subscriptions) {
    if (subscription.qos > qos) qos = subscription.qos
    if (subscription.retainAsPublished) retainAsPublished = true
    if (subscription.subscriptionIdentifier > 0) identifiers.push(subscription.subscriptionIdentifier)
  }
  return { qos, retainAsPublished, subscriptionIdentifiers: identifiers }
}
