/**
 * `squall check-determinism`: one seed in two processes at once. The first plays it alone and without recording; the second after two other seeds, with
 * recording on. Digest, number of events and every single event must agree. Where they do not, the first event that differs is shown with what led to it;
 * that is never the scenario's fault, always ours.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { styleText } from 'node:util'
import { wantsColour } from './colour.ts'
import type { DeterminismAnswer, DeterminismTask } from './determinism-player.ts'
import { exitCodes } from './exit.ts'
import { openScenario, replayCommand } from './open-scenario.ts'
import { Progress } from './progress.ts'

interface DeterminismOptions {
  readonly seed?: number
  readonly set?: readonly string[]
}

export async function checkDeterminismCommand(typed: string, given: Record<string, unknown>): Promise<number> {
  const options = given as DeterminismOptions
  const set = options.set ?? []
  const { text, file, scenario } = openScenario(typed, set)
  const seed = options.seed ?? scenario.seed ?? 1
  const folder = mkdtempSync(join(tmpdir(), 'squall-determinism-'))
  const progress = new Progress(process.stderr)
  const ticking = setInterval(() => progress.show(() => `${scenario.name} seed ${seed}: playing in two processes`), 200)
  try {
    const task = { text, file, name: scenario.name, set, seed }
    const files = [join(folder, 'alone'), join(folder, 'after-others')] as const
    const [alone, afterOthers] = await Promise.all([
      play({ ...task, recording: false, before: [], eventsFile: files[0] }),
      play({ ...task, recording: true, before: [seed + 1, seed + 2], eventsFile: files[1] }),
    ])
    progress.clear()
    const difference = firstDifference(files[0], files[1])
    if (difference === undefined && alone.digest === afterOthers.digest && alone.events === afterOthers.events) {
      const same = wantsColour(process.stdout) ? styleText('green', 'the same') : 'the same'
      process.stdout.write(
        `${scenario.name} seed ${seed}: ${same} in both processes: ${alone.events.toLocaleString('en-US')} events, digest ${alone.digest}\n`,
      )
      return exitCodes.held
    }
    process.stdout.write(`${differenceText(scenario.name, seed, alone, afterOthers, difference)}\n`)
    process.stderr.write(`This is a fault of Squall itself, please report it. The run: ${replayCommand(typed, seed, set)}\n`)
    return exitCodes.ourFault
  } finally {
    clearInterval(ticking)
    rmSync(folder, { recursive: true, force: true })
  }
}

function play(task: DeterminismTask): Promise<DeterminismAnswer> {
  return new Promise((resolve, reject) => {
    const player = spawn(process.execPath, [new URL('./determinism-player.js', import.meta.url).pathname], {
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let answer = ''
    let errors = ''
    player.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      answer += chunk
    })
    player.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      errors += chunk
    })
    player.on('error', reject)
    player.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(answer) as DeterminismAnswer)
      else reject(new Error(`the process that played seed ${task.seed} ended with code ${code}:\n${errors}`))
    })
    player.stdin.on('error', () => undefined)
    player.stdin.end(JSON.stringify(task))
  })
}

export interface Difference {
  /** Events before the first that differs. */
  readonly index: number
  readonly before: readonly string[]
  readonly alone: readonly string[]
  readonly afterOthers: readonly string[]
}

const CONTEXT = 6

/** The lines of a file, read in pieces. */
function* linesOf(file: string): Generator<string> {
  const descriptor = openSync(file, 'r')
  const buffer = Buffer.allocUnsafe(1 << 20)
  let rest = ''
  try {
    for (let length = readSync(descriptor, buffer); length > 0; length = readSync(descriptor, buffer)) {
      const lines = (rest + buffer.toString('latin1', 0, length)).split('\n')
      rest = lines.pop()!
      yield* lines
    }
    if (rest !== '') yield rest
  } finally {
    closeSync(descriptor)
  }
}

function take(lines: Generator<string>, first: string | undefined): readonly string[] {
  const taken = first === undefined ? [] : [first]
  while (taken.length > 0 && taken.length <= CONTEXT / 2) {
    const next = lines.next()
    if (next.done) break
    taken.push(next.value)
  }
  return taken
}

/** Where two files of events part. */
export function firstDifference(aloneFile: string, afterOthersFile: string): Difference | undefined {
  const alone = linesOf(aloneFile)
  const afterOthers = linesOf(afterOthersFile)
  const before: string[] = []
  for (let index = 0; ; index++) {
    const [left, right] = [alone.next(), afterOthers.next()]
    if (left.done && right.done) return undefined
    if (!left.done && !right.done && left.value === right.value) {
      before.push(left.value)
      if (before.length > CONTEXT) before.shift()
      continue
    }
    const difference = {
      index,
      before,
      alone: take(alone, left.done ? undefined : left.value),
      afterOthers: take(afterOthers, right.done ? undefined : right.value),
    }
    alone.return(undefined)
    afterOthers.return(undefined)
    return difference
  }
}

/** An event's line as a person reads it. */
function eventText(line: string): string {
  const [timeUs, sequence, kind, machine, hash] = line.split(' ')
  const seconds = (Number(timeUs) / 1e6).toFixed(6).padStart(12)
  return `${seconds} s  #${sequence!.padEnd(9)} ${kind!.padEnd(12)} ${machine}${hash === '0' ? '' : `  bytes ${hash}`}`
}

export function differenceText(
  name: string,
  seed: number,
  alone: DeterminismAnswer,
  afterOthers: DeterminismAnswer,
  difference: Difference | undefined,
): string {
  const lines = [
    `${name} seed ${seed}: the two processes part`,
    `  alone, without recording       ${alone.events} events, digest ${alone.digest}`,
    `  after others, with recording   ${afterOthers.events} events, digest ${afterOthers.digest}`,
  ]
  if (difference === undefined) {
    lines.push(
      '',
      'Every dispatched event is the same: what differs is a process start or end, or a power loss, which the digest also covers.',
    )
    return lines.join('\n')
  }
  const show = (sign: string, events: readonly string[]): readonly string[] =>
    events.length === 0 ? [`  ${sign} (no more events)`] : events.map((line) => `  ${sign} ${eventText(line)}`)
  lines.push('', `The first event that differs is number ${difference.index + 1}:`)
  if (difference.before.length > 0) lines.push(...show(' ', difference.before))
  lines.push(...show('-', difference.alone), ...show('+', difference.afterOthers), '', '  - alone, + after others')
  return lines.join('\n')
}
