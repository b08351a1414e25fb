import { describe, expect, test } from 'vitest'
import type { Fault } from '../model/world.ts'
import { Disturbance, describeFault } from './disturbance.ts'

const machines = [1, 2].flatMap((zone) =>
  ['nameserver', 'broker', 'proxy', 'volume', 'dns', 'load-balancer'].map((role) => ({ name: `${role}-${zone}`, zone: `az${zone}`, role })),
)
const client = { name: 'clients-1', zone: 'internet', role: 'client' }
const standby = { name: 'proxy-3', zone: 'az1', role: 'proxy', standby: true }

function under(...faults: readonly Fault[]): Disturbance {
  const disturbance = new Disturbance([...machines, client, standby])
  for (const fault of faults) disturbance.onFault(fault, 'applied', 1000)
  return disturbance
}

const disturbed = (disturbance: Disturbance): readonly string[] =>
  machines.filter((machine) => disturbance.isDisturbed(machine)).map(({ name }) => name)

const outage = { kind: 'zone-outage', zone: 'az1' } as const

describe('a fault excuses', () => {
  test.each<[Fault, readonly string[]]>([
    [{ ...outage, form: 'power' }, ['nameserver-1', 'broker-1', 'proxy-1', 'volume-1', 'dns-1', 'load-balancer-1']],
    [
      { ...outage, form: 'brown-out', slowdown: 3, lossProbability: 0 },
      ['nameserver-1', 'broker-1', 'proxy-1', 'volume-1', 'dns-1', 'load-balancer-1'],
    ],
    [{ ...outage, form: 'control-plane', roles: ['nameserver', 'console'] }, ['nameserver-1']],
    [{ kind: 'grey', machines: ['proxy-1'] }, ['proxy-1']],
    [{ kind: 'slow', machines: ['broker-1'], factor: 2 }, ['broker-1']],
    [{ kind: 'disk-full', machines: ['volume-2'] }, ['volume-2']],
    [{ kind: 'datagram-loss', from: ['dns-1'], to: ['proxy-2'], probability: 1 }, ['dns-1', 'proxy-2']],
    [{ kind: 'clock-drift', machines: ['broker-1'], partsPerMillion: 5 }, []],
    [{ kind: 'bit-rot', machines: ['volume-1'], bits: 1 }, []],
    [{ kind: 'lying-sync', machines: ['volume-1'], probability: 1 }, []],
    [{ kind: 'upgrade', machines: ['broker-1'], graceMs: 1, downMs: 1 }, []],
    [{ kind: 'scale-out', machines: ['proxy-3'] }, []],
  ])('%j those whom it takes something from: %j', (fault, expected) => {
    expect(disturbed(under(fault))).toEqual(expected)
  })

  test('nobody any more once it is taken out, and the region until then', () => {
    const fault: Fault = { kind: 'isolation', machines: ['broker-1'], direction: 'out' }
    const disturbance = under(fault)
    expect(disturbance.isTroubled).toBe(true)
    disturbance.onFault({ ...fault }, 'healed', 2000)
    expect([disturbance.isTroubled, disturbed(disturbance), disturbance.calmSinceUs('broker-1'), disturbance.changedAtUs]).toEqual([
      false,
      [],
      2000,
      2000,
    ])
  })

  test('no machine that single others cannot reach, of being out of order', () => {
    const disturbance = under(
      { kind: 'datagram-loss', from: ['dns-1'], to: ['proxy-2'], probability: 1 },
      { kind: 'grey', machines: ['proxy-1'] },
    )
    expect(machines.filter((machine) => disturbance.isOutOfOrder(machine)).map(({ name }) => name)).toEqual(['proxy-1'])
  })
})

describe('a client is cut off', () => {
  test.each<[Fault, boolean]>([
    [{ kind: 'isolation', machines: ['clients-1'], direction: 'in' }, true],
    [{ kind: 'grey', machines: ['clients-1'] }, true],
    [{ kind: 'address-change', machines: ['clients-1'] }, false],
    [{ kind: 'nat-timeout', machines: ['clients-1'], idleMs: 1000 }, false],
    [{ kind: 'slow', machines: ['clients-1'], factor: 5 }, false],
  ])('by %j: %j', (fault, expected) => {
    expect(under(fault).isCutOff('clients-1')).toBe(expected)
  })
})

describe('a machine that is not in service', () => {
  test('stands by and troubles nobody, until it is switched on', () => {
    const disturbance = under()
    expect([disturbance.isOutOfOrder(standby), disturbance.isTroubled]).toEqual([true, false])
    disturbance.onProcessStarted('proxy-3', 5000)
    expect([disturbance.isOutOfOrder(standby), disturbance.calmSinceUs('proxy-3')]).toEqual([false, 5000])
    disturbance.onProcessEnded('proxy-3', 6000)
    expect(disturbance.isTroubled).toBe(true)
  })

  test('was scaled in: it is out of order for good, and the region is calm from then on', () => {
    const disturbance = under({ kind: 'scale-in', machines: ['proxy-1'], graceMs: 1000 })
    disturbance.onProcessEnded('proxy-1', 2000)
    expect([disturbed(disturbance), disturbance.isTroubled, disturbance.changedAtUs]).toEqual([['proxy-1'], false, 2000])
    disturbance.onProcessEnded('proxy-2', 3000)
    expect(disturbance.isTroubled).toBe(true)
  })
})

test('each form of a zone outage has its own words', () => {
  const texts = (['power', 'isolated', 'cut-from-zones', 'cut-from-internet', 'nothing-in', 'nothing-out'] as const).map((form) =>
    describeFault({ ...outage, form }),
  )
  expect(new Set(texts).size).toBe(6)
  for (const text of texts) expect(text).toMatch(/^zone az1 /)
})
