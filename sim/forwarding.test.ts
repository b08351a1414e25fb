import { describe, expect, test } from 'vitest'
import type { CloseReason, Connection, Forwarding, Host } from '../model/host.ts'
import { defaultLatency } from './latency.ts'
import { Ear, ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

/** A load balancer in front of one server; `delayMs` is how long it thinks before it forwards. */
function balanced(delayMs = 0, options: Parameters<typeof newWorld>[0] = {}) {
  const world = newWorld(options)
  const server = new Puppet(world, 'server', 'az1')
  const closes: CloseReason[] = []
  const joints: Forwarding[] = []
  const balancer = new Puppet(world, 'balancer', 'az2', {
    onBoot: (host: Host) => {
      host.listen(1, (inbound: Connection) => {
        const forward = () =>
          joints.push(host.forward(inbound, { host: server.address, port: 1 }, { onClose: (_, reason) => closes.push(reason) }))
        if (delayMs === 0) forward()
        else {
          inbound.pause()
          host.setTimer(delayMs, forward)
        }
        return new Ear(host)
      })
    },
  })
  const client = new Puppet(world, 'client', 'internet')
  const near = client.connect(balancer)
  return { world, server, balancer, client, near, closes, joints }
}

function joined() {
  const all = balanced()
  all.world.run(ms(100))
  return { ...all, far: all.server.accepted[0]! }
}

describe('a forwarded connection', () => {
  test('shows the target the address of the client', () => {
    const { far, client } = joined()
    expect(far.connection!.remote.host).toBe(client.address)
  })

  test('takes one event a chunk, with the delay of both legs', () => {
    const { world, near, far } = joined()
    const before = world.counters().events
    near.connection!.write(Buffer.from('x'))
    world.run(ms(100) + 20_499)
    expect(far.text).toBe('')
    world.run(ms(100) + 20_500)
    expect(far.text).toBe('x')
    expect(world.counters().events - before).toBe(1)
  })

  test('loses nothing and keeps the order, however late the load balancer makes up its mind', () => {
    for (const delayMs of [0, 5, 39.5, 40, 41, 45, 60]) {
      const { world, server, near } = balanced(delayMs)
      const expected: string[] = []
      for (let i = 0; i < 400; i++) {
        world.at(i * 250, () => {
          const text = `${i};`
          expected.push(text)
          near.connection!.write(Buffer.from(text))
        })
      }
      world.run(seconds(1))
      expect(server.accepted[0]!.text).toBe(expected.join(''))
    }
  })

  test('carries a close that came before the joint was made, after the bytes', () => {
    const { world, server, near, closes } = balanced(100)
    near.connection!.write(Buffer.from('and gone'))
    near.connection!.close()
    world.run(seconds(1))
    expect([server.accepted[0]!.text, server.accepted[0]!.closes, closes]).toEqual(['and gone', ['ended'], ['ended']])
  })

  test('is refused to the client and the load balancer where the target refuses', () => {
    const { world, near, closes } = balanced()
    world.apply({ kind: 'crash', machines: ['server'] })
    world.run(ms(200))
    expect([near.closes, closes]).toEqual([['reset'], ['refused']])
  })

  test('to a target without power ends by timeout for the load balancer, and by RST for the client', () => {
    const { world, near, closes } = balanced()
    world.apply({ kind: 'power-loss', machines: ['server'] })
    world.run(seconds(70))
    expect([near.closes, closes]).toEqual([['reset'], ['timeout']])
  })

  test('tells the load balancer once when either side closes or resets', () => {
    for (const act of [
      (near: Ear) => near.connection!.close(),
      (_: Ear, far: Ear) => far.connection!.close(),
      (near: Ear) => near.connection!.reset(),
      (_: Ear, far: Ear) => far.connection!.reset(),
    ]) {
      const { world, near, far, closes } = joined()
      act(near, far)
      world.run(seconds(1))
      expect(closes).toHaveLength(1)
      expect([...near.closes, ...far.closes]).toEqual(closes)
    }
  })

  test('goes on while the process of the load balancer is paused', () => {
    const { world, near, far } = joined()
    world.apply({ kind: 'pause', machines: ['balancer'] })
    near.connection!.write(Buffer.from('x'))
    world.run(ms(200))
    expect(far.text).toBe('x')
  })

  test('gets RST on both sides when the process of the load balancer crashes, or says so', () => {
    for (const end of ['crash', 'reset'] as const) {
      const { world, near, far, joints, closes } = joined()
      if (end === 'crash') world.apply({ kind: 'crash', machines: ['balancer'] })
      else joints[0]!.reset()
      world.run(seconds(1))
      expect([near.closes, far.closes, closes]).toEqual([['reset'], ['reset'], []])
    }
  })

  test('falls silent when the load balancer loses power, and is reset once it is back and something is sent', () => {
    const { world, near, far } = joined()
    const heal = world.apply({ kind: 'power-loss', machines: ['balancer'] })
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(10))
    expect([far.text, near.closes, far.closes]).toEqual(['', [], []])
    heal()
    world.run(seconds(30))
    expect([near.closes, far.closes]).toEqual([['reset'], []])
    far.connection!.write(Buffer.from('y'))
    world.run(seconds(31))
    expect(far.closes).toEqual(['reset'])
  })

  test('delivers what a client wrote before it closed, whatever the server writes meanwhile', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const { world, server, near } = balanced(0, { seed, latency: defaultLatency })
      world.run(seconds(2))
      const far = server.accepted[0]!
      near.connection!.write(Buffer.from('goodbye'))
      near.connection!.close()
      for (let us = ms(12); us < ms(40); us += 100) world.at(seconds(2) + us, () => far.connection!.write(Buffer.from('?')))
      world.run(seconds(4))
      expect([seed, far.text]).toEqual([seed, 'goodbye'])
    }
  })

  test('is cut where either leg is cut', () => {
    for (const [from, to] of [
      ['client', 'balancer'],
      ['balancer', 'server'],
    ] as const) {
      const { world, near, far } = joined()
      const heal = world.apply({ kind: 'partition', from: [from], to: [to], bothWays: true })
      near.connection!.write(Buffer.from('x'))
      world.run(seconds(5))
      expect(far.text).toBe('')
      heal()
      world.run(seconds(12))
      expect(far.text).toBe('x')
    }
  })

  test('is not cut by a partition between client and server, which no packet of it crosses', () => {
    const { world, near, far } = joined()
    world.apply({ kind: 'partition', from: ['client'], to: ['server'], bothWays: true })
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(1))
    expect(far.text).toBe('x')
  })

  test('is reset on both sides by a fault on one of its legs', () => {
    const { world, near, far, closes } = joined()
    world.apply({ kind: 'connection-reset', from: ['balancer'], to: ['server'] })
    world.run(seconds(1))
    expect([near.closes, far.closes, closes]).toEqual([['reset'], ['reset'], ['reset']])
  })

  test('that the server closes while the client is cut off: the server is rid of it, and the client gets RST when it sends later', () => {
    const { world, near, far, closes } = joined()
    const heal = world.apply({ kind: 'partition', from: ['client'], to: ['balancer'], bothWays: true })
    far.connection!.close()
    world.run(seconds(5))
    expect([closes, near.closes]).toEqual([['ended'], []])
    heal()
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(20))
    expect(near.closes).toEqual(['reset'])
  })
})
