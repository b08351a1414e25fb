import { describe, expect, test } from 'vitest'
import type { Host } from '../model/host.ts'
import type { HistoryEntry, WorldEvent } from '../model/world.ts'
import { ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

/** A process that takes so long to stop, where it can. */
function stoppable(stopMs: number, log: string[], version: string) {
  return (host: Host) => {
    log.push(`${version} starts at ${host.bootId}`)
    return {
      stop: (done: () => void) => {
        log.push(`${version} is told to stop`)
        host.setTimer(stopMs, done)
      },
    }
  }
}

const spec = (name: string, stopMs: number, log: string[]) => ({
  name,
  zone: 'az1',
  role: 'puppet',
  address: `10.9.0.${name.length}`,
  cores: 1,
  boot: stoppable(stopMs, log, 'first'),
  upgraded: stoppable(stopMs, log, 'second'),
})

function startsAndEnds(history: readonly HistoryEntry[], machine: string): readonly string[] {
  return history
    .filter((entry) => entry.machine === machine)
    .map(({ timeUs, event }) => {
      const known = event as WorldEvent
      if (known.kind === 'process-ended') return `${timeUs / 1000} ended ${known.cause}`
      return known.kind === 'process-started' ? `${timeUs / 1000} started ${known.version ?? 1}` : known.kind
    })
}

describe('an upgrade', () => {
  test('lets the process stop in its own way, and starts the next version after a while', () => {
    const log: string[] = []
    const world = newWorld({ recording: true })
    world.addMachine(spec('m', 300, log))
    world.run(seconds(1))
    world.apply({ kind: 'upgrade', machines: ['m'], graceMs: 5000, downMs: 2000 })
    expect(world.isRunning('m')).toBe(true)
    world.run(seconds(2))
    expect(world.isRunning('m')).toBe(false)
    world.run(seconds(10))
    expect(log).toEqual(['first starts at 1', 'first is told to stop', 'second starts at 2'])
    expect(startsAndEnds(world.history, 'm')).toEqual(['0 started 1', '1300 ended stopped', '3300 started 2'])
  })

  test('ends a process that does not stop in its time', () => {
    const log: string[] = []
    const world = newWorld({ recording: true })
    world.addMachine(spec('m', 60_000, log))
    world.apply({ kind: 'upgrade', machines: ['m'], graceMs: 5000, downMs: 2000 })
    world.run(seconds(10))
    expect(startsAndEnds(world.history, 'm')).toEqual(['0 started 1', '5000 ended stopped', '7000 started 2'])
  })

  test('of a machine without power waits for the power; a later version is one higher', () => {
    const log: string[] = []
    const world = newWorld({ recording: true })
    world.addMachine(spec('m', 10, log))
    const powerBack = world.apply({ kind: 'power-loss', machines: ['m'] })
    world.apply({ kind: 'upgrade', machines: ['m'], graceMs: 1000, downMs: 1000 })
    world.run(seconds(5))
    expect(world.isRunning('m')).toBe(false)
    powerBack()
    world.apply({ kind: 'upgrade', machines: ['m'], graceMs: 1000, downMs: 1000 })
    world.run(seconds(10))
    expect(startsAndEnds(world.history, 'm').filter((line) => line.includes('started'))).toEqual([
      '0 started 1',
      '5000 started 2',
      '6010 started 3',
    ])
  })
})

describe('scaling', () => {
  test('in stops a process in its own way, for good, whatever comes later', () => {
    const log: string[] = []
    const world = newWorld()
    world.addMachine(spec('m', 300, log))
    world.run(seconds(1))
    world.apply({ kind: 'upgrade', machines: ['m'], graceMs: 5000, downMs: 2000 })
    world.apply({ kind: 'scale-in', machines: ['m'], graceMs: 5000 })()
    world.run(seconds(20))
    world.apply({ kind: 'crash', machines: ['m'] })()
    world.apply({ kind: 'restart', machines: ['m'] })
    world.run(seconds(30))
    expect([world.isRunning('m'), log.filter((line) => line.includes('starts'))]).toEqual([false, ['first starts at 1']])
  })

  test('out switches on a machine that stood by without power until then', () => {
    const world = newWorld()
    const standby = new Puppet(world, 'standby', 'az1', { standby: true })
    const other = new Puppet(world, 'other', 'az1')
    const early = other.connect(standby)
    world.run(ms(900))
    expect([standby.boots, early.openings, early.closes]).toEqual([0, 0, []])
    world.apply({ kind: 'scale-out', machines: ['standby'] })
    world.apply({ kind: 'scale-out', machines: ['standby'] })()
    world.run(seconds(2))
    expect([standby.boots, early.openings]).toEqual([1, 1])
    world.apply({ kind: 'power-loss', machines: ['standby'] })()
    expect(standby.boots).toBe(2)
  })
})

test('a slow machine takes longer for its work, by the product of what slows it', () => {
  const world = newWorld({ prices: { request: 1000 } })
  const puppet = new Puppet(world, 'm', 'az1')
  const other = new Puppet(world, 'other', 'az1')
  const arrivals: number[] = []
  other.host.bind(7, () => arrivals.push(other.host.nowMs()))
  const socket = puppet.host.bind(8, () => {})
  const work = () =>
    puppet.host.setTimer(0, () => {
      puppet.host.work('request', 1)
      socket.send({ host: other.address, port: 7 }, Buffer.from('done'))
    })
  const heals = [2, 3].map((factor) => world.apply({ kind: 'slow', machines: ['m'], factor }))
  work()
  world.run(ms(100))
  heals[1]!()
  work()
  world.run(ms(200))
  heals[0]!()
  work()
  world.run(ms(300))
  expect(arrivals).toEqual([6.15, 102.15, 201.15])
})

test('a drift goes on while it is in force, and what was gained stays', () => {
  const world = newWorld()
  const [a, b] = [new Puppet(world, 'a', 'az1'), new Puppet(world, 'b', 'az1')]
  const ahead = () => a.host.wallMs() - b.host.wallMs()
  const heals = [100, -300].map((partsPerMillion) => world.apply({ kind: 'clock-drift', machines: ['a'], partsPerMillion }))
  world.run(seconds(100))
  expect(ahead()).toBe(-20)
  heals[1]!()
  world.run(seconds(200))
  expect(ahead()).toBe(-10)
  heals[0]!()
  world.run(seconds(300))
  expect([ahead(), a.host.nowMs() - b.host.nowMs()]).toEqual([-10, 0])
})

describe('a fault point', () => {
  test('is taken on the machine that is named, while the fault is in force', () => {
    const world = newWorld()
    const [a, b] = [new Puppet(world, 'a', 'az1'), new Puppet(world, 'b', 'az1')]
    const taken = () => [a.host.perturb('here'), a.host.perturb('there'), b.host.perturb('here')]
    const heal = world.apply({ kind: 'fault-point', machines: ['a'], point: 'here', probability: 1 })
    expect(taken()).toEqual([true, false, false])
    heal()
    expect(taken()).toEqual([false, false, false])
  })

  test('with a probability is taken that often, the same in every run of a seed', () => {
    const counts = [1, 1, 2].map((seed) => {
      const world = newWorld({ seed })
      const puppet = new Puppet(world, 'a', 'az1')
      world.apply({ kind: 'fault-point', machines: ['a'], point: 'here', probability: 0.25 })
      return Array.from({ length: 1000 }, () => puppet.host.perturb('here')).filter(Boolean).length
    })
    expect(counts[0]).toBe(counts[1])
    expect(counts[0]).not.toBe(counts[2])
    for (const count of counts) expect(Math.abs(count - 250)).toBeLessThan(60)
  })
})

test('a fault that found nobody stands in the history', () => {
  const world = newWorld({ recording: true })
  world.foundNobody('crash', 'role broker')
  expect(world.history.map(({ machine, event }) => ({ machine, event }))).toEqual([
    { machine: 'world', event: { kind: 'fault-found-nobody', faultKind: 'crash', wanted: 'role broker' } },
  ])
})
