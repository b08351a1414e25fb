/** How long a failover takes must not depend on how much is stored: who takes a shard over reads a checkpoint and the tail behind it. */
import { describe, expect, test } from 'vitest'
import type { ServiceEvent } from '../model/events.ts'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const FAULT_AT_MS = 40_000
const TOPIC_SHARDS = 3

/** Az2 loses power after forty seconds, in which twenty clients have published so often. */
function failoverAfter(every: string) {
  const text = `
title: A zone is lost
region: { topicShards: ${TOPIC_SHARDS}, sessionShards: 3, settings: { broker: { rebalanceIntervalMs: 0 } } }
clients: [{ count: 20, publish: { every: ${every}, payloadBytes: 16384 } }]
workload: { settle: 5s, drain: 5s }
faults: [{ kind: zone-outage, zone: az2, form: power, at: ${FAULT_AT_MS}ms, for: 15s }]
expect: [acked-survives, reconnect-in-time, routes-converge]
`
  return runScenario(loadScenario(text, { file: 'long-log.yaml', name: 'long-log' }), { seed: 1, recording: true })
}

/** By shard: how long after the fault its next owner served it. */
function servedAgainMs({ history }: ReturnType<typeof failoverAfter>): ReadonlyMap<number, number> {
  const served = new Map<number, number>()
  for (const { timeUs, event } of history) {
    const known = event as ServiceEvent
    if (known.kind === 'shard-state-changed' && known.to === 'serving' && timeUs > FAULT_AT_MS * 1000)
      served.set(known.shard, timeUs / 1000 - FAULT_AT_MS)
  }
  return served
}

describe('a failover', () => {
  test('takes as long with many megabytes of log as with hardly any', () => {
    const short = failoverAfter('30s')
    const long = failoverAfter('700ms')
    for (const { verdict } of [short, long]) expect(verdict).toBe('held')
    expect(long.measures.messagesAcknowledged).toBeGreaterThan(20 * short.measures.messagesAcknowledged)
    expect(short.goals['topic shard restored from a checkpoint']).toBeUndefined()
    expect(long.goals['topic shard restored from a checkpoint']).toBeGreaterThan(0)
    const [afterShort, afterLong] = [servedAgainMs(short), servedAgainMs(long)]
    expect([...afterLong.keys()].sort()).toEqual([...afterShort.keys()].sort())
    expect([...afterLong.keys()].some((shard) => shard < TOPIC_SHARDS)).toBe(true)
    for (const [shard, ms] of afterLong) expect(ms).toBeLessThan(afterShort.get(shard)! + 100)
  })
})
