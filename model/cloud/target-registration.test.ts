import { describe, expect, test } from 'vitest'
import type { Host } from '../host.ts'
import { ports } from '../settings.ts'
import { balancerHost, Edge, type EdgeOptions, targetOf, targets } from './edge.test-support.ts'
import { TargetRegistration } from './target-registration.ts'

/** An edge with somebody who registers targets. */
class ControlledEdge extends Edge {
  registration!: TargetRegistration
  controller!: Host

  constructor(options: EdgeOptions = {}) {
    super(options)
    this.addHost('controller-1', 'az3', '10.3.0.90', (host) => {
      this.controller = host
      this.registration = new TargetRegistration(host, [balancerHost])
    })
  }

  register(version: number, registered: Parameters<TargetRegistration['set']>[1]): void {
    this.controller.setTimer(0, () => this.registration.set(version, registered))
  }

  get changes(): readonly unknown[] {
    return this.eventsOf('target-registered', 'target-draining', 'target-removed').map(({ event }) => event)
  }
}

const withoutSecond = targets.filter(({ name }) => name !== 'proxy-2')

describe('registering targets', () => {
  test('brings a new one in once it is probed, with a slow start', () => {
    const edge = new ControlledEdge()
    const fourth = targetOf(2, 'proxy-4', 7)
    edge.addTarget(fourth)
    edge.runTo(5)
    edge.connect(30)
    edge.runTo(6)
    edge.register(1, [...targets, fourth])
    edge.runTo(10)
    expect(edge.registration.settled).toBe(true)
    expect(edge.changes).toEqual([{ kind: 'target-registered', target: 'proxy-4' }])
    expect(edge.eventsOf('slow-start-began').map(({ event }) => event)).toMatchObject([{ target: 'proxy-4' }])
    edge.runTo(45)
    edge.connect(10)
    edge.runTo(46)
    expect(edge.countOf('proxy-4')).toBe(10)
  })

  test('drains one that is taken out: what it has goes on, nothing new comes', () => {
    const edge = new ControlledEdge()
    edge.runTo(5)
    edge.connect(30)
    edge.runTo(6)
    edge.register(1, withoutSecond)
    edge.runTo(8)
    const draining = edge.clients.filter(({ target }) => target === 'proxy-2')
    edge.connect(30)
    for (const { connection } of draining) connection.write(Buffer.from(', still'))
    edge.runTo(60)
    expect(draining.map(({ received }) => received)).toEqual(Array(10).fill('proxy-2;hello, still'))
    expect(targets.map(({ name }) => edge.countOf(name))).toEqual([25, 10, 25])
    for (const { connection } of draining) connection.close()
    edge.runTo(61)
    expect(edge.changes).toEqual([
      { kind: 'target-draining', target: 'proxy-2', connections: 10 },
      { kind: 'target-removed', target: 'proxy-2' },
    ])
    expect(edge.eventsOf('connections-reset')).toEqual([])
  })

  test('resets what a drained one still has after its time', () => {
    const edge = new ControlledEdge({ settings: { drainMs: 20_000 } })
    edge.runTo(5)
    edge.connect(30)
    edge.runTo(6)
    edge.register(1, withoutSecond)
    edge.runTo(25)
    expect(edge.countOf('proxy-2')).toBe(10)
    edge.runTo(27)
    expect(edge.countOf('proxy-2')).toBe(0)
    expect(edge.eventsOf('connections-reset').map(({ event }) => event)).toEqual([
      { kind: 'connections-reset', target: 'proxy-2', count: 10 },
    ])
    const before = edge.heard.length
    edge.connect(4)
    edge.runTo(30)
    expect(edge.heard.slice(before).map(({ target }) => target)).not.toContain('proxy-2')
  })

  test('removes an empty one at once, and one that dies while it drains', () => {
    const edge = new ControlledEdge()
    edge.runTo(5)
    edge.register(1, withoutSecond)
    edge.runTo(6)
    expect(edge.changes.at(-1)).toEqual({ kind: 'target-removed', target: 'proxy-2' })
    edge.connect(2)
    edge.runTo(7)
    edge.register(2, [targets[0]!])
    edge.runTo(8)
    edge.world.apply({ kind: 'power-loss', machines: ['proxy-3'] })
    edge.runTo(15)
    expect(edge.changes.at(-1)).toEqual({ kind: 'target-removed', target: 'proxy-3' })
    expect(edge.clients.filter(({ target }) => target === 'proxy-3').map(({ closed }) => closed)).toEqual(['reset'])
  })

  test('keeps one that is registered again while it drains', () => {
    const edge = new ControlledEdge({ settings: { drainMs: 10_000 } })
    edge.runTo(5)
    edge.connect(30)
    edge.runTo(6)
    edge.register(1, withoutSecond)
    edge.runTo(8)
    edge.register(2, targets)
    edge.runTo(30)
    edge.connect(30)
    edge.runTo(31)
    expect(targets.map(({ name }) => edge.countOf(name))).toEqual([20, 20, 20])
  })

  test('is repeated until each node has it, and tells one that was started again', () => {
    const edge = new ControlledEdge()
    edge.runTo(5)
    const heal = edge.world.apply({ kind: 'partition', from: ['controller-1'], to: ['load-balancer-1'], bothWays: true })
    edge.register(1, withoutSecond)
    edge.runTo(9)
    expect(edge.registration.settled).toBe(false)
    heal()
    edge.runTo(12)
    expect(edge.registration.settled).toBe(true)
    edge.world.apply({ kind: 'restart', machines: ['load-balancer-1'] })
    edge.runTo(30)
    edge.connect(10)
    edge.runTo(31)
    expect(targets.map(({ name }) => edge.countOf(name))).toEqual([5, 0, 5])
  })

  test('never goes back to an older set, and takes none from strangers or of other bytes', () => {
    const edge = new ControlledEdge({ settings: { slowStartMs: 0 } })
    edge.runTo(5)
    edge.register(7, withoutSecond)
    edge.runTo(7)
    edge.register(6, targets)
    const strangers: Host[] = []
    for (const [name, zone, address] of [
      ['stranger-1', 'internet', '203.0.0.9'],
      ['stranger-2', 'vpc', '172.16.0.9'],
    ] as const)
      edge.addHost(name, zone, address, (host) => void strangers.push(host))
    edge.runTo(8)
    for (const stranger of strangers) stranger.setTimer(0, () => new TargetRegistration(stranger, [balancerHost]).set(9, targets))
    edge.controller.setTimer(0, () => {
      const socket = edge.controller.bind(4000, () => {})
      const node = { host: balancerHost, port: ports.targetRegistration }
      for (const bytes of [Buffer.alloc(0), Buffer.alloc(40, 0xff), Buffer.from('73717431', 'hex')]) socket.send(node, bytes)
    })
    edge.runTo(12)
    edge.connect(10)
    edge.runTo(13)
    expect(targets.map(({ name }) => edge.countOf(name))).toEqual([5, 0, 5])
  })
})
