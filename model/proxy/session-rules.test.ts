/** The rules of sessions and connections that hold for every client: whose session it is, how long it is kept, what a server may say before and after its last word. */
import { describe, expect, test } from 'vitest'
import { type ConnectOptions, Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'
import { encodePacket } from '../wire/mqtt-codec.ts'
import type { ProtocolVersion } from '../wire/packets.ts'

const versions: readonly ProtocolVersion[] = [3, 4, 5]

function keeping(version: ProtocolVersion, clientId: string, proxy = 1): ConnectOptions {
  const properties = version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}
  return { version, clientId, proxy, cleanStart: false, ...properties }
}

function closedAfter(stage: Stage, client: ScriptedClient): void {
  stage.until(() => client.closed !== undefined, 'the connection to be closed')
}

function awaitMessages(stage: Stage, client: ScriptedClient, count: number): void {
  stage.until(() => client.messages.length >= count, `${count} messages`)
}

function slowVolumes(stage: Stage, addedLatencyMs: number) {
  const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
  return stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs, lossProbability: 0 })
}

const typesOf = (client: ScriptedClient) => client.received.map((packet) => packet.type)

describe('a session', () => {
  test('is made where a client asks for one that is not there, and is there from then on, whatever moves [MQTT-3.1.2-6] [MQTT-3.2.2-3]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    for (const version of [4, 5] as const) {
      const clientId = `new-${version}`
      const first = stage.connect(keeping(version, clientId))
      expect(first.connack).toMatchObject({ reasonCode: 0, sessionPresent: false })
      stage.subscribe(first, [clientId])
      first.leave()
      const heal = stage.failOver(stage.sessionShardOf(clientId))
      stage.run(1500)
      stage.publish(publisher, clientId, 'for the session')
      const second = stage.connect(keeping(version, clientId, 2))
      expect(second.connack).toMatchObject({ reasonCode: 0, sessionPresent: true })
      awaitMessages(stage, second, 1)
      heal()
      stage.run(8000)
    }
  })

  test('is that of its client id, byte by byte, at every proxy and with every owner [MQTT-3.1.3-2]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    const ids = ['meter', 'Meter', 'meter ', 'met\u00e9r', 'mete\u0301r', 'm', 'meter'.repeat(20)]
    const open = ids.map((clientId, index) => stage.connect(keeping(4, clientId, 1 + (index % 3))))
    expect(open.map((client) => client.connack!.sessionPresent)).toEqual(ids.map(() => false))
    for (const [index, client] of open.entries()) stage.subscribe(client, [`for/${index}`])
    expect(open.map((client) => client.closed)).toEqual(ids.map(() => undefined))
    for (const client of open) client.leave()
    const heal = stage.failOver(stage.sessionShardOf('meter'))
    stage.run(1500)
    for (const index of ids.keys()) stage.publish(publisher, `for/${index}`, `to ${index}`)
    const back = ids.map((clientId, index) => stage.connect(keeping(4, clientId, 1 + ((index + 1) % 3))))
    expect(back.map((client) => client.connack!.sessionPresent)).toEqual(ids.map(() => true))
    stage.run(500)
    expect(back.map((client) => client.messages)).toEqual(ids.map((_, index) => [`to ${index}`]))
    heal()
  })

  test('is kept while the connection is open, for much longer than its expiry interval, with every owner [MQTT-4.1.0-1]', () => {
    const stage = new Stage()
    const expiries = [0, 1, 3]
    const clients = expiries.map((sessionExpiryInterval) =>
      stage.connect({ version: 5, clientId: `e${sessionExpiryInterval}`, acknowledges: false, properties: { sessionExpiryInterval } }),
    )
    const ids = clients.map((client, index) => {
      stage.subscribe(client, [{ filter: `for/${index}`, qos: 2 }])
      const packetId = client.publish(`of/${index}`, 'once', 2)
      stage.until(() => client.of('pubrec').length === 1, 'PUBREC')
      return packetId
    })
    stage.run(10_000)
    for (const index of clients.keys()) {
      const heal = stage.failOver(stage.sessionShardOf(`e${expiries[index]!}`))
      stage.run(6000)
      heal()
      stage.run(8000)
    }
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    for (const [index, client] of clients.entries()) {
      stage.publish(publisher, `for/${index}`, 'still here', 2)
      awaitMessages(stage, client, 1)
      client.publish(`of/${index}`, 'once', 2, { packetId: ids[index]!, dup: true })
      stage.until(() => client.of('pubrec').length === 2, 'PUBREC')
      expect(stage.stored(`of/${index}`)).toEqual(['once'])
    }
    expect(stage.events('session-ended')).toEqual([])
    expect(clients.map((client) => client.closed)).toEqual([undefined, undefined, undefined])
  })
})

describe('a client id that is refused', () => {
  test('ends the connection after a CONNACK that says so: 0x85 in MQTT 5, return code 2 in 3.x [MQTT-3.1.3-8]', () => {
    const stage = new Stage()
    const withNull = [0x00, 0x04, ...Buffer.from('MQTT'), 5, 0x02, 0, 0, 0, 0x00, 0x03, 0x61, 0x00, 0x62]
    const modern = stage.open({ version: 5 })
    modern.sendBytes(Buffer.from([0x10, withNull.length, ...withNull]))
    const nameless = stage.dial({ version: 4, clientId: '', cleanStart: false })
    for (const client of [modern, nameless]) {
      closedAfter(stage, client)
      expect(typesOf(client)).toEqual(['connack'])
    }
    expect([modern.connack!.reasonCode, nameless.connack!.reasonCode]).toEqual([0x85, 2])
    expect(stage.events('session-opened')).toEqual([])
  })
})

