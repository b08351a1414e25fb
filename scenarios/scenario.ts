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
import { profileNames } from '../model/client/profiles.ts'
import { loadBalancerProfileNames } from '../model/cloud/profiles.ts'
import { serviceProfileNames } from '../model/service-profiles.ts'
import { defaultSettings, type ServiceSettings } from '../model/settings.ts'
import { notPromised, volumeKinds } from '../model/volume/kinds.ts'
import { faultSchema, type PlainFault } from './fault-schema.ts'
import { choice, choiceProblem, describe, duration, integer, strict, trueOrFalse, unknownKey, wholeSeconds } from './fields.ts'
import { statementProblem } from './statements.ts'

const period = duration.refine((periodMs) => periodMs >= 1, { error: 'a period must be 1ms or more' })
/**
 * Settings that may be 0: nobody waits for his turn, silence is looked for at each question, a nameserver trusts itself at once, a target has its full share at once, or is not drained, addresses stay where they are, nothing waits for a frame to
 * ride on, nothing is cached (RFC 1035, section 3.2.1), no topic aliases.
 * Not the Receive Maximum (MQTT 5, section 3.2.2.3.3).
 */
const MAY_BE_ZERO: ReadonlySet<string> = new Set([
  'rebalanceIntervalMs',
  'maximumClockDriftPpm',
  'takeoverStaggerMs',
  'acknowledgeDelayMs',
  'ttlSeconds',
  'scanIntervalMs',
  'slowStartMs',
  'drainMs',
  'addressFailoverMs',
  'spareInstancesPerZone',
  'unknownForExpiries',
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

const optionalFlag = (value: boolean) =>
  z
    .boolean({ error: (issue) => `expected true or false, found ${describe(issue.input)}` })
    .optional()
    .describe(`Default ${value}.`)

const { probe, resetUnhealthy, crossZone, ...loadBalancerNumbers } = defaultSettings.loadBalancer
const { healthDriven, ...dnsNumbers } = defaultSettings.dns

const settingsSchema = strict({
  nameserver: optionalNumbers(defaultSettings.nameserver).optional(),
  broker: optionalNumbers(defaultSettings.broker).optional(),
  volume: optionalNumbers(defaultSettings.volume).optional(),
  proxy: optionalNumbers(defaultSettings.proxy).optional(),
  console: optionalNumbers(defaultSettings.console).optional(),
  loadBalancer: strict({
    ...optionalNumbers(loadBalancerNumbers).shape,
    probe: choice(['tcp', 'mqtt']).optional().describe(`What a probe asks for: a TCP handshake, or a CONNACK. Default ${probe}.`),
    resetUnhealthy: optionalFlag(resetUnhealthy),
    crossZone: optionalFlag(crossZone),
  }).optional(),
  dns: strict({ ...optionalNumbers(dnsNumbers).shape, healthDriven: optionalFlag(healthDriven) }).optional(),
  instanceGroup: optionalNumbers(defaultSettings.instanceGroup).optional(),
} satisfies Record<keyof ServiceSettings, unknown>)

const quotaFields = {
  connectionsPerProxy: integer(1, 10_000_000).optional().describe('No limit by default.'),
  messagesPerSecond: integer(1, 1_000_000).optional().describe('Of one client. No limit by default.'),
  filtersPerClient: integer(1, 10_000).optional(),
  payloadBytes: integer(1, 268_435_455).optional(),
}

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
  quotas: strict(quotaFields)
    .optional()
    .describe('What the console has set before the start. Filters and payload by default as in "settings".'),
  profile: choice(serviceProfileNames)
    .default('seconds')
    .describe(
      'Whose settings the region runs by; rocketmq-defaults: the open defaults of RocketMQ, with which a region takes 110s more to stand, and all times count from then. "settings" stand over them.',
    ),
  loadBalancerProfile: choice(loadBalancerProfileNames)
    .default('default')
    .describe('Whose defaults the load balancers run by: our own, or those of a cloud. "settings" stand over them.'),
  settings: settingsSchema.prefault({}),
})

