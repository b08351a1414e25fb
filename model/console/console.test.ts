import { describe, expect, test } from 'vitest'
import { openAccess } from '../access.ts'
import { decodeStored, Stage } from '../region-stage.test-support.ts'
import type { MessageOf } from '../wire/messages.ts'
import { encodePacket } from '../wire/mqtt-codec.ts'
import { type Asked, ConsoleClient } from './console-client.ts'

const consoles = ['console-1', 'console-2', 'console-3'] as const
const byConsole = { region: { access: { ...openAccess, topicCreation: 'console', topics: new Set(['meters']) } } } as const
const unlimited = { connectionsPerProxy: 0, messagesPerSecond: 0, filtersPerClient: 30, payloadBytes: 65_536 } as const
const everything = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, afterOffset: 0, limit: 100 } as const

/** Until every proxy goes by this version of the rules. */
function untilAdopted(stage: Stage, version: number): void {
  const adopted = () =>
    new Set(
      stage
        .events('rules-adopted')
        .filter(({ event }) => (event as unknown as { readonly version: number }).version === version)
        .map(({ machine }) => machine),
    )
  stage.until(() => adopted().size === proxiesThere(stage), `version ${version} at every proxy`, 2000)
}

/** Without those that stand by. */
function proxiesThere({ plan }: Stage): number {
  return plan.machines.filter(({ role, standby }) => role === 'proxy' && standby !== true).length
}

function setQuotas(stage: Stage, quotas: Partial<typeof unlimited> | { readonly [key: string]: number }): void {
  const answer = stage.askConsole({ name: 'setQuotas', ...unlimited, ...quotas })
  expect(answer.outcome).toBe('done')
  untilAdopted(stage, answer.version)
}

function publishCode(stage: Stage, topic: string, proxy: number): number | undefined {
  const client = stage.connect({ clientId: `to-${topic}-${proxy}-${stage.nowMs}`, version: 5, proxy })
  const packetId = client.publish(topic, 'x')
  stage.until(() => client.pubackOf(packetId) !== undefined, 'PUBACK')
  return client.pubackOf(packetId)?.reasonCode
}

describe('first-level topics', () => {
  test('are there for every proxy once they are created, and gone once they are deleted', () => {
    const stage = new Stage(byConsole)
    expect(publishCode(stage, 'pumps/1', 1)).toBe(0x90)
    const created = stage.askConsole({ name: 'createTopic', topic: 'pumps' })
    expect(created).toEqual({ name: 'rulesChanged', outcome: 'done', version: 2 })
    untilAdopted(stage, 2)
    for (const proxy of [1, 2, 3]) expect(publishCode(stage, 'pumps/1', proxy)).toBe(0x10)
    expect(stage.askConsole({ name: 'deleteTopic', topic: 'pumps' }).version).toBe(3)
    untilAdopted(stage, 3)
    for (const proxy of [1, 2, 3]) expect(publishCode(stage, 'pumps/1', proxy)).toBe(0x90)
    expect(publishCode(stage, 'meters/1', 2)).toBe(0x10)
  })

  test('may be created and deleted twice', () => {
    const stage = new Stage(byConsole)
    const topic = 'pumps'
    const versions = [
      stage.askConsole({ name: 'createTopic', topic }),
      stage.askConsole({ name: 'createTopic', topic }),
      stage.askConsole({ name: 'deleteTopic', topic }),
      stage.askConsole({ name: 'deleteTopic', topic }),
    ].map(({ outcome, version }) => [outcome, version])
    expect(versions).toEqual([
      ['done', 2],
      ['done', 2],
      ['done', 3],
      ['done', 3],
    ])
  })

  test.each(['', 'a/b', '+', '#', '$SYS', 'x'.repeat(65)])('are not called %j', (topic) => {
    const stage = new Stage(byConsole)
    expect(stage.askConsole({ name: 'createTopic', topic })).toEqual({ name: 'rulesChanged', outcome: 'invalid', version: 1 })
  })
})

