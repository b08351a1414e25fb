/** What each kind of volume does to a whole region, when zones go dark and disks are lost for good. */
import { describe, expect, test } from 'vitest'
import type { ServiceEvent } from '../events.ts'
import { Stage } from '../region-stage.test-support.ts'

type Of<K extends ServiceEvent['kind']> = Extract<ServiceEvent, { kind: K }>
const eventsOf = <K extends ServiceEvent['kind']>(stage: Stage, kind: K, fromMs = 0) =>
  stage
    .events(kind)
    .filter(({ timeUs }) => timeUs >= fromMs * 1000)
    .map(({ event }) => event as Of<K>)

const session = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const

describe('regional volumes', () => {
  test('are degraded while a zone is dark, tell how far its copies are behind when it is back, and are whole again', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    const topic = stage.topicOn(0)
    const fromMs = stage.nowMs
    const heal = stage.apply({ kind: 'zone-outage', zone: 'az3', form: 'power' })
    stage.run(8000)
    const own = (kind: 'copy-health-changed' | 'volume-health-changed', sinceMs: number) =>
      eventsOf(stage, kind, sinceMs)
        .filter(({ volume }) => volume === 0)
        .map(({ health }) => health)
    expect(own('volume-health-changed', fromMs).at(-1)).toBe('degraded')
    expect(own('copy-health-changed', fromMs).at(-1)).toBe('lost')
    const payload = Buffer.alloc(50_000, 1)
    for (let i = 0; i < 60; i++) stage.publish(publisher, topic, payload)
    const healedMs = stage.nowMs
    heal()
    stage.run(8000)
    expect([...new Set(own('copy-health-changed', healedMs))]).toEqual(['resyncing', 'whole'])
    const progress = eventsOf(stage, 'copy-health-changed', healedMs).find(({ volume }) => volume === 0)!
    expect(progress).toMatchObject({ copy: 'volume-3', health: 'resyncing' })
    expect(progress.behindBytes).toBeGreaterThan(3_000_000)
    expect(own('volume-health-changed', healedMs)).toEqual(['whole'])
  })

  test('say that a copy is slow while a majority goes on without it', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    const heal = stage.apply({ kind: 'disk-stall', machines: ['volume-2'] })
    for (let i = 0; i < 100; i++) {
      stage.publish(publisher, stage.topicOn(0), `m${i}`)
      stage.run(50)
    }
    const found = () => eventsOf(stage, 'copy-health-changed').filter(({ volume, copy }) => volume === 0 && copy === 'volume-2')
    expect(found().map(({ health }) => health)).toContain('slow')
    heal()
    stage.run(5000)
    expect(found().at(-1)?.health).toBe('whole')
  })

  test('lose nothing with one disk, even where the next attach finds the empty one', () => {
    const stage = new Stage()
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    const topic = stage.topicOn(0)
    for (let i = 0; i < 20; i++) stage.publish(publisher, topic, `m${i}`)
    const blank = stage.apply({ kind: 'disk-loss', machines: ['volume-1'] })
    const dark = stage.apply({ kind: 'power-loss', machines: ['volume-2', stage.ownerOf(0)] })
    stage.run(1000)
    blank()
    // One copy is empty and one is dark: what is durable may be on the third alone, or on the dark one. Nobody guesses.
    stage.run(12_000)
    expect(stage.timesServed(0)).toBe(1)
    dark()
    stage.until(() => stage.timesServed(0) > 1, 'a new owner')
    expect(stage.stored(topic)).toEqual(Array.from({ length: 20 }, (_, i) => `m${i}`))
    stage.run(5000)
    expect(stage.copyOf(0, 'volume-1').size).toBe(stage.copyOf(0, 'volume-2').size)
  })

  test('stand still, and lose nothing, while a half filled copy and one that is behind are all there is', () => {
    const stage = new Stage({})
    const topic = stage.topicOn(0)
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    const behind = stage.apply({ kind: 'power-loss', machines: ['volume-3'] })
    stage.run(3000)
    const sent = Array.from({ length: 100 }, (_, i) => Buffer.concat([Buffer.from(`m${i} `), Buffer.alloc(60_000, 1)]))
    for (const payload of sent) stage.publish(publisher, topic, payload)
    const destroyed = stage.apply({ kind: 'disk-loss', machines: ['volume-1'] })
    stage.run(200)
    const slow = stage.apply({ kind: 'disk-slow', machines: ['volume-1', 'volume-3'], factor: 60 })
    behind()
    destroyed()
    stage.until(() => bytesOn(stage, 'volume-1') > 100_000, 'a part of the log on the copy that was destroyed')
    const heal = stage.apply({ kind: 'power-loss', machines: ['volume-2', stage.ownerOf(0)] })
    slow()
    expect(bytesOn(stage, 'volume-1')).toBeLessThan(bytesOn(stage, 'volume-2') / 2)
    stage.run(20_000)
    expect(stage.timesServed(0)).toBe(1)
    heal()
    stage.until(() => stage.timesServed(0) > 1, 'a new owner', 20_000)
    expect(stage.stored(topic)).toHaveLength(sent.length)
    stage.run(5000)
    expect(bytesOn(stage, 'volume-1')).toBe(bytesOn(stage, 'volume-2'))
    // Whole again, it counts again.
    const again = stage.timesServed(0)
    stage.apply({ kind: 'power-loss', machines: ['volume-2', stage.ownerOf(0)] })
    stage.until(() => stage.timesServed(0) > again, 'an owner with the copy that was filled', 20_000)
    expect(stage.stored(topic)).toHaveLength(sent.length)
  })
})

