/** The rules of access: who is known, what lies within what. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AccessRules, authenticate, liesWithin, openAccess, publishRefusal, subscribeRefusal, type User } from './access.ts'
import { topicMatches } from './wire/topic.ts'

const meter: User = {
  username: 'meter',
  password: 's3cret',
  publish: ['meters/+/reading', 'shared/#'],
  subscribe: ['meters/+/command', 'shared/#'],
}
const rules: AccessRules = { access: 'permissions', topicCreation: 'auto', topics: new Set(), users: new Map([[meter.username, meter]]) }
const consoleRules: AccessRules = { ...openAccess, topicCreation: 'console', topics: new Set(['meters', '']) }

describe('a user', () => {
  test('is known by user name and password together', () => {
    expect(authenticate(rules, 'meter', Buffer.from('s3cret'))).toBe(meter)
    expect(authenticate(rules, 'meter', Buffer.from('s3cre'))).toBeUndefined()
    expect(authenticate(rules, 'Meter', Buffer.from('s3cret'))).toBeUndefined()
    expect(authenticate(rules, 'meter', undefined)).toBeUndefined()
    expect(authenticate(rules, undefined, Buffer.from('s3cret'))).toBeUndefined()
  })

  test('is anyone where access is open', () => {
    expect(authenticate({ ...rules, access: 'open' }, undefined, undefined)).toBe('anyone')
  })
})

describe('publishing', () => {
  test('is allowed within the filters of the user', () => {
    expect(publishRefusal(rules, meter, 'meters/7/reading')).toBeUndefined()
    expect(publishRefusal(rules, meter, 'shared')).toBeUndefined()
    expect(publishRefusal(rules, meter, 'meters/7/command')).toBe('not-authorized')
    expect(publishRefusal(rules, meter, 'meters/7/8/reading')).toBe('not-authorized')
    expect(publishRefusal(rules, 'anyone', 'meters/7/command')).toBeUndefined()
  })

  test('needs a first level that was created, where topics are created on the console', () => {
    expect(publishRefusal(consoleRules, 'anyone', 'meters')).toBeUndefined()
    expect(publishRefusal(consoleRules, 'anyone', 'meters/a/b')).toBeUndefined()
    expect(publishRefusal(consoleRules, 'anyone', '/a')).toBeUndefined()
    expect(publishRefusal(consoleRules, 'anyone', 'meter/a')).toBe('no-such-topic')
    expect(publishRefusal({ ...consoleRules, topics: new Set<string>() }, 'anyone', 'meters')).toBe('no-such-topic')
  })

  test('into the trees of the server is nobody’s, other names with a leading $ are', () => {
    for (const topic of ['$SYS/broker/uptime', '$CONTROL/x', '$share/g/f']) {
      expect(publishRefusal(openAccess, 'anyone', topic)).toBe('not-authorized')
    }
    for (const topic of ['$test/test', '$SYSTEM/x', 'a/$SYS/b']) expect(publishRefusal(openAccess, 'anyone', topic)).toBeUndefined()
  })
})

describe('subscribing', () => {
  test('is allowed to filters that lie within one of the user, behind the share name of a shared one', () => {
    for (const filter of ['meters/+/command', 'meters/7/command', 'shared', 'shared/a/+', '$share/group/shared/#']) {
      expect(subscribeRefusal(rules, meter, filter)).toBeUndefined()
    }
    for (const filter of ['meters/#', 'meters/7/+', '+/7/command', '#', '$share/group/meters/#']) {
      expect(subscribeRefusal(rules, meter, filter)).toBe('not-authorized')
    }
  })

  test('to a plain first level needs it created; a wildcard there does not', () => {
    for (const filter of ['meters/#', '+/a', '#', '$share/g/meters/a'])
      expect(subscribeRefusal(consoleRules, 'anyone', filter)).toBeUndefined()
    for (const filter of ['other', 'other/#', '$share/g/other/a'])
      expect(subscribeRefusal(consoleRules, 'anyone', filter)).toBe('no-such-topic')
  })
})

describe('a filter lies within another', () => {
  const level = fc.constantFrom('a', 'b', '', '$x', '+')
  const filter = fc
    .tuple(fc.array(level, { minLength: 1, maxLength: 4 }), fc.boolean(), fc.boolean())
    .map(([levels, tail, alone]) => (tail ? (alone ? '#' : [...levels, '#'].join('/')) : levels.join('/')))
    .filter((text) => text !== '')
  const topic = fc
    .array(fc.constantFrom('a', 'b', '', '$x', 'fresh'), { minLength: 1, maxLength: 6 })
    .map((levels) => levels.join('/'))
    .filter((text) => text !== '')

  test('exactly where it matches nothing that the other does not: all short filters', () => {
    const combined = (levels: readonly string[], depth: number): string[] =>
      depth === 0 ? [] : levels.flatMap((first) => [first, ...combined(levels, depth - 1).map((rest) => `${first}/${rest}`)])
    const plain = combined(['a', '', '$x', '+'], 2)
    const filters = ['#', ...plain.filter((text) => text !== ''), ...plain.map((text) => `${text}/#`)]
    const names = combined(['a', '', '$x', 'fresh'], 4).filter((text) => text !== '')
    const matches = filters.map((filter) => names.map((name) => topicMatches(filter, name)))
    for (const [i, inner] of filters.entries()) {
      for (const [o, outer] of filters.entries()) {
        const within = matches[i]!.every((matched, n) => !matched || matches[o]![n])
        if (liesWithin(inner, outer) !== within) throw new Error(`${inner} within ${outer}: ${within}`)
      }
    }
  })

  test('exactly where it matches nothing that the other does not: longer ones', () => {
    fc.assert(
      fc.property(filter, filter, topic, (inner, outer, name) => {
        if (liesWithin(inner, outer)) expect(!topicMatches(inner, name) || topicMatches(outer, name)).toBe(true)
        else expect(witnesses(inner).some((witness) => topicMatches(inner, witness) && !topicMatches(outer, witness))).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })
})

/** Names that a filter matches and that no other matches by accident: levels of their own in place of `+`, none to many in place of `#`. */
function witnesses(filter: string): string[] {
  const names = filter.split('/').map((level) => (level === '+' ? 'fresh' : level))
  if (names.at(-1) !== '#') return [names.join('/')]
  const stem = names.slice(0, -1)
  return [0, 1, 2, 3, 4, 5, 6]
    .map((more) => [...stem, ...Array.from({ length: more }, () => 'fresh')].join('/'))
    .filter((name) => name !== '')
}
