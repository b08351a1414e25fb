import { describe, expect, test } from 'vitest'
import { INTERNET } from '../model/world.ts'
import { type Ear, ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

function three() {
  const world = newWorld()
  return { world, a: new Puppet(world, 'a', 'az1'), b: new Puppet(world, 'b', 'az1'), c: new Puppet(world, 'c', 'az2') }
}

/** A client, a machine that forwards port 1 to the server, and the server. */
function forwarded() {
  const world = newWorld()
  const server = new Puppet(world, 'server', 'az1')
  const closes: string[] = []
  const balancer = new Puppet(world, 'balancer', 'az1', {
    onBoot: (host) =>
      void host.listen(1, (inbound) => {
        host.forward(inbound, { host: server.address, port: 1 }, { onClose: (_joint, reason) => closes.push(reason) })
        return undefined
      }),
  })
  const client = new Puppet(world, 'client', INTERNET)
  return { world, server, balancer, client, closes }
}

describe('isolation of machines', () => {
  test.each<['in' | 'out' | 'both', readonly string[]]>([
    ['in', ['', 'from a']],
    ['out', ['to a', '']],
    ['both', ['', '']],
  ])('%s drops what it says, and nothing after it', (direction, expected) => {
    const { world, a, c } = three()
    const near = c.connect(a)
    world.run(ms(5))
    const far = a.accepted[0]!
    const heal = world.apply({ kind: 'isolation', machines: ['a'], direction })
    near.connection!.write(Buffer.from('to a'))
    far.connection!.write(Buffer.from('from a'))
    world.run(ms(150))
    expect([far.text, near.text]).toEqual(expected)
    heal()
    world.run(seconds(2))
    expect([far.text, near.text]).toEqual(['to a', 'from a'])
  })

  test('spares what a machine sends to itself', () => {
    const { world, a } = three()
    world.apply({ kind: 'isolation', machines: ['a', 'b'], direction: 'both' })
    const own = a.connect(a)
    world.run(ms(5))
    expect(own.openings).toBe(1)
  })
})

describe('a grey machine', () => {
  test('answers who connects, and what is written to it comes only when it is over', () => {
    const { world, a, c } = three()
    const heal = world.apply({ kind: 'grey', machines: ['a'] })
    const near = c.connect(a)
    world.run(ms(5))
    near.connection!.write(Buffer.from('hello'))
    world.run(seconds(1))
    expect([near.openings, a.accepted[0]!.text]).toEqual([1, ''])
    heal()
    world.run(seconds(3))
    expect(a.accepted[0]!.text).toBe('hello')
  })

  test('passes nothing on between two others', () => {
    const { world, server, balancer, client } = forwarded()
    world.apply({ kind: 'grey', machines: ['balancer'] })
    const near = client.connect(balancer)
    world.run(ms(200))
    near.connection!.write(Buffer.from('hello'))
    world.run(seconds(2))
    expect([near.openings, server.accepted.map(({ text }) => text)]).toEqual([1, ['']])
  })
})

test('loss of datagrams leaves connections alone, and is over when it is healed', () => {
  const { world, a, c } = three()
  let arrived = 0
  c.host.bind(7, () => arrived++)
  const socket = a.host.bind(8, () => {})
  const heal = world.apply({ kind: 'datagram-loss', from: ['a'], to: ['c'], probability: 1 })
  const near = a.connect(c)
  socket.send({ host: c.address, port: 7 }, Buffer.from('x'))
  world.run(ms(50))
  expect([near.openings, arrived]).toEqual([1, 0])
  heal()
  socket.send({ host: c.address, port: 7 }, Buffer.from('x'))
  world.run(ms(100))
  expect(arrived).toBe(1)
})

describe('a change of address', () => {
  test('makes what is open go silent on both ends, without a word', () => {
    const { world, a, c } = three()
    const near = c.connect(a)
    world.run(ms(5))
    const far = a.accepted[0]!
    world.apply({ kind: 'address-change', machines: ['c'] })
    near.connection!.write(Buffer.from('lost'))
    far.connection!.write(Buffer.from('lost'))
    world.run(seconds(60))
    expect([near.text, near.closes, far.text, far.closes]).toEqual(['', [], '', []])
    world.run(seconds(200))
    expect([near.closes, far.closes]).toEqual([['timeout'], ['timeout']])
  })

  test('lets new connections come from the new address, and datagrams find their way back', () => {
    const { world, a, c } = three()
    const answers: string[] = []
    const froms: string[] = []
    const service = a.host.bind(7, (from) => {
      froms.push(from.host)
      service.send(from, Buffer.from('here'))
    })
    const socket = c.host.bind(8, (_from, bytes) => answers.push(bytes.toString()))
    world.apply({ kind: 'address-change', machines: ['c'] })
    const near = c.connect(a)
    socket.send({ host: a.address, port: 7 }, Buffer.from('where?'))
    world.run(ms(50))
    const from = a.accepted[0]!.connection!.remote.host
    expect(near.openings).toBe(1)
    expect(from).not.toBe(c.address)
    expect([froms, answers]).toEqual([[from], ['here']])
    world.apply({ kind: 'address-change', machines: ['c'] })
    c.connect(a)
    world.run(ms(100))
    expect(new Set([c.address, ...a.accepted.map(({ connection }) => connection!.remote.host)]).size).toBe(3)
  })

  test('leaves a machine of the internet on the internet, and one of a private network in it', () => {
    const { world, server, client } = forwarded()
    const inside = new Puppet(world, 'inside', 'az1')
    const from = (puppet: Puppet): string => {
      world.apply({ kind: 'address-change', machines: [puppet.name] })
      puppet.connect(server)
      world.run(world.nowUs() + ms(200))
      return server.accepted.at(-1)!.connection!.remote.host
    }
    expect(from(client)).toMatch(/^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./)
    const changes = Array.from({ length: 9 }, () => from(inside))
    for (const address of changes) expect(address).toMatch(/^172\.(1[6-9]|2\d|3[01])\./)
    for (const [i, address] of changes.entries()) expect(address).not.toBe(changes[i - 1])
  })

  test('of a client behind a load balancer silences its way through it; the balancer still resets the far side', () => {
    const { world, server, balancer, client } = forwarded()
    const near = client.connect(balancer)
    world.run(ms(200))
    near.connection!.write(Buffer.from('first'))
    world.run(ms(400))
    const far = server.accepted[0]!
    expect(far.text).toBe('first')
    world.apply({ kind: 'address-change', machines: ['client'] })
    near.connection!.write(Buffer.from('second'))
    far.connection!.write(Buffer.from('answer'))
    world.run(seconds(10))
    expect([far.text, near.text, far.closes, near.closes]).toEqual(['first', '', [], []])
    world.apply({ kind: 'crash', machines: ['balancer'] })
    world.run(seconds(11))
    expect([far.closes, near.closes]).toEqual([['reset'], []])
  })
})

describe('a translator that forgets', () => {
  const idle = { kind: 'nat-timeout', machines: ['client'], idleMs: 30_000 } as const

  test('silences a connection that was idle for too long, whoever speaks first, and keeps one that is used', () => {
    for (const speaker of ['client', 'server'] as const) {
      const world = newWorld()
      const server = new Puppet(world, 'server', 'az1')
      const client = new Puppet(world, 'client', INTERNET)
      const [quiet, busy] = [client.connect(server), client.connect(server)]
      world.run(ms(200))
      world.apply(idle)
      for (let second = 20; second <= 80; second += 20) {
        world.run(seconds(second))
        busy.connection!.write(Buffer.from('.'))
      }
      const [quietFar, busyFar] = server.accepted as [Ear, Ear]
      const spoken = speaker === 'client' ? quiet : quietFar
      spoken.connection!.write(Buffer.from('anybody there?'))
      world.run(seconds(90))
      expect([quiet.text, quietFar.text, busyFar.text]).toEqual(['', '', '....'])
      expect([quiet.closes, quietFar.closes]).toEqual([[], []])
    }
  })

  test('forgets nothing once it is taken out, and what it forgot stays so', () => {
    const world = newWorld()
    const server = new Puppet(world, 'server', 'az1')
    const client = new Puppet(world, 'client', INTERNET)
    const [lost, kept] = [client.connect(server), client.connect(server)]
    const heal = world.apply(idle)
    world.run(seconds(40))
    lost.connection!.write(Buffer.from('lost'))
    heal()
    kept.connection!.write(Buffer.from('kept'))
    world.run(seconds(45))
    expect(server.accepted.map(({ text }) => text)).toEqual(['', 'kept'])
  })

  test('does not pass on a FIN that comes too late', () => {
    const world = newWorld()
    const server = new Puppet(world, 'server', 'az1')
    const client = new Puppet(world, 'client', INTERNET)
    const near = client.connect(server)
    world.apply(idle)
    world.run(seconds(40))
    near.connection!.close()
    world.run(seconds(300))
    expect(server.accepted[0]!.closes).toEqual([])
  })
})
