/** QoS 2 packet ids of publishers at their session shard: they belong to the session, and outlive connections and owners. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ReceivedIds } from './received-ids.ts'
import { type Connection, SessionBench } from './session-shard.test-support.ts'

describe('a QoS 2 packet id', () => {
  test('means the same message until it is released, and a new one after [MQTT-4.3.3-10, MQTT-4.3.3-12]', () => {
    const bench = new SessionBench()
    const client = bench.open('c')
    const first = bench.receive(client, 7)
    expect(first).toMatchObject({ outcome: 'received', openFrom: first.messageId })
    const records = bench.volume.records.length
    expect(bench.receive(client, 7)).toEqual(first)
    expect(bench.volume.records.length).toBe(records)
    expect(bench.release(client, 7)).toBe('released')
    expect(bench.receive(client, 7).messageId).toBeGreaterThan(first.messageId)
  })

  test('is answered only when it is durable, and not without a lease', () => {
    const bench = new SessionBench()
    const client = bench.open('c')
    bench.volume.held = true
    const waiting = bench.request(bench.receiveRequest(client, 1))
    bench.run(1000)
    expect(waiting.reply).toBeUndefined()
    bench.volume.held = false
    const { messageId } = bench.receive(client, 2)
    expect(waiting.reply).toMatchObject({ outcome: 'received', messageId: messageId - 1 })
    bench.volume.lease = false
    expect(bench.receive(client, 1).outcome).toBe('not-owner')
    expect(bench.release(client, 1)).toBe('not-owner')
    expect(bench.release(client, 9)).toBe('not-owner')
  })

  test('that is not in use is released already, also the second time, and nothing is written', () => {
    const bench = new SessionBench()
    const client = bench.open('c')
    const records = bench.volume.records.length
    expect(bench.release(client, 5)).toBe('released')
    expect(bench.volume.records.length).toBe(records)
    const { messageId } = bench.receive(client, 5)
    expect(bench.release(client, 5, messageId)).toBe('released')
    expect(bench.volume.records.length).toBe(records + 2)
    expect([bench.release(client, 5, messageId), bench.release(client, 5)]).toEqual(['released', 'released'])
    expect(bench.volume.records.length).toBe(records + 2)
  })

  test('stands for its next message although the release of the former one comes a second time, late, over a link that was given up', () => {
    const bench = new SessionBench()
    const client = bench.open('c')
    const first = bench.receive(client, 5).messageId
    const late = bench.releaseRequest(client, 5, first)
    bench.release(client, 5, first)
    const second = bench.receive(client, 5).messageId
    expect(second).toBeGreaterThan(first)
    expect(bench.ask(late).outcome).toBe('released')
    expect(bench.receive(client, 5).messageId).toBe(second)
    bench.failOver()
    bench.resume(client)
    expect(bench.ask(late).outcome).toBe('released')
    expect(bench.receive(client, 5).messageId).toBe(second)
    bench.release(client, 5, second)
    expect(bench.receive(client, 5).messageId).toBeGreaterThan(second)
  })

  test('is released after a reconnect whatever message it was left for, which the new proxy does not know; late, that frees nothing of its own', () => {
    const bench = new SessionBench()
    const left = bench.receive(bench.open('c'), 5).messageId
    const again = bench.open('c')
    const late = bench.releaseRequest(again, 5)
    expect(late.messageId).toBe(0)
    bench.release(again, 5)
    const next = bench.receive(again, 5).messageId
    expect(next).toBeGreaterThan(left)
    expect(bench.ask(late).outcome).toBe('released')
    expect(bench.receive(again, 5).messageId).toBe(next)
  })

  test('is released after a reconnect to an owner that did not open the session, too', () => {
    const bench = new SessionBench()
    const left = bench.receive(bench.open('c'), 5).messageId
    const again = bench.open('c')
    bench.failOver()
    bench.resume(again)
    bench.release(again, 5)
    expect(bench.receive(again, 5).messageId).toBeGreaterThan(left)
  })

  test('is refused to a connection that has lost the session', () => {
    const bench = new SessionBench()
    const old = bench.open('c')
    bench.receive(old, 1)
    bench.open('c')
    expect(bench.receive(old, 1).outcome).toBe('fenced')
    expect(bench.release(old, 1)).toBe('fenced')
    expect(bench.receive({ ...old, clientId: 'nobody' }, 1).outcome).toBe('fenced')
  })

  test('belongs to the session, not to the connection: it is there after a reconnect and a takeover, and gone after a clean start [MQTT-4.4.0-1]', () => {
    const bench = new SessionBench()
    const first = bench.open('c')
    const { messageId } = bench.receive(first, 3)
    bench.close(first, 'due')
    const second = bench.open('c')
    expect(bench.receive(second, 3).messageId).toBe(messageId)
    const third = bench.open('c')
    expect(third.sessionPresent).toBe(true)
    expect(bench.receive(third, 3).messageId).toBe(messageId)
    const anew = bench.open('c', { cleanStart: true })
    expect(bench.receive(anew, 3).messageId).toBeGreaterThan(messageId)
  })

  test.each([
    ['the records of the log', 1 << 20],
    ['a checkpoint', 400],
  ])('is there with the next owner, from %s, and message ids go on growing [MQTT-4.3.3-10]', (_, checkpointBytes) => {
    const bench = new SessionBench({ checkpointBytes })
    const client = bench.open('c')
    const other = bench.open('d')
    const kept = [1, 2, 3].map((packetId) => bench.receive(client, packetId))
    bench.release(client, 1)
    for (let i = 0; i < 30; i++) {
      bench.receive(other, 9)
      bench.release(other, 9)
    }
    const last = bench.receive(other, 9).messageId
    bench.failOver()
    expect(bench.world.goals.get('session shard restored from a checkpoint')).toBe(checkpointBytes === 400 ? 1 : undefined)
    bench.resume(client, other)
    expect(bench.receive(client, 2)).toMatchObject({ messageId: kept[1]!.messageId, openFrom: kept[1]!.messageId })
    expect(bench.receive(client, 3)).toMatchObject({ messageId: kept[2]!.messageId, openFrom: kept[1]!.messageId })
    expect(bench.receive(client, 1).messageId).toBeGreaterThan(last)
  })

  test('names where the open ids of its session begin, whatever other sessions have open', () => {
    const bench = new SessionBench()
    const [client, other] = [bench.open('c'), bench.open('d')]
    bench.receive(other, 1)
    const first = bench.receive(client, 1)
    const second = bench.receive(client, 2)
    expect([first.openFrom, second.openFrom]).toEqual([first.messageId, first.messageId])
    bench.release(client, 1)
    expect(bench.receive(client, 3).openFrom).toBe(second.messageId)
    bench.release(client, 2)
    bench.release(client, 3)
    const alone = bench.receive(client, 4)
    expect(alone.openFrom).toBe(alone.messageId)
  })

  test('is over quota when 65,535 others were opened since the oldest that is still open; what other sessions open does not count', () => {
    const ids = new ReceivedIds()
    ids.add(1, 1)
    let fullAfter = 0
    while (!ids.isFull()) {
      fullAfter++
      ids.add(2, 1 + 2 * fullAfter)
      ids.release(2)
    }
    expect(fullAfter).toBe(65_535)
    const { allocatedIds, openIds } = ids.snapshot()
    expect(new ReceivedIds(allocatedIds, openIds).isFull()).toBe(true)
    ids.release(1)
    expect(ids.isFull()).toBe(false)
  })

  test('is answered quota by the shard then, until the oldest is released', () => {
    const bench = new SessionBench({ checkpointBytes: 1 << 30 })
    const client = bench.open('c')
    const first = bench.receive(client, 1).messageId
    for (let i = 1; i <= 65_535; i++) {
      bench.request(bench.receiveRequest(client, 2))
      bench.request(bench.releaseRequest(client, 2, first + i))
      if (i % 1000 === 0) bench.run(10)
    }
    expect(bench.receive(client, 3)).toMatchObject({ outcome: 'quota', messageId: 0 })
    expect(bench.receive(client, 1).outcome).toBe('received')
    bench.release(client, 1)
    expect(bench.receive(client, 3).outcome).toBe('received')
  })
})

describe('QoS 2 packet ids under random use', () => {
  const clients = ['a', 'b'] as const
  const client = fc.constantFrom(...clients)
  const packetId = fc.integer({ min: 1, max: 4 })
  /** Records that had not become durable and are there with the next owner nevertheless; undefined where the owner lives. */
  const crash = fc.option(fc.nat(2), { nil: undefined, freq: 3 })
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('open' as const), client, cleanStart: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('close' as const), client, expirySeconds: fc.constantFrom(0, 20, 3600) }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('receive' as const), client, packetId, crash }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), client, packetId, crash }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), seconds: fc.constantFrom(1, 30) }) },
  )

  test('stand for one message each from its first PUBLISH to its PUBREL, over owners, connections and lost answers [MQTT-4.3.3-10, MQTT-4.3.3-12]', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40, size: 'max' }), fc.constantFrom(300, 1 << 20), (steps, checkpointBytes) => {
        const bench = new SessionBench({ checkpointBytes })
        const connections = new Map<string, Connection>()
        const open = new Map<string, Map<number, number>>()
        const formerOf = { a: new Map<number, number>(), b: new Map<number, number>() }
        let greatest = 0
        /** Asks; where the owner dies meanwhile, asks its successor again. */
        const dieDuring = (kept: number, request: () => void) => {
          bench.volume.held = true
          request()
          bench.run(5)
          bench.failOver(kept)
          for (const connection of connections.values()) expect(bench.resume(connection)).toMatchObject({ lost: [], superseded: [] })
        }
        for (const at of steps) {
          if (at.kind === 'wait') {
            bench.run(at.seconds * 1000)
            continue
          }
          if (at.kind === 'open') {
            const connection = bench.open(at.client, { cleanStart: at.cleanStart })
            if (!connection.sessionPresent) open.set(at.client, new Map())
            if (connections.has(at.client)) expect(connection.sessionPresent).toBe(!at.cleanStart)
            connections.set(at.client, connection)
            continue
          }
          const connection = connections.get(at.client)
          if (connection === undefined) continue
          const ids = open.get(at.client)!
          const former = formerOf[at.client]
          if (at.kind === 'close') {
            bench.close(connection, 'due', at.expirySeconds)
            connections.delete(at.client)
          } else if (at.kind === 'receive') {
            if (at.crash !== undefined) dieDuring(at.crash, () => bench.request(bench.receiveRequest(connection, at.packetId)))
            const { outcome, messageId, openFrom } = bench.receive(connection, at.packetId)
            expect(outcome).toBe('received')
            const known = ids.get(at.packetId)
            if (known !== undefined) expect(messageId).toBe(known)
            else expect(messageId).toBeGreaterThan(greatest)
            greatest = Math.max(greatest, messageId)
            ids.set(at.packetId, messageId)
            expect(openFrom).toBe(Math.min(...ids.values()))
          } else {
            if (at.crash !== undefined) dieDuring(at.crash, () => bench.request(bench.releaseRequest(connection, at.packetId)))
            expect(bench.release(connection, at.packetId)).toBe('released')
            if (ids.has(at.packetId)) former.set(at.packetId, ids.get(at.packetId)!)
            ids.delete(at.packetId)
          }
          if (at.kind === 'receive' && former.has(at.packetId)) {
            // The release of the former message of this packet id, once more.
            expect(bench.ask(bench.releaseRequest(connection, at.packetId, former.get(at.packetId))).outcome).toBe('released')
          }
        }
      }),
      { numRuns: 200 },
    )
  })
})
