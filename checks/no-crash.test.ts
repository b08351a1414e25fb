import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

describe('no-crash', () => {
  test('catches a process that ended because a handler threw', () => {
    const stage = new Stage(clients(1))
    stage.checks.world.onProcessStarted!('broker-1', 0)
    stage.checks.world.onProcessEnded!('broker-1', 'threw', 'RangeError: offset 17 is out of range\n    at append', 5000)
    const result = stage.result('no-crash')
    expect(result.verdict).toBe('violated')
    expect(result.violations[0]).toMatchObject({ atUs: 5000, signature: 'no-crash: RangeError: offset # is out of range' })
    expect(result.violations[0]!.text).toContain('broker-1')
  })

  test('a process that a fault killed, or that was stopped, is fine', () => {
    const stage = new Stage(clients(1))
    stage.checks.world.onProcessStarted!('broker-1', 0)
    stage.checks.world.onProcessEnded!('broker-1', 'injected', undefined, 5000)
    stage.checks.world.onProcessStarted!('broker-1', 6000)
    stage.checks.world.onProcessEnded!('broker-1', 'stopped', undefined, 7000)
    expect(stage.result('no-crash')).toMatchObject({ verdict: 'held', exercised: 2 })
  })

  test('is not exercised where nothing ran', () => {
    expect(new Stage(clients(1)).verdict('no-crash')).toBe('not-exercised')
  })
})
