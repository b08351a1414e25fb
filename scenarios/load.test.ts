import { describe, expect, test } from 'vitest'
import { catalogueEntry, catalogueNames } from './catalogue.ts'
import { loadScenario, ScenarioProblem } from './load.ts'
import { endOfFaultsMs } from './timing.ts'

function load(text: string, ...set: readonly string[]) {
  return loadScenario(text, { file: 'storm.yaml', name: 'storm', set })
}

function problemsOf(text: string, ...set: readonly string[]): readonly string[] {
  try {
    load(text, ...set)
  } catch (error) {
    if (error instanceof ScenarioProblem) return error.problems
    throw error
  }
  throw new Error('nothing was found wrong')
}

const outage = `title: A zone goes dark
faults:
  - kind: zone-outage
    zone: az2
    at: 20s
    for: 1.5m
`

describe('a scenario file', () => {
  test('of six lines is whole: everything else has a default, and times are milliseconds', () => {
    const scenario = load(outage)
    expect(scenario).toMatchObject({
      name: 'storm',
      title: 'A zone goes dark',
      region: { zones: 3, topicShards: 6, settings: {}, access: 'permissions', topicCreation: 'console' },
      clients: [
        {
          count: 100,
          profile: 'recommended',
          version: 5,
          publish: { qos: 1, every: 1000, payloadBytes: 64, retain: false },
          subscribe: { topics: 'ring', noLocal: false },
          away: [],
        },
      ],
      workload: { warmUp: 8000 },
      faults: [{ kind: 'zone-outage', zone: 'az2', form: 'power', at: 20_000, for: 90_000 }],
      budgets: { reconnect: 10_000 },
    })
    expect(endOfFaultsMs(scenario)).toBe(110_000)
  })

  test.each(catalogueNames())('of the catalogue loads: %s', (name) => {
    const { text, file } = catalogueEntry(name)
    const scenario = loadScenario(text, { file, name })
    expect(scenario.story).not.toBe('')
    expect(text.split('\n')[0]).toBe('# yaml-language-server: $schema=../scenario.schema.json')
  })

  test('says where it is wrong, what is allowed and what was likely meant, with the line and a caret under the place', () => {
    expect(problemsOf(outage.replace('zone-outage', 'zone-outge'))).toEqual([
      'storm.yaml:3:11: faults.0.kind: "zone-outge" is not known. allowed: zone-outage, crash, power-loss, pause, slow, partition, link, ' +
        'datagram-loss, isolation, grey, sync-failure, disk-stall, disk-slow, disk-full, lying-sync, misdirected-write, disk-loss, clock-drift, nat-timeout, ' +
        'dns-silent, dns-stale, fault-point, restart, connection-reset, clock-jump, bit-rot, address-change, rolling-upgrade, scale-in, scale-out, together. Did you mean zone-outage?\n' +
        '      - kind: zone-outge\n' +
        '              ^',
    ])
  })

  test.each<[string, string, string]>([
    [
      'an unknown key',
      outage.replace('zone:', 'zoen:'),
      'storm.yaml:4:5: faults.0.zoen: unknown key zoen. allowed: kind, zone, form, slowdown, loss, over, at, for, every, times. Did you mean zone?',
    ],
    [
      'an unknown key at the top',
      `${outage}fauls: []\n`,
      'storm.yaml:7:1: fauls: unknown key fauls. allowed: title, story, statements, tags, seed, region, volumes, clients, workload, faults, console, intruders, budgets, expect. Did you mean faults?',
    ],
    ['a negative time', outage.replace('20s', '-20s'), 'storm.yaml:5:9: faults.0.at: a duration cannot be negative: -20s'],
    ['a negative number as a time', outage.replace('20s', '-20'), 'storm.yaml:5:9: faults.0.at: a duration cannot be negative: -20'],
    [
      'a time without a unit',
      outage.replace('20s', '20'),
      'storm.yaml:5:9: faults.0.at: 20 has no unit. allowed: a number with ms, s, m or h, such as 20s or 20ms',
    ],
    [
      'something that is no time',
      outage.replace('20s', 'soon'),
      'storm.yaml:5:9: faults.0.at: not a duration: "soon". allowed: a number with ms, s, m or h, such as 30s, 500ms or 2m',
    ],
    [
      'a zone that the region has not',
      outage.replace('az2', 'az5'),
      'storm.yaml:4:11: faults.0.zone: the region has no zone az5. allowed: az1, az2, az3',
    ],
    [
      'a missing time',
      outage.replace('    at: 20s\n', ''),
      'storm.yaml:3:5: faults.0.at: expected a duration such as 30s, 500ms or 2m, found nothing',
    ],
    [
      'a selector that matches nothing',
      'title: x\nfaults:\n  - { kind: crash, machines: role borker, at: 9s, for: 1s }\n',
      'storm.yaml:3:30: faults.0.machines: the region has no role borker. allowed:',
    ],
    [
      'a selector map with an unknown key',
      'title: x\nfaults:\n  - { kind: crash, machines: { roles: broker }, at: 9s, for: 1s }\n',
      'storm.yaml:3:32: faults.0.machines.roles: unknown key roles. allowed: role, zone, machine, count. Did you mean role?',
    ],
    [
      'a fault that never ends',
      'title: x\nfaults:\n  - { kind: crash, machines: broker-1, at: 9s }\n',
      'storm.yaml:3:5: faults.0: this fault has no time to work',
    ],
    [
      'a promise that nobody gave',
      `${outage}expect: [acked-survive]\n`,
      'storm.yaml:7:10: expect.0: "acked-survive" is not known. allowed:',
    ],
    [
      'a promise that nobody gave, as a key',
      `${outage}expect: { acked-survive: held }\n`,
      'storm.yaml:7:11: expect.acked-survive: unknown key acked-survive. allowed: acked-survives',
    ],
    [
      'an expectation that is no verdict',
      `${outage}expect: { acked-survives: hold }\n`,
      'storm.yaml:7:27: expect.acked-survives: "hold" is not known. allowed: held, violated, { violatedAtMost: <number> }. Did you mean held?',
    ],
    [
      'a setting that does not exist',
      `${outage}region: { settings: { proxy: { pingInterval: 3 } } }\n`,
      'storm.yaml:7:32: region.settings.proxy.pingInterval: unknown key pingInterval. allowed: ',
    ],
    [
      'a negative setting',
      `${outage}region: { settings: { proxy: { pingIntervalMs: -3 } } }\n`,
      'storm.yaml:7:48: region.settings.proxy.pingIntervalMs: cannot be negative: -3',
    ],
    [
      'an interval of nothing',
      `${outage}region: { settings: { volume: { leaseRenewIntervalMs: 0 } } }\n`,
      'storm.yaml:7:55: region.settings.volume.leaseRenewIntervalMs: must be 1 or more: 0',
    ],
    [
      'a threshold of nothing',
      `${outage}region: { settings: { loadBalancer: { healthyThreshold: 0 } } }\n`,
      'region.settings.loadBalancer.healthyThreshold: must be 1 or more: 0',
    ],
    [
      'clients that publish without a pause',
      `${outage}clients: [{ publish: { every: 0s } }]\n`,
      'storm.yaml:7:31: clients.0.publish.every: a period must be 1ms or more',
    ],
    [
      'a word for a number',
      `${outage}region: { zones: three }\n`,
      'storm.yaml:7:18: region.zones: expected a whole number from 1 to 9, found "three"',
    ],
    [
      'a quality of service that does not exist',
      `${outage}clients: [{ publish: { qos: 3 } }]\n`,
      'storm.yaml:7:29: clients.0.publish.qos: 3 is not a quality of service. allowed: 0, 1, 2',
    ],
    [
      'a message expiry before MQTT 5',
      `${outage}clients: [{ version: "3.1.1", publish: { expiry: 5s } }]\n`,
      'storm.yaml:7:50: clients.0.publish.expiry: a message expiry needs version 5, and these clients have version 3.1.1',
    ],
    [
      'a message expiry of half a second',
      `${outage}clients: [{ publish: { expiry: 500ms } }]\n`,
      'storm.yaml:7:32: clients.0.publish.expiry: expected whole seconds from 1s to 31536000s, found 500ms',
    ],
    [
      'a session expiry before MQTT 5',
      `${outage}clients: [{ version: "3.1", sessionExpiry: 5s }]\n`,
      'storm.yaml:7:44: clients.0.sessionExpiry: a session expiry needs version 5, and these clients have version 3.1',
    ],
    [
      'a shared subscription before MQTT 5',
      `${outage}clients: [{ version: "3.1.1", subscribe: { share: workers } }]\n`,
      'clients.0.subscribe.share: a shared subscription needs version 5',
    ],
    [
      'no local before MQTT 5',
      `${outage}clients: [{ version: "3.1.1", subscribe: { noLocal: true } }]\n`,
      'clients.0.subscribe.noLocal: no local needs version 5',
    ],
    [
      'a delayed will before MQTT 5',
      `${outage}clients: [{ version: "3.1.1", will: { delay: 2s } }]\n`,
      'clients.0.will.delay: a delay of the will needs version 5',
    ],
    [
      'a DISCONNECT with will before MQTT 5',
      `${outage}clients: [{ version: "3.1.1", will: {}, away: [{ at: 9s, for: 2s, ending: disconnect-with-will }] }]\n`,
      'clients.0.away.0.ending: a DISCONNECT with will needs version 5',
    ],
    [
      'a DISCONNECT with a will that is not there',
      `${outage}clients: [{ away: [{ at: 9s, for: 2s, ending: disconnect-with-will }] }]\n`,
      'storm.yaml:7:47: clients.0.away.0.ending: these clients have no will. allowed: disconnect, drop',
    ],
    [
      'a shared subscription that reads what is retained',
      `${outage}clients: [{ subscribe: { share: workers, again: 1s } }]\n`,
      'storm.yaml:7:49: clients.0.subscribe.again: a shared subscription is sent no retained messages',
    ],
    [
      'no local on a shared subscription',
      `${outage}clients: [{ subscribe: { share: workers, noLocal: true } }]\n`,
      'clients.0.subscribe.noLocal: no local on a shared subscription is a protocol error',
    ],
    [
      'a group whose name is a filter',
      `${outage}clients: [{ subscribe: { share: "a/b" } }]\n`,
      'clients.0.subscribe.share: the name of a group has at least one character and none of / + #: "a/b"',
    ],
    [
      'clients that leave before they have come',
      `${outage}clients: [{ away: [{ at: 7s, for: 2s }] }]\n`,
      'storm.yaml:7:26: clients.0.away.0.at: clients can go away from 8s on, when the warm-up is over, found 7s',
    ],
    [
      'clients that leave while they are away',
      `${outage}clients: [{ away: [{ at: 9s, for: 2s }, { at: 10s, for: 1s }] }]\n`,
      'clients.0.away.1.at: clients can go away from 11s on, when the time before is over, found 10s',
    ],
    [
      'a clock that jumps nowhere',
      'title: x\nfaults:\n  - { kind: clock-jump, machines: broker-1, by: back, at: 9s }\n',
      'storm.yaml:3:49: faults.0.by: expected how far the clock jumps, such as 10s, or -5m for backwards, found "back"',
    ],
    [
      'more than two bytes take',
      `${outage}region: { settings: { proxy: { receiveMaximum: 70000 } } }\n`,
      'region.settings.proxy.receiveMaximum: must be 65535 or less, to fit into two bytes: 70000',
    ],
    [
      'a Receive Maximum of nothing',
      `${outage}region: { settings: { proxy: { receiveMaximum: 0 } } }\n`,
      'region.settings.proxy.receiveMaximum: must be 1 or more: 0',
    ],
    [
      'a count of halves',
      `${outage}region: { settings: { proxy: { receiveMaximum: 1.5 } } }\n`,
      'storm.yaml:7:48: region.settings.proxy.receiveMaximum: expected a whole number, found 1.5',
    ],
    [
      'parts of a millisecond',
      `${outage}region: { settings: { volume: { leaseMs: 0.5 } } }\n`,
      'storm.yaml:7:42: region.settings.volume.leaseMs: expected a whole number of milliseconds, found 0.5',
    ],
    [
      'a word for a setting',
      `${outage}region: { settings: { broker: { checkpointBytes: 1MB } } }\n`,
      'storm.yaml:7:50: region.settings.broker.checkpointBytes: expected a whole number, found "1MB"',
    ],
    [
      'a lease longer than its field',
      `${outage}region: { settings: { proxy: { sessionLeaseMs: 4294967296 } } }\n`,
      'region.settings.proxy.sessionLeaseMs: must be 4294967295 or less, to fit into four bytes: 4294967296',
    ],
    [
      'more than any number takes',
      `${outage}region: { settings: { proxy: { receiveMaximum: 1.0e300 } } }\n`,
      'region.settings.proxy.receiveMaximum: must be 65535 or less, to fit into two bytes: 1e+300',
    ],
    [
      'a number of no end',
      `${outage}region: { settings: { proxy: { maximumFilters: .inf } } }\n`,
      'region.settings.proxy.maximumFilters: expected a whole number, found Infinity',
    ],
    [
      'a word that an older YAML took for true',
      `${outage}clients: [{ publish: { retain: yes } }]\n`,
      'storm.yaml:7:32: clients.0.publish.retain: expected true or false, found "yes"',
    ],
    [
      'a version that does not exist',
      `${outage}clients: [{ version: 6 }]\n`,
      'storm.yaml:7:22: clients.0.version: 6 is not known. allowed: "3.1", "3.1.1", 5',
    ],
    ['no title', 'faults: []\n', 'storm.yaml:1:1: title: title is missing: one line that says what happens'],
    ['nothing at all', '', 'storm.yaml:1:1: expected title, story'],
    ['broken YAML', 'title: "x\nfaults: [\n', 'storm.yaml:'],
    ['a key given twice', `${outage}title: again\n`, 'storm.yaml:7:1: not readable as YAML: map keys must be unique'],
  ])('with %s is refused in one clear message', (_, text, message) => {
    const problems = problemsOf(text)
    expect(problems[0]).toContain(message)
  })

  test('may set to 0 what makes sense at 0, and the retention to less than the run takes', () => {
    const settings =
      '{ broker: { takeoverStaggerMs: 0, retentionMs: 20000 }, proxy: { acknowledgeDelayMs: 0, window3x: 1, topicAliasMaximum: 0, topicAliasesToClient: 0 }, dns: { ttlSeconds: 0 } }'
    expect(load(`${outage}region: { settings: ${settings} }\n`).region.settings.dns).toEqual({ ttlSeconds: 0 })
  })

  test('ends its act of faults when everybody who was away is on the way back', () => {
    expect(endOfFaultsMs(load('title: x\nclients: [{ away: [{ at: 9s, for: 20s }] }]\n'))).toBe(30_000)
  })

  test('may set clocks back', () => {
    const { faults } = load('title: x\nfaults: [{ kind: clock-jump, machines: role broker, by: -1.5h, at: 9s }]\n')
    expect(faults[0]).toMatchObject({ kind: 'clock-jump', by: -5_400_000 })
  })

  test('tells every problem at once', () => {
    const problems = problemsOf(outage.replace('az2', 'az2\n    frm: power').replace('20s', '20'))
    expect(problems).toHaveLength(2)
  })
})

