import { describe, expect, test } from 'vitest'
import { clients, Stage } from './stage.test-support.ts'

function takenOver() {
  const stage = new Stage(clients(2))
  const older = stage.connected(0)
  older.subscribe('data/1')
  stage.wait(1000)
  const newer = stage.connected(0, 4, { present: true })
  stage.wait(100)
  return { stage, older, newer }
}

function attach(stage: Stage, volume: number, epoch: number) {
  stage.record(`broker-${epoch}`, { kind: 'volume-attached', volume, epoch, size: 0, repairedCopies: 0 })
}

describe('one-owner', () => {
  test('catches an acknowledgement through the old connection', () => {
    const { stage, older } = takenOver()
    older.publish('data/0', 0)
    older.puback(0)
    const result = stage.result('one-owner')
    expect(result.verdict).toBe('violated')
    expect(result.violations[0]!.signature).toBe('one-owner: PUBACK through the old connection')
    expect(result.violations[0]!.evidence.map((each) => each.timeUs)).toEqual([0, 1_000_000, 1_100_000])
  })

  test('catches a message through the old connection', () => {
    const { stage, older } = takenOver()
    const publisher = stage.connected(1)
    publisher.publish('data/1', 0)
    older.deliver('data/1', 1, 0)
    expect(stage.verdict('one-owner')).toBe('violated')
  })

  test('catches it where the packet arrives before the new CONNACK does', () => {
    const stage = new Stage(clients(2))
    const older = stage.connected(0)
    older.publish('data/0', 0)
    const newer = stage.connection(0)
    newer.connect({ unanswered: true })
    stage.wait(100)
    older.puback(0, 10)
    stage.wait(100)
    newer.connack(true, 150)
    expect(stage.verdict('one-owner')).toBe('violated')
  })

  test('what the server wrote before the new CONNACK may arrive after it, and DISCONNECT and PINGRESP may follow', () => {
    const stage = new Stage(clients(1, { version: 5 }))
    const older = stage.connected(0, 5)
    older.publish('data/0', 0)
    older.send({ cmd: 'pingreq' })
    stage.wait(1000)
    stage.connected(0, 5, { present: true })
    stage.wait(100)
    older.puback(0, 200)
    older.receive({ cmd: 'pingresp' })
    older.receive({ cmd: 'disconnect', reasonCode: 0x8e })
    expect(stage.verdict('one-owner')).toBe('held')
  })

  test('the new connection may speak, and connections of two clients have nothing to do with each other', () => {
    const { stage, newer } = takenOver()
    newer.publish('data/0', 0)
    newer.puback(0)
    const other = stage.connected(1)
    other.publish('data/1', 0)
    other.puback(0)
    expect(stage.verdict('one-owner')).toBe('held')
  })

  test('copies of a volume share a prefix; a shorter one is fine', () => {
    const stage = new Stage(clients(1))
    attach(stage, 3, 1)
    attach(stage, 3, 2)
    stage.checks.copies(3, [
      { machine: 'volume-1', bytes: Buffer.from('abcdef') },
      { machine: 'volume-2', bytes: Buffer.from('abcd') },
      { machine: 'volume-3', bytes: Buffer.alloc(0) },
    ])
    expect(stage.result('one-owner')).toMatchObject({ verdict: 'held', exercised: 1 })
    stage.checks.copies(4, [
      { machine: 'volume-1', bytes: Buffer.from('abcdef') },
      { machine: 'volume-2', bytes: Buffer.from('abXdef') },
    ])
    const result = stage.result('one-owner')
    expect(result.violationCount).toBe(1)
    expect(result.violations[0]!.text).toContain('differ from byte 2 on')
  })

  test('copies of a volume that never moved put nothing to the test, and are found to differ all the same', () => {
    const stage = new Stage(clients(1))
    attach(stage, 3, 1)
    stage.checks.copies(3, [
      { machine: 'volume-1', bytes: Buffer.from('abcdef') },
      { machine: 'volume-2', bytes: Buffer.from('abcd') },
    ])
    expect(stage.verdict('one-owner')).toBe('not-exercised')
    stage.checks.copies(3, [
      { machine: 'volume-1', bytes: Buffer.from('abcdef') },
      { machine: 'volume-2', bytes: Buffer.from('abX') },
    ])
    expect(stage.verdict('one-owner')).toBe('violated')
  })

  test('counts takeovers apart from copies', () => {
    const { stage } = takenOver()
    attach(stage, 0, 1)
    attach(stage, 0, 2)
    stage.checks.copies(0, [
      { machine: 'volume-1', bytes: Buffer.from('ab') },
      { machine: 'volume-2', bytes: Buffer.from('ab') },
      { machine: 'volume-3', bytes: Buffer.from('ab') },
    ])
    expect(stage.result('one-owner').exercised).toBe(4)
    expect(stage.checks.measures().takeovers).toBe(1)
  })

  test('catches a new connection that speaks on after a CONNECT that its client had given up took the session', () => {
    const stage = new Stage(clients(1))
    const slow = stage.connection(0)
    slow.connect({ unanswered: true })
    stage.wait(2000)
    const next = stage.connected(0)
    next.publish('data/0', 0)
    stage.wait(100)
    slow.connack(true)
    expect(stage.result('one-owner')).toMatchObject({ verdict: 'held', exercised: 1 })
    stage.wait(10)
    next.puback(0)
    expect(stage.verdict('one-owner')).toBe('violated')
  })

  test('is not exercised by clients that close the old connection first', () => {
    const stage = new Stage(clients(1))
    stage.connected(0).close('self')
    stage.connected(0, 4, { present: true })
    expect(stage.verdict('one-owner')).toBe('not-exercised')
  })
})
