/** What a run comes to: plain data, so that it can cross threads and be written down. */
import type { Measures } from '../checks/checks.ts'
import type { PromiseId, PromiseResult } from '../checks/promise.ts'
import type { HistoryEntry } from '../model/world.ts'
import type { AuditReport } from './auditor.ts'
import type { RunFacts } from './facts.ts'
import type { Failover } from './failover.ts'
import type { Queues } from './queues.ts'
import type { Expectation } from './scenario.ts'
import type { StoryLine } from './story.ts'

/** `held`: every expected promise is as expected, and put to the test. */
export type Verdict = 'held' | 'violated' | 'not-exercised'

export interface RunResult {
  readonly scenario: string
  readonly title: string
  readonly description: string
  readonly seed: number
  readonly verdict: Verdict
  readonly promises: readonly PromiseResult[]
  /** Why volumes of the run's kind never promised what was violated, where that is so. */
  readonly notPromised: Readonly<Partial<Record<PromiseId, string>>>
  readonly expected: Readonly<Partial<Record<PromiseId, Expectation>>>
  readonly measures: Measures
  readonly facts: RunFacts
  /** Where a fault struck owners of shards and recording was on. */
  readonly failover?: Failover
  /** Where recording was on. */
  readonly queues?: Queues
  /** False where messages still moved when the time for the drain was over: what had not arrived by then may count as lost. */
  readonly drained: boolean
  readonly audit: AuditReport
  /** Equal for equal runs; hex. */
  readonly digest: string
  readonly events: number
  readonly simulatedSeconds: number
  /** Filled in by whoever has a clock. */
  readonly wallSeconds: number
  /** Empty where recording was off. */
  readonly story: readonly StoryLine[]
  readonly history: readonly HistoryEntry[]
  readonly goals: Readonly<Record<string, number>>
}

/** Whether a promise came out as the scenario says; one of which it says nothing must not be violated. */
export function isAsExpected(
  { verdict, violationCount }: Pick<PromiseResult, 'verdict' | 'violationCount'>,
  expectation: Expectation | undefined,
): boolean {
  if (expectation === undefined) return verdict !== 'violated'
  if (typeof expectation === 'string') return verdict === expectation
  return verdict === 'violated' && violationCount <= expectation.violatedAtMost
}

/** The verdict of a run. A promise that was not expected cannot make a run hold, but its violation is one. */
export function verdictOf(
  promises: readonly Pick<PromiseResult, 'id' | 'verdict' | 'violationCount'>[],
  expected: ReadonlyMap<PromiseId, Expectation>,
): Verdict {
  let verdict: Verdict = 'held'
  for (const promise of promises) {
    if (isAsExpected(promise, expected.get(promise.id))) continue
    if (promise.verdict === 'violated') return 'violated'
    // Not put to the test, or a violation that was expected and did not come: whatever was to be shown was not.
    verdict = 'not-exercised'
  }
  return verdict
}
