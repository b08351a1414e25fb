import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hasWildcards, isShared, matches, plainFilter } from './topic-match.ts'

/** Level by level, as section 4.7 tells it: slow and plain. */
function byTheBook(filter: string, topic: string): boolean {
  const filters = filter.split('/')
  const topics = topic.split('/')
  if (topic.startsWith('$') && (filters[0] === '+' || filters[0] === '#')) return false
  for (let i = 0; i < filters.length; i++) {
    if (filters[i] === '#') return true
    if (i >= topics.length) return false
    if (filters[i] !== '+' && filters[i] !== topics[i]) return false
  }
  return filters.length === topics.length
}

describe('topic matcher', () => {
  test.each([
    ['sport/#', 'sport', true],
    ['sport/#', 'sport/tennis/player1', true],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/uptime', false],
    ['+/uptime', '$SYS/uptime', false],
    ['$SYS/#', '$SYS/uptime', true],
    ['a/b', 'a/bc', false],
    ['a/bc', 'a/b', false],
    ['a/', 'a', false],
    ['a', 'a/', false],
    ['a/', 'a/', true],
    ['a/+/', 'a/b/', true],
  ])('%s against %s: %s', (filter, topic, expected) => {
    expect(matches(filter, topic)).toBe(expected)
  })

  test('agrees with a walk over split levels', () => {
    const level = fc.constantFrom('', 'a', 'b', 'ab', '$x')
    const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
    const filter = fc
      .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.constantFrom('a', '+', '#', ''))
      .map(([levels, last]) => [...levels, last].join('/'))
    fc.assert(
      fc.property(filter, topic, (f, t) => {
        fc.pre(f !== '' && t !== '')
        expect(matches(f, t)).toBe(byTheBook(f, t))
      }),
      { numRuns: 2000 },
    )
  })

  test('takes a shared filter apart', () => {
    expect(isShared('$share/g/a/+')).toBe(true)
    expect(plainFilter('$share/g/a/+')).toBe('a/+')
    expect(hasWildcards('a/+')).toBe(true)
    expect(hasWildcards('a/b')).toBe(false)
  })
})
