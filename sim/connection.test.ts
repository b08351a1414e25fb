import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'

function pair(options = {}) {
  const world = newWorld(options)
  const server = new Puppet(world, 'server', 'az1')
  const client = new Puppet(world, 'client', 'az2')
  return { world, server, client }
}

function connected(options = {}) {
  const { world, server, client } = pair(options)
  const near = client.connect(server)
  world.run(ms(10))
  const far = server.accepted[0]!
  return { world, server, client, near, far }
}

describe('a handshake', () => {
  test('opens the calling end one round trip later, the accepting one after half of it', () => {
    const { world, server, client } = pair()
    const near = client.connect(server)
    world.run(500)
    expect([server.accepted.length, near.openings]).toEqual([1, 0])
    world.run(1000)
    expect(near.openings).toBe(1)
    expect(server.accepted[0]!.connection!.remote.host).toBe(client.address)
  })

  test('is refused after a round trip where nobody listens, and where the process is dead', () => {
    const { world, server, client } = pair()
    world.apply({ kind: 'crash', machines: ['server'] })
    const near = client.connect(server)
    world.run(ms(5))
    expect(near.closes).toEqual(['refused'])
    expect(near.closedAtMs).toBe(1)
  })

  test('meets silence at a machine without power, and ends by timeout after 63 s', () => {
    const { world, server, client } = pair()
    world.apply({ kind: 'power-loss', machines: ['server'] })
    const near = client.connect(server)
    world.run(seconds(62))
    expect(near.closes).toEqual([])
    world.run(seconds(64))
    expect(near.closes).toEqual(['timeout'])
    expect(near.closedAtMs).toBe(63_000)
  })

  test('meets silence at an address that nobody has', () => {
    const { world, client } = pair()
    const closes: string[] = []
    client.host.connect({ host: '10.9.9.9', port: 1 }, { onData: () => {}, onClose: (_, reason) => closes.push(reason) })
    world.run(seconds(70))
    expect(closes).toEqual(['timeout'])
  })

  test('gets through by a later SYN once the way is free: at 1, 3, 7 s and so on', () => {
    const { world, server, client } = pair()
    const heal = world.apply({ kind: 'partition', from: ['client'], to: ['server'], bothWays: true })
    world.at(ms(1500), heal)
    const near = client.connect(server)
    world.run(ms(2999))
    expect(near.openings).toBe(0)
    world.run(ms(3001))
    expect([near.openings, server.accepted.length]).toEqual([1, 1])
  })

  test('does not happen where only the way back is cut', () => {
    const { world, server, client } = pair()
    world.apply({ kind: 'partition', from: ['server'], to: ['client'], bothWays: false })
    const near = client.connect(server)
    world.run(seconds(2))
    expect([near.openings, server.accepted.length]).toEqual([0, 0])
  })

  test('that the caller gives up leaves no connection at the other side', () => {
    const { world, server, client } = pair()
    const near = client.connect(server)
    world.run(700)
    near.connection!.reset()
    world.run(ms(5))
    expect(near.openings).toBe(0)
    expect(server.accepted[0]!.closes).toEqual(['reset'])
  })
})

