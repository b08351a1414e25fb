/**
 * The scenario format: what is played (region, clients, workload), what is done to it (faults with their times), and what is expected of it
 * (budgets, promises). Plain data: people write it as YAML, generators build it, shrinking takes parts out of it. Everything but a title has a default,
 * so that ten lines are a scenario.
 *
 * Times count from the start of the run. In a file they carry their unit (`30s`); in a parsed `Scenario` they are milliseconds.
 * Settings of the service go by the names, and the units, of `model/settings.ts`.
 */
import * as z from 'zod'
import { type PromiseId, promiseIds } from '../checks/promise.ts'
import { defaultSettings, type ServiceSettings } from '../model/settings.ts'
import { byKind, choice, clockChange, describe, duration, fraction, integer, strict, unknownKey, wholeSeconds } from './fields.ts'
import { selectorSchema } from './selector.ts'

const period = duration.refine((periodMs) => periodMs >= 1, { error: 'a period must be 1ms or more' })
const zoneName = z.string({ error: (issue) => `expected the name of a zone, such as az2, found ${describe(issue.input)}` })
const at = duration.describe('When it begins, counted from the start of the run.')
const lasting = duration.optional().describe('How long it lasts; without it, until the end of the act of faults.')
const selector = selectorSchema
/** YAML 1.2 has no other words for it: `yes` is a text. */
const trueOrFalse = z.boolean({ error: (issue) => `expected true or false, found ${describe(issue.input)}` })

export const faultSchema = byKind([
  strict({
    kind: z.literal('zone-outage'),
    zone: zoneName,
    form: choice(['power', 'isolated'])
      .default('power')
      .describe('power: machines go dark. isolated: they run, and no packet enters or leaves.'),
    at,
    for: lasting,
  }),
  strict({ kind: z.literal('crash'), machines: selector, at, for: lasting }),
  strict({ kind: z.literal('restart'), machines: selector, at }),
  strict({ kind: z.literal('power-loss'), machines: selector, at, for: lasting }),
  strict({ kind: z.literal('pause'), machines: selector, at, for: lasting }),
  strict({
    kind: z.literal('partition'),
    from: selector,
    to: selector,
    bothWays: trueOrFalse.default(true),
    at,
    for: lasting,
  }),
  strict({
    kind: z.literal('link'),
    from: selector,
    to: selector,
    addedLatency: duration.prefault('0s'),
    loss: fraction().default(0).describe('The share of packets lost, 0 to 1.'),
    at,
    for: lasting,
  }),
  strict({ kind: z.literal('connection-reset'), from: selector, to: selector, at }),
  strict({ kind: z.literal('sync-failure'), machines: selector, probability: fraction().default(1), at, for: lasting }),
  strict({ kind: z.literal('disk-stall'), machines: selector, at, for: lasting }),
  strict({
    kind: z.literal('clock-jump'),
    machines: selector,
    by: clockChange.describe('By how much their wall clocks jump; negative for backwards.'),
    at,
  }),
])

/**
 * Settings that may be 0: nobody waits for his turn, nothing waits for a frame to ride on, nothing is cached (RFC 1035, section 3.2.1), no topic aliases.
 * Not the Receive Maximum (MQTT 5, section 3.2.2.3.3).
 */
const MAY_BE_ZERO: ReadonlySet<string> = new Set([
  'takeoverStaggerMs',
  'acknowledgeDelayMs',
  'ttlSeconds',
  'topicAliasMaximum',
  'topicAliasesToClient',
])
/** What goes over the wire in two bytes, and in four; and the others. */
const TWO_BYTES: ReadonlySet<string> = new Set(['receiveMaximum', 'topicAliasMaximum', 'topicAliasesToClient', 'maximumKeepaliveSeconds'])
const FOUR_BYTES: ReadonlySet<string> = new Set(['leaseMs', 'sessionLeaseMs', 'ttlSeconds'])