describe('the rules', () => {
  test('outlive every console, and a disk of theirs that lost power', () => {
    const stage = new Stage(byConsole)
    stage.askConsole({ name: 'createTopic', topic: 'pumps' })
    const heal = stage.apply({ kind: 'power-loss', machines: consoles })
    stage.run(5000)
    heal()
    stage.run(8000)
    expect(stage.askConsole({ name: 'createTopic', topic: 'pumps' })).toEqual({ name: 'rulesChanged', outcome: 'done', version: 2 })
    stage.apply({ kind: 'restart', machines: ['proxy-1'] })
    stage.run(3000)
    expect(publishCode(stage, 'pumps/1', 1)).toBe(0x10)
  })

  test('are changed with one zone dark, and known there when it is back', () => {
    const stage = new Stage(byConsole)
    const heal = stage.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })
    const created = stage.askConsole({ name: 'createTopic', topic: 'pumps' })
    expect(created.outcome).toBe('done')
    heal()
    stage.run(8000)
    expect(publishCode(stage, 'pumps/1', 1)).toBe(0x10)
    stage.apply({ kind: 'crash', machines: ['console-2', 'console-3'] })
    stage.apply({ kind: 'restart', machines: ['proxy-2'] })
    stage.run(3000)
    expect(publishCode(stage, 'pumps/1', 2)).toBe(0x10)
  })

  test('are not changed by a minority of the consoles', () => {
    const stage = new Stage(byConsole)
    stage.crash('console-2', 'console-3')
    expect(stage.askConsole({ name: 'createTopic', topic: 'pumps' }).outcome).toBe('out-of-reach')
    expect(publishCode(stage, 'pumps/1', 1)).toBe(0x90)
  })

  test('change in one order, whichever consoles are asked at once', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const stage = new Stage({ seed, ...byConsole })
      const versions: number[] = []
      const each = stage.plan.consoles.map((address) => new ConsoleClient(stage.insideHost, [address]))
      stage.insideHost.setTimer(0, () => {
        for (let i = 0; i < 12; i++) {
          each[i % 3]!.ask({ name: 'createTopic', topic: `t${i}` }, (answer) => versions.push(answer?.version ?? 0))
        }
      })
      stage.until(() => versions.length === 12, 'every answer')
      expect([...versions].sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i + 2))
      untilAdopted(stage, 13)
      for (let i = 0; i < 12; i += 5) expect(publishCode(stage, `t${i}/x`, 1 + (i % 3))).toBe(0x10)
    }
  })

  test('keep every change that was answered, whatever becomes of disks and connections on the way', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const stage = new Stage({ seed, ...byConsole, settings: { console: { rulesPullIntervalMs: 2000 } } })
      const done: string[] = []
      const each = stage.plan.consoles.map((address) => new ConsoleClient(stage.insideHost, [address]))
      stage.insideHost.setTimer(0, () => {
        for (let i = 0; i < 30; i++) {
          stage.insideHost.setTimer(i * 400, () =>
            each[i % 3]!.ask({ name: 'createTopic', topic: `t${i}` }, (answer) => {
              if (answer?.outcome === 'done') done.push(`t${i}`)
            }),
          )
        }
      })
      const heals = [stage.apply({ kind: 'sync-failure', machines: [consoles[seed % 3]!], probability: 0.4 })]
      for (let round = 0; round < 6; round++) {
        const heal = stage.apply({ kind: 'power-loss', machines: [consoles[(seed + round) % 3]!] })
        stage.run(900)
        heal()
        heals.push(stage.part([consoles[round % 3]!], [consoles[(round + 1) % 3]!]))
        stage.run(900)
        heals.pop()!()
      }
      for (const heal of heals) heal()
      stage.run(25_000)
      expect(done.length).toBeGreaterThan(5)
      const { version } = stage.askConsole({ name: 'createTopic', topic: 'last' })
      untilAdopted(stage, version)
      for (const topic of done) expect(publishCode(stage, `${topic}/x`, 1 + (seed % 3)), `seed ${seed}, ${topic}`).toBe(0x10)
    }
  })

  test('reach a proxy that was cut off from the consoles when they changed', () => {
    const stage = new Stage({ ...byConsole, settings: { console: { rulesPullIntervalMs: 2000 } } })
    const heal = stage.part(['proxy-1'], consoles)
    stage.askConsole({ name: 'createTopic', topic: 'pumps' })
    stage.run(10_000)
    expect(publishCode(stage, 'pumps/1', 1)).toBe(0x90)
    heal()
    untilAdopted(stage, 2)
  })
})

