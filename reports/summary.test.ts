import { describe, expect, test } from 'vitest'
import type { TimeSummary } from '../checks/histogram.ts'
import { type PromiseId, type PromiseResult, promiseIds } from '../checks/promise.ts'
import type { RunResult } from '../scenarios/result.ts'
import { renderLine, renderSummary, renderTally } from './summary.ts'

const replay = 'npx squall run az-outage --seed 7'

function promise(id: PromiseId, changes: Partial<PromiseResult> = {}): PromiseResult {
  return { id, verdict: 'held', exercised: 1200, violations: [], violationCount: 0, ...changes }
}

function times(p50: number, p90: number, p99: number, max: number, count: number): TimeSummary {
  return { p50, p90, p99, max, count, buckets: count === 0 ? [] : [{ upToMs: p50 <= 50 ? 50 : 5000, count }] }
}

const held: RunResult = {
  scenario: 'az-outage',
  title: 'A zone loses power under load',
  description:
    'Everything in zone az2 goes dark at once: its broker, nameserver and proxy, its copy of every volume, its load balancer and DNS server.',
  seed: 7,
  verdict: 'held',
  promises: promiseIds
    .slice(0, 4)
    .map((id) => (id === 'qos0-at-most-once' ? promise(id, { verdict: 'not-exercised', exercised: 0 }) : promise(id))),
  notPromised: {},
  expected: { 'acked-survives': 'held', 'acked-delivered': 'held' },
  measures: {
    messagesPublished: 11_521,
    messagesPublishedAtMostOnce: 0,
    messagesPublishedExactlyOnce: 0,
    messagesAcknowledged: 11_520,
    messagesDelivered: 11_397,
    duplicates: 35,
    lost: 0,
    reconnects: 99,
    takeovers: 0,
    willsFired: 0,
    recovery: {
      total: times(4360, 7200, 7300, 7360.4, 99),
      detection: times(3490, 3800, 3900, 3960, 86),
      backOffAndConnect: times(1040, 2500, 2730, 2780, 86),
      edge: times(0, 1500, 2000, 2020, 86),
      backOff: times(660, 1100, 1280, 1300, 86),
      connect: times(42, 60, 81, 90, 86),
      tls: times(0, 0, 0, 0, 0),
      sessionLoad: times(49, 300, 348, 401, 86),
      service: times(8.7, 400, 619, 624, 99),
      again: times(0, 0, 0, 0, 0),
    },
    control: undefined,
  },
  facts: { clientsStruck: 50, shardsMoved: 4, copiesLost: 12, faults: 1 },
  drained: true,
  audit: { topics: 300, messages: 11_549, unanswered: [], malformed: [] },
  digest: 'bb85b74cf7d4ddb2',
  events: 228_959,
  simulatedSeconds: 89.2,
  wallSeconds: 0.876,
  story: [
    { timeUs: 20_000_000, tone: 'fault', text: 'zone az2 loses power, with 50 clients on a proxy in it' },
    {
      timeUs: 22_236_000,
      tone: 'notice',
      text: 'nameserver-1 and nameserver-3 call broker-2 silent, the last 0.10 s later, and this line is long enough to be broken',
    },
    { timeUs: 27_360_000, tone: 'client', text: 'the last of 99 clients is connected again, 7.36 s after the event' },
  ],
  history: [],
  goals: {},
}

const lostMessage = {
  promise: 'acked-survives',
  atUs: 60_000_000,
  text: '3 acknowledged messages of publisher 4 on data/4 (sequence 17 to 19) cannot be found at 60.000 s.',
  evidence: [
    { timeUs: 17_000_000, text: 'PUBACK to client-4 for message 17' },
    { timeUs: 20_000_000, text: 'zone az2 lost power' },
  ],
  signature: 'acked-survives: gone',
} as const

