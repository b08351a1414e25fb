/**
 * Holds the built service to MQTT from outside, with material that is no part of this repository: packet sequences, played to a simulated region in memory and to
 * `squall live` on TCP, and real clients against `squall live`. Where the material is not there, says so and leaves it at that.
 *
 *     node tools/conformance.mjs           looks in $SQUALL_CONFORMANCE, or ../shared/conformance
 *
 * `conformance-exceptions.json` names the sequences that we fail on purpose, each with the reason. A sequence that fails and is not named there is an error; so is a named one
 * that passes, or that is not played at all. Exit code 1 where there is an error.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const material = resolve(root, process.env.SQUALL_CONFORMANCE ?? '../shared/conformance')
const START_LIMIT_MS = 60_000

/** What is wrong with a list of verdicts, given the exceptions. */
function judge(rows, exceptions) {
  const named = new Map(exceptions.map(({ sequence, reason }) => [sequence, reason]))
  const played = new Set(rows.map((row) => row.id))
  const problems = []
  for (const { id, verdict, why } of rows) {
    if (verdict === 'FAIL' && !named.has(id)) problems.push(`fails: ${id}: ${why}`)
    if (verdict !== 'FAIL' && named.has(id)) problems.push(`passes, and is named as an exception: ${id}`)
  }
  for (const sequence of named.keys()) if (!played.has(sequence)) problems.push(`is named as an exception, and was not played: ${sequence}`)
  return problems
}

/** The judge's own test: it must be able to say each of its three sentences, and to say nothing. */
function checkJudge() {
  const exceptions = [{ sequence: 'b', reason: 'a reason' }]
  const verdicts = (a, b) => [
    { id: 'a', verdict: a, why: '' },
    { id: 'b', verdict: b, why: '' },
  ]
  const counts = [
    judge(verdicts('exact', 'FAIL'), exceptions),
    judge(verdicts('FAIL', 'FAIL'), exceptions),
    judge(verdicts('code', 'equiv'), exceptions),
    judge([], exceptions),
  ]
  if (counts.map((problems) => problems.length).join() !== '0,1,1,1')
    throw new Error(`the judge of the sequences is broken: ${JSON.stringify(counts)}`)
}

function run(command, args, env = {}) {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
    const lines = []
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
    child.on('error', failed)
    child.on('close', (code) => done({ code, lines }))
  })
}

async function playSequences(where, folder, ...how) {
  const verdicts = join(folder, `${where}.json`)
  const { lines } = await run(process.execPath, [
    join(material, 'seqtest.mjs'),
    join(material, 'sequences'),
    ...how,
    '--quiet',
    '--json',
    verdicts,
  ])
  const exceptions = JSON.parse(readFileSync(join(root, 'tools/conformance-exceptions.json'), 'utf8'))
  const rows = JSON.parse(readFileSync(verdicts, 'utf8'))
  if (rows.length === 0) throw new Error(`no sequences in ${material}`)
  const problems = judge(rows, exceptions)
  console.log(`sequences ${where}: ${lines.at(-1)}, ${exceptions.length} of them named exceptions`)
  for (const problem of problems) console.log(`  ${problem}`)
  return problems.length
}

/** Starts `squall live` on a free port. */
function startLive() {
  const live = spawn(process.execPath, [join(root, 'bin/squall.js'), 'live', '--port', '0'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise((done) => live.on('exit', (code, signal) => done(code ?? signal)))
  const ready = new Promise((done, failed) => {
    const limit = setTimeout(() => failed(new Error(`squall live was not ready after ${START_LIMIT_MS} ms`)), START_LIMIT_MS)
    ended.then((code) => failed(new Error(`squall live ended before it was ready: ${code}`)))
    createInterface({ input: live.stdout }).on('line', (line) => {
      const [, host, port] = /^ready: mqtt:\/\/([\d.]+):(\d+)/.exec(line) ?? []
      if (host === undefined) return
      clearTimeout(limit)
      done({ host, port })
    })
  })
  return { live, ready, ended }
}

async function playLive(folder) {
  const { live, ready, ended } = startLive()
  let problems = 0
  try {
    const { host, port } = await ready
    problems += await playSequences('on-tcp', folder, host, port, '--timeout', '2000')
    const smoke = await run(join(material, 'clients_smoke.sh'), [host, port], { MODULES: root })
    console.log(`real clients: ${smoke.lines.at(-1)}`)
    for (const line of smoke.lines) if (/^(FAIL|skip)/.test(line)) console.log(`  ${line}`)
    if (smoke.code !== 0) problems++
  } finally {
    live.kill('SIGINT')
  }
  const code = await ended
  if (code === 0) return problems
  console.log(`squall live ended with ${code}`)
  return problems + 1
}

checkJudge()
if (existsSync(join(material, 'seqtest.mjs'))) {
  const folder = mkdtempSync(join(tmpdir(), 'squall-conformance-'))
  try {
    const transport = join(root, 'tools/conformance-transport.mjs')
    const problems = (await playSequences('in-memory', folder, '--transport', transport, '--timeout', '300')) + (await playLive(folder))
    process.exitCode = problems > 0 ? 1 : 0
  } finally {
    rmSync(folder, { recursive: true })
  }
} else {
  console.log(`skipped: no conformance material in ${process.env.SQUALL_CONFORMANCE ?? '../shared/conformance'}`)
}
