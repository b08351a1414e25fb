import { describe, expect, test } from 'vitest'
import { Edge, type EdgeOptions } from './edge.test-support.ts'

/** proxy-2 has been found dead, all clients are on the others, and it is back: found healthy a little before second `BACK_SECONDS`. */
const BACK_SECONDS = 25
function edgeWithReturn(options: EdgeOptions = {}): Edge {
  const edge = new Edge(options)
  edge.runTo(10)
  const heal = edge.world.apply({ kind: 'crash', machines: ['proxy-2'] })
  edge.runTo(18)
  edge.connect(200)
  edge.runTo(20)
  heal()
  edge.runTo(BACK_SECONDS)
  return edge
}

describe('slow start', () => {
  test('keeps a crowd from a target that just came back', () => {
    const edge = edgeWithReturn()
    edge.connect(60)
    edge.runTo(26)
    // A few seconds of thirty: a tenth of what the others hold, not all of the sixty.
    expect(edge.countOf('proxy-2')).toBeGreaterThan(0)
    expect(edge.countOf('proxy-2')).toBeLessThan(25)
  })

  test('is what keeps it: without it the target that is empty gets the whole crowd', () => {
    const edge = edgeWithReturn({ settings: { slowStartMs: 0 } })
    edge.connect(60)
    edge.runTo(26)
    expect(edge.countOf('proxy-2')).toBe(60)
    expect(edge.eventsOf('slow-start-began', 'slow-start-ended')).toEqual([])
  })

  test('lets the share grow linearly, to that of the others', () => {
    const edge = edgeWithReturn()
    const beganMs = edge.eventsOf('slow-start-began')[0]!.timeUs / 1000
    for (let second = BACK_SECONDS; second < 65; second++) {
      edge.connectSlowly(20, second, second + 1)
      const share = Math.min(1, ((second + 1) * 1000 - beganMs) / 30_000)
      const most = Math.max(edge.countOf('proxy-1'), edge.countOf('proxy-3'))
      expect(edge.countOf('proxy-2')).toBeLessThanOrEqual(share * (most + 1))
      if (second > 40) expect(edge.countOf('proxy-2')).toBeGreaterThan(share * most * 0.8)
    }
    expect(edge.eventsOf('slow-start-began', 'slow-start-ended').map(({ event }) => event)).toEqual([
      { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 },
      { kind: 'slow-start-ended', target: 'proxy-2', why: 'full' },
    ])
  })

  test('is not for those who were there from the start, nor for one that is back when no other is well', () => {
    const edge = new Edge()
    edge.runTo(10)
    const heals = ['proxy-1', 'proxy-2', 'proxy-3'].map((name) => edge.world.apply({ kind: 'crash', machines: [name] }))
    edge.runTo(20)
    expect(edge.eventsOf('slow-start-began')).toEqual([])
    heals[1]!()
    edge.runTo(30)
    expect(edge.eventsOf('slow-start-began')).toEqual([])
    heals[0]!()
    edge.runTo(40)
    expect(edge.eventsOf('slow-start-began').map(({ event }) => event)).toMatchObject([{ target: 'proxy-1' }])
  })

  test('ends when those at full weight are gone, or the target itself is', () => {
    const edge = edgeWithReturn()
    const heal = edge.world.apply({ kind: 'crash', machines: ['proxy-2'] })
    edge.runTo(32)
    heal()
    edge.runTo(38)
    edge.world.apply({ kind: 'crash', machines: ['proxy-1', 'proxy-3'] })
    edge.runTo(45)
    expect(edge.eventsOf('slow-start-began', 'slow-start-ended').map(({ event }) => event)).toEqual([
      { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 },
      { kind: 'slow-start-ended', target: 'proxy-2', why: 'out' },
      { kind: 'slow-start-began', target: 'proxy-2', durationMs: 30_000 },
      { kind: 'slow-start-ended', target: 'proxy-2', why: 'alone' },
    ])
  })
})
