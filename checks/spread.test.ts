import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

/** Six shards, of which three brokers have so many each. */
function region(...shares: readonly number[]): Stage {
  const stage = new Stage(clients(1), { rebalanceIntervalMs: 10_000 })
  let shard = 0
  for (const [index, share] of shares.entries()) for (let i = 0; i < share; i++) served(stage, `broker-${index + 1}`, shard++, 1)
  return stage
}

function served(stage: Stage, broker: string, shard: number, epoch: number): void {
  stage.record(broker, { kind: 'shard-state-changed', shard, epoch, from: 'attaching', to: 'serving' })
}

function pass(stage: Stage, seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    stage.wait(1000)
    stage.checks.onAct('faults', stage.nowUs)
  }
}

describe('spread', () => {
  test('catches brokers that never give anything to one that has nothing', () => {
    const stage = region(3, 3, 0)
    pass(stage, 40)
    const result = stage.result('spread')
    expect(result).toMatchObject({ verdict: 'violated', violationCount: 1 })
    expect(result.violations[0]!.text).toBe('broker-2 had 3 shards and broker-3 had 0, and none moved from 0.000 s to 36.000 s.')
  })

  test('holds where one shard moves at a time until all have their share, and is exercised then', () => {
    const stage = region(3, 3, 0)
    for (const shard of [0, 3]) {
      pass(stage, 30)
      served(stage, 'broker-3', shard, 2)
    }
    pass(stage, 60)
    expect(stage.result('spread')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('waits while the region is troubled, and counts from when it is over', () => {
    const stage = region(3, 3, 0)
    const crash = { kind: 'crash', machines: ['broker-3'] } as const
    stage.apply(crash)
    pass(stage, 60)
    stage.heal(crash)
    pass(stage, 30)
    expect(stage.verdict('spread')).toBe('not-exercised')
    pass(stage, 10)
    expect(stage.verdict('spread')).toBe('violated')
  })

  test('is not exercised where the shards stay fairly spread, nor where nobody rebalances', () => {
    const fair = region(2, 2, 2)
    pass(fair, 60)
    expect(fair.verdict('spread')).toBe('not-exercised')
    const still = new Stage(clients(1))
    for (let shard = 0; shard < 6; shard++) served(still, 'broker-1', shard, 1)
    pass(still, 200)
    expect(still.verdict('spread')).toBe('not-exercised')
  })
})
