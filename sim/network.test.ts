import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Connection, Host } from '../model/host.ts'
import { Ear, ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'
import { createSimWorld } from './world.ts'

function datagrams(options = {}) {
  const world = newWorld(options)
  const [a, b] = [new Puppet(world, 'a', 'az1'), new Puppet(world, 'b', 'az2')]
  const got: string[] = []
  b.host.bind(53, (from, bytes) => got.push(`${from.host}:${from.port} ${bytes}`))
  const socket = a.host.bind(0, () => {})
  const send = (text: string) => socket.send({ host: b.address, port: 53 }, Buffer.from(text))
  return { world, a, b, got, send }
}

describe('datagrams', () => {
  test('take one delay', () => {
    const { world, a, got, send } = datagrams()
    send('x')
    world.run(499)
    expect(got).toEqual([])
    world.run(500)
    expect(got).toEqual([`${a.address}:32768 x`])
  })

  test('are lost on a cut, at a machine without power, and now and then on a bad link', () => {
    const { world, got, send } = datagrams()
    const cut = world.apply({ kind: 'partition', from: ['a'], to: ['b'], bothWays: false })
    send('cut')
    world.run(seconds(1))
    cut()
    world.apply({ kind: 'link', from: ['b'], to: ['a'], addedLatencyMs: 0, lossProbability: 0.4 })
    for (let i = 0; i < 500; i++) send('maybe')
    world.run(seconds(2))
    expect(got.filter((line) => line.endsWith('cut'))).toEqual([])
    expect(got.length).toBeGreaterThan(250)
    expect(got.length).toBeLessThan(350)
    send('on the way')
    world.apply({ kind: 'power-loss', machines: ['b'] })
    world.run(seconds(3))
    expect(got.filter((line) => line.endsWith('way'))).toEqual([])
  })
})

describe('delays', () => {
  test('go by distance: one machine, one zone, two zones, the internet', () => {
    const world = newWorld()
    const [a, b, c, d] = [
      new Puppet(world, 'a', 'az1'),
      new Puppet(world, 'b', 'az1'),
      new Puppet(world, 'c', 'az2'),
      new Puppet(world, 'd', 'internet'),
    ]
    const openedAtUs = new Map<string, number>()
    for (const to of [a, b, c, d]) {
      const handler = { onOpen: () => openedAtUs.set(to.name, world.nowUs()), onData: () => {}, onClose: () => {} }
      a.host.connect({ host: to.address, port: 1 }, handler)
    }
    world.run(seconds(1))
    expect([...openedAtUs]).toEqual([
      ['a', 40],
      ['b', 300],
      ['c', 1000],
      ['d', 40_000],
    ])
  })
})

/** A fault on one of three machines in a row, from when, for how long. */
const faults = fc.array(
  fc.record({
    kind: fc.constantFrom('both', 'there', 'back', 'loss', 'pause', 'slow' as const),
    leg: fc.constantFrom(['client', 'middle'] as const, ['middle', 'server'] as const),
    fromMs: fc.nat(3000),
    forMs: fc.nat(4000),
  }),
  { maxLength: 6 },
)

describe('whatever links and pauses do', () => {
  test('a stream through a load balancer is never reordered, and is whole once all is well', () => {
    fc.assert(
      fc.property(fc.integer(), faults, fc.boolean(), fc.nat(60), (seed, list, lazy, thinksMs) => {
        const world = createSimWorld({ seed, recording: false })
        const server = new Puppet(world, 'server', 'az1', {
          onBoot: (host: Host) => {
            host.listen(1, (connection) => {
              const ear = new Ear(host)
              ear.connection = connection
              server.accepted.push(ear)
              if (lazy) connection.pause()
              return ear
            })
          },
        })
        const middle = new Puppet(world, 'middle', 'az2', {
          onBoot: (host: Host) => {
            host.listen(1, (inbound: Connection) => {
              host.setTimer(thinksMs, () => host.forward(inbound, { host: server.address, port: 1 }, { onClose: () => {} }))
              inbound.pause()
              return new Ear(host)
            })
          },
        })
        const client = new Puppet(world, 'client', 'internet')
        const near = client.connect(middle)
        const there: Buffer[] = []
        const back: Buffer[] = []
        for (let i = 0; i < 150; i++) {
          world.at(ms(i * 40), () => {
            const bytes = Buffer.alloc(1 + ((i * 7919) % 3000), i)
            there.push(bytes)
            near.connection!.write(bytes)
            const far = server.accepted[0]
            if (far === undefined) return
            if (lazy && i % 3 === 0) far.connection!.resume()
            else if (lazy) far.connection!.pause()
            back.push(bytes.subarray(1))
            far.connection!.write(bytes.subarray(1))
          })
        }
        for (const { kind, leg, fromMs, forMs } of list) {
          const [from, to] = leg
          world.at(ms(fromMs), () => {
            const heal =
              kind === 'pause'
                ? world.apply({ kind: 'pause', machines: [to] })
                : kind === 'loss' || kind === 'slow'
                  ? world.apply({
                      kind: 'link',
                      from: [from],
                      to: [to],
                      addedLatencyMs: kind === 'slow' ? 70 : 0,
                      lossProbability: kind === 'loss' ? 0.3 : 0,
                    })
                  : kind === 'back'
                    ? world.apply({ kind: 'partition', from: [to], to: [from], bothWays: false })
                    : world.apply({ kind: 'partition', from: [from], to: [to], bothWays: kind === 'both' })
            world.at(ms(fromMs + forMs), heal)
          })
        }
        const checkPrefixes = () => {
          const far = server.accepted[0]
          if (far === undefined) return
          expect(Buffer.concat(there).subarray(0, far.size).equals(Buffer.concat(far.chunks))).toBe(true)
          expect(Buffer.concat(back).subarray(0, near.size).equals(Buffer.concat(near.chunks))).toBe(true)
        }
        for (let at = 500; at < 8000; at += 500) world.at(ms(at) + 1, checkPrefixes)
        world.run(seconds(10))
        for (const far of server.accepted) far.connection!.resume()
        world.run(seconds(100))
        checkPrefixes()
        expect([near.closes, server.accepted.length]).toEqual([[], 1])
        expect([server.accepted[0]!.size, near.size]).toEqual([Buffer.concat(there).length, Buffer.concat(back).length])
      }),
      { numRuns: 60 },
    )
  })
})
