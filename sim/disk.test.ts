import { describe, expect, test } from 'vitest'
import { ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

function machine(options = {}) {
  const world = newWorld(options)
  const synced: string[] = []
  const powerLost: string[] = []
  world.observe({
    onSynced: (name, file, size) => synced.push(`${name} ${file} ${size}`),
    onPowerLost: (name, files) => powerLost.push(`${name} ${files.join(',')}`),
  })
  const puppet = new Puppet(world, 'm', 'az1')
  return { world, puppet, synced, powerLost }
}

describe('a disk', () => {
  test('takes a millisecond for a sync, and the time of the transfer', () => {
    const { world, puppet, synced } = machine()
    const { files } = puppet.host
    const doneAtMs: number[] = []
    files.append('a', Buffer.alloc(2_000_000))
    files.sync('a', () => doneAtMs.push(puppet.host.nowMs()))
    files.append('b', Buffer.alloc(1))
    files.sync('b', () => doneAtMs.push(puppet.host.nowMs()))
    files.read('a', 0, 1000, () => doneAtMs.push(puppet.host.nowMs()))
    world.run(seconds(1))
    expect(doneAtMs).toEqual([11, 11, 11.001])
    expect(synced).toEqual(['m a 2000000', 'm b 1'])
  })

  test('makes durable what was appended before the sync began, at its end', () => {
    const { world, puppet } = machine()
    const { files } = puppet.host
    files.append('a', Buffer.from('one'))
    files.sync('a', () => {})
    files.append('a', Buffer.from('two'))
    world.run(999)
    expect(world.durableBytes('m', 'a').toString()).toBe('')
    world.run(ms(2))
    expect(world.durableBytes('m', 'a').toString()).toBe('one')
    expect(world.durableFiles('m', '')).toEqual(['a'])
  })

  test('keeps through a crash of the process what a power loss may take, and tells which files lost bytes', () => {
    const outcomes = new Set<string>()
    for (let seed = 0; seed < 20; seed++) {
      const { world, puppet, powerLost } = machine({ seed })
      puppet.host.files.append('kept', Buffer.from('x'))
      puppet.host.files.sync('kept', () => {})
      puppet.host.files.append('risked', Buffer.from('y'))
      world.apply({ kind: 'crash', machines: ['m'] })()
      world.run(ms(5))
      expect([puppet.boots, puppet.host.files.size('risked')]).toEqual([2, 1])
      world.apply({ kind: 'power-loss', machines: ['m'] })()
      expect([puppet.boots, puppet.host.files.size('kept')]).toEqual([3, 1])
      const size = puppet.host.files.size('risked')
      expect(powerLost).toEqual([size === 1 ? 'm ' : 'm risked'])
      outcomes.add(String(size))
    }
    expect(outcomes.size).toBe(2)
  })

  test('finishes for the world what a dead process asked of it, and never calls it back', () => {
    const { world, puppet } = machine()
    let calls = 0
    puppet.host.files.append('a', Buffer.from('x'))
    puppet.host.files.sync('a', () => calls++)
    world.apply({ kind: 'crash', machines: ['m'] })()
    world.run(ms(5))
    expect([calls, world.durableBytes('m', 'a').toString()]).toEqual([0, 'x'])
  })

  test('does not finish a sync that a power loss interrupted', () => {
    const { world, puppet, synced } = machine()
    puppet.host.files.append('a', Buffer.from('x'))
    puppet.host.files.sync('a', () => {})
    world.run(500)
    world.apply({ kind: 'power-loss', machines: ['m'] })()
    world.run(ms(5))
    expect(synced).toEqual([])
  })

  test('fails syncs while the fault is in force; a later success makes nothing of theirs durable', () => {
    const { world, puppet, synced } = machine()
    const { files } = puppet.host
    const answers: (string | undefined)[] = []
    const heal = world.apply({ kind: 'sync-failure', machines: ['m'], probability: 1 })
    files.append('a', Buffer.from('x'))
    files.sync('a', (error) => answers.push(error))
    world.run(ms(5))
    heal()
    files.sync('a', (error) => answers.push(error))
    world.run(ms(10))
    expect([answers, synced, world.durableBytes('m', 'a').length]).toEqual([['failed', undefined], [], 0])
    world.apply({ kind: 'power-loss', machines: ['m'] })()
    expect(puppet.host.files.size('a')).toBe(0)
  })

  test('that stalls finishes what began before, and holds what begins, in order, until it is over', () => {
    const { world, puppet } = machine()
    const { files } = puppet.host
    const done: string[] = []
    files.append('a', Buffer.from('x'))
    files.sync('a', () => done.push('before'))
    const heals = [1, 2].map(() => world.apply({ kind: 'disk-stall', machines: ['m'] }))
    files.sync('a', () => done.push('sync'))
    files.read('a', 0, 1, () => done.push('read'))
    world.run(seconds(5))
    expect(done).toEqual(['before'])
    heals[0]!()
    world.run(seconds(6))
    expect(done).toEqual(['before'])
    heals[1]!()
    world.run(seconds(7))
    expect(done).toEqual(['before', 'sync', 'read'])
  })
})