describe('a change that was answered', () => {
  /** The operator has a connection to each console, and the first one is to be asked first. */
  const connectedStage = () => {
    const stage = new Stage(byConsole)
    const client = new ConsoleClient(stage.insideHost, stage.plan.consoles)
    stage.run(500)
    const change = (request: Asked<'createTopic'> | Asked<'deleteTopic'> | Asked<'setQuotas'>) => {
      const answers: (MessageOf<'rulesChanged'> | undefined)[] = []
      stage.insideHost.setTimer(0, () => client.ask(request, (answer) => answers.push(answer)))
      stage.until(() => answers.length === 1, 'the answer', 10_000)
      return answers[0]
    }
    return { stage, change }
  }
  const publishLarge = (stage: Stage) => {
    const client = stage.connect({ clientId: `payload-${stage.nowMs}`, version: 5, proxy: 2 })
    const packetId = client.publish('meters/1', 'x'.repeat(2000))
    stage.until(() => client.pubackOf(packetId) !== undefined, 'PUBACK')
    return client.pubackOf(packetId)?.reasonCode
  }
  const changesOf = (stage: Stage) => stage.events('rules-changed').map(({ event }) => (event as { readonly version?: number }).version)

  test('stays, when a console that was paused goes on with an earlier one', () => {
    const { stage, change } = connectedStage()
    const heal = stage.apply({ kind: 'pause', machines: ['console-1'] })
    expect(change({ name: 'createTopic', topic: 'pumps' })).toMatchObject({ outcome: 'done', version: 2 })
    expect(change({ name: 'deleteTopic', topic: 'pumps' })).toMatchObject({ outcome: 'done', version: 3 })
    heal()
    stage.run(6000)
    for (const proxy of [1, 2, 3]) expect(publishCode(stage, 'pumps/1', proxy)).toBe(0x90)
    expect(changesOf(stage)).toEqual([2, 3])
    expect(change({ name: 'createTopic', topic: 'pumps' })).toMatchObject({ outcome: 'done', version: 4 })
  })

  test('stays, when the earlier one had found nothing to change', () => {
    const { stage, change } = connectedStage()
    const heal = stage.apply({ kind: 'pause', machines: ['console-1'] })
    expect(change({ name: 'createTopic', topic: 'meters' })).toMatchObject({ outcome: 'done', version: 1 })
    expect(change({ name: 'deleteTopic', topic: 'meters' })).toMatchObject({ outcome: 'done', version: 2 })
    heal()
    stage.run(6000)
    expect(publishCode(stage, 'meters/1', 2)).toBe(0x90)
  })

  test('stays, when a console that was cut off from its peers gets through with an earlier one', () => {
    const { stage, change } = connectedStage()
    const heal = stage.part(['console-1'], ['console-2', 'console-3'])
    expect(change({ name: 'setQuotas', ...unlimited, payloadBytes: 3000 })).toMatchObject({ outcome: 'done', version: 2 })
    expect(change({ name: 'setQuotas', ...unlimited, payloadBytes: 1000 })).toMatchObject({ outcome: 'done', version: 3 })
    heal()
    stage.run(8000)
    expect(publishLarge(stage)).toBe(0x97)
    expect(changesOf(stage)).toEqual([2, 3])
  })

  test('was made before the next one of the same client was asked for', () => {
    const stage = new Stage(byConsole)
    const client = new ConsoleClient(stage.insideHost, stage.plan.consoles)
    const answers: (readonly [string, string | undefined, number | undefined])[] = []
    stage.apply({ kind: 'crash', machines: ['console-1'] })
    stage.insideHost.setTimer(0, () => {
      for (const name of ['createTopic', 'deleteTopic', 'createTopic'] as const)
        client.ask({ name, topic: 'pumps' }, (answer) => answers.push([name, answer?.outcome, answer?.version]))
    })
    stage.until(() => answers.length === 3, 'every answer', 10_000)
    expect(answers).toEqual([
      ['createTopic', 'done', 2],
      ['deleteTopic', 'done', 3],
      ['createTopic', 'done', 4],
    ])
  })

  test('reaches a proxy that was cut off from the consoles within seconds of the end of that, though its connections died without a word', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const stage = new Stage({ seed, ...byConsole })
      const heal = stage.part(['proxy-1'], consoles)
      stage.run(4000)
      const { version } = stage.askConsole({ name: 'createTopic', topic: 'pumps' })
      stage.run(26_000)
      heal()
      stage.run(10_000)
      expect(publishCode(stage, 'pumps/1', 1), `seed ${seed}, version ${version}`).toBe(0x10)
    }
  })
})

