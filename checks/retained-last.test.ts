import { describe, expect, test } from 'vitest'
import { encodePayload } from './payload.ts'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const PROMISE = 'retained-last'
const TOPIC = 'state/a'

function stage(): { stage: Stage; writer: StageConnection; other: StageConnection; reader: StageConnection } {
  const made = new Stage(clients(4), { promises: [PROMISE] })
  return { stage: made, writer: made.connected(0, 5), other: made.connected(1, 5), reader: made.connected(2, 5) }
}

function write(made: Stage, writer: StageConnection, sequence: number, acknowledged = true): void {
  writer.publish(TOPIC, sequence, { retain: true })
  made.wait(50)
  if (acknowledged) writer.puback(sequence)
  made.wait(50)
}

const kinds = (made: Stage) => made.result(PROMISE).violations.map((each) => each.signature.replace('retained-last: ', ''))

describe('retained-last', () => {
  test('the latest value, in time, holds it [MQTT-3.3.1-9]', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    write(made, writer, 1)
    reader.subscribe(TOPIC)
    made.wait(100)
    reader.deliver(TOPIC, 0, 1, { retain: true })
    made.wait(20_000)
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 2 })
  })

  test('a value that a later one of the same client overwrote before the SUBSCRIBE violates it [MQTT-3.3.1-5]', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    write(made, writer, 1)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(kinds(made)).toEqual(['an overwritten retained message'])
  })

  test('so does one that another client overwrote, which sent after the former was acknowledged', () => {
    const { stage: made, writer, other, reader } = stage()
    write(made, writer, 0)
    write(made, other, 0)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(kinds(made)).toEqual(['an overwritten retained message'])
  })

  test('of two that were under way together either may be the last', () => {
    for (const publisher of [0, 1]) {
      const { stage: made, writer, other, reader } = stage()
      writer.publish(TOPIC, 0, { retain: true })
      other.publish(TOPIC, 0, { retain: true })
      made.wait(50)
      other.puback(0)
      writer.puback(0)
      made.wait(50)
      reader.subscribe(TOPIC)
      reader.deliver(TOPIC, publisher, 0, { retain: true })
      expect(made.result(PROMISE).violationCount).toBe(0)
    }
  })

  test('one that is not acknowledged yet may be there, or not', () => {
    for (const sequence of [0, 1]) {
      const { stage: made, writer, reader } = stage()
      write(made, writer, 0)
      write(made, writer, 1, false)
      reader.subscribe(TOPIC)
      reader.deliver(TOPIC, 0, sequence, { retain: true })
      expect(made.result(PROMISE).violationCount).toBe(0)
    }
  })

  test('one that a subscriber has seen was surely processed, whatever its QoS', () => {
    const { stage: made, writer, reader } = stage()
    const watcher = made.connected(3, 5)
    watcher.subscribe(TOPIC)
    for (const sequence of [0, 1]) {
      writer.publish(TOPIC, sequence, { qos: 0, retain: true })
      watcher.deliver(TOPIC, 0, sequence, { qos: 0 })
    }
    made.wait(50)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { qos: 0, retain: true })
    expect(kinds(made)).toEqual(['an overwritten retained message'])
  })

  test('one sent again at QoS 1 may be stored again', () => {
    const { stage: made, writer, reader } = stage()
    const watcher = made.connected(3, 5)
    watcher.subscribe(TOPIC)
    writer.publish(TOPIC, 0, { retain: true })
    writer.publish(TOPIC, 1, { retain: true })
    watcher.deliver(TOPIC, 0, 1)
    writer.close()
    made.wait(50)
    const again = made.connected(0, 5, { present: true })
    again.publish(TOPIC, 0, { retain: true, dup: true })
    again.publish(TOPIC, 1, { retain: true, dup: true })
    made.wait(50)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('overwritten after the SUBSCRIBE was sent is early enough', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    reader.subscribe(TOPIC)
    made.wait(10)
    write(made, writer, 1)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('each SUBSCRIBE is answered once: the second answer counts for the second SUBSCRIBE', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    write(made, writer, 1)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { retain: true, packetId: 9 })
    expect(kinds(made)).toEqual(['an overwritten retained message'])
  })

  test('an answer that is late while faults last counts for its own SUBSCRIBE; in calm it would have come', () => {
    for (const act of ['faults', 'healed'] as const) {
      const { stage: made, writer, reader } = stage()
      made.checks.onAct('faults', made.nowUs)
      made.apply({ kind: 'crash', machines: ['broker-1'] })
      write(made, writer, 0)
      reader.subscribe(TOPIC)
      if (act === 'healed') {
        made.heal({ kind: 'crash', machines: ['broker-1'] })
        made.checks.onAct('healed', made.nowUs)
      }
      made.wait(30_000)
      write(made, writer, 1)
      reader.subscribe(TOPIC)
      reader.deliver(TOPIC, 0, 0, { retain: true })
      expect(kinds(made).includes('an overwritten retained message')).toBe(act === 'healed')
    }
  })

  test('a message that was published without RETAIN is never a retained one [MQTT-3.3.1-8]', () => {
    const { stage: made, writer, reader } = stage()
    writer.publish(TOPIC, 0)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(kinds(made)).toEqual(['a message that was not retained'])
  })

  test('a live message with RETAIN, which nobody asked for, violates it [MQTT-3.3.1-12]', () => {
    const { stage: made, writer, reader } = stage()
    reader.subscribeWith(TOPIC, 1, { retainHandling: 2 })
    write(made, writer, 0)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(kinds(made)).toEqual(['a retained message that nobody asked for'])
  })

  test('so does a retained message for a shared subscription', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    reader.subscribe(`$share/g/${TOPIC}`)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(kinds(made)).toEqual(['a retained message that nobody asked for'])
  })

  test('with Retain As Published it may be a live one', () => {
    const { stage: made, writer, reader } = stage()
    reader.subscribeWith(TOPIC, 1, { retainHandling: 2, retainAsPublished: true })
    write(made, writer, 0)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('none at all where one was surely there violates it, by name and by wildcard [MQTT-3.3.1-9]', () => {
    for (const filter of [TOPIC, 'state/#']) {
      const { stage: made, writer, reader } = stage()
      write(made, writer, 0)
      reader.subscribe(filter)
      made.wait(4000)
      expect(made.result(PROMISE).violationCount).toBe(0)
      made.wait(3000)
      expect(kinds(made)).toEqual(['no retained message'])
    }
  })

  test('the copy may come ahead of the SUBACK', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    reader.subscribeWith(TOPIC, 1, { unanswered: true })
    reader.deliver(TOPIC, 0, 0, { retain: true })
    reader.receive({ cmd: 'suback', messageId: 60_000, granted: [1] })
    made.wait(20_000)
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('a live copy is no answer [MQTT-3.3.1-9]', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0)
    made.wait(7000)
    expect(kinds(made)).toEqual(['no retained message'])
  })

  test('none is demanded where none was surely there, or none need come', () => {
    const waivers: readonly ((made: Stage, writer: StageConnection, reader: StageConnection) => void)[] = [
      (made, writer, reader) => {
        write(made, writer, 0, false)
        reader.subscribe(TOPIC)
      },
      (made, writer, reader) => {
        write(made, writer, 0)
        reader.subscribe(TOPIC, 0)
      },
      (made, writer, reader) => {
        write(made, writer, 0)
        reader.subscribeWith(TOPIC, 1, { retainHandling: 2 })
      },
      (made, writer, reader) => {
        reader.subscribe(TOPIC)
        write(made, writer, 0)
        reader.subscribeWith(TOPIC, 1, { retainHandling: 1 })
      },
      (made, writer, reader) => {
        write(made, writer, 0)
        writer.send({ cmd: 'publish', topic: TOPIC, qos: 1, messageId: 9, retain: true, payload: Buffer.alloc(0) })
        reader.subscribe(TOPIC)
      },
      (made, writer, reader) => {
        writer.publish(TOPIC, 0, { retain: true, properties: { messageExpiryInterval: 2 } })
        writer.puback(0)
        made.wait(50)
        reader.subscribe(TOPIC)
      },
      (made, writer, reader) => {
        write(made, writer, 0)
        reader.subscribe(TOPIC)
        reader.close()
      },
      (made, writer, reader) => {
        write(made, writer, 0)
        reader.subscribe(TOPIC)
        reader.unsubscribe(TOPIC)
      },
      (made, writer, reader) => {
        write(made, writer, 0)
        made.checks.onAct('faults', made.nowUs)
        reader.subscribe(TOPIC)
      },
    ]
    waivers.forEach((story, index) => {
      const { stage: made, writer, reader } = stage()
      story(made, writer, reader)
      made.wait(20_000)
      expect([index, made.result(PROMISE).violationCount]).toEqual([index, 0])
    })
  })

  test('Retain Handling 1 brings one where the subscription is surely new [MQTT-3.3.1-10]', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    reader.subscribeWith(TOPIC, 1, { retainHandling: 1 })
    made.wait(7000)
    expect(kinds(made)).toEqual(['no retained message'])
  })

  test('a retained will is in the register from its CONNECT on, in no order', () => {
    const { stage: made, writer, reader } = stage()
    const dying = made.connected(3, 5, { will: { sequence: 7, topic: TOPIC, retain: true } })
    write(made, writer, 0)
    dying.close('self', 'reset')
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 3, 7, { retain: true })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('of many values only a few are remembered, and a very old one is still found out', () => {
    const { stage: made, writer, reader } = stage()
    for (let sequence = 0; sequence < 100; sequence++) write(made, writer, sequence)
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 3, { retain: true })
    expect(kinds(made)).toEqual(['an overwritten retained message'])
  })

  test('many that nobody acknowledges are taken for possible, all of them', () => {
    const { stage: made, writer, reader } = stage()
    for (let sequence = 0; sequence < 100; sequence++) writer.publish(TOPIC, sequence, { qos: 0, retain: true })
    reader.subscribe(TOPIC, 0)
    reader.deliver(TOPIC, 0, 3, { qos: 0, retain: true })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('a payload that is none of ours makes the topic unknown', () => {
    const { stage: made, writer, reader } = stage()
    write(made, writer, 0)
    write(made, writer, 1)
    writer.send({ cmd: 'publish', topic: TOPIC, qos: 0, retain: true, payload: encodePayload(0, 1, 32).subarray(0, 5) })
    reader.subscribe(TOPIC)
    reader.deliver(TOPIC, 0, 0, { retain: true })
    expect(made.result(PROMISE).violationCount).toBe(0)
  })
})
