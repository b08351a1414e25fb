/**
 * What may be done to a region, as a scenario says it: each kind of fault with its fields, and the times that all of them have.
 *
 * `at` says when a fault begins and `for` how long it lasts, where it lasts; `every` and `times` repeat it, each time on machines drawn anew where a selector draws. A fault that lasts
 * longer than `every` overlaps with itself. `together` is a group with one schedule: its faults begin with it, or `after` a while, and end with it unless they have a `for` of their own.
 *
 * Left out: conditions ("when a shard moves"): faults go by the clock.
 */
import * as z from 'zod'
import { faultPoints } from '../model/fault-points.ts'
import { byKind, choice, clockChange, describe, duration, fraction, integer, strict, trueOrFalse } from './fields.ts'
import { selectorSchema } from './selector.ts'

const zoneName = z.string({ error: (issue) => `expected the name of a zone, such as az2, found ${describe(issue.input)}` })
const machines = selectorSchema
const dnsServers = selectorSchema.prefault('role dns')

function atLeast(least: number, what: string): z.ZodNumber {
  const error = (issue: { readonly input?: unknown }): string => `expected ${what}, found ${describe(issue.input)}`
  return z.number({ error }).gte(least, { error })
}

const factor = (): z.ZodNumber => atLeast(1, 'how many times as long it takes, a number from 1 on')

/** How much all of a zone slows down in a brown-out, and the share of packets that it loses, where a scenario does not say. */
export const BROWN_OUT = { slowdown: 10, loss: 0.02 } as const
/** Over what time a zone's machines go one after the other, where a scenario does not say. */
export const GRADUAL_OVER_MS = 20_000

/** Fields of a zone outage that only one of its forms has. */
export const OWN_FIELDS = { slowdown: 'brown-out', loss: 'brown-out', over: 'gradual' } as const

/** Faults that last, and are taken out again. */
const lastingFaults = [
  strict({
    kind: z.literal('zone-outage'),
    zone: zoneName,
    form: choice([
      'power',
      'isolated',
      'cut-from-zones',
      'cut-from-internet',
      'control-plane',
      'brown-out',
      'nothing-in',
      'nothing-out',
      'gradual',
    ])
      .default('power')
      .describe(
        'power: machines go dark. gradual: one after the other. isolated: they run, and no packet enters or leaves. cut-from-zones: the internet still reaches it. cut-from-internet: the other zones ' +
          'still reach it. nothing-in, nothing-out: cut one way. control-plane: nameservers, console and instance group are cut off and DNS stops to follow health. brown-out: all of it is slow.',
      ),
    slowdown: factor().optional().describe(`brown-out: how many times as long work and disks take. Default ${BROWN_OUT.slowdown}.`),
    loss: fraction().optional().describe(`brown-out: the share of packets lost, 0 to 1. Default ${BROWN_OUT.loss}.`),
    over: duration.optional().describe('gradual: the time from the first machine to the last. Default 20s.'),
  }),
  strict({ kind: z.literal('crash'), machines }),
  strict({ kind: z.literal('power-loss'), machines }),
  strict({ kind: z.literal('pause'), machines }),
  strict({ kind: z.literal('slow'), machines, factor: factor().describe('How many times as long work takes.') }),
  strict({ kind: z.literal('partition'), from: machines, to: machines, bothWays: trueOrFalse.default(true) }),
  strict({
    kind: z.literal('link'),
    from: machines,
    to: machines,
    addedLatency: duration.prefault('0s'),
    loss: fraction().default(0).describe('The share of packets lost, 0 to 1.'),
  }),
  strict({
    kind: z.literal('datagram-loss'),
    from: machines,
    to: machines,
    loss: fraction().default(1).describe('The share of datagrams lost, 0 to 1.'),
  }),
  strict({
    kind: z.literal('isolation'),
    machines,
    direction: choice(['both', 'in', 'out']).default('both').describe('in: nothing reaches them. out: nothing that they send arrives.'),
  }),
  strict({ kind: z.literal('grey'), machines }),
  strict({ kind: z.literal('sync-failure'), machines, probability: fraction().default(1) }),
  strict({ kind: z.literal('disk-stall'), machines }),
  strict({ kind: z.literal('disk-slow'), machines, factor: factor().describe('How many times as long syncs and reads take.') }),
  strict({ kind: z.literal('disk-full'), machines }),
  strict({ kind: z.literal('lying-sync'), machines, probability: fraction().default(1) }),
  strict({ kind: z.literal('misdirected-write'), machines, probability: fraction().default(1) }),
  strict({ kind: z.literal('disk-loss'), machines }),
  strict({
    kind: z.literal('clock-drift'),
    machines,
    partsPerMillion: integer(-500_000, 500_000).describe('How many µs the wall clocks gain in a second; negative: lose.'),
  }),
  strict({
    kind: z.literal('nat-timeout'),
    machines: selectorSchema.prefault('role client'),
    idle: duration.describe('After so long without a packet the way back to a client is forgotten.'),
  }),
  strict({ kind: z.literal('dns-silent'), machines: dnsServers }),
  strict({ kind: z.literal('dns-stale'), machines: dnsServers }),
  strict({
    kind: z.literal('fault-point'),
    machines,
    point: choice(faultPoints).describe('Which rarer branch in the code of these machines is taken.'),
    probability: fraction().default(1),
  }),
] as const