describe('with every console dead', () => {
  test('clients connect, subscribe and publish as before, and the last rules hold', () => {
    const stage = new Stage(byConsole)
    stage.askConsole({ name: 'createTopic', topic: 'pumps' })
    untilAdopted(stage, 2)
    stage.crash(...consoles)
    stage.run(60_000)
    const subscriber = stage.connect({ clientId: 'subscriber', proxy: 1, version: 5 })
    expect(stage.subscribe(subscriber, ['pumps/#', 'valves/#'])).toEqual([1, 0x8f])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    const sentMs = stage.nowMs
    stage.publish(publisher, 'pumps/1', 'still here', 2)
    stage.until(() => subscriber.messages.length === 1, 'the message')
    expect(stage.nowMs - sentMs).toBeLessThan(500)
    stage.failOver(stage.shardOfTopic('pumps/1'))
    stage.publish(publisher, 'pumps/1', 'and after a failover')
    expect(stage.stored('pumps/1')).toEqual(['still here', 'and after a failover'])
  })

  test('a proxy that starts goes by the planned rules', () => {
    const stage = new Stage(byConsole)
    stage.crash(...consoles)
    stage.apply({ kind: 'restart', machines: ['proxy-1'] })
    stage.run(3000)
    expect(publishCode(stage, 'meters/1', 1)).toBe(0x10)
    expect(publishCode(stage, 'pumps/1', 1)).toBe(0x90)
  })
})

