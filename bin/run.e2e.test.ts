import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { catalogueNames } from '../scenarios/catalogue.ts'

const bin = fileURLToPath(new URL('./squall.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'squall-e2e-'))

beforeAll(() => {
  if (!existsSync(new URL('../dist/bin/main.js', import.meta.url)))
    throw new Error('these tests play the built command line: run `npm run build` first')
})
afterAll(() => rmSync(folder, { recursive: true }))

function squall(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...args], {
    encoding: 'utf8',
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: undefined },
  })
  return { status, stdout, stderr }
}

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

const quick = file(
  'quick.yaml',
  `title: A proxy dies
clients: [{ count: 6, publish: { every: 500ms } }]
workload: { settle: 6s, drain: 3s }
faults: [{ kind: crash, machines: proxy-1, at: 9s, for: 4s }]
expect: [no-crash]
`,
)

interface JsonRun {
  readonly scenario: string
  readonly seed: number
  readonly verdict: string
  readonly promises: readonly { readonly id: string; readonly verdict: string; readonly violations: readonly unknown[] }[]
  readonly measures: { readonly messagesAcknowledged: number; readonly lost: number }
  readonly facts: { readonly clientsStruck: number; readonly shardsMoved: number; readonly copiesLost: number }
  readonly digest: string
  readonly events: number
  readonly simulatedSeconds: number
  readonly wallSeconds: number
}

function jsonRuns(stdout: string): readonly JsonRun[] {
  expect(stdout.endsWith('\n')).toBe(true)
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as JsonRun)
}

describe('squall run', () => {
  test('az-outage holds: clients were on the lost zone, shards moved, a copy was lost, thousands of messages acknowledged and none lost', () => {
    const { status, stdout } = squall('run', 'az-outage', '--seed', '1', '--json')
    const [run, ...more] = jsonRuns(stdout)
    expect(more).toEqual([])
    expect(run).toMatchObject({ scenario: 'az-outage', seed: 1, verdict: 'held', measures: { lost: 0 } })
    expect(run!.measures.messagesAcknowledged).toBeGreaterThan(2000)
    expect(run!.facts.clientsStruck).toBeGreaterThan(10)
    expect(run!.facts.shardsMoved).toBeGreaterThan(0)
    expect(run!.facts.copiesLost).toBeGreaterThan(0)
    for (const promise of run!.promises) expect(promise).toMatchObject({ violations: [] })
    expect(status).toBe(0)
  })

  test('tells a single run in full, without colour where it is piped', () => {
    const { status, stdout } = squall('run', quick)
    expect(stdout).toMatch(/What happened\n +9\.000 s {2}✖ the process of proxy-1 dies/)
    expect(stdout).toMatch(/✔ HELD {2}\d+ simulated seconds/)
    expect(stdout).not.toContain('\x1b')
    expect(status).toBe(0)
  })

  test('plays many seeds on several threads, prints them in order, and each is what it is alone', () => {
    const together = jsonRuns(squall('run', quick, '--seeds', '3..6', '--jobs', '2', '--json').stdout)
    expect(together.map(({ seed }) => seed)).toEqual([3, 4, 5, 6])
    const [alone] = jsonRuns(squall('run', quick, '--seed', '5', '--json').stdout)
    expect(together[2]).toEqual({ ...alone, wallSeconds: together[2]!.wallSeconds })
  })

  test('plays the catalogue, or what has a tag of it, each scenario on all seeds, and prints them in order', () => {
    const { status, stdout } = squall('run', '--all', '--tag', 'baseline', '--seeds', '1..2', '--jobs', '2')
    expect(stdout).toMatch(/^✔ calm +seed 1 .*\n✔ calm +seed 2 .*\n\n2 runs in [\d.]+ s: 2 held\n$/)
    expect(status).toBe(0)
  })

  test('ends with 1 where a promise was not put to the test', () => {
    const { status, stdout } = squall('run', quick, '--set', 'expect=[qos0-at-most-once]', '--json')
    expect(jsonRuns(stdout)[0]!.verdict).toBe('not-exercised')
    expect(status).toBe(1)
  })

  test('ends with 1 and proves it where a promise was broken', () => {
    const { status, stdout } = squall('run', quick, '--set', 'budgets.reconnect=1ms', '--set', 'clients.0.publish.every=100ms')
    expect(stdout).toMatch(/✖ reconnect-in-time +violated/)
    expect(stdout).toContain(`npx squall run ${quick} --seed 1 --set budgets.reconnect=1ms --set clients.0.publish.every=100ms`)
    expect(status).toBe(1)
  })

  test('writes the history of a run, a header first, an entry a line', () => {
    const trace = join(folder, 'trace.jsonl')
    const [run] = jsonRuns(squall('run', quick, '--json', '--trace', trace).stdout)
    const [header, ...entries] = readFileSync(trace, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(header).toMatchObject({
      format: 'squall-trace',
      formatVersion: 1,
      scenario: 'quick',
      seed: 1,
      digest: run!.digest,
      entries: entries.length,
    })
    expect(entries.length).toBeGreaterThan(50)
    expect(entries.every((entry, index) => entry.sequence === index + 1)).toBe(true)
  })
})

describe('bad input is answered in one clear message, without a stack, and ends with 2', () => {
  test.each<[string, readonly string[], string]>([
    [
      'a seed that is no number',
      ['run', 'calm', '--seed', 'abc'],
      "option '--seed <n>' argument 'abc' is invalid. A seed is a whole number",
    ],
    [
      'a seed too many',
      ['run', 'calm', '--seed', '1', '--seeds', '1..2'],
      "option '--seed <n>' cannot be used with option '--seeds <first..last>'",
    ],
    ['seeds backwards', ['run', 'calm', '--seeds', '5..2'], 'The last seed (2) lies before the first (5).'],
    ['too many seeds', ['run', 'calm', '--seeds', '0..4294967295'], 'this command asks for 4294967296 runs. allowed: at most 1000000'],
    ['an unknown scenario', ['run', 'az-outge'], 'Did you mean az-outage?'],
    ['an unknown option', ['run', 'calm', '--sed', '1'], '--seed'],
    ['an unknown command', ['rnu', 'calm'], '(Did you mean run?)'],
    ['no scenario', ['run'], 'no scenario is named. allowed: names from `squall list`, scenario files, or --all'],
    ['all scenarios and one by name', ['run', '--all', 'calm'], '--all plays every scenario of the catalogue, and takes no names: calm'],
    ['a tag that no scenario has', ['run', '--all', '--tag', 'baselin'], 'Did you mean baseline?'],
    ['a file that is not there', ['run', './nowhere.yaml'], 'no such file: ./nowhere.yaml'],
    ['broken YAML', ['run', file('broken.yaml', 'title: "x\nfaults: [\n')], 'broken.yaml:'],
    ['an unknown key', ['run', file('key.yaml', 'title: x\nfualts: []\n')], 'Did you mean faults?'],
    [
      'a negative time',
      ['run', file('negative.yaml', 'title: x\nfaults: [{ kind: crash, machines: broker-1, at: -3s, for: 1s }]\n')],
      'a duration cannot be negative: -3s',
    ],
    [
      'a selector that matches nothing',
      ['run', file('selector.yaml', 'title: x\nfaults: [{ kind: crash, machines: broker-9, at: 3s, for: 1s }]\n')],
      'the region has no machine broker-9',
    ],
    [
      'a setting that leads nowhere',
      ['run', 'calm', '--set', 'clients.0.cuont=3'],
      '--set clients.0.cuont=3: clients.0.cuont: unknown key cuont',
    ],
    [
      'a trace of many runs',
      ['run', 'calm', '--seeds', '1..2', '--trace', join(folder, 't')],
      '--trace writes the history of one run; this command asks for 2',
    ],
    ['a trace that cannot be written', ['run', 'calm', '--trace', join(folder, 'no', 'where')], 'cannot write the trace'],
  ])('%s', (_, args, message) => {
    const { status, stdout, stderr } = squall(...args)
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/\n {4}at /)
    expect(stdout).toBe('')
    expect(status).toBe(2)
  })
})