function settingSchema(name: string, value: unknown): z.ZodOptional<z.ZodNumber> {
  const [most, bytes] = TWO_BYTES.has(name)
    ? [0xffff, 'two bytes']
    : FOUR_BYTES.has(name)
      ? [0xffff_ffff, 'four bytes']
      : [Number.MAX_SAFE_INTEGER, 'a number without loss']
  const tooMuch = ({ input }: { readonly input?: unknown }) => `must be ${most} or less, to fit into ${bytes}: ${describe(input)}`
  const kind = `a whole number${name.endsWith('Ms') ? ' of milliseconds' : ''}`
  return z
    .int({
      error: (issue) => (issue.code === 'too_big' ? tooMuch(issue) : `expected ${kind}, found ${describe(issue.input)}`),
      abort: true,
    })
    .min(MAY_BE_ZERO.has(name) ? 0 : 1, {
      error: ({ input }) => (Number(input) < 0 ? `cannot be negative: ${describe(input)}` : `must be 1 or more: ${describe(input)}`),
    })
    .max(most, { error: tooMuch })
    .optional()
    .describe(`Default ${value}.`)
}

const optionalNumbers = <T extends object>(defaults: T) =>
  strict(
    Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, settingSchema(name, value)])) as {
      [K in keyof T]: z.ZodOptional<z.ZodNumber>
    },
  )

const settingsSchema = strict({
  nameserver: optionalNumbers(defaultSettings.nameserver).optional(),
  broker: optionalNumbers(defaultSettings.broker).optional(),
  volume: optionalNumbers(defaultSettings.volume).optional(),
  proxy: optionalNumbers(defaultSettings.proxy).optional(),
  loadBalancer: optionalNumbers(defaultSettings.loadBalancer).optional(),
  dns: optionalNumbers(defaultSettings.dns).optional(),
} satisfies Record<keyof ServiceSettings, unknown>)

const regionSchema = strict({
  zones: integer(1, 9).default(3),
  nameserversPerZone: integer(1, 9).default(1),
  brokersPerZone: integer(1, 9).default(1),
  proxiesPerZone: integer(1, 9).default(1),
  topicShards: integer(1, 64).default(6),
  sessionShards: integer(1, 64).default(6),
  access: choice(['permissions', 'open'])
    .default('permissions')
    .describe('permissions: each client has a user name and password, and may do just what it does. open: anybody may do anything.'),
  topicCreation: choice(['console', 'auto'])
    .default('console')
    .describe('console: the first levels of the topics that clients use are created beforehand. auto: topics come about by being used.'),
  settings: settingsSchema.prefault({}),
})

const versions = { '3.1': 3, '3.1.1': 4, '5': 5 } as const
const version = z
  .union([z.literal(5), choice(['3.1', '3.1.1', '5'])], {
    error: (issue) => `${describe(issue.input)} is not known. allowed: "3.1", "3.1.1", 5`,
  })
  .transform((text) => versions[String(text) as keyof typeof versions])

const qos = z.literal([0, 1, 2], { error: (issue) => `${describe(issue.input)} is not a quality of service. allowed: 0, 1, 2` })

/** Intervals of MQTT 5 are four bytes wide; a year is more than any run. */
const YEAR_SECONDS = 31_536_000

const publishSchema = strict({
  qos: qos.default(1),
  every: period.prefault('1s'),
  payloadBytes: integer(10, 65_536).default(64),
  retain: trueOrFalse.default(false),
  expiry: wholeSeconds(1, YEAR_SECONDS)
    .optional()
    .describe('MQTT 5: how long each message may wait for a subscriber (Message Expiry Interval).'),
})

