/**
 * The rules that the control plane decides, as one small document: who may do what (`AccessRules`), which first levels of topics there are, and quotas. Each change makes the next
 * version of the whole. Pure functions; that there is one order of versions is the register's matter (`rules-register.ts`).
 */
import type { AccessRules } from '../access.ts'
import type { MessageOf, RulesDocument } from '../wire/messages.ts'

export type Quotas = RulesDocument['quotas']
export type RulesChange = MessageOf<'createTopic'> | MessageOf<'deleteTopic'> | MessageOf<'setQuotas'>

const PLANNED_VERSION = 1
const LONGEST_TOPIC = 64

/** What a region starts with, before anything was changed. */
export function plannedRules(access: AccessRules, quotas: Quotas): RulesDocument {
  return {
    version: PLANNED_VERSION,
    access: access.access,
    topicCreation: access.topicCreation,
    topics: [...access.topics],
    users: [...access.users.values()],
    quotas,
  }
}

export function accessOf({ access, topicCreation, topics, users }: RulesDocument): AccessRules {
  return { access, topicCreation, topics: new Set(topics), users: new Map(users.map((user) => [user.username, user])) }
}

/** @returns the rules with the change made: the same ones where there is nothing to change; undefined where it makes no sense. */
export function changed(rules: RulesDocument, change: RulesChange): RulesDocument | undefined {
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
