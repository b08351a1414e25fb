import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { heirs, nextMove } from './fair-spread.ts'

const names = ['broker-1', 'broker-2', 'broker-3', 'broker-4']
const alive = fc.uniqueArray(fc.constantFrom(...names), { minLength: 1 })

describe('the next move', () => {
  test('leads to a fair spread in as many steps as shards are misplaced, and then there is none', () => {
    fc.assert(
      fc.property(alive, fc.array(fc.nat(3), { minLength: 1, maxLength: 30 }), (brokers, drawn) => {
        const owners = drawn.map((n) => brokers[n % brokers.length]!)
        const counts = () => brokers.map((broker) => owners.filter((owner) => owner === broker).length)
        const fair = Math.ceil(owners.length / brokers.length)
        const most = counts().reduce((sum, count) => sum + Math.max(0, count - fair), 0)
        let moves = 0
        for (let move = nextMove(owners, brokers); move !== undefined; move = nextMove(owners, brokers)) {
          expect(owners[move.shard]).toBe(move.from)
          expect(move.to).not.toBe(move.from)
          owners[move.shard] = move.to
          moves++
          expect(moves).toBeLessThanOrEqual(owners.length)
        }
        expect(Math.max(...counts()) - Math.min(...counts())).toBeLessThanOrEqual(1)
        expect(moves).toBeGreaterThanOrEqual(most)
      }),
    )
  })

  test('is the same in whatever order the brokers are named', () => {
    const owners = ['a', 'a', 'a', 'b', 'b', 'b', 'c']
    expect(nextMove(owners, ['c', 'a', 'b'])).toEqual({ shard: 2, from: 'a', to: 'c' })
    expect(nextMove(owners, ['a', 'b', 'c'])).toEqual(nextMove(owners, ['c', 'b', 'a']))
  })

  test('waits while the owner of any shard is unknown or not alive', () => {
    expect(nextMove(['a', 'a', undefined, 'a'], ['a', 'b'])).toBeUndefined()
    expect(nextMove(['a', 'a', 'gone', 'a'], ['a', 'b'])).toBeUndefined()
  })
})

test('heirs get the shards in turn, those with fewest first, and nobody who is not there', () => {
  expect([...heirs([0, 1, 2], ['a', 'a', 'a', 'b', 'b'], ['c', 'b'])]).toEqual([
    [0, 'c'],
    [1, 'c'],
    [2, 'b'],
  ])
  expect(heirs([0, 1], ['a', 'a'], []).size).toBe(0)
})
