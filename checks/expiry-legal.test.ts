import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const EXPIRY_SECONDS = 9
/** A tenth more, and two seconds. */
const SURELY_MS = 12_000

const properties = { messageExpiryInterval: EXPIRY_SECONDS }

interface Played {
  readonly stage: Stage
  readonly publisher: StageConnection
  readonly subscriber: StageConnection
}

/** Client 0 has published a message that expires, and has its acknowledgement. */
function stage(options: { readonly acknowledged?: boolean } = {}): Played {
  const made = new Stage(clients(3), { promises: ['wire-legal'] })
  const publisher = made.connected(0, 5)
  const subscriber = made.connected(1, 5)
  subscriber.subscribe('data/0')
  publisher.publish('data/0', 0, { properties })
  if (options.acknowledged !== false) publisher.puback(0)
  return { stage: made, publisher, subscriber }
}

/** Time passes, seen every second. */
function pass(made: Stage, ms: number): void {
  for (let passed = 0; passed < ms; passed += 1000) {
    made.wait(1000)
    made.connection(2, 5).close('self')
  }
}

const late = { properties: { messageExpiryInterval: 1 } }
const EXPIRED = ['wire-legal: MQTT-3.3.2-5 PUBLISH of a message whose Message Expiry Interval of # s has passed']
const broken = (made: Stage) => made.result('wire-legal').violations.map(({ signature }) => signature)

describe('a message that has expired', () => {
  test('must not come [MQTT-3.3.2-5]', () => {
    const { stage: made, subscriber } = stage()
    pass(made, SURELY_MS + 2000)
    subscriber.deliver('data/0', 0, 0, late)
    expect(broken(made)).toEqual(EXPIRED)
  })

  test('nor as a retained one', () => {
    const { stage: made, subscriber } = stage()
    subscriber.deliver('data/0', 0, 0, late)
    pass(made, SURELY_MS + 2000)
    subscriber.deliver('data/0', 0, 0, { ...late, retain: true, packetId: 9 })
    expect(broken(made)).toEqual(EXPIRED)
  })

  test('may come a little late', () => {
    const { stage: made, subscriber } = stage()
    pass(made, EXPIRY_SECONDS * 1000 + 1000)
    subscriber.deliver('data/0', 0, 0, late)
    expect(broken(made)).toEqual([])
  })

  test('may come where it was sent before and is only late on its way', () => {
    const { stage: made, subscriber } = stage()
    pass(made, 20_000)
    subscriber.deliver('data/0', 0, 0, { ...late, agoMs: 15_000 })
    expect(broken(made)).toEqual([])
  })

  test('may come with DUP, where its delivery may have begun in time', () => {
    const { stage: made, subscriber } = stage()
    subscriber.close()
    pass(made, 20_000)
    made.connected(1, 5, { present: true }).deliver('data/0', 0, 0, { ...late, dup: true })
    expect(broken(made)).toEqual([])
  })

  test('may come again to a session that had it', () => {
    const { stage: made, subscriber } = stage()
    subscriber.deliver('data/0', 0, 0, { ...late, acknowledge: false })
    subscriber.close()
    pass(made, 20_000)
    made.connected(1, 5, { present: true }).deliver('data/0', 0, 0, { ...late, dup: true })
    expect(broken(made)).toEqual([])
  })

  test('counts from when all is quiet, where a fault came or went since', () => {
    const fault: Fault = { kind: 'crash', machines: ['broker-1'] }
    const { stage: made, subscriber } = stage()
    made.apply(fault)
    pass(made, 5000)
    made.heal(fault)
    pass(made, 20_000)
    subscriber.deliver('data/0', 0, 0, late)
    expect(broken(made)).toEqual([])
    subscriber.close()
    pass(made, 10_000)
    made.connected(2, 5).deliver('data/0', 0, 0, late)
    expect(broken(made)).toEqual(EXPIRED)
  })

  test('is not known for one that nobody acknowledged, or that was published again', () => {
    const unanswered = stage({ acknowledged: false })
    pass(unanswered.stage, 20_000)
    unanswered.subscriber.deliver('data/0', 0, 0, late)
    expect(broken(unanswered.stage)).toEqual([])

    const { stage: made, publisher, subscriber } = stage({ acknowledged: false })
    publisher.publish('data/0', 1, { properties })
    publisher.puback(1)
    publisher.close()
    pass(made, 20_000)
    const again = made.connected(0, 5, { present: true })
    again.publish('data/0', 0, { properties, dup: true })
    again.puback(0)
    subscriber.deliver('data/0', 0, 0, late)
    expect(broken(made)).toEqual([])
    subscriber.deliver('data/0', 0, 1, late)
    expect(broken(made)).toEqual(EXPIRED)
  })

  test('is none where messages differ in their expiry', () => {
    const { stage: made, publisher, subscriber } = stage()
    publisher.publish('data/0', 1, { properties: { messageExpiryInterval: 60 } })
    pass(made, 20_000)
    subscriber.deliver('data/0', 0, 0, late)
    expect(broken(made)).toEqual([])
  })
})