const volumesSchema = strict({
  kind: choice([...volumeKinds])
    .default('regional')
    .describe(
      'regional: a copy in every zone. zonal: one copy in one zone, and backup points in others. replicated: the brokers hold the copies on their own disks.',
    ),
  backupInterval: period
    .optional()
    .describe('zonal: how often a backup point is taken. What came after the last one is lost with the disk. Default 60s.'),
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
  profile: choice(profileNames).default('recommended').describe('Whose reconnect habits these clients have.'),
  version: version.default(5),
  cleanStart: trueOrFalse.default(false),
  sessionExpiry: wholeSeconds(0, YEAR_SECONDS).optional().describe('MQTT 5: how long the session outlives its connection. Default 1h.'),
  keepalive: wholeSeconds(1, 65_535).optional().describe('That of the profile where it is left out.'),
  reconnectBudget: duration.optional().describe('R for these clients, in place of budgets.reconnect.'),
  access: choice(['public', 'vpc'])
    .default('public')
    .describe('public: by the public name, from the internet. vpc: by the name of the virtual network, from inside it.'),
  resolver: choice(['ttl', 'ttl-serve-stale', 'pinned', 'for-ever'])
    .optional()
    .describe(
      'How long an address that DNS gave is used: for its TTL, longer while no DNS server answers, the first one for ever, all of them for ever. That of the profile where it is left out.',
    ),
  leavesSocketsOpen: trueOrFalse
    .default(false)
    .describe(
      'A connection that such a client gives up stays open, as with a device that changed its network: its proxy hears nothing of it.',
    ),
  tls: z
    .union([z.boolean(), choice(['1.2', '1.3'])], {
      error: (issue) => `${describe(issue.input)} is not known. allowed: true, false, "1.2", "1.3"`,
    })
    .transform((tls) => (tls === true ? '1.3' : tls === false ? undefined : tls))
    .optional()
    .describe(
      'Connects over TLS, as its cost and its round trips: a full handshake of 1.3 (true) or 1.2, which takes a millisecond of a core of the proxy. Nothing is encrypted, no session is resumed. Default false.',
    ),
  publish: z.union([z.literal('none'), publishSchema]).prefault({}),
  subscribe: z.union([z.literal('none'), subscribeSchema]).prefault({}),
  will: willSchema.optional().describe('What is published, to a topic of its own, for a client whose connection ends without DISCONNECT.'),
  away: z.array(awaySchema).default([]).describe('When the clients of this group are away; they come back with the state they had.'),
})

