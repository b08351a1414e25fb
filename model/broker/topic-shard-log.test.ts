/** One topic shard and its log: what is stored once, who gets it, and that a new owner knows all of it from the log alone. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deliveryFlag } from '../wire/delivery-flags.ts'
import { ShardStage, StageLink, subscription } from './shard-stage.test-support.ts'

describe('a QoS 2 message', () => {
  test('is stored once, whatever session epoch and sequence it comes with again [MQTT-4.3.3-10]', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 't', text: 'once', qos: 2 }, { epoch: 1, messageId: 7, openFrom: 7 })
    const again = stage.publish('p', { topic: 't', text: 'once', qos: 2 }, { epoch: 2, messageId: 7, openFrom: 7 })
    expect(again.answer).toMatchObject({ outcome: 'stored' })
    stage.newOwner()
    stage.publish('p', { topic: 't', text: 'once', qos: 2 }, { epoch: 3, messageId: 7, openFrom: 7 })
    // The next of the same connection goes on from the repetition's sequence.
    expect(stage.publish('p', { topic: 't', text: 'next', qos: 2 }, { epoch: 3, messageId: 8, openFrom: 7 }).answer).toMatchObject({
      outcome: 'stored',
    })
    expect(stage.stored('t')).toEqual(['once', 'next'])
  })

  test('is not known any more once its publisher has released it, so that the memory of a client stays small', () => {
    const stage = new ShardStage()
    for (let id = 1; id <= 50; id++) stage.publish('p', { topic: 't', text: `${id}`, qos: 2 }, { messageId: id, openFrom: id })
    stage.publish('p', { topic: 't', text: 'again', qos: 2 }, { messageId: 50, openFrom: 50 })
    stage.publish('p', { topic: 't', text: 'reused number', qos: 2 }, { messageId: 3, openFrom: 3 })
    expect(stage.stored('t')).toEqual([...Array.from({ length: 50 }, (_, i) => `${i + 1}`), 'reused number'])
  })

  test('is remembered for a publisher that is away for a day with the packet id in use', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 't', text: 'once', qos: 2 }, { messageId: 7, openFrom: 7 })
    stage.host.run(24 * 3600 * 1000)
    stage.publish('p', { topic: 't', text: 'once', qos: 2 }, { epoch: 2, messageId: 7, openFrom: 7 })
    expect(stage.stored('t')).toEqual(['once'])
  })

  test('whose PUBREC came is released when that is durable, not before, and never delivered again [MQTT-4.3.3-3, MQTT-4.3.3-6]', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t', 2)])
    stage.publish('p', { topic: 't', text: 'a', qos: 2 }, { messageId: 1, openFrom: 1 })
    expect(link.delivered.get(1)).toMatchObject([{ sequence: 1, qos: 2, text: 'a' }])
    stage.log.held = true
    stage.received(link, 1, 1)
    expect(link.released.get(1)).toBeUndefined()
    stage.log.held = false
    stage.log.sync()
    expect(link.released.get(1)).toEqual([1])
    stage.newOwner()
    const back = new StageLink()
    stage.attach(back, 's', 5, [subscription('t', 2)], { epoch: 2 })
    expect([back.released.get(5), back.texts(5)]).toEqual([[1], []])
    stage.acknowledge(back, 5, 1)
    const later = new StageLink()
    stage.attach(later, 's', 6, [subscription('t', 2)], { epoch: 3 })
    expect([later.released.get(6), later.texts(6)]).toEqual([undefined, []])
  })

  test('whose PUBREC was not durable when the owner went is delivered again, under its packet id, as a duplicate [MQTT-3.3.1-1]', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t', 2)])
    stage.publish('p', { topic: 't', text: 'a', qos: 2 }, { messageId: 1, openFrom: 1 })
    stage.log.held = true
    stage.received(link, 1, 1)
    stage.newOwner()
    stage.log.held = false
    const back = new StageLink()
    stage.attach(back, 's', 1, [subscription('t', 2)])
    expect(back.delivered.get(1)).toMatchObject([{ sequence: 1, text: 'a', flags: deliveryFlag.dup }])
  })
})

describe('a retained message', () => {
  const texts = (stage: ShardStage, filter: string, qos = 1) => {
    const link = new StageLink()
    stage.attach(link, `reader of ${filter} ${stage.host.nowAtMs++}`, 9, [subscription(filter, qos)], { touched: [filter] })
    return link.texts(9)
  }

  test('is what the last PUBLISH with RETAIN left, of whatever QoS [MQTT-3.3.1-5]', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'a/b', text: 'first', retain: true })
    stage.passOn('p', { topic: 'a/b', text: 'second', retain: true })
    stage.publish('p', { topic: 'a/b', text: 'not retained' })
    stage.publish('q', { topic: 'a/c', text: 'other', retain: true, qos: 2 }, { messageId: 1, openFrom: 1 })
    expect(texts(stage, 'a/b')).toEqual(['second'])
    expect(texts(stage, 'a/+')).toEqual(['second', 'other'])
    stage.newOwner()
    expect(texts(stage, '#')).toEqual(['second', 'other'])
    expect(texts(stage, 'a/c', 0)).toEqual(['other'])
  })

  test('is gone after one with an empty payload, which goes to those who are subscribed like any other [MQTT-3.3.1-6, MQTT-3.3.1-7]', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('a')])
    stage.publish('p', { topic: 'a', text: 'kept', retain: true })
    stage.publish('p', { topic: 'a', text: '', retain: true })
    expect(texts(stage, 'a')).toEqual([])
    expect(link.texts(1)).toEqual(['kept', ''])
  })

  test('of an older epoch of its publisher overwrites nothing', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'a', text: 'new', retain: true }, { epoch: 5 })
    expect(stage.publish('p', { topic: 'a', text: 'late', retain: true }, { epoch: 4 }).answer).toMatchObject({ outcome: 'fenced' })
    stage.passOn('p', { topic: 'a', text: 'late too', retain: true }, 4)
    expect(texts(stage, 'a')).toEqual(['new'])
  })

  test('is sent as retained, at the lower of both QoS, with its subscription identifier, and not to its own publisher where No Local says so [MQTT-3.3.1-8, MQTT-3.8.3-3]', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'a', text: 'kept', retain: true, qos: 2 }, { messageId: 1, openFrom: 1 })
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('a', 1, { subscriptionIdentifier: 12 })], { touched: ['a'] })
    stage.attach(link, 'p', 2, [subscription('a', 1, { noLocal: true })], { touched: ['a'] })
    expect(link.delivered.get(1)).toMatchObject([{ sequence: 1, qos: 1, flags: deliveryFlag.retain, identifiers: [12] }])
    expect(link.texts(2)).toEqual([])
  })

  test('is due by retain handling 1 where the subscription is new here, whatever the session’s list said, and only then [MQTT-3.3.1-10]', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'a', text: 'kept', retain: true })
    const ifNew = subscription('a', 1, { retainHandling: 1 })
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('b'), ifNew, subscription('$share/g/a', 1, { retainHandling: 1 })])
    expect(link.texts(1)).toEqual(['kept'])
    stage.attach(link, 's', 1, [ifNew])
    stage.newOwner()
    const back = new StageLink()
    stage.acknowledge(link, 1, 1)
    stage.attach(back, 's', 2, [{ ...ifNew, qos: 2 }], { epoch: 2 })
    expect(back.delivered.get(2)).toMatchObject([{ sequence: 1 }])
    stage.attach(back, 's', 2, [], { epoch: 2 })
    stage.attach(back, 's', 2, [ifNew], { epoch: 2 })
    expect(back.delivered.get(2)).toMatchObject([{ sequence: 1 }, { sequence: 2 }])
  })

  test('has a place in the queue that is durable before it leaves, and a repeated call does not send it again', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'a', text: 'kept', retain: true })
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('b')])
    stage.publish('p', { topic: 'b', text: 'live' })
    stage.log.held = true
    stage.attach(link, 's', 1, [subscription('a')], { touched: ['a'], version: 2 })
    // Something else makes the queue be looked at in between.
    stage.acknowledge(link, 1, 1)
    expect(link.texts(1)).toEqual(['live'])
    stage.log.held = false
    stage.log.sync()
    expect(link.texts(1)).toEqual(['live', 'kept'])
    stage.attach(link, 's', 1, [subscription('a')], { touched: ['a'], version: 2 })
    expect(link.texts(1)).toEqual(['live', 'kept'])
  })

  test('published at QoS 0 leaves once the register has it, and what comes behind it keeps its place [MQTT-4.6.0-5]', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')])
    stage.log.held = true
    stage.passOn('p', { topic: 't', text: 'at once', qos: 0 })
    stage.passOn('p', { topic: 't', text: 'kept', qos: 0, retain: true })
    stage.passOn('p', { topic: 't', text: 'behind it', qos: 0 })
    expect(link.texts(1)).toEqual(['at once'])
    stage.log.sync()
    expect(link.texts(1)).toEqual(['at once', 'kept', 'behind it'])
    stage.passOn('p', { topic: 't', text: 'at once again', qos: 0 })
    expect(link.texts(1).at(-1)).toBe('at once again')
  })

  test('published at QoS 0 that a failover lost was seen by nobody, and has replaced nothing [MQTT-3.3.1-5]', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')])
    stage.passOn('p', { topic: 't', text: 'former', qos: 0, retain: true })
    stage.log.held = true
    stage.passOn('p', { topic: 't', text: 'lost', qos: 0, retain: true })
    stage.newOwner()
    stage.log.held = false
    expect(link.texts(1)).toEqual(['former'])
    const back = new StageLink()
    stage.attach(back, 'late', 2, [subscription('t')], { touched: ['t'] })
    expect(back.texts(2)).toEqual(['former'])
  })

  test('at QoS 0 is sent at most once, also over a failover', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'a', text: 'kept', retain: true })
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('a', 0)], { touched: ['a'] })
    expect(link.delivered.get(1)).toMatchObject([{ sequence: 1, qos: 0, flags: deliveryFlag.retain }])
    const again = new StageLink()
    stage.attach(again, 's', 2, [subscription('a', 0)], { epoch: 2 })
    stage.newOwner()
    stage.attach(again, 's', 3, [subscription('a', 0)], { epoch: 3 })
    expect([again.texts(2), again.texts(3)]).toEqual([[], []])
    stage.publish('p', { topic: 'x', text: 'nothing to do with it' })
    stage.publish('p', { topic: 'a', text: 'live' })
    expect(again.texts(3)).toEqual(['live'])
  })

  test('outlives the retention of the log that it stands in', () => {
    const stage = new ShardStage({ retentionMs: 3_600_000, checkpointBytes: 1000 })
    stage.publish('p', { topic: 'a', text: 'kept', retain: true })
    for (let i = 0; i < 17_000; i++) stage.publish('p', { topic: 'b', text: `${i}` })
    expect(stage.log.trimOffset).toBe(0)
    stage.host.run(4_000_000)
    expect(stage.log.trimOffset).toBeGreaterThan(0)
    expect(stage.stored('a')).toEqual([])
    expect(texts(stage, 'a')).toEqual(['kept'])
    stage.newOwner()
    expect(texts(stage, 'a')).toEqual(['kept'])
  })
})

describe('a will', () => {
  test('that comes late overwrites nothing that its client has retained since, on another connection', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'presence', text: 'online', retain: true }, { epoch: 2 })
    stage.will('p', 1, { topic: 'presence', text: 'offline', retain: true })
    const link = new StageLink()
    stage.attach(link, 'r', 1, [subscription('presence')], { touched: ['presence'] })
    stage.newOwner()
    stage.attach(link, 'r 2', 2, [subscription('presence')], { touched: ['presence'] })
    stage.will('p', 3, { topic: 'presence', text: 'offline', retain: true })
    stage.attach(link, 'r 3', 3, [subscription('presence')], { touched: ['presence'] })
    expect([1, 2, 3].map((handle) => link.texts(handle)[0])).toEqual(['online', 'online', 'offline'])
    expect(stage.stored('presence')).toEqual(['online', 'offline', 'offline'])
  })

  test('is stored once for its connection, and not fenced by what the client did since', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('w')])
    stage.publish('c', { topic: 'other', text: 'alive again' }, { epoch: 9 })
    for (let i = 0; i < 2; i++) expect(stage.will('c', 4, { topic: 'w', text: 'gone' }).answer).toMatchObject({ outcome: 'stored' })
    stage.newOwner()
    expect(stage.will('c', 4, { topic: 'w', text: 'gone' }).answer).toMatchObject({ outcome: 'stored' })
    stage.will('c', 9, { topic: 'w', text: 'gone again' })
    expect(stage.stored('w')).toEqual(['gone', 'gone again'])
    expect(stage.publish('c', { topic: 'other', text: 'still' }, { epoch: 9 }).answer).toMatchObject({ outcome: 'stored' })
  })

  test('of QoS 0 reaches those who are connected, and with RETAIN the register', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('w')])
    stage.will('c', 1, { topic: 'w', text: 'gone', qos: 0, retain: true })
    expect(link.delivered.get(1)).toMatchObject([{ sequence: 0, qos: 0, text: 'gone' }])
    stage.attach(link, 'late', 2, [subscription('w')], { touched: ['w'] })
    expect(link.texts(2)).toEqual(['gone'])
  })
})

describe('a shared subscription', () => {
  const share = '$share/g/t'

  test('gives each message to one member, in turn, and leaves plain subscriptions alone [MQTT-4.8.2-1]', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    for (const [handle, clientId] of ['a', 'b', 'c'].entries()) stage.attach(link, clientId, handle + 1, [subscription(share)])
    stage.attach(link, 'plain', 9, [subscription('t')])
    for (let i = 0; i < 9; i++) stage.publish('p', { topic: 't', text: `${i}` })
    expect([1, 2, 3].map((handle) => link.texts(handle).length)).toEqual([3, 3, 3])
    expect([1, 2, 3].flatMap((handle) => link.texts(handle)).sort()).toEqual(link.texts(9))
  })

  test('prefers members that are connected and have room; what was chosen stays with the member, whoever owns the shard', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 'here', 1, [subscription(share)])
    stage.attach(link, 'away', 2, [subscription(share)])
    stage.detach(link, 'away', 2)
    for (let i = 0; i < 4; i++) stage.publish('p', { topic: 't', text: `${i}` })
    expect(link.texts(1)).toEqual(['0', '1', '2', '3'])
    stage.detach(link, 'here', 1)
    for (let i = 4; i < 8; i++) stage.publish('p', { topic: 't', text: `${i}` })
    stage.newOwner()
    const back = new StageLink()
    stage.attach(back, 'here', 1, [subscription(share)], { epoch: 2 })
    stage.attach(back, 'away', 2, [subscription(share)], { epoch: 2 })
    expect([...back.texts(1).slice(4), ...back.texts(2)].sort()).toEqual(['4', '5', '6', '7'])
    expect(back.texts(2).length).toBe(2)
  })

  test('hands what a member leaves behind to another when its session ends, but a QoS 2 message that was begun to nobody [MQTT-4.8.2-5]', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 'worker', 1, [subscription(share, 2)])
    stage.publish('p', { topic: 't', text: 'one' })
    stage.publish('p', { topic: 't', text: 'two', qos: 2 }, { messageId: 1, openFrom: 1 })
    stage.acknowledge(link, 1)
    stage.detach(link, 'worker', 1)
    stage.publish('p', { topic: 't', text: 'three', qos: 2 }, { messageId: 2, openFrom: 2 })
    stage.attach(link, 'other', 2, [subscription(share, 2)])
    stage.endSession('worker')
    expect(link.delivered.get(2)).toMatchObject([
      { sequence: 1, qos: 1, text: 'one', flags: 0 },
      { sequence: 2, qos: 2, text: 'three', flags: 0 },
    ])
    stage.newOwner()
    const back = new StageLink()
    stage.attach(back, 'other', 2, [subscription(share, 2)], { epoch: 2 })
    expect(back.delivered.get(2)).toMatchObject([{ text: 'one' }, { text: 'three' }])
  })

  test('leaves nothing to an heir whose subscription would keep nothing for it', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 'worker', 1, [subscription(share)])
    for (const text of ['one', 'two']) stage.publish('p', { topic: 't', text })
    stage.attach(link, 'at most once', 2, [subscription(share, 0)])
    stage.attach(link, 'at least once', 3, [subscription(share)])
    stage.endSession('worker')
    expect([link.texts(2), link.texts(3)]).toEqual([[], ['one', 'two']])
  })

  test('hands on a QoS 2 message that waited for a member who was away all the time, also after a failover', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 'worker', 1, [subscription(share, 2)])
    stage.detach(link, 'worker', 1)
    stage.host.run(1500)
    stage.publish('p', { topic: 't', text: 'never begun', qos: 2 }, { messageId: 1, openFrom: 1 })
    stage.newOwner()
    stage.attach(link, 'other', 2, [subscription(share, 2)])
    stage.endSession('worker')
    expect(link.texts(2)).toEqual(['never begun'])
  })

  test('leaves nothing to an heir that its own log may forget: the inherited place is durable before it is used', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 'worker', 1, [subscription(share)])
    stage.detach(link, 'worker', 1)
    stage.publish('p', { topic: 't', text: 'inherited' })
    stage.attach(link, 'heir', 2, [subscription(share), subscription('u')])
    stage.publish('p', { topic: 'u', text: 'own' })
    stage.log.held = true
    stage.endSession('worker')
    // Something else makes the queue be looked at in between.
    stage.acknowledge(link, 2, 1)
    expect(link.texts(2)).toEqual(['own'])
    stage.log.held = false
    stage.log.sync()
    expect(link.texts(2)).toEqual(['own', 'inherited'])
  })
})

describe('message expiry', () => {
  const expiring = () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')])
    stage.detach(link, 's', 1)
    stage.publish('p', { topic: 't', text: 'short', expirySeconds: 10 })
    stage.publish('p', { topic: 't', text: 'long', expirySeconds: 100 })
    return stage
  }
  const returned = (stage: ShardStage, epoch = 2) => {
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')], { epoch })
    return link.delivered.get(1) ?? []
  }

  test('drops what nobody was sent before its time was over, and says how long the rest has waited [MQTT-3.3.2-5, MQTT-3.3.2-6]', () => {
    const stage = expiring()
    stage.host.run(10_000)
    expect(returned(stage)).toMatchObject([{ text: 'long', waitedMs: 10_000, flags: 0 }])
  })

  test('is in the log before anything behind it leaves, so that no later owner takes it for sent and sends it after all, out of order [MQTT-4.6.0-6]', () => {
    const stage = expiring()
    stage.host.run(10_000)
    stage.log.held = true
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')], { epoch: 2 })
    // That somebody is connected again.
    stage.log.sync()
    expect(stage.host.goals.get('message expired in its queue')).toBe(1)
    expect(link.texts(1)).toEqual([])
    stage.log.sync()
    expect(link.texts(1)).toEqual(['long'])
    stage.newOwner()
    stage.log.held = false
    expect(returned(stage, 3)).toMatchObject([{ text: 'long', flags: deliveryFlag.dup }])
  })

  test('of all that waited leaves the way free for what comes', () => {
    const stage = expiring()
    stage.host.run(100_000)
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')], { epoch: 2 })
    expect(link.texts(1)).toEqual([])
    stage.publish('p', { topic: 't', text: 'next' })
    expect(link.texts(1)).toEqual(['next'])
  })

  test('counts the age of the message, not the clock on the wall, over a failover too [MQTT-3.3.2-5]', () => {
    const stage = expiring()
    stage.host.wallOffsetMs += 1_000_000
    stage.host.run(5000)
    stage.publish('p', { topic: 'elsewhere', text: 'tells how old the shard is' })
    stage.newOwner()
    stage.host.wallOffsetMs -= 3_000_000
    stage.host.run(6000)
    expect(returned(stage)).toMatchObject([{ text: 'long', waitedMs: 11_000, flags: 0 }])
  })

  test('goes on where nothing happened before the failover, but for a minute', () => {
    const stage = new ShardStage()
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')])
    stage.detach(link, 's', 1)
    stage.publish('p', { topic: 't', text: 'hours', expirySeconds: 7200 })
    stage.host.run(3_000_000)
    stage.newOwner()
    const [hours] = returned(stage)
    expect(hours!.waitedMs).toBeGreaterThanOrEqual(2_940_000)
    expect(hours!.waitedMs).toBeLessThanOrEqual(3_000_000)
  })

  test('does not drop what may have been begun: that a session is connected again is in the log before anything is sent', () => {
    const stage = expiring()
    stage.host.run(1500)
    stage.log.held = true
    const link = new StageLink()
    stage.attach(link, 's', 1, [subscription('t')], { epoch: 2 })
    expect(link.texts(1)).toEqual([])
    stage.log.held = false
    stage.log.sync()
    expect(link.texts(1)).toEqual(['short', 'long'])
    stage.newOwner()
    stage.host.run(20_000)
    expect(returned(stage, 3)).toMatchObject([
      { text: 'short', flags: deliveryFlag.dup },
      { text: 'long', flags: deliveryFlag.dup },
    ])
  })
})

describe('a new owner', () => {
  const clients = ['a', 'b', 'c', 'd'] as const
  const topics = ['t', 't/1', 'u'] as const
  const filters = ['t', 't/#', '+', '$share/g/t/#', '$share/g/u', '#'] as const
  const client = fc.constantFrom(...clients)
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('publish' as const),
        client,
        topic: fc.constantFrom(...topics),
        qos: fc.nat(2),
        retain: fc.boolean(),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('attach' as const),
        client,
        filters: fc.subarray([...filters]),
        qos: fc.nat(2),
        retained: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('received' as const), client }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('acknowledge' as const), client, count: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('detach' as const), client }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('end' as const), client }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('will' as const), client, topic: fc.constantFrom(...topics) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('failover' as const) }) },
  )

  test('has the same queues, places, released packets and retained messages, wherever the last checkpoint stands', () => {
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 5, maxLength: 150, size: 'max' }),
        fc.constantFrom(300, 3000, 1 << 20),
        (steps, checkpointBytes) => {
          const stage = new ShardStage({ checkpointBytes })
          let link = new StageLink()
          const subscribed = new Map<string, ReturnType<typeof subscription>[]>()
          const incarnations = new Map<string, number>(clients.map((each) => [each, 1]))
          let epoch = 1
          let messageId = 0
          const handleOf = (clientId: string) => clients.indexOf(clientId as (typeof clients)[number]) + 1
          const attachAll = (to: StageLink) => {
            epoch++
            for (const [clientId, list] of subscribed) {
              stage.attach(to, clientId, handleOf(clientId), list, {
                epoch: 1000 * incarnations.get(clientId)! + epoch,
                incarnation: incarnations.get(clientId)!,
              })
            }
          }
          for (const [i, each] of steps.entries()) {
            if (each.kind === 'publish') {
              const about = each.qos === 2 ? { messageId: ++messageId, openFrom: messageId } : {}
              const message = { topic: each.topic, text: `${i}`, qos: each.qos, retain: each.retain }
              if (each.qos === 0) stage.passOn(`${each.client} publishes`, message)
              else stage.publish(`${each.client} publishes`, message, about)
            } else if (each.kind === 'attach') {
              const list = each.filters.map((filter) => subscription(filter, each.qos))
              if (list.length === 0) continue
              subscribed.set(each.client, list)
              const incarnation = incarnations.get(each.client)!
              const touched = each.retained ? each.filters.filter((filter) => !filter.startsWith('$share')) : []
              stage.attach(link, each.client, handleOf(each.client), list, {
                epoch: 1000 * incarnation + ++epoch,
                incarnation,
                touched,
              })
            } else if (each.kind === 'received') {
              const last = link.delivered.get(handleOf(each.client))?.findLast(({ qos }) => qos === 2)
              if (last !== undefined) stage.received(link, handleOf(each.client), last.sequence)
            } else if (each.kind === 'acknowledge') {
              const got = (link.delivered.get(handleOf(each.client)) ?? []).filter(({ sequence }) => sequence > 0)
              stage.acknowledge(link, handleOf(each.client), ...got.slice(-each.count).map(({ sequence }) => sequence))
            } else if (each.kind === 'detach') stage.detach(link, each.client, handleOf(each.client), 1_000_000)
            else if (each.kind === 'end') {
              const incarnation = incarnations.get(each.client)!
              stage.endSession(each.client, incarnation)
              incarnations.set(each.client, incarnation + 1)
              subscribed.delete(each.client)
            } else if (each.kind === 'will') stage.will(each.client, ++epoch, { topic: each.topic, text: `will ${i}`, retain: true })
            else {
              stage.host.run(1500)
              stage.newOwner()
              link = new StageLink()
              attachAll(link)
            }
          }
          // Positions are logged within a second; the QoS 0 places that were sent are nobody's concern any more.
          stage.host.run(1500)
          const [before, after] = [new StageLink(), new StageLink()]
          attachAll(before)
          stage.host.run(1500)
          stage.newOwner()
          attachAll(after)
          const places = (of: StageLink) =>
            clients.map((clientId) => [
              (of.delivered.get(handleOf(clientId)) ?? [])
                .filter(({ qos }) => qos > 0)
                .map(({ sequence, qos, text, flags, identifiers }) => ({
                  sequence,
                  qos,
                  text,
                  retain: flags & deliveryFlag.retain,
                  identifiers,
                })),
              of.released.get(handleOf(clientId)),
            ])
          expect(places(after)).toEqual(places(before))
          const reader = (of: string) => {
            const to = new StageLink()
            stage.attach(to, of, 50, [subscription('#', 2)], { touched: ['#'] })
            return [...to.texts(50)].sort()
          }
          const retained = reader('reader 1')
          stage.newOwner()
          expect(reader('reader 2')).toEqual(retained)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('a trickle of messages', () => {
  const EVERY_MS = 600_000
  const HOUR_MS = 3_600_000

  /** A message every ten minutes, each with the time of its publication as its text. */
  function trickle(hours: number, settings: ConstructorParameters<typeof ShardStage>[0] = {}): ShardStage {
    const stage = new ShardStage(settings)
    for (const untilMs = hours * HOUR_MS; stage.host.nowMs() < untilMs; stage.host.run(EVERY_MS))
      stage.publish('p', { topic: 'a', text: `${stage.host.nowMs()}` })
    return stage
  }

  /** How old the oldest message is that is still there; nothing behind it may be missing. */
  function oldestKeptMs(stage: ShardStage): number {
    const times = stage.stored('a').map(Number)
    expect(times).toEqual(times.map((_, i) => times[0]! + i * EVERY_MS))
    return stage.host.nowMs() - times[0]!
  }

  test('is kept for three days and given up within an hour and a minute of that, though no segment of it ever gets long', () => {
    const stage = trickle(80)
    const keptMs = oldestKeptMs(stage)
    expect(keptMs).toBeGreaterThanOrEqual(72 * HOUR_MS)
    expect(keptMs).toBeLessThanOrEqual(73 * HOUR_MS + 60_000)
    stage.newOwner()
    expect(oldestKeptMs(stage)).toBe(keptMs)
  })

  test('is kept for as long as is set', () => {
    const keptMs = oldestKeptMs(trickle(20, { retentionMs: 5 * HOUR_MS, segmentAgeMs: 2 * HOUR_MS }))
    expect(keptMs).toBeGreaterThanOrEqual(5 * HOUR_MS)
    expect(keptMs).toBeLessThanOrEqual(7 * HOUR_MS + 60_000)
  })

  test('leaves a log that is no longer than what is kept, however long it goes on', () => {
    const lengths = [80, 160, 240].map((hours) => {
      const { log } = trickle(hours)
      return log.endOffset - log.trimOffset
    })
    expect(Math.max(...lengths)).toBeLessThan(1.2 * lengths[0]!)
  })
})