describe('bytes', () => {
  test('arrive in order and complete, in chunks that do not depend on what was written when', () => {
    fc.assert(
      fc.property(fc.integer(), fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 40 }), (seed, sizes) => {
        const { world, near, far } = connected({ seed })
        const sent = sizes.map((size, index) => Buffer.alloc(size, index + 1))
        for (const chunk of sent) near.connection!.write(chunk)
        world.run(seconds(5))
        expect(Buffer.concat(far.chunks).equals(Buffer.concat(sent))).toBe(true)
      }),
      { numRuns: 40 },
    )
  })

  test('are cut in two now and then', () => {
    const { world, near, far } = connected()
    for (let i = 0; i < 2000; i++) {
      world.at(ms(20 + i), () => near.connection!.write(Buffer.alloc(100)))
    }
    world.run(seconds(3))
    expect(far.size).toBe(200_000)
    expect(far.chunks.length).toBeGreaterThan(2010)
    expect(far.chunks.length).toBeLessThan(2100)
  })

  test('wait for a paused reader: the window fills, then the backlog, then write says so and onDrain follows', () => {
    const { world, near, far } = connected()
    far.connection!.pause()
    const chunk = Buffer.alloc(16 * 1024)
    const answers = Array.from({ length: 10 }, () => near.connection!.write(chunk))
    expect(answers).toEqual([true, true, true, true, true, true, true, true, false, false])
    world.run(ms(20))
    expect([far.size, near.drains]).toEqual([0, 0])
    far.connection!.resume()
    world.run(ms(40))
    expect([far.size, near.drains]).toEqual([160 * 1024, 1])
  })

  test('written before the connection is open go out when it is', () => {
    const { world, server, client } = pair()
    const near = client.connect(server)
    near.connection!.write(Buffer.from('early'))
    world.run(ms(5))
    expect(server.accepted[0]!.text).toBe('early')
  })

  test('written before close arrive before the peer is told that it ended', () => {
    const { world, near, far } = connected()
    near.connection!.write(Buffer.alloc(200_000))
    near.connection!.close()
    world.run(ms(50))
    expect([far.size, far.closes, near.closes]).toEqual([200_000, ['ended'], []])
  })
})

describe('the end of a connection', () => {
  test('by a crash is an RST to the peer at once', () => {
    const { world, near } = connected()
    world.apply({ kind: 'crash', machines: ['server'] })
    world.run(ms(11))
    expect(near.closes).toEqual(['reset'])
    expect(near.closedAtMs).toBe(10.5)
  })

  test('by a power loss goes unnoticed by who sends nothing, and is a reset for who sends after the machine is back', () => {
    const { world, near } = connected()
    const heal = world.apply({ kind: 'power-loss', machines: ['server'] })
    world.run(seconds(300))
    expect(near.closes).toEqual([])
    heal()
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(301))
    expect(near.closes).toEqual(['reset'])
  })

  test('is a timeout for who sent and heard nothing for 120 s', () => {
    const { world, near } = connected()
    world.apply({ kind: 'power-loss', machines: ['server'] })
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(119))
    expect(near.closes).toEqual([])
    world.run(seconds(121))
    expect(near.closes).toEqual(['timeout'])
  })

  test('is learned by retransmission from a machine that came back without memory of it', () => {
    const { world, near } = connected()
    const heal = world.apply({ kind: 'power-loss', machines: ['server'] })
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(10))
    heal()
    world.run(seconds(30))
    expect(near.closes).toEqual(['reset'])
  })

  test('may get lost: a crash behind a cut leaves the peer with a connection that answers RST later', () => {
    const { world, near } = connected()
    const heal = world.apply({ kind: 'partition', from: ['client'], to: ['server'], bothWays: true })
    world.apply({ kind: 'crash', machines: ['server'] })
    world.run(seconds(5))
    expect(near.closes).toEqual([])
    heal()
    world.run(seconds(6))
    expect(near.closes).toEqual([])
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(7))
    expect(near.closes).toEqual(['reset'])
  })
})

