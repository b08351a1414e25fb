import { describe, expect, test } from 'vitest'
import type { ServiceEvent } from '../events.ts'
import { Stage } from '../region-stage.test-support.ts'

type Of<K extends ServiceEvent['kind']> = Extract<ServiceEvent, { kind: K }>
const eventsOf = <K extends ServiceEvent['kind']>(stage: Stage, kind: K, afterMs = 0) =>
  stage
    .events(kind)
    .filter(({ timeUs }) => timeUs >= afterMs * 1000)
    .map(({ event, timeUs, machine }) => ({ ...(event as Of<K>), timeMs: timeUs / 1000, machine }))

/** How many shards each broker serves, as last heard. */
function spread(stage: Stage): Map<string, number> {
  const counts = new Map(stage.brokers.map((broker) => [broker, 0]))
  for (let shard = 0; shard < stage.plan.shardCount; shard++) counts.set(stage.ownerOf(shard), counts.get(stage.ownerOf(shard))! + 1)
  return counts
}

/** Publishes one message after the other, and gives the longest time that one waited for its PUBACK. */
function worstLatencyMs(stage: Stage, topics: readonly string[], forMs: number): number {
  const client = stage.connect({ clientId: 'publisher', proxy: 2 })
  let worst = 0
  const endMs = stage.nowMs + forMs
  for (let i = 0; stage.nowMs < endMs; i++) {
    const beforeMs = stage.nowMs
    stage.publish(client, topics[i % topics.length]!, `m${i}`)
    worst = Math.max(worst, stage.nowMs - beforeMs)
    stage.run(5)
  }
  return worst
}

describe('a broker that stops', () => {
  test('hands each shard to another, which attaches at once, and a publisher waits less than a second', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const stage = new Stage({ seed })
      const topics = [0, 1, 2, 3, 4, 5].map((shard) => stage.topicOn(shard))
      const theirs = Array.from({ length: stage.plan.shardCount }, (_, shard) => shard).filter(
        (shard) => stage.ownerOf(shard) === 'broker-1',
      )
      expect(theirs.length).toBeGreaterThan(2)
      const fromMs = stage.nowMs
      stage.world.stop('broker-1', 5000)
      expect(worstLatencyMs(stage, topics, 3000)).toBeLessThan(1000)
      const given = eventsOf(stage, 'shard-handed-over', fromMs)
      expect(given.map(({ shard }) => shard).sort((a, b) => a - b)).toEqual(theirs)
      expect(given.every(({ to, why }) => to !== '' && why === 'stopping')).toBe(true)
      const taken = eventsOf(stage, 'volume-attached', fromMs)
      for (const { shard, to, timeMs } of given) {
        const attached = taken.find(({ volume }) => volume === shard)!
        expect(attached.machine).toBe(to)
        // Nobody waited for a lease, which lasts 3 s.
        expect(attached.timeMs - timeMs).toBeLessThan(250)
      }
      expect(stage.events('broker-silent').filter(({ timeUs }) => timeUs > fromMs * 1000 && timeUs < (fromMs + 2500) * 1000)).toEqual([])
      expect([...spread(stage).values()].sort()).toEqual([0, 6, 6])
    }
  })

  test('keeps every acknowledged message and every session, and takeovers wait for what it had granted', () => {
    const stage = new Stage({ seed: 3 })
    const clientId = stage.clientIdServedBy('broker-1')
    const options = { version: 5, cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const
    const old = stage.connect({ clientId, proxy: 2, ...options })
    stage.subscribe(old, ['#'])
    const publisher = stage.connect({ clientId: 'publisher', proxy: 3 })
    for (let i = 0; i < 12; i++) stage.publish(publisher, `t/${i}`, `before ${i}`)
    // The old connection's proxy hears no word of brokers from here on.
    const heal = stage.part(['proxy-2'], [...stage.brokers, 'nameserver-1', 'nameserver-2', 'nameserver-3'])
    stage.world.stop('broker-1', 5000)
    stage.until(() => stage.ownerOf(stage.sessionShardOf(clientId)) !== 'broker-1', 'another owner', 1500)
    const back = stage.connect({ clientId, proxy: 1, ...options })
    expect(back.connack?.sessionPresent).toBe(true)
    expect(stage.world.goals.get('takeover waited for grants of a former owner')).toBe(1)
    heal()
    for (let i = 0; i < 12; i++) stage.publish(publisher, `t/${i}`, `after ${i}`)
    stage.until(() => new Set([...old.messages, ...back.messages]).size === 24, 'every message')
    for (let i = 0; i < 12; i++) expect(stage.stored(`t/${i}`)).toEqual([`before ${i}`, `after ${i}`])
  })

  test('with nobody there to take its shards lets them go, and who comes next waits for no lease', () => {
    const stage = new Stage({ seed: 2 })
    const heal = stage.crash('broker-2', 'broker-3')
    stage.run(15_000)
    expect(spread(stage).get('broker-1')).toBe(12)
    stage.world.stop('broker-1', 5000)
    stage.run(1000)
    heal()
    const fromMs = stage.nowMs
    stage.run(15_000)
    expect(spread(stage).get('broker-1')).toBe(0)
    expect(eventsOf(stage, 'volume-released').length).toBe(12)
    expect(stage.world.goals.get('attached without waiting for a former lease')).toBeGreaterThanOrEqual(12)
    for (const { timeMs } of eventsOf(stage, 'owner-found-silent', fromMs)) {
      expect(eventsOf(stage, 'volume-attached', timeMs).length).toBeGreaterThan(0)
    }
  })

  test('gets its shards away when datagrams are lost', () => {
    const stage = new Stage({ seed: 4 })
    stage.apply({ kind: 'datagram-loss', from: stage.brokers, to: stage.brokers, probability: 1 })
    const topics = [0, 1, 2, 3, 4, 5].map((shard) => stage.topicOn(shard))
    stage.world.stop('broker-1', 5000)
    // Found ownerless at the next heartbeat, and no lease to wait for.
    expect(worstLatencyMs(stage, topics, 5000)).toBeLessThan(3000)
    expect(spread(stage).get('broker-1')).toBe(0)
  })
})