const subscribeSchema = strict({
  qos: qos.default(1),
  topics: choice(['ring', 'fan-in', 'wills'])
    .default('ring')
    .describe(
      'ring: client n+1 subscribes to the topic of client n. fan-in: the client subscribes to every topic, by a wildcard. wills: to the wills of all clients.',
    ),
  share: z
    .string({ error: (issue) => `expected the name of a group, found ${describe(issue.input)}` })
    // [MQTT-4.8.2-1, MQTT-4.8.2-2]
    .regex(/^[^/+#]+$/, { error: (issue) => `the name of a group has at least one character and none of / + #: ${describe(issue.input)}` })
    .optional()
    .describe('MQTT 5: the subscription is shared with all clients that name the same group, and one of them gets each message.'),
  again: period
    .optional()
    .describe('How often the client subscribes again while it is connected, which has the retained messages sent again.'),
  noLocal: trueOrFalse.default(false).describe('MQTT 5: what the client itself publishes does not come back to it.'),
})

const willSchema = strict({
  qos: qos.default(1),
  retain: trueOrFalse.default(false),
  delay: wholeSeconds(0, YEAR_SECONDS).prefault('0s').describe('MQTT 5: how long after the connection ended it is published.'),
})

const awaySchema = strict({
  at: duration.describe(
    'When the clients go away, counted from the start of the run, each at most a second later. They publish nothing meanwhile.',
  ),
  for: period.describe('How long each is away.'),
  ending: choice(['disconnect', 'disconnect-with-will', 'drop'])
    .default('disconnect')
    .describe('How the connection ends: by DISCONNECT, by one that has the will published (MQTT 5), or without a word.'),
})

const clientGroupSchema = strict({
  count: integer(1, 10_000).default(100),
  profile: choice(['recommended', 'mqtt.js']).default('recommended').describe('Whose reconnect habits these clients have.'),
  version: version.default(5),
  cleanStart: trueOrFalse.default(false),
  sessionExpiry: wholeSeconds(0, YEAR_SECONDS).optional().describe('MQTT 5: how long the session outlives its connection. Default 1h.'),
  keepalive: wholeSeconds(1, 65_535).optional().describe('That of the profile where it is left out.'),
  leavesSocketsOpen: trueOrFalse
    .default(false)
    .describe(
      'A connection that such a client gives up stays open, as with a device that changed its network: its proxy hears nothing of it.',
    ),
  publish: z.union([z.literal('none'), publishSchema]).prefault({}),
  subscribe: z.union([z.literal('none'), subscribeSchema]).prefault({}),
  will: willSchema.optional().describe('What is published, to a topic of its own, for a client whose connection ends without DISCONNECT.'),
  away: z.array(awaySchema).default([]).describe('When the clients of this group are away; they come back with the state they had.'),
})

const workloadSchema = strict({
  warmUp: duration.prefault('8s').describe('Until then the region starts and clients connect.'),
  duration: duration.optional().describe('How long faults and load go on after the warm-up; at least until the last fault is over.'),
  settle: duration.prefault('20s').describe('With every fault taken out, before publishing stops.'),
  drain: duration.prefault('8s').describe('Without publishing, before the audit.'),
})

const budgetsSchema = strict({
  reconnect: duration
    .prefault('10s')
    .describe('R: how long a client may take to be served again once it knows that its connection is lost.'),
  routes: duration.prefault('5s').describe('How long a proxy that reaches a nameserver may go by an old route.'),
  progress: duration.prefault('5s').describe('How long a message may wait for a connected subscriber.'),
})

const expectationSchema = choice(['held', 'violated'])
const promiseSchema = choice(promiseIds as unknown as readonly [PromiseId, ...PromiseId[]])

export const scenarioSchema = strict({
  title: z
    .string({
      error: (issue) =>
        issue.input === undefined ? 'title is missing: one line that says what happens' : `expected a text, found ${describe(issue.input)}`,
    })
    .min(1),
  story: z.string().default('').describe('A few sentences: what happens, and why it is worth playing.'),
  statements: z.array(z.string()).default([]).describe('Ids of the statements of a standard that this puts to the test.'),
  tags: z.array(z.string()).default([]),
  seed: integer(0, 0xffff_ffff).optional().describe('Played when the command names no seed.'),
  region: regionSchema.prefault({}),
  clients: z.array(clientGroupSchema).min(1, { error: 'at least one group of clients is needed' }).prefault([{}]),
  workload: workloadSchema.prefault({}),
  faults: z.array(faultSchema).default([]),
  budgets: budgetsSchema.prefault({}),
  expect: z
    .union([
      z.array(promiseSchema),
      z.partialRecord(promiseSchema, expectationSchema, {
        error: (issue) => {
          const unknown = issue as unknown as { readonly code: string; readonly keys: readonly string[] }
          return unknown.code === 'unrecognized_keys' ? unknown.keys.map((key) => unknownKey(key, promiseIds)).join('; ') : undefined
        },
      }),
    ])
    .optional()
    .describe('Promises that must be put to the test and held, as a list; or a map from promise to held or violated.'),
})

/** A scenario as it stands in a file. */
export type ScenarioFile = z.input<typeof scenarioSchema>
/** A scenario with every default filled in and times in milliseconds. */
export type Scenario = z.output<typeof scenarioSchema> & { readonly name: string }
export type ScenarioFault = z.output<typeof faultSchema>
export type ClientGroup = z.output<typeof clientGroupSchema>
export type Expectation = z.output<typeof expectationSchema>

/** The editor's schema. */
export function scenarioJsonSchema(): unknown {
  return { ...z.toJSONSchema(scenarioSchema, { io: 'input' }), title: 'Squall scenario' }
}

/** Promises whose test every run brings about, whatever its faults. */
const ALWAYS: readonly PromiseId[] = ['acked-delivered', 'publisher-order', 'no-phantom', 'progress', 'wire-legal', 'no-crash']

/** What is expected of the run: what the scenario says, or else what its faults are bound to put to the test. */
export function expectations(scenario: Scenario): ReadonlyMap<PromiseId, Expectation> {
  const expect = scenario.expect
  if (Array.isArray(expect)) return new Map(expect.map((id) => [id, 'held']))
  if (expect !== undefined) return new Map(Object.entries(expect) as [PromiseId, Expectation][])
  const ids: PromiseId[] = [...ALWAYS]
  const outage = scenario.faults.some((fault) => fault.kind === 'zone-outage')
  if (outage) ids.push('acked-survives', 'session-kept', 'one-owner', 'reconnect-in-time', 'routes-converge')
  return new Map(promiseIds.filter((id) => ids.includes(id)).map((id) => [id, 'held']))
}

/** How long the drain may go on while messages still move, and the audit. */
export const DRAIN_BUDGET_MS = 600_000
export const AUDIT_BUDGET_MS = 60_000

/** By when a run has ended at the latest, with a minute to spare. */
export function latestEndMs(scenario: Scenario): number {
  const { settle, drain } = scenario.workload
  return endOfFaultsMs(scenario) + settle + drain + DRAIN_BUDGET_MS + AUDIT_BUDGET_MS + 60_000
}

/** Clients start to connect after this share of the warm-up, and each has after another of this. The nameservers call nobody silent for their first 3 s. */
export const CLIENTS_START_SHARE = 0.5
export const CLIENTS_STAGGER_SHARE = 0.25
/** Clients of a group go away, and come back, spread over this long. */
export const AWAY_STAGGER_MS = 1000

/** When the act of faults ends: every fault is over, and who was away is on the way back. */
export function endOfFaultsMs(scenario: Scenario): number {
  const { warmUp, duration } = scenario.workload
  let end = warmUp
  for (const { away } of scenario.clients) for (const period of away) end = Math.max(end, period.at + period.for + AWAY_STAGGER_MS)
  for (const fault of scenario.faults) end = Math.max(end, fault.at + (('for' in fault ? fault.for : undefined) ?? 0))
  return duration === undefined ? end : Math.max(end, warmUp + duration)
}
