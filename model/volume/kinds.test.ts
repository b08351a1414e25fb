import { describe, expect, test } from 'vitest'
import { keptUnder, notPromised, placementOf, promisesOf, volumeKinds, volumeStrains } from './kinds.ts'

const zones = ['az1', 'az2', 'az3']

describe('the placement of a volume', () => {
  test('of a regional one is a copy in every zone, whatever its number', () => {
    for (let volume = 0; volume < 7; volume++) expect(placementOf('regional', volume, zones)).toEqual({ copies: [0, 1, 2], backups: [] })
  })

  test('of a zonal one is one copy, in turn, and backups in two other zones', () => {
    expect(placementOf('zonal', 0, zones)).toEqual({ copies: [0], backups: [1, 2] })
    expect(placementOf('zonal', 1, zones)).toEqual({ copies: [1], backups: [2, 0] })
    expect(placementOf('zonal', 5, zones)).toEqual({ copies: [2], backups: [0, 1] })
    expect(placementOf('zonal', 4, ['az1', 'az2', 'az3', 'az4', 'az5'])).toEqual({ copies: [4], backups: [0, 1] })
    expect(placementOf('zonal', 3, ['az1'])).toEqual({ copies: [0], backups: [] })
  })

  test('of a replicated one is a broker of each zone, spread over those of the zone', () => {
    const brokers = ['az1', 'az1', 'az2', 'az2', 'az3', 'az3']
    expect(placementOf('replicated', 0, brokers).copies).toEqual([0, 2, 4])
    expect(placementOf('replicated', 1, brokers).copies).toEqual([1, 3, 5])
  })
})

describe('the table of what is kept', () => {
  test('has regional volumes keep everything under the loss of any one zone, and zonal ones not', () => {
    for (const promise of [...promisesOf.data, ...promisesOf.service]) {
      expect(notPromised('regional', 'copy-dark', promise)).toBeUndefined()
      expect(notPromised('regional', 'copy-destroyed', promise)).toBeUndefined()
    }
    expect(notPromised('zonal', 'copy-dark', 'acked-survives')).toBeUndefined()
    expect(notPromised('zonal', 'copy-dark', 'reconnect-in-time')).toBe(
      'zonal volumes do not promise this: the one copy of a zonal volume is in one zone, and nobody can attach it while that zone is dark',
    )
    expect(notPromised('zonal', 'copy-destroyed', 'acked-survives')).toContain('backup point')
  })

  test('lets no kind break what has nothing to do with disks, and never keeps less under one copy than under a majority', () => {
    const order = { data: ['lost', 'back-to-backup-point', 'kept'], service: ['out-until-back', 'kept'] } as const
    for (const kind of volumeKinds) {
      for (const strain of volumeStrains) {
        for (const promise of ['no-phantom', 'one-owner', 'wire-legal', 'no-crash'])
          expect(notPromised(kind, strain, promise)).toBeUndefined()
      }
      for (const what of ['dark', 'destroyed'] as const) {
        const [one, most] = [keptUnder[kind][`copy-${what}`], keptUnder[kind][`majority-${what}`]]
        expect(order.data.indexOf(one.data)).toBeGreaterThanOrEqual(order.data.indexOf(most.data))
        expect(order.service.indexOf(one.service)).toBeGreaterThanOrEqual(order.service.indexOf(most.service))
      }
    }
  })
})
