/**
 * Topic names and topic filters (MQTT 5.0 section 4.7; MQTT 3.1.1 has the same rules) and shared subscriptions (4.8.2): which are valid, and which match.
 *
 * Nothing is normalised: `a`, `/a` and `a/` are three topics [MQTT-4.7.3-4]. A name with control characters is none, since the reader refuses it
 * (the standard allows that, section 1.5.4): it could not be told from another in a list.
 */
import { isCleanText } from './utf8.ts'

const SLASH = 0x2f
const HASH = 0x23
const PLUS = 0x2b
const DOLLAR = 0x24

const SHARE = '$share/'

export function hasWildcard(filter: string): boolean {
  for (let i = 0; i < filter.length; i++) {
    const unit = filter.charCodeAt(i)
    if (unit === HASH || unit === PLUS) return true
  }
  return false
}

export function isTopicName(text: string): boolean {
  return text.length > 0 && isCleanText(text) && !hasWildcard(text)
}

export type FilterFlaw = 'empty' | 'multi-level-wildcard' | 'single-level-wildcard' | 'share-name' | 'no-filter-after-share-name'

/** What is wrong with the wildcards of a filter that is not shared. */
export function wildcardFlaw(filter: string): FilterFlaw | undefined {
  const length = filter.length
  if (length === 0) return 'empty'
  for (let i = 0; i < length; i++) {
    const unit = filter.charCodeAt(i)
    if (unit !== HASH && unit !== PLUS) continue
    const startsLevel = i === 0 || filter.charCodeAt(i - 1) === SLASH
    if (unit === HASH) {
      if (!startsLevel || i !== length - 1) return 'multi-level-wildcard'
    } else if (!startsLevel || (i !== length - 1 && filter.charCodeAt(i + 1) !== SLASH)) {
      return 'single-level-wildcard'
    }
  }
  return undefined
}

/** What is wrong with a filter, shared or not, as MQTT 5 reads it. */
export function filterFlaw(filter: string): FilterFlaw | undefined {
  if (!filter.startsWith(SHARE)) return wildcardFlaw(filter)
  const slash = filter.indexOf('/', SHARE.length)
  const group = slash < 0 ? filter.slice(SHARE.length) : filter.slice(SHARE.length, slash)
  if (group === '' || hasWildcard(group)) return 'share-name'
  if (slash < 0 || slash === filter.length - 1) return 'no-filter-after-share-name'
  return wildcardFlaw(filter.slice(slash + 1))
}

export function isTopicFilter(text: string): boolean {
  return filterFlaw(text) === undefined && isCleanText(text)
}

/** The parts of a shared subscription's filter; undefined where the filter is not shared, or not a valid one. */
export function parseShared(filter: string): { readonly group: string; readonly filter: string } | undefined {
  if (!filter.startsWith(SHARE) || filterFlaw(filter) !== undefined) return undefined
  const slash = filter.indexOf('/', SHARE.length)
  return { group: filter.slice(SHARE.length, slash), filter: filter.slice(slash + 1) }
}

/**
 * Whether a topic name matches a filter. Both are valid; of a shared subscription, the filter behind the share name is meant.
 * A wildcard at the start does not match names that begin with `$` [MQTT-4.7.2-1].
 */
export function topicMatches(filter: string, topic: string): boolean {
  const filterLength = filter.length
  const topicLength = topic.length
  if (topic.charCodeAt(0) === DOLLAR) {
    const first = filter.charCodeAt(0)
    if (first === HASH || first === PLUS) return false
  }
  let at = 0
  for (let i = 0; i < filterLength; i++) {
    const unit = filter.charCodeAt(i)
    if (unit === HASH) return true
    if (unit === PLUS) {
      while (at < topicLength && topic.charCodeAt(at) !== SLASH) at += 1
    } else if (at < topicLength && topic.charCodeAt(at) === unit) {
      at += 1
    } else {
      // `a/#` matches its parent `a` too (section 4.7.1.2).
      return at === topicLength && unit === SLASH && i + 2 === filterLength && filter.charCodeAt(i + 1) === HASH
    }
  }
  return at === topicLength
}