describe('quotas', () => {
  test('of connections are kept at each proxy: MQTT 5 is told 0x97, 3.1.1 that the server is not available', () => {
    const stage = new Stage()
    setQuotas(stage, { connectionsPerProxy: 2 })
    const first = stage.connect({ clientId: 'first' })
    stage.connect({ clientId: 'second' })
    const fifth = stage.connect({ clientId: 'third', version: 5 })
    expect(fifth.connack?.reasonCode).toBe(0x97)
    expect(stage.connect({ clientId: 'third', version: 4 }).connack?.reasonCode).toBe(3)
    expect(stage.connect({ clientId: 'third', proxy: 2 }).connack?.reasonCode).toBe(0)
    first.disconnect()
    stage.run(500)
    expect(stage.connect({ clientId: 'fourth' }).connack?.reasonCode).toBe(0)
  })

  test('of messages a second: MQTT 5 is told 0x97 of what is too much, and what is within them goes on', () => {
    const stage = new Stage()
    setQuotas(stage, { messagesPerSecond: 10 })
    const calm = stage.connect({ clientId: 'calm', version: 5 })
    for (let i = 0; i < 25; i++) {
      const packetId = calm.publish('t', 'x')
      stage.run(110)
      expect(calm.pubackOf(packetId)?.reasonCode).toBe(0x10)
    }
    const busy = stage.connect({ clientId: 'busy', version: 5 })
    const codesOf = (qos: 1 | 2) => {
      const ids = Array.from({ length: 6 }, () => busy.publish('t', 'x', qos))
      stage.run(500)
      return ids.map((id) => (qos === 1 ? busy.pubackOf(id) : busy.of('pubrec').find(({ packetId }) => packetId === id))?.reasonCode)
    }
    expect(codesOf(1)).toEqual([0x10, 0x10, 0x10, 0x10, 0x10, 0x10])
    // Four are left, and half a second has brought five.
    expect(codesOf(2)).toEqual([0, 0, 0, 0, 0, 0])
    expect(codesOf(1)).toEqual([0x10, 0x10, 0x10, 0x10, 0x10, 0x10])
    expect(codesOf(2)).toEqual([0, 0, 0, 0, 0, 0])
    expect(codesOf(2)).toEqual([0, 0, 0, 0, 0, 0])
    expect(codesOf(1)).toEqual([0x10, 0x10, 0x10, 0x10, 0x10, 0x97])
    expect(busy.closed).toBeUndefined()
  })

  test('of messages a second: 3.1.1, and what has no acknowledgement, has to wait, and nothing of it is lost', () => {
    for (const [version, qos] of [
      [4, 1],
      [4, 0],
      [5, 0],
    ] as const) {
      const stage = new Stage()
      setQuotas(stage, { messagesPerSecond: 10 })
      const subscriber = stage.connect({ clientId: 'subscriber' })
      stage.subscribe(subscriber, ['t'])
      const busy = stage.connect({ clientId: 'busy', version })
      for (let i = 0; i < 30; i++) busy.publish('t', `${i}`, qos)
      stage.run(1000)
      expect(subscriber.messages.length).toBeGreaterThanOrEqual(10)
      expect(subscriber.messages.length).toBeLessThanOrEqual(20)
      stage.run(1500)
      expect(subscriber.messages).toEqual(Array.from({ length: 30 }, (_, i) => `${i}`))
      expect(busy.closed).toBeUndefined()
    }
  })

  test('of messages a second: one who is held by them is served at once when they are lifted, and its DISCONNECT is heard', () => {
    const stage = new Stage()
    setQuotas(stage, { messagesPerSecond: 1 })
    const subscriber = stage.connect({ clientId: 'subscriber' })
    stage.subscribe(subscriber, ['t', 'will'])
    const busy = stage.connect({ clientId: 'busy', will: { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: false } })
    for (let i = 0; i < 20; i++) busy.publish('t', `${i}`)
    setQuotas(stage, { messagesPerSecond: 0 })
    stage.run(1500)
    expect(subscriber.messages.length).toBe(20)
    setQuotas(stage, { messagesPerSecond: 1 })
    const last = (payload: string) =>
      encodePacket({ type: 'publish', topic: 't', payload: Buffer.from(payload), qos: 0, dup: false, retain: false, packetId: 0 }, 4)
    busy.sendBytes(Buffer.concat([last('a'), last('b'), encodePacket({ type: 'disconnect', reasonCode: 0 }, 4)]))
    busy.leave()
    stage.run(3000)
    expect(subscriber.messages).not.toContain('gone')
  })

  test('of messages a second: who sends again all that it has no answer to gets on, and nothing is stored without end', () => {
    for (const version of [5, 4] as const) {
      const stage = new Stage()
      setQuotas(stage, { messagesPerSecond: 5 })
      const topic = stage.topicOn(0)
      const open = new Set([1, 2, 3, 4, 5, 6])
      let connections = 0
      for (; open.size > 0 && connections < 20; connections++) {
        const device = stage.connect(
          version === 5
            ? { clientId: 'device', version, cleanStart: false, properties: { sessionExpiryInterval: 3600 } }
            : { clientId: 'device', version, cleanStart: false },
        )
        for (const packetId of open) device.publish(topic, `m${packetId}`, 1, { packetId, dup: true })
        stage.run(500)
        device.leave()
        stage.run(800)
        for (const packetId of open) if (device.pubackOf(packetId) !== undefined) open.delete(packetId)
      }
      expect(connections).toBeLessThanOrEqual(2)
      expect(stage.stored(topic)).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6'])
    }
  })

  test('of filters and payload take the place of the planned limits', () => {
    const stage = new Stage()
    setQuotas(stage, { filtersPerClient: 2, payloadBytes: 10 })
    const client = stage.connect({ clientId: 'client', version: 5 })
    expect(stage.subscribe(client, ['a', 'b', 'c'])).toEqual([1, 1, 0x97])
    const packetId = client.publish('t', 'eleven byte')
    stage.until(() => client.pubackOf(packetId) !== undefined, 'PUBACK')
    expect(client.pubackOf(packetId)?.reasonCode).toBe(0x97)
    expect(stage.askConsole({ name: 'setQuotas', ...unlimited, filtersPerClient: 0 }).outcome).toBe('invalid')
  })
})

