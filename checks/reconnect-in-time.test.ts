import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const outage = { kind: 'zone-outage', zone: 'az1', form: 'power' } as const

/** One client that publishes to its own probe topic and gets it back. */
function probing(): { stage: Stage; client: StageConnection } {
  const stage = new Stage(clients(1))
  const client = stage.connected(0)
  client.subscribe('probe/client-0')
  probe(client, 0)
  stage.wait(9000)
  return { stage, client }
}

function probe(client: StageConnection, sequence: number): void {
  client.publish('probe/client-0', sequence)
  client.puback(sequence)
  client.deliver('probe/client-0', client.number, sequence)
}

function pass(stage: Stage, forMs: number): void {
  for (let ms = 0; ms < forMs; ms += 500) {
    stage.wait(500)
    stage.checks.sockets.onOpen(-1, stage.nowUs)
  }
}

describe('reconnect-in-time', () => {
  test('catches a client that does not come back', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    pass(stage, 13_000)
    client.close('self', 'timeout')
    pass(stage, 11_000)
    const result = stage.result('reconnect-in-time')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain(
      'client-0 was not served again by 32.000 s after zone az1 lost power at 9.000 s: it has no accepted connection',
    )
  })

  test('catches a client that is accepted and not served', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    pass(stage, 1000)
    client.close()
    pass(stage, 1000)
    const again = stage.connected(0, 4, { present: true })
    again.publish('probe/client-0', 1)
    again.puback(1)
    pass(stage, 10_000)
    const result = stage.result('reconnect-in-time')
    expect(result.violations.map((each) => each.signature)).toEqual(['reconnect-in-time: no message was delivered'])
  })

  test('catches a proxy that answers pings though it lost its brokers', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    pass(stage, 1000)
    client.publish('probe/client-0', 1)
    for (let second = 0; second < 30; second++) {
      client.send({ cmd: 'pingreq' })
      client.receive({ cmd: 'pingresp' })
      pass(stage, 1000)
    }
    expect(stage.result('reconnect-in-time').violations.map((each) => each.signature)).toEqual([
      'reconnect-in-time: no publish was acknowledged',
    ])
  })

  test('catches a client that was served too late', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    client.close()
    stage.wait(10_200)
    probe(stage.connected(0, 4, { present: true }), 1)
    expect(stage.result('reconnect-in-time').violationCount).toBe(1)
  })

  test('goes by the budget of the client where it has one of its own', () => {
    const budgets = [9000, 11_000].map((reconnectMs) => {
      const stage = new Stage(clients(1, { reconnectMs }))
      const client = stage.connected(0)
      client.subscribe('probe/client-0')
      probe(client, 0)
      stage.wait(9000)
      stage.apply(outage)
      client.close()
      stage.wait(10_200)
      probe(stage.connected(0, 4, { present: true }), 1)
      return stage.result('reconnect-in-time').violationCount
    })
    expect(budgets).toEqual([1, 0])
  })

  test('a client that comes back in time is served, and the time is split', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    pass(stage, 3000)
    client.close('self', 'timeout')
    stage.wait(400)
    const failed = stage.connection(0)
    stage.wait(2000)
    failed.close('self', 'timeout')
    stage.wait(600)
    const again = stage.connection(0)
    stage.wait(40)
    again.connect({ unanswered: true })
    stage.wait(200)
    again.connack(true)
    stage.wait(60)
    probe(again, 1)
    pass(stage, 60_000)
    expect(stage.result('reconnect-in-time')).toMatchObject({ verdict: 'held', exercised: 1 })
    const only = (ms: number) => ({ p50: ms, p90: ms, p99: ms, max: ms, count: 1 })
    expect(stage.checks.measures().recovery).toMatchObject({
      total: only(6300),
      detection: only(3000),
      backOffAndConnect: only(3040),
      edge: only(2000),
      backOff: only(1000),
      connect: only(40),
      sessionLoad: only(200),
      service: only(60),
    })
    expect(stage.checks.measures().reconnects).toBe(1)
  })

  test('who has no service when the next fault comes is measured from the first, though its time runs from the next', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    client.publish('probe/client-0', 1)
    stage.wait(8000)
    stage.heal(outage)
    stage.wait(2000)
    client.close('self', 'timeout')
    stage.wait(1000)
    probe(stage.connected(0, 4, { present: true }), 2)
    pass(stage, 60_000)
    expect(stage.verdict('reconnect-in-time')).toBe('held')
    expect(stage.checks.measures().recovery).toMatchObject({ total: { max: 11_000 }, detection: { max: 10_000 } })
  })

  test('who was served before the next fault came is measured from that', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    stage.wait(100)
    probe(client, 1)
    stage.wait(8000)
    stage.heal(outage)
    stage.wait(2000)
    client.close('self', 'timeout')
    stage.wait(1000)
    probe(stage.connected(0, 4, { present: true }), 2)
    pass(stage, 60_000)
    expect(stage.checks.measures().recovery).toMatchObject({ total: { max: 3000 }, detection: { max: 2000 } })
  })

  test('a connection that was open before the fault came takes no time to open', () => {
    const { stage, client } = probing()
    client.close()
    stage.wait(500)
    const again = stage.connection(0)
    again.connect({ unanswered: true })
    stage.wait(300)
    stage.apply(outage)
    stage.wait(200)
    again.connack(true)
    stage.wait(60)
    probe(again, 1)
    const only = (ms: number) => ({ p50: ms, p90: ms, p99: ms, max: ms, count: 1 })
    expect(stage.checks.measures().recovery).toMatchObject({
      total: only(260),
      detection: only(0),
      backOffAndConnect: only(0),
      edge: only(0),
      backOff: only(0),
      connect: only(0),
      sessionLoad: only(200),
      service: only(60),
    })
  })

  test('a client that notices late by its keepalive has its time from then; one told by RST has it from the RST', () => {
    const late = probing()
    late.stage.apply(outage)
    pass(late.stage, 12_500)
    late.client.close('self', 'timeout')
    pass(late.stage, 9500)
    probe(late.stage.connected(0, 4, { present: true }), 1)
    expect(late.stage.verdict('reconnect-in-time')).toBe('held')
    const told = probing()
    told.stage.apply(outage)
    told.client.close('peer', 'reset')
    pass(told.stage, 12_000)
    probe(told.stage.connected(0, 4, { present: true }), 1)
    expect(told.stage.verdict('reconnect-in-time')).toBe('violated')
  })

  test.each([
    [undefined, 1],
    [[{ fromMs: 12_000, toMs: 25_000 }], 0],
    [[{ fromMs: 1000, toMs: 8000 }], 1],
  ])('a client that was away by its own decision has its time from its return (%j)', (away, violations) => {
    const stage = new Stage(clients(1, away === undefined ? {} : { away }))
    const client = stage.connected(0)
    client.subscribe('probe/client-0')
    probe(client, 0)
    stage.wait(9000)
    stage.apply(outage)
    pass(stage, 3000)
    client.close('self')
    pass(stage, 21_000)
    const again = stage.connected(0, 4, { present: true })
    probe(again, 1)
    expect(stage.result('reconnect-in-time').violationCount).toBe(violations)
  })

  test('a client whose last answer was on its way when the fault came has the time of its keepalive', () => {
    const { stage, client } = probing()
    client.publish('probe/client-0', 1)
    stage.apply(outage)
    client.puback(1)
    pass(stage, 12_900)
    client.close('self', 'timeout')
    pass(stage, 500)
    probe(stage.connected(0, 4, { present: true }), 2)
    expect(stage.result('reconnect-in-time')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('a client that does not come back after it was away is late all the same', () => {
    const stage = new Stage(clients(1, { away: [{ fromMs: 12_000, toMs: 25_000 }] }))
    const client = stage.connected(0)
    client.subscribe('probe/client-0')
    probe(client, 0)
    stage.wait(9000)
    stage.apply(outage)
    pass(stage, 3000)
    client.close('self')
    pass(stage, 24_000)
    expect(stage.result('reconnect-in-time').violations.map(({ text }) => text)[0]).toContain('was not served again by 35.000 s')
  })

  test('a second fault starts the clock anew', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    client.close()
    pass(stage, 8000)
    stage.apply({ kind: 'restart', machines: ['proxy-2'] })
    pass(stage, 8000)
    probe(stage.connected(0, 4, { present: true }), 1)
    expect(stage.verdict('reconnect-in-time')).toBe('held')
  })

  test.each<[string, Fault]>([
    ['a client', { kind: 'partition', from: ['client-machine-0'], to: ['dns-1'], bothWays: true }],
    ['a load balancer', { kind: 'connection-reset', from: ['load-balancer-1'], to: ['dns-1'] }],
    ['a proxy', { kind: 'pause', machines: ['dns-1', 'proxy-3'] }],
    ['a broker', { kind: 'restart', machines: ['broker-2'] }],
    ['a volume', { kind: 'disk-stall', machines: ['volume-2'] }],
    ['a nameserver', { kind: 'crash', machines: ['nameserver-2'] }],
    ['a zone', { kind: 'zone-outage', zone: 'az3', form: 'isolated' }],
  ])('a fault of %s starts the clock anew', (_, second) => {
    const { stage, client } = probing()
    stage.apply(outage)
    client.close()
    pass(stage, 8000)
    stage.apply(second)
    pass(stage, 8000)
    probe(stage.connected(0, 4, { present: true }), 1)
    expect(stage.verdict('reconnect-in-time')).toBe('held')
  })

  test('faults that are on no way of a client, however many, do not hide an outage', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    client.close()
    for (let ms = 0; ms < 30_000; ms += 5000) {
      stage.apply({ kind: 'connection-reset', from: ['dns-1'], to: ['dns-2'] })
      pass(stage, 5000)
    }
    const result = stage.result('reconnect-in-time')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain(
      'client-0 was not served again by 19.000 s after zone az1 lost power at 9.000 s: it has no accepted connection',
    )
  })

  test('such faults neither hide that messages wait, nor make those sent before them count less', () => {
    const elsewhere = { kind: 'crash', machines: ['dns-1'] } as const
    const waiting = probing()
    waiting.stage.apply(outage)
    pass(waiting.stage, 1000)
    waiting.client.publish('probe/client-0', 1)
    waiting.client.puback(1)
    for (let second = 0; second < 30; second++) {
      waiting.stage.apply(elsewhere)
      pass(waiting.stage, 1000)
      waiting.stage.heal(elsewhere)
    }
    expect(waiting.stage.result('reconnect-in-time').violations.map((each) => each.signature)).toEqual([
      'reconnect-in-time: no message was delivered',
    ])
    const served = probing()
    served.stage.apply(outage)
    served.client.close()
    pass(served.stage, 2000)
    const again = served.stage.connected(0, 4, { present: true })
    again.publish('probe/client-0', 1)
    served.stage.apply(elsewhere)
    again.puback(1)
    again.deliver('probe/client-0', 0, 1)
    pass(served.stage, 30_000)
    expect(served.stage.result('reconnect-in-time')).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('a client that leaves its old connection open is not served by what comes there', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    pass(stage, 2000)
    client.publish('probe/client-0', 1)
    pass(stage, 3000)
    const again = stage.connection(0)
    client.puback(1)
    client.deliver('probe/client-0', 0, 1, { acknowledge: false })
    pass(stage, 20_000)
    again.open()
    const result = stage.result('reconnect-in-time')
    expect(result.violations[0]!.text).toContain('it has no accepted connection')
    expect(result.violations[0]!.evidence.map(({ text }) => text)).toContain('the client gave its connection up')
  })

  test('a quiet client that kept its connection, one that said goodbye, and one that is cut off have no complaint', () => {
    const stage = new Stage(clients(3))
    stage.connected(0)
    const leaving = stage.connected(1)
    const cut = stage.connected(2)
    leaving.send({ cmd: 'disconnect' })
    leaving.close('self')
    const balancers = ['load-balancer-1', 'load-balancer-2', 'load-balancer-3']
    stage.apply({ kind: 'partition', from: ['client-machine-2'], to: balancers, bothWays: true })
    pass(stage, 4000)
    cut.close('self', 'timeout')
    pass(stage, 60_000)
    expect(stage.verdict('reconnect-in-time')).toBe('not-exercised')
  })

  test('a deadline that the run does not reach is not judged', () => {
    const { stage, client } = probing()
    stage.apply(outage)
    client.close()
    pass(stage, 9000)
    expect(stage.result('reconnect-in-time').violationCount).toBe(0)
  })
})
