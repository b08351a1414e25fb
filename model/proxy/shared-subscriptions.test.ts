/** What a member of a shared subscription is owed, and what goes to another: QoS, messages under way, and those that a member refuses. */
import { describe, expect, test } from 'vitest'
import { type ConnectOptions, Stage } from '../region-stage.test-support.ts'
import type { QoS } from '../wire/packets.ts'

const share = '$share/group/a/#'

function member(clientId: string, proxy = 1): ConnectOptions {
  return { version: 5, clientId, proxy, cleanStart: false, acknowledges: false, properties: { sessionExpiryInterval: 3600 } }
}

describe('a member of a shared subscription', () => {
  test('gets each message at its own granted QoS or that of the message, whichever is lower [MQTT-4.8.2-3] [MQTT-3.8.4-8]', () => {
    const stage = new Stage()
    const members = ([0, 1, 2] as const).map((qos) => {
      const client = stage.connect({ version: 5, clientId: `at-${qos}`, proxy: qos + 1 })
      expect(stage.subscribe(client, [{ filter: share, qos }])).toEqual([qos])
      return client
    })
    const publisher = stage.connect({ clientId: 'publisher' })
    for (let i = 0; i < 45; i++) publisher.publish(`a/${i % 5}`, `${i % 3}`, (i % 3) as QoS)
    stage.until(() => members.flatMap((client) => client.messages).length === 45, 'every message')
    for (const [granted, client] of members.entries()) {
      for (const packet of client.publishes) expect(packet.qos).toBe(Math.min(granted, Number(packet.payload.toString())))
      expect(new Set(client.messages).size).toBe(3)
    }
  })

  test('that leaves with a QoS 2 message under way gets it completed when it is back, and nobody else gets it, whatever moves meanwhile [MQTT-4.8.2-4]', () => {
    for (const step of ['publish', 'pubrel'] as const) {
      const stage = new Stage()
      const chosen = stage.connect(member('chosen'))
      stage.subscribe(chosen, [{ filter: share, qos: 2 }])
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      stage.publish(publisher, 'a', 'begun', 2)
      stage.until(() => chosen.messages.length === 1, 'the message')
      const { packetId } = chosen.publishes[0]!
      const other = stage.connect(member('other', 2))
      stage.subscribe(other, [{ filter: share, qos: 2 }])
      if (step === 'pubrel') {
        chosen.acknowledge('pubrec', packetId)
        stage.until(() => chosen.of('pubrel').length === 1, 'PUBREL')
      }
      chosen.leave()
      const heal = stage.failOver(stage.shardOfTopic('a'))
      stage.run(5000)
      const back = stage.connect(member('chosen', 3))
      stage.until(() => back.of(step).length === 1, `${step} on the new connection`)
      if (step === 'publish') {
        expect(back.publishes).toMatchObject([{ packetId, dup: true }])
        back.acknowledge('pubrec', packetId)
        stage.until(() => back.of('pubrel').length === 1, 'PUBREL')
      }
      expect(back.of('pubrel')).toMatchObject([{ packetId }])
      back.acknowledge('pubcomp', packetId)
      stage.run(1500)
      expect([other.messages, back.messages]).toEqual([[], step === 'publish' ? ['begun'] : []])
      heal()
    }
  })

  test('whose session ends with a QoS 2 message under way takes it along: nobody else gets it [MQTT-4.8.2-5]', () => {
    const stage = new Stage()
    const chosen = stage.connect({ ...member('chosen'), properties: { sessionExpiryInterval: 2 } })
    stage.subscribe(chosen, [{ filter: share, qos: 2 }])
    stage.publish(stage.connect({ clientId: 'publisher', proxy: 3 }), 'a', 'begun', 2)
    stage.until(() => chosen.messages.length === 1, 'the message')
    const other = stage.connect(member('other', 2))
    stage.subscribe(other, [{ filter: share, qos: 2 }])
    chosen.leave()
    stage.until(() => stage.events('session-ended').length === 1, 'the session to end')
    stage.run(5000)
    expect(other.messages).toEqual([])
  })

  test('that refuses a message discards it for all: it comes to no other member, nor again [MQTT-4.8.2-6]', () => {
    for (const [qos, answer] of [[1, 'puback'] as const, [2, 'pubrec'] as const]) {
      const stage = new Stage()
      const refusing = stage.connect(member('refusing'))
      stage.subscribe(refusing, [{ filter: share, qos }])
      const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
      stage.publish(publisher, 'a', 'unwanted', qos)
      stage.until(() => refusing.messages.length === 1, 'the message')
      const other = stage.connect(member('other', 2))
      stage.subscribe(other, [{ filter: share, qos }])
      refusing.acknowledge(answer, refusing.publishes[0]!.packetId, 0x80)
      stage.run(1500)
      refusing.leave()
      const heal = stage.failOver(stage.shardOfTopic('a'))
      stage.run(3000)
      const back = stage.connect(member('refusing', 3))
      stage.run(1000)
      expect([other.messages, back.messages, back.of('pubrel')]).toEqual([[], [], []])
      back.leave()
      stage.run(500)
      stage.publish(publisher, 'a', 'wanted', qos)
      stage.until(() => other.messages.length === 1, 'the next message at the other member')
      heal()
    }
  })
})