describe('queries', () => {
  test('find messages by topic and time, and each by its id', () => {
    const stage = new Stage()
    const client = stage.connect({ clientId: 'publisher' })
    stage.publish(client, 'meters/1', 'early')
    stage.run(5000)
    stage.publish(client, 'meters/1', 'late')
    const all = stage.askConsole({ name: 'findMessages', topic: 'meters/1', ...everything })
    expect(all.messages.map(({ message }) => decodeStored(message).payload.toString())).toEqual(['early', 'late'])
    const [early, late] = all.messages
    const since = stage.askConsole({ name: 'findMessages', topic: 'meters/1', ...everything, fromMs: early!.storedAtMs + 1 })
    expect(since.messages).toEqual([late])
    const byId = stage.askConsole({ name: 'traceMessage', shard: all.shard, offset: early!.offset })
    expect([byId.outcome, decodeStored(byId.message).payload.toString(), byId.storedAtMs]).toEqual(['found', 'early', early!.storedAtMs])
    for (const offset of [early!.offset + 1, 0, 1 << 30]) {
      expect(stage.askConsole({ name: 'traceMessage', shard: all.shard, offset }).outcome).toBe('none')
    }
    expect(stage.askConsole({ name: 'traceMessage', shard: 600, offset: 1 }).outcome).toBe('none')
  })

  test('are answered by the new owner after a failover', () => {
    const stage = new Stage()
    const client = stage.connect({ clientId: 'publisher' })
    stage.publish(client, 'meters/1', 'before')
    stage.askConsole({ name: 'findMessages', topic: 'meters/1', ...everything })
    stage.failOver(stage.shardOfTopic('meters/1'))
    const found = stage.askConsole({ name: 'findMessages', topic: 'meters/1', ...everything })
    expect(found.messages.map(({ message }) => decodeStored(message).payload.toString())).toEqual(['before'])
  })
})