describe('CONNACK', () => {
  test('comes once a connection, whatever else happens on it [MQTT-3.2.0-2]', () => {
    const stage = new Stage()
    for (const version of versions) {
      const client = stage.connect(keeping(version, `one-${version}`))
      stage.subscribe(client, ['a'])
      const heal = stage.failOver(stage.sessionShardOf(`one-${version}`))
      client.ping()
      stage.until(() => client.of('pingresp').length === 1, 'PINGRESP')
      heal()
      stage.run(8000)
      client.connect({ clientId: `one-${version}` })
      closedAfter(stage, client)
      expect(client.of('connack')).toHaveLength(1)
    }
  })

  test('that accepts stands before any DISCONNECT: a connection that is not accepted gets none [MQTT-3.14.0-1] [MQTT-3.2.0-1] [MQTT-4.13.2-1]', () => {
    const stage = new Stage()
    const heal = slowVolumes(stage, 200)
    const connect = (clientId: string) => encodePacket({ type: 'connect', version: 5, clientId, cleanStart: true, keepAliveSeconds: 0 }, 5)
    const early = { 'bad-flags': [0x36, 5, 0, 1, 0x61, 0, 1], 'second-connect': [...connect('second-connect')], auth: [0xf0, 0] }
    const breakers = Object.entries(early).map(([clientId, bytes]) => {
      const client = stage.open({ version: 5 })
      client.sendBytes(Buffer.concat([connect(clientId), Buffer.from(bytes)]))
      return client
    })
    const method = { properties: { authenticationMethod: 'none' } }
    const refused = stage.dial({ version: 5, clientId: 'refused', ...method })
    const notFirst = stage.open({ version: 5 })
    notFirst.ping()
    const contested = ([1, 2, 3] as const).map((proxy) => stage.dial({ version: 5, clientId: 'contested', proxy }))
    stage.run(3000)
    heal()
    for (const client of [...breakers, refused, notFirst]) closedAfter(stage, client)
    stage.until(() => contested.filter((client) => client.closed !== undefined).length === 2, 'all but one to be closed')
    const everyone = [...breakers, refused, notFirst, ...contested]
    for (const client of everyone) {
      const accepted = client.received[0]?.type === 'connack' && client.received[0].reasonCode === 0
      if (!accepted) expect(['', 'connack']).toContain(typesOf(client).join())
    }
    // Of either kind there were some.
    expect(everyone.filter((client) => client.of('disconnect').length > 0).length).toBeGreaterThan(0)
    expect(everyone.filter((client) => (client.connack?.reasonCode ?? 0) >= 0x80).length).toBeGreaterThan(1)
  })
})

describe('a reason code of 0x80 or more', () => {
  test('ends the connection, whoever gives it, and nothing comes after the DISCONNECT [MQTT-4.13.2-1] [MQTT-3.14.4-1]', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    /** What ends the connection, and what the server says of it; none where the client said it. */
    const ends: readonly [clientId: string, end: (client: ScriptedClient) => void, reasonCode: number | undefined][] = [
      ['malformed', (client) => client.sendBytes(Buffer.from([0x36, 5, 0, 1, 0x61, 0, 1])), 0x81],
      ['protocol-error', (client) => client.connect({}), 0x82],
      ['taken-over', () => void stage.dial({ version: 5, clientId: 'taken-over', proxy: 2 }), 0x8e],
      ['bad-alias', (client) => void client.publish('a', 'x', 0, { properties: { topicAlias: 60_000 } }), 0x94],
      ['says-so', (client) => client.sayGoodbye(0x80), undefined],
    ]
    for (const [clientId, end, reasonCode] of ends) {
      const client = stage.connect({ version: 5, clientId })
      stage.subscribe(client, [clientId])
      for (let i = 0; i < 30; i++) publisher.publish(clientId, `${i}`)
      awaitMessages(stage, client, 1)
      end(client)
      for (let i = 0; i < 5; i++) client.ping()
      closedAfter(stage, client)
      const disconnects = client.of('disconnect').map((packet) => packet.reasonCode)
      expect(disconnects).toEqual(reasonCode === undefined ? [] : [reasonCode])
      if (reasonCode !== undefined) expect(typesOf(client).at(-1)).toBe('disconnect')
    }
  })
})

test('every PINGREQ gets its PINGRESP, in every version, also after the owner of the session has changed [MQTT-3.12.4-1]', () => {
  const stage = new Stage()
  for (const version of versions) {
    const clientId = `pings-${version}`
    const client = stage.connect(keeping(version, clientId))
    for (let i = 0; i < 5; i++) client.ping()
    stage.until(() => client.of('pingresp').length === 5, 'each PINGRESP')
    const heal = stage.crash(stage.ownerOf(stage.sessionShardOf(clientId)))
    stage.run(100)
    client.ping()
    stage.until(() => client.of('pingresp').length === 6, 'PINGRESP')
    heal()
    stage.run(8000)
    expect(client.of('pingresp')).toHaveLength(6)
  }
})
