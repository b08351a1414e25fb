import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { filterFlaw, hasWildcard, isTopicFilter, isTopicName, parseShared, topicMatches } from './topic.ts'

describe('topic names', () => {
  test.each(['a', '/', 'a/b', '/a', 'a/', 'a//b', '$SYS/x', 'Accounts payable', '\ufeffa', '𝄞'])('%j is one', (name) => {
    expect(isTopicName(name)).toBe(true)
  })

  test.each(['', 'a/#', '+', 'a+b', 'a\u0000b', 'a\u0001b', '\ud800', 'a\udc00', 'x'.repeat(65_536)])(
    '%j is none [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-4.7.3-3]',
    (name) => {
      expect(isTopicName(name)).toBe(false)
    },
  )
})

describe('topic filters', () => {
  test.each([
    '#',
    '+',
    'a',
    'a/#',
    '/#',
    '+/#',
    'a/+/b',
    '+/+',
    '/+',
    'a/+',
    '$SYS/#',
    '$share/g/a',
    '$share/g/#',
    '$share/g//',
    '$share',
    '$shared/#',
  ])('%j is valid', (filter) => {
    expect(isTopicFilter(filter)).toBe(true)
    expect(filterFlaw(filter)).toBeUndefined()
  })

  test.each([
    ['', 'empty'],
    ['a#', 'multi-level-wildcard'],
    ['a/#/b', 'multi-level-wildcard'],
    ['#/a', 'multi-level-wildcard'],
    ['##', 'multi-level-wildcard'],
    ['a+', 'single-level-wildcard'],
    ['+a', 'single-level-wildcard'],
    ['a/b+/c', 'single-level-wildcard'],
    ['++', 'single-level-wildcard'],
    ['$share/g', 'no-filter-after-share-name'],
    ['$share/g/', 'no-filter-after-share-name'],
    ['$share/', 'share-name'],
    ['$share//a', 'share-name'],
    ['$share/+/a', 'share-name'],
    ['$share/g#/a', 'share-name'],
    ['$share/g/a#', 'multi-level-wildcard'],
  ] as const)('%j is refused: %s [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.8.2-1] [MQTT-4.8.2-2]', (filter, flaw) => {
    expect(filterFlaw(filter)).toBe(flaw)
    expect(isTopicFilter(filter)).toBe(false)
  })

  test('hasWildcard', () => {
    expect(['a/b', '+', 'a/#', '$share/g/a'].map(hasWildcard)).toEqual([false, true, true, false])
  })

  test('a shared subscription is taken apart at the end of its share name', () => {
    expect(parseShared('$share/g/a/+/b')).toEqual({ group: 'g', filter: 'a/+/b' })
    expect(parseShared('$share/g//')).toEqual({ group: 'g', filter: '/' })
    expect(parseShared('a/b')).toBeUndefined()
    expect(parseShared('$share/g')).toBeUndefined()
    expect(parseShared('$share//a')).toBeUndefined()
    expect(parseShared('$share/g/a#')).toBeUndefined()
  })
})

describe('matching', () => {
  test.each([
    // Sections 4.7.1.2 and 4.7.1.3 of the standard, its own examples.
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    // Section 4.7.2 [MQTT-4.7.2-1].
    ['#', '$SYS/x', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['a/#', 'a/$x', true],
    ['+/$x', 'a/$x', true],
    // Section 4.7.3: case and slashes count.
    ['ACCOUNTS', 'Accounts', false],
    ['/a', 'a', false],
    ['a/', 'a', false],
    ['a', 'a/', false],
    ['#', '/', true],
    ['+/#', 'a', true],
    ['a/+/#', 'a', false],
    ['a/+/#', 'a/', true],
    ['ab', 'a', false],
    ['a', 'ab', false],
    ['ab/#', 'a', false],
    ['a//b', 'a/b', false],
    ['a/+/b', 'a//b', true],
  ])('%s and %s: %s [MQTT-4.7.2-1] [MQTT-4.7.3-4]', (filter, topic, expected) => {
    expect(topicMatches(filter, topic)).toBe(expected)
  })

  /** The rules level by level, as they are written. */
  function matchesByLevels(filter: string, topic: string): boolean {
    const filterLevels = filter.split('/')
    const topicLevels = topic.split('/')
    if (topic.startsWith('$') && (filterLevels[0] === '#' || filterLevels[0] === '+')) return false
    for (let i = 0; i < filterLevels.length; i++) {
      if (filterLevels[i] === '#') return true
      if (i >= topicLevels.length) return false
      if (filterLevels[i] !== '+' && filterLevels[i] !== topicLevels[i]) return false
    }
    return filterLevels.length === topicLevels.length
  }

  test('agrees with a matcher that splits into levels [MQTT-4.7.2-1] [MQTT-4.7.3-4]', () => {
    const nameLevel = fc.constantFrom('', 'a', 'b', 'ab', '$a', '€')
    const name = fc.array(nameLevel, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
    const filter = fc
      .tuple(fc.array(fc.oneof(nameLevel, fc.constant('+')), { maxLength: 4 }), fc.boolean())
      .map(([levels, hash]) => (hash ? [...levels, '#'] : levels).join('/'))
    fc.assert(
      fc.property(filter, name, (someFilter, someName) => {
        fc.pre(isTopicFilter(someFilter) && isTopicName(someName))
        expect(topicMatches(someFilter, someName)).toBe(matchesByLevels(someFilter, someName))
      }),
      { numRuns: 3000 },
    )
  })
})