describe('--set', () => {
  test('changes the scenario, also where the file says nothing', () => {
    const scenario = load(
      outage,
      'faults.0.form=isolated',
      'clients.0.count=7',
      'region.settings.loadBalancer.probeIntervalMs=5000',
      'faults[0].for=10s',
    )
    expect(scenario.faults[0]).toMatchObject({ form: 'isolated', for: 10_000 })
    expect(scenario.clients).toHaveLength(1)
    expect(scenario.clients[0]!.count).toBe(7)
    expect(scenario.region.settings.loadBalancer?.probeIntervalMs).toBe(5000)
  })

  test.each<[string, string]>([
    ['clients.0.cuont=7', '--set clients.0.cuont=7: clients.0.cuont: unknown key cuont. allowed: count'],
    ['faults.0.at=-3s', '--set faults.0.at=-3s: faults.0.at: a duration cannot be negative: -3s'],
    [
      'region.settings.broker.retentionMs=0',
      '--set region.settings.broker.retentionMs=0: region.settings.broker.retentionMs: must be 1 or more: 0',
    ],
    ['faults.0.zone=az9', '--set faults.0.zone=az9: faults.0.zone: the region has no zone az9'],
    ['regoin.zones=5', '--set regoin.zones=5: regoin: unknown key regoin'],
    ['faults.3.at=5s', '--set faults.3.at=5s: faults has 1 items in the file, counted from 0'],
    ['faults.first.at=5s', '--set faults.first.at=5s: faults is a list: use a number, counted from 0'],
    ['title.long=5s', '--set title.long=5s: title is not a map'],
    ['count', '--set count: expected path=value'],
    ['title=[', '--set title=[: the value is not readable as YAML'],
  ])('%s is refused by name', (assignment, message) => {
    expect(problemsOf(outage, assignment)[0]).toContain(message)
  })
})

test.each(['[]', '{}'])('a scenario that expects nothing (%s) is refused, since its verdict would say nothing', (expected) => {
  expect(() => loadScenario(`title: x\nexpect: ${expected}\n`, { file: 'x.yaml', name: 'x' })).toThrow(
    /x\.yaml:2:9: expect: names no promise, so the run would say nothing/,
  )
})
