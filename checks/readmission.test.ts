import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

const NODE = 'load-balancer-1'

const PROXIES = ['proxy-1', 'proxy-2', 'proxy-3']

/** A node that leads connections to three proxies. */
class Edge {
  readonly stage = new Stage(clients(1))
  private probes = 0

  constructor() {
    for (const proxy of PROXIES) this.probe(proxy)
  }

  probe(target: string, answered = true, node = NODE): void {
    this.probes++
    for (const balancers of this.stage.checks.balancers) {
      balancers.onConnect(this.probes, node, `probe ${target}`, this.stage.nowUs)
      if (answered) balancers.onOpen(this.probes, this.stage.nowUs)
      balancers.onClosed(this.probes, 'reset', 'self', this.stage.nowUs)
    }
  }

  turn(target: string, healthy: boolean): void {
    for (let i = 0; i < 2; i++) this.probe(target, healthy)
  }

  lead(target: string, count = 1): void {
    for (let i = 0; i < count; i++) this.stage.record(NODE, { kind: 'connection-forwarded', from: 'client-machine-0', to: target })
  }

  end(target: string, count: number): void {
    for (let i = 0; i < count; i++) this.stage.record(NODE, { kind: 'forwarding-ended', from: 'client-machine-0', to: target })
  }

  /** proxy-2 was dead and is back; the others hold `held` each. */
  static withReturn(held: number): Edge {
    const edge = new Edge()
    edge.turn('proxy-2', false)
    edge.lead('proxy-1', held)
    edge.lead('proxy-3', held)
    edge.stage.wait(5000)
    edge.turn('proxy-2', true)
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
      'proxy-2 was back for 3.000 s when load-balancer-1 led its connection number 6 to it; its slow start allowed 5.',
    )
    expect(result.violations[0]!.evidence.map(({ text }) => text).join()).toContain('at 10 % of a full share')
  })

  test('lets the share grow with time, and is without limit once the slow start is over', () => {
    const edge = Edge.withReturn(50)
    for (let second = 1; second < 30; second++) {
      edge.stage.wait(1000)
      edge.lead('proxy-2', 1)
      edge.lead('proxy-1', second === 1 ? 1 : 0)
    }
    edge.stage.wait(1000)
    edge.lead('proxy-2', 60)
    edge.stage.wait(2000)
    expect(edge.stage.result('readmission')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('goes by the settings, whatever the node tells', () => {
    for (const durationMs of [30_000, 15_000, 300]) {
      const edge = Edge.withReturn(50)
      edge.stage.record(NODE, { kind: 'slow-start-began', target: 'proxy-2', durationMs })
      edge.stage.wait(10_000)
      edge.stage.record(NODE, { kind: 'slow-start-ended', target: 'proxy-2', why: 'full' })
      edge.lead('proxy-2', 18)
      edge.stage.wait(2000)
      expect(edge.stage.result('readmission').violations.map(({ signature }) => signature)).toEqual([
        ...(durationMs === 30_000 ? [] : ['readmission: a slow start of another length than set']),
        'readmission: a target that came back got too much',
      ])
    }
  })

  test('gives one that stood by a slow start too, and what is there at the first look none', () => {
    const edge = new Edge()
    edge.lead('proxy-1', 20)
    edge.lead('proxy-2', 19)
    edge.probe('proxy-4')
    edge.stage.wait(1000)
    edge.lead('proxy-4', 2)
    expect(edge.stage.result('readmission')).toMatchObject({ verdict: 'violated', violationCount: 1 })
  })

  test('holds a node to the slow start of one that took itself out, of which its probes know nothing', () => {
    const edge = new Edge()
    edge.lead('proxy-1', 20)
    edge.stage.record(NODE, { kind: 'target-draining', target: 'proxy-2', connections: 0 })
    edge.stage.wait(5000)
    edge.probe('proxy-2')
    edge.stage.record(NODE, { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 })
    edge.lead('proxy-2', 2)
    expect(edge.stage.verdict('readmission')).toBe('violated')
  })

  test('is not exercised unless each node that led connections meanwhile was tempted', () => {
    const edge = Edge.withReturn(50)
    edge.stage.wait(2000)
    edge.lead('proxy-2', 3)
    edge.lead('proxy-1')
    const other = 'load-balancer-2'
    for (const proxy of PROXIES) edge.probe(proxy, true, other)
    for (const answered of [false, false, true, true]) edge.probe('proxy-2', answered, other)
    edge.stage.record(other, { kind: 'connection-forwarded', from: 'client-machine-0', to: 'proxy-1' })
    expect(edge.stage.verdict('readmission')).toBe('not-exercised')
  })

  test('does not blame a node for a choice made just before the others lost theirs', () => {
    const edge = Edge.withReturn(50)
    edge.stage.wait(15_000)
    edge.end('proxy-1', 50)
    edge.end('proxy-3', 50)
    edge.lead('proxy-2', 20)
    expect(edge.stage.verdict('readmission')).not.toBe('violated')
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
    for (const target of ['proxy-1', 'proxy-3']) edge.turn(target, false)
    edge.stage.wait(3000)
    edge.lead('proxy-2', 20)
    expect(edge.stage.verdict('readmission')).toBe('not-exercised')
  })

  test('does not hold against a node what it led before it was started anew', () => {
    const edge = Edge.withReturn(50)
    edge.lead('proxy-2', 1)
    edge.stage.record(NODE, { kind: 'process-started', bootId: 2 })
    for (const proxy of PROXIES) edge.turn(proxy, proxy !== 'proxy-2')
    for (const proxy of ['proxy-1', 'proxy-3']) edge.lead(proxy, 50)
    edge.turn('proxy-2', true)
    edge.stage.wait(600)
    edge.lead('proxy-2')
    edge.lead('proxy-1')
    expect(edge.stage.result('readmission')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('is not exercised where nobody came back', () => {
    const edge = new Edge()
    edge.lead('proxy-1', 100)
    expect(edge.stage.verdict('readmission')).toBe('not-exercised')
  })
})
