/** Who owes whom which packet: the exchanges of QoS 1 and QoS 2 on the way in and out, what is sent again and what is not, and the flag that says so. */
import { describe, expect, test } from 'vitest'
import { type ConnectOptions, Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'
import type { ProtocolVersion } from '../wire/packets.ts'

const versions: readonly ProtocolVersion[] = [3, 4, 5]

function keeping(version: ProtocolVersion, clientId: string, proxy = 1): ConnectOptions {
  const properties = version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}
  return { version, clientId, proxy, cleanStart: false, acknowledges: false, ...properties }
}

function came(stage: Stage, client: ScriptedClient, type: 'publish' | 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', count = 1): void {
  stage.until(() => client.of(type).length >= count, `${count} ${type}`)
}

describe('a PUBLISH to the server', () => {
  test('is answered as its QoS asks, under its packet id: not at all, by PUBACK, by PUBREC [MQTT-3.3.4-1] [MQTT-4.3.2-4]', () => {
    const stage = new Stage()
    for (const version of versions) {
      const client = stage.connect(keeping(version, `asks-${version}`))
      const topic = `t${version}`
      client.publish(topic, 'at zero', 0)
      client.publish(topic, 'at one', 1, { packetId: 500 })
      client.publish(topic, 'at two', 2, { packetId: 600 })
      came(stage, client, 'puback')
      came(stage, client, 'pubrec')
      stage.run(500)
      const answers = client.received.slice(1).map((packet) => [packet.type, 'packetId' in packet && packet.packetId])
      expect(answers.sort()).toEqual([
        ['puback', 500],
        ['pubrec', 600],
      ])
    }
  })

  test('of QoS 1 is the region’s when its PUBACK comes: what dies then has not lost it [MQTT-4.3.2-4]', () => {
    const stage = new Stage()
    const client = stage.connect(keeping(4, 'publisher'))
    const packetId = client.publish('a', 'owned', 1)
    came(stage, client, 'puback')
    expect(client.of('puback')).toMatchObject([{ packetId }])
    const owner = stage.ownerOf(stage.shardOfTopic('a'))
    const served = stage.timesServed(stage.shardOfTopic('a'))
    stage.crash(owner, 'proxy-1')
    stage.until(() => stage.timesServed(stage.shardOfTopic('a')) > served, 'another owner')
    expect(stage.stored('a')).toEqual(['owned'])
  })

  test('of QoS 1 under the packet id of one that has its PUBACK is another message, with DUP or without [MQTT-4.3.2-5]', () => {
    const stage = new Stage()
    for (const version of versions) {
      const topic = `t${version}`
      const client = stage.connect(keeping(version, `again-${version}`))
      for (const [index, dup] of [false, true, false, true].entries()) {
        client.publish(topic, `${index}`, 1, { packetId: 9, dup })
        came(stage, client, 'puback', index + 1)
      }
      expect(stage.stored(topic)).toEqual(['0', '1', '2', '3'])
    }
  })

  test('of QoS 2 goes through all of its exchange though the message has expired meanwhile [MQTT-4.3.3-13]', () => {
    const stage = new Stage()
    const sleeper = stage.connect(keeping(5, 'sleeper'))
    stage.subscribe(sleeper, [{ filter: 'a', qos: 2 }])
    sleeper.leave()
    const first = stage.connect(keeping(5, 'publisher', 2))
    const properties = { messageExpiryInterval: 1 }
    const packetId = first.publish('a', 'short-lived', 2, { properties })
    came(stage, first, 'pubrec')
    stage.run(3000)
    first.leave()
    const back = stage.connect(keeping(5, 'publisher', 3))
    back.publish('a', 'short-lived', 2, { packetId, dup: true, properties })
    came(stage, back, 'pubrec')
    back.acknowledge('pubrel', packetId)
    came(stage, back, 'pubcomp')
    expect([...back.of('pubrec'), ...back.of('pubcomp')]).toMatchObject([
      { packetId, reasonCode: 0 },
      { packetId, reasonCode: 0 },
    ])
    const awake = stage.connect(keeping(5, 'sleeper', 3))
    stage.run(1000)
    expect([awake.connack!.sessionPresent, awake.messages]).toEqual([true, []])
  })
})

