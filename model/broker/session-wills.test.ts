/** Wills at their session shard: when they fire, that they fire once, and what becomes of them when owners die. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Connection, SessionBench, type TopicShardMood, will } from './session-shard.test-support.ts'

const lose = (bench: SessionBench, connection: Connection) => bench.shard.onLinkDown(connection.link)

describe('a will without a delay', () => {
  test('fires when the connection ends without DISCONNECT 0x00, once, and is gone from the session then [MQTT-3.1.2-8, MQTT-3.1.2-10]', () => {
    const bench = new SessionBench()
    const client = bench.open('c', { will: will('bye', 0) })
    bench.run(5000)
    expect(bench.published).toEqual([])
    bench.close(client, 'due')
    bench.run(100)
    expect(bench.published).toEqual(['bye'])
    expect(bench.events('will-fired')).toEqual([{ kind: 'will-fired', clientId: 'c', epoch: client.epoch, topic: 'wills/t' }])
    bench.close(client, 'due')
    const back = bench.open('c')
    expect(back.sessionPresent).toBe(true)
    bench.close(back, 'due', 0)
    bench.run(100_000)
    expect(bench.calls.filter((call) => call.startsWith('publishWill'))).toHaveLength(1)
  })

  test('does not fire after DISCONNECT 0x00 [MQTT-3.14.4-3]', () => {
    for (const expirySeconds of [0, 3600]) {
      const bench = new SessionBench()
      bench.close(bench.open('c', { will: will('bye', 0), expirySeconds }), 'discarded', expirySeconds)
      bench.open('c', { cleanStart: true })
      bench.run(10_000)
      expect(bench.calls.filter((call) => call.startsWith('publishWill'))).toEqual([])
      expect(bench.events('will-dropped')).toMatchObject([{ clientId: 'c', why: 'discarded' }])
    }
  })

  test('fires when the proxy is lost, once its lease is over, also where the session ends with the connection [MQTT-3.1.2-8]', () => {
    for (const expirySeconds of [0, 3600]) {
      const bench = new SessionBench()
      const client = bench.open('c', { will: will('bye', 0), expirySeconds })
      lose(bench, client)
      bench.run(99)
      expect(bench.published).toEqual([])
      bench.run(20)
      expect(bench.published).toEqual(['bye'])
      expect(bench.events('session-ended')).toHaveLength(expirySeconds === 0 ? 1 : 0)
    }
  })

  test('fires when another connection takes the session over, and only then has its place [MQTT-3.1.2-8]', () => {
    const bench = new SessionBench()
    const old = bench.open('c', { will: will('old', 0) })
    const client = bench.open('c', { will: will('new', 0) })
    bench.run(100)
    expect(client.sessionPresent).toBe(true)
    expect(bench.published).toEqual(['old'])
    bench.close(old, 'due')
    bench.close(old, 'discarded')
    bench.run(1000)
    expect(bench.published).toEqual(['old'])
    bench.close(client, 'due')
    bench.run(100)
    expect(bench.published).toEqual(['old', 'new'])
  })

  test('fires when its session had expiry 0 and is taken over: that ends it', () => {
    const bench = new SessionBench()
    bench.open('c', { will: will('old', 60), expirySeconds: 0 })
    expect(bench.open('c').sessionPresent).toBe(false)
    bench.run(100)
    expect(bench.published).toEqual(['old'])
  })

  test('fires when nobody has spoken up for the connection after a failover [MQTT-3.1.2-8]', () => {
    const bench = new SessionBench()
    const [kept, lost] = [bench.open('kept', { will: will('kept', 0) }), bench.open('lost', { will: will('lost', 0) })]
    bench.failOver()
    expect(bench.resume(kept)).toMatchObject({ lost: [] })
    bench.run(6000)
    expect(bench.published).toEqual([])
    bench.run(2000)
    expect(bench.published).toEqual(['lost'])
    expect(bench.resume(lost)).toMatchObject({ lost: [lost.handle] })
  })

  test('does not fire for a second connection when a proxy comes back with an open that was given up', () => {
    const bench = new SessionBench()
    const request = bench.openRequest('c', { will: will('bye', 0), expirySeconds: 0 })
    lose(bench, bench.opened(request))
    bench.run(500)
    expect(bench.published).toEqual(['bye'])
    expect(bench.ask(request).outcome).toBe('superseded')
    expect(bench.open('c').sessionPresent).toBe(false)
  })
})

describe('a will with a delay', () => {
  test('fires when the delay is over, not before [MQTT-3.1.2-8]', () => {
    const bench = new SessionBench()
    bench.close(bench.open('c', { will: will('bye', 30) }), 'due')
    bench.run(29_900)
    expect(bench.published).toEqual([])
    bench.run(200)
    expect(bench.published).toEqual(['bye'])
  })

  test('fires when the session expires before the delay is over, and the session is gone only after that [MQTT-3.1.2-8]', () => {
    const bench = new SessionBench()
    bench.close(bench.open('c', { will: will('bye', 30), expirySeconds: 10 }), 'due', 10)
    bench.run(9900)
    expect(bench.published).toEqual([])
    bench.run(200)
    expect(bench.published).toEqual(['bye'])
    expect(bench.events('will-fired')).toHaveLength(1)
    expect(bench.events('session-ended')).toHaveLength(1)
  })

  test('fires at once when the session ends with the connection [MQTT-3.1.2-8]', () => {
    const bench = new SessionBench()
    bench.close(bench.open('c', { will: will('bye', 30), expirySeconds: 0 }), 'due', 0)
    bench.run(100)
    expect(bench.published).toEqual(['bye'])
  })

  test('fires when the client comes back after the delay, however little after [MQTT-3.1.2-8]', () => {
    const bench = new SessionBench()
    bench.request(bench.closeRequest(bench.open('c', { will: will('bye', 30) }), 'due'))
    bench.run(30_000)
    expect(bench.events('will-fired')).toEqual([])
    expect(bench.open('c').sessionPresent).toBe(true)
    bench.run(100)
    expect(bench.published).toEqual(['bye'])
  })

  test('is dropped when the client comes back to the session in time [MQTT-3.1.3-9]', () => {
    const bench = new SessionBench()
    bench.close(bench.open('c', { will: will('bye', 30) }), 'due')
    bench.run(20_000)
    const back = bench.open('c')
    expect(bench.events('will-dropped')).toMatchObject([{ clientId: 'c', why: 'reconnected' }])
    bench.run(60_000)
    bench.close(back, 'due')
    bench.run(60_000)
    expect(bench.published).toEqual([])
  })

  test('is dropped when the session is taken over and goes on [MQTT-3.1.3-9]', () => {
    const bench = new SessionBench()
    bench.open('c', { will: will('old', 30) })
    bench.open('c', { will: will('new', 30) })
    bench.run(60_000)
    expect(bench.published).toEqual([])
  })

  test('fires when a clean start ends the session that it waits in, or that is connected [MQTT-3.1.2-8]', () => {
    for (const isConnected of [false, true]) {
      const bench = new SessionBench()
      const client = bench.open('c', { will: will('bye', 30) })
      if (!isConnected) bench.close(client, 'due')
      bench.open('c', { cleanStart: true })
      bench.run(100)
      expect(bench.published).toEqual(['bye'])
    }
  })

  test('does not fire when DISCONNECT 0x00 comes through late, after the connection was given up [MQTT-3.14.4-3]', () => {
    const bench = new SessionBench()
    const client = bench.open('c', { will: will('bye', 30) })
    lose(bench, client)
    bench.run(1000)
    bench.close(client, 'discarded')
    bench.failOver()
    bench.run(100_000)
    expect(bench.published).toEqual([])
  })

  test.each([
    ['the records of the log', 1 << 20],
    ['a checkpoint', 200],
  ])('waits on with the next owner, from %s: not shorter, and not much longer [MQTT-3.1.2-7, MQTT-3.1.2-8]', (_, checkpointBytes) => {
    const bench = new SessionBench({ checkpointBytes })
    const busy = bench.open('busy')
    const client = bench.open('c', { will: will('bye', 30) })
    for (let i = 0; i < 20; i++) bench.receive(busy, 1 + i)
    bench.close(client, 'due')
    for (let i = 0; i < 200; i++) bench.receive(busy, 100 + i)
    bench.run(20_000)
    bench.failOver()
    expect(bench.world.goals.get('session shard restored from a checkpoint')).toBe(checkpointBytes === 200 ? 1 : undefined)
    bench.run(9000)
    expect(bench.published).toEqual([])
    bench.run(6500)
    expect(bench.published).toEqual(['bye'])
  })
})

describe('a will that has fired', () => {
  test('is sent until the topic shard has it, and stored once', () => {
    const bench = new SessionBench()
    bench.moods = ['unreachable', 'stores-silently', 'stores-silently', 'answers']
    bench.close(bench.open('c', { will: will('bye', 0) }), 'due')
    bench.run(10_000)
    expect(bench.published).toEqual(['bye'])
    expect(bench.calls).toHaveLength(4)
    bench.failOver()
    bench.run(10_000)
    expect(bench.calls).toHaveLength(4)
  })

  test('is not sent before the firing is durable', () => {
    const bench = new SessionBench()
    const client = bench.open('c', { will: will('bye', 0) })
    bench.volume.held = true
    lose(bench, client)
    bench.run(1000)
    expect(bench.calls).toEqual([])
    // Nothing of it became durable: the connection is there, and so is its will.
    bench.failOver()
    expect(bench.resume(client)).toMatchObject({ lost: [] })
    bench.close(client, 'discarded')
    bench.run(60_000)
    expect(bench.published).toEqual([])
  })

  test('is not lost with any tail of the log: every way of taking part of it fires once, whatever ends the session', () => {
    for (const kept of [0, 1, 2, 3, 4]) {
      for (const cleanStart of [false, true]) {
        const bench = new SessionBench()
        const old = bench.open('c', { will: will('bye', 0) })
        bench.volume.held = true
        const request = bench.openRequest('c', { cleanStart })
        bench.request(request)
        bench.run(100)
        const { records, durable } = bench.volume
        expect(records.length - durable).toBe(cleanStart ? 4 : 3)
        bench.failOver(kept)
        const client = bench.opened(request)
        bench.run(1000)
        expect(bench.published).toEqual(['bye'])
        expect(bench.resume(old)).toMatchObject({ superseded: [old.handle] })
        bench.close(client, 'due')
        bench.run(20_000)
        expect(bench.published).toEqual(['bye'])
      }
    }
  })

  test.each([
    ['the records of the log', 1 << 20],
    ['a checkpoint', 200],
  ])('is sent on by the next owner, from %s, if the answer was not logged; stored once', (_, checkpointBytes) => {
    const bench = new SessionBench({ checkpointBytes })
    const busy = bench.open('busy')
    bench.moods = ['stores-silently', 'unreachable']
    const client = bench.open('c', { will: will('first', 0) })
    bench.close(client, 'due')
    bench.close(bench.open('c', { will: will('second', 0) }), 'due')
    for (let i = 0; i < 200; i++) bench.receive(busy, 100 + i)
    bench.run(100)
    expect(bench.published).toEqual(['first'])
    bench.failOver()
    expect(bench.world.goals.get('session shard restored from a checkpoint')).toBe(checkpointBytes === 200 ? 1 : undefined)
    bench.run(100)
    bench.moods = ['answers']
    bench.run(2000)
    expect(bench.published).toEqual(['first', 'second'])
    const calls = bench.calls.length
    bench.run(60_000)
    bench.failOver()
    bench.run(60_000)
    expect(bench.calls.length).toBe(calls)
  })

  test('goes after the former wills of its client to the same topic shard, one at a time, and waits for nobody else', () => {
    const bench = new SessionBench()
    bench.moods = ['unreachable']
    for (const text of ['1', '2', '3']) bench.close(bench.open('c', { will: will(text, 0) }), 'due')
    bench.close(bench.open('d', { will: will('other', 0) }), 'due')
    bench.run(400)
    expect(bench.calls.map((call) => call.split(' ')[1])).toEqual(['c', 'd'])
    bench.moods = ['answers']
    bench.run(3000)
    expect(bench.published.filter((text) => text !== 'other')).toEqual(['1', '2', '3'])
    expect(bench.published).toContain('other')
  })
})

describe('the queues of an ended session', () => {
  test('are not taken from topic shards before the end is durable, also while others are tried again', () => {
    const bench = new SessionBench()
    const subscription = { filter: 'a', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, subscriptionIdentifier: 0 }
    const [first, second] = [bench.open('first'), bench.open('second')]
    for (const { clientId, epoch } of [first, second]) {
      bench.ask({ name: 'setSubscriptions', shard: 6, clientId, epoch, version: 1, subscriptions: [subscription] })
    }
    bench.moods = ['unreachable']
    bench.close(first, 'due', 0)
    bench.volume.held = true
    bench.request(bench.closeRequest(second, 'due', 0))
    bench.run(5000)
    expect(bench.calls.length).toBeGreaterThan(2)
    expect(new Set(bench.calls)).toEqual(new Set([`endSession first ${first.epoch}`]))
    bench.moods = ['answers']
    bench.failOver(1)
    bench.run(100)
    expect(bench.calls).toContain(`endSession second ${second.epoch}`)
  })
})

describe('wills under random use', () => {
  const AGE_LOST_BY_FAILOVER_MS = 5100
  /** What it takes a will that is due to be stored, with a topic shard in any mood. */
  const SETTLING_MS = 5000

  const clients = ['a', 'b'] as const
  const client = fc.constantFrom(...clients)
  const crash = fc.option(fc.nat(4), { nil: undefined, freq: 2 })
  const expirySeconds = fc.constantFrom(0, 40, 3600)
  const mood = fc.constantFrom<TopicShardMood>('answers', 'stores-silently', 'unreachable')
  const step = fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('open' as const),
        client,
        crash,
        cleanStart: fc.boolean(),
        expirySeconds,
        delaySeconds: fc.option(fc.constantFrom(0, 20, 60), { nil: undefined, freq: 4 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('close' as const),
        client,
        crash,
        will: fc.constantFrom('discarded' as const, 'due' as const, 'due' as const),
        expirySeconds,
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), client }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('failOver' as const) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: fc.constantFrom(1, 15, 50) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('moods' as const), moods: fc.array(mood, { maxLength: 3 }) }) },
  )

  /** One connection's will, by the standard. */
  interface Expected {
    readonly text: string
    readonly delaySeconds: number
    state: 'held' | 'pending' | 'fired' | 'dropped' | 'either'
    /** While pending: it fires between these. */
    earliestMs: number
    latestMs: number
  }

  test('fires exactly once where one is due, in time, and never where it was discarded or the client came back [MQTT-3.1.2-8, MQTT-3.1.3-9, MQTT-3.14.4-3]', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30, size: 'max' }), fc.constantFrom(300, 1 << 20), (steps, checkpointBytes) => {
        const bench = new SessionBench({ checkpointBytes })
        const connections = new Map<string, { readonly connection: Connection; readonly expirySeconds: number }>()
        const newest = new Map<string, Expected>()
        const all: Expected[] = []

        const failOver = (kept: number, except?: string) => {
          bench.failOver(kept)
          for (const expected of all) expected.latestMs += AGE_LOST_BY_FAILOVER_MS
          for (const [clientId, { connection }] of connections) {
            if (clientId !== except) expect(bench.resume(connection)).toMatchObject({ lost: [], superseded: [] })
          }
        }
        const dieDuring = (kept: number, clientId: string, request: () => void) => {
          bench.volume.held = true
          request()
          bench.run(40)
          failOver(kept, clientId)
        }
        const passTime = () => {
          for (const expected of all) {
            if (expected.state !== 'pending') continue
            if (bench.nowMs > expected.latestMs) expected.state = 'fired'
            else if (bench.nowMs >= expected.earliestMs && bench.published.includes(expected.text)) expected.state = 'fired'
          }
        }
        const disconnected = (expected: Expected | undefined, expiry: number, sinceMs: number) => {
          if (expected?.state !== 'held') return
          const waitMs = Math.min(expected.delaySeconds, expiry) * 1000
          expected.state = waitMs === 0 ? 'fired' : 'pending'
          expected.earliestMs = sinceMs + waitMs
          expected.latestMs = bench.nowMs + waitMs + SETTLING_MS
        }

        for (const [i, at] of steps.entries()) {
          passTime()
          switch (at.kind) {
            case 'wait':
              bench.run(at.seconds * 1000)
              break
            case 'moods':
              bench.moods = [...at.moods, 'answers']
              break
            case 'failOver':
              failOver(0)
              break
            case 'open': {
              const text = `${at.client}-${i}`
              const stored = at.delaySeconds === undefined ? undefined : will(text, at.delaySeconds)
              const request = bench.openRequest(at.client, { cleanStart: at.cleanStart, expirySeconds: at.expirySeconds, will: stored })
              const former = newest.get(at.client)
              if (at.crash !== undefined) dieDuring(at.crash, at.client, () => bench.request(request))
              const startedMs = bench.nowMs
              const connection = bench.opened(request)
              if (at.cleanStart) expect(connection.sessionPresent).toBe(false)
              if (former?.state === 'held' || former?.state === 'pending') {
                const goesOn = connection.sessionPresent && former.delaySeconds > 0
                const wasMaybeDue = former.state === 'pending' && former.earliestMs <= startedMs
                former.state = !goesOn ? 'fired' : wasMaybeDue ? 'either' : 'dropped'
              }
              connections.set(at.client, { connection, expirySeconds: at.expirySeconds })
              if (at.delaySeconds === undefined) newest.delete(at.client)
              else {
                const expected: Expected = { text, delaySeconds: at.delaySeconds, state: 'held', earliestMs: 0, latestMs: 0 }
                newest.set(at.client, expected)
                all.push(expected)
              }
              break
            }
            case 'close': {
              const open = connections.get(at.client)
              if (open === undefined) break
              const sinceMs = bench.nowMs
              const request = bench.closeRequest(open.connection, at.will, at.expirySeconds)
              if (at.crash !== undefined) dieDuring(at.crash, at.client, () => bench.request(request))
              bench.ask(request)
              connections.delete(at.client)
              const expected = newest.get(at.client)
              if (at.will === 'due') disconnected(expected, at.expirySeconds, sinceMs)
              else if (expected?.state === 'held') expected.state = 'dropped'
              break
            }
            case 'lose': {
              const open = connections.get(at.client)
              if (open === undefined) break
              const sinceMs = bench.nowMs
              lose(bench, open.connection)
              bench.run(150)
              connections.delete(at.client)
              disconnected(newest.get(at.client), open.expirySeconds, sinceMs)
              break
            }
          }
          for (const { text, state, earliestMs } of all) {
            const times = bench.published.filter((other) => other === text).length
            expect(times, text).toBeLessThanOrEqual(1)
            if (state === 'held' || state === 'dropped' || (state === 'pending' && bench.nowMs < earliestMs)) expect(times, text).toBe(0)
          }
        }
        bench.moods = ['answers']
        bench.run(150_000)
        passTime()
        for (const { text, state } of all) {
          const times = bench.published.filter((other) => other === text).length
          if (state === 'fired') expect(times, text).toBe(1)
          else if (state === 'either') expect(times, text).toBeLessThanOrEqual(1)
          else expect([state, times], text).toEqual([state === 'held' ? 'held' : 'dropped', 0])
        }
      }),
      { numRuns: 400 },
    )
  })
})
