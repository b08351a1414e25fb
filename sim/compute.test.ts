import { describe, expect, test } from 'vitest'
import type { Host } from '../model/host.ts'
import { ms, newWorld, Puppet } from './puppets.test-support.ts'

/** A server whose handlers work for so many units, and when it began each. */
function worker(cores: number, units: number) {
  const world = newWorld({ prices: { request: 100 } })
  const beganAtUs: number[] = []
  const onBoot = (host: Host) => {
    host.listen(1, () => ({
      onData: (connection, bytes) => {
        beganAtUs.push(world.nowUs())
        host.work('request', units)
        connection.write(bytes)
      },
      onClose: () => {},
    }))
  }
  const server = new Puppet(world, 'server', 'az1', { cores, onBoot })
  const client = new Puppet(world, 'client', 'az1')
  const ears = [0, 1, 2, 3].map((i) => client.connect(server, `flow-${i}`))
  world.run(ms(10))
  return { world, server, client, ears, beganAtUs }
}

describe('work', () => {
  test('puts off what the handler sends, and the next handler of the machine', () => {
    const { world, ears, beganAtUs } = worker(1, 10)
    for (const ear of ears) ear.connection!.write(Buffer.from('x'))
    world.run(ms(10) + 1299)
    expect(ears.map(({ text }) => text)).toEqual(['', '', '', ''])
    world.run(ms(10) + 1300)
    expect(ears.map(({ text }) => text)).toEqual(['x', '', '', ''])
    world.run(ms(20))
    expect(beganAtUs.map((us) => us - ms(10))).toEqual([150, 1150, 2150, 3150])
    expect(ears.map(({ text }) => text)).toEqual(['x', 'x', 'x', 'x'])
  })

  test('is shared by the cores', () => {
    const { world, ears, beganAtUs } = worker(2, 10)
    for (const ear of ears) ear.connection!.write(Buffer.from('x'))
    world.run(ms(20))
    expect(beganAtUs.map((us) => us - ms(10))).toEqual([150, 150, 1150, 1150])
  })

  test('tells observers of each handler that had to wait: for how long, and how many still do', () => {
    const { world, ears } = worker(1, 10)
    const waits: string[] = []
    world.observe({ onWaited: (machine, waitedUs, waiting) => waits.push(`${machine} ${waitedUs} ${waiting}`) })
    for (const ear of ears) ear.connection!.write(Buffer.from('x'))
    world.run(ms(20))
    expect(waits).toEqual(['server 1000 2', 'server 2000 1', 'server 3000 0'])
  })

  test('on a machine at rest costs no event', () => {
    const [free, busy] = [0, 10].map((units) => {
      const { world, ears } = worker(1, units)
      const before = world.counters().events
      ears[0]!.connection!.write(Buffer.from('x'))
      world.run(ms(20))
      return world.counters().events - before
    })
    expect([free, busy]).toEqual([2, 2])
  })

  test('of a process that was killed does not keep the next one waiting', () => {
    const { world, ears, server } = worker(1, 10_000)
    ears[0]!.connection!.write(Buffer.from('x'))
    world.run(ms(11))
    world.apply({ kind: 'restart', machines: ['server'] })
    let firedAtUs = 0
    server.host.setTimer(1, () => {
      firedAtUs = world.nowUs()
    })
    world.run(ms(20))
    expect(firedAtUs).toBe(ms(12))
  })
})

describe('a pause', () => {
  test('holds timers and bytes in their order, and delivers them at its end', () => {
    const { world, server, client } = worker(1, 0)
    const told: string[] = []
    const tell = (text: string) => () => told.push(`${text} ${world.nowUs() / 1000}`)
    const heal = world.apply({ kind: 'pause', machines: ['server'] })
    server.host.setTimer(5, tell('first'))
    server.host.setTimer(6, tell('second'))
    const late = client.connect(server, 'late')
    world.run(ms(50))
    expect([told, late.openings]).toEqual([[], 1])
    heal()
    server.host.setTimer(0, tell('third'))
    world.run(ms(60))
    expect(told).toEqual(['first 50', 'second 50', 'third 50'])
  })
})
