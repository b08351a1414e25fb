import { describe, expect, test } from 'vitest'
import { balancerHost, Edge, targets } from './edge.test-support.ts'
import { TargetWithdrawal } from './target-withdrawal.ts'

const BOUND_MS = 500

/** An edge whose targets can take themselves out. */
class WithdrawingEdge extends Edge {
  /** When each withdrawal was known to the node, or waited for no more, in seconds. */
  readonly outAt: number[] = []

  withdraw(target: string, forMs: number): void {
    const { host } = this.targetHosts.get(target)!
    host.setTimer(
      0,
      () => new TargetWithdrawal(host, [balancerHost], forMs, BOUND_MS, () => this.outAt.push(this.world.nowUs() / 1_000_000)),
    )
  }

  stopAccepting(target: string): void {
    const { host, listener } = this.targetHosts.get(target)!
    host.setTimer(0, () => listener.close())
  }

  counts(): readonly number[] {
    return targets.map(({ name }) => this.countOf(name))
  }
}

describe('a target that takes itself out', () => {
  test('gets nothing new and keeps what it has, though it takes no probes any more', () => {
    const edge = new WithdrawingEdge()
    edge.runTo(5)
    edge.connect(30)
    edge.runTo(6)
    edge.withdraw('proxy-2', 20_000)
    edge.runTo(6.1)
    expect(edge.outAt).toHaveLength(1)
    edge.stopAccepting('proxy-2')
    edge.connect(30)
    const toldBefore = edge.eventsOf('target-state-changed').length
    edge.runTo(25)
    expect(edge.counts()).toEqual([25, 10, 25])
    expect(edge.eventsOf('target-state-changed')).toHaveLength(toldBefore)
    expect(edge.eventsOf('target-draining', 'connections-reset').map(({ event }) => event)).toEqual([
      { kind: 'target-draining', target: 'proxy-2', connections: 10 },
    ])
  })

  test('comes back after the time it said, by one good probe and with a slow start', () => {
    const edge = new WithdrawingEdge()
    edge.runTo(5)
    edge.withdraw('proxy-2', 4000)
    edge.runTo(9)
    edge.connect(10)
    edge.runTo(12)
    expect(edge.counts()).toEqual([5, 0, 5])
    const slowStarts = edge.eventsOf('slow-start-began')
    expect(slowStarts.map(({ event }) => event)).toMatchObject([{ target: 'proxy-2' }])
    expect(slowStarts[0]!.timeUs / 1_000_000).toBeLessThan(11.2)
    edge.runTo(45)
    edge.connect(5)
    edge.runTo(46)
    expect(edge.counts()).toEqual([5, 5, 5])
  })

  test('does not come back, and fails nobody, where it does not answer after that time', () => {
    const edge = new WithdrawingEdge()
    edge.runTo(5)
    edge.withdraw('proxy-2', 2000)
    edge.stopAccepting('proxy-2')
    edge.connectSlowly(40, 5.5, 15)
    edge.runTo(16)
    expect(edge.counts()).toEqual([20, 0, 20])
  })

  test('has all that it still has reset where it is found dead after that time', () => {
    const edge = new WithdrawingEdge()
    edge.runTo(5)
    edge.connect(30)
    edge.runTo(6)
    edge.withdraw('proxy-2', 2000)
    edge.runTo(7)
    edge.world.apply({ kind: 'power-loss', machines: ['proxy-2'] })
    edge.runTo(15)
    expect(edge.counts()).toEqual([10, 0, 10])
    expect(edge.eventsOf('connections-reset').map(({ event }) => event)).toEqual([
      { kind: 'connections-reset', target: 'proxy-2', count: 10 },
    ])
  })

  test('takes out nobody else: a withdrawal from another address is noted, and changes nothing', () => {
    const edge = new WithdrawingEdge()
    edge.addHost('other-1', 'az3', '10.3.0.90', (host) => {
      host.setTimer(5000, () => new TargetWithdrawal(host, [balancerHost], 20_000, BOUND_MS, () => edge.outAt.push(0)))
    })
    edge.runTo(6)
    edge.connect(30)
    edge.runTo(7)
    expect(edge.outAt).toEqual([0])
    expect(edge.counts()).toEqual([10, 10, 10])
  })

  test('is out as long as its latest word says', () => {
    const edge = new WithdrawingEdge()
    edge.runTo(5)
    edge.withdraw('proxy-2', 1000)
    edge.withdraw('proxy-2', 2000)
    edge.runTo(6.5)
    edge.connect(10)
    edge.runTo(6.8)
    expect(edge.counts()).toEqual([5, 0, 5])
  })
})

describe('a withdrawal', () => {
  test('is repeated until the node has answered, and waits for it no longer than it may', () => {
    const edge = new WithdrawingEdge()
    edge.runTo(5)
    const heal = edge.world.apply({ kind: 'partition', from: ['proxy-2'], to: ['load-balancer-1'], bothWays: false })
    edge.withdraw('proxy-2', 20_000)
    edge.runTo(5.9)
    expect(edge.outAt).toEqual([5 + BOUND_MS / 1000])
    expect(edge.eventsOf('target-draining')).toEqual([])
    heal()
    edge.runTo(6.2)
    expect(edge.eventsOf('target-draining')).toHaveLength(1)
    edge.runTo(20)
    expect(edge.outAt).toHaveLength(1)
  })
})
