/**
 * Writes docs/high-availability.md: every statement of a highly available service with the scenarios that put it to the test, what a real run of them shows, and the
 * planted bugs that take the mechanism behind it out.
 *
 *     node tools/high-availability.mjs                after `npm run build`; plays every scenario, and writes the page
 *     node tools/high-availability.mjs --runs FILE    the same from runs that were played already: lines of `squall run --all --seed 1 --json`
 *     node tools/high-availability.mjs --check        plays all but the slow ones again and writes nothing; exit 1 where the page would change or a run does not hold
 *     node tools/high-availability.mjs --self-test    renders a catalogue of its own, and sees that each kind of drift changes the page
 *
 * Its sources: `squall list --json` and `squall run --json` of the built command line, the heads of gallery/*.patch, and the table of volume kinds.
 * A run is a function of scenario and seed, so the page has no time and no machine in it. What slow scenarios showed is kept in the page, in a comment, with a digest
 * of the file that was played: the check compares the digest, and renders from what is kept. It does not see that such a run has come to show something else.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const pagePath = 'docs/high-availability.md'
const command = 'npm run high-availability'
const SEED = 1

// What there is

const objectsOf = (lines) =>
  lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))

async function squall(...args) {
  const child = spawn(process.execPath, [join(root, 'bin/squall.js'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  // 1: a run did not hold, which is told with its scenario.
  if (code !== 0 && code !== 1) throw new Error(`squall ${args.join(' ')} ended with ${code}`)
  return objectsOf(text)
}

/** What a patch says of itself above its diff; gallery/bugs.ts reads and tests the same. */
function headOf(id, patch) {
  const fields = {}
  let name
  for (const line of patch.slice(0, patch.indexOf('\n--- ')).split('\n')) {
    const begun = /^(\w+): +(.+)$/.exec(line)
    if (begun !== null) {
      name = begun[1].toLowerCase()
      fields[name] = begun[2]
    } else if (line.trim() !== '') fields[name] += ` ${line.trim()}`
  }
  return { id, ...fields }
}

function readBugs() {
  const folder = join(root, 'gallery')
  return readdirSync(folder)
    .filter((file) => file.endsWith('.patch'))
    .sort()
    .map((file) => headOf(file.slice(0, -'.patch'.length), readFileSync(join(folder, file), 'utf8')))
}

const digestOf = (text) => createHash('sha256').update(text.replaceAll('\r\n', '\n')).digest('hex').slice(0, 12)
const isSlow = ({ tags }) => tags.includes('slow')

/** Of a run as JSON what the page tells of it. */
function recordOf({ scenario, seed, verdict, promises, measures, facts, failover, queues }) {
  const handshakes = queues?.tlsHandshakes ?? []
  return {
    scenario,
    seed,
    verdict,
    promises: promises
      .filter(({ expected, violationCount }) => expected !== null || violationCount > 0)
      .map(({ id, verdict, expected, exercised, violationCount }) => ({ id, verdict, expected, exercised, violationCount })),
    clientsStruck: facts.clientsStruck,
    recovered: measures.recovery.total.count,
    worstRecoveryMs: measures.recovery.total.max,
    shards: failover?.shards ?? 0,
    ownerlessMs: failover?.ownerlessMs ?? 0,
    handshakesWaiting: Math.max(0, ...handshakes.map(({ peak }) => peak)),
    handshakeWaitMs: Math.max(0, ...handshakes.map(({ waits }) => waits.max)),
    acknowledged: measures.messagesAcknowledged,
    lost: measures.lost,
  }
}

// The page

