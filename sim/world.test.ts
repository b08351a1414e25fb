import { describe, expect, test } from 'vitest'
import type { Host } from '../model/host.ts'
import type { SocketObserver } from '../model/world.ts'
import { ms, newWorld, Puppet, seconds } from './puppets.test-support.ts'
import { createSimWorld, type SimOptions, type SimWorld } from './world.ts'

const silent: SocketObserver = { onConnect: () => {}, onOpen: () => {}, onSent: () => {}, onReceived: () => {}, onClosed: () => {} }

/** Clients that talk to an echo server at random times, which writes down what it hears; a crash and a cut in between. */
function busyWorld(
  options: Partial<SimOptions> = {},
  fields: { readonly observe?: boolean; readonly prepare?: (world: SimWorld) => void } = {},
) {
  const world = createSimWorld({ seed: 1, recording: false, ...options })
  if (fields.observe === true) {
    world.observeSockets('client', silent)
    world.observe({ onSynced: () => {}, onFault: () => {} })
  }
  fields.prepare?.(world)
  const server = new Puppet(world, 'server', 'az1', {
    cores: 2,
    onBoot: (host) => {
      host.listen(1, () => ({
        onData: (connection, bytes) => {
          host.work('packet', 1)
          host.files.append('log', bytes)
          host.files.sync('log', () => connection.write(bytes))
          if (host.recording) host.record({ kind: 'heard' })
        },
        onClose: () => {},
      }))
    },
  })
  const heard: string[] = []
  const clientBoot = (host: Host) => {
    const jitter = host.random('jitter')
    const connect = () => {
      const connection = host.connect(
        { host: server.address, port: 1 },
        {
          onData: (_, bytes) => heard.push(`${world.nowUs()} ${host.machine} ${bytes.length}`),
          onClose: () => host.setTimer(jitter.next() * 100, connect),
        },
      )
      const talk = () => {
        connection.write(Buffer.alloc(1 + jitter.below(200), jitter.below(256)))
        host.setTimer(jitter.next() * 50, talk)
      }
      talk()
    }
    connect()
  }
  for (const name of ['client-1', 'client-2', 'client-3']) new Puppet(world, name, 'internet', { role: 'client', onBoot: clientBoot })
  world.at(seconds(1), () => world.apply({ kind: 'restart', machines: ['server'] }))
  world.at(seconds(2), () => world.apply({ kind: 'partition', from: ['server'], to: ['client-2'], bothWays: true }))
  return { world, heard }
}

