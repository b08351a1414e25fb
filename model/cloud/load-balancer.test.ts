import { describe, expect, test } from 'vitest'
import { defaultSettings } from '../settings.ts'
import { Edge, targets } from './edge.test-support.ts'

const { probeIntervalMs, probeTimeoutMs } = defaultSettings.loadBalancer

describe('a load balancer', () => {
  test('joins clients and targets, byte for byte, both ways', () => {
    const edge = new Edge()
    edge.runTo(5)
    const [client] = edge.connect(1)
    edge.runTo(5.5)
    client!.connection.write(Buffer.from(', world'))
    edge.runTo(6)
    expect(client!.received).toBe(`${client!.target};hello, world`)
    expect(targets.map(({ name }) => name)).toContain(client!.target)
    expect(client!.closed).toBeUndefined()
  })

  test('spreads connections evenly over the targets of all zones', () => {
    const edge = new Edge()
    edge.runTo(5)
    edge.connect(90)
    edge.runTo(8)
    expect(targets.map(({ name }) => edge.countOf(name))).toEqual([30, 30, 30])
  })

  test('gives a new connection to the target with the fewest, when clients have left', () => {
    const edge = new Edge()
    edge.runTo(5)
    edge.connect(30)
    edge.runTo(6)
    const leaving = edge.clients.filter(({ target }) => target === 'proxy-2')
    for (const { connection } of leaving) connection.close()
    edge.runTo(7)
    const joined = edge.connect(10)
    edge.runTo(8)
    expect(joined.map(({ target }) => target)).toEqual(Array(10).fill('proxy-2'))
  })

  test('calls each target healthy after its first probe', () => {
    const edge = new Edge()
    edge.runTo(2.5)
    expect(edge.eventsOf('target-state-changed').map(({ event }) => event)).toEqual(
      expect.arrayContaining(targets.map(({ name }) => ({ kind: 'target-state-changed', target: name, healthy: true }))),
    )
    expect(edge.eventsOf('target-state-changed')).toHaveLength(3)
  })

  test('takes connections before any target was probed', () => {
    const edge = new Edge()
    const clients = edge.connect(6)
    edge.runTo(3)
    expect(clients.every(({ target, closed }) => target !== '' && closed === undefined)).toBe(true)
    expect(edge.world.goals.has('load balancer fails open')).toBe(true)
  })

  test('finds a target without power by its probes, resets its connections, and sends nobody there', () => {
    const edge = new Edge()
    edge.runTo(10)
    edge.connect(30)
    edge.runTo(12)
    edge.world.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    edge.runTo(12 + (2 * probeIntervalMs + probeTimeoutMs) / 1000 + 0.2)
    const out = edge.eventsOf('target-state-changed').filter(({ timeUs }) => timeUs > 12_000_000)
    expect(out.map(({ event }) => event)).toEqual([{ kind: 'target-state-changed', target: 'proxy-2', healthy: false }])
    expect(out[0]!.timeUs).toBeGreaterThan(12_000_000 + (probeIntervalMs + probeTimeoutMs) * 1000)
    expect(edge.eventsOf('connections-reset').map(({ event }) => event)).toEqual([
      { kind: 'connections-reset', target: 'proxy-2', count: 10 },
    ])
    const lost = edge.clients.filter(({ target }) => target === 'proxy-2')
    expect(lost.map(({ closed }) => closed)).toEqual(Array(10).fill('reset'))
    expect(edge.clients.filter(({ target }) => target !== 'proxy-2').every(({ closed }) => closed === undefined)).toBe(true)
    const joined = edge.connect(20)
    edge.runTo(20)
    expect(joined.every(({ target, closed }) => target !== 'proxy-2' && target !== '' && closed === undefined)).toBe(true)
  })

  test('takes a target back after two good probes in a row', () => {
    const edge = new Edge({ settings: { slowStartMs: 0 } })
    edge.runTo(10)
    const heal = edge.world.apply({ kind: 'crash', machines: ['proxy-2'] })
    edge.runTo(20)
    heal()
    edge.runTo(20 + (2 * probeIntervalMs) / 1000 + 0.1)
    const states = edge.eventsOf('target-state-changed').filter(({ timeUs }) => timeUs > 10_000_000)
    expect(states.map(({ event }) => event)).toEqual([
      { kind: 'target-state-changed', target: 'proxy-2', healthy: false },
      { kind: 'target-state-changed', target: 'proxy-2', healthy: true },
    ])
    expect(states[1]!.timeUs).toBeGreaterThan(20_000_000 + probeIntervalMs * 1000)
    edge.connect(3)
    edge.runTo(26)
    expect(edge.countOf('proxy-2')).toBe(1)
  })

  test('keeps a target that fails a single probe', () => {
    const edge = new Edge()
    edge.runTo(10)
    edge.connect(9)
    edge.runTo(11)
    // Long enough to meet one round of probes and to outlast its timeout, too short for two.
    const heal = edge.world.apply({ kind: 'partition', from: ['load-balancer-1'], to: ['proxy-2'], bothWays: true })
    edge.runTo(11 + probeIntervalMs / 1000)
    heal()
    edge.runTo(20)
    expect(edge.eventsOf('target-state-changed').filter(({ timeUs }) => timeUs > 10_000_000)).toEqual([])
    expect(edge.eventsOf('connections-reset')).toEqual([])
  })

  test('sends to any target when all look dead, since the probes may be what is broken', () => {
    const edge = new Edge()
    edge.runTo(5)
    const heal = edge.world.apply({
      kind: 'partition',
      from: ['load-balancer-1'],
      to: ['proxy-1', 'proxy-2', 'proxy-3'],
      bothWays: true,
    })
    edge.runTo(12)
    expect(edge.eventsOf('target-state-changed').filter(({ timeUs }) => timeUs > 5_000_000)).toHaveLength(3)
    heal()
    const clients = edge.connect(9)
    edge.runTo(13)
    expect(clients.every(({ target }) => target !== '')).toBe(true)
  })

  test('closes the connection of a client whose target refuses, and leaves the verdict to the probes', () => {
    const edge = new Edge()
    edge.runTo(10)
    edge.world.apply({ kind: 'crash', machines: ['proxy-1', 'proxy-2', 'proxy-3'] })
    const [client] = edge.connect(1)
    edge.runTo(10.3)
    expect(client!.closed).toBe('reset')
    expect(edge.eventsOf('target-state-changed').filter(({ timeUs }) => timeUs > 10_000_000)).toEqual([])
  })

  test('probes in few events', () => {
    const edge = new Edge()
    edge.runTo(10)
    const before = edge.world.counters().events
    edge.runTo(20)
    // Five rounds of three probes, each a SYN, its answer and an RST, and two timers a round.
    expect(edge.world.counters().events - before).toBeLessThanOrEqual(5 * (3 * 4 + 3))
  })

  test('leaves the connections of a dead target alone where it is told to', () => {
    const edge = new Edge({ settings: { resetUnhealthy: false } })
    edge.runTo(10)
    edge.connect(9)
    edge.runTo(12)
    edge.world.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    edge.runTo(20)
    expect(edge.eventsOf('target-state-changed').at(-1)!.event).toMatchObject({ target: 'proxy-2', healthy: false })
    expect(edge.eventsOf('connections-reset')).toEqual([])
    expect(edge.countOf('proxy-2')).toBe(3)
  })

  test('forgets a connection on which nothing was sent for its idle time: what is sent then gets RST', () => {
    const edge = new Edge({ settings: { idleTimeoutMs: 60_000 } })
    edge.runTo(5)
    const [idle, busy] = edge.connect(2)
    for (let second = 35; second <= 185; second += 30) {
      edge.runTo(second)
      busy!.connection.write(Buffer.from('.'))
    }
    edge.runTo(190)
    expect([idle!.closed, busy!.closed]).toEqual([undefined, undefined])
    idle!.connection.write(Buffer.from('late'))
    edge.runTo(191)
    expect([idle!.closed, busy!.closed]).toEqual(['reset', undefined])
    expect(idle!.received).not.toContain('late')
  })

  test('stays in its own zone where cross-zone balancing is off, also when that has no healthy target', () => {
    const edge = new Edge({ settings: { crossZone: false } })
    edge.runTo(5)
    edge.connect(20)
    edge.runTo(6)
    expect(targets.map(({ name }) => edge.countOf(name))).toEqual([20, 0, 0])
    edge.world.apply({ kind: 'crash', machines: ['proxy-1'] })
    edge.runTo(15)
    const [client] = edge.connect(1)
    edge.runTo(16)
    expect(client!.closed).toBe('reset')
    expect(edge.world.goals.has('load balancer fails open')).toBe(true)
  })
})

