/**
 * The rules that the control plane decides, as one small document: who may do what (`AccessRules`), which first levels of topics there are, and quotas. Each change makes the next
 * version of the whole. Pure functions; that there is one order of versions is the register's matter (`rules-register.ts`).
 *
 * A change is made once, however often it arrives and however late: the document keeps the number of the last change of each client, and a client asks for one change at a time.
 * Bound: only the clients that changed something last are kept (`MOST_CLIENTS`), since operators are few. A copy of a change that arrives after so many others have changed something is made again.
 */
import type { AccessRules } from '../access.ts'
import type { MessageOf, RulesDocument } from '../wire/messages.ts'

export type Quotas = RulesDocument['quotas']
export type RulesChange = MessageOf<'createTopic'> | MessageOf<'deleteTopic'> | MessageOf<'setQuotas'>

const PLANNED_VERSION = 1
const LONGEST_TOPIC = 64
export const MOST_CLIENTS = 64

/** What a region starts with, before anything was changed. */
export function plannedRules(access: AccessRules, quotas: Quotas): RulesDocument {
  return {
    version: PLANNED_VERSION,
    access: access.access,
    topicCreation: access.topicCreation,
    topics: [...access.topics],
    users: [...access.users.values()],
    quotas,
    lastChanges: [],
  }
}

export function accessOf({ access, topicCreation, topics, users }: RulesDocument): AccessRules {
  return { access, topicCreation, topics: new Set(topics), users: new Map(users.map((user) => [user.username, user])) }
}

/** @returns the rules with the change in them: the same ones where it is in them already, or is superseded; undefined where it makes no sense. */
export function changed(rules: RulesDocument, change: RulesChange): RulesDocument | undefined {
  if (lastNumberOf(rules, change) >= change.id.number) return rules
  const next = made(rules, change)
  if (next === undefined) return undefined
  // One that has nothing to change is kept as well: what it found may be otherwise when it arrives again.
  const others = next.lastChanges.filter(({ client }) => client !== change.id.client)
  return { ...next, lastChanges: [...others, change.id].slice(-MOST_CLIENTS) }
}

/** Whether a later change of its client is in these rules. */
export function isSuperseded(rules: RulesDocument, change: RulesChange): boolean {
  return lastNumberOf(rules, change) > change.id.number
}

/** Numbers begin with 1. */
function lastNumberOf({ lastChanges }: RulesDocument, { id }: RulesChange): number {
  return lastChanges.find(({ client }) => client === id.client)?.number ?? 0
}

function made(rules: RulesDocument, change: RulesChange): RulesDocument | undefined {
  const version = rules.version + 1
  switch (change.name) {
    case 'createTopic':
      if (!isFirstLevel(change.topic)) return undefined
      return rules.topics.includes(change.topic) ? rules : { ...rules, version, topics: [...rules.topics, change.topic] }
    case 'deleteTopic':
      if (!rules.topics.includes(change.topic)) return rules
      return { ...rules, version, topics: rules.topics.filter((topic) => topic !== change.topic) }
    case 'setQuotas': {
      const { connectionsPerProxy, messagesPerSecond, filtersPerClient, payloadBytes } = change
      if (filtersPerClient === 0) return undefined
      return { ...rules, version, quotas: { connectionsPerProxy, messagesPerSecond, filtersPerClient, payloadBytes } }
    }
  }
}

/** Wildcards and separators are no part of a level (MQTT 5.0 section 4.7.1); names with a leading `$` are the server's own [MQTT-4.7.2-1]. */
function isFirstLevel(topic: string): boolean {
  return topic.length > 0 && topic.length <= LONGEST_TOPIC && !/[/+#\0]/.test(topic) && !topic.startsWith('$')
}
