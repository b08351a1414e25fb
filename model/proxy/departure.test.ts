/** How a proxy that is told to stop leaves: out of the pool first, then its clients one by one, then itself. */
import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import type { ScriptedClient } from '../scripted-client.test-support.ts'
import { ports } from '../settings.ts'

const GRACE_MS = 4000
const SERVER_SHUTTING_DOWN = 0x8b
const balancer = { host: '10.1.0.120', port: ports.mqtt }

interface Leaving {
  readonly stage: Stage
  readonly clients: readonly ScriptedClient[]
  /** When the proxy was told to stop. */
  readonly toldMs: number
}

/** Clients of both versions on proxy-1, which is then told to stop. */
function leaving(count: number, before: (stage: Stage) => void = () => {}): Leaving {
  const stage = new Stage()
  const clients = Array.from({ length: count }, (_, i) => {
    const client = stage.connect({ clientId: `meter-${i}`, version: i % 2 === 0 ? 5 : 4, cleanStart: false })
    expect(client.connack?.reasonCode).toBe(0)
    return client
  })
  before(stage)
  const toldMs = stage.nowMs
  stage.world.stop('proxy-1', GRACE_MS)
  return { stage, clients, toldMs }
}

const endedAtMs = (stage: Stage): number => stage.events('process-ended', 'proxy-1')[0]!.timeUs / 1000

function untilEnded(stage: Stage): void {
  stage.until(() => stage.events('process-ended', 'proxy-1').length > 0, 'the proxy to end')
}

const closedAtMs = (stage: Stage): readonly number[] => stage.events('client-closed', 'proxy-1').map(({ timeUs }) => timeUs / 1000)

describe('a proxy that is told to stop', () => {
  test('is out of the pool of every balancer before it sends the first client away', () => {
    const { stage } = leaving(4)
    untilEnded(stage)
    const out = stage.events('target-draining')
    expect(out.map(({ machine }) => machine).sort()).toEqual(['load-balancer-1', 'load-balancer-2', 'load-balancer-3'])
    for (const { timeUs } of out) expect(timeUs / 1000).toBeLessThan(closedAtMs(stage)[0]!)
  })

  test('sends its clients away over most of its time, MQTT 5 with 0x8B and 3.x by a close, and ends within it', () => {
    const { stage, clients, toldMs } = leaving(8)
    untilEnded(stage)
    stage.run(500)
    for (const [i, client] of clients.entries()) {
      expect(client.closed?.reason).toBe('ended')
      expect(client.of('disconnect').map(({ reasonCode }) => reasonCode)).toEqual(i % 2 === 0 ? [SERVER_SHUTTING_DOWN] : [])
    }
    const at = closedAtMs(stage)
    expect(at).toHaveLength(8)
    const gaps = at.slice(1).map((ms, i) => ms - at[i]!)
    expect(Math.min(...gaps)).toBeGreaterThan(300)
    expect(at.at(-1)! - toldMs).toBeLessThan(0.75 * GRACE_MS)
    expect(endedAtMs(stage) - toldMs).toBeLessThan(0.8 * GRACE_MS)
  })

  test('sends more clients away than it has steps for in as many as are due at a time', () => {
    const { stage, toldMs } = leaving(150)
    untilEnded(stage)
    const at = closedAtMs(stage)
    expect(at).toHaveLength(150)
    const sentBy = (ms: number): number => at.filter((each) => each - toldMs <= ms).length
    expect(sentBy(1500)).toBeGreaterThan(60)
    expect(sentBy(1500)).toBeLessThan(100)
    expect(at.at(-1)! - toldMs).toBeLessThanOrEqual(0.75 * GRACE_MS + 50)
  })

  test('serves those that it has not sent away yet, and nobody new is led to it', () => {
    const { stage, clients } = leaving(6)
    stage.run(1000)
    const last = clients.at(-1)!
    const packetId = stage.publish(last, 'a', 'still here')
    expect(last.pubackOf(packetId)?.reasonCode).toBe(0)
    const comers = Array.from({ length: 12 }, (_, i) => stage.connect({ clientId: `comer-${i}`, address: balancer }))
    expect(comers.map(({ connack }) => connack?.reasonCode)).toEqual(Array(12).fill(0))
    stage.run(GRACE_MS)
    expect(comers.map(({ closed }) => closed)).toEqual(Array(12).fill(undefined))
  })

  test('ends at once where it has no client', () => {
    const { stage, toldMs } = leaving(0)
    untilEnded(stage)
    expect(endedAtMs(stage) - toldMs).toBeLessThan(50)
  })

  test('waits only shortly for balancers that it does not reach', () => {
    const { stage, toldMs } = leaving(2, (before) => before.part(['proxy-1'], ['load-balancer-1', 'load-balancer-2']))
    untilEnded(stage)
    expect(stage.events('target-draining').map(({ machine }) => machine)).toEqual(['load-balancer-3'])
    expect(closedAtMs(stage)[0]! - toldMs).toBeCloseTo(0.1 * GRACE_MS, -1)
    expect(endedAtMs(stage) - toldMs).toBeLessThan(0.8 * GRACE_MS)
  })

  test('waits until the session shards know of every end, and not for ever', () => {
    const { stage, toldMs } = leaving(2, (before) => before.part(['proxy-1'], before.brokers))
    untilEnded(stage)
    expect(endedAtMs(stage) - toldMs).toBeGreaterThan(0.9 * GRACE_MS)
    expect(endedAtMs(stage) - toldMs).toBeLessThan(GRACE_MS)
  })
})
