import fc from 'fast-check'
import { expect, test } from 'vitest'
import { defaultSettings } from '../settings.ts'
import { outlastingMs, ownersShareMs } from './lease.ts'

test('a lease is over at its owner before it is over at a copy, and a grant at a proxy before it is over at its broker, whatever clocks within the bound do', () => {
  const drift = fc.double({ min: -1, max: 1, noNaN: true })
  fc.assert(
    fc.property(fc.constantFrom(0, 200, 500, 20_000), drift, drift, drift, (ppm, ownerDrift, copyDrift, proxyDrift) => {
      const rate = (share: number) => 1 + (share * ppm) / 1_000_000
      const { leaseMs } = defaultSettings.volume
      const copyTrueMs = leaseMs / rate(copyDrift)
      const ownerMs = ownersShareMs(leaseMs, ppm)
      expect(ownerMs / rate(ownerDrift)).toBeLessThanOrEqual(copyTrueMs + 1e-9)
      const grantMs = ownersShareMs(ownerMs, ppm)
      expect(grantMs / rate(proxyDrift)).toBeLessThanOrEqual(ownerMs / rate(ownerDrift) + 1e-9)
      expect(outlastingMs(grantMs, ppm) / rate(ownerDrift)).toBeGreaterThanOrEqual(grantMs / rate(proxyDrift) - 1e-9)
    }),
  )
})
