import { describe, expect, test } from 'vitest'
import { faultModes } from './fault-modes.ts'
import { type Firing, firingsOf, type Nobody, type TimedFault, whatFires } from './fault-plan.ts'
import type { ScenarioFault } from './fault-schema.ts'
import { loadScenario, ScenarioProblem } from './load.ts'
import { type ScenarioFile, scenarioSchema } from './scenario.ts'
import { endOfFaultsMs } from './timing.ts'

const machines = [1, 2, 3].flatMap((zone) =>
  ['nameserver', 'broker', 'proxy', 'dns'].map((role) => ({ name: `${role}-${zone}`, zone: `az${zone}`, role })),
)

function parsed(fault: NonNullable<ScenarioFile['faults']>[number]): ScenarioFault {
  return scenarioSchema.parse({ title: 'x', faults: [fault] }).faults[0]!
}

function fired(firing: Firing, down: readonly string[] = [], seed = 1, off = down): readonly TimedFault[] | Nobody {
  return whatFires(firing, { machines, seed, isRunning: (machine) => !down.includes(machine), isOn: (machine) => !off.includes(machine) })
}

function only(fault: NonNullable<ScenarioFile['faults']>[number], down: readonly string[] = []): readonly TimedFault[] | Nobody {
  return fired(firingsOf([parsed(fault)], 60_000)[0]!, down)
}

describe('the times of a fault', () => {
  const times = (fault: NonNullable<ScenarioFile['faults']>[number]) =>
    firingsOf([parsed(fault)], 60_000).map(({ planned, atMs, endMs }) => `${planned.kind} ${atMs / 1000} to ${endMs / 1000}`)

  test('are its own, or last until the end of the act', () => {
    expect(times({ kind: 'crash', machines: 'broker-1', at: '10s', for: '5s' })).toEqual(['crash 10 to 15'])
    expect(times({ kind: 'crash', machines: 'broker-1', at: '10s' })).toEqual(['crash 10 to 60'])
    expect(times({ kind: 'crash', machines: 'broker-1', at: '58s', for: '5s' })).toEqual(['crash 58 to 60'])
  })

  test('are repeated so often, or until the end of the act, and may overlap', () => {
    expect(times({ kind: 'pause', machines: 'broker-1', at: '10s', for: '15s', every: '10s', times: 3 })).toEqual([
      'pause 10 to 25',
      'pause 20 to 35',
      'pause 30 to 45',
    ])
    expect(times({ kind: 'restart', machines: 'broker-1', at: '35s', every: '10s' }).length).toBe(3)
  })

  test('of a group are those of the group: its members begin with it or after it, and end with it at the latest', () => {
    const group = {
      kind: 'together' as const,
      at: '10s',
      for: '10s',
      every: '20s',
      times: 2,
      faults: [
        { kind: 'crash' as const, machines: 'broker-1' },
        { kind: 'pause' as const, machines: 'broker-2', after: '2s', for: '3s' },
        { kind: 'pause' as const, machines: 'broker-3', after: '8s', for: '30s' },
        { kind: 'restart' as const, machines: 'proxy-1', after: '1s' },
      ],
    }
    expect(times(group)).toEqual([
      'crash 10 to 20',
      'pause 12 to 15',
      'pause 18 to 20',
      'restart 11 to 20',
      'crash 30 to 40',
      'pause 32 to 35',
      'pause 38 to 40',
      'restart 31 to 40',
    ])
  })

  test('lengthen the act of faults to the last of them, steps of an upgrade included', () => {
    const end = (faults: ScenarioFile['faults']) => endOfFaultsMs({ ...scenarioSchema.parse({ title: 'x', faults }), name: 'x' })
    expect(end([{ kind: 'restart', machines: 'broker-1', at: '10s', every: '7s', times: 4 }])).toBe(31_000)
    expect(end([{ kind: 'rolling-upgrade', machines: 'role proxy', at: '10s', grace: '4s', startUp: '1s', pause: '5s' }])).toBe(40_000)
    expect(end([{ kind: 'together', at: '10s', faults: [{ kind: 'pause', machines: 'broker-1', after: '5s', for: '10s' }] }])).toBe(25_000)
  })
})

test('requests to the console lengthen the act of faults to the last of them', () => {
  const file = {
    title: 'x',
    console: [
      { at: '50s', createTopic: 'pumps' },
      { at: '60s', listClients: 10 },
    ],
  }
  expect(endOfFaultsMs({ ...scenarioSchema.parse(file), name: 'x' })).toBe(60_000)
})

