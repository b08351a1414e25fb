import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const PROMISE = 'will-once'
const TOPIC = 'will/client-0'

/** Client 1 listens to the wills of client 0, whose CONNECT had this delay. */
function stage(
  delaySeconds = 0,
  options: { qos?: number; expiry?: number; early?: boolean } = {},
): { stage: Stage; dying: StageConnection; heir: StageConnection } {
  const made = new Stage(clients(3), { promises: [PROMISE] })
  const heir = made.connected(1, 5)
  if (options.early !== false) heir.subscribe('will/#', 1)
  const dying = connect(made, 0, delaySeconds, options)
  if (options.early === false) heir.subscribe('will/#', 1)
  return { stage: made, dying, heir }
}

function connect(
  made: Stage,
  sequence: number,
  delaySeconds: number,
  options: { qos?: number; expiry?: number; present?: boolean; cleanStart?: boolean } = {},
): StageConnection {
  return made.connected(0, 5, {
    present: options.present ?? false,
    cleanStart: options.cleanStart ?? false,
    properties: { sessionExpiryInterval: options.expiry ?? 3600 },
    will: { sequence, topic: TOPIC, qos: options.qos ?? 1, properties: { willDelayInterval: delaySeconds } },
  })
}

/** A minute passes, seen every second. */
function pass(made: Stage, seconds = 60): void {
  for (let n = 0; n < seconds; n++) {
    made.wait(1000)
    made.connection(2, 5).close('self')
  }
}

const outage: Fault = { kind: 'crash', machines: ['proxy-1'] }