describe('a probe', () => {
  /** A target that takes connections and never answers, as long as it is probed so. */
  const statesWith = (probe: 'tcp' | 'mqtt') => {
    const edge = new Edge({ settings: { probe } })
    edge.runTo(10)
    const clients = edge.connect(9)
    edge.runTo(11)
    edge.hanging.add('proxy-2')
    edge.runTo(20)
    const states = edge.eventsOf('target-state-changed').filter(({ timeUs }) => timeUs > 11_000_000)
    return { edge, clients, states: states.map(({ event }) => event) }
  }

  test('by MQTT finds a target that answers SYN and hangs, and its clients are sent away', () => {
    const { edge, clients, states } = statesWith('mqtt')
    expect(states).toEqual([{ kind: 'target-state-changed', target: 'proxy-2', healthy: false }])
    expect(clients.filter(({ closed }) => closed === 'reset').map(({ target }) => target)).toEqual(Array(3).fill('proxy-2'))
    edge.hanging.clear()
    edge.runTo(30)
    expect(edge.eventsOf('target-state-changed').at(-1)!.event).toMatchObject({ target: 'proxy-2', healthy: true })
  })

  test('by MQTT finds a target that answers something else', () => {
    const edge = new Edge({ settings: { probe: 'mqtt' } })
    edge.strange.add('proxy-3')
    edge.runTo(10)
    expect(edge.eventsOf('target-state-changed').map(({ event }) => event)).toContainEqual({
      kind: 'target-state-changed',
      target: 'proxy-3',
      healthy: false,
    })
  })

  test('by SYN does not', () => {
    const { clients, states } = statesWith('tcp')
    expect(states).toEqual([])
    expect(clients.every(({ closed }) => closed === undefined)).toBe(true)
  })

  test('by MQTT is the CONNECT that every server must refuse: 3.1.1, no client id, a session to keep [MQTT-3.1.3-8]', () => {
    const edge = new Edge({ settings: { probe: 'mqtt' } })
    edge.runTo(5)
    expect(new Set(edge.heard.map(({ bytes }) => bytes))).toEqual(new Set(['100c00044d51545404000000' + '0000']))
  })
})