const FIRST_LEVEL = /^[^/+#$][^/+#]*$/
const topicName = z
  .string({ error: (issue) => `expected a first level of topics, found ${describe(issue.input)}` })
  .regex(FIRST_LEVEL, { error: (issue) => `a first level of topics has no / + # and does not begin with $: ${describe(issue.input)}` })

const text = (what: string) =>
  z
    .string({ error: (issue) => `expected ${what}, found ${describe(issue.input)}` })
    .min(1, { error: (issue) => `expected ${what}, found ${describe(issue.input)}` })

const consoleSteps = [
  strict({ at: duration, createTopic: topicName }),
  strict({ at: duration, deleteTopic: topicName }),
  strict({ at: duration, setQuotas: strict(quotaFields) }),
  strict({ at: duration, listClients: integer(1, 1000) }),
  strict({ at: duration, kickClient: text('the id of a client') }),
  strict({ at: duration, findMessages: text('a topic') }),
  strict({ at: duration, traceMessage: text('a topic') }),
] as const
const consoleRequests = consoleSteps.flatMap(({ shape }) => Object.keys(shape).filter((key) => key !== 'at'))

/** @returns undefined where there is one request, whatever else is wrong with it */
function consoleStepProblem(step: unknown): string | undefined {
  const known = `known: ${consoleRequests.join(', ')}`
  if (typeof step !== 'object' || step === null || Array.isArray(step))
    return `expected at and one request, found ${describe(step)}. ${known}`
  const keys = Object.keys(step).filter((key) => key !== 'at')
  const asked = keys.filter((key) => consoleRequests.includes(key))
  if (asked.length === 1) return undefined
  if (asked.length > 1) return `one request a step, found ${asked.join(' and ')}; ${known}`
  const [first] = keys
  return first === undefined ? `one request a step, found none; ${known}` : unknownKey(first, ['at', ...consoleRequests])
}

const consoleRequestSchema = z
  .union(consoleSteps, { error: ({ input }) => consoleStepProblem(input) })
  .describe('What an operator asks of the console, and when, from the start of the run.')

const intruderSchema = strict({
  from: choice(['internet', 'vpc'])
    .default('internet')
    .describe('internet: a stranger. vpc: a client of the virtual network that goes beyond what it was given.'),
  dials: choice(['broker', 'nameserver', 'volume', 'console', 'load-balancer', 'instance-group'])
    .default('broker')
    .describe(
      'All machines of this role, each every few seconds, by address: by connections, and brokers, load balancers (the port at which they are told of targets) and controllers of the instance group by datagrams.',
    ),
})

const workloadSchema = strict({
  warmUp: duration.prefault('8s').describe('Until then the region starts and clients connect.'),
  duration: duration
    .optional()
    .describe(
      'How long faults and load go on after the warm-up; at least until the last fault is over and the last request to the console is made.',
    ),
  settle: duration.prefault('20s').describe('With every fault taken out, before publishing stops.'),
  drain: duration.prefault('8s').describe('Without publishing, before the audit.'),
})

const budgetsSchema = strict({
  reconnect: duration
    .prefault('10s')
    .describe('R: how long a client may take to be served again once it knows that its connection is lost.'),
  routes: duration.prefault('5s').describe('How long a proxy that reaches a nameserver may go by an old route.'),
  progress: duration.prefault('5s').describe('How long a message may wait for a connected subscriber.'),
  console: duration
    .prefault('5s')
    .describe(
      'How long the console may take for an answer, while a majority of its machines is in order, and what it changed to be in force.',
    ),
  replacement: duration.prefault('75s').describe('How long a proxy may be lost until another one stands in its place.'),
})

const statementSchema = z
  .string({ error: (issue) => `expected the id of a statement, found ${describe(issue.input)}` })
  .refine((id) => statementProblem(id) === undefined, { error: ({ input }) => statementProblem(String(input)) })

const expectationSchema = z
  .union([choice(['held', 'violated']), strict({ violatedAtMost: integer(1, 1_000_000) })], {
    error: (issue) => choiceProblem(issue.input, ['held', 'violated', '{ violatedAtMost: <number> }']),
  })
  .describe('violatedAtMost: violated, as it has to be, and no more often than that: so that the lesson hides no other failure.')
const promiseSchema = choice(promiseIds as unknown as readonly [PromiseId, ...PromiseId[]])

/** A run of which nothing is expected would hold whatever it does. */
const NOTHING_EXPECTED = 'names no promise, so the run would say nothing: name one, or leave expect out for what every run puts to the test'

export const scenarioSchema = strict({
  title: z
    .string({
      error: (issue) =>
        issue.input === undefined ? 'title is missing: one line that says what happens' : `expected a text, found ${describe(issue.input)}`,
    })
    .min(1),
  story: z.string().default('').describe('A few sentences: what happens, and why it is worth playing.'),
  statements: z
    .array(statementSchema)
    .default([])
    .describe('Which statements this puts to the test: H1 to H15, of a highly available service, or some of the MQTT 5 standard.'),
  tags: z
    .array(z.string())
    .default([])
    .describe('Words to find it by. slow: a run takes more than about five seconds, and `run --all` plays only the first seed.'),
  seed: integer(0, 0xffff_ffff).optional().describe('Played when the command names no seed.'),
  region: regionSchema.prefault({}),
  volumes: volumesSchema.prefault({}),
  clients: z.array(clientGroupSchema).min(1, { error: 'at least one group of clients is needed' }).prefault([{}]),
  workload: workloadSchema.prefault({}),
  faults: z.array(faultSchema).default([]),
  console: z.array(consoleRequestSchema).default([]).describe('Requests to the console, by an operator on the virtual network.'),
  intruders: z.array(intruderSchema).default([]).describe('Who tries to reach machines that clients may not reach.'),
  budgets: budgetsSchema.prefault({}),
  expect: z
    .union([
      z.array(promiseSchema).min(1, { error: NOTHING_EXPECTED }),
      z
        .partialRecord(promiseSchema, expectationSchema, {
          error: (issue) => {
            const unknown = issue as unknown as { readonly code: string; readonly keys: readonly string[] }
            return unknown.code === 'unrecognized_keys' ? unknown.keys.map((key) => unknownKey(key, promiseIds)).join('; ') : undefined
          },
        })
        .refine((expected) => Object.keys(expected).length > 0, { error: NOTHING_EXPECTED }),
    ])
    .optional()
    .describe(
      'Promises that must be put to the test and held, as a list; or a map from promise to held, violated or { violatedAtMost: 20 }.',
    ),
})

/** A scenario as it stands in a file. */
export type ScenarioFile = z.input<typeof scenarioSchema>
/** A scenario with every default filled in and times in milliseconds. */
export type Scenario = z.output<typeof scenarioSchema> & { readonly name: string }
export type ConsoleStep = z.output<typeof consoleRequestSchema>
export type ClientGroup = z.output<typeof clientGroupSchema>
export type Expectation = z.output<typeof expectationSchema>

/** The editor's schema. */
export function scenarioJsonSchema(): unknown {
  return { ...z.toJSONSchema(scenarioSchema, { io: 'input' }), title: 'Squall scenario' }
}

/** Promises whose test every run brings about, whatever its faults. */
const ALWAYS: readonly PromiseId[] = ['acked-delivered', 'publisher-order', 'no-phantom', 'progress', 'wire-legal', 'no-crash']

/** Forms of a zone outage after which shards, sessions and clients have to be elsewhere. */
const MOVING_FORMS: ReadonlySet<string> = new Set(['power', 'isolated', 'gradual'])

function takesZoneAway(fault: PlainFault): boolean {
  return fault.kind === 'zone-outage' && MOVING_FORMS.has(fault.form)
}

/** What is expected of the run: what the scenario says, or else what its faults are bound to put to the test. */
export function expectations(scenario: Scenario): ReadonlyMap<PromiseId, Expectation> {
  const expect = scenario.expect
  if (Array.isArray(expect)) return new Map(expect.map((id) => [id, 'held']))
  if (expect !== undefined) return new Map(Object.entries(expect) as [PromiseId, Expectation][])
  const ids: PromiseId[] = [...ALWAYS]
  const outage = scenario.faults.some((fault) => (fault.kind === 'together' ? fault.faults.some(takesZoneAway) : takesZoneAway(fault)))
  if (outage) ids.push('acked-survives', 'session-kept', 'one-owner', 'reconnect-in-time', 'routes-converge')
  // What volumes of this kind do not promise under such a fault may come out either way; a violation is one all the same.
  const due = outage ? ids.filter((id) => notPromised(scenario.volumes.kind, 'copy-dark', id) === undefined) : ids
  return new Map(promiseIds.filter((id) => due.includes(id)).map((id) => [id, 'held']))
}

/** How long the drain may go on while messages still move, and the audit. */
export const DRAIN_BUDGET_MS = 600_000
export const AUDIT_BUDGET_MS = 60_000

/** Clients start to connect after this share of the warm-up, and each has after another of this. The nameservers call nobody silent for their first 3 s. */
export const CLIENTS_START_SHARE = 0.5
export const CLIENTS_STAGGER_SHARE = 0.25
/** Clients of a group go away, and come back, spread over this long. */
export const AWAY_STAGGER_MS = 1000
