/** One run, on whatever thread. It loads the scenario itself, so that only text crosses the border. */
import { loadScenario } from '../scenarios/load.ts'
import type { RunResult } from '../scenarios/result.ts'
import { runScenario } from '../scenarios/runner.ts'

export interface RunTask {
  readonly text: string
  readonly file: string
  readonly name: string
  readonly set: readonly string[]
  readonly seed: number
  /** Whether the history is wanted, and not only what follows from it. */
  readonly keepHistory: boolean
}

export type OnProgress = (act: string, simulatedSeconds: number) => void

export function playTask(task: RunTask, onProgress?: OnProgress): RunResult {
  const startedMs = performance.now()
  const scenario = loadScenario(task.text, task)
  const result = runScenario(scenario, {
    seed: task.seed,
    recording: true,
    recordsConnections: task.keepHistory,
    ...(onProgress === undefined ? {} : { onProgress }),
  })
  return { ...result, history: task.keepHistory ? result.history : [], wallSeconds: (performance.now() - startedMs) / 1000 }
}

/** The worker thread's entry: it is given the task alone. */
export function runTask(task: RunTask): RunResult {
  return playTask(task)
}