describe('will-once', () => {
  test('a will that comes once after its connection dropped holds it, and is counted', () => {
    const { stage: made, dying, heir } = stage()
    made.wait(1000)
    dying.close('self', 'reset')
    made.wait(2000)
    heir.deliver(TOPIC, 0, 0)
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 1 })
    expect(made.checks.measures().willsFired).toBe(1)
  })

  test('a will that never comes after an abnormal end violates it [MQTT-3.1.2-8]', () => {
    const { stage: made, dying } = stage()
    made.wait(1000)
    dying.close('self', 'reset')
    made.wait(19_000)
    expect(made.result(PROMISE).violationCount).toBe(0)
    made.wait(3000)
    const result = made.result(PROMISE)
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.signature).toBe('will-once: not published')
  })

  test('one subscribed after the CONNECT and before the end is due it too', () => {
    const { stage: made, dying } = stage(0, { early: false })
    dying.close('self', 'reset')
    made.wait(40_000)
    expect(made.verdict(PROMISE)).toBe('violated')
  })

  test('one that subscribed when the service may have published it already is not', () => {
    for (const spoken of [false, true]) {
      const made = new Stage(clients(3), { promises: [PROMISE] })
      const heir = made.connected(1, 5)
      const dying = connect(made, 0, 0)
      made.wait(1000)
      heir.subscribe('will/#', 1)
      made.wait(1000)
      if (spoken) dying.deliver('data/1', 1, 0)
      dying.close('peer', 'reset')
      pass(made)
      expect(made.result(PROMISE).violationCount).toBe(spoken ? 1 : 0)
    }
  })

  test('DISCONNECT 0x04, power loss, and a connection that the other side ended are abnormal too', () => {
    for (const finish of [
      (_made: Stage, dying: StageConnection) => dying.disconnect(4),
      (made: Stage) => made.checks.world.onPowerLost!('client-machine-0', [], made.nowUs),
      (_made: Stage, dying: StageConnection) => dying.close('peer', 'reset'),
    ]) {
      const { stage: made, dying } = stage()
      finish(made, dying)
      made.wait(60_000)
      expect(made.verdict(PROMISE)).toBe('violated')
    }
  })

  test('a will published after a sure DISCONNECT 0x00 violates it [MQTT-3.14.4-3]', () => {
    const { stage: made, dying, heir } = stage()
    made.wait(1000)
    dying.disconnect()
    made.wait(1000)
    heir.deliver(TOPIC, 0, 0)
    made.wait(6000)
    const result = made.result(PROMISE)
    expect(result.violations[0]!.signature).toBe('will-once: published after DISCONNECT 0x00')
  })

  test('the same when it comes late', () => {
    const { stage: made, dying, heir } = stage()
    dying.disconnect()
    pass(made, 20)
    heir.deliver(TOPIC, 0, 0)
    expect(made.verdict(PROMISE)).toBe('violated')
  })

  test('a will that stays away after DISCONNECT 0x00 holds it', () => {
    const { stage: made, dying } = stage()
    dying.disconnect()
    made.wait(6000)
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', exercised: 1 })
  })

  test('while a fault is in force nobody can know whether DISCONNECT was processed, and either is right', () => {
    for (const comes of [true, false]) {
      const { stage: made, dying, heir } = stage()
      made.apply(outage)
      made.wait(1000)
      dying.disconnect()
      made.wait(1000)
      if (comes) heir.deliver(TOPIC, 0, 0)
      pass(made)
      expect(made.result(PROMISE).violationCount).toBe(0)
    }
  })

  test('nor where one comes within seconds', () => {
    const { stage: made, dying, heir } = stage()
    dying.disconnect()
    made.wait(2000)
    made.apply(outage)
    heir.deliver(TOPIC, 0, 0)
    made.wait(60_000)
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('a second copy under another packet identifier violates it', () => {
    const { stage: made, dying, heir } = stage()
    dying.close('self', 'reset')
    heir.deliver(TOPIC, 0, 0, { packetId: 7 })
    heir.deliver(TOPIC, 0, 0, { packetId: 8 })
    expect(made.result(PROMISE).violations[0]!.signature).toBe('will-once: published twice')
  })

  test('the same PUBLISH again is no second copy; nor is a retained one', () => {
    const { stage: made, dying, heir } = stage()
    dying.close('self', 'reset')
    heir.deliver(TOPIC, 0, 0, { packetId: 7, acknowledge: false })
    heir.close()
    const again = made.connected(1, 5, { present: true })
    again.deliver(TOPIC, 0, 0, { packetId: 7, dup: true })
    again.deliver(TOPIC, 0, 0, { packetId: 9, retain: true })
    expect(made.result(PROMISE)).toMatchObject({ verdict: 'held', violationCount: 0 })
  })

  test('a will published while its connection goes on violates it [MQTT-3.1.2-8]', () => {
    const { stage: made, dying, heir } = stage()
    heir.deliver(TOPIC, 0, 0)
    made.wait(100)
    dying.subscribe('data/0')
    expect(made.result(PROMISE).violations[0]!.signature).toBe('will-once: published while its connection goes on')
  })

  test('the will of the new connection published by the end of the old one violates it', () => {
    const { stage: made, dying, heir } = stage()
    const taken = connect(made, 1, 0, { present: true })
    dying.close('peer', 'ended')
    made.wait(10)
    heir.deliver(TOPIC, 0, 0)
    heir.deliver(TOPIC, 0, 1)
    made.wait(10)
    taken.subscribe('data/0')
    expect(made.result(PROMISE).violationCount).toBe(1)
  })

  test('one that comes before the delay has passed violates it [MQTT-3.1.2-8]', () => {
    const { stage: made, dying, heir } = stage(20)
    made.wait(1000)
    dying.close('self', 'reset')
    made.wait(10_000)
    heir.deliver(TOPIC, 0, 0)
    expect(made.result(PROMISE).violations[0]!.signature).toBe('will-once: published before its delay')
  })

  test('session expiry may end the delay', () => {
    const { stage: made, dying, heir } = stage(20, { expiry: 5 })
    made.wait(1000)
    dying.close('self', 'reset')
    made.wait(6000)
    heir.deliver(TOPIC, 0, 0)
    expect(made.verdict(PROMISE)).toBe('held')
  })

  test('so may a clean start', () => {
    const { stage: made, dying, heir } = stage(20)
    dying.close('self', 'reset')
    connect(made, 1, 20, { cleanStart: true })
    heir.deliver(TOPIC, 0, 0)
    expect(made.verdict(PROMISE)).toBe('held')
  })

  test('a session resumed within the delay must not see its will published [MQTT-3.1.3-9]', () => {
    const { stage: made, dying, heir } = stage(20)
    dying.close('self', 'reset')
    made.wait(5000)
    connect(made, 1, 20, { present: true })
    made.wait(20_000)
    heir.deliver(TOPIC, 0, 0)
    expect(made.result(PROMISE).violations[0]!.signature).toBe('will-once: published though the session was resumed in time')
  })

  test('a session resumed may have cancelled it: none is demanded', () => {
    const { stage: made, dying } = stage(20)
    dying.close('self', 'reset')
    made.wait(19_000)
    connect(made, 1, 20, { present: true })
    made.wait(80_000)
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('a session resumed when the delay surely was over has cancelled nothing [MQTT-3.1.2-8]', () => {
    const { stage: made, dying } = stage(20)
    dying.close('self', 'reset')
    // Fifteen seconds to notice the end, a tenth more than the delay, and two seconds.
    made.wait(39_500)
    connect(made, 1, 20, { present: true })
    made.wait(2000)
    const result = made.result(PROMISE)
    expect(result.violations.map(({ signature }) => signature)).toEqual(['will-once: not published'])
  })

  test('a session resumed then may still have cancelled it where a fault has come and gone', () => {
    const { stage: made, dying } = stage(20)
    dying.close('self', 'reset')
    made.wait(20_000)
    made.apply(outage)
    made.heal(outage)
    made.wait(19_500)
    connect(made, 1, 20, { present: true })
    made.wait(80_000)
    expect(made.result(PROMISE).violationCount).toBe(0)
  })

  test('without a delay a session resumed cancels nothing', () => {
    const { stage: made, dying } = stage()
    dying.close('self', 'reset')
    made.wait(1000)
    connect(made, 1, 0, { present: true })
    made.wait(60_000)
    expect(made.verdict(PROMISE)).toBe('violated')
  })

  test('nothing is demanded at QoS 0, of one that has left, or while faults last', () => {
    const atMostOnce = stage(0, { qos: 0 })
    atMostOnce.dying.close('self', 'reset')
    atMostOnce.stage.wait(60_000)
    expect(atMostOnce.stage.result(PROMISE).violationCount).toBe(0)

    const left = stage()
    left.dying.close('self', 'reset')
    left.heir.unsubscribe('will/#')
    left.stage.wait(60_000)
    expect(left.stage.result(PROMISE).violationCount).toBe(0)

    const troubled = stage()
    troubled.stage.checks.onAct('faults', troubled.stage.nowUs)
    troubled.dying.close('self', 'reset')
    troubled.heir.close()
    troubled.stage.wait(60_000)
    expect(troubled.stage.result(PROMISE).violationCount).toBe(0)
    troubled.stage.checks.onAct('healed', troubled.stage.nowUs)
    pass(troubled.stage, 40)
    troubled.stage.wait(1000)
    expect(troubled.stage.result(PROMISE).violationCount).toBe(0)
    const heir = troubled.stage.connected(1, 5, { present: true })
    expect(heir.number).toBe(1)
    troubled.stage.wait(10_000)
    expect(troubled.stage.verdict(PROMISE)).toBe('violated')
  })

  test('a CONNECT that was never accepted leaves it open', () => {
    const made = new Stage(clients(3), { promises: [PROMISE] })
    made.connected(1, 5).subscribe('will/#', 1)
    const refused = made.connection(0, 5)
    refused.connect({ unanswered: true, will: { sequence: 0, topic: TOPIC } })
    refused.close('peer', 'reset')
    made.wait(60_000)
    expect(made.result(PROMISE).violationCount).toBe(0)
  })
})
