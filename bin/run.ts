/**
 * `squall run`: plays scenarios, one run for each seed, on one thread or on several, and prints them in the order in which they were asked for. On several threads
 * the slow ones are begun first, so that in the end no thread is left alone with one.
 *
 * A single run is told in full. Of many runs each gets a line, and those that are not as expected are told in full after it.
 * A run that breaks, or takes its worker down, is a finding of its seed like any other: it is reported and the rest goes on.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { Piscina } from 'piscina'
import { renderLine, renderSummary, renderTally } from '../reports/summary.ts'
import { wrap } from '../reports/text.ts'
import { isSlow } from '../scenarios/catalogue.ts'
import type { RunResult, Verdict } from '../scenarios/result.ts'
import { wantsColour } from './colour.ts'
import { BadInput, exitCodes } from './exit.ts'
import { type OpenedScenario, openScenarios, replayCommand } from './open-scenario.ts'
import { Progress } from './progress.ts'
import { jsonFailure, jsonResult } from './run-json.ts'
import { type Choice, namesToPlay, seedsFor, seedsLeftOut, workOrder } from './run-plan.ts'
import { playTask, type RunTask } from './run-worker.ts'

interface RunOptions extends Choice {
  readonly set?: readonly string[]
  readonly json?: true
  readonly trace?: string
  readonly jobs?: number
}

const WIDTH = 100
/** Longer names push the rest of their line to the right, and not that of all lines. */
const WIDEST_NAME = 28
/** More take days, and room for the plan of each. */
const MAXIMUM_RUNS = 1_000_000
/** A run without an answer after this long hangs. */
const RUN_LIMIT_MS = 600_000

interface Planned {
  readonly opened: OpenedScenario
  readonly seed: number
  readonly task: RunTask
}

type Outcome = { readonly kind: 'result'; readonly result: RunResult } | { readonly kind: 'broken'; readonly error: string }

export async function runCommand(names: readonly string[], given: Record<string, unknown>): Promise<number> {
  const options = given as RunOptions
  const set = options.set ?? []
  const opened = openScenarios(namesToPlay(names, options), set)
  refuseTooMany(opened.length, options)
  const runs = opened.flatMap((one) => seedsFor(one.scenario, options).map((seed) => plan(one, seed, set, options.trace !== undefined)))
  if (options.trace !== undefined && runs.length > 1)
    throw new BadInput(`--trace writes the history of one run; this command asks for ${runs.length}`)
  const trace = options.trace === undefined ? undefined : openTrace(options.trace)
  const progress = new Progress(process.stderr)
  const scenarios = opened.map(({ scenario }) => scenario)
  const nameWidth = Math.min(WIDEST_NAME, Math.max(...scenarios.map(({ name }) => name.length)))
  const printer = new Printer({ json: options.json === true, many: runs.length > 1, nameWidth, set, progress })
  const jobs = Math.min(options.jobs ?? availableParallelism(), runs.length)
  if (jobs > 1) await runInWorkers(runs, jobs, progress, printer)
  else {
    for (const [index, run] of runs.entries()) {
      const outcome = attempt(() =>
        playTask(run.task, (act, simulatedSeconds) =>
          progress.show(() => `${prefix(index, runs.length)}${run.task.name} seed ${run.seed}: ${act}, ${simulatedSeconds.toFixed(0)} s`),
        ),
      )
      if (trace !== undefined && outcome.kind === 'result') writeTrace(trace, outcome.result)
      printer.print(run, outcome)
    }
  }
  printer.end(seedsLeftOut(scenarios, options))
  return printer.exitCode
}

function refuseTooMany(scenarios: number, { seeds = [0, 0] }: RunOptions): void {
  const count = scenarios * (seeds[1] - seeds[0] + 1)
  if (count > MAXIMUM_RUNS) throw new BadInput(`this command asks for ${count} runs. allowed: at most ${MAXIMUM_RUNS} in one command`)
}

function plan(opened: OpenedScenario, seed: number, set: readonly string[], keepHistory: boolean): Planned {
  const { text, file, scenario } = opened
  return { opened, seed, task: { text, file, name: scenario.name, set, seed, keepHistory } }
}

function prefix(index: number, count: number): string {
  return count > 1 ? `run ${index + 1} of ${count}: ` : ''
}

function attempt(run: () => RunResult): Outcome {
  try {
    return { kind: 'result', result: run() }
  } catch (error) {
    return { kind: 'broken', error: errorText(error) }
  }
}

