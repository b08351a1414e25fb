import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

function three() {
  const world = newWorld()
  const a = new Puppet(world, 'a', 'az1')
  const b = new Puppet(world, 'b', 'az1')
  const c = new Puppet(world, 'c', 'az2')
  return { world, a, b, c }
}

describe('faults that overlap', () => {
  test('keep a machine off until the last of them is taken out; taking one out twice counts once', () => {
    const { world, a } = three()
    const outage = world.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })
    const loss = world.apply({ kind: 'power-loss', machines: ['a'] })
    outage()
    outage()
    expect(a.boots).toBe(1)
    loss()
    expect(a.boots).toBe(2)
  })

  test('of different kinds each take back their own part', () => {
    const { world, a } = three()
    const crash = world.apply({ kind: 'crash', machines: ['a'] })
    const loss = world.apply({ kind: 'power-loss', machines: ['a'] })
    loss()
    expect(a.boots).toBe(1)
    const near = three().b
    expect(near.boots).toBe(1)
    crash()
    expect(a.boots).toBe(2)
  })

  test('a machine with power and a crashed process refuses; without power it is silent', () => {
    const { world, a, c } = three()
    const crash = world.apply({ kind: 'crash', machines: ['a'] })
    const loss = world.apply({ kind: 'power-loss', machines: ['a'] })
    const silent = c.connect(a)
    world.run(ms(900))
    expect(silent.closes).toEqual([])
    loss()
    const refused = c.connect(a)
    world.run(ms(905))
    expect(refused.closes).toEqual(['refused'])
    crash()
  })

  test('cut a link until the last of them is taken out', () => {
    const { world, a, c } = three()
    const isolated = world.apply({ kind: 'zone-outage', zone: 'az1', form: 'isolated' })
    const partition = world.apply({ kind: 'partition', from: ['a'], to: ['c'], bothWays: false })
    const near = c.connect(a)
    isolated()
    world.run(seconds(2))
    expect(near.openings).toBe(0)
    partition()
    world.run(seconds(4))
    expect(near.openings).toBe(1)
  })

  test('restart a process that another one holds down only when that one is over', () => {
    const { world, a } = three()
    const crash = world.apply({ kind: 'crash', machines: ['a'] })
    world.apply({ kind: 'restart', machines: ['a'] })
    expect(a.boots).toBe(1)
    crash()
    expect(a.boots).toBe(2)
  })
})

describe('a zone outage', () => {
  test('by power takes every machine of the zone, and only those', () => {
    const { world, a, b, c } = three()
    world.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })()
    expect([a.boots, b.boots, c.boots]).toEqual([2, 2, 1])
  })

  test('by isolation cuts what crosses the border, and nothing inside', () => {
    const { world, a, b, c } = three()
    world.apply({ kind: 'zone-outage', zone: 'az1', form: 'isolated' })
    const inside = a.connect(b)
    const across = c.connect(b)
    world.run(ms(500))
    expect([inside.openings, across.openings]).toEqual([1, 0])
  })
})

describe('a connection reset', () => {
  test('ends every connection between the sets once, on both ends, and no other', () => {
    const { world, a, b, c } = three()
    const [hit, spared] = [a.connect(c), b.connect(c)]
    world.run(ms(5))
    world.apply({ kind: 'connection-reset', from: ['c'], to: ['a'] })
    world.run(ms(10))
    expect([hit.closes, spared.closes]).toEqual([['reset'], []])
    expect(c.accepted.map(({ closes }) => closes.length).sort()).toEqual([0, 1])
  })
})

test('a clock jump moves the wall clocks it names, for good, and no monotonic one', () => {
  const { world, a, b } = three()
  const clocks = () => [a.host.wallMs() - b.host.wallMs(), a.host.nowMs() - b.host.nowMs()]
  const jumped = world.apply({ kind: 'clock-jump', machines: ['a'], byMs: -3_600_000 })
  expect(clocks()).toEqual([-3_600_000, 0])
  jumped()
  expect(clocks()).toEqual([-3_600_000, 0])
})

test('a fault on a machine or zone that does not exist is refused', () => {
  const { world } = three()
  const faults: Fault[] = [
    { kind: 'crash', machines: ['nobody'] },
    { kind: 'zone-outage', zone: 'az9', form: 'power' },
    { kind: 'partition', from: ['a'], to: ['nobody'], bothWays: true },
  ]
  for (const fault of faults) expect(() => world.apply(fault)).toThrow(/no machine/)
})