describe('volumes in a rolling upgrade', () => {
  test('are read by a broker of the version before, whatever one of the next version wrote', () => {
    const stage = new Stage()
    const topic = stage.topicOn(0)
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    stage.publish(publisher, topic, 'before')
    const upgraded = stage.ownerOf(0)
    const others = stage.brokers.filter((broker) => broker !== upgraded)
    stage.apply({ kind: 'upgrade', machines: [upgraded], graceMs: 2000, downMs: 500 })
    stage.run(5000)
    expect(others).toContain(stage.ownerOf(0))
    const back = stage.crash(...others)
    stage.until(() => stage.ownerOf(0) === upgraded, 'an owner of the next version', 20_000)
    back()
    stage.run(3000)
    stage.publish(stage.connect({ clientId: 'second', proxy: 1 }), topic, 'by the next version')
    stage.crash(upgraded)
    stage.until(() => others.includes(stage.ownerOf(0)), 'an owner of the version before', 20_000)
    stage.run(3000)
    expect(stage.world.goals.get('epoch of a later version replayed')).toBeGreaterThan(0)
    expect(stage.stored(topic)).toEqual(['before', 'by the next version'])
    stage.publish(stage.connect({ clientId: 'third', proxy: 1 }), topic, 'by the version before again')
  })
})

