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
  test('is present for a client that kept it, in 3.1.1 and in 5, and through another proxy', () => {
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

  test('begins anew with a clean start, and its subscriptions are gone', () => {
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

  test('of a 3.1.1 clean session is not used again, not even by a client that takes it over [MQTT-3.1.2-6]', () => {
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

  test('lives for its expiry interval after the connection, and no longer', () => {
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

  test('with expiry 0 ends at once; with the greatest value never', () => {
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
  test('without a client id gets one assigned, unique, and told to MQTT 5 clients', () => {
    const stage = new Stage()
    const assigned = [1, 2, 1].map(
      (proxy) => stage.connect({ version: 5, clientId: '', proxy }).connack!.properties!.assignedClientIdentifier,
    )
    expect(new Set(assigned).size).toBe(3)
    expect(assigned).not.toContain(undefined)
    expect(stage.connect({ clientId: '' }).connack?.reasonCode).toBe(0)
  })

  test('is told what this region does not offer, in MQTT 5', () => {
    const stage = new Stage()
    const { connack } = stage.connect({ version: 5 })
    expect(connack?.properties).toMatchObject({ maximumQoS: 1, retainAvailable: 0, sharedSubscriptionAvailable: 0 })
    expect(connack?.properties?.maximumPacketSize).toBe(stage.settings.proxy.maximumPacketBytes)
  })

  test('is refused with the code of its version: id missing for a session to keep, unknown level', () => {
    const stage = new Stage()
    const nameless = stage.connect({ version: 4, clientId: '', cleanStart: false })
    expect(nameless.connack).toMatchObject({ reasonCode: 2, sessionPresent: false })
    closedAfter(stage, nameless)
    const ofTheFuture = stage.open({ version: 5 })
    ofTheFuture.sendBytes(connectBytes({ level: 6 }))
    closedAfter(stage, ofTheFuture)
    expect(ofTheFuture.connack?.reasonCode).toBe(0x84)
  })

  test('that is malformed, or not the first packet, ends the connection without a session', () => {
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

  test('may be followed by packets before the CONNACK: they are handled, in order, after it [MQTT-3.1.4-5]', () => {
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
  test('that breaks the protocol is told the reason in MQTT 5 and closed in either version', () => {
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

  test('that asks for what is not offered is closed with the code for it', () => {
    const stage = new Stage()
    const qos2 = stage.connect({ version: 5, clientId: 'qos2' })
    qos2.publish('a', 'x', 2)
    const alias = stage.connect({ version: 5, clientId: 'alias' })
    alias.send({
      type: 'publish',
      topic: 'a',
      payload: Buffer.alloc(1),
      qos: 0,
      dup: false,
      retain: false,
      packetId: 0,
      properties: { topicAlias: 1 },
    })
    for (const client of [qos2, alias]) closedAfter(stage, client)
    expect(qos2.of('disconnect')).toMatchObject([{ reasonCode: 0x9b }])
    expect(alias.of('disconnect')).toMatchObject([{ reasonCode: 0x94 }])
  })

  test('has a limit of filters: MQTT 5 gets 0x97 for those beyond it, 3.1.1 is closed', () => {
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

  test('gets no shared subscription, and QoS 1 where it asks for 2', () => {
    const stage = new Stage()
    const modern = stage.connect({ version: 5, clientId: 'modern' })
    expect(stage.subscribe(modern, ['$share/group/a', { filter: 'b', qos: 2 }])).toEqual([0x9e, 1])
    const old = stage.connect({ version: 4, clientId: 'old' })
    expect(stage.subscribe(old, ['$share/group/a', { filter: 'b', qos: 0 }])).toEqual([0x80, 0])
  })
})

/** A CONNECT of protocol `MQTT` with an empty client id. */
function connectBytes({ level = 4, flags = 0x02 }: { level?: number; flags?: number }): Buffer {
  const properties = level >= 5 ? [0x00] : []
  const body = [0x00, 0x04, ...Buffer.from('MQTT'), level, flags, 0x00, 0x00, ...properties, 0x00, 0x00]
  return Buffer.from([0x10, body.length, ...body])
}