/** Faults that happen, and leave nothing to take out. */
const momentaryFaults = [
  strict({ kind: z.literal('restart'), machines }),
  strict({ kind: z.literal('connection-reset'), from: machines, to: machines }),
  strict({
    kind: z.literal('clock-jump'),
    machines,
    by: clockChange.describe('By how much their wall clocks jump; negative for backwards.'),
  }),
  strict({ kind: z.literal('bit-rot'), machines, bits: integer(1, 1_000_000).default(1) }),
  strict({ kind: z.literal('address-change'), machines: selectorSchema.prefault('role client') }),
  strict({
    kind: z.literal('rolling-upgrade'),
    machines,
    grace: duration.prefault('5s').describe('How long a process may take to stop.'),
    startUp: duration.prefault('2s').describe('From its end to the start of the next version.'),
    pause: duration.prefault('5s').describe('Between one machine and the next.'),
  }),
  strict({ kind: z.literal('scale-in'), machines, grace: duration.prefault('5s').describe('How long a process may take to stop.') }),
  strict({
    kind: z.literal('scale-out'),
    role: choice(['proxy', 'broker']),
    zone: zoneName,
    count: integer(1, 9).default(1),
  }),
] as const

const start = { at: duration.describe('When it begins, counted from the start of the run.') }
const inGroup = { after: duration.prefault('0s').describe('How long after its group it begins.') }
const lasting = { for: duration.optional().describe('How long it lasts; without it, until the end of the act of faults.') }
const lastingInGroup = { for: duration.optional().describe('How long it lasts; without it, as long as its group.') }
const repetition = {
  every: duration
    .refine((everyMs) => everyMs >= 1, { error: 'a period must be 1ms or more' })
    .optional()
    .describe('It begins again and again, so long after it began.'),
  times: integer(1, 1000).optional().describe('How often it begins in all; without it, until the end of the act of faults.'),
}

type With<Faults extends readonly z.ZodObject[], More extends z.ZodRawShape> = {
  -readonly [Each in keyof Faults]: Faults[Each] extends z.ZodObject<infer Shape> ? z.ZodObject<Shape & More, z.core.$strict> : never
}

function withFields<const Faults extends readonly z.ZodObject[], More extends z.ZodRawShape>(
  faults: Faults,
  more: More,
): With<Faults, More> {
  return faults.map((fault) => strict({ ...fault.shape, ...more })) as unknown as With<Faults, More>
}

const memberSchema = byKind([...withFields(lastingFaults, { ...inGroup, ...lastingInGroup }), ...withFields(momentaryFaults, inGroup)])

const groupSchema = strict({
  kind: z.literal('together'),
  faults: z.array(memberSchema).min(1, { error: 'a group needs at least one fault' }),
  ...start,
  ...lasting,
  ...repetition,
})

export const faultSchema = byKind([
  ...withFields(lastingFaults, { ...start, ...lasting, ...repetition }),
  ...withFields(momentaryFaults, { ...start, ...repetition }),
  groupSchema,
])

export type ScenarioFault = z.output<typeof faultSchema>
/** A fault within a group. */
export type GroupMember = z.output<typeof memberSchema>
/** What is done, whenever. */
export type PlainFault = Exclude<ScenarioFault, { kind: 'together' }> | GroupMember

const LASTING_KINDS: ReadonlySet<string> = new Set(lastingFaults.map((fault) => fault.shape.kind.value))

/** Whether a fault is in force for a time. */
export function isLasting(fault: { readonly kind: ScenarioFault['kind'] }): boolean {
  return fault.kind === 'together' || LASTING_KINDS.has(fault.kind)
}