describe('a cut', () => {
  test('is not noticed where nothing is sent', () => {
    const { world, near, far } = connected()
    const heal = world.apply({ kind: 'partition', from: ['client'], to: ['server'], bothWays: true })
    world.run(seconds(1000))
    heal()
    near.connection!.write(Buffer.from('still here'))
    world.run(seconds(1001))
    expect([far.text, near.closes, far.closes]).toEqual(['still here', [], []])
  })

  test('holds what is sent, which a retransmission delivers in order once it is over', () => {
    const { world, near, far } = connected()
    const heal = world.apply({ kind: 'partition', from: ['client'], to: ['server'], bothWays: true })
    for (const text of ['a', 'b', 'c']) near.connection!.write(Buffer.from(text))
    world.run(seconds(2))
    expect(far.text).toBe('')
    heal()
    near.connection!.write(Buffer.from('d'))
    world.run(seconds(5))
    expect([far.text, near.closes]).toEqual(['abcd', []])
  })

  test('of 120 s ends the connection for the sender; the other end never hears of it', () => {
    const { world, near, far } = connected()
    world.apply({ kind: 'partition', from: ['client'], to: ['server'], bothWays: true })
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(200))
    expect([near.closes, far.closes, far.text]).toEqual([['timeout'], [], ''])
  })

  test('of the way back lets bytes through and their acknowledgement not: the sender times out', () => {
    const { world, near, far } = connected()
    world.apply({ kind: 'partition', from: ['server'], to: ['client'], bothWays: false })
    near.connection!.write(Buffer.from('x'))
    world.run(seconds(10))
    expect([far.text, near.closes]).toEqual(['x', []])
    world.run(seconds(125))
    expect(near.closes).toEqual(['timeout'])
  })

  test('of the way back that ends in time costs nothing: the window is given back', () => {
    const { world, near, far } = connected()
    const heal = world.apply({ kind: 'partition', from: ['server'], to: ['client'], bothWays: false })
    for (let i = 0; i < 20; i++) near.connection!.write(Buffer.alloc(16 * 1024))
    world.run(seconds(2))
    expect(far.size).toBe(64 * 1024)
    heal()
    world.run(seconds(10))
    expect([far.size, near.closes]).toEqual([320 * 1024, []])
  })

  test('holds the FIN too', () => {
    const { world, near, far } = connected()
    const heal = world.apply({ kind: 'partition', from: ['client'], to: ['server'], bothWays: true })
    near.connection!.write(Buffer.from('last'))
    near.connection!.close()
    world.run(seconds(1))
    expect(far.closes).toEqual([])
    heal()
    world.run(seconds(3))
    expect([far.text, far.closes]).toEqual(['last', ['ended']])
  })
})

describe('a bad link', () => {
  test('adds its latency while it is in force', () => {
    const { world, near, far } = connected()
    const heal = world.apply({ kind: 'link', from: ['server'], to: ['client'], addedLatencyMs: 100, lossProbability: 0 })
    near.connection!.write(Buffer.from('a'))
    world.run(ms(110))
    expect(far.text).toBe('')
    world.run(ms(111))
    expect(far.text).toBe('a')
    heal()
    near.connection!.write(Buffer.from('b'))
    world.run(ms(112))
    expect(far.text).toBe('ab')
  })

  test('holds up the SYN and its answer', () => {
    const { world, server, client } = pair()
    world.apply({ kind: 'link', from: ['server'], to: ['client'], addedLatencyMs: 100, lossProbability: 0 })
    const near = client.connect(server)
    world.run(ms(200))
    expect([server.accepted.length, near.openings]).toEqual([1, 0])
    world.run(ms(203))
    expect(near.openings).toBe(1)
  })

  test('loses SYNs and their answers alike: where each is lost half the time, a quarter get through at once', () => {
    const { world, server, client } = pair()
    world.apply({ kind: 'link', from: ['server'], to: ['client'], addedLatencyMs: 0, lossProbability: 0.5 })
    const ends = Array.from({ length: 400 }, () => client.connect(server))
    world.run(ms(500))
    const opened = ends.filter((end) => end.openings === 1).length
    expect(opened).toBeGreaterThan(70)
    expect(opened).toBeLessThan(130)
  })

  test('that loses packets delays what is lost and what comes after it, and loses no byte', () => {
    const { world, near, far } = connected()
    world.apply({ kind: 'link', from: ['server'], to: ['client'], addedLatencyMs: 0, lossProbability: 0.3 })
    let late = 0
    for (let i = 0; i < 200; i++) {
      world.at(ms(20) + ms(100) * i, () => near.connection!.write(Buffer.from([i])))
      world.at(ms(70) + ms(100) * i, () => {
        if (far.size < i + 1) late++
      })
    }
    world.run(seconds(60))
    expect(Buffer.concat(far.chunks)).toEqual(Buffer.from(Array.from({ length: 200 }, (_, i) => i)))
    expect(late).toBeGreaterThan(50)
    expect(late).toBeLessThan(180)
  })
})