describe('a run', () => {
  test('of one seed is the same every time; of another seed it is not', () => {
    const digest = (seed: number) => {
      const { world } = busyWorld({ seed })
      world.run(seconds(4))
      return world.counters()
    }
    expect(digest(1)).toEqual(digest(1))
    expect(digest(1).digest).not.toBe(digest(2).digest)
    expect(digest(1).events).toBeGreaterThan(500)
    expect(digest(1).digest).toMatch(/^[0-9a-f]{16}$/)
  })

  test('is the same with recording, observers and a listener to events', () => {
    const plain = busyWorld()
    const watched = busyWorld({ recording: true }, { observe: true })
    const kinds = new Set<string>()
    watched.world.onEvent = (_time, _sequence, kind, machine, _hash, detail) => kinds.add(`${kind} ${machine} ${detail().length > 0}`)
    for (const { world } of [plain, watched]) world.run(seconds(4))
    expect(watched.world.counters()).toEqual(plain.world.counters())
    expect(plain.world.history).toEqual([])
    expect(watched.world.history.filter(({ event }) => event.kind === 'heard').length).toBeGreaterThan(50)
    expect(kinds).toContain('data server true')
  })

  test('is the same in one step and in many', () => {
    const [once, often] = [busyWorld().world, busyWorld().world]
    once.run(seconds(4))
    for (let us = 0; us <= seconds(4); us += 1237) often.run(us)
    often.run(seconds(4))
    expect(often.counters()).toEqual(once.counters())
  })

  test('keeps the numbers of everybody else when a machine is added', () => {
    const alone = busyWorld()
    const accompanied = busyWorld({}, { prepare: () => {} })
    accompanied.world.at(ms(500), () => {
      const stranger = new Puppet(accompanied.world, 'stranger', 'az3')
      for (let i = 0; i < 50; i++) {
        stranger.host.random('anything').next()
        stranger.connect(stranger)
      }
    })
    for (const { world } of [alone, accompanied]) world.run(seconds(4))
    expect(accompanied.heard).toEqual(alone.heard)
    expect(accompanied.world.counters().digest).not.toBe(alone.world.counters().digest)
  })

  test('keeps the numbers of everybody else when a fault is taken out', () => {
    const deaf = { observe: false }
    const [faulty, healthy] = [busyWorld({}, deaf), busyWorld({}, deaf)]
    faulty.world.at(ms(100), () => faulty.world.apply({ kind: 'partition', from: ['client-3'], to: ['server'], bothWays: true }))
    faulty.world.at(ms(100), () =>
      faulty.world.apply({ kind: 'link', from: ['client-3'], to: ['server'], addedLatencyMs: 1, lossProbability: 0.5 }),
    )
    for (const { world } of [faulty, healthy]) world.run(ms(900))
    const of = (heard: readonly string[], name: string) => heard.filter((line) => line.includes(name))
    const sizes = (lines: readonly string[]) => lines.map((line) => line.split(' ')[2])
    for (const name of ['client-1', 'client-2']) expect(sizes(of(faulty.heard, name))).toEqual(sizes(of(healthy.heard, name)))
    expect(of(faulty.heard, 'client-3').length).toBeLessThan(of(healthy.heard, 'client-3').length)
  })

  test('stops early where it is asked to, and goes on from there', () => {
    const [stopped, straight] = [busyWorld(), busyWorld()]
    stopped.world.run(seconds(4), () => stopped.heard.length >= 10)
    expect(stopped.heard).toHaveLength(10)
    stopped.world.run(seconds(4))
    straight.world.run(seconds(4))
    expect(stopped.heard).toEqual(straight.heard)
    expect(stopped.world.nowUs()).toBe(seconds(4))
  })

  test('at rest has no events', () => {
    const { world } = { world: newWorld() }
    const [a, b] = [new Puppet(world, 'a', 'az1'), new Puppet(world, 'b', 'az2')]
    a.connect(b)
    world.run(seconds(1))
    const before = world.counters().events
    world.run(seconds(100_000))
    expect(world.counters().events).toBe(before)
  })

  test('lets nothing reach the real clock, chance or event loop, and puts them back', () => {
    const world = newWorld()
    const caught: string[] = []
    const acts: (() => unknown)[] = [
      () => Date.now(),
      () => new Date(),
      () => Math.random(),
      () => setTimeout(() => {}, 0),
      () => setInterval(() => {}, 1000),
      () => setImmediate(() => {}),
      () => queueMicrotask(() => {}),
      () => process.nextTick(() => {}),
    ]
    world.at(5, () => {
      for (const act of acts) {
        try {
          act()
        } catch (error) {
          caught.push((error as Error).message)
        }
      }
      expect(new Date(0).getTime()).toBe(0)
    })
    world.run(10)
    expect(caught).toHaveLength(acts.length)
    for (const message of caught) expect(message).toContain('during a simulated run')
    expect(Date.now()).toBeGreaterThan(0)
    expect(Math.random()).toBeLessThan(1)
  })
})

describe('a failure', () => {
  test('of a handler ends its process, with the stack, and the world goes on', () => {
    const { world, heard } = busyWorld()
    const ended: string[] = []
    world.observe({ onProcessEnded: (machine, cause, error) => ended.push(`${machine} ${cause} ${error?.split('\n')[0]}`) })
    const broken = new Puppet(world, 'broken', 'az1')
    let after = 0
    broken.host.setTimer(10, () => {
      throw new Error('a bug')
    })
    broken.host.setTimer(20, () => after++)
    world.run(ms(900))
    expect(ended).toEqual(['broken threw Error: a bug'])
    expect([after, heard.length > 10]).toEqual([0, true])
  })

  test('of an observer or of a callback of the world leaves the run', () => {
    const world = newWorld()
    world.observeSockets('client', {
      ...silent,
      onSent: () => {
        throw new Error('a check is broken')
      },
    })
    const server = new Puppet(world, 'server', 'az1')
    const client = new Puppet(world, 'client', 'az1', { role: 'client' })
    const near = client.connect(server)
    client.host.setTimer(5, () => near.connection!.write(Buffer.from('x')))
    expect(() => world.run(ms(10))).toThrow('a check is broken')
    world.at(ms(20), () => {
      throw new Error('so is the runner')
    })
    expect(() => world.run(ms(30))).toThrow('so is the runner')
  })

  test('to let time pass is found: a million events at one instant', () => {
    const world = newWorld()
    const ended: string[] = []
    world.observe({ onProcessEnded: (machine, cause) => ended.push(`${machine} ${cause}`) })
    const puppet = new Puppet(world, 'spinning', 'az1')
    const spin = () => puppet.host.setTimer(0, spin)
    puppet.host.setTimer(3, spin)
    expect(() => world.run(seconds(1))).toThrow(/livelock: more than 1000000 events at 3000 us, the last one at spinning/)
    expect(ended).toEqual(['spinning threw'])
  })
})

