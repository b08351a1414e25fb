import { describe, expect, test } from 'vitest'
import { Readiness } from './live-readiness.ts'

describe('the readiness of a live region', () => {
  const ready = () => {
    const readiness = new Readiness({ shards: 2, proxies: 1, balancers: 1 })
    let sequence = 0
    const tell = (machine: string, event: { readonly kind: string } & Record<string, unknown>) =>
      readiness.take({ timeUs: 0, sequence: sequence++, machine, event })
    return { readiness, tell }
  }

  test('is reached when every shard is served, every proxy knows where, and every balancer sees every proxy', () => {
    const { readiness, tell } = ready()
    expect(readiness.missing).toEqual(['shards served 0 of 2', 'routes known to proxies 0 of 2', 'proxies seen by load balancers 0 of 1'])
    for (const shard of [0, 1]) {
      tell('broker-1', { kind: 'shard-state-changed', shard, to: 'serving' })
      tell('broker-2', { kind: 'routes-adopted', shard })
      tell('proxy-1', { kind: 'routes-adopted', shard })
    }
    expect(readiness.missing).toEqual(['proxies seen by load balancers 0 of 1'])
    tell('load-balancer-1', { kind: 'target-state-changed', target: 'proxy-1', healthy: true })
    expect(readiness.ready).toBe(true)
  })

  test('ends with a shard that nobody serves, and not with the late word of a former owner', () => {
    const { readiness, tell } = ready()
    for (const shard of [0, 1]) tell('proxy-1', { kind: 'routes-adopted', shard })
    tell('load-balancer-1', { kind: 'target-state-changed', target: 'proxy-1', healthy: true })
    for (const shard of [0, 1]) tell('broker-1', { kind: 'shard-state-changed', shard, to: 'serving' })
    tell('broker-2', { kind: 'shard-state-changed', shard: 1, to: 'serving' })
    tell('broker-1', { kind: 'shard-state-changed', shard: 1, to: 'lost' })
    expect(readiness.ready).toBe(true)
    tell('broker-2', { kind: 'shard-state-changed', shard: 1, to: 'lost' })
    expect(readiness.missing).toEqual(['shards served 1 of 2'])
    tell('load-balancer-1', { kind: 'target-state-changed', target: 'proxy-1', healthy: false })
    expect(readiness.missing).toEqual(['shards served 1 of 2', 'proxies seen by load balancers 0 of 1'])
  })
})
