import { expect, test } from 'vitest'
import { isInstant } from '../checks/disturbance.ts'
import type { Fault } from '../model/world.ts'
import { faultText } from './fault-text.ts'

const outage = { kind: 'zone-outage', zone: 'az1' } as const

test.each<[Fault, string, string?]>([
  [{ ...outage, form: 'cut-from-internet' }, 'zone az1 is cut off from the internet', 'zone az1 is on the internet again'],
  [{ ...outage, form: 'nothing-out' }, 'nothing gets out of zone az1', 'packets get out of zone az1 again'],
  [{ ...outage, form: 'control-plane', roles: [] }, 'zone az1 loses its control plane', 'zone az1 has its control plane again'],
  [
    { ...outage, form: 'brown-out', slowdown: 10, lossProbability: 0.02 },
    'everything in zone az1 is 10 times slower and loses 2.0% of packets',
    'zone az1 is as fast as before',
  ],
  [{ kind: 'upgrade', machines: ['a'], graceMs: 1, downMs: 1 }, 'a is stopped to be upgraded'],
  [{ kind: 'scale-in', machines: ['a', 'b'], graceMs: 1 }, 'a and b are stopped for good'],
  [{ kind: 'scale-out', machines: ['a'] }, 'a is added'],
  [{ kind: 'grey', machines: ['a'] }, 'a answers who connects, and passes nothing on', 'a passes things on again'],
  [{ kind: 'isolation', machines: ['a'], direction: 'out' }, 'nothing that a sends arrives any more', 'a is connected again'],
  [{ kind: 'disk-loss', machines: ['a'] }, 'the disk of a is gone for good', 'a starts with an empty disk'],
  [{ kind: 'bit-rot', machines: ['a'], bits: 3 }, '3 bits flip on the disk of a'],
  [{ kind: 'address-change', machines: ['a'] }, 'a gets another address, and what was open goes silent'],
  [
    { kind: 'nat-timeout', machines: ['a'], idleMs: 30_000 },
    'the way back to a is forgotten after 30 s of silence',
    'the way back to a is remembered again',
  ],
  [
    { kind: 'fault-point', machines: ['dns-1'], point: 'dns-health-checks-stand-still', probability: 1 },
    'dns-1 stops to follow who is healthy',
    'dns-1 follows again who is healthy',
  ],
  [
    { kind: 'datagram-loss', from: ['a'], to: ['b'], probability: 0.5 },
    '50.0% of datagrams between a and b are lost',
    'datagrams between a and b arrive again',
  ],
])('a fault is told in words, and so is its end where it has one: %j', (fault, applied, healed) => {
  expect(faultText(fault, 'applied')).toBe(applied)
  expect(isInstant(fault)).toBe(healed === undefined)
  if (healed !== undefined) expect(faultText(fault, 'healed')).toBe(healed)
})
