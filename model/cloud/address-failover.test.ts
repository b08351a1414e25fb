import { describe, expect, test } from 'vitest'
import { Stage } from '../region-stage.test-support.ts'
import { ports, type ServiceSettings } from '../settings.ts'
import type { Fault } from '../world.ts'

const lost = (node: string): Fault => ({ kind: 'power-loss', machines: [node] })

/** A region whose access addresses move once a node was silent for three seconds. */
class Region extends Stage {
  constructor(loadBalancer: Partial<ServiceSettings['loadBalancer']> = { addressFailoverMs: 3000 }) {
    super({ settings: { loadBalancer: { drainMs: 10_000, ...loadBalancer } } })
    this.run(5000)
  }

  /** `10.2.0.150 load-balancer-2 load-balancer-1`, in order. */
  get moves(): readonly string[] {
    return this.events('address-moved').map(({ event }) => {
      const { address, from, to } = event as unknown as { readonly address: string; readonly from: string; readonly to: string }
      return `${address} ${from} ${to}`
    })
  }

  /** Whether a client that knows but this address is served. */
  serves(clientId: string, host: string): boolean {
    const before = this.events('client-connected').length
    this.connect({ clientId, address: { host, port: ports.mqtt } })
    return this.events('client-connected').length > before
  }
}

describe('the access address of a load-balancer node', () => {
  test('goes to a node in another zone when its own is dead, and comes home with it', () => {
    const region = new Region()
    expect(region.serves('before', '10.2.0.150')).toBe(true)
    const heal = region.apply(lost('load-balancer-2'))
    region.run(2900)
    expect(region.moves).toEqual([])
    region.run(4000)
    expect(region.moves).toEqual(['10.2.0.150 load-balancer-2 load-balancer-1'])
    expect(region.serves('meanwhile', '10.2.0.150')).toBe(true)
    heal()
    region.run(4000)
    expect(region.moves.slice(1)).toEqual(['10.2.0.150 load-balancer-1 load-balancer-2'])
    expect(region.serves('after', '10.2.0.150')).toBe(true)
  })

  test('goes on to a third node when the one that took it is dead too, with what that one had', () => {
    const region = new Region()
    region.apply(lost('load-balancer-3'))
    region.run(8000)
    region.apply(lost('load-balancer-1'))
    region.run(8000)
    expect(region.moves).toEqual([
      '10.3.0.150 load-balancer-3 load-balancer-1',
      '10.1.0.150 load-balancer-1 load-balancer-2',
      '10.3.0.150 load-balancer-1 load-balancer-2',
    ])
  })

  test('is spread over those that live', () => {
    const region = new Region()
    region.apply({ kind: 'power-loss', machines: ['load-balancer-1', 'load-balancer-3'] })
    region.run(8000)
    expect(region.moves).toHaveLength(2)
    expect(['10.1.0.150', '10.2.0.150', '10.3.0.150'].map((host) => region.serves(host, host))).toEqual([true, true, true])
  })

  test('is moved by the next controller where that of the zone that acts is lost with the node', () => {
    const region = new Region()
    const heal = region.apply({ kind: 'zone-outage', zone: 'az1', form: 'power' })
    region.run(40_000)
    expect(region.moves).toEqual(['10.1.0.150 load-balancer-1 load-balancer-2'])
    heal()
    region.run(20_000)
    expect(region.moves.slice(1)).toEqual(['10.1.0.150 load-balancer-2 load-balancer-1'])
  })

  test('stays where it is while the node is slow to answer for less than that, and where no time is set', () => {
    const region = new Region({ addressFailoverMs: 6000 })
    const heal = region.apply(lost('load-balancer-2'))
    region.run(5000)
    heal()
    region.run(20_000)
    expect(region.moves).toEqual([])
    const unset = new Region({})
    unset.apply(lost('load-balancer-2'))
    unset.run(30_000)
    expect(unset.moves).toEqual([])
    expect(() => unset.serves('client', '10.2.0.120')).toThrow('CONNACK')
  })
})