describe('a message to a client', () => {
  test('is sent first without DUP under a packet id that no other message has that is under way, QoS 1 and 2 together [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-2.2.1-4]', () => {
    for (const version of versions) {
      const stage = new Stage()
      const client = stage.connect(keeping(version, 'subscriber'))
      stage.subscribe(client, [{ filter: '#', qos: 2 }])
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      const underWay = new Map<number, number>()
      let done = 0
      for (let i = 0; i < 60; i++) publisher.publish(`t/${i}`, `${i}`, i % 2 === 0 ? 1 : 2)
      // It acknowledges one in two at once, the others only in the end.
      while (done < 60) {
        came(stage, client, 'publish', Math.min(60, done + 1))
        const packet = client.publishes[done++]!
        expect([packet.dup, packet.packetId > 0, underWay.has(packet.packetId)]).toEqual([false, true, false])
        if (packet.qos === 2 && done % 4 !== 0) {
          client.acknowledge('pubrec', packet.packetId)
          stage.until(() => client.of('pubrel').some(({ packetId }) => packetId === packet.packetId), 'PUBREL')
          client.acknowledge('pubcomp', packet.packetId)
        } else if (packet.qos === 1 && done % 8 !== 1) client.puback(packet.packetId)
        else underWay.set(packet.packetId, packet.qos)
        if (underWay.size === 12) {
          for (const [packetId, qos] of underWay) client.acknowledge(qos === 1 ? 'puback' : 'pubrec', packetId, 0)
          stage.run(300)
          for (const [packetId, qos] of underWay) if (qos === 2) client.acknowledge('pubcomp', packetId)
          underWay.clear()
        }
      }
      expect(new Set(client.messages).size).toBe(60)
      expect(client.closed).toBeUndefined()
    }
  })

  test('has the DUP flag by whether it was sent before, whatever flag it came with [MQTT-3.3.1-3]', () => {
    for (const qos of [1, 2] as const) {
      const stage = new Stage()
      const client = stage.connect(keeping(5, 'subscriber'))
      stage.subscribe(client, [{ filter: '#', qos }])
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      stage.publish(publisher, 'a', 'said to be sent again', qos, { dup: true })
      stage.publish(publisher, 'a', 'new', qos)
      publisher.publish('a', 'passing', 0)
      came(stage, client, 'publish', 3)
      expect(client.publishes.map((packet) => packet.dup)).toEqual([false, false, false])
      client.leave()
      stage.run(500)
      const heal = stage.failOver(stage.shardOfTopic('a'))
      stage.run(1500)
      stage.publish(publisher, 'a', 'for the first time', qos, { dup: true })
      const back = stage.connect(keeping(5, 'subscriber', 2))
      came(stage, back, 'publish', 3)
      expect(back.publishes.map((packet) => [packet.payload.toString(), packet.dup])).toEqual([
        ['said to be sent again', true],
        ['new', true],
        ['for the first time', false],
      ])
      heal()
    }
  })

  test('of QoS 1 is owed until its PUBACK comes, over proxies and owners, and not after it [MQTT-4.3.2-3] [MQTT-4.4.0-1]', () => {
    for (const version of versions) {
      const stage = new Stage()
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      const first = stage.connect(keeping(version, 'subscriber'))
      stage.subscribe(first, ['a'])
      for (const text of ['one', 'two']) stage.publish(publisher, 'a', text)
      came(stage, first, 'publish', 2)
      const [one, two] = first.publishes.map((packet) => packet.packetId)
      first.puback(one!)
      stage.run(1500)
      first.leave()
      const second = stage.connect(keeping(version, 'subscriber', 2))
      came(stage, second, 'publish')
      second.leave()
      const heal = stage.failOver(stage.shardOfTopic('a'))
      stage.run(1500)
      const third = stage.connect(keeping(version, 'subscriber', 3))
      came(stage, third, 'publish')
      stage.run(500)
      for (const client of [second, third]) {
        expect(client.publishes.map((packet) => [packet.packetId, packet.payload.toString(), packet.dup])).toEqual([[two, 'two', true]])
      }
      third.puback(two!)
      stage.run(1500)
      third.leave()
      heal()
      const fourth = stage.connect(keeping(version, 'subscriber'))
      stage.run(1000)
      expect(fourth.received.map((packet) => packet.type)).toEqual(['connack'])
    }
  })

  test('of QoS 2 whose PUBREC came is owed its PUBREL until PUBCOMP comes, over proxies and owners, and not after it [MQTT-4.3.3-5]', () => {
    for (const version of versions) {
      const stage = new Stage()
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      const first = stage.connect(keeping(version, 'subscriber'))
      stage.subscribe(first, [{ filter: 'a', qos: 2 }])
      stage.publish(publisher, 'a', 'x', 2)
      came(stage, first, 'publish')
      const { packetId } = first.publishes[0]!
      first.acknowledge('pubrec', packetId)
      came(stage, first, 'pubrel')
      first.leave()
      const second = stage.connect(keeping(version, 'subscriber', 2))
      came(stage, second, 'pubrel')
      second.leave()
      const heal = stage.failOver(stage.shardOfTopic('a'))
      stage.run(1500)
      const third = stage.connect(keeping(version, 'subscriber', 3))
      came(stage, third, 'pubrel')
      stage.run(500)
      for (const client of [second, third]) expect(client.received).toMatchObject([{ type: 'connack' }, { type: 'pubrel', packetId }])
      third.acknowledge('pubcomp', packetId)
      stage.run(1500)
      third.leave()
      heal()
      const fourth = stage.connect(keeping(version, 'subscriber'))
      stage.run(1000)
      expect(fourth.received.map((packet) => packet.type)).toEqual(['connack'])
    }
  })

  test('that has expired since it was sent is still released to the client that received it [MQTT-4.3.3-13]', () => {
    const stage = new Stage()
    const first = stage.connect(keeping(5, 'subscriber'))
    stage.subscribe(first, [{ filter: 'a', qos: 2 }])
    const properties = { messageExpiryInterval: 1 }
    stage.publish(stage.connect({ version: 5, clientId: 'publisher', proxy: 3 }), 'a', 'x', 2, { properties })
    came(stage, first, 'publish')
    const { packetId } = first.publishes[0]!
    first.acknowledge('pubrec', packetId)
    came(stage, first, 'pubrel')
    first.leave()
    stage.run(3000)
    const second = stage.connect(keeping(5, 'subscriber', 2))
    came(stage, second, 'pubrel')
    expect(second.of('pubrel')).toMatchObject([{ packetId, reasonCode: 0 }])
  })
})
