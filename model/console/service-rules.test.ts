import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { openAccess } from '../access.ts'
import { changed, isSuperseded, MOST_CLIENTS, plannedRules, type RulesChange } from './service-rules.ts'

const quotas = { connectionsPerProxy: 0, messagesPerSecond: 0, filtersPerClient: 30, payloadBytes: 65_536 } as const
const planned = plannedRules({ ...openAccess, topicCreation: 'console', topics: new Set(['meters']) }, quotas)

const create = (client: number, number: number, topic = 'pumps'): RulesChange => ({ name: 'createTopic', id: { client, number }, topic })
const remove = (client: number, number: number, topic = 'pumps'): RulesChange => ({ name: 'deleteTopic', id: { client, number }, topic })

describe('a change of the rules', () => {
  test('is made once, however often it arrives', () => {
    const first = changed(planned, create(1, 1))!
    expect(first).toMatchObject({ version: 2, topics: ['meters', 'pumps'], lastChanges: [{ client: 1, number: 1 }] })
    expect(changed(first, create(1, 1))).toBe(first)
    expect(isSuperseded(first, create(1, 1))).toBe(false)
  })

  test('is not made after a later one of the same client, and after one of another it is', () => {
    const deleted = changed(changed(planned, create(1, 1))!, remove(1, 2))!
    expect(changed(deleted, create(1, 1))).toBe(deleted)
    expect(isSuperseded(deleted, create(1, 1))).toBe(true)
    expect(changed(deleted, create(2, 1))).toMatchObject({ version: 4, topics: ['meters', 'pumps'] })
  })

  test('that had nothing to change has nothing to change later either', () => {
    const there = changed(planned, create(1, 1, 'meters'))!
    expect(there).toMatchObject({ version: 1, topics: ['meters'] })
    const gone = changed(there, remove(2, 1, 'meters'))!
    expect(changed(gone, create(1, 1, 'meters'))).toBe(gone)
  })

  test('that makes no sense is none', () => {
    expect(changed(planned, create(1, 1, 'a/b'))).toBeUndefined()
  })

  test('is kept in mind for the clients that changed something last, and for no more', () => {
    let rules = planned
    for (let client = 1; client <= MOST_CLIENTS + 1; client++) {
      rules = changed(rules, create(client, 1, `t${client}`))!
      rules = changed(rules, create(1, client + 1, `u${client}`))!
    }
    expect(rules.lastChanges.length).toBe(MOST_CLIENTS)
    const known = rules.lastChanges.map(({ client }) => client)
    expect([known.includes(1), known.includes(2), known.includes(3), known.includes(MOST_CLIENTS + 1)]).toEqual([true, false, true, true])
  })

  test('comes out the same with copies of it that arrive late', () => {
    const changes = fc.array(
      fc.record({ client: fc.integer({ min: 1, max: 3 }), isCreation: fc.boolean(), topic: fc.constantFrom('a', 'b') }),
      {
        maxLength: 12,
      },
    )
    fc.assert(
      fc.property(changes, fc.array(fc.nat(11), { maxLength: 12 }), (plan, late) => {
        const all = plan.map(({ client, isCreation, topic }, index) => (isCreation ? create : remove)(client, index + 1, topic))
        let once = planned
        let often = planned
        for (const [index, change] of all.entries()) {
          once = changed(once, change)!
          often = changed(often, change)!
          for (const at of late) if (at <= index) often = changed(often, all[at]!)!
        }
        expect(often).toEqual(once)
      }),
    )
  })
})
