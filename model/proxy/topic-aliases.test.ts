import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AliasesFromClient, AliasesToClient } from './topic-aliases.ts'

describe('the topic of a PUBLISH', () => {
  test('without alias is the one it names, even one called invalid', () => {
    const aliases = new AliasesFromClient(0)
    expect(aliases.resolve('a/b', undefined)).toBe('a/b')
    expect(aliases.resolve('invalid', undefined)).toBe('invalid')
    expect(aliases.resolve('', undefined)).toBe(undefined)
  })

  test('with every alias up to the maximum is the one last named with it [MQTT-3.3.2-12]', () => {
    const aliases = new AliasesFromClient(3)
    for (const alias of [1, 2, 3]) expect(aliases.resolve(`topic ${alias}`, alias)).toBe(`topic ${alias}`)
    for (const alias of [1, 2, 3]) expect(aliases.resolve('', alias)).toBe(`topic ${alias}`)
    expect(aliases.resolve('other', 2)).toBe('other')
    expect(aliases.resolve('', 2)).toBe('other')
    expect(aliases.resolve('', 1)).toBe('topic 1')
  })

  test('cannot be had by an alias above the maximum, of 0, or that stands for nothing', () => {
    const aliases = new AliasesFromClient(3)
    expect(aliases.resolve('a', 4)).toBe(undefined)
    expect(aliases.resolve('', 4)).toBe(undefined)
    expect(aliases.resolve('a', 0)).toBe(undefined)
    expect(aliases.resolve('', 1)).toBe(undefined)
    expect(new AliasesFromClient(0).resolve('a', 1)).toBe(undefined)
  })
})

test('what the client is told by aliases is what it understands, and as many topics as may be keep theirs by their last use [MQTT-3.3.2-11]', () => {
  const topic = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f')
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.record({ topic, leaves: fc.boolean() }), { minLength: 20, maxLength: 60 }),
      (maximum, uses) => {
        const ours = new AliasesToClient(maximum)
        const theirs = new AliasesFromClient(maximum)
        let latest: string[] = []
        for (const { topic, leaves } of uses) {
          const known = ours.aliasOf(topic)
          expect(known !== undefined).toBe(latest.includes(topic))
          const alias = known ?? ours.nextAlias()
          // A PUBLISH that does not leave tells the client nothing.
          if (!leaves) continue
          expect(theirs.resolve(known === undefined ? topic : '', alias)).toBe(topic)
          ours.used(topic, alias)
          latest = [topic, ...latest.filter((other) => other !== topic)].slice(0, maximum)
        }
      },
    ),
  )
})
