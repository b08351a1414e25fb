import { describe, expect, test } from 'vitest'
import { type Fault, INTERNET } from '../model/world.ts'
import { ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

/** Two machines in one zone, one in another, one on the internet. */
function four() {
  const world = newWorld()
  const here = new Puppet(world, 'here', 'az1')
  const beside = new Puppet(world, 'beside', 'az1', { role: 'controller' })
  const other = new Puppet(world, 'other', 'az2')
  const client = new Puppet(world, 'client', INTERNET)
  return { world, here, beside, other, client }
}

type Outage = Extract<Fault, { kind: 'zone-outage' }>

const outage = (form: 'isolated' | 'cut-from-zones' | 'cut-from-internet' | 'nothing-in' | 'nothing-out'): Outage => ({
  kind: 'zone-outage',
  zone: 'az1',
  form,
})
const controlPlane: Outage = { kind: 'zone-outage', zone: 'az1', form: 'control-plane', roles: ['controller'] }

describe('a zone outage', () => {
  test.each<[Outage, readonly number[]]>([
    // Openings within the zone, from another zone, from the internet, to another zone.
    [outage('isolated'), [1, 0, 0, 0]],
    [outage('cut-from-zones'), [1, 0, 1, 0]],
    [outage('cut-from-internet'), [1, 1, 0, 1]],
    [outage('nothing-in'), [1, 0, 0, 0]],
    [outage('nothing-out'), [1, 0, 0, 0]],
    [controlPlane, [0, 1, 1, 1]],
  ])('%j lets through what its form says, and all of it once it is over', (fault, expected) => {
    const { world, here, beside, other, client } = four()
    const heal = world.apply(fault)
    const connections = [here.connect(beside), other.connect(here), client.connect(here), here.connect(other)]
    world.run(ms(900))
    expect(connections.map(({ openings }) => openings)).toEqual(expected)
    heal()
    world.run(seconds(4))
    expect(connections.map(({ openings }) => openings)).toEqual([1, 1, 1, 1])
  })

  test.each<[Outage, readonly string[]]>([
    [outage('nothing-in'), ['', 'out']],
    [outage('nothing-out'), ['in', '']],
  ])('%j loses what goes one way only', (fault, expected) => {
    const { world, here, other } = four()
    const near = other.connect(here)
    world.run(ms(5))
    const far = here.accepted[0]!
    const heal = world.apply(fault)
    near.connection!.write(Buffer.from('in'))
    far.connection!.write(Buffer.from('out'))
    world.run(ms(150))
    expect([far.text, near.text]).toEqual(expected)
    heal()
    world.run(seconds(2))
    expect([far.text, near.text]).toEqual(['in', 'out'])
  })

  test('by brown-out makes work and disks slow and loses some packets, in that zone alone, and not after it', () => {
    const { world, here, other } = four()
    const heal = world.apply({ kind: 'zone-outage', zone: 'az1', form: 'brown-out', slowdown: 10, lossProbability: 0.2 })
    const syncedAtMs: number[] = []
    for (const puppet of [here, other]) {
      puppet.host.files.append('a', Buffer.from('x'))
      puppet.host.files.sync('a', () => syncedAtMs.push(puppet.host.nowMs()))
    }
    let arrived = 0
    other.host.bind(7, () => arrived++)
    const socket = here.host.bind(8, () => {})
    for (let i = 0; i < 1000; i++) socket.send({ host: other.address, port: 7 }, Buffer.from('x'))
    world.run(ms(50))
    expect(syncedAtMs).toEqual([1.001, 10.001])
    expect(arrived).toBeGreaterThan(700)
    expect(arrived).toBeLessThan(900)
    heal()
    arrived = 0
    for (let i = 0; i < 1000; i++) socket.send({ host: other.address, port: 7 }, Buffer.from('x'))
    world.run(ms(100))
    expect(arrived).toBe(1000)
  })

  test('by the loss of its control plane leaves machines of other roles alone', () => {
    const { world, here, beside, other } = four()
    const heal = world.apply(controlPlane)
    const [hit, spared] = [other.connect(beside), other.connect(here)]
    world.run(ms(900))
    expect([hit.openings, spared.openings]).toEqual([0, 1])
    heal()
    world.run(seconds(3))
    expect(hit.openings).toBe(1)
  })
})
