import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

function served(stage: Stage, broker: string, epoch: number): void {
  stage.record(broker, { kind: 'shard-state-changed', shard: 0, epoch, from: 'recovering', to: 'serving' })
}

function adopt(stage: Stage, epoch: number, ...proxies: readonly number[]): void {
  for (const proxy of proxies) stage.record(`proxy-${proxy}`, { kind: 'routes-adopted', shard: 0, epoch, broker: 'broker-2' })
}

/** Three proxies that know the first owner of shard 0. */
function region(): Stage {
  const stage = new Stage(clients(1))
  served(stage, 'broker-1', 1)
  adopt(stage, 1, 1, 2, 3)
  stage.wait(1000)
  return stage
}

describe('routes-converge', () => {
  test('catches a proxy that keeps an old route', () => {
    const stage = region()
    served(stage, 'broker-2', 2)
    stage.wait(500)
    adopt(stage, 2, 1, 2)
    stage.wait(6000)
    const result = stage.result('routes-converge')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('proxy-3 did not know by 6.000 s that shard 0 is served by broker-2')
  })

  test('catches one that learns it too late', () => {
    const stage = region()
    served(stage, 'broker-2', 2)
    adopt(stage, 2, 1, 2)
    stage.wait(5500)
    adopt(stage, 2, 3)
    expect(stage.result('routes-converge').violationCount).toBe(1)
  })

  test('catches one that goes back to an old route, and stays there', () => {
    const stage = region()
    served(stage, 'broker-2', 2)
    adopt(stage, 2, 1, 2, 3)
    stage.wait(20_000)
    adopt(stage, 1, 3)
    stage.wait(8000)
    const result = stage.result('routes-converge')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('proxy-3 did not know by 26.000 s that shard 0 is served by broker-2')
  })

  test('catches one that starts long after the move and never learns it; one that goes back for a moment is forgiven', () => {
    const stage = region()
    served(stage, 'broker-2', 2)
    adopt(stage, 2, 1, 2, 3)
    stage.wait(20_000)
    adopt(stage, 1, 1)
    stage.wait(3000)
    adopt(stage, 2, 1)
    stage.checks.world.onProcessEnded!('proxy-2', 'injected', undefined, stage.nowUs)
    stage.wait(3000)
    stage.checks.world.onProcessStarted!('proxy-2', stage.nowUs)
    stage.wait(8000)
    const result = stage.result('routes-converge')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('proxy-2 did not know by 32.000 s')
  })

  test('holds when all learn it in time, or knew it before the owner said that it serves', () => {
    const stage = region()
    adopt(stage, 2, 1)
    served(stage, 'broker-2', 2)
    stage.wait(4000)
    adopt(stage, 2, 2, 3)
    stage.wait(60_000)
    expect(stage.result('routes-converge')).toMatchObject({ verdict: 'held', exercised: 3 })
  })

  test('a proxy in a dark zone has its time from the heal; a route overtaken by a newer one need not be learnt', () => {
    const stage = region()
    const fault = { kind: 'zone-outage', zone: 'az3', form: 'isolated' } as const
    stage.apply(fault)
    served(stage, 'broker-2', 2)
    adopt(stage, 2, 1)
    stage.wait(3000)
    served(stage, 'broker-1', 3)
    adopt(stage, 3, 1, 2)
    stage.wait(30_000)
    stage.heal(fault)
    stage.wait(3000)
    adopt(stage, 3, 3)
    stage.wait(30_000)
    expect(stage.verdict('routes-converge')).toBe('held')
  })

  test('catches a proxy that believes a nameserver which was cut from the owner', () => {
    const stage = region()
    stage.apply({ kind: 'partition', from: ['nameserver-1'], to: ['broker-1', 'broker-2'], bothWays: true })
    served(stage, 'broker-2', 2)
    adopt(stage, 2, 1, 2, 3)
    stage.wait(1000)
    adopt(stage, 1, 3)
    stage.wait(10_000)
    expect(stage.result('routes-converge').violationCount).toBe(1)
  })

  test("what a broker knows of routes is nobody else's affair", () => {
    const stage = region()
    served(stage, 'broker-2', 2)
    adopt(stage, 2, 1, 2, 3)
    stage.record('broker-1', { kind: 'routes-adopted', shard: 0, epoch: 1, broker: 'broker-1' })
    stage.wait(20_000)
    expect(stage.verdict('routes-converge')).toBe('held')
  })

  test('a dead owner is waited for', () => {
    const stage = region()
    served(stage, 'broker-2', 2)
    stage.checks.world.onProcessEnded!('broker-2', 'injected', undefined, stage.nowUs)
    stage.wait(30_000)
    expect(stage.result('routes-converge').violationCount).toBe(0)
  })

  test('is not exercised by the first owner of a shard', () => {
    expect(region().verdict('routes-converge')).toBe('not-exercised')
  })
})
