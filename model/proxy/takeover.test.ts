/** One client id, one connection that speaks: takeover by kick and by lease, and the times after which silence ends a connection. */
import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'

const keeping = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const

describe('a second CONNECT with the same client id', () => {
  test('closes the first connection, with 0x8E in MQTT 5, before it gets its CONNACK [MQTT-3.1.4-3]', () => {
    const stage = new Stage()
    for (const [version, proxy] of [[5, 2] as const, [4, 2] as const, [5, 1] as const]) {
      const clientId = `twin-${version}-${proxy}`
      const first = stage.connect({ clientId, version, proxy: 1 })
      const second = stage.dial({ clientId, version, proxy })
      stage.until(() => first.closed !== undefined, 'the first connection to be closed')
      stage.until(() => second.connack !== undefined, 'the CONNACK of the second')
      expect(stage.sentToMs(first).at(-1)).toBeLessThanOrEqual(stage.sentToMs(second)[0]!)
      expect(first.of('disconnect').map((packet) => packet.reasonCode)).toEqual(version === 5 ? [0x8e] : [])
      second.ping()
      stage.until(() => second.of('pingresp').length === 1, 'PINGRESP')
    }
    expect(stage.world.goals.get('session taken over by kick')).toBe(3)
  })

  test('waits for the lease of a proxy that no broker reaches, and little longer; nothing leaves through the old connection after it', () => {
    const stage = new Stage()
    const topic = 'orders'
    const clientId = 'twin'
    const first = stage.connect({ clientId, proxy: 1, ...keeping })
    stage.subscribe(first, [topic])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    const heal = stage.part(['proxy-1'], stage.brokers)
    const dialledAtMs = stage.nowMs
    const second = stage.dial({ clientId, proxy: 2, ...keeping })
    const open = first.publish('elsewhere', 'in doubt')
    first.ping()
    stage.until(() => second.connack !== undefined, 'the CONNACK of the second')
    const waitedMs = stage.nowMs - dialledAtMs
    expect(waitedMs).toBeGreaterThan(300)
    expect(waitedMs).toBeLessThan(stage.settings.proxy.sessionLeaseMs + 500)
    expect(second.connack?.sessionPresent).toBe(true)
    const saidBefore = first.received.length
    stage.publish(publisher, topic, 'one')
    stage.until(() => second.messages.length === 1, 'the message at the second')
    heal()
    stage.until(() => first.closed !== undefined, 'the first connection to be closed')
    expect(first.received.slice(saidBefore).map((packet) => packet.type)).toEqual(['disconnect'])
    expect(first.pubackOf(open)).toBeUndefined()
    expect(stage.world.goals.get('session taken over after the lease ended')).toBe(1)
  })

  test('of a clean session whose proxy is out of reach does not inherit it', () => {
    const stage = new Stage()
    const clean = stage.connect({ clientId: 'twin', cleanStart: true, proxy: 1 })
    stage.subscribe(clean, ['a'])
    stage.part(['proxy-1'], stage.brokers)
    const second = stage.connect({ clientId: 'twin', cleanStart: false, proxy: 2 })
    expect(second.connack?.sessionPresent).toBe(false)
    stage.publish(second, 'a', 'to nobody')
    stage.run(1000)
    expect(second.messages).toEqual([])
  })

  test('while the first is still being opened: the newer one wins, the older one is refused', () => {
    const stage = new Stage()
    const clientId = 'twin'
    const old = stage.connect({ clientId, proxy: 1, ...keeping })
    stage.part(['proxy-1'], stage.brokers)
    const [second, third] = [stage.dial({ clientId, proxy: 2, ...keeping }), stage.dial({ clientId, proxy: 3, ...keeping })]
    stage.until(() => second.connack !== undefined && third.connack !== undefined, 'both answers')
    const winners = [second, third].filter((client) => client.connack!.reasonCode === 0)
    expect(winners).toHaveLength(1)
    expect(winners[0]!.connack!.sessionPresent).toBe(true)
    stage.until(() => old.closed !== undefined, 'the first connection to be closed', 8000)
    winners[0]!.ping()
    stage.until(() => winners[0]!.of('pingresp').length === 1, 'PINGRESP')
  })

  test('after the first one gave up waiting leaves nothing of the abandoned attempt', () => {
    const stage = new Stage()
    const clientId = 'impatient'
    stage.connect({ clientId, proxy: 1, ...keeping })
    stage.part(['proxy-1'], stage.brokers)
    const impatient = stage.dial({ clientId, proxy: 2, version: 5, cleanStart: true })
    stage.run(500)
    impatient.leave()
    stage.until(() => stage.events('session-opened').length === 2, 'the attempt to be served, after its client was gone')
    stage.until(() => stage.events('session-ended').length === 2, 'both sessions to end')
  })
})

