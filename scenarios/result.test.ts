import { describe, expect, test } from 'vitest'
import type { PromiseId, PromiseVerdict } from '../checks/promise.ts'
import { verdictOf } from './result.ts'

function found(id: PromiseId, verdict: PromiseVerdict, violationCount = verdict === 'violated' ? 1 : 0) {
  return { id, verdict, violationCount }
}

describe('the verdict of a run', () => {
  const expected = new Map([
    ['acked-survives', 'held'],
    ['no-phantom', 'held'],
  ] as const)

  test('is held when every expected promise was put to the test and held', () => {
    const promises = [found('acked-survives', 'held'), found('no-phantom', 'held'), found('progress', 'not-exercised')]
    expect(verdictOf(promises, expected)).toBe('held')
  })

  test('is violated when any promise is, expected or not', () => {
    expect(verdictOf([found('progress', 'violated')], expected)).toBe('violated')
    expect(verdictOf([found('acked-survives', 'not-exercised'), found('no-phantom', 'violated')], expected)).toBe('violated')
  })

  test('is not-exercised when an expected promise never came to the test', () => {
    expect(verdictOf([found('acked-survives', 'not-exercised')], expected)).toBe('not-exercised')
  })

  test('an expected violation must come', () => {
    const doomed = new Map([['reconnect-in-time', 'violated']] as const)
    expect(verdictOf([found('reconnect-in-time', 'violated')], doomed)).toBe('held')
    expect(verdictOf([found('reconnect-in-time', 'held')], doomed)).toBe('not-exercised')
  })

  test('an expected violation hides no more than it was said to', () => {
    const bounded = new Map([['reconnect-in-time', { violatedAtMost: 2 }]] as const)
    expect(verdictOf([found('reconnect-in-time', 'violated', 2)], bounded)).toBe('held')
    expect(verdictOf([found('reconnect-in-time', 'violated', 3)], bounded)).toBe('violated')
    expect(verdictOf([found('reconnect-in-time', 'held')], bounded)).toBe('not-exercised')
  })
})
