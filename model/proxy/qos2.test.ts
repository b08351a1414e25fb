/** QoS 2 in both directions: exactly once, whichever step the connection breaks at and whichever proxy the client comes back through. */
import { describe, expect, test } from 'vitest'
import { type ConnectOptions, Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'
import type { ProtocolVersion } from '../wire/packets.ts'

const versions: readonly ProtocolVersion[] = [3, 4, 5]

function keeping(version: ProtocolVersion, clientId: string): ConnectOptions {
  const properties = version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}
  return { version, clientId, cleanStart: false, acknowledges: false, ...properties }
}

function came(stage: Stage, client: ScriptedClient, type: 'pubrec' | 'pubrel' | 'pubcomp' | 'publish', count = 1): void {
  stage.until(() => client.of(type).length >= count, `${count} ${type}`)
}

describe('a QoS 2 publish', () => {
  test('is stored and acknowledged once, however often PUBLISH and PUBREL are repeated on the connection [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-12]', () => {
    const stage = new Stage()
    for (const version of versions) {
      const topic = `t${version}`
      const client = stage.connect(keeping(version, `publisher-${version}`))
      const packetId = client.publish(topic, 'once', 2)
      client.publish(topic, 'once', 2, { packetId, dup: true })
      came(stage, client, 'pubrec', 2)
      client.publish(topic, 'once', 2, { packetId })
      came(stage, client, 'pubrec', 3)
      expect(client.of('pubrec').every((packet) => packet.packetId === packetId && packet.reasonCode < 0x80)).toBe(true)
      client.acknowledge('pubrel', packetId)
      client.acknowledge('pubrel', packetId)
      came(stage, client, 'pubcomp', 2)
      expect(stage.stored(topic)).toEqual(['once'])
      client.publish(topic, 'another', 2, { packetId })
      came(stage, client, 'pubrec', 4)
      expect(stage.stored(topic)).toEqual(['once', 'another'])
    }
  })

  test('gets PUBCOMP 0x00 for each PUBREL, whether its packet id was in use or not: a PUBCOMP may have been lost [MQTT-4.3.3-11] [MQTT-3.7.2-1]', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(5, 'modern'))
    const unwanted = client.publish('nobody', 'x', 2)
    came(stage, client, 'pubrec')
    client.acknowledge('pubrel', unwanted)
    came(stage, client, 'pubcomp')
    client.acknowledge('pubrel', 777)
    came(stage, client, 'pubcomp', 2)
    expect(client.of('pubrec')[0]!.reasonCode).toBe(0)
    expect(client.of('pubcomp')).toMatchObject([
      { packetId: unwanted, reasonCode: 0 },
      { packetId: 777, reasonCode: 0 },
    ])
  })

  test('gets its PUBREC in the order of the PUBLISHes, whatever their shards take [MQTT-4.6.0-3]', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(4, 'publisher'))
    const ids = Array.from({ length: 30 }, (_, i) => client.publish(stage.topicOn(i % 6), `${i}`, 2))
    came(stage, client, 'pubrec', 30)
    expect(client.of('pubrec').map((packet) => packet.packetId)).toEqual(ids)
  })

  test('of one topic is stored in the order of publication', () => {
    const stage = new Stage()
    const client = stage.connect({ ...keeping(4, 'publisher'), acknowledges: true })
    const texts = Array.from({ length: 40 }, (_, i) => `${i}`)
    for (const text of texts) client.publish('a', text, 2)
    came(stage, client, 'pubcomp', 40)
    expect(stage.stored('a')).toEqual(texts)
  })

  test('whose PUBREL comes before PUBREC left ends the connection', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(5, 'hasty'))
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs: 300, lossProbability: 0 })
    const packetId = client.publish('a', 'x', 2)
    client.acknowledge('pubrel', packetId)
    stage.until(() => client.closed !== undefined, 'the connection to be closed')
    expect(client.of('disconnect')).toMatchObject([{ reasonCode: 0x82 }])
  })

  test('is acknowledged when it is durable: PUBREC after its id and the message are, PUBCOMP after the release is [MQTT-4.3.3-8]', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(5, 'patient'))
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs: 200, lossProbability: 0 })
    const publishedAtMs = stage.nowMs
    const packetId = client.publish('a', 'x', 2)
    came(stage, client, 'pubrec')
    expect(stage.nowMs - publishedAtMs).toBeGreaterThan(400)
    const releasedAtMs = stage.nowMs
    client.acknowledge('pubrel', packetId)
    came(stage, client, 'pubcomp')
    expect(stage.nowMs - releasedAtMs).toBeGreaterThan(200)
  })

  test('goes on over the death of its session’s owner, at each step, on the same connection', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(5, 'steady'))
    const shard = stage.sessionShardOf('steady')
    const healFirst = stage.crash(stage.ownerOf(shard))
    const packetId = client.publish('a', 'x', 2)
    came(stage, client, 'pubrec')
    healFirst()
    stage.run(8000)
    stage.crash(stage.ownerOf(shard))
    client.acknowledge('pubrel', packetId)
    came(stage, client, 'pubcomp')
    expect(client.of('pubcomp')).toMatchObject([{ packetId, reasonCode: 0 }])
    expect([client.closed, client.of('pubrec').length, stage.stored('a')]).toEqual([undefined, 1, ['x']])
  })

  describe('that is repeated while its PUBREC waits for an earlier one is answered like the first, and holds up none that follow [MQTT-4.3.3-10] [MQTT-4.6.0-3]', () => {
    /** Something to publish at a shard that is away for a while, and at one that answers at once. */
    const begun = (version: ProtocolVersion, maximumPayloadBytes = 65_536) => {
      const stage = new Stage({ settings: { proxy: { maximumPayloadBytes } } })
      const client = stage.connect(keeping(version, 'timed'))
      const owner = stage.ownerOf(stage.sessionShardOf('timed'))
      const shards = Array.from({ length: stage.plan.shardCount / 2 }, (_, shard) => shard)
      const away = shards.find((shard) => stage.ownerOf(shard) !== owner)!
      const atHand = shards.find((shard) => stage.ownerOf(shard) === owner)!
      stage.crash(stage.ownerOf(away))
      return { stage, client, slow: stage.topicOn(away), fast: stage.topicOn(atHand) }
    }

    test.each(versions)('stored, in version %i', (version) => {
      const { stage, client, slow, fast } = begun(version)
      const [one, two] = [client.publish(slow, '1', 2), client.publish(fast, '2', 2)]
      stage.run(500)
      expect(stage.stored(fast)).toEqual(['2'])
      for (const dup of [true, false]) client.publish(fast, '2', 2, { packetId: two, dup })
      const three = client.publish(fast, '3', 2)
      came(stage, client, 'pubrec', 5)
      expect(client.of('pubrec').map(({ packetId, reasonCode }) => [packetId, reasonCode])).toEqual(
        [one, two, two, two, three].map((packetId) => [packetId, 0]),
      )
      expect(stage.stored(fast)).toEqual(['2', '3'])
    })

    test('refused', () => {
      const { stage, client, slow, fast } = begun(5, 3)
      const [one, two] = [client.publish(slow, '1', 2), client.publish(fast, 'too long', 2)]
      stage.run(500)
      client.publish(fast, 'too long', 2, { packetId: two, dup: true })
      const three = client.publish(fast, '3', 2)
      came(stage, client, 'pubrec', 4)
      expect(client.of('pubrec').map(({ packetId, reasonCode }) => [packetId, reasonCode])).toEqual([
        [one, 0],
        [two, 0x97],
        [two, 0x97],
        [three, 0],
      ])
      // What was refused does not count any more, and its packet id is free.
      client.publish(fast, '4', 2, { packetId: two })
      came(stage, client, 'pubrec', 5)
      expect(stage.stored(fast)).toEqual(['3', '4'])
    })
  })

  test('is not answered for one before it: a PUBREC that waited, for a packet id that was released and is in use again, does not leave', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(4, 'timed'))
    const owner = stage.ownerOf(stage.sessionShardOf('timed'))
    const shards = Array.from({ length: stage.plan.shardCount / 2 }, (_, shard) => shard)
    const away = shards.find((shard) => stage.ownerOf(shard) !== owner)!
    const fast = stage.topicOn(shards.find((shard) => stage.ownerOf(shard) === owner)!)
    const slow = stage.topicOn(away)
    // The PUBREC of the repetition stands behind that of `late`, and that of the PUBLISH before it.
    const packetId = client.publish(fast, 'first', 2)
    came(stage, client, 'pubrec')
    stage.crash(stage.ownerOf(away))
    const late = client.publish(slow, 'late', 2)
    client.publish(fast, 'first', 2, { packetId, dup: true })
    client.acknowledge('pubrel', packetId)
    came(stage, client, 'pubcomp')
    client.publish(slow, 'second', 2, { packetId })
    came(stage, client, 'pubrec', 3)
    stage.run(3000)
    expect(client.of('pubrec').map((packet) => packet.packetId)).toEqual([packetId, late, packetId])
    expect([stage.stored(fast), stage.stored(slow)]).toEqual([['first'], ['late', 'second']])
  })

  describe('goes on through another proxy', () => {
    test('after PUBLISH, whether PUBREC was lost or not yet sent', () => {
      const stage = new Stage()
      for (const version of versions) {
        for (const delayMs of [0, 2, 5, 20, 60, 120]) {
          const clientId = `p${version}-${delayMs}`
          const first = stage.connect(keeping(version, clientId))
          const packetId = first.publish(clientId, 'once', 2)
          stage.run(41 + delayMs)
          first.leave()
          const second = stage.connect({ ...keeping(version, clientId), proxy: 2 })
          second.publish(clientId, 'once', 2, { packetId, dup: true })
          came(stage, second, 'pubrec')
          second.acknowledge('pubrel', packetId)
          came(stage, second, 'pubcomp')
          expect(second.of('pubcomp')).toMatchObject([{ packetId, reasonCode: 0 }])
          expect(stage.stored(clientId)).toEqual(['once'])
        }
      }
    })

    test('after PUBREC and after PUBREL, with the owners of both shards replaced meanwhile', () => {
      const stage = new Stage()
      for (const version of [4, 5] as const) {
        const clientId = `q${version}`
        const first = stage.connect(keeping(version, clientId))
        const packetId = first.publish(clientId, 'once', 2)
        came(stage, first, 'pubrec')
        first.leave()
        const healTopic = stage.failOver(stage.shardOfTopic(clientId))
        stage.run(1500)
        healTopic()
        stage.run(8000)
        const healSession = stage.failOver(stage.sessionShardOf(clientId))
        stage.run(1500)
        // The client saw PUBREC only for all we know: it may say either.
        const second = stage.connect({ ...keeping(version, clientId), proxy: 2 })
        second.publish(clientId, 'once', 2, { packetId, dup: true })
        came(stage, second, 'pubrec')
        second.acknowledge('pubrel', packetId)
        second.leave()
        stage.run(500)
        const third = stage.connect({ ...keeping(version, clientId), proxy: 3 })
        third.acknowledge('pubrel', packetId)
        came(stage, third, 'pubcomp')
        third.publish(clientId, 'next', 2, { packetId })
        came(stage, third, 'pubrec')
        expect(stage.stored(clientId)).toEqual(['once', 'next'])
        healSession()
        stage.run(8000)
      }
    })
  })
})