const violated: RunResult = {
  ...held,
  verdict: 'violated',
  promises: [
    promise('acked-survives', { verdict: 'violated', violationCount: 3, violations: [lostMessage, { ...lostMessage, atUs: 61_000_000 }] }),
    promise('acked-delivered', { verdict: 'not-exercised', exercised: 0 }),
    promise('no-phantom', { exercised: 1 }),
  ],
  measures: { ...held.measures, lost: 3 },
}

describe('the summary of a run', () => {
  test('tells a run that held', () => {
    expect(renderSummary(held, { colour: false, replay })).toMatchInlineSnapshot(`
      "az-outage  A zone loses power under load                                                      seed 7
        Everything in zone az2 goes dark at once: its broker, nameserver and proxy, its copy of every
        volume, its load balancer and DNS server.

      What happened
         20.000 s  ✖ zone az2 loses power, with 50 clients on a proxy in it
         22.236 s  ! nameserver-1 and nameserver-3 call broker-2 silent, the last 0.10 s later, and this
                     line is long enough to be broken
         27.360 s  ● the last of 99 clients is connected again, 7.36 s after the event

      Promises
        ✔ acked-survives       held           tested 1,200 times
        ✔ acked-delivered      held           tested 1,200 times
        ✔ qos2-exactly-once    held           tested 1,200 times
        ○ qos0-at-most-once    not exercised

      Recovery as clients felt it (50 were on a proxy that a fault struck)
                                       p50       p90       p99       max   clients
        until served again          4.36 s    7.20 s    7.30 s    7.36 s        99
          detection                 3.49 s    3.80 s    3.90 s    3.96 s        86
          edge                      0.0 ms    1.50 s    2.00 s    2.02 s        86
          back-off                  660 ms    1.10 s    1.28 s    1.30 s        86
          connect                    42 ms     60 ms     81 ms     90 ms        86
          session load               49 ms    300 ms    348 ms    401 ms        86
          until messages flow       8.7 ms    400 ms    619 ms    624 ms        99
        how the times spread    1 ms     10 ms    100 ms   1 s      10 s     100 s
        until served again                                       ██
          detection                                              ██
          edge                                 ██
          back-off                                               ██
          connect                              ██
          session load                         ██
          until messages flow                  ██

      Messages
           published  acknowledged     delivered    duplicated          lost
              11,521        11,520        11,397            35             0
        the auditor read 11,549 messages of 300 topics back over the network

      ✔ HELD  89 simulated seconds in 0.88 s, 228,959 events, digest bb85b74cf7d4ddb2"
    `)
  })

  test('proves a violation, and says how to play the run again', () => {
    expect(
      renderSummary({ ...violated, story: [] }, { colour: false, replay })
        .split('\n')
        .slice(3),
    ).toMatchInlineSnapshot(`
      [
        "",
        "Promises",
        "  ✖ acked-survives       violated       tested 1,200 times, violated 3 times",
        "  ○ acked-delivered      not exercised  but the scenario expects it to be put to the test",
        "  ✔ no-phantom           held           tested 1 time",
        "",
        "  ✖ 3 acknowledged messages of publisher 4 on data/4 (sequence 17 to 19) cannot be found at 60.000",
        "    s.",
        "       17.000 s  PUBACK to client-4 for message 17",
        "       20.000 s  zone az2 lost power",
        "    … and 2 more of acked-survives",
        "         replay  npx squall run az-outage --seed 7",
        "",
        "Recovery as clients felt it (50 were on a proxy that a fault struck)",
        "                                 p50       p90       p99       max   clients",
        "  until served again          4.36 s    7.20 s    7.30 s    7.36 s        99",
        "    detection                 3.49 s    3.80 s    3.90 s    3.96 s        86",
        "    edge                      0.0 ms    1.50 s    2.00 s    2.02 s        86",
        "    back-off                  660 ms    1.10 s    1.28 s    1.30 s        86",
        "    connect                    42 ms     60 ms     81 ms     90 ms        86",
        "    session load               49 ms    300 ms    348 ms    401 ms        86",
        "    until messages flow       8.7 ms    400 ms    619 ms    624 ms        99",
        "  how the times spread    1 ms     10 ms    100 ms   1 s      10 s     100 s",
        "  until served again                                       ██",
        "    detection                                              ██",
        "    edge                                 ██",
        "    back-off                                               ██",
        "    connect                              ██",
        "    session load                         ██",
        "    until messages flow                  ██",
        "",
        "Messages",
        "     published  acknowledged     delivered    duplicated          lost",
        "        11,521        11,520        11,397            35             3",
        "  the auditor read 11,549 messages of 300 topics back over the network",
        "",
        "✖ VIOLATED  89 simulated seconds in 0.88 s, 228,959 events, digest bb85b74cf7d4ddb2",
        "  acked-survives violated, acked-delivered not exercised",
        "  replay: npx squall run az-outage --seed 7",
      ]
    `)
  })

  test('is no wider than 100 columns, and has the same words with colour and without', () => {
    for (const result of [held, violated]) {
      const plain = renderSummary(result, { colour: false, replay })
      for (const line of plain.split('\n')) expect(line.length).toBeLessThanOrEqual(100)
      const coloured = renderSummary(result, { colour: true, replay })
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape is what is looked for
      expect(coloured.replace(/\x1b\[\d+m/g, '')).toBe(plain)
      expect(coloured).not.toBe(plain)
    }
  })

  test('says so when a violation was expected', () => {
    const expected = renderSummary({ ...violated, verdict: 'held', expected: { 'acked-survives': 'violated' } }, { colour: false, replay })
    expect(expected).toMatch(/acked-survives +violated +tested 1,200 times, violated 3 times, as expected/)
  })

  test('says where volumes of the kind never promised what was violated', () => {
    const line = 'zonal volumes do not promise this: the one copy is gone'
    expect(renderSummary({ ...violated, notPromised: { 'acked-survives': line } }, { colour: false, replay })).toContain(`\n    ${line}\n`)
    expect(renderSummary(violated, { colour: false, replay })).not.toContain('do not promise')
  })

  test('says that the drain was not over when its time was', () => {
    expect(renderSummary({ ...held, drained: false }, { colour: false, replay })).toContain('the drain was not over after 600 s')
    expect(renderSummary(held, { colour: false, replay })).not.toContain('drain')
  })

  test('says what the auditor could not read', () => {
    const unread = { ...held, audit: { topics: 300, messages: 9, unanswered: ['data/1', 'data/2'], malformed: [] } }
    expect(renderSummary(unread, { colour: false, replay })).toContain('the auditor could not read 2 of 300 topics')
  })
})

test('many runs get a line each and a sum', () => {
  expect([
    renderLine(held, { colour: false, nameWidth: 18 }),
    renderLine(violated, { colour: false, nameWidth: 18 }),
    renderTally([held, held, violated, { scenario: 'calm', verdict: 'broken' }], 12.34, { colour: false }),
  ]).toMatchInlineSnapshot(`
    [
      "✔ az-outage          seed 7    held     11,520 acknowledged, 0 lost, 99 back, worst 7.36 s",
      "✖ az-outage          seed 7    violated acked-survives, acked-delivered",
      "
    4 runs in 12.3 s: 2 held, 1 violated, 1 broken off",
    ]
  `)
})

describe('the console', () => {
  test('is compared with and without where there were times of both', () => {
    const control = { withConsole: times(4, 6, 9, 20, 4000), withoutConsole: times(4, 6, 10, 18, 1000) }
    const text = renderSummary({ ...held, measures: { ...held.measures, control } }, { colour: false, replay })
    expect(text.replace(/ +/g, ' ')).toContain('without it 4.0 ms 6.0 ms 10 ms 18 ms 1,000')
    const never = { ...control, withoutConsole: times(0, 0, 0, 0, 0) }
    expect(renderSummary({ ...held, measures: { ...held.measures, control: never } }, { colour: false, replay })).not.toContain(
      'without it',
    )
  })
})

describe('the failover of the service', () => {
  const failover = {
    shardFailover: times(3600, 3700, 3720, 3720, 4),
    routeRefresh: times(40, 60, 70, 70, 8),
    shards: 4,
    ownerlessMs: 30_020,
    routesMs: 480,
    expiryMs: 120_000,
    scanIntervalMs: 5000,
    heartbeatIntervalMs: 30_000,
    routePullIntervalMs: 20_000,
  }

  test('says how long shards had no owner and proxies did not know it, and by which settings', () => {
    const text = renderSummary({ ...held, failover }, { colour: false, replay }).replace(/\s+/g, ' ')
    expect(text).toContain(
      'shard failover 3.60 s 3.70 s 3.72 s 3.72 s 4 route refresh 40 ms 60 ms 70 ms 70 ms 8 4 shards were without an owner, for up to 30.02 s.',
    )
    expect(text).toContain('A silent broker is given up after 120 s (nameserver.expiryMs)')
    expect(text).toContain(
      '(nameserver.expiryMs), looked for every 5.00 s (nameserver.scanIntervalMs), which the others learn with a heartbeat, every 30.00 s (broker.heartbeatIntervalMs).',
    )
    expect(text).toContain('Proxies knew the new owners up to 480 ms later. They ask after an error, and every 20.00 s')
    expect(renderSummary({ ...held, failover: { ...failover, shards: 1 } }, { colour: false, replay })).toContain('1 shard was without')
  })

  const why = (changes: Partial<typeof failover>) => {
    const text = renderSummary({ ...held, failover: { ...failover, ...changes } }, { colour: false, replay }).replace(/\s+/g, ' ')
    return /Why not within seconds: .*? can be quicker than that\./.exec(text)?.[0]
  }

  test('says why clients were not back within seconds, where it is the reason, and nothing where it is not', () => {
    expect(why({ ownerlessMs: 121_700, routesMs: 17_320 })).toBe(
      'Why not within seconds: shard failover took 122 s of it, since nameservers call a broker dead only after 120 s of silence (nameserver.expiryMs), and proxies learnt the new owners up to 17.32 s later. No client can be quicker than that.',
    )
    expect(why({ ownerlessMs: 30_020 })).toMatch(/30.02 s of it, since the fault was over before any nameserver calls a broker dead/)
    expect(why({ ownerlessMs: 3100, routesMs: 900, expiryMs: 3000 })).toBeUndefined()
  })

  test('is left out where no shard was taken over', () => {
    expect(renderSummary(held, { colour: false, replay })).not.toContain('Failover')
  })
})

describe('work that waited for a core', () => {
  const queue = { role: 'proxy', waits: times(53, 180, 213, 215, 5227), peak: 838, peakMachine: 'proxy-3', peakAtMs: 31_104 }

  test('is shown by what it was and where, as percentiles, bars and the longest line', () => {
    const text = renderSummary({ ...held, queues: { handlers: [], tlsHandshakes: [queue] } }, { colour: false, replay })
    expect(text.split('\n').slice(text.split('\n').indexOf('Work that waited for a core'), -6)).toMatchInlineSnapshot(`
      [
        "Work that waited for a core",
        "                                 p50       p90       p99       max    waited",
        "  TLS handshakes, proxy        53 ms    180 ms    213 ms    215 ms     5,227",
        "  how the times spread    1 ms     10 ms    100 ms   1 s      10 s     100 s",
        "  TLS handshakes, proxy                                    ██",
        "  proxy-3 had up to 838 TLS handshakes in line, at 31.104 s; the longest wait was 215 ms.",
        "",
      ]
    `)
  })

  test('is left out where nobody would notice', () => {
    const short = { ...queue, waits: times(0.1, 1, 2, 5, 40) }
    expect(renderSummary({ ...held, queues: { handlers: [short], tlsHandshakes: [] } }, { colour: false, replay })).not.toContain('waited')
  })
})
