import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { VolumeStrains } from './volume-strains.ts'

const machines = [1, 2, 3].flatMap((n) => ['broker', 'proxy', 'volume'].map((role) => ({ name: `${role}-${n}`, zone: `az${n}`, role })))
const outage: Fault = { kind: 'zone-outage', zone: 'az2', form: 'power' }
const dark = (...names: readonly string[]): Fault => ({ kind: 'power-loss', machines: names })

function strainsOf(kind: ConstructorParameters<typeof VolumeStrains>[0], ...steps: readonly (readonly ['applied' | 'healed', Fault])[]) {
  const strains = new VolumeStrains(kind, 12, machines)
  for (const [phase, fault] of steps) strains.onFault(fault, phase)
  return strains
}

describe('what volumes never promised', () => {
  test('is nothing where nothing was done to them', () => {
    expect(strainsOf('zonal').notPromised('reconnect-in-time')).toBeUndefined()
    expect(strainsOf('zonal', ['applied', dark('proxy-1')]).notPromised('reconnect-in-time')).toBeUndefined()
  })

  test('is service, for zonal ones of a dark zone; regional ones stand it', () => {
    expect(strainsOf('zonal', ['applied', outage]).notPromised('reconnect-in-time')).toContain('zonal volumes do not promise this')
    expect(strainsOf('zonal', ['applied', outage]).notPromised('acked-survives')).toBeUndefined()
    expect(strainsOf('regional', ['applied', outage]).notPromised('reconnect-in-time')).toBeUndefined()
    expect(strainsOf('replicated', ['applied', outage]).notPromised('progress')).toBeUndefined()
  })

  test('is service, for all kinds, while two copies are dark at once, and not where one was after the other', () => {
    const [one, two] = [dark('volume-1'), dark('volume-2')]
    expect(strainsOf('regional', ['applied', one], ['applied', two]).notPromised('progress')).toContain(
      'regional volumes do not promise this',
    )
    expect(strainsOf('regional', ['applied', one], ['healed', one], ['applied', two]).notPromised('progress')).toBeUndefined()
    expect(strainsOf('replicated', ['applied', one], ['applied', two]).notPromised('progress')).toBeUndefined()
    expect(strainsOf('replicated', ['applied', dark('broker-1', 'broker-3')]).notPromised('progress')).toContain('majority')
  })

  test('is data, where the only copy or most of them are gone for good', () => {
    const lost = (...names: readonly string[]): Fault => ({ kind: 'disk-loss', machines: names })
    expect(strainsOf('zonal', ['applied', lost('volume-1')]).notPromised('acked-survives')).toContain('backup point')
    expect(strainsOf('regional', ['applied', lost('volume-1')]).notPromised('acked-survives')).toBeUndefined()
    expect(strainsOf('regional', ['applied', lost('volume-1', 'volume-2')]).notPromised('acked-survives')).toContain('regional volumes')
  })
})
