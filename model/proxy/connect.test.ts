/** What CONNECT brings: a session or a refusal; and how a connection ends when the client breaks a rule. */
import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'
import { encodePacket } from '../wire/mqtt-codec.ts'

const NEVER_EXPIRES = 0xffff_ffff
const keeping = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const

function closedAfter(stage: Stage, client: ScriptedClient): void {
  stage.until(() => client.closed !== undefined, 'the connection to be closed')
}

describe('a session', () => {
  test('is present for a client that kept it, in 3.1.1 and in 5, and through another proxy [MQTT-3.1.2-5] [MQTT-3.2.2-3]', () => {
    const stage = new Stage()
    for (const [version, clientId] of [[4, 'meter-4'] as const, [5, 'meter-5'] as const]) {
      const options = { version, clientId, cleanStart: false, ...(version === 5 ? keeping : {}) }
      const first = stage.connect({ ...options, proxy: 1 })
      expect(first.connack).toMatchObject({ reasonCode: 0, sessionPresent: false })
      first.disconnect()
      const second = stage.connect({ ...options, proxy: 2 })
      expect(second.connack).toMatchObject({ reasonCode: 0, sessionPresent: true })
      second.leave()
      const third = stage.connect({ ...options, proxy: 3 })
      expect(third.connack?.sessionPresent).toBe(true)
    }
  })

  test('begins anew with a clean start, and its subscriptions are gone [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.1.4-4]', () => {
    const stage = new Stage()
    const first = stage.connect({ clientId: 'meter', cleanStart: false })
    stage.subscribe(first, ['a'])
    first.disconnect()
    const clean = stage.connect({ clientId: 'meter', cleanStart: true })
    expect(clean.connack?.sessionPresent).toBe(false)
    stage.publish(clean, 'a', 'to nobody')
    stage.run(1000)
    expect(clean.messages).toEqual([])
    clean.disconnect()
    expect(stage.connect({ clientId: 'meter', cleanStart: false }).connack?.sessionPresent).toBe(false)
  })

  test('of a 3.1.1 clean session is not used again, not even by a client that takes it over [v3.1.1 MQTT-3.1.2-6]', () => {
    const stage = new Stage()
    const clean = stage.connect({ clientId: 'meter', cleanStart: true })
    stage.subscribe(clean, ['a'])
    const other = stage.connect({ clientId: 'meter', cleanStart: false, proxy: 2 })
    expect(other.connack?.sessionPresent).toBe(false)
    stage.publish(other, 'a', 'to nobody')
    stage.run(1000)
    expect(other.messages).toEqual([])
  })

  test('with expiry 0 ends with the connection that is taken over', () => {
    const stage = new Stage()
    stage.connect({ clientId: 'meter', version: 5, cleanStart: false })
    expect(stage.connect({ clientId: 'meter', version: 5, proxy: 2, ...keeping }).connack?.sessionPresent).toBe(false)
  })

  test('lives for its expiry interval after the connection, and no longer [MQTT-3.1.2-23] [MQTT-4.1.0-2]', () => {
    const stage = new Stage()
    const properties = { sessionExpiryInterval: 30 }
    const options = { clientId: 'meter', version: 5 as const, cleanStart: false, properties }
    stage.connect(options).leave()
    stage.run(28_000)
    const back = stage.connect(options)
    expect(back.connack?.sessionPresent).toBe(true)
    back.disconnect()
    stage.run(33_000)
    expect(stage.events('session-ended')).toHaveLength(1)
    expect(stage.connect(options).connack?.sessionPresent).toBe(false)
  })

  test('with expiry 0 ends at once; with the greatest value never [MQTT-4.1.0-2]', () => {
    const stage = new Stage()
    stage.connect({ clientId: 'short', version: 5, cleanStart: false }).leave()
    const never = { clientId: 'long', version: 5 as const, cleanStart: false, properties: { sessionExpiryInterval: NEVER_EXPIRES } }
    stage.connect(never).leave()
    stage.run(1000)
    expect(stage.events('session-ended')).toHaveLength(1)
    stage.run(100_000)
    expect(stage.connect(never).connack?.sessionPresent).toBe(true)
    expect(stage.events('session-ended')).toHaveLength(1)
  })

  test('gets the expiry that DISCONNECT gives, but not where it was 0', () => {
    const stage = new Stage()
    const keeper = stage.connect({ clientId: 'keeper', version: 5, ...keeping })
    keeper.disconnect({ sessionExpiryInterval: 0 })
    stage.run(1000)
    expect(stage.connect({ clientId: 'keeper', version: 5, ...keeping }).connack?.sessionPresent).toBe(false)

    const raising = stage.connect({ clientId: 'raising', version: 5, cleanStart: false })
    raising.send({ type: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 60 } })
    closedAfter(stage, raising)
    expect(raising.of('disconnect')).toMatchObject([{ reasonCode: 0x82 }])
  })
})