describe('observers of sockets', () => {
  test('are told when the other end wrote what is received, also through a load balancer', () => {
    const world = newWorld()
    const told: string[] = []
    world.observeSockets('client', {
      onConnect: (id, machine, label) => told.push(`connect ${id} ${machine} ${label}`),
      onOpen: (id, timeUs) => told.push(`open ${id} ${timeUs}`),
      onSent: (id, bytes, timeUs) => told.push(`sent ${id} ${bytes} ${timeUs}`),
      onReceived: (id, bytes, timeUs, sentAtUs) => told.push(`received ${id} ${bytes} ${timeUs} ${sentAtUs}`),
      onClosed: (id, reason, by, timeUs) => told.push(`closed ${id} ${reason} ${by} ${timeUs}`),
    })
    const server = new Puppet(world, 'server', 'az1')
    const balancer = new Puppet(world, 'balancer', 'az1', {
      onBoot: (host) => {
        host.listen(1, (inbound) => {
          host.forward(inbound, { host: server.address, port: 1 }, { onClose: () => {} })
          return { onData: () => {}, onClose: () => {} }
        })
      },
    })
    const client = new Puppet(world, 'client', 'internet', { role: 'client' })
    const near = client.connect(balancer, 'client-7')
    world.run(ms(100))
    near.connection!.write(Buffer.from('hello'))
    server.accepted[0]!.connection!.write(Buffer.from('welcome'))
    world.run(ms(200))
    world.apply({ kind: 'crash', machines: ['server'] })
    world.run(ms(300))
    expect(told).toEqual([
      'connect 1 client client-7',
      'open 1 40000',
      'sent 1 hello 100000',
      'received 1 welcome 120150 100000',
      'closed 1 reset peer 220150',
    ])
  })
})

describe('small things', () => {
  test('a wall clock jumps and drifts, the monotonic one does not', () => {
    const world = newWorld()
    const [a, b] = [new Puppet(world, 'a', 'az1'), new Puppet(world, 'b', 'az1')]
    world.run(seconds(10))
    expect([a.host.wallMs() - b.host.wallMs(), new Date(a.host.wallMs()).toISOString()]).toEqual([0, '2026-01-01T00:00:10.000Z'])
    world.jumpWallClock('a', -5000)
    world.driftWallClock('a', 100)
    world.run(seconds(110))
    expect(a.host.wallMs() - b.host.wallMs()).toBe(-4990)
    expect(a.host.nowMs()).toBe(110_000)
  })

  test('fault points are off, unless the world was asked for them', () => {
    const taken = (probability?: number) => {
      const world = newWorld(probability === undefined ? {} : { perturbations: { probability } })
      const { host } = new Puppet(world, 'a', 'az1')
      return Array.from({ length: 1000 }, () => host.perturb('slow path')).filter(Boolean).length
    }
    expect(taken()).toBe(0)
    expect(taken(0.2)).toBeGreaterThan(150)
    expect(taken(0.2)).toBeLessThan(250)
  })

  test('goals are counted in the order in which they were first reached', () => {
    const world = newWorld()
    const { host } = new Puppet(world, 'a', 'az1')
    for (const goal of ['second', 'first', 'second']) host.reached(goal)
    expect([...world.goals]).toEqual([
      ['second', 2],
      ['first', 1],
    ])
  })

  test('streams of one machine and purpose go on through a restart; others are their own', () => {
    const world = newWorld()
    const a = new Puppet(world, 'a', 'az1')
    const first = a.host.random('x').next()
    world.apply({ kind: 'restart', machines: ['a'] })
    expect(a.host.random('x').next()).not.toBe(first)
    const again = new Puppet(newWorld(), 'a', 'az1')
    expect(again.host.random('y').next()).not.toBe(first)
    expect(again.host.random('x').next()).toBe(first)
  })

  test('names and addresses are taken once', () => {
    const world = newWorld()
    const a = new Puppet(world, 'a', 'az1')
    expect(() => new Puppet(world, 'a', 'az1')).toThrow("a machine 'a' already")
    expect(() => new Puppet(world, 'b', 'az1', { address: a.address })).toThrow('belongs to a already')
  })
})