describe('squall list', () => {
  test('shows the catalogue by statement, at most 80 columns wide, and without colour where it is piped', () => {
    const { status, stdout } = squall('list')
    const lines = stdout.split('\n')
    const after = lines.indexOf('H3   When a zone is unavailable, traffic goes to the nodes that are left in the')
    expect(lines[after + 1]).toBe('     region.')
    expect(lines.slice(after, lines.indexOf('', after)).join('\n')).toMatch(/\n {5}az-outage +A zone loses power under load\n/)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80)
    expect(stdout).not.toContain('\x1b')
    expect(status).toBe(0)
  })

  test('gives each scenario once as JSON, with its statements and what it expects', () => {
    const rows = squall('list', '--json')
      .stdout.trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly scenario: string })
    expect(rows.map(({ scenario }) => scenario)).toEqual(catalogueNames())
    expect(rows.find(({ scenario }) => scenario === 'az-outage')).toMatchObject({
      title: 'A zone loses power under load',
      statements: expect.arrayContaining(['H3']),
      tags: expect.arrayContaining(['zone']),
      budgetsMs: { reconnect: 10_000 },
      expect: { 'acked-survives': 'held' },
    })
  })
})

test('help teaches: examples, exit codes and a scenario to start from', () => {
  expect(squall('--help')).toMatchObject({ status: 0, stdout: expect.stringContaining('$ squall run az-outage') })
  expect(squall().stdout).toBe(squall('--help').stdout)
  const run = squall('run', '--help')
  expect(run.stdout).toContain('faults:\n    - { kind: zone-outage, zone: az2')
  expect(run.status).toBe(0)
})

test('squall check-determinism finds the same events in two processes', () => {
  const { status, stdout } = squall('check-determinism', quick, '--seed', '2')
  expect(stdout).toMatch(/^quick seed 2: the same in both processes: [\d,]+ events, digest [0-9a-f]{16}\n$/)
  expect(status).toBe(0)
})
