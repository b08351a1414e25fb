/**
 * What a promise is to the outside: an id, a verdict, and violations that explain themselves. A violation is a value: one sentence, the few events that prove
 * it in order, and a signature without times and names, by which equal failures are grouped.
 */

export const promiseIds = [
  'acked-survives',
  'acked-delivered',
  'qos2-exactly-once',
  'qos0-at-most-once',
  'publisher-order',
  'no-phantom',
  'session-kept',
  'one-owner',
  'will-once',
  'retained-last',
  'reconnect-in-time',
  'routes-converge',
  'progress',
  'wire-legal',
  'no-crash',
  'no-amplification',
  'retention',
  'control-isolated',
  'readmission',
  'brokers-private',
  'console-answers',
  'replaced',
  'traceable',
  'spread',
] as const

export type PromiseId = (typeof promiseIds)[number]

export type PromiseVerdict = 'held' | 'violated' | 'not-exercised'

export interface Evidence {
  readonly timeUs: number
  readonly text: string
}

export interface Violation {
  readonly promise: PromiseId
  readonly atUs: number
  /** One sentence in words. */
  readonly text: string
  /** The events that prove it, in order. */
  readonly evidence: readonly Evidence[]
  /** The same for the same kind of failure, whoever met it and when. */
  readonly signature: string
}

export interface PromiseResult {
  readonly id: PromiseId
  readonly verdict: PromiseVerdict
  /** How often the run put the promise to the test. */
  readonly exercised: number
  /** The first ones; `violationCount` counts all. */
  readonly violations: readonly Violation[]
  readonly violationCount: number
}

const KEPT_VIOLATIONS = 20

/** What one check has found so far. */
export class Findings {
  readonly id: PromiseId
  exercised = 0
  private readonly violations: Violation[] = []
  private count = 0

  constructor(id: PromiseId) {
    this.id = id
  }

  /** `describe` runs only for violations that are kept: a service that is wrong a million times must not cost a million sentences. */
  violated(atUs: number, kind: string, describe: () => { readonly text: string; readonly evidence: readonly Evidence[] }, times = 1): void {
    this.count += times
    if (this.violations.length >= KEPT_VIOLATIONS) return
    const { text, evidence } = describe()
    this.violations.push({ promise: this.id, atUs, text, evidence, signature: `${this.id}: ${kind}` })
  }

  result(): PromiseResult {
    const verdict = this.count > 0 ? 'violated' : this.exercised > 0 ? 'held' : 'not-exercised'
    return { id: this.id, verdict, exercised: this.exercised, violations: this.violations, violationCount: this.count }
  }
}

/** Before any true time. */
export const NEVER_BEFORE = Number.NEGATIVE_INFINITY

/** True time as people read it: seconds with milliseconds. */
export function seconds(timeUs: number): string {
  return `${(timeUs / 1_000_000).toFixed(3)} s`
}

/** Runs of sequences in words: `17 to 20, 25`. */
export function describeRuns(runs: readonly (readonly [number, number])[]): string {
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first} to ${last}`)).join(', ')
}