describe('what fires', () => {
  test('is drawn from those that run, anew each time, and the same for one seed', () => {
    const firings = firingsOf([parsed({ kind: 'crash', machines: '1 of role broker', at: '1s', every: '1s', times: 40 })], 60_000)
    const drawn = (seed: number, down: readonly string[] = []) =>
      firings.map((firing) => {
        const [first] = fired(firing, down, seed) as readonly TimedFault[]
        return first?.fault.kind === 'crash' ? first.fault.machines[0] : undefined
      })
    expect(new Set(drawn(1))).toEqual(new Set(['broker-1', 'broker-2', 'broker-3']))
    expect(drawn(1)).toEqual(drawn(1))
    expect(drawn(1)).not.toEqual(drawn(2))
    expect(new Set(drawn(1, ['broker-2']))).toEqual(new Set(['broker-1', 'broker-3']))
  })

  test('on processes of which none runs is nobody; on links and disks it does not matter', () => {
    const down = ['broker-1', 'broker-2', 'broker-3']
    expect(only({ kind: 'crash', machines: { role: 'broker', count: 2 }, at: '1s' }, down)).toEqual({
      kind: 'crash',
      wanted: '2 of role broker',
    })
    expect(only({ kind: 'disk-stall', machines: 'role broker', at: '1s' }, down)).toEqual([
      { afterMs: 0, fault: { kind: 'disk-stall', machines: down } },
    ])
  })

  test('as a loss of power strikes a machine whose process has crashed, and none that is off', () => {
    const power = firingsOf([parsed({ kind: 'power-loss', machines: 'broker-1', at: '1s' })], 60_000)[0]!
    const lost = [{ afterMs: 0, fault: { kind: 'power-loss', machines: ['broker-1'] } }]
    expect(fired(power, ['broker-1'], 1, [])).toEqual(lost)
    expect(fired(power, ['broker-1'], 1, ['broker-1'])).toEqual({ kind: 'power-loss', wanted: 'broker-1' })
    const gradual = firingsOf([parsed({ kind: 'zone-outage', zone: 'az2', form: 'gradual', at: '1s' })], 60_000)[0]!
    expect(fired(gradual, ['broker-2'], 1, ['dns-2'])).toHaveLength(3)
  })

  test('as a gradual outage is the loss of power of one machine of the zone after another', () => {
    const faults = only({ kind: 'zone-outage', zone: 'az2', form: 'gradual', over: '30s', at: '1s' }) as readonly TimedFault[]
    expect(faults.map(({ afterMs }) => afterMs)).toEqual([0, 10_000, 20_000, 30_000])
    const struck = faults.map(({ fault }) => (fault.kind === 'power-loss' ? fault.machines.join() : fault.kind))
    expect([...struck].sort()).toEqual(['broker-2', 'dns-2', 'nameserver-2', 'proxy-2'])
  })

  test('as the loss of a control plane cuts its roles off, and has DNS stand still', () => {
    expect(only({ kind: 'zone-outage', zone: 'az1', form: 'control-plane', at: '1s' })).toEqual([
      {
        afterMs: 0,
        fault: { kind: 'zone-outage', zone: 'az1', form: 'control-plane', roles: ['nameserver', 'console', 'instance-group'] },
      },
      { afterMs: 0, fault: { kind: 'fault-point', machines: ['dns-1'], point: 'dns-health-checks-stand-still', probability: 1 } },
    ])
  })

  test('as a rolling upgrade is an upgrade of one machine after another, with a pause after the slowest', () => {
    const faults = only({ kind: 'rolling-upgrade', machines: 'role proxy', at: '1s', grace: '4s', startUp: '1s', pause: '5s' })
    expect(faults).toEqual(
      ['proxy-1', 'proxy-2', 'proxy-3'].map((machine, index) => ({
        afterMs: index * 10_000,
        fault: { kind: 'upgrade', machines: [machine], graceMs: 4000, downMs: 1000 },
      })),
    )
  })
})

