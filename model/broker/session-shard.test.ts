/** Session shards in a region at work: sessions outlive their owners, their proxies and their connections, for as long as they were asked to and no longer. */
import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'

const keeping = (seconds: number) => ({ version: 5, cleanStart: false, properties: { sessionExpiryInterval: seconds } }) as const

/** Whether anybody wants the topic: what PUBACK tells an MQTT 5 publisher. */
function isWanted(stage: Stage, publisher: ScriptedClient, topic: string): boolean {
  return publisher.pubackOf(stage.publish(publisher, topic, 'x'))!.reasonCode === 0
}

/** A client id, the session shard it belongs to, and a topic whose shard another broker serves. */
function apart(stage: Stage) {
  const owner = stage.ownerOf(stage.plan.shardCount - 1)
  const clientId = stage.clientIdServedBy(owner, 'meter')
  const topicShard = [0, 1, 2, 3, 4, 5].find((shard) => stage.ownerOf(shard) !== owner)!
  const publisherId = stage.clientIdServedBy(stage.ownerOf(topicShard), 'publisher')
  return { clientId, shard: stage.sessionShardOf(clientId), topic: stage.topicOn(topicShard), publisherId }
}

describe('a failover of a session shard', () => {
  test('holds a connected client back for its length, then lets it go on: nothing is lost, said twice, or closed', () => {
    const stage = new Stage()
    const { clientId, shard, topic, publisherId } = apart(stage)
    const client = stage.connect({ clientId, proxy: 1, ...keeping(3600) })
    stage.subscribe(client, [topic])
    const publisher = stage.connect({ clientId: publisherId, proxy: 2 })
    const owner = stage.ownerOf(shard)
    const heal = stage.crash(owner)
    const crashedAtMs = client.nowMs
    stage.run(stage.settings.proxy.sessionLeaseMs + 100)
    const heard = client.received.length
    for (let i = 1; i <= 20; i++) publisher.publish(topic, `m${i}`)
    const own = client.publish(topic, 'own')
    client.ping()
    stage.until(() => publisher.of('puback').length === 20, 'the PUBACKs of a publisher whose session is elsewhere')
    stage.run(100)
    // Nobody can confirm the session now, so nothing is said in its name.
    expect(client.received.length).toBe(heard)
    stage.until(() => client.of('pingresp').length === 1 && client.pubackOf(own) !== undefined, 'the answers')
    expect(client.nowMs - crashedAtMs).toBeLessThan(stage.settings.nameserver.expiryMs + 3000)
    stage.until(() => client.messages.length === 21, 'the messages')
    expect(client.messages.filter((text) => text !== 'own')).toEqual(Array.from({ length: 20 }, (_, i) => `m${i + 1}`))
    expect(client.closed).toBeUndefined()
    heal()
    stage.run(5000)
    expect(client.closed).toBeUndefined()
    expect(stage.events('session-opened').filter((entry) => JSON.stringify(entry.event).includes(`"${clientId}"`))).toHaveLength(1)
  })

  test('keeps sessions that are away with their subscriptions, and counts their epochs on', () => {
    const stage = new Stage()
    const { clientId, shard, topic, publisherId } = apart(stage)
    const client = stage.connect({ clientId, proxy: 1, ...keeping(3600) })
    stage.subscribe(client, [topic, 'unused/#'])
    client.unsubscribe(['unused/#'])
    stage.until(() => client.of('unsuback').length === 1, 'UNSUBACK')
    client.leave()
    stage.run(500)
    stage.failOver(shard)
    const publisher = stage.connect({ clientId: publisherId, proxy: 2, version: 5 })
    stage.publish(publisher, topic, 'meanwhile')
    expect(isWanted(stage, publisher, 'unused/a')).toBe(false)
    const back = stage.connect({ clientId, proxy: 3, ...keeping(3600) })
    expect(back.connack?.sessionPresent).toBe(true)
    stage.until(() => back.messages.length === 1, 'the message')
    const opened = stage.events('session-opened').map((entry) => entry.event as unknown as { clientId: string; epoch: number })
    const epochs = opened.filter((event) => event.clientId === clientId).map((event) => event.epoch)
    expect(epochs[1]).toBeGreaterThan(epochs[0]!)
  })

  test('forgets no session that a clean start or an expiry ended, and what was left of it at the topic shards goes', () => {
    const stage = new Stage()
    const { clientId, shard, topic, publisherId } = apart(stage)
    const publisher = stage.connect({ clientId: publisherId, proxy: 2, version: 5 })
    const client = stage.connect({ clientId, proxy: 1, ...keeping(3600) })
    stage.subscribe(client, [topic])
    client.leave()
    stage.run(500)
    expect(isWanted(stage, publisher, topic)).toBe(true)
    // The topic shard's owner cannot be told: the session shard has to remember, and its next owner too.
    const topicOwner = stage.ownerOf(stage.shardOfTopic(topic))
    const heal = stage.part(
      [topicOwner],
      stage.brokers.filter((broker) => broker !== topicOwner),
    )
    stage.connect({ clientId, proxy: 3, version: 5, cleanStart: true }).leave()
    stage.run(1000)
    expect(isWanted(stage, publisher, topic)).toBe(true)
    stage.failOver(shard)
    heal()
    stage.until(() => !isWanted(stage, publisher, topic), 'the queue of the ended session to go')
    expect(stage.connect({ clientId, proxy: 1, ...keeping(3600) }).connack?.sessionPresent).toBe(false)
  })

  test('does not let a session live for less than its expiry, nor for much longer', () => {
    const stage = new Stage()
    const { clientId, shard } = apart(stage)
    const leave = () => stage.connect({ clientId, proxy: 1, ...keeping(20) }).leave()
    leave()
    stage.run(8000)
    stage.failOver(shard)
    stage.run(6000)
    expect(stage.connect({ clientId, proxy: 2, ...keeping(20) }).connack?.sessionPresent).toBe(true)
    stage.run(500)
    leave()
    stage.run(5000)
    const healed = stage.events('session-ended').length
    stage.run(20_000)
    expect(stage.events('session-ended').length).toBe(healed + 1)
  })

  test('after which the proxy of a client is gone too ends that connection for the session: its expiry begins to count', () => {
    const stage = new Stage()
    const { clientId, shard } = apart(stage)
    stage.connect({ clientId, proxy: 1, ...keeping(10) })
    stage.crash('proxy-1')
    stage.failOver(shard)
    const { unreachableCloseMs, sessionLeaseMs } = stage.settings.proxy
    stage.run(unreachableCloseMs + sessionLeaseMs + 10_000 + 1000)
    expect(stage.events('session-ended')).toHaveLength(1)
  })
})