describe('zonal volumes', () => {
  test('of a dark zone are out until it is back, the others go on, and nothing is lost', () => {
    const stage = new Stage({ region: { volumeKind: 'zonal' } })
    const [theirs, others] = [stage.topicOn(1), stage.topicOn(0)]
    const publisher = stage.connect({ clientId: stage.clientIdServedBy('broker-1', 'publisher'), proxy: 1 })
    for (let i = 0; i < 10; i++) stage.publish(publisher, theirs, `m${i}`)
    const heal = stage.apply({ kind: 'power-loss', machines: ['volume-2'] })
    const waiting = publisher.publish(theirs, 'while dark')
    stage.run(20_000)
    expect(publisher.pubackOf(waiting)).toBeUndefined()
    const other = stage.connect({ clientId: clientOfVolumeNot(stage, 1), proxy: 1 })
    stage.publish(other, others, 'elsewhere')
    heal()
    stage.until(() => stage.query(theirs).outcome === 'found', 'the shard', 20_000)
    const again = stage.connect({ clientId: 'again', proxy: 1 })
    stage.publish(again, theirs, 'after')
    expect(stage.stored(theirs).filter((text) => text !== 'while dark')).toEqual([
      ...Array.from({ length: 10 }, (_, i) => `m${i}`),
      'after',
    ])
    expect(stage.events('volume-restored')).toEqual([])
  })

  test('whose disk is gone for good go back to a backup point, and traces still know of what waits', () => {
    const stage = new Stage({ region: { volumeKind: 'zonal' }, settings: { volume: { backupIntervalMs: 2000 } } })
    const topic = stage.topicOn(1)
    const publisher = stage.connect({ clientId: clientOfVolumeNot(stage, 1, 'publisher'), proxy: 1 })
    const clientId = clientOfVolumeNot(stage, 1, 'subscriber')
    const subscriber = stage.connect({ clientId, proxy: 3, ...session })
    stage.subscribe(subscriber, [topic])
    subscriber.leave()
    stage.run(3000)
    for (let i = 0; i < 3; i++) stage.publish(publisher, topic, `m ${i}`)
    stage.run(6000)
    const states = () => {
      const everything = { topic, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, afterOffset: 0, limit: 10 }
      const { shard, messages } = stage.askConsole({ name: 'findMessages', ...everything })
      return messages.flatMap(({ offset }) =>
        stage.askConsole({ name: 'traceMessage', shard, offset }).deliveries.map((delivery) => `${delivery.clientId} ${delivery.state}`),
      )
    }
    const expected = Array.from({ length: 3 }, () => `${clientId} waiting`)
    expect(states()).toEqual(expected)
    const heal = stage.apply({ kind: 'disk-loss', machines: ['volume-2'] })
    stage.run(500)
    heal()
    stage.until(() => eventsOf(stage, 'volume-restored').some(({ volume }) => volume === 1), 'the restore', 20_000)
    stage.until(() => stage.timesServed(1) > 1, 'a new owner')
    expect(states()).toEqual(expected)
  })

  test('whose disk is gone for good go back to the last backup point, say so, and go on under a new epoch', () => {
    const stage = new Stage({ region: { volumeKind: 'zonal' }, settings: { volume: { backupIntervalMs: 2000 } } })
    const topic = stage.topicOn(1)
    const publisher = stage.connect({ clientId: clientOfVolumeNot(stage, 1, 'publisher'), proxy: 1 })
    const subscriber = stage.connect({ clientId: clientOfVolumeNot(stage, 1, 'subscriber'), proxy: 3, ...session })
    stage.subscribe(subscriber, [topic])
    for (let i = 0; i < 10; i++) stage.publish(publisher, topic, `backed up ${i}`)
    const end = stage.copyOf(1, 'volume-2').size
    stage.until(
      () => eventsOf(stage, 'backup-taken').some(({ volume, offset, copies }) => volume === 1 && offset >= end && copies.length === 2),
      'a point',
    )
    stage.run(100)
    const pointEnd = eventsOf(stage, 'backup-taken')
      .filter(({ volume }) => volume === 1)
      .at(-1)!.offset
    const epoch = eventsOf(stage, 'volume-attached')
      .filter(({ volume }) => volume === 1)
      .at(-1)!.epoch
    for (let i = 0; i < 5; i++) stage.publish(publisher, topic, `lost ${i}`)
    stage.until(() => subscriber.messages.length === 15, 'every message')

    const heal = stage.apply({ kind: 'disk-loss', machines: ['volume-2'] })
    stage.run(500)
    heal()
    stage.until(() => eventsOf(stage, 'volume-restored').some(({ volume }) => volume === 1), 'the restore', 20_000)
    const restored = eventsOf(stage, 'volume-restored').find(({ volume }) => volume === 1)!
    expect(restored.offset).toBe(pointEnd)
    expect(restored.epoch).toBeGreaterThan(epoch)
    expect(restored.pointAtMs).toBeGreaterThan(0)
    stage.until(() => stage.timesServed(1) > 1, 'a new owner')
    stage.run(3000)
    const kept = Array.from({ length: 10 }, (_, i) => `backed up ${i}`)
    expect(stage.stored(topic)).toEqual(kept)

    // What comes now reaches the connection that had got what is lost, and so knows places beyond the point.
    const before = subscriber.messages.length
    const next = stage.connect({ clientId: clientOfVolumeNot(stage, 1, 'next'), proxy: 1 })
    for (let i = 0; i < 8; i++) stage.publish(next, topic, `new ${i}`)
    stage.until(() => subscriber.messages.slice(before).includes('new 7'), 'what is new')
    expect(subscriber.messages.slice(before).filter((text) => text.startsWith('new'))).toEqual(
      Array.from({ length: 8 }, (_, i) => `new ${i}`),
    )
    stage.failOver(1)
    expect(stage.stored(topic)).toEqual([...kept, ...Array.from({ length: 8 }, (_, i) => `new ${i}`)])
  })

  test('of session shards take their clients in again after a restore, and topic shards do not refuse them', () => {
    const stage = new Stage({ region: { volumeKind: 'zonal' }, settings: { volume: { backupIntervalMs: 2000 } } })
    const clientId = Array.from({ length: 100 }, (_, i) => `client-${i}`).find((id) => stage.sessionShardOf(id) % 3 === 1)!
    const topic = stage.topicOn(0)
    stage.run(5000)
    // Epochs beyond the backup point, which the topic shard has seen.
    for (let i = 0; i < 5; i++) stage.publish(stage.connect({ clientId, proxy: 1, ...session }), topic, `m${i}`)
    const heal = stage.apply({ kind: 'disk-loss', machines: ['volume-2'] })
    stage.run(200)
    heal()
    const shard = stage.sessionShardOf(clientId)
    stage.until(() => eventsOf(stage, 'volume-restored').some(({ volume }) => volume === shard), 'the restore', 20_000)
    stage.run(3000)
    const back = stage.connect({ clientId, proxy: 3, ...session })
    stage.publish(back, topic, 'accepted')
    stage.publish(back, topic, 'twice accepted', 2)
    expect(stage.stored(topic)).toEqual(['m0', 'm1', 'm2', 'm3', 'm4', 'accepted', 'twice accepted'])
  })

  test('without a backup of theirs in reach are not taken for new ones', () => {
    const stage = new Stage({ region: { volumeKind: 'zonal' }, settings: { volume: { backupIntervalMs: 1000 } } })
    const topic = stage.topicOn(1)
    const publisher = stage.connect({ clientId: clientOfVolumeNot(stage, 1), proxy: 1 })
    stage.publish(publisher, topic, 'kept')
    stage.run(3000)
    const blank = stage.apply({ kind: 'disk-loss', machines: ['volume-2'] })
    const dark = stage.apply({ kind: 'power-loss', machines: ['volume-1', 'volume-3'] })
    stage.run(500)
    blank()
    stage.run(15_000)
    expect(stage.timesServed(1)).toBe(1)
    dark()
    stage.until(() => stage.timesServed(1) > 1, 'a new owner', 20_000)
    stage.run(3000)
    expect(stage.stored(topic)).toEqual(['kept'])
  })
})

