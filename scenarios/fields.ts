/**
 * The kinds of fields that scenarios are made of, each with an error that says what was found, what is allowed, and the nearest allowed word.
 */
import * as z from 'zod'
import { didYouMean } from './nearest.ts'

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

const YEAR_MS = 8760 * unitMs.h

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/

function durationProblem(value: unknown): string {
  if (typeof value === 'number') {
    return value < 0
      ? `a duration cannot be negative: ${value}`
      : `${value} has no unit. allowed: a number with ms, s, m or h, such as ${value}s or ${value}ms`
  }
  if (typeof value !== 'string') return `expected a duration such as 30s, 500ms or 2m, found ${describe(value)}`
  if (/^-/.test(value.trim())) return `a duration cannot be negative: ${value}`
  if (/^\d+(\.\d+)?$/.test(value)) return `${value} has no unit. allowed: a number with ms, s, m or h, such as ${value}s or ${value}ms`
  return `not a duration: ${JSON.stringify(value)}. allowed: a number with ms, s, m or h, such as 30s, 500ms or 2m`
}

function parseDuration(text: string): number {
  const [, amount, unit] = DURATION.exec(text)!
  return Math.round(Number(amount) * unitMs[unit as keyof typeof unitMs])
}

/** The shortest way to write a duration, for scenarios that are written by a program. */
export function formatDuration(durationMs: number): string {
  for (const unit of ['h', 'm', 's'] as const) {
    if (durationMs !== 0 && durationMs % unitMs[unit] === 0) return `${durationMs / unitMs[unit]}${unit}`
  }
  return durationMs === 0 ? '0s' : `${durationMs}ms`
}

/** A time with its unit, such as `30s`; in the parsed scenario a number of milliseconds. */
export const duration = z
  .string({ error: (issue) => durationProblem(issue.input) })
  .regex(DURATION, { error: (issue) => durationProblem(issue.input) })
  .transform(parseDuration)
  .refine((durationMs) => durationMs <= YEAR_MS, { error: 'no run takes more than a year: 8760h at most' })
  .meta({ id: 'duration', description: 'A number with its unit: 500ms, 30s, 2m or 1h.' })

/** A change of a clock: a duration, forwards or, with a minus sign, backwards. */
export const clockChange = z
  .string({ error: (issue) => clockChangeProblem(issue.input) })
  .regex(/^-?\d+(?:\.\d+)?(?:ms|s|m|h)$/, { error: (issue) => clockChangeProblem(issue.input) })
  .transform((text) => (text.startsWith('-') ? -parseDuration(text.slice(1)) : parseDuration(text)))
  .refine((changeMs) => Math.abs(changeMs) <= YEAR_MS, { error: 'a clock jumps by a year at most: 8760h' })
  .meta({ id: 'clockChange', description: 'A number with its unit, negative for backwards: 10s or -5m.' })

function clockChangeProblem(value: unknown): string {
  return `expected how far the clock jumps, such as 10s, or -5m for backwards, found ${describe(value)}`
}

/** A duration that goes over the wire as a number of seconds. */
export function wholeSeconds(from: number, to: number): z.ZodType<number, string> {
  return duration.refine((durationMs) => durationMs % 1000 === 0 && durationMs >= from * 1000 && durationMs <= to * 1000, {
    error: ({ input }) => `expected whole seconds from ${from}s to ${to}s, found ${formatDuration(Number(input))}`,
  })
}

/** A whole number within bounds. */
export function integer(from: number, to: number): z.ZodNumber {
  const allowed = `a whole number from ${from} to ${to}`
  const error = (issue: { readonly input?: unknown }): string => `expected ${allowed}, found ${describe(issue.input)}`
  return z.int({ error }).gte(from, { error }).lte(to, { error })
}

export function fraction(): z.ZodNumber {
  const error = (issue: { readonly input?: unknown }): string => `expected a number from 0 to 1, found ${describe(issue.input)}`
  return z.number({ error }).gte(0, { error }).lte(1, { error })
}

/** One word of a list. */
export function choice<const T extends readonly [string, ...string[]]>(words: T): z.ZodEnum<{ [W in T[number]]: W }> {
  return z.enum(words, { error: (issue) => choiceProblem(issue.input, words) })
}

export function choiceProblem(value: unknown, words: readonly string[]): string {
  return `${describe(value)} is not known. allowed: ${words.join(', ')}${typeof value === 'string' ? didYouMean(value, words) : ''}`
}

/** An object that has no other keys than these. */
export function strict<S extends z.ZodRawShape>(shape: S): z.ZodObject<S, z.core.$strict> {
  const known = Object.keys(shape)
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(key, known)).join('; ')
      if (issue.code === 'invalid_type')
        return `expected ${known.slice(0, 4).join(', ')}${known.length > 4 ? ' …' : ''}, found ${describe(issue.input)}`
      return undefined
    },
  })
}

export function unknownKey(key: string, known: readonly string[]): string {
  return `unknown key ${key}. allowed: ${known.join(', ')}${didYouMean(key, known)}`
}

/** Objects told apart by `kind`. */
export function byKind<const O extends readonly [z.ZodObject, ...z.ZodObject[]]>(options: O): z.ZodDiscriminatedUnion<O, 'kind'> {
  const kinds = options.flatMap((option) => [...(option.shape.kind as z.ZodLiteral<string>).values])
  return z.discriminatedUnion('kind', options, {
    error: (issue) => {
      const input = issue.input as { readonly kind?: unknown } | null | undefined
      if (typeof input !== 'object' || input === null) return `expected a fault with kind, at …, found ${describe(input)}`
      if (input.kind === undefined) return `kind is missing. allowed: ${kinds.join(', ')}`
      return choiceProblem(input.kind, kinds)
    },
  })
}

/** A value as a person would name it in an error. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'an empty value'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

/** YAML 1.2 has no other words for it: `yes` is a text. */
export const trueOrFalse = z.boolean({ error: (issue) => `expected true or false, found ${describe(issue.input)}` })