describe('a scenario is refused, with the place and the reason, when', () => {
  test.each<[string, string, RegExp]>([
    [
      'a number of times has no period',
      '{ kind: restart, machines: broker-1, at: 9s, times: 3 }',
      /:3:\d+: faults\.0\.times: .*every: 10s/,
    ],
    [
      'a period has no end',
      '{ kind: restart, machines: broker-1, at: 9s, every: 3s }',
      /:3:\d+: faults\.0\.every: the act of faults ends at 9s/,
    ],
    [
      'a field belongs to another form',
      '{ kind: zone-outage, zone: az1, at: 9s, for: 9s, over: 3s }',
      /faults\.0\.over: only the form gradual has over/,
    ],
    [
      'a member of a group matches no machine',
      '{ kind: together, at: 9s, for: 9s, faults: [{ kind: crash, machines: role borker }] }',
      /:3:\d+: faults\.0\.faults\.0\.machines: the region has no role borker\. allowed: .*Did you mean broker\?/,
    ],
    [
      'a member begins after its group',
      '{ kind: together, at: 9s, for: 2s, faults: [{ kind: crash, machines: broker-1, after: 3s }] }',
      /faults\.0\.faults\.0\.after: its group is over after 2s, found 3s/,
    ],
    [
      'a member has a time of its own',
      '{ kind: together, at: 9s, for: 2s, faults: [{ kind: crash, machines: broker-1, at: 3s }] }',
      /unknown key at/,
    ],
    ['a group has no time to work', '{ kind: together, at: 9s, faults: [{ kind: crash, machines: broker-1 }] }', /no time to work/],
    [
      'a server is to change its address',
      '{ kind: address-change, machines: role proxy, at: 9s }',
      /address-change is for clients' machines: proxy-1/,
    ],
    [
      'brokers are taken for DNS servers',
      '{ kind: dns-stale, machines: role broker, at: 9s, for: 1s }',
      /dns-stale is for DNS servers: broker-1, broker-2 and broker-3 are none\. allowed: role dns/,
    ],
    ['nobody is to be struck', '{ kind: crash, machines: 0 of role broker, at: 9s }', /expected a whole number from 1 to 1000, found 0/],
    ['no machine is named', '{ kind: crash, machines: [], at: 9s }', /a list of machines names at least one, found an empty list/],
    [
      'a fault point is not in the code',
      '{ kind: fault-point, machines: all, point: copy-sync-late, at: 9s, for: 1s }',
      /"copy-sync-late" is not known\. allowed: copy-syncs-late, .*Did you mean copy-syncs-late\?/,
    ],
    ['it is more than a year away', '{ kind: restart, machines: broker-1, at: 99999999h }', /no run takes more than a year: 8760h at most/],
    [
      'a zone has none of the machines',
      '{ kind: restart, machines: role proxy in zone az9, at: 9s }',
      /no zone az9\. allowed: az1, az2, az3\. Did you mean az1\?/,
    ],
    [
      'a machine is to be added where there is no zone',
      '{ kind: scale-out, role: proxy, zone: az9, at: 9s }',
      /faults\.0\.zone: the region has no zone az9\. allowed: az1, az2, az3/,
    ],
    [
      'a machine is to be faster than it is',
      '{ kind: slow, machines: broker-1, factor: 0.5, at: 9s, for: 1s }',
      /how many times as long it takes, a number from 1 on, found 0\.5/,
    ],
  ])('%s', (_what, fault, problem) => {
    const load = () => loadScenario(`title: x\nfaults:\n  - ${fault}\n`, { file: 'x.yaml', name: 'x' })
    expect(load).toThrow(ScenarioProblem)
    expect(load).toThrow(problem)
  })
})

test('every kind of fault that a scenario may name has a mode', () => {
  const kinds = scenarioSchema.shape.faults.unwrap().element.options.map((option) => option.shape.kind.value)
  expect(Object.keys(faultModes).sort()).toEqual(kinds.filter((kind) => kind !== 'together').sort())
})

test('a machine that stood by is struck by faults on its role once it runs, and not before', () => {
  const spare = { name: 'proxy-4', zone: 'az1', role: 'proxy', standby: true }
  const isolation = firingsOf([parsed({ kind: 'isolation', machines: 'role proxy in zone az1', at: '1s' })], 60_000)[0]!
  const struck = (isRunning: (machine: string) => boolean) =>
    whatFires(isolation, { machines: [...machines, spare], seed: 1, isRunning, isOn: isRunning })
  expect(struck((machine) => machine !== 'proxy-4')).toMatchObject([{ fault: { machines: ['proxy-1'] } }])
  expect(struck(() => true)).toMatchObject([{ fault: { machines: ['proxy-1', 'proxy-4'] } }])
})