describe('a trace', () => {
  const persistent = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const
  const traceOf = (stage: Stage, topic: string, index = 0) => {
    const found = stage.askConsole({ name: 'findMessages', topic, ...everything })
    return stage.askConsole({ name: 'traceMessage', shard: found.shard, offset: found.messages[index]!.offset })
  }
  const states = (trace: ReturnType<typeof traceOf>) =>
    Object.fromEntries(trace.deliveries.map(({ clientId, qos, state }) => [clientId, `${state} ${qos}`]))

  test('tells to whom a message was due, and who acknowledged it when', () => {
    const stage = new Stage()
    const prompt = stage.connect({ clientId: 'prompt', ...persistent })
    const slow = stage.connect({ clientId: 'slow', ...persistent, acknowledges: false })
    const away = stage.connect({ clientId: 'away', ...persistent })
    const exact = stage.connect({ clientId: 'exact', ...persistent, acknowledges: false })
    for (const client of [prompt, slow, away]) stage.subscribe(client, ['meters/#'])
    stage.subscribe(exact, [{ filter: 'meters/#', qos: 2 }])
    away.leave()
    stage.run(2000)
    const publisher = stage.connect({ clientId: 'publisher' })
    stage.publish(publisher, 'meters/1', 'x', 2)
    const publishedMs = stage.clientHost.wallMs()
    stage.until(() => exact.messages.length === 1 && prompt.messages.length === 1, 'the message')
    exact.send({ type: 'pubrec', packetId: exact.of('publish')[0]!.packetId, reasonCode: 0 })
    stage.run(5000)
    const trace = traceOf(stage, 'meters/1')
    expect(trace.isWhole).toBe(true)
    expect(states(trace)).toEqual({ prompt: 'acknowledged 1', slow: 'sent 1', away: 'waiting 1', exact: 'received 2' })
    const timesOf = (clientId: string) => trace.deliveries.find((delivery) => delivery.clientId === clientId)!
    expect(Math.abs(timesOf('prompt').acknowledgedAtMs - publishedMs)).toBeLessThan(2000)
    expect(Math.abs(timesOf('exact').receivedAtMs - publishedMs)).toBeLessThan(2000)
    expect(timesOf('slow').acknowledgedAtMs).toBe(0)
    expect(Math.abs(decodeStored(trace.message).publishedAtMs - trace.storedAtMs)).toBeLessThan(1000)
  })

  test('stays the same over checkpoints and a failover', () => {
    const stage = new Stage({ settings: { broker: { checkpointBytes: 2000 } } })
    const subscriber = stage.connect({ clientId: 'subscriber', ...persistent })
    stage.subscribe(subscriber, ['meters/#'])
    const publisher = stage.connect({ clientId: 'publisher' })
    const topic = 'meters/1'
    for (let i = 0; i < 60; i++) {
      stage.publish(publisher, topic, `message ${i} ${'.'.repeat(100)}`)
      if (i % 20 === 0) stage.run(1500)
    }
    stage.run(3000)
    const before = [0, 30, 59].map((index) => traceOf(stage, topic, index))
    for (const trace of before) {
      expect(states(trace)).toEqual({ subscriber: 'acknowledged 1' })
      expect(trace.deliveries[0]!.acknowledgedAtMs).toBeGreaterThanOrEqual(trace.storedAtMs)
    }
    stage.failOver(stage.shardOfTopic(topic))
    stage.run(2000)
    expect([0, 30, 59].map((index) => traceOf(stage, topic, index))).toEqual(before)
  })

  test('tells of a message that expired, with its shard or with a proxy, that nobody had it', () => {
    const stage = new Stage()
    const away = stage.connect({ clientId: 'away', ...persistent })
    const full = stage.connect({ clientId: 'full', version: 5, properties: { receiveMaximum: 1 }, acknowledges: false })
    for (const client of [away, full]) stage.subscribe(client, ['meters/#'])
    away.leave()
    stage.run(1000)
    const publisher = stage.connect({ clientId: 'publisher', version: 5 })
    stage.publish(publisher, 'meters/0', 'fills the window')
    const packetId = publisher.publish('meters/0', 'short-lived', 1, { properties: { messageExpiryInterval: 2 } })
    stage.until(() => publisher.pubackOf(packetId) !== undefined, 'PUBACK')
    stage.run(5000)
    full.send({ type: 'puback', packetId: full.of('publish')[0]!.packetId, reasonCode: 0 })
    const again = stage.connect({ clientId: 'away', ...persistent })
    stage.run(3000)
    expect([full.messages, again.messages]).toEqual([['fills the window'], ['fills the window']])
    const told = traceOf(stage, 'meters/0', 1)
    expect(states(told)).toEqual({ away: 'expired 1', full: 'expired 1' })
    expect(told.deliveries.map(({ acknowledgedAtMs }) => acknowledgedAtMs)).toEqual([0, 0])
    stage.failOver(stage.shardOfTopic('meters/0'))
    expect(states(traceOf(stage, 'meters/0', 1))).toEqual({ away: 'expired 1', full: 'expired 1' })
    expect(states(traceOf(stage, 'meters/0'))).toEqual({ away: 'acknowledged 1', full: 'acknowledged 1' })
  })

  test('follows what a group inherits from a member whose session ends', () => {
    const stage = new Stage()
    const first = stage.connect({ clientId: 'first', ...persistent, acknowledges: false })
    stage.subscribe(first, ['$share/group/meters/#'])
    const publisher = stage.connect({ clientId: 'publisher' })
    stage.publish(publisher, 'meters/1', 'x')
    const second = stage.connect({ clientId: 'second', ...persistent })
    stage.subscribe(second, ['$share/group/meters/#'])
    first.leave()
    const again = stage.connect({ clientId: 'first', version: 5, cleanStart: true })
    stage.until(() => second.messages.length === 1, 'the message at the heir')
    stage.run(3000)
    expect(states(traceOf(stage, 'meters/1'))).toEqual({ first: 'ended 1', second: 'acknowledged 1' })
    expect(again.closed).toBeUndefined()
  })
})