/** In a table, `|` would end the cell; titles and sentences are text. */
const plain = (text) => text.replace(/[\\`*_<>#[\]|]/g, (character) => `\\${character}`)
const code = (text) => `\`${text}\``
const number = (value) => value.toLocaleString('en-US')
const times = (count) => `${number(count)} ${count === 1 ? 'time' : 'times'}`
/** A time in milliseconds as people read it. */
const time = (ms) => (ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`)

const bugLink = ({ id, title }) => `[${plain(title)}](../gallery/${id}.patch)`
const scenarioLink = (name) => `[${code(name)}](../scenarios/catalogue/${name}.yaml)`
const verdictWords = { held: 'held', violated: '**violated**', 'not-exercised': '**not exercised**' }

/** What a run shows, in a sentence. */
function shows(run) {
  const violated = run.promises.filter(({ verdict }) => verdict === 'violated')
  return [
    verdictWords[run.verdict],
    ...violated.map(
      ({ id, expected, violationCount }) =>
        `${code(id)} broken ${times(violationCount)}${expected !== null && expected !== 'held' ? ', as the scenario expects' : ''}`,
    ),
    ...(run.clientsStruck > 0 ? [`${number(run.clientsStruck)} clients on a proxy that a fault struck`] : []),
    ...(run.recovered > 0 ? [`a client served again ${times(run.recovered)}, after at most ${time(run.worstRecoveryMs)}`] : []),
    ...(run.shards > 0
      ? [`${run.shards} ${run.shards === 1 ? 'shard' : 'shards'} moved, without an owner for up to ${time(run.ownerlessMs)}`]
      : []),
    ...(run.handshakesWaiting > 0
      ? [`up to ${number(run.handshakesWaiting)} TLS handshakes waiting at one proxy, for up to ${time(run.handshakeWaitMs)}`]
      : []),
    `${number(run.acknowledged)} acknowledged, ${number(run.lost)} lost`,
  ].join('; ')
}

/** The promises that catch what takes the mechanism out, and how often the run put them to the test as things are. */
function tested(run, bugs) {
  const ids = [...new Set(bugs.filter(({ scenario }) => scenario === run.scenario).map(({ breaks }) => breaks))]
  const exercised = (id) => run.promises.find((promise) => promise.id === id)?.exercised ?? 0
  return ids.filter((id) => exercised(id) > 0).map((id) => `${code(id)} put to the test ${times(exercised(id))}`)
}

/** Which scenario stands for a statement: the one that fails without the mechanism, else the first. */
function mainScenario(scenarios, bugs) {
  return scenarios.find(({ scenario }) => bugs.some((bug) => bug.scenario === scenario)) ?? scenarios[0]
}

function statementRow(id, sentence, { scenarios, bugs, runs }) {
  const own = scenarios.filter(({ statements }) => statements.includes(id))
  const out = bugs.filter(({ statement }) => statement === id)
  const main = mainScenario(own, out)
  const run = main && runs.get(main.scenario)
  const fails = own.filter(({ scenario }) => out.some((bug) => bug.scenario === scenario))
  const others = own.filter((scenario) => !fails.includes(scenario))
  const cells = [
    `**${id}**`,
    plain(sentence),
    [...fails, ...others].map(({ scenario }) => (scenario === main.scenario ? `**${code(scenario)}**` : code(scenario))).join(', ') ||
      '**no scenario yet**',
    run ? `${code(main.scenario)}: ${[...tested(run, out), shows(run)].join('; ')}` : '',
  ]
  return `| ${cells.join(' | ')} |`
}

/** A row for each bug that takes out the mechanism behind a statement. */
function takenOutRows(id, bugs) {
  const own = bugs.filter(({ statement }) => statement === id)
  if (own.length === 0) return [`| **${id}** | **nothing yet** | | |`]
  return own.map((bug) => `| **${id}** | ${bugLink(bug)} | ${code(bug.scenario)} | ${code(bug.breaks)} |`)
}

function scenarioRow({ scenario, title, statements, tags, expect }, runs) {
  const promises = Object.entries(expect).map(([id, expected]) => (expected === 'held' ? code(id) : `${code(id)} to be broken`))
  const run = runs.get(scenario)
  const cells = [
    `${scenarioLink(scenario)} ${plain(title)}${isSlow({ tags }) ? ' (slow)' : ''}`,
    statements.join(', '),
    promises.join(', '),
    run ? shows(run) : '**not played yet**',
  ]
  return `| ${cells.join(' | ')} |`
}

const strainWords = {
  'broker-lost': 'one broker is lost, and its disk stays',
  'copy-dark': 'one copy is out of reach, and whole when it is back, as in a zone outage',
  'majority-dark': 'so many copies are out of reach that no majority is left',
  'all-brokers-lost': 'every broker in every zone is lost, and the disks stay',
  'copy-destroyed': 'the disk of one copy is gone for good',
  'majority-destroyed': 'the disks of so many copies are gone that no majority is left',
}
const dataWords = {
  kept: 'all data kept',
  'back-to-backup-point': '**data back to the last backup point**',
  lost: '**data lost**',
}
const serviceWords = { kept: 'served throughout', 'out-until-back': '**not served until it is back**' }

function volumeRows({ volumeKinds, volumeStrains, keptUnder }) {
  return volumeStrains.map((strain) => {
    if (strainWords[strain] === undefined) throw new Error(`tools/high-availability.mjs has no words for ${strain}`)
    const cells = volumeKinds.map((kind) => {
      const { data, service, because } = keptUnder[kind][strain]
      return `${dataWords[data]}, ${serviceWords[service]}: ${plain(because)}`
    })
    return `| ${strainWords[strain]} | ${cells.join(' | ')} |`
  })
}

const keptMark = 'runs of slow scenarios, as they were when this page was written'

/** One record a line, so that a change of one is a change of its line. */
function keptRuns(scenarios, runs) {
  const kept = scenarios.filter(isSlow).flatMap(({ scenario, digest }) => {
    const run = runs.get(scenario)
    return run ? [JSON.stringify({ file: digest, ...run })] : []
  })
  return kept.length === 0 ? [] : ['', `<!-- ${keptMark}`, ...kept, '-->']
}

function readKept(page) {
  const block = page.split(`<!-- ${keptMark}\n`)[1]?.split('\n-->')[0] ?? ''
  return new Map(objectsOf(block).map(({ file, ...run }) => [run.scenario, { file, run }]))
}

/** @param facts.scenarios of `squall list --json`, each with the digest of its file; facts.runs: records by scenario. */
function pageOf({ statements, volumes, ...facts }) {
  const { scenarios, runs } = facts
  const { data, service } = volumes.promisesOf
  return `${[
    '# High availability, statement by statement',
    '',
    'What the service that Squall models says of itself, which scenarios put each sentence to the test, what a real run of them shows, and which planted bug takes the mechanism behind the sentence out and is caught.',
    '',
    `\`${command}\` writes this page: from what the scenarios say of themselves, from the heads of the patches in [gallery](../gallery), and from a run of every scenario at seed ${SEED}.`,
    'A run is a function of scenario and seed, the same on every machine. `node tools/high-availability.mjs --check`, a part of `.ci/run`, plays the runs again and fails where this page would change.',
    'Slow scenarios it does not play again: what they showed is kept at the end of this page with a digest of the file that was played, and the check fails once the file has changed.',
    '',
    'To see a run in full: `npx squall run az-outage --seed 1`. To have a mechanism taken out: `npx vitest run --project properties gallery/gallery -t "words of its title"`.',
    '',
    '## Statements',
    '',
    'Under *a run shows*: the scenario in bold, which fails without the mechanism, as it is with it. A recovery time counts from the fault and contains how long the client takes to notice, which is its library’s doing:',
    'mqtt.js and its like take their keepalive and half of it again ([client profiles](client-profiles.md)).',
    '',
    '| | statement | put to the test by | a run shows |',
    '|---|---|---|---|',
    ...Object.entries(statements).map(([id, sentence]) => statementRow(id, sentence, facts)),
    '',
    '## With the mechanism taken out',
    '',
    'Each of these bugs is planted by a test, which expects the promise to be broken.',
    '',
    '| | what is taken out | played by | broken then |',
    '|---|---|---|---|',
    ...Object.keys(statements).flatMap((id) => takenOutRows(id, facts.bugs)),
    '',
    '## Scenarios',
    '',
    `The whole catalogue, ${scenarios.length} scenarios: \`npx squall run --all --seeds 1..10\`. What the promises mean stands in the [README](../README.md#what-is-promised-and-checked).`,
    '',
    '| scenario | statements | promises it expects | a run shows |',
    '|---|---|---|---|',
    ...scenarios.map((scenario) => scenarioRow(scenario, runs)),
    '',
    '## What each kind of cloud disk keeps',
    '',
    'The table that verdicts are explained from (`model/volume/kinds.ts`); `volumes: { kind: zonal }` in a scenario, or `--set volumes.kind=zonal`, chooses.',
    '',
    `| what happens | ${volumes.volumeKinds.map(code).join(' | ')} |`,
    `|---|${volumes.volumeKinds.map(() => '---').join('|')}|`,
    ...volumeRows(volumes),
    '',
    `Data kept means ${data.map(code).join(', ')}; served throughout means ${service.map(code).join(' and ')}, for the shards on such a volume.`,
    ...keptRuns(scenarios, runs),
  ].join('\n')}\n`
}

/** What is wrong apart from the page's text: runs that do not hold, slow ones that have to be played again, bugs of scenarios that nobody knows. */
function problemsOf({ scenarios, runs, bugs, kept }) {
  const known = new Set(scenarios.map(({ scenario }) => scenario))
  return [
    ...scenarios.filter(({ scenario }) => !runs.has(scenario)).map(({ scenario }) => `${scenario} was not played`),
    ...[...runs.values()]
      .filter(({ verdict }) => verdict !== 'held')
      .map(({ scenario, verdict }) => `${scenario} at seed ${SEED}: ${verdict}`),
    ...scenarios
      .filter((scenario) => isSlow(scenario) && kept !== undefined && kept.get(scenario.scenario)?.file !== scenario.digest)
      .map(({ scenario }) => `${scenario} is slow, and is not as it was when the page was written: run ${command}`),
    ...bugs
      .filter(({ statement, scenario }) => statement !== undefined && !known.has(scenario))
      .map(({ id, scenario }) => `gallery/${id}.patch has a statement, and ${scenario} is not in the catalogue`),
  ]
}

// The command

async function run({ check, runsFile }) {
  const built = (path) => new URL(`../dist/${path}`, import.meta.url)
  if (!existsSync(built('bin/main.js'))) {
    process.stderr.write('not built: run `npm run build`\n')
    return false
  }
  const [{ statements }, volumes] = await Promise.all([
    import(built('scenarios/statements.js').href),
    import(built('model/volume/kinds.js').href),
  ])
  const scenarios = (await squall('list', '--json')).map((row) => ({
    ...row,
    digest: digestOf(readFileSync(join(root, 'scenarios/catalogue', `${row.scenario}.yaml`), 'utf8')),
  }))
  const page = existsSync(join(root, pagePath)) ? readFileSync(join(root, pagePath), 'utf8') : ''
  const kept = readKept(page)
  const played = scenarios.filter((scenario) => !check || !isSlow(scenario)).map(({ scenario }) => scenario)
  const results =
    runsFile === undefined ? await squall('run', ...played, '--seed', String(SEED), '--json') : objectsOf(readFileSync(runsFile, 'utf8'))
  const records = results.filter(({ seed }) => seed === SEED).map(recordOf)
  const runs = new Map(records.map((record) => [record.scenario, record]))
  if (check) for (const [name, { run }] of kept) runs.set(name, run)
  const bugs = readBugs()
  const problems = problemsOf({ scenarios, runs, bugs, kept: check ? kept : undefined })
  const written = pageOf({ statements, volumes, scenarios, runs, bugs })
  if (!check) writeFileSync(join(root, pagePath), written)
  else if (written !== page) {
    problems.push(`${pagePath} is not what scenarios and runs give: run ${command}`, ...firstDifference(page, written))
  }
  for (const problem of problems) process.stdout.write(`${problem}\n`)
  if (problems.length === 0)
    process.stdout.write(
      `${pagePath}: ${Object.keys(statements).length} statements, ${scenarios.length} scenarios, ${played.length} played\n`,
    )
  return problems.length === 0
}

function firstDifference(page, written) {
  const [before, after] = [page.split('\n'), written.split('\n')]
  const at = after.findIndex((line, index) => line !== before[index])
  return at < 0 ? [] : [`  line ${at + 1} is       ${before[at] ?? 'missing'}`, `  and should be  ${after[at]}`]
}

// The self-test

function selfTest() {
  const failures = []
  let cases = 0
  const holds = (what, condition) => {
    cases++
    if (!condition) failures.push(what)
  }
  const result = {
    scenario: 'dark',
    seed: SEED,
    verdict: 'held',
    promises: [
      { id: 'progress', verdict: 'held', expected: 'held', exercised: 40, violationCount: 0, violations: [] },
      { id: 'retention', verdict: 'not-exercised', expected: null, exercised: 0, violationCount: 0, violations: [] },
    ],
    measures: { messagesAcknowledged: 4668, lost: 0, recovery: { total: { count: 34, max: 8061.2 } } },
    facts: { clientsStruck: 30 },
    failover: { shards: 4, ownerlessMs: 3130.8 },
    wallSeconds: 1.7,
  }
  const record = recordOf(result)
  const scenario = { scenario: 'dark', title: 'A | goes', statements: ['H1'], tags: ['zone'], expect: { progress: 'held' }, digest: 'aa' }
  const slow = { ...scenario, scenario: 'long', title: 'Days', statements: ['H2'], tags: ['slow'], digest: 'bb' }
  const patch =
    'Title: No *check*\nStory: It was\n  forgotten\nBreaks: progress\nScenario: dark\nStatement: H1\nSeeds: 1..2\n\n--- a/x.ts\n+++ b/x.ts\n@@ -1,1 +1,1 @@\n-Title: b\n+c\n'
  const facts = {
    statements: { H1: 'It stands.', H2: 'It lasts.', H3: 'It is new.' },
    volumes: {
      volumeKinds: ['regional'],
      volumeStrains: ['copy-dark'],
      keptUnder: { regional: { 'copy-dark': { data: 'kept', service: 'kept', because: 'two are left' } } },
      promisesOf: { data: ['acked-survives'], service: ['progress'] },
    },
    scenarios: [scenario, slow],
    runs: new Map([
      ['dark', record],
      ['long', { ...record, scenario: 'long', acknowledged: 12 }],
    ]),
    bugs: [headOf('no-check', patch)],
  }
  const page = pageOf(facts)
  const row = (id) => page.split('\n').find((line) => line.startsWith(`| **${id}**`))
  holds(
    'a head is read up to the diff, over continued lines',
    facts.bugs[0].story === 'It was forgotten' && facts.bugs[0].title === 'No *check*',
  )
  holds(
    'a statement has its scenario, what a run shows, and what is taken out',
    row('H1') ===
      '| **H1** | It stands. | **`dark`** | `dark`: `progress` put to the test 40 times; held; 30 clients on a proxy that a fault struck; a client served again 34 times, after at most 8.06 s; 4 shards moved, without an owner for up to 3.13 s; 4,668 acknowledged, 0 lost |',
  )
  holds(
    'what is taken out has a row of its own',
    page.includes('| **H1** | [No \\*check\\*](../gallery/no-check.patch) | `dark` | `progress` |'),
  )
  holds(
    'a statement that nothing puts to the test says so',
    row('H3').includes('**no scenario yet**') && page.includes('| **H3** | **nothing yet** |'),
  )
  holds(
    'a queue of handshakes is told',
    shows(recordOf({ ...result, queues: { tlsHandshakes: [{ peak: 1812, waits: { max: 2400 } }] } })).includes(
      '; up to 1,812 TLS handshakes waiting at one proxy, for up to 2.40 s; 4,668',
    ),
  )
  holds('titles are text', page.includes('A \\| goes'))
  holds('a slow scenario says so', page.includes('Days (slow)'))
  holds(
    'a kind of volume has its row',
    page.includes(
      '| one copy is out of reach, and whole when it is back, as in a zone outage | all data kept, served throughout: two are left |',
    ),
  )
  holds('the same gives the same page', pageOf(facts) === page)
  holds(
    'the time that a run took is not in the page',
    pageOf({ ...facts, runs: new Map(facts.runs).set('dark', recordOf({ ...result, wallSeconds: 9 })) }) === page,
  )
  holds(
    'what slow runs showed is read back as it was',
    pageOf({ ...facts, runs: new Map([['dark', record], ...[...readKept(page)].map(([name, { run }]) => [name, run])]) }) === page,
  )

  const drifts = {
    'a time of a run': { runs: new Map(facts.runs).set('dark', { ...record, worstRecoveryMs: 8071.2 }) },
    'a count of a run': { runs: new Map(facts.runs).set('dark', { ...record, acknowledged: 4667 }) },
    'a verdict': { runs: new Map(facts.runs).set('dark', { ...record, verdict: 'violated' }) },
    'a promise of a run': { runs: new Map(facts.runs).set('dark', { ...record, promises: [{ ...record.promises[0], exercised: 41 }] }) },
    'a run of a slow scenario': { runs: new Map(facts.runs).set('long', { ...record, scenario: 'long', lost: 1 }) },
    'a title': { scenarios: [{ ...scenario, title: 'Another' }, slow] },
    'a statement of a scenario': { scenarios: [{ ...scenario, statements: ['H1', 'H3'] }, slow] },
    'an expected promise': { scenarios: [{ ...scenario, expect: { progress: 'violated' } }, slow] },
    'a scenario more': { scenarios: [scenario, slow, { ...scenario, scenario: 'new' }] },
    'a scenario less': { scenarios: [slow] },
    'the file of a slow scenario': { scenarios: [scenario, { ...slow, digest: 'cc' }] },
    'a sentence': { statements: { ...facts.statements, H2: 'It lasts long.' } },
    'the promise of a bug': { bugs: [{ ...facts.bugs[0], breaks: 'retention' }] },
    'the statement of a bug': { bugs: [{ ...facts.bugs[0], statement: 'H2' }] },
    'a bug less': { bugs: [] },
    'what a kind of volume keeps': {
      volumes: { ...facts.volumes, keptUnder: { regional: { 'copy-dark': { data: 'lost', service: 'kept', because: 'two are left' } } } },
    },
  }
  for (const [what, drift] of Object.entries(drifts)) holds(`a drift is seen: ${what}`, pageOf({ ...facts, ...drift }) !== page)

  const kept = readKept(page)
  holds(
    'a scenario that was not played is a problem',
    problemsOf({ ...facts, ...drifts['a scenario more'], kept }).join() === 'new was not played',
  )
  holds('all as it should be has no problem', problemsOf({ ...facts, kept }).length === 0)
  holds(
    'a run that does not hold is a problem',
    problemsOf({ ...facts, ...drifts['a verdict'], kept }).join() === 'dark at seed 1: violated',
  )
  holds('a slow scenario that changed is a problem', problemsOf({ ...facts, ...drifts['the file of a slow scenario'], kept }).length === 1)
  holds('a slow scenario that was never played is a problem', problemsOf({ ...facts, kept: new Map() }).length === 1)
  holds(
    'a proof outside of the catalogue is a problem',
    problemsOf({ ...facts, bugs: [{ ...facts.bugs[0], scenario: 'gallery/x.yaml' }], kept }).length === 1,
  )

  for (const failure of failures) process.stdout.write(`self-test: ${failure}\n`)
  process.stdout.write(
    failures.length === 0 ? `self-test: ${cases} cases hold\n` : `self-test: ${failures.length} of ${cases} cases fail\n`,
  )
  return failures.length === 0
}

const runsAt = process.argv.indexOf('--runs')
const options = { check: process.argv.includes('--check'), runsFile: runsAt < 0 ? undefined : process.argv[runsAt + 1] }
const held = process.argv.includes('--self-test') ? selfTest() : await run(options)
process.exitCode = held ? 0 : 1