describe('CONNECT', () => {
  test('without a client id gets one assigned, unique, and told to MQTT 5 clients [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]', () => {
    const stage = new Stage()
    const assigned = [1, 2, 1].map(
      (proxy) => stage.connect({ version: 5, clientId: '', proxy }).connack!.properties!.assignedClientIdentifier,
    )
    expect(new Set(assigned).size).toBe(3)
    expect(assigned).not.toContain(undefined)
    expect(stage.connect({ clientId: '' }).connack?.reasonCode).toBe(0)
  })

  test('is told in MQTT 5 what the region takes, and of nothing that it does not offer, nor asked for authentication [MQTT-4.12.0-6]', () => {
    const stage = new Stage()
    const { receiveMaximum, maximumPacketBytes: maximumPacketSize, topicAliasMaximum } = stage.settings.proxy
    const client = stage.connect({ version: 5 })
    stage.run(1000)
    expect(client.received).toMatchObject([{ type: 'connack' }])
    expect(client.connack?.properties).toEqual({ receiveMaximum, maximumPacketSize, topicAliasMaximum })
  })

  test('with a keepalive over the limit, or none, is given another in MQTT 5, and held to it [MQTT-3.1.2-21] [MQTT-3.2.2-21]', () => {
    const stage = new Stage({ settings: { proxy: { maximumKeepaliveSeconds: 4 } } })
    const keepaliveOf = (clientId: string, keepAliveSeconds: number) =>
      stage.connect({ version: 5, clientId, keepAliveSeconds }).connack!.properties!.serverKeepAlive
    expect([keepaliveOf('long', 5), keepaliveOf('none', 0), keepaliveOf('short', 4)]).toEqual([4, 4, undefined])
    const old = stage.connect({ version: 4, clientId: 'old', keepAliveSeconds: 0 })
    const silent = stage.connect({ version: 5, clientId: 'silent', keepAliveSeconds: 0 })
    const fromMs = silent.nowMs
    closedAfter(stage, silent)
    expect(silent.closed!.atMs - fromMs).toBeLessThan(8000)
    expect(silent.of('disconnect')).toMatchObject([{ reasonCode: 0x8d }])
    expect(old.closed).toBeUndefined()
  })

  test('with an authentication method is refused, since none is supported [MQTT-4.12.0-1]', () => {
    const stage = new Stage()
    const client = stage.connect({
      version: 5,
      properties: { authenticationMethod: 'SCRAM-SHA-256', authenticationData: Buffer.from('n') },
    })
    expect(client.connack).toMatchObject({ reasonCode: 0x8c, sessionPresent: false })
    closedAfter(stage, client)
    expect(stage.events('session-opened')).toEqual([])
  })

  test('that is refused takes what came with it along [MQTT-3.1.4-6]', () => {
    const stage = new Stage()
    const connect = { type: 'connect', version: 5, clientId: 'c', cleanStart: true, keepAliveSeconds: 0 } as const
    const publish = { type: 'publish', topic: 'a', payload: Buffer.from('x'), qos: 0, dup: false, retain: true, packetId: 0 } as const
    const refused = stage.open({ version: 5 })
    const bytes = [encodePacket({ ...connect, properties: { authenticationMethod: 'none' } }, 5), encodePacket(publish, 5)]
    refused.sendBytes(Buffer.concat(bytes))
    closedAfter(stage, refused)
    expect(refused.received).toMatchObject([{ type: 'connack', reasonCode: 0x8c }])
    const reader = stage.connect({ clientId: 'reader' })
    stage.subscribe(reader, ['a'])
    stage.run(300)
    expect(reader.messages).toEqual([])
  })

  test('of MQTT 3.1 is never told of a session: there the byte is reserved (section 3.2)', () => {
    const stage = new Stage()
    const connacks = [1, 2].map((proxy) => {
      const client = stage.connect({ version: 3, clientId: 'old', cleanStart: false, proxy })
      stage.subscribe(client, ['a'])
      client.disconnect()
      return client.connack
    })
    expect(connacks).toMatchObject([{ sessionPresent: false }, { sessionPresent: false }])
    expect(stage.connect({ version: 4, clientId: 'old', cleanStart: false }).connack?.sessionPresent).toBe(true)
  })

  test('whose answer would be larger than the client takes ends without a word [MQTT-3.1.2-24]', () => {
    const stage = new Stage()
    const tiny = stage.dial({ version: 5, clientId: 'tiny', properties: { maximumPacketSize: 2 } })
    closedAfter(stage, tiny)
    expect(tiny.received).toEqual([])
  })

  test('is not answered with Response Information, asked for or not [MQTT-3.1.2-28]', () => {
    const stage = new Stage()
    for (const requestResponseInformation of [0, 1]) {
      const { connack } = stage.connect({
        version: 5,
        clientId: `r${requestResponseInformation}`,
        properties: { requestResponseInformation },
      })
      expect(connack?.properties).not.toHaveProperty('responseInformation')
    }
  })

  test('is refused with the code of its version: id missing for a session to keep, unknown level [MQTT-3.1.2-2] [MQTT-3.2.2-7]', () => {
    const stage = new Stage()
    const nameless = stage.connect({ version: 4, clientId: '', cleanStart: false })
    expect(nameless.connack).toMatchObject({ reasonCode: 2, sessionPresent: false })
    closedAfter(stage, nameless)
    const ofTheFuture = stage.open({ version: 5 })
    ofTheFuture.sendBytes(connectBytes({ level: 6 }))
    closedAfter(stage, ofTheFuture)
    expect(ofTheFuture.connack?.reasonCode).toBe(0x84)
  })

  test('that is malformed, or not the first packet, ends the connection without a session [MQTT-3.1.0-1] [MQTT-3.1.4-1]', () => {
    const stage = new Stage()
    const reserved = stage.open()
    reserved.sendBytes(connectBytes({ flags: 0x03 }))
    const early = stage.open()
    early.sendBytes(encodePacket({ type: 'pingreq' }, 4))
    const twice = stage.connect({ version: 5 })
    twice.connect({})
    for (const client of [reserved, early, twice]) closedAfter(stage, client)
    expect([reserved.received, early.received]).toEqual([[], []])
    expect(twice.of('disconnect')).toMatchObject([{ reasonCode: 0x82 }])
    expect(stage.events('session-opened')).toHaveLength(1)
  })

  test('must come in time', () => {
    const stage = new Stage()
    const silent = stage.open()
    const openedAtMs = silent.nowMs
    closedAfter(stage, silent)
    const waitedMs = silent.closed!.atMs - openedAtMs
    expect(waitedMs).toBeGreaterThanOrEqual(stage.settings.proxy.connectTimeoutMs)
    expect(waitedMs).toBeLessThan(stage.settings.proxy.connectTimeoutMs + stage.settings.proxy.pingIntervalMs + 200)
  })

  test('must come in time, whatever comes instead of it: the time counts from the connection’s beginning', () => {
    const stage = new Stage()
    const slow = stage.open()
    const openedAtMs = slow.nowMs
    const { connectTimeoutMs, pingIntervalMs } = stage.settings.proxy
    for (const byte of encodePacket({ type: 'connect', version: 4, clientId: 'slow', cleanStart: true, keepAliveSeconds: 0 }, 4)) {
      if (slow.closed !== undefined) break
      slow.sendBytes(Buffer.from([byte]))
      stage.run(connectTimeoutMs / 4)
    }
    expect(slow.closed!.atMs - openedAtMs).toBeLessThan(connectTimeoutMs + pingIntervalMs + 200)
    expect(slow.received).toEqual([])
    // What came in time is no ground to close a client later, with the keepalive counted from its CONNECT.
    const punctual = stage.open()
    stage.run(connectTimeoutMs - 1000)
    punctual.connect({ keepAliveSeconds: 2 })
    stage.until(() => punctual.connack !== undefined, 'CONNACK')
    stage.run(2000)
    expect(punctual.closed).toBeUndefined()
  })

  test('may be followed by packets before the CONNACK: they are handled, in order, after it [MQTT-3.1.4-5] [MQTT-3.2.0-1]', () => {
    const stage = new Stage()
    const client = stage.dial({ version: 5, clientId: 'eager' })
    const subscribed = client.subscribe(['a'])
    const published = client.publish('a', 'soon')
    client.ping()
    const answers = ['connack', 'suback', 'puback', 'pingresp'] as const
    stage.until(() => answers.every((type) => client.of(type).length === 1), 'all answers')
    expect(client.received[0]!.type).toBe('connack')
    expect(client.of('suback')).toMatchObject([{ packetId: subscribed, reasonCodes: [1] }])
    expect(client.of('puback')).toMatchObject([{ packetId: published }])
  })

  test('while the session cannot be reached waits, then is refused so that the client goes elsewhere', () => {
    const stage = new Stage()
    const heal = stage.part(['proxy-1'], stage.brokers)
    stage.run(2500)
    const clients = ([4, 5] as const).map((version) => stage.dial({ version, clientId: `lost-${version}` }))
    for (const client of clients) closedAfter(stage, client)
    expect(clients.map((client) => client.connack?.reasonCode)).toEqual([3, 0x88])
    heal()
    stage.run(3000)
    expect(stage.connect({ version: 5, clientId: 'lost-5' }).connack?.reasonCode).toBe(0)
  })
})