describe('a proxy that dies', () => {
  test('leaves its sessions to others at once: present, with their subscriptions, and no lease to wait for when a new process has reported', () => {
    const stage = new Stage()
    const { clientId, topic, publisherId } = apart(stage)
    const client = stage.connect({ clientId, proxy: 1, ...keeping(3600) })
    stage.subscribe(client, [topic])
    stage.crash('proxy-1')
    const publisher = stage.connect({ clientId: publisherId, proxy: 2 })
    stage.publish(publisher, topic, 'meanwhile')
    const back = stage.dial({ clientId, proxy: 3, ...keeping(3600) })
    stage.until(() => back.connack !== undefined, 'CONNACK', stage.settings.proxy.sessionLeaseMs + 500)
    expect(back.connack?.sessionPresent).toBe(true)
    stage.until(() => back.messages.length === 1, 'the message')
  })

  test('takes with it the sessions that were to end with their connections', () => {
    const stage = new Stage()
    const { clientId, topic, publisherId } = apart(stage)
    const client = stage.connect({ clientId, proxy: 1, version: 4, cleanStart: true })
    stage.subscribe(client, [topic])
    const publisher = stage.connect({ clientId: publisherId, proxy: 2, version: 5 })
    expect(isWanted(stage, publisher, topic)).toBe(true)
    stage.crash('proxy-1')
    stage.run(stage.settings.proxy.sessionLeaseMs + 1500)
    expect(isWanted(stage, publisher, topic)).toBe(false)
  })
})

describe('a checkpoint of sessions', () => {
  test('carries them over a failover: who is connected, subscriptions, expiries, what is still to be cleaned up', () => {
    const stage = new Stage({ settings: { broker: { checkpointBytes: 2000 } } })
    const { clientId, shard, topic, publisherId } = apart(stage)
    const sameShard = (prefix: string) => {
      for (let i = 0; ; i++) if (stage.sessionShardOf(`${prefix}-${i}`) === shard) return `${prefix}-${i}`
    }
    const connected = stage.connect({ clientId, proxy: 1, ...keeping(3600) })
    stage.subscribe(connected, [topic])
    const [away, short, busy] = [sameShard('away'), sameShard('short'), sameShard('busy')]
    const leaver = stage.connect({ clientId: away, proxy: 2, ...keeping(3600) })
    stage.subscribe(leaver, ['a/+', 'b'])
    leaver.leave()
    stage.connect({ clientId: short, proxy: 2, ...keeping(12) }).leave()
    const before = stage.copyOf(shard).markOffset
    for (let i = 0; i < 60; i++) stage.connect({ clientId: busy, proxy: (i % 3) + 1, ...keeping(3600) })
    stage.run(1000)
    expect(stage.copyOf(shard).markOffset).toBeGreaterThan(before)
    stage.failOver(shard)
    stage.run(1000)
    expect(stage.world.goals.get('session shard restored from a checkpoint')).toBeGreaterThan(0)
    const publisher = stage.connect({ clientId: publisherId, proxy: 2 })
    stage.publish(publisher, topic, 'to the connected')
    stage.until(() => connected.messages.length === 1, 'the message for the one that stayed')
    for (const wanted of ['a/1', 'b']) stage.publish(publisher, wanted, wanted)
    const back = stage.connect({ clientId: away, proxy: 3, ...keeping(3600) })
    expect(back.connack?.sessionPresent).toBe(true)
    stage.until(() => back.messages.length === 2, 'the messages for the one that was away')
    expect(stage.connect({ clientId: busy, proxy: 1, ...keeping(3600) }).connack?.sessionPresent).toBe(true)
    stage.run(15_000)
    expect(stage.connect({ clientId: short, proxy: 1, ...keeping(12) }).connack?.sessionPresent).toBe(false)
  })
})

