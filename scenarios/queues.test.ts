import { describe, expect, test } from 'vitest'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const storm = (tls: string) =>
  loadScenario(
    `
title: Everybody dials again
clients: [{ count: 120, tls: ${tls}, publish: { every: 10s } }]
faults:
  - { kind: slow, machines: role proxy, factor: 200, at: 10s, for: 5s }
  - { kind: connection-reset, from: role client, to: role load-balancer, at: 10500ms }
workload: { settle: 3s, drain: 2s }
expect: [reconnect-in-time]
`,
    { file: 'storm.yaml', name: 'storm' },
  )

const calm = (tls: string) =>
  loadScenario(
    `
title: Everybody dials again, and nobody has to wait
clients: [{ count: 20, tls: ${tls}, publish: { every: 10s } }]
faults: [{ kind: connection-reset, from: role client, to: role load-balancer, at: 10500ms }]
workload: { settle: 3s, drain: 2s }
expect: [reconnect-in-time]
`,
    { file: 'calm.yaml', name: 'calm' },
  )

describe('a storm of clients', () => {
  test('over TLS stands in line for a core, which the run shows: how many, for how long, and what of it clients felt', {
    timeout: 30_000,
  }, () => {
    const result = runScenario(storm('true'), { seed: 3, recording: true })
    expect(result.verdict).toBe('held')
    const [queue] = result.queues!.tlsHandshakes
    expect(queue!.role).toBe('proxy')
    expect(queue!.peak).toBeGreaterThan(5)
    expect(queue!.peakAtMs).toBeGreaterThan(10_500)
    expect(queue!.waits.max).toBeGreaterThan(200)
    expect(queue!.waits.buckets.reduce((sum, { count }) => sum + count, 0)).toBe(queue!.waits.count)
    const { tls, total } = result.measures.recovery
    expect(tls.count).toBe(total.count)
    expect(tls.max).toBeGreaterThan(queue!.waits.max)
    expect(result.story.map(({ text }) => text).join('\n')).toMatch(/up to \d+ TLS handshakes wait at proxy-\d, for up to/)
  })

  test('takes a round trip more by TLS 1.2 than by 1.3, and none without TLS', { timeout: 30_000 }, () => {
    const [none, newer, older] = ['false', '"1.3"', '"1.2"'].map((tls) => runScenario(calm(tls), { seed: 3, recording: false }).measures)
    expect(none!.recovery.tls.count).toBe(0)
    expect(older!.recovery.tls.p50 - newer!.recovery.tls.p50).toBeGreaterThan(30)
  })

  test('is watched without a change to the run, and only where it is recorded', { timeout: 30_000 }, () => {
    const [seen, unseen] = [true, false].map((recording) => runScenario(storm('true'), { seed: 4, recording }))
    expect(seen!.digest).toBe(unseen!.digest)
    expect([seen!.queues === undefined, unseen!.queues === undefined]).toEqual([false, true])
  })
})