describe('a connected client', () => {
  test('that breaks the protocol is told the reason in MQTT 5 and closed in either version [MQTT-4.13.1-1]', () => {
    const stage = new Stage()
    const cases = [
      { bytes: [0x36, 0x05, 0x00, 0x01, 0x61, 0x00, 0x01], code: 0x81 }, // both QoS bits
      { bytes: [0x32, 0x06, 0x00, 0x01, 0x23, 0x00, 0x01, 0x00], code: 0x81 }, // topic name '#'
      { bytes: [0x80, 0x06, 0x00, 0x01, 0x00, 0x00, 0x01, 0x61], code: 0x81 }, // SUBSCRIBE without its flags
      { bytes: [0xe0, 0x01, 0x7f], code: 0x82 }, // DISCONNECT with a code that no client has
      { bytes: [0x30, 0xff, 0xff, 0xff, 0x7f], code: 0x95 }, // announces 256 MiB
    ]
    for (const [index, { bytes, code }] of cases.entries()) {
      const client = stage.connect({ version: 5, clientId: `breaker-${index}` })
      client.sendBytes(Buffer.from(bytes))
      closedAfter(stage, client)
      expect(client.of('disconnect').map((packet) => packet.reasonCode)).toEqual([code])
    }
    const old = stage.connect({ version: 4, clientId: 'breaker-of-old' })
    old.sendBytes(Buffer.from([0x36, 0x05, 0x00, 0x01, 0x61, 0x00, 0x01]))
    closedAfter(stage, old)
    expect(old.received.map((packet) => packet.type)).toEqual(['connack'])
  })

  test('that sends what only a server sends, or AUTH without a method, is closed [MQTT-4.12.0-7]', () => {
    const stage = new Stage()
    const packets = {
      connack: [0x20, 3, 0, 0, 0],
      suback: [0x90, 4, 0, 1, 0, 0],
      unsuback: [0xb0, 4, 0, 1, 0, 0],
      pingresp: [0xd0, 0],
      auth: [0xf0, 0],
    }
    for (const [name, bytes] of Object.entries(packets)) {
      const client = stage.connect({ version: 5, clientId: name })
      client.sendBytes(Buffer.from(bytes))
      closedAfter(stage, client)
      expect(client.of('disconnect')).toMatchObject([{ reasonCode: 0x82 }])
    }
  })

  test('that connects a second time is closed [MQTT-3.1.0-2]', () => {
    const stage = new Stage()
    for (const version of [3, 4, 5] as const) {
      const client = stage.connect({ version, clientId: `twice-${version}` })
      client.connect({ clientId: `twice-${version}` })
      closedAfter(stage, client)
      expect(client.of('disconnect').map((packet) => packet.reasonCode)).toEqual(version === 5 ? [0x82] : [])
    }
  })

  test('that says DISCONNECT is closed once its session shard knows, or a second later [MQTT-3.14.4-2]', () => {
    const stage = new Stage()
    const quick = stage.connect({ version: 5, clientId: 'quick' })
    quick.sayGoodbye()
    const quickFromMs = quick.nowMs
    closedAfter(stage, quick)
    expect(quick.closed!.atMs - quickFromMs).toBeLessThan(300)
    expect(stage.connect({ version: 5, clientId: 'quick', cleanStart: false }).connack?.sessionPresent).toBe(false)
    const slow = stage.connect({ version: 4, clientId: 'slow' })
    stage.part(['proxy-1'], stage.brokers)
    slow.sayGoodbye()
    const slowFromMs = slow.nowMs
    closedAfter(stage, slow)
    const waitedMs = slow.closed!.atMs - slowFromMs
    expect(waitedMs).toBeGreaterThanOrEqual(1000)
    expect(waitedMs).toBeLessThan(1200)
    expect([quick.received.length, slow.received.length]).toEqual([1, 1])
  })

  test('has a limit of filters: MQTT 5 gets 0x97 for those beyond it, 3.1.1 is closed [MQTT-3.10.4-5] [MQTT-3.11.3-1]', () => {
    const stage = new Stage({ settings: { proxy: { maximumFilters: 2 } } })
    const modern = stage.connect({ version: 5, clientId: 'modern' })
    expect(stage.subscribe(modern, ['a', 'b', 'c'])).toEqual([1, 1, 0x97])
    expect(stage.subscribe(modern, ['b'])).toEqual([1])
    const gone = modern.unsubscribe(['a', 'never'])
    stage.until(() => modern.of('unsuback').length === 1, 'UNSUBACK')
    expect(modern.of('unsuback')).toMatchObject([{ packetId: gone, reasonCodes: [0, 0x11] }])
    expect(stage.subscribe(modern, ['c'])).toEqual([1])
    const old = stage.connect({ version: 4, clientId: 'old' })
    expect(stage.subscribe(old, ['a', 'b'])).toEqual([1, 1])
    old.subscribe(['c'])
    closedAfter(stage, old)
    expect(old.of('suback')).toHaveLength(1)
  })

  test('gets the QoS that it asks for, shared or not, in every version [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1]', () => {
    const stage = new Stage()
    for (const version of [3, 4, 5] as const) {
      const client = stage.connect({ version, clientId: `asks-${version}` })
      const filters = [0, 1, 2].flatMap((qos) => [`$share/group/s${qos}`, `p${qos}`].map((filter) => ({ filter, qos: qos as 0 | 1 | 2 })))
      expect(stage.subscribe(client, filters)).toEqual([0, 0, 1, 1, 2, 2])
    }
  })

  test('of 3.1.1 is refused what begins like a shared subscription and is none', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 4 })
    expect(stage.subscribe(client, ['$share/group', '$share//a', '$share/group/', 'a'])).toEqual([0x80, 0x80, 0x80, 1])
  })

  test('whose SUBACK would be larger than it takes is closed with 0x95 [MQTT-3.1.2-24]', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, properties: { maximumPacketSize: 30 } })
    client.subscribe(Array.from({ length: 28 }, (_, i) => `f${i}`))
    closedAfter(stage, client)
    expect(client.of('disconnect')).toMatchObject([{ reasonCode: 0x95 }])
    expect(client.of('suback')).toEqual([])
  })
})

/** A CONNECT of protocol `MQTT` with an empty client id. */
function connectBytes({ level = 4, flags = 0x02 }: { level?: number; flags?: number }): Buffer {
  const properties = level >= 5 ? [0x00] : []
  const body = [0x00, 0x04, ...Buffer.from('MQTT'), level, flags, 0x00, 0x00, ...properties, 0x00, 0x00]
  return Buffer.from([0x10, body.length, ...body])
}
