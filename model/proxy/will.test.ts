/** Wills, as the proxy hands them on: published when a connection ends otherwise than by DISCONNECT 0x00, and as the client gave them. */
import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import type { Will } from '../wire/packets.ts'

const keeping = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const

const will: Will = { topic: 'wills/meter', payload: Buffer.from('gone'), qos: 1, retain: false }

function witnessed() {
  const stage = new Stage()
  const witness = stage.connect({ version: 5, clientId: 'witness', proxy: 3 })
  stage.subscribe(witness, [{ filter: 'wills/#', qos: 2, retainAsPublished: true }])
  const publishedWithin = (ms: number) => {
    const before = witness.messages.length
    stage.run(ms)
    return witness.messages.slice(before)
  }
  return { stage, witness, publishedWithin }
}

describe('a will', () => {
  test('is published when the connection is lost, in every version [MQTT-3.1.2-7] [MQTT-3.1.2-8]', () => {
    const { stage, publishedWithin } = witnessed()
    for (const version of [3, 4, 5] as const) {
      stage.connect({ clientId: `meter-${version}`, version, will }).leave()
      expect(publishedWithin(1000)).toEqual(['gone'])
    }
  })

  test('is gone with DISCONNECT 0x00, and published after every other end [MQTT-3.14.4-3] [MQTT-3.1.2-10]', () => {
    const { stage, publishedWithin } = witnessed()
    for (const version of [3, 4, 5] as const) {
      stage.connect({ clientId: `meter-${version}`, version, will }).disconnect()
      expect(publishedWithin(1000)).toEqual([])
    }
    const withWill = stage.connect({ clientId: 'asks', version: 5, will })
    withWill.sayGoodbye(0x04)
    expect(publishedWithin(1000)).toEqual(['gone'])
    const erring = stage.connect({ clientId: 'errs', version: 5, will })
    erring.sayGoodbye(0x81)
    expect(publishedWithin(1000)).toEqual(['gone'])
    const silent = stage.connect({ clientId: 'silent', version: 5, keepAliveSeconds: 2, will })
    expect(publishedWithin(5500)).toEqual(['gone'])
    expect(silent.of('disconnect')).toMatchObject([{ reasonCode: 0x8d }])
    const illegal = stage.connect({ clientId: 'illegal', version: 4, will })
    illegal.sendBytes(Buffer.from([0x36, 0]))
    expect(publishedWithin(1000)).toEqual(['gone'])
    const raising = stage.connect({ clientId: 'raising', version: 5, will })
    raising.sayGoodbye(0, { sessionExpiryInterval: 60 })
    expect(publishedWithin(1000)).toEqual(['gone'])
  })

  test('is gone for sure when the server closes after DISCONNECT, though the region is slow', () => {
    const { stage, publishedWithin } = witnessed()
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs: 200, lossProbability: 0 })
    const client = stage.connect({ clientId: 'meter', version: 5, will })
    const fromMs = client.nowMs
    client.sayGoodbye()
    stage.until(() => client.closed !== undefined, 'the server to close')
    expect(client.closed!.atMs - fromMs).toBeGreaterThan(200)
    stage.crash('proxy-1')
    expect(publishedWithin(6000)).toEqual([])
  })

  test('carries its QoS, its retain flag and its properties in their order, but not its delay [MQTT-3.1.2-15] [MQTT-3.1.3-10]', () => {
    const { stage, witness, publishedWithin } = witnessed()
    const properties = {
      userProperties: [
        ['z', '1'],
        ['a', '2'],
        ['z', '3'],
      ],
      willDelayInterval: 1,
      contentType: 'text/plain',
      payloadFormatIndicator: 1,
      responseTopic: 'answers',
      correlationData: Buffer.from([0, 1, 255]),
    } as const
    const options = { version: 5, clientId: 'meter', properties: { sessionExpiryInterval: 60 } } as const
    stage.connect({ ...options, will: { ...will, qos: 2, retain: true, properties } }).leave()
    expect(publishedWithin(3000)).toEqual(['gone'])
    const { willDelayInterval, ...travelling } = properties
    expect(willDelayInterval).toBe(1)
    expect(witness.publishes.at(-1)).toMatchObject({ topic: will.topic, qos: 2, retain: true })
    expect(witness.publishes.at(-1)!.properties).toEqual(travelling)
    expect(Object.keys(witness.publishes.at(-1)!.properties!)).toEqual(Object.keys(travelling))
    const late = stage.connect({ clientId: 'late' })
    stage.subscribe(late, ['wills/+'])
    stage.until(() => late.messages.length === 1, 'the retained will')
    expect(late.publishes[0]!.retain).toBe(true)
  })

  test('without the retain flag is not retained, in any version, and leaves what is retained alone [MQTT-3.1.2-14]', () => {
    const { stage, witness } = witnessed()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 2 })
    stage.publish(publisher, 'wills/kept', 'kept', 1, { retain: true })
    for (const version of [3, 4, 5] as const) {
      for (const topic of [will.topic, 'wills/kept']) stage.connect({ clientId: topic, version, will: { ...will, topic } }).leave()
    }
    const wills = () => witness.publishes.filter((packet) => packet.payload.toString() === 'gone')
    stage.until(() => wills().length === 6, 'every will')
    expect(wills().map((packet) => packet.retain)).toEqual(Array.from({ length: 6 }, () => false))
    const late = stage.connect({ clientId: 'late' })
    stage.subscribe(late, ['wills/+'])
    stage.run(500)
    expect(late.messages).toEqual(['kept'])
  })

  test('waits for its delay, and is not published if the client is back before [MQTT-3.1.3-9]', () => {
    const { stage, publishedWithin } = witnessed()
    const delayed = { ...will, properties: { willDelayInterval: 5 } }
    stage.connect({ ...keeping, clientId: 'meter', will: delayed }).leave()
    expect(publishedWithin(3000)).toEqual([])
    const back = stage.connect({ ...keeping, clientId: 'meter', proxy: 2, will: delayed })
    expect(publishedWithin(4000)).toEqual([])
    back.leave()
    expect(publishedWithin(4000)).toEqual([])
    expect(publishedWithin(3000)).toEqual(['gone'])
  })

  test('of a connection that was refused, or never had its CONNACK, is nobody’s', () => {
    const { stage, publishedWithin } = witnessed()
    const refused = stage.dial({ clientId: 'refused', version: 5, will, properties: { authenticationMethod: 'none' } })
    stage.until(() => refused.closed !== undefined, 'the refusal')
    const impatient = stage.dial({ clientId: 'impatient', version: 4, will })
    stage.run(45)
    impatient.leave()
    stage.run(45)
    expect(impatient.connack).toBeUndefined()
    expect(publishedWithin(3000)).toEqual([])
  })

  test('of a connection whose proxy dies is published by the session shard', () => {
    const { stage, publishedWithin } = witnessed()
    stage.connect({ clientId: 'meter', version: 4, proxy: 1, will })
    stage.crash('proxy-1')
    expect(publishedWithin(10_000)).toEqual(['gone'])
  })
})
