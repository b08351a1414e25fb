import { describe, expect, test } from 'vitest'
import { RESTORED } from '../volume/log-record.ts'
import { traceMessage } from './message-trace.ts'
import { ShardStage, StageLink, subscription } from './shard-stage.test-support.ts'

const expirySeconds = 10

/** A session that is away, with one message of topic `t` waiting for it. @returns where the message stands */
function waiting(stage: ShardStage, message: { readonly expirySeconds?: number; readonly qos?: number } = {}): number {
  const link = new StageLink()
  stage.attach(link, 's', 1, [subscription('t', 2)])
  stage.detach(link, 's', 1)
  stage.host.run(2000)
  return stage.publish('p', { topic: 't', text: 'm', ...message }).answer!.offset
}

/** The session is connected again. */
function back(stage: ShardStage, epoch = 2): StageLink {
  const link = new StageLink()
  stage.attach(link, 's', 1, [subscription('t', 2)], { epoch })
  return link
}

const told = (stage: ShardStage, offset: number) =>
  stage.trace(offset).answer!.deliveries.map(({ clientId, state, acknowledgedAtMs }) => [clientId, state, acknowledgedAtMs])

describe('the trace of a message that expired', () => {
  test('says so at once, when it is logged, and from a new owner', () => {
    const stage = new ShardStage()
    const offset = waiting(stage, { expirySeconds })
    stage.host.run(11_000)
    expect(told(stage, offset)).toEqual([['s', 'waiting', 0]])
    expect(back(stage).texts(1)).toEqual([])
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
    stage.host.run(2000)
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
    stage.newOwner()
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
  })

  test('says so while its record is on its way to the log', () => {
    const stage = new ShardStage()
    const offset = waiting(stage, { expirySeconds })
    const link = back(stage)
    stage.log.held = true
    stage.expired(link, 1, 1)
    stage.host.run(2000)
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
    stage.log.held = false
    stage.log.sync()
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
    expect(stage.shard.state.queues.get('s')!.isExpired(1)).toBe(false)
  })

  test('says so where a checkpoint came before its record was due, and the owner died on that', () => {
    const stage = new ShardStage({ checkpointBytes: 200 })
    const offset = waiting(stage, { expirySeconds })
    stage.expired(back(stage), 1, 1)
    const { markOffset } = stage.log
    while (stage.log.markOffset === markOffset) stage.publish('p', { topic: 'elsewhere', text: 'makes a checkpoint due' })
    stage.newOwner()
    expect(stage.shard.state.queues.get('s')!.base).toBe(2)
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
  })

  test('says so where it expired with the proxy; its place is done with', () => {
    const stage = new ShardStage()
    const offset = waiting(stage, { expirySeconds, qos: 2 })
    const link = back(stage)
    expect(link.texts(1)).toEqual(['m'])
    stage.expired(link, 1, 1)
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
    stage.host.run(2000)
    stage.newOwner()
    expect(told(stage, offset)).toEqual([['s', 'expired', 0]])
    expect(back(stage, 3).texts(1)).toEqual([])
  })

  test('opens the window for what waits behind it', () => {
    const stage = new ShardStage()
    waiting(stage)
    for (let i = 0; i < 70; i++) stage.publish('p', { topic: 't', text: `m${i}` })
    const link = back(stage)
    expect(link.texts(1).length).toBe(64)
    stage.expired(link, 1, 1, 2, 3)
    expect(link.texts(1).length).toBe(67)
  })
})

test('a trace tells of a session that ended with the message waiting as ended, whoever comes by its name', () => {
  const stage = new ShardStage()
  const offset = waiting(stage)
  stage.endSession('s')
  stage.attach(new StageLink(), 's', 1, [subscription('t')], { incarnation: 2, epoch: 2 })
  stage.host.run(2000)
  expect(told(stage, offset)).toEqual([['s', 'ended', 0]])
})

describe('after a restore from a backup point', () => {
  const restored = (stage: ShardStage) => {
    stage.log.append(RESTORED, 1, (writer) => writer.u32(2))
    stage.newOwner()
  }

  test('a trace follows what waited to its new place, and is not whole', () => {
    const stage = new ShardStage()
    const offset = waiting(stage)
    restored(stage)
    expect(stage.trace(offset).answer).toMatchObject({ isWhole: false, deliveries: [{ clientId: 's', state: 'waiting' }] })
    const link = back(stage)
    expect(told(stage, offset)).toEqual([['s', 'sent', 0]])
    stage.acknowledge(link, 1, link.delivered.get(1)![0]!.sequence)
    expect(told(stage, offset)).toEqual([['s', 'acknowledged', 0]])
    stage.host.run(2000)
    expect(stage.trace(offset).answer!.deliveries[0]!.acknowledgedAtMs).toBeGreaterThan(0)
    restored(stage)
    expect(stage.trace(offset).answer!.deliveries).toMatchObject([{ state: 'acknowledged' }])
  })

  test('what had been received by half stays so', () => {
    const stage = new ShardStage()
    const offset = waiting(stage, { qos: 2 })
    stage.received(back(stage), 1, 1)
    restored(stage)
    back(stage, 3)
    stage.host.run(2000)
    expect(told(stage, offset)).toEqual([['s', 'received', 0]])
  })
})

test('where the log is too long for one trace, a place is looked for in the living queue, and unknown where it stands no more', () => {
  const stage = new ShardStage()
  const offset = waiting(stage)
  for (let i = 0; i < 3000; i++) stage.publish('p', { topic: 'elsewhere', text: 'x'.repeat(200) })
  const state = () => {
    let states: readonly string[] = []
    traceMessage(
      stage.host.asHost,
      stage.log.asVolume,
      stage.shard.state,
      offset,
      () => true,
      (trace) => {
        states = typeof trace === 'string' ? [trace] : trace.deliveries.map(({ state: is }) => is)
      },
      1,
    )
    return states
  }
  expect(state()).toEqual(['waiting'])
  const link = back(stage)
  expect(state()).toEqual(['sent'])
  stage.acknowledge(link, 1, 1)
  expect(state()).toEqual(['unknown'])
  expect(told(stage, offset)).toEqual([['s', 'acknowledged', 0]])
})
