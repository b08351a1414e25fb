import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

const NODE = 'load-balancer-1'

/** A node that leads connections to three proxies. */
class Edge {
  readonly stage = new Stage(clients(1))

  lead(target: string, count = 1): void {
    for (let i = 0; i < count; i++) this.stage.record(NODE, { kind: 'connection-forwarded', from: 'client-machine-0', to: target })
  }

  end(target: string, count: number): void {
    for (let i = 0; i < count; i++) this.stage.record(NODE, { kind: 'forwarding-ended', from: 'client-machine-0', to: target })
  }

  /** proxy-2 was dead and is back; the others hold `held` each. */
  static withReturn(held: number): Edge {
    const edge = new Edge()
    edge.stage.record(NODE, { kind: 'target-state-changed', target: 'proxy-2', healthy: false })
    edge.lead('proxy-1', held)
    edge.lead('proxy-3', held)
    edge.stage.wait(5000)
    edge.stage.record(NODE, { kind: 'target-state-changed', target: 'proxy-2', healthy: true })
    edge.stage.record(NODE, { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 })
    return edge
  }
}

describe('readmission', () => {
  test('catches a crowd at a target that just came back', () => {
    const edge = Edge.withReturn(50)
    edge.stage.wait(3000)
    edge.lead('proxy-2', 20)
    const result = edge.stage.result('readmission')
    expect(result.verdict).toBe('violated')
    expect(result.violations[0]!.text).toContain(
      'proxy-2 was back for 3.000 s when load-balancer-1 led its connection number 7 to it; its slow start allowed 6.',
    )
    expect(result.violations[0]!.evidence.map(({ text }) => text).join()).toContain('at 10 % of a full share')
  })

  test('lets the share grow with time, and is without limit once the slow start is over', () => {
    const edge = Edge.withReturn(50)
    for (let second = 1; second <= 30; second++) {
      edge.stage.wait(1000)
      edge.lead('proxy-2', second < 30 ? 1 : 0)
    }
    edge.stage.record(NODE, { kind: 'slow-start-ended', target: 'proxy-2', why: 'full' })
    edge.lead('proxy-2', 60)
    edge.stage.wait(2000)
    expect(edge.stage.result('readmission')).toMatchObject({ verdict: 'held', exercised: 29 })
  })

  test('does not blame a node for a choice made just before the others lost theirs', () => {
    const edge = Edge.withReturn(50)
    edge.stage.wait(15_000)
    edge.end('proxy-1', 50)
    edge.end('proxy-3', 50)
    edge.lead('proxy-2', 20)
    expect(edge.stage.verdict('readmission')).toBe('held')
  })

  test('blames it for a choice made long after', () => {
    const edge = Edge.withReturn(50)
    edge.stage.wait(15_000)
    edge.end('proxy-1', 50)
    edge.end('proxy-3', 50)
    edge.stage.wait(3000)
    edge.lead('proxy-2', 20)
    expect(edge.stage.verdict('readmission')).toBe('violated')
  })

  test('counts for each node by itself', () => {
    const edge = Edge.withReturn(50)
    edge.stage.wait(3000)
    for (let i = 0; i < 20; i++)
      edge.stage.record('load-balancer-3', { kind: 'connection-forwarded', from: 'client-machine-0', to: 'proxy-2' })
    expect(edge.stage.verdict('readmission')).toBe('not-exercised')
  })

  test('does not judge a target beside which none is at full weight', () => {
    const edge = Edge.withReturn(50)
    for (const target of ['proxy-1', 'proxy-3']) edge.stage.record(NODE, { kind: 'target-state-changed', target, healthy: false })
    edge.stage.wait(3000)
    edge.lead('proxy-2', 20)
    expect(edge.stage.verdict('readmission')).toBe('held')
  })

  test('does not hold against a node what it led before it was started anew', () => {
    const edge = Edge.withReturn(50)
    edge.lead('proxy-2', 1)
    edge.stage.record(NODE, { kind: 'process-started', bootId: 2 })
    edge.lead('proxy-1', 50)
    edge.stage.record(NODE, { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 })
    edge.stage.wait(600)
    edge.lead('proxy-2')
    expect(edge.stage.verdict('readmission')).toBe('held')
  })

  test('is not exercised where nobody came back', () => {
    const edge = new Edge()
    edge.lead('proxy-1', 100)
    expect(edge.stage.verdict('readmission')).toBe('not-exercised')
  })
})