function errorText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** As many runs at a time as there are jobs, the slow ones first; printed in their order, whichever is done first. */
async function runInWorkers(runs: readonly Planned[], jobs: number, progress: Progress, printer: Printer): Promise<void> {
  const { Piscina } = await import('piscina')
  const pool = new Piscina({
    filename: new URL('./run-worker.js', import.meta.url).href,
    name: 'runTask',
    maxThreads: jobs,
    minThreads: jobs,
  })
  const order = workOrder(runs.map(({ opened }) => isSlow(opened.scenario)))
  const outcomes: (Outcome | undefined)[] = []
  let started = 0
  let done = 0
  let printed = 0
  const lane = async (): Promise<void> => {
    for (let index = order[started++]; index !== undefined; index = order[started++]) {
      outcomes[index] = await runInWorker(pool, runs[index]!.task)
      done++
      for (let next = outcomes[printed]; next !== undefined; next = outcomes[printed]) {
        printer.print(runs[printed]!, next)
        outcomes[printed++] = undefined
      }
      progress.show(() => `${done} of ${runs.length} runs done`)
    }
  }
  try {
    await Promise.all(Array.from({ length: jobs }, lane))
  } finally {
    progress.clear()
    await pool.destroy()
  }
}

async function runInWorker(pool: Piscina, task: RunTask): Promise<Outcome> {
  const limit = AbortSignal.timeout(RUN_LIMIT_MS)
  try {
    return { kind: 'result', result: (await pool.run(task, { signal: limit })) as RunResult }
  } catch (error) {
    return { kind: 'broken', error: limit.aborted ? `no end after ${RUN_LIMIT_MS / 1000} s: the run hangs` : errorText(error) }
  }
}

interface PrinterOptions {
  readonly json: boolean
  /** Whether each run is a line. */
  readonly many: boolean
  readonly nameWidth: number
  readonly set: readonly string[]
  readonly progress: Progress
}

class Printer {
  exitCode: number = exitCodes.held
  private readonly json: boolean
  private readonly many: boolean
  private readonly nameWidth: number
  private readonly set: readonly string[]
  private readonly colour = wantsColour(process.stdout)
  private readonly told: { scenario: string; verdict: Verdict | 'broken' }[] = []
  private readonly startedMs = performance.now()

  private readonly progress: Progress

  constructor({ json, many, nameWidth, set, progress }: PrinterOptions) {
    this.progress = progress
    this.json = json
    this.many = many
    this.nameWidth = nameWidth
    this.set = set
  }

  print(run: Planned, outcome: Outcome): void {
    this.progress.clear()
    const replay = replayCommand(run.opened.typed, run.seed, this.set)
    if (outcome.kind === 'broken') {
      this.exitCode = exitCodes.ourFault
      this.told.push({ scenario: run.task.name, verdict: 'broken' })
      process.stderr.write(`${run.task.name} seed ${run.seed}: the run broke off: this is a fault of Squall itself, please report it\n`)
      process.stderr.write(`${outcome.error}\nreplay: ${replay}\n`)
      if (this.json) process.stdout.write(`${JSON.stringify(jsonFailure(run.task.name, run.seed, outcome.error))}\n`)
      return
    }
    const { result } = outcome
    this.told.push({ scenario: result.scenario, verdict: result.verdict })
    if (result.verdict !== 'held') this.exitCode = Math.max(this.exitCode, exitCodes.notHeld)
    if (this.json) {
      process.stdout.write(`${JSON.stringify(jsonResult(result, replay))}\n`)
      return
    }
    const options = { colour: this.colour, replay, nameWidth: this.nameWidth }
    if (this.many) process.stdout.write(`${renderLine(result, options)}\n`)
    if (!this.many || result.verdict !== 'held') process.stdout.write(`${renderSummary(result, options)}\n`)
  }

  /** @param firstSeedOnly names of scenarios of which fewer seeds were played than were asked for. */
  end(firstSeedOnly: readonly string[]): void {
    if (firstSeedOnly.length > 0) {
      const text = `slow, and so with the first seed only: ${firstSeedOnly.join(', ')}`
      // With --json nothing but runs goes to standard output.
      if (this.json) process.stderr.write(`${text}\n`)
      else process.stdout.write(`\n${wrap(text, WIDTH).join('\n')}\n`)
    }
    if (this.many && !this.json)
      process.stdout.write(`${renderTally(this.told, (performance.now() - this.startedMs) / 1000, { colour: this.colour })}\n`)
  }
}

function openTrace(file: string): number {
  try {
    return openSync(file, 'w')
  } catch (error) {
    throw new BadInput(`cannot write the trace to ${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
}

/** The history as JSON lines: a header that names the run, then an entry a line. */
function writeTrace(descriptor: number, result: RunResult): void {
  const { scenario, seed, digest, events, simulatedSeconds, verdict } = result
  const header = {
    format: 'squall-trace',
    formatVersion: 1,
    scenario,
    seed,
    digest,
    events,
    simulatedSeconds,
    verdict,
    entries: result.history.length,
  }
  let lines: string[] = [JSON.stringify(header)]
  const flush = (): void => {
    writeSync(descriptor, `${lines.join('\n')}\n`)
    lines = []
  }
  for (const entry of result.history) {
    lines.push(JSON.stringify(entry))
    if (lines.length >= 1000) flush()
  }
  if (lines.length > 0) flush()
  closeSync(descriptor)
}