describe('clients', () => {
  test('are listed with proxy and time, page by page', () => {
    const stage = new Stage()
    for (let i = 0; i < 5; i++) stage.connect({ clientId: `client-${i}`, proxy: 1 + (i % 3), cleanStart: false })
    const first = stage.askConsole({ name: 'listClients', after: '', limit: 3 })
    expect(first.outcome).toBe('found')
    expect(first.clients.map(({ clientId, connected, proxy }) => [clientId, connected, proxy])).toEqual([
      ['client-0', true, 'proxy-1'],
      ['client-1', true, 'proxy-2'],
      ['client-2', true, 'proxy-3'],
    ])
    expect(first.more).toBe(true)
    for (const { sinceMs } of first.clients) expect(Math.abs(sinceMs - stage.clientHost.wallMs())).toBeLessThan(5000)
    const rest = stage.askConsole({ name: 'listClients', after: 'client-2', limit: 3 })
    expect([rest.clients.map(({ clientId }) => clientId), rest.more]).toEqual([['client-3', 'client-4'], false])
    stage.failOver(stage.sessionShardOf('client-0'))
    stage.run(5000)
    expect(stage.askConsole({ name: 'listClients', after: '', limit: 3 }).clients.map(({ sinceMs }) => sinceMs)).toEqual(
      first.clients.map(({ sinceMs }) => sinceMs),
    )
  })

  test('are sent away with 0x98, their will fires, and their session stays', () => {
    const stage = new Stage()
    const witness = stage.connect({ clientId: 'witness' })
    stage.subscribe(witness, ['wills/#'])
    const options = { clientId: 'client', version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const
    const will = { topic: 'wills/client', payload: Buffer.from('gone'), qos: 1, retain: false } as const
    const client = stage.connect({ ...options, will })
    stage.subscribe(client, ['meters/#'])
    expect(stage.askConsole({ name: 'kickClient', clientId: 'client' }).outcome).toBe('kicked')
    stage.until(() => client.closed !== undefined && witness.messages.length === 1, 'the close and the will')
    expect(client.of('disconnect').map(({ reasonCode }) => reasonCode)).toEqual([0x98])
    expect(stage.askConsole({ name: 'kickClient', clientId: 'client' }).outcome).toBe('not-connected')
    stage.publish(witness, 'meters/1', 'meanwhile')
    const back = stage.connect({ ...options, proxy: 2 })
    expect(back.connack?.sessionPresent).toBe(true)
    stage.until(() => back.messages.length === 1, 'what came meanwhile')
  })

  test('whose proxy is silent cannot be sent away', () => {
    const stage = new Stage()
    stage.connect({ clientId: 'client', proxy: 1 })
    stage.part(['proxy-1'], stage.brokers)
    expect(stage.askConsole({ name: 'kickClient', clientId: 'client' }).outcome).toBe('unreachable')
  })
})
