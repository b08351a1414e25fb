import { describe, expect, test } from 'vitest'
import { LoopbackMap } from './addresses.ts'

describe('a loopback map', () => {
  test('gives every address of a region a loopback address of its own, and finds the way back', () => {
    const map = new LoopbackMap('127.64.0.254')
    const regions = ['10.1.0.3', '10.2.0.3', '203.0.113.7', '10.3.0.3']
    const reals = regions.map((host) => map.toReal({ host, port: 1883 }).host)
    expect(reals).toEqual(['127.64.0.254', '127.64.0.255', '127.64.1.0', '127.64.1.1'])
    expect(map.toReal({ host: '10.2.0.3', port: 9876 })).toEqual({ host: '127.64.0.255', port: 9876 })
    expect(reals.map((host) => map.toRegion(host, 40_000).host)).toEqual(regions)
  })

  test('leaves somebody outside as they are', () => {
    const map = new LoopbackMap('127.64.0.1')
    expect(map.toReal({ host: '127.0.0.1', port: 53 })).toEqual({ host: '127.0.0.1', port: 53 })
    expect(map.toRegion('127.0.0.1', 53)).toEqual({ host: '127.0.0.1', port: 53 })
  })

  test('moves ports that need a privilege, there and back, and no others', () => {
    const map = new LoopbackMap('127.64.0.1')
    for (const port of [0, 1, 53, 1023, 1024, 1883, 64_511]) {
      const real = map.toReal({ host: '10.1.0.3', port })
      expect(real.port === 0 || real.port >= 1024).toBe(true)
      expect(real.port === port).toBe(port === 0 || port >= 1024)
      expect(map.toRegion(real.host, real.port)).toEqual({ host: '10.1.0.3', port })
    }
    expect(() => map.toReal({ host: '10.1.0.3', port: 64_512 })).toThrow('from 0 to 64511')
  })

  test('keeps a pinned port where it was put, and the other ports of its machine where they are', () => {
    const map = new LoopbackMap('127.64.0.1')
    map.pin({ host: '10.1.0.120', port: 1883 }, { host: '127.0.0.1', port: 883 })
    expect(map.toReal({ host: '10.1.0.120', port: 1883 })).toEqual({ host: '127.0.0.1', port: 883 })
    expect(map.toReal({ host: '10.1.0.120', port: 8883 })).toEqual({ host: '127.64.0.1', port: 8883 })
    expect(map.toRegion('127.0.0.1', 883)).toEqual({ host: '127.0.0.1', port: 883 })
  })

  test('begins in 127/8 wherever it is left to chance, and refuses to begin elsewhere', () => {
    for (let index = 0; index < 50; index++) expect(new LoopbackMap().toReal({ host: '10.1.0.3', port: 1 }).host).toMatch(/^127\./)
    expect(() => new LoopbackMap('10.1.0.1')).toThrow('127.0.0.0/8')
    expect(() => new LoopbackMap().toReal({ host: 'broker-1', port: 1 })).toThrow('IPv4')
  })
})
