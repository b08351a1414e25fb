import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

function machine(options = {}) {
  const world = newWorld(options)
  const puppet = new Puppet(world, 'm', 'az1')
  const write = (name: string, bytes: Buffer): (string | undefined)[] => {
    const answers: (string | undefined)[] = []
    puppet.host.files.append(name, bytes)
    puppet.host.files.sync(name, (error) => answers.push(error))
    return answers
  }
  const read = (name: string): Buffer => {
    let found: Buffer = Buffer.alloc(0)
    puppet.host.files.read(name, 0, 1_000_000, (_error, bytes) => {
      found = bytes
    })
    world.run(world.nowUs() + ms(20))
    return found
  }
  const powerCut = () => world.apply({ kind: 'power-loss', machines: ['m'] })()
  return { world, puppet, write, read, powerCut }
}

const pattern = (size: number, salt = 0) => Buffer.from(Array.from({ length: size }, (_, i) => ((i * 7 + salt) & 0xff) | 1))

function differences(a: Buffer, b: Buffer): number {
  let count = 0
  for (let i = 0; i < a.length; i++) for (let bits = a[i]! ^ b[i]!; bits > 0; bits &= bits - 1) count++
  return count
}

describe('a slow disk', () => {
  test('takes so many times as long for what begins while the fault is in force', () => {
    const { world, puppet } = machine()
    const doneAtMs: number[] = []
    const sync = () => {
      puppet.host.files.append('a', Buffer.alloc(200_000))
      puppet.host.files.sync('a', () => doneAtMs.push(puppet.host.nowMs()))
    }
    const heals = [2, 5].map((factor) => world.apply({ kind: 'disk-slow', machines: ['m'], factor }))
    sync()
    world.run(ms(100))
    heals[1]!()
    sync()
    world.run(ms(200))
    heals[0]!()
    sync()
    world.run(ms(300))
    expect(doneAtMs).toEqual([20, 104, 202])
  })
})

describe('a full disk', () => {
  test('says so at the sync of new bytes, loses them, and takes new ones when there is room', () => {
    const { world, write, read, powerCut } = machine()
    const before = write('a', Buffer.from('kept'))
    world.run(ms(10))
    const heal = world.apply({ kind: 'disk-full', machines: ['m'] })
    const during = write('b', Buffer.from('lost'))
    world.run(ms(20))
    heal()
    const after = write('c', Buffer.from('kept too'))
    world.run(ms(30))
    expect([before, during, after]).toEqual([[undefined], ['full'], [undefined]])
    powerCut()
    expect(['a', 'b', 'c'].map((name) => read(name).toString())).toEqual(['kept', '', 'kept too'])
  })
})

describe('a sync that lies', () => {
  test('makes nothing durable, and a later honest one makes up for it', () => {
    const lost = new Set<boolean>()
    for (let seed = 0; seed < 20; seed++) {
      const { world, puppet, write, powerCut } = machine({ seed })
      const synced: string[] = []
      world.observe({ onSynced: (_machine, file) => synced.push(file) })
      const heal = world.apply({ kind: 'lying-sync', machines: ['m'], probability: 1 })
      expect([write('a', Buffer.from('x')), write('b', Buffer.from('y'))]).toEqual([[], []])
      world.run(ms(10))
      expect([synced, world.durableBytes('m', 'a').length]).toEqual([[], 0])
      heal()
      puppet.host.files.sync('b', () => {})
      world.run(ms(20))
      expect(synced).toEqual(['b'])
      powerCut()
      expect(puppet.host.files.size('b')).toBe(1)
      lost.add(puppet.host.files.size('a') === 0)
    }
    expect(lost.size).toBe(2)
  })
})

describe('bit rot', () => {
  test('flips so many bits of what is durable, for reads; the true bytes are still known', () => {
    const { world, puppet, write, read, powerCut } = machine()
    write('a', pattern(3000))
    write('b', pattern(500, 3))
    world.run(ms(10))
    puppet.host.files.append('c', pattern(10_000))
    world.apply({ kind: 'bit-rot', machines: ['m'], bits: 1 })
    expect(differences(read('a'), pattern(3000)) + differences(read('b'), pattern(500, 3))).toBe(1)
    world.apply({ kind: 'bit-rot', machines: ['m'], bits: 40 })
    powerCut()
    const flipped = differences(read('a'), pattern(3000)) + differences(read('b'), pattern(500, 3))
    expect(flipped).toBeGreaterThan(30)
    expect(world.durableBytes('m', 'a').equals(pattern(3000))).toBe(true)
  })

  test('goes with the bytes that are cut off, and has nothing to do on an empty disk', () => {
    const { world, puppet, write, read } = machine()
    world.apply({ kind: 'bit-rot', machines: ['m'], bits: 5 })
    write('a', pattern(1000))
    world.run(ms(10))
    expect(read('a').equals(pattern(1000))).toBe(true)
    world.apply({ kind: 'bit-rot', machines: ['m'], bits: 50 })
    puppet.host.files.cutTail('a', 0)
    write('a', pattern(1000))
    world.run(ms(30))
    expect(read('a').equals(pattern(1000))).toBe(true)
  })
})