describe('silence', () => {
  test.each([4, 5] as const)(
    'of a client for one and a half keepalives ends its connection, by the keepalive that it gave where it is told no other (MQTT %i) [MQTT-3.1.2-22] [MQTT-3.2.2-22]',
    (version) => {
      const stage = new Stage()
      const client = stage.connect({ version, clientId: 'sleeper', keepAliveSeconds: 4 })
      expect(client.connack!.properties?.serverKeepAlive).toBeUndefined()
      stage.run(3000)
      client.ping()
      stage.until(() => client.of('pingresp').length === 1, 'PINGRESP')
      const lastSentMs = client.nowMs
      stage.until(() => client.closed !== undefined, 'the connection to be closed')
      const silentMs = client.closed!.atMs - lastSentMs
      expect(silentMs).toBeGreaterThan(6000 - 200)
      expect(silentMs).toBeLessThan(6000 + stage.settings.proxy.pingIntervalMs + 200)
      expect(client.of('disconnect').map((packet) => packet.reasonCode)).toEqual(version === 5 ? [0x8d] : [])
    },
  )

  test('of any length is allowed with keepalive 0', () => {
    const stage = new Stage()
    const client = stage.connect({ clientId: 'sleeper', keepAliveSeconds: 0 })
    stage.run(60_000)
    client.ping()
    stage.until(() => client.of('pingresp').length === 1, 'PINGRESP')
  })

  test('of the brokers leaves PINGREQ unanswered, and after five seconds closes the client', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'stranded', proxy: 1, properties: { sessionExpiryInterval: 60 } })
    const cutAtMs = client.nowMs
    stage.part(['proxy-1'], stage.brokers)
    stage.run(stage.settings.proxy.sessionLeaseMs + 100)
    client.ping()
    const open = client.publish('a', 'in doubt')
    stage.until(() => client.closed !== undefined, 'the connection to be closed')
    expect(client.of('pingresp')).toEqual([])
    expect(client.pubackOf(open)).toBeUndefined()
    expect(client.of('disconnect')).toMatchObject([{ reasonCode: 0x89 }])
    const { unreachableCloseMs, pingIntervalMs } = stage.settings.proxy
    const lastedMs = client.closed!.atMs - cutAtMs
    expect(lastedMs).toBeGreaterThan(unreachableCloseMs - pingIntervalMs - 100)
    expect(lastedMs).toBeLessThan(unreachableCloseMs + pingIntervalMs + 200)
  })

  test('of a broker that ends in time only holds answers back: they come, in order, and nobody is closed', () => {
    const stage = new Stage()
    const client = stage.connect({ version: 5, clientId: 'patient', proxy: 1, properties: { sessionExpiryInterval: 60 } })
    stage.subscribe(client, ['#'])
    const heal = stage.part(['proxy-1'], stage.brokers)
    stage.run(stage.settings.proxy.sessionLeaseMs + 200)
    client.ping()
    const ids = Array.from({ length: 12 }, (_, i) => client.publish(`t/${i}`, `m${i}`))
    stage.run(300)
    expect(client.of('pingresp')).toEqual([])
    heal()
    stage.until(() => client.of('puback').length === ids.length && client.messages.length === ids.length, 'all answers')
    expect(client.of('puback').map((packet) => packet.packetId)).toEqual(ids)
    stage.until(() => client.of('pingresp').length === 1, 'PINGRESP')
    expect(client.closed).toBeUndefined()
  })
})