describe('a shard that stores no message', () => {
  const DAY_MS = 24 * 3_600_000

  /** What a new subscriber gets of it. */
  function retainedOf(stage: ShardStage, topic: string): readonly string[] {
    const link = new StageLink()
    stage.attach(link, `reader ${stage.host.nowMs()}`, 99, [subscription(topic)], { touched: [topic] })
    return link.texts(99)
  }

  /** A client that comes and goes every hour, and subscribes to something else each time. @returns how long the log is after each day. */
  function comeAndGo(stage: ShardStage, days: number): readonly number[] {
    let handle = 0
    return Array.from({ length: days }, () => {
      for (let hour = 0; hour < 24; hour++) {
        const link = new StageLink()
        const epoch = ++handle
        stage.attach(link, 'c', handle, [subscription(`other/${hour}`)], { epoch })
        stage.host.run(1_800_000)
        stage.detach(link, 'c', handle, epoch)
        stage.host.run(1_800_000)
      }
      return stage.log.endOffset - stage.log.trimOffset
    })
  }

  test('has a log that is no longer than what three days put into it, and knows all that it said', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'kept', text: 'of the first day', retain: true })
    const away = new StageLink()
    stage.attach(away, 'away', 1, [subscription('a')])
    stage.detach(away, 'away', 1)
    const lengths = comeAndGo(stage, 14)
    expect(Math.max(...lengths)).toBeLessThan(1.2 * lengths[3]!)
    stage.newOwner()
    expect(retainedOf(stage, 'kept')).toEqual(['of the first day'])
    stage.publish('p', { topic: 'a', text: 'wanted' }, { epoch: 2 })
    const back = new StageLink()
    stage.attach(back, 'away', 2, [subscription('a')], { epoch: 2 })
    expect(back.texts(2)).toEqual(['wanted'])
    expect(stage.stored('a')).toEqual(['wanted'])
  })

  test('keeps what waits of a retained message for as long as any message that waits', () => {
    const stage = new ShardStage()
    stage.publish('p', { topic: 'kept', text: 'retained', retain: true })
    stage.host.run(4 * DAY_MS)
    expect(stage.stored('kept')).toEqual([])
    const gone = new StageLink()
    stage.attach(gone, 's', 1, [subscription('kept')], { touched: ['kept'] })
    expect(gone.texts(1)).toEqual(['retained'])
    stage.detach(gone, 's', 1)
    const lengths = comeAndGo(stage, 1)
    stage.newOwner()
    const back = new StageLink()
    stage.attach(back, 's', 2, [subscription('kept')], { epoch: 2 })
    expect(back.texts(2)).toEqual(['retained'])
    expect(lengths[0]).toBeLessThan(stage.log.endOffset)
  })
})