describe('a misdirected write', () => {
  test('is missing where it belongs, and stands in place of what stood elsewhere', () => {
    const { world, write, read } = machine({ seed: 3 })
    write('old', pattern(100 * 512))
    world.run(ms(10))
    const heal = world.apply({ kind: 'misdirected-write', machines: ['m'], probability: 1 })
    const answers = write('new', pattern(512, 9))
    world.run(ms(20))
    heal()
    expect(answers).toEqual([undefined])
    expect(read('new').equals(Buffer.alloc(512))).toBe(true)
    expect(read('old').includes(pattern(512, 9))).toBe(true)
    expect([world.durableBytes('m', 'new').equals(pattern(512, 9)), world.durableBytes('m', 'old').equals(pattern(100 * 512))]).toEqual([
      true,
      true,
    ])
    write('fine', pattern(512, 5))
    world.run(ms(40))
    expect(read('fine').equals(pattern(512, 5))).toBe(true)
  })
})

describe('the loss of a disk', () => {
  test('takes the machine down and all its files, and leaves it with an empty disk', () => {
    const { world, puppet, write } = machine()
    const lost: string[] = []
    world.observe({ onPowerLost: (_machine, files) => lost.push(...files) })
    write('a', Buffer.from('x'))
    world.run(ms(10))
    let calls = 0
    puppet.host.files.sync('a', () => calls++)
    const heal = world.apply({ kind: 'disk-loss', machines: ['m'] })
    expect([world.isRunning('m'), lost, world.durableFiles('m', '')]).toEqual([false, ['a'], []])
    world.run(seconds(1))
    heal()
    world.run(seconds(2))
    expect([puppet.boots, puppet.host.files.list(''), calls]).toEqual([2, [], 0])
    expect(write('b', Buffer.from('y'))).toEqual([])
    world.run(seconds(3))
    expect(world.durableFiles('m', '')).toEqual(['b'])
  })
})

test('a fault of one machine moves nobody else: what the others see, and when, is the same with and without it', () => {
  const faults: readonly (Fault | undefined)[] = [
    undefined,
    { kind: 'lying-sync', machines: ['third'], probability: 0.5 },
    { kind: 'misdirected-write', machines: ['third'], probability: 0.5 },
    { kind: 'disk-full', machines: ['third'] },
    { kind: 'disk-slow', machines: ['third'], factor: 3 },
    { kind: 'bit-rot', machines: ['third'], bits: 3 },
    { kind: 'disk-loss', machines: ['third'] },
    { kind: 'grey', machines: ['third'] },
    { kind: 'isolation', machines: ['third'], direction: 'out' },
    { kind: 'datagram-loss', from: ['third'], to: ['a'], probability: 0.5 },
    { kind: 'nat-timeout', machines: ['third'], idleMs: 10 },
    { kind: 'address-change', machines: ['third'] },
    { kind: 'clock-drift', machines: ['third'], partsPerMillion: 100 },
    { kind: 'fault-point', machines: ['third'], point: 'x', probability: 0.5 },
    { kind: 'slow', machines: ['third'], factor: 2 },
    { kind: 'upgrade', machines: ['third'], graceMs: 100, downMs: 100 },
    { kind: 'scale-in', machines: ['third'], graceMs: 100 },
    { kind: 'zone-outage', zone: 'az2', form: 'brown-out', slowdown: 3, lossProbability: 0.3 },
    { kind: 'zone-outage', zone: 'az2', form: 'nothing-in' },
  ]
  const runs = faults.map((fault) => {
    const world = newWorld({ seed: 9, recording: true })
    const a = new Puppet(world, 'a', 'az1')
    const b = new Puppet(world, 'b', 'az1')
    const third = new Puppet(world, 'third', 'az2')
    const [near, aside] = [a.connect(b), third.connect(b)]
    world.run(ms(10))
    const heal = fault === undefined ? undefined : world.apply(fault)
    const seen: string[] = []
    for (let i = 0; i < 50; i++) {
      near.connection!.write(Buffer.from(`${i} ${a.host.random('x').below(1000)}`))
      aside.connection!.write(Buffer.from('.'))
      a.host.files.append('f', Buffer.from('x'))
      a.host.files.sync('f', () => seen.push(`sync ${i} at ${a.host.nowMs()}`))
      if (third.host.files.size('f') < 100) third.host.files.append('f', Buffer.from('x'))
      third.host.files.sync('f', () => {})
      world.run(world.nowUs() + ms(7))
      seen.push(`${b.accepted[0]!.text} at ${world.nowUs()}`)
    }
    heal?.()
    return { seen }
  })
  for (const run of runs) expect(run.seen).toEqual(runs[0]!.seen)
})