describe('replicated volumes', () => {
  test('lie on the brokers, and there is no other machine with disks', () => {
    const stage = new Stage({ region: { volumeKind: 'replicated' } })
    expect(stage.plan.machines.filter(({ role }) => role === 'volume')).toEqual([])
    for (const broker of stage.brokers) expect(stage.world.durableFiles(broker, 'v0/log-').length).toBeGreaterThan(0)
  })

  test('go on when one of three brokers is lost, stand still when two are, and have everything when they are back', () => {
    const stage = new Stage({ region: { volumeKind: 'replicated' } })
    const topic = stage.topicOn(0)
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    stage.publish(publisher, topic, 'with three')
    const first = stage.apply({ kind: 'power-loss', machines: ['broker-1'] })
    stage.publish(publisher, topic, 'with two')
    const second = stage.apply({ kind: 'power-loss', machines: ['broker-2'] })
    const waiting = publisher.publish(topic, 'with one')
    stage.run(15_000)
    expect(publisher.pubackOf(waiting)).toBeUndefined()
    second()
    stage.until(() => stage.query(topic).outcome === 'found', 'an owner', 20_000)
    const again = stage.connect({ clientId: 'again', proxy: 1 })
    stage.publish(again, topic, 'with two again')
    first()
    stage.run(5000)
    expect(stage.stored(topic).filter((text) => text !== 'with one')).toEqual(['with three', 'with two', 'with two again'])
  })

  test('lose nothing with the disk of one broker', () => {
    const stage = new Stage({ region: { volumeKind: 'replicated' } })
    const topic = stage.topicOn(0)
    const publisher = stage.connect({ clientId: 'publisher', proxy: 1 })
    for (let i = 0; i < 10; i++) stage.publish(publisher, topic, `m${i}`)
    const heal = stage.apply({ kind: 'disk-loss', machines: [stage.ownerOf(0)] })
    stage.until(() => stage.timesServed(0) > 1, 'a new owner')
    heal()
    stage.run(8000)
    expect(stage.stored(topic)).toEqual(Array.from({ length: 10 }, (_, i) => `m${i}`))
    const sizes = stage.brokers.map((broker) => bytesOn(stage, broker))
    expect(new Set(sizes).size).toBe(1)
  })
})

function bytesOn(stage: Stage, machine: string): number {
  return stage.world.durableFiles(machine, 'v0/log-').reduce((sum, file) => sum + stage.world.durableBytes(machine, file).length, 0)
}

/** A client whose session does not live on a volume of the given zone (counted from 0). */
function clientOfVolumeNot(stage: Stage, zone: number, prefix = 'client'): string {
  for (let i = 0; ; i++) if (stage.sessionShardOf(`${prefix}-${i}`) % 3 !== zone) return `${prefix}-${i}`
}
