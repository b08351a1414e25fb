import { describe, expect, test } from 'vitest'
import { verdictOf } from './result.ts'

describe('the verdict of a run', () => {
  const expected = new Map([
    ['acked-survives', 'held'],
    ['no-phantom', 'held'],
  ] as const)

  test('is held when every expected promise was put to the test and held', () => {
    const promises = [
      { id: 'acked-survives', verdict: 'held' },
      { id: 'no-phantom', verdict: 'held' },
      { id: 'progress', verdict: 'not-exercised' },
    ] as const
    expect(verdictOf(promises, expected)).toBe('held')
  })

  test('is violated when any promise is, expected or not', () => {
    expect(verdictOf([{ id: 'progress', verdict: 'violated' }], expected)).toBe('violated')
    expect(
      verdictOf(
        [
          { id: 'acked-survives', verdict: 'not-exercised' },
          { id: 'no-phantom', verdict: 'violated' },
        ],
        expected,
      ),
    ).toBe('violated')
  })

  test('is not-exercised when an expected promise never came to the test', () => {
    expect(verdictOf([{ id: 'acked-survives', verdict: 'not-exercised' }], expected)).toBe('not-exercised')
  })

  test('an expected violation must come', () => {
    const doomed = new Map([['reconnect-in-time', 'violated']] as const)
    expect(verdictOf([{ id: 'reconnect-in-time', verdict: 'violated' }], doomed)).toBe('held')
    expect(verdictOf([{ id: 'reconnect-in-time', verdict: 'held' }], doomed)).toBe('not-exercised')
  })
})