describe('rebalancing', () => {
  test('gives a zone that is back its share, one shard at a time, by handover', () => {
    const stage = new Stage({ seed: 1, settings: { broker: { rebalanceIntervalMs: 2000 } } })
    const heal = stage.apply({ kind: 'zone-outage', zone: 'az2', form: 'power' })
    stage.run(10_000)
    expect(spread(stage).get('broker-2')).toBe(0)
    heal()
    const fromMs = stage.nowMs
    const topics = [0, 1, 2, 3, 4, 5].map((shard) => stage.topicOn(shard))
    stage.run(2000)
    expect(worstLatencyMs(stage, topics, 30_000)).toBeLessThan(1000)
    expect([...spread(stage).values()]).toEqual([4, 4, 4])
    const moves = eventsOf(stage, 'shard-handed-over', fromMs)
    expect(moves.map(({ to, why }) => `${to} ${why}`)).toEqual(Array(4).fill('broker-2 rebalancing'))
    for (let i = 1; i < moves.length; i++) expect(moves[i]!.timeMs - moves[i - 1]!.timeMs).toBeGreaterThan(500)
  })

  test('moves nothing while a copy of a volume is lost', () => {
    const stage = new Stage({ seed: 1, settings: { broker: { rebalanceIntervalMs: 2000 } } })
    const copyGone = stage.apply({ kind: 'power-loss', machines: ['volume-3'] })
    const back = stage.crash('broker-2')
    stage.run(10_000)
    back()
    stage.run(20_000)
    expect(spread(stage).get('broker-2')).toBe(0)
    expect(stage.events('shard-handed-over')).toEqual([])
    copyGone()
    stage.run(30_000)
    expect([...spread(stage).values()]).toEqual([4, 4, 4])
  })

  test('leaves a fair spread alone', () => {
    const stage = new Stage({ seed: 1, settings: { broker: { rebalanceIntervalMs: 1000 } } })
    stage.run(20_000)
    expect(stage.events('shard-handed-over')).toEqual([])
  })
})