describe('the log of a session shard', () => {
  test('gets no longer, however often clients come and publish, also where a zone was dark meanwhile; what it says is all there', () => {
    const CHECKPOINT_BYTES = 4000
    const stage = new Stage({ settings: { broker: { checkpointBytes: CHECKPOINT_BYTES, segmentBytes: 4000 } } })
    const { clientId, shard, topic } = apart(stage)
    const sleeper = (() => {
      for (let i = 0; ; i++) if (stage.sessionShardOf(`sleeper-${i}`) === shard) return `sleeper-${i}`
    })()
    const asleep = stage.connect({ clientId: sleeper, proxy: 2, ...keeping(36_000) })
    stage.subscribe(asleep, [topic])
    asleep.leave()
    const comeAndPublish = (times: number): number => {
      for (let i = 0; i < times; i++) {
        const client = stage.connect({ clientId, proxy: 1, ...keeping(3600) })
        for (let packet = 0; packet < 5; packet++) stage.publish(client, topic, `m${i} ${packet}`, 2)
        client.leave()
      }
      stage.run(1000)
      const { size, trimOffset } = stage.copyOf(shard)
      return size - trimOffset
    }
    expect(comeAndPublish(40)).toBeLessThan(3 * CHECKPOINT_BYTES)
    const trimmedBefore = stage.copyOf(shard).trimOffset
    expect(trimmedBefore).toBeGreaterThan(CHECKPOINT_BYTES)
    const heal = stage.apply({ kind: 'power-loss', machines: ['volume-3'] })
    expect(comeAndPublish(40)).toBeLessThan(3 * CHECKPOINT_BYTES)
    expect(stage.copyOf(shard).trimOffset).toBeGreaterThan(2 * trimmedBefore - CHECKPOINT_BYTES)
    heal()
    stage.run(8000)
    expect(stage.world.goals.get('copy skipped what was trimmed')).toBeGreaterThan(0)
    // Of those that have it, one is the copy that had to skip.
    stage.apply({ kind: 'power-loss', machines: ['volume-1'] })
    stage.failOver(shard)
    const publisher = stage.connect({ clientId, proxy: 3, ...keeping(3600) })
    expect(publisher.connack?.sessionPresent).toBe(true)
    stage.publish(publisher, topic, 'last', 2)
    const back = stage.connect({ clientId: sleeper, proxy: 3, ...keeping(3600) })
    expect(back.connack?.sessionPresent).toBe(true)
    stage.until(() => back.messages.at(-1) === 'last', 'the last message')
    expect(back.messages).toHaveLength(80 * 5 + 1)
  })
})

describe('a will', () => {
  const bye = { topic: '', payload: Buffer.from('bye'), qos: 1, retain: false } as const

  test('comes to its subscribers once, when the proxy of its client dies, and then the broker [MQTT-3.1.2-8]', () => {
    for (const delayMs of [0, 1500, 2500]) {
      const stage = new Stage({ seed: 1 + delayMs })
      const { clientId, shard, topic, publisherId } = apart(stage)
      const watcher = stage.connect({ clientId: publisherId, proxy: 2 })
      stage.subscribe(watcher, [topic])
      stage.connect({ clientId, proxy: 1, ...keeping(3600), will: { ...bye, topic } })
      stage.crash('proxy-1')
      stage.run(delayMs)
      stage.failOver(shard)
      stage.until(() => watcher.messages.length > 0, 'the will')
      stage.run(20_000)
      expect(watcher.messages).toEqual(['bye'])
      expect(stage.events('will-fired').length).toBeGreaterThan(0)
    }
  })

  test('does not come after DISCONNECT 0x00, though the broker dies then [MQTT-3.14.4-3]', () => {
    const stage = new Stage()
    const { clientId, shard, topic, publisherId } = apart(stage)
    const watcher = stage.connect({ clientId: publisherId, proxy: 2 })
    stage.subscribe(watcher, [topic])
    stage.connect({ clientId, proxy: 1, ...keeping(3600), will: { ...bye, topic } }).sayGoodbye()
    stage.run(100)
    stage.failOver(shard)
    stage.run(20_000)
    expect(watcher.messages).toEqual([])
    expect(stage.events('will-dropped')).toHaveLength(1)
  })
})