describe('a message at QoS 2', () => {
  const begun = (version: ProtocolVersion) => {
    const stage = new Stage()
    const subscriber = stage.connect(keeping(version, 'subscriber'))
    stage.subscribe(subscriber, [{ filter: 'a', qos: 2 }])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    return { stage, subscriber, publisher }
  }

  test('is sent by PUBLISH, PUBREC, PUBREL, PUBCOMP under one packet id [MQTT-4.3.3-2] [MQTT-4.3.3-4] [MQTT-2.2.1-5]', () => {
    for (const version of versions) {
      const { stage, subscriber, publisher } = begun(version)
      stage.publish(publisher, 'a', 'x', 2)
      came(stage, subscriber, 'publish')
      const { packetId } = subscriber.publishes[0]!
      expect(subscriber.publishes).toMatchObject([{ qos: 2, dup: false }])
      expect(subscriber.of('pubrel')).toEqual([])
      subscriber.acknowledge('pubrec', packetId)
      came(stage, subscriber, 'pubrel')
      expect(subscriber.of('pubrel')).toMatchObject([{ packetId, reasonCode: 0 }])
      subscriber.acknowledge('pubcomp', packetId)
      stage.run(1500)
      subscriber.leave()
      const back = stage.connect({ ...keeping(version, 'subscriber'), proxy: 2 })
      stage.run(1000)
      expect(back.received.map((packet) => packet.type)).toEqual(['connack'])
    }
  })

  test('follows the client to another proxy at each step, and is new to it once [MQTT-4.4.0-1] [MQTT-4.3.3-6]', () => {
    for (const version of versions) {
      const { stage, subscriber, publisher } = begun(version)
      stage.publish(publisher, 'a', 'x', 2)
      came(stage, subscriber, 'publish')
      const { packetId } = subscriber.publishes[0]!
      subscriber.leave()
      const second = stage.connect({ ...keeping(version, 'subscriber'), proxy: 2 })
      came(stage, second, 'publish')
      expect(second.publishes).toMatchObject([{ packetId, dup: true, qos: 2 }])
      second.acknowledge('pubrec', packetId)
      came(stage, second, 'pubrel')
      second.leave()
      const third = stage.connect({ ...keeping(version, 'subscriber'), proxy: 3 })
      came(stage, third, 'pubrel')
      expect(third.of('pubrel')).toMatchObject([{ packetId }])
      third.acknowledge('pubcomp', packetId)
      stage.run(1500)
      third.leave()
      const fourth = stage.connect({ ...keeping(version, 'subscriber'), proxy: 1 })
      stage.publish(publisher, 'a', 'next', 2)
      came(stage, fourth, 'publish')
      stage.run(500)
      expect([third, fourth].map((client) => client.messages)).toEqual([[], ['next']])
    }
  })

  test('received while its shard moves is released by the new owner', () => {
    const { stage, subscriber, publisher } = begun(5)
    stage.publish(publisher, 'a', 'x', 2)
    came(stage, subscriber, 'publish')
    const { packetId } = subscriber.publishes[0]!
    const heal = stage.crash(stage.ownerOf(stage.shardOfTopic('a')))
    stage.run(200)
    subscriber.acknowledge('pubrec', packetId)
    came(stage, subscriber, 'pubrel')
    subscriber.acknowledge('pubcomp', packetId)
    heal()
    stage.publish(publisher, 'a', 'next', 2)
    came(stage, subscriber, 'publish', 2)
    stage.run(500)
    expect(subscriber.messages).toEqual(['x', 'next'])
    expect(subscriber.publishes.map((packet) => packet.dup)).toEqual([false, false])
  })

  test('of a session that goes on is released by its shard only: a PUBREC that comes before the shard has spoken is no ground for PUBREL [MQTT-4.3.3-4]', () => {
    const stage = new Stage()
    const topic = stage.topicOn(0)
    const broker = stage.brokers.find((name) => name !== stage.ownerOf(0))!
    const clientId = stage.clientIdServedBy(broker)
    const first = stage.connect(keeping(5, clientId))
    stage.subscribe(first, [{ filter: topic, qos: 2 }])
    stage.publish(stage.connect({ clientId: 'publisher', proxy: 3 }), topic, 'x', 2)
    came(stage, first, 'publish')
    const { packetId } = first.publishes[0]!
    first.leave()
    const servedTimes = stage.timesServed(0)
    stage.crash(stage.ownerOf(0))
    const second = stage.connect({ ...keeping(5, clientId), proxy: 2 })
    expect(second.connack!.sessionPresent).toBe(true)
    second.acknowledge('pubrec', packetId)
    second.ping()
    came(stage, second, 'publish')
    expect(stage.timesServed(0)).toBe(servedTimes + 1)
    expect(second.received.map((packet) => packet.type)).toEqual(['connack', 'pingresp', 'publish'])
    expect(second.publishes).toMatchObject([{ packetId, dup: true }])
    second.acknowledge('pubrec', packetId)
    came(stage, second, 'pubrel')
    expect(second.of('pubrel')).toMatchObject([{ packetId, reasonCode: 0 }])
  })

  test('that the client refuses is not sent again, and gets no PUBREL [MQTT-4.4.0-2]', () => {
    const { stage, subscriber, publisher } = begun(5)
    stage.publish(publisher, 'a', 'x', 2)
    came(stage, subscriber, 'publish')
    subscriber.acknowledge('pubrec', subscriber.publishes[0]!.packetId, 0x80)
    stage.run(1500)
    subscriber.leave()
    const back = stage.connect({ ...keeping(5, 'subscriber'), proxy: 2 })
    stage.run(1000)
    expect([subscriber.of('pubrel'), back.publishes]).toEqual([[], []])
  })

  test('is answered as the wrong kind ends the connection; an answer to nothing does not', () => {
    for (const [wrong, qos] of [['puback', 2] as const, ['pubrec', 1] as const, ['pubcomp', 1] as const]) {
      const stage = new Stage()
      const subscriber = stage.connect(keeping(5, 'subscriber'))
      stage.subscribe(subscriber, [{ filter: 'a', qos }])
      stage.publish(stage.connect({ clientId: 'publisher' }), 'a', 'x', 2)
      came(stage, subscriber, 'publish')
      for (const type of ['puback', 'pubcomp'] as const) subscriber.acknowledge(type, 60_000)
      subscriber.acknowledge('pubrec', 60_000, 0x80)
      subscriber.acknowledge('pubrec', 60_000)
      came(stage, subscriber, 'pubrel')
      expect(subscriber.of('pubrel')).toMatchObject([{ packetId: 60_000, reasonCode: 0 }])
      subscriber.acknowledge(wrong, subscriber.publishes[0]!.packetId)
      stage.until(() => subscriber.closed !== undefined, 'the connection to be closed')
      expect(subscriber.of('disconnect')).toMatchObject([{ reasonCode: 0x82 }])
    }
  })

  test('counts against the window of the client until PUBCOMP [MQTT-3.3.4-9]', () => {
    const stage = new Stage()
    const client = stage.connect({ ...keeping(5, 'narrow'), properties: { receiveMaximum: 2 } })
    stage.subscribe(client, [{ filter: '#', qos: 2 }])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    for (const text of ['1', '2', '3']) stage.publish(publisher, text, text, 2)
    stage.run(500)
    expect(client.messages).toHaveLength(2)
    const { packetId } = client.publishes[0]!
    client.acknowledge('pubrec', packetId)
    came(stage, client, 'pubrel')
    stage.run(500)
    expect(client.messages).toHaveLength(2)
    client.acknowledge('pubcomp', packetId)
    came(stage, client, 'publish', 3)
  })
})
