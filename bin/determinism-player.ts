/**
 * One side of `squall check-determinism`, a process of its own: plays some other seeds first, then the one that is compared, and writes a line for each of its
 * events to a file: when, which, where, and what the bytes were.
 */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { loadScenario } from '../scenarios/load.ts'
import { runScenario } from '../scenarios/runner.ts'

export interface DeterminismTask {
  readonly file: string
  readonly name: string
  readonly text: string
  readonly set: readonly string[]
  readonly seed: number
  readonly recording: boolean
  /** Seeds that are played before, in the same process. */
  readonly before: readonly number[]
  readonly eventsFile: string
}

export interface DeterminismAnswer {
  readonly digest: string
  readonly events: number
}

const FLUSH_BYTES = 1 << 20

function play(task: DeterminismTask): DeterminismAnswer {
  const load = () => loadScenario(task.text, task)
  for (const seed of task.before) runScenario(load(), { seed, recording: false })
  const descriptor = openSync(task.eventsFile, 'w')
  let pending: string[] = []
  let pendingBytes = 0
  const flush = (): void => {
    writeSync(descriptor, pending.join(''))
    pending = []
    pendingBytes = 0
  }
  const { digest, events } = runScenario(load(), {
    seed: task.seed,
    recording: task.recording,
    prepare: (world) => {
      world.onEvent = (timeUs, sequence, kind, machine, payloadHash) => {
        const line = `${timeUs} ${sequence} ${kind} ${machine} ${(payloadHash >>> 0).toString(16)}\n`
        pending.push(line)
        pendingBytes += line.length
        if (pendingBytes > FLUSH_BYTES) flush()
      }
    },
  })
  flush()
  closeSync(descriptor)
  return { digest, events }
}

process.stdout.write(JSON.stringify(play(JSON.parse(readFileSync(0, 'utf8')) as DeterminismTask)))
