/**
 * `npm run bench`: measures, prints a table on standard output and progress on standard error, and writes JSON where asked to. Options in `usage` below.
 * Absolute figures belong to the machine; what can be compared are the ratios to the floor, which is measured beside everything.
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { codec } from './codec.ts'
import { days } from './days.ts'
import { eventQueue } from './event-queue.ts'
import { createFloor } from './floor.ts'
import { clients, connect, rate, shards, time } from './growth.ts'
import type { Bench, Measurement, Row } from './harness.ts'
import { memory } from './memory.ts'
import { network } from './network.ts'
import { play } from './play.ts'
import { profileMemory, profileTime, renderProfile } from './profile.ts'
import { reference } from './reference.ts'
import { reference as referenceLoad } from './reference-load.ts'
import { rest } from './rest.ts'
import { renderTable } from './table.ts'

const measurements: readonly Measurement[] = [
  codec,
  eventQueue,
  network,
  rest,
  days,
  reference,
  rate,
  connect,
  clients,
  shards,
  time,
  memory,
]

const usage = `Usage: npm run bench -- [options]

  --only NAME      measure this alone; may be given several times
  --json FILE      write the rows as JSON
  --rounds N       samples of what can be repeated (default 9)
  --profile        no measuring: say where the time of the reference scenario goes, or with --only another measurement's; with --only memory, where memory is held
  --help           this

Measurements:
${measurements.map(({ name, summary }) => `  ${name.padEnd(14)} ${summary}`).join('\n')}
`

class BadUsage extends Error {}

function parse() {
  try {
    const { values } = parseArgs({
      options: {
        only: { type: 'string', multiple: true },
        json: { type: 'string' },
        rounds: { type: 'string', default: '9' },
        profile: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    const rounds = Number(values.rounds)
    if (!Number.isInteger(rounds) || rounds < 1) throw new BadUsage(`--rounds: expected a whole number from 1, got '${values.rounds}'`)
    const chosen = values.only?.map(measurementOf)
    return { ...values, rounds, chosen }
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw new BadUsage(error.message)
    throw error
  }
}

function measurementOf(name: string): Measurement {
  const found = measurements.find((measurement) => measurement.name === name)
  if (found === undefined)
    throw new BadUsage(`--only: there is no measurement '${name}'. allowed: ${measurements.map((each) => each.name).join(', ')}`)
  return found
}

/** One line that is written over on a terminal; elsewhere only the names of the measurements. */
function progressOf(name: string): (text: string) => void {
  const { stderr } = process
  if (!stderr.isTTY) {
    stderr.write(`${name}\n`)
    return () => {}
  }
  let shownMs = 0
  return (text) => {
    const nowMs = performance.now()
    if (nowMs - shownMs < 100) return
    shownMs = nowMs
    stderr.write(`\r\x1b[K${`${name}: ${text}`.slice(0, (stderr.columns ?? 80) - 1)}`)
  }
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
}

function measure(chosen: readonly Measurement[], rounds: number): readonly Row[] {
  const floor = createFloor()
  const rows: Row[] = []
  for (const measurement of chosen) {
    rows.push(...measurement.run({ floor, rounds, progress: progressOf(measurement.name) }))
    clearProgress()
  }
  return rows
}

/** The floor would be in the profile of whatever is measured beside it. */
const noFloor = { sample: () => 0 }

function profileOf(measurement: Measurement, rounds: number): string {
  const bench: Bench = { floor: noFloor, rounds, progress: progressOf(`profile of ${measurement.name}`) }
  if (measurement === memory) {
    const load = { clients: 10_000, messagesPerSecond: 0, seconds: 70, profile: 'mqtt.js', warmUpSeconds: 12 } as const
    const held = profileMemory((hold) => play(bench, load, { stretchSeconds: 60, onSteadyEnd: hold }))
    return renderProfile(`${load.clients} idle clients, on the JavaScript heap`, held)
  }
  if (measurement !== reference) {
    const whole = profileTime((begin, end) => {
      begin()
      measurement.run(bench)
      end()
    })
    return renderProfile(measurement.name, whole)
  }
  // Warm: a cold process would show the compiler.
  play(bench, { ...referenceLoad, seconds: 60 }, { stretchSeconds: 10 })
  const seconds = 200
  const load = { ...referenceLoad, seconds }
  const steady = profileTime((begin, end) => play(bench, load, { stretchSeconds: 10, onSteadyBegin: begin, onSteadyEnd: end }))
  return renderProfile(`reference scenario, ${seconds} simulated s of steady load`, steady)
}

function main(): number {
  const options = parse()
  if (options.help) {
    process.stdout.write(usage)
    return 0
  }
  if (options.profile) {
    for (const measurement of options.chosen ?? [reference]) {
      const text = profileOf(measurement, options.rounds)
      clearProgress()
      process.stdout.write(`${text}\n`)
    }
    return 0
  }
  const startedMs = performance.now()
  const rows = measure(options.chosen ?? measurements, options.rounds)
  const machine = { node: process.version, processor: cpus()[0]?.model ?? 'unknown', processors: cpus().length }
  process.stdout.write(
    `Node ${machine.node}, ${machine.processors} x ${machine.processor}, ${((performance.now() - startedMs) / 1000).toFixed(0)} s\n`,
  )
  process.stdout.write(
    'time is processor time; floor: mqtt-packet alone for a message in and out; floors: the figure in units of it, each sample beside its own\n\n',
  )
  process.stdout.write(renderTable(rows))
  if (options.json !== undefined)
    writeFileSync(options.json, `${JSON.stringify({ format: 'squall-bench', formatVersion: 1, ...machine, rows }, undefined, 2)}\n`)
  return 0
}

try {
  process.exitCode = main()
} catch (error) {
  clearProgress()
  if (!(error instanceof BadUsage)) throw error
  process.stderr.write(`${error.message}\nTry: npm run bench -- --help\n`)
  process.exitCode = 2
}
