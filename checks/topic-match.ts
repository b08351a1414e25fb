/**
 * The witnesses' own topic matcher, which shares nothing with the service's. It judges filters that the service has accepted: it does not validate them.
 *
 * MQTT 5 section 4.7: `+` is one level, `#` the rest and its parent too [MQTT-4.7.1-1, -2]; neither at the start matches a topic that begins with `$`
 * [MQTT-4.7.2-1]. A shared filter `$share/{group}/{filter}` matches what its filter matches.
 */

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23
const DOLLAR = 0x24

export function isShared(filter: string): boolean {
  return filter.startsWith('$share/')
}

/** The filter without its shared group. */
export function plainFilter(filter: string): string {
  if (!isShared(filter)) return filter
  const end = filter.indexOf('/', 7)
  return end < 0 ? '' : filter.slice(end + 1)
}

export function hasWildcards(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

/** Whether a plain (not shared) filter matches a topic name. */
export function matches(filter: string, topic: string): boolean {
  if (topic.charCodeAt(0) === DOLLAR) {
    const lead = filter.charCodeAt(0)
    if (lead === PLUS || lead === HASH) return false
  }
  let f = 0
  let t = 0
  // Once round for each level: both cursors stand at the start of one.
  while (f < filter.length) {
    const code = filter.charCodeAt(f)
    if (code === HASH) return true
    if (code === PLUS) {
      f++
      while (t < topic.length && topic.charCodeAt(t) !== SLASH) t++
    } else {
      while (f < filter.length && filter.charCodeAt(f) !== SLASH) {
        if (t >= topic.length || filter.charCodeAt(f) !== topic.charCodeAt(t)) return false
        f++
        t++
      }
      if (t < topic.length && topic.charCodeAt(t) !== SLASH) return false
    }
    const filterEnds = f >= filter.length
    const topicEnds = t >= topic.length
    if (filterEnds || topicEnds) {
      if (filterEnds) return topicEnds
      // `a/#` matches its parent `a` too.
      return filter.length === f + 2 && filter.charCodeAt(f + 1) === HASH
    }
    f++
    t++
    // Both stand after a slash: an empty last level of the filter matches only an empty last level of the topic.
    if (f === filter.length) return t === topic.length
  }
  return t >= topic.length
}
