/**
 * Plays generated runs until one breaks a promise, shrinks that one, and tells it so that a person can act: what broke, the smallest scenario that still
 * breaks it, as a file, and the command that plays it again.
 *
 * A smaller run counts only if it fails in the same way (the same signature); it does not matter then that it may break something else as well.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import fc from 'fast-check'
import { stringify } from 'yaml'
import type { PromiseId, Violation } from '../checks/promise.ts'
import type { GeneratedRun } from './arbitrary.ts'
import { loadScenario } from './load.ts'
import type { RunResult } from './result.ts'
import type { Scenario, ScenarioFile } from './scenario.ts'

export interface ExploreOptions {
  readonly runs: number
  /** Where the scenario that failed is written. */
  readonly folder: string
  play(scenario: Scenario, seed: number): RunResult
  /** What share of the runs must put a promise to the test: an exploration that tries nothing finds nothing. */
  readonly exercised?: Readonly<Partial<Record<PromiseId, number>>>
  /** fast-check's own, to repeat an exploration. */
  readonly seed?: number
}

interface Failure {
  readonly signature: string
  readonly text: string
  readonly violation: Violation | undefined
}

function toYaml(scenario: ScenarioFile): string {
  return stringify(scenario, { lineWidth: 0, flowCollectionPadding: true })
}

/** @param exercised counts how many runs that did not fail put each promise to the test. */
function failureOf(run: GeneratedRun, options: ExploreOptions, exercised: Map<PromiseId, number>): Failure | undefined {
  const text = toYaml(run.scenario)
  let result: RunResult
  try {
    result = options.play(loadScenario(text, { file: 'generated.yaml', name: 'generated' }), run.seed)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { signature: `threw: ${message.replace(/\d+/g, 'n')}`, text: `the run broke off: ${message}`, violation: undefined }
  }
  const violation = result.promises.find((promise) => promise.verdict === 'violated')?.violations[0]
  if (violation === undefined) {
    for (const { id, exercised: times } of result.promises) if (times > 0) exercised.set(id, (exercised.get(id) ?? 0) + 1)
    return undefined
  }
  return { signature: violation.signature, text: `${violation.promise} is violated: ${violation.text}`, violation }
}

/** @throws with the whole story when a run fails, or when too few put to the test what they are for. */
export function explore(runs: fc.Arbitrary<GeneratedRun>, options: ExploreOptions): void {
  let wanted: string | undefined
  let smallest: Failure | undefined
  let executions = 0
  const exercised = new Map<PromiseId, number>()
  const property = fc.property(runs, (run) => {
    executions++
    const failure = failureOf(run, options, exercised)
    if (failure === undefined || (wanted !== undefined && failure.signature !== wanted)) return true
    wanted = failure.signature
    smallest = failure
    return false
  })
  const details = fc.check(property, { numRuns: options.runs, ...(options.seed === undefined ? {} : { seed: options.seed }) })
  if (!details.failed) {
    for (const [id, share] of Object.entries(options.exercised ?? {})) {
      const count = exercised.get(id as PromiseId) ?? 0
      if (count < executions * share)
        throw new Error(`only ${count} of ${executions} runs put ${id} to the test: nothing is proved by so few`)
    }
    return
  }
  const run = details.counterexample![0]
  throw new Error(failureStory(run, smallest!, executions, details, options.folder))
}

function failureStory(
  run: GeneratedRun,
  failure: Failure,
  executions: number,
  details: fc.RunDetails<[GeneratedRun]>,
  folder: string,
): string {
  // The seed stands in the file, so that the file alone is the whole failure.
  const yaml = toYaml({ ...run.scenario, story: failure.text, seed: run.seed })
  const id = createHash('sha256').update(yaml).digest('hex').slice(0, 8)
  const file = join(folder, `${failure.violation?.promise ?? 'broken-run'}-${id}.yaml`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, yaml)
  const shown = relative(process.cwd(), file)
  const evidence = (failure.violation?.evidence ?? []).map(({ timeUs, text }) => `  ${(timeUs / 1e6).toFixed(3).padStart(9)} s  ${text}`)
  return [
    failure.text,
    ...evidence,
    '',
    `The smallest run that fails so (run ${details.numRuns} of the exploration, ${details.numShrinks} steps smaller, ${executions} played), seed ${run.seed}:`,
    '',
    ...yaml
      .trimEnd()
      .split('\n')
      .map((line) => `  ${line}`),
    '',
    `Play it again:  npx squall run ${shown.startsWith('..') ? file : shown} --seed ${run.seed}`,
    `Explore again:  fast-check seed ${details.seed}, path "${details.counterexamplePath}"`,
  ].join('\n')
}
