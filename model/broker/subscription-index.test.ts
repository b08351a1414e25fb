import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Subscription } from '../wire/messages.ts'
import { topicMatches } from '../wire/topic.ts'
import { SubscriptionIndex } from './subscription-index.ts'

function subscription(filter: string, changes: Partial<Subscription> = {}): Subscription {
  return { filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0, ...changes }
}

const level = fc.constantFrom('a', 'b', '', '$x')
const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', '', '$x', '+'), { minLength: 0, maxLength: 3 }), fc.constantFrom('#', '+', 'a', 'b'))
  .map(([levels, last]) => [...levels, last].join('/'))

describe('the subscription index', () => {
  test('finds exactly the sessions with a filter that matches, after any adds and removes', () => {
    const step = fc.record({ session: fc.nat(3), filter, kind: fc.constantFrom('add' as const, 'add' as const, 'remove' as const) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.array(topic, { minLength: 1, maxLength: 5 }), (steps, topics) => {
        const index = new SubscriptionIndex<number>()
        const model = new Map<number, Set<string>>()
        for (const { session, filter: of, kind } of steps) {
          const held = model.get(session) ?? new Set()
          model.set(session, held)
          if (kind === 'add') {
            held.add(of)
            index.add(session, subscription(of))
          } else {
            held.delete(of)
            index.remove(session, of)
          }
          for (const asked of topics) index.match(asked)
        }
        for (const asked of topics) {
          const expected = [...model].filter(([, held]) => [...held].some((of) => topicMatches(of, asked))).map(([session]) => session)
          expect(
            index
              .match(asked)
              .map((match) => match.session)
              .sort(),
          ).toEqual(expected.sort())
        }
      }),
    )
  })

  test('merges overlapping filters of one session: the highest QoS and every identifier', () => {
    const index = new SubscriptionIndex<string>()
    index.add('s', subscription('a/#', { qos: 0, subscriptionIdentifier: 7 }))
    index.add('s', subscription('a/b', { qos: 1, subscriptionIdentifier: 9 }))
    const [match] = index.match('a/b')
    expect(match).toMatchObject({ session: 's', qos: 1 })
    expect([...match!.subscriptionIdentifiers].sort()).toEqual([7, 9])
  })

  test('leaves filters with No Local out of what a session gets of its own messages', () => {
    const index = new SubscriptionIndex<string>()
    index.add('s', subscription('a', { noLocal: true }))
    expect(index.match('a')[0]!.own).toBeUndefined()
    index.add('s', subscription('+', { qos: 0 }))
    expect(index.match('a')[0]!.own).toMatchObject({ qos: 0 })
  })
})
