// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the self-test plants template literals as text
/**
 * Writes docs/mqtt.md: every normative statement of MQTT 5 with whom it binds, and the tests that name it.
 *
 *     node tools/mqtt-statements.mjs                     says again which tests cover what, and writes the page
 *     node tools/mqtt-statements.mjs --check             writes nothing; exit 1 where the page would change, a test names a statement that does not exist,
 *                                                        or it is not said whom a statement binds
 *     node tools/mqtt-statements.mjs --statements FILE   adds the statements of a JSON list of { id, text } that the page does not have yet
 *     node tools/mqtt-statements.mjs --open              lists the statements that bind a server and have neither a test nor a reason
 *     node tools/mqtt-statements.mjs --self-test         plants titles and pages, and sees that they are read as they should be
 *
 * The page is its own source for what a person decided: the wording, whom a statement binds, and why there is no test (`- does not arise: ...`,
 * `- left out: ...`). All before the first marked block is kept as it stands. A test covers a statement by naming it in its title, `[MQTT-3.3.1-6]`, or in the
 * title of its row in a table; for a statement that binds the server, a test of the client of the simulation does not count. It reads literals, not meaning:
 * whether a test shows what its title says is for whoever reads it.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const pagePath = 'docs/mqtt.md'
const folders = ['bench', 'bin', 'checks', 'gallery', 'live', 'model', 'reports', 'scenarios', 'sim']
/** What is tested here is the client of the simulation, not the service. */
const ofClient = (path) => path.startsWith('model/client/')
const testFile = /\.(test|test-support)\.ts$/
const statementId = /^MQTT-\d+(?:\.\d+)*-\d+$/
const bindings = ['server', 'client', 'both', 'neither']
const reasonWords = ['does not arise', 'left out']
/** A table of rows can have many titles for one statement in one file; so many are named. */
const titlesNamed = 5

const sections = {
  1.5: 'Data representation',
  2.1: 'Fixed header',
  2.2: 'Packet identifier and properties',
  3.1: 'CONNECT',
  3.2: 'CONNACK',
  3.3: 'PUBLISH',
  3.4: 'PUBACK',
  3.5: 'PUBREC',
  3.6: 'PUBREL',
  3.7: 'PUBCOMP',
  3.8: 'SUBSCRIBE',
  3.9: 'SUBACK',
  '3.10': 'UNSUBSCRIBE',
  3.11: 'UNSUBACK',
  3.12: 'PINGREQ and PINGRESP',
  3.14: 'DISCONNECT',
  3.15: 'AUTH',
  4.1: 'Session state',
  4.2: 'Network connections',
  4.3: 'Quality of service',
  4.4: 'Message delivery retry',
  4.5: 'Message receipt',
  4.6: 'Message ordering',
  4.7: 'Topic names and topic filters',
  4.8: 'Subscriptions',
  4.9: 'Flow control',
  4.12: 'Enhanced authentication',
  4.13: 'Handling errors',
  '6.0': 'WebSocket',
}

// Titles

/** The literals of one line of code: `{ text, start }`. A title stands on one line. */
function literalsOf(line) {
  const found = []
  let at = 0
  while (at < line.length) {
    const quote = line[at]
    if (quote === '/' && line[at + 1] === '/') break
    if (quote !== "'" && quote !== '"' && quote !== '`') {
      at++
      continue
    }
    const start = at++
    while (at < line.length && line[at] !== quote) at += line[at] === '\\' ? 2 : 1
    found.push({ text: line.slice(start + 1, at), start })
    at++
  }
  return found
}

/** Whether what stands before a literal makes it the title of a test, of a group of tests, or of a row in a table of tests. */
function isTitle(before) {
  if (/(?:^|[^.\w])(?:test|it|describe)(?:\.(?:concurrent|sequential))?\s*\($/.test(before) || /\)\s*\($/.test(before)) return true
  if (/(?:^|[{,(\s])(?:name|title):$/.test(before)) return true
  return /(?:^|[,[=>]\s*|\.each\(\s*|\.\.\.)\[$/.test(before)
}

/** Statements named by the titles of a test file: `{ id, title, line }`. */
function titlesOf(source) {
  const found = []
  const lines = source.split('\n')
  let previous = ''
  lines.forEach((line, index) => {
    const isComment = /^\s*(?:\/\/|\/?\*)/.test(line)
    if (line.includes('[MQTT-') && !isComment) {
      for (const { text, start } of literalsOf(line)) {
        const groups = [...text.matchAll(/\[([^[\]]*MQTT-[^[\]]*)\]/g)]
        if (groups.length === 0) continue
        const sameLine = line.slice(0, start).trim()
        if (!isTitle(sameLine === '' ? previous : sameLine)) continue
        const title = text
          .replace(/\s*\[[^[\]]*MQTT-[^[\]]*\]/g, '')
          .replace(/\s*\[section [\d.]+\]/g, '')
          .replace(/\$\{[^}]*\}|%[sdifjop]/g, '…')
          .replace(/\\(.)/g, '$1')
          .trim()
        for (const [, group] of groups) {
          // Of MQTT 3.1.1: another standard, another list.
          if (group.startsWith('v3.1.1 ')) continue
          for (const id of group.split(/[,\s]+/)) found.push({ id, title, line: index + 1 })
        }
      }
    }
    if (line.trim() !== '' && !isComment) previous = line.trim()
  })
  return found
}

/** Statements that a check holds every run to: those it names as a literal. */
function checkedBy(source) {
  return [...new Set([...source.matchAll(/'(MQTT-\d+(?:\.\d+)*-\d+)'/g)].map((match) => match[1]))]
}

function filesUnder(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesUnder(path)
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [path] : []
  })
}

const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0)

/** What the repository says: `tests` and `checks` by statement, and every id that a title names. */
function readRepository() {
  const tests = new Map()
  const checks = new Map()
  const named = []
  const paths = folders.flatMap((folder) => filesUnder(join(root, folder))).map((path) => relative(root, path).replaceAll('\\', '/'))
  for (const path of paths.sort(byText)) {
    const source = readFileSync(join(root, path), 'utf8')
    if (testFile.test(path)) {
      for (const { id, title, line } of titlesOf(source)) {
        named.push({ id, path, line })
        if (!tests.has(id)) tests.set(id, new Map())
        const ofFile = tests.get(id)
        if (!ofFile.has(path)) ofFile.set(path, [])
        if (!ofFile.get(path).includes(title)) ofFile.get(path).push(title)
      }
    } else if (path.startsWith('checks/')) {
      for (const id of checkedBy(source)) checks.set(id, [...(checks.get(id) ?? []), path])
    }
  }
  return { tests, checks, named }
}

// The page

const marks = { summary: 'summary', statements: 'statements' }
const begin = (name) => `<!-- ${name}: written by tools/mqtt-statements.mjs -->`
const end = (name) => `<!-- ${name}: end -->`

const firstPage = `# MQTT 5, statement by statement

${begin(marks.summary)}
${end(marks.summary)}

${begin(marks.statements)}
${end(marks.statements)}
`

function blockOf(page, name) {
  const from = page.indexOf(begin(name))
  const to = page.indexOf(end(name))
  if (from < 0 || to < from) throw new Error(`${pagePath}: the marks around '${name}' are missing`)
  return { from: from + begin(name).length, to }
}

/** The rows of the page: `{ id, binds, text, reason }`, of which tests and checks say nothing. */
function rowsOf(page) {
  const { from, to } = blockOf(page, marks.statements)
  const rows = []
  for (const line of page.slice(from, to).split('\n')) {
    const head = /^\*\*(MQTT-[\d.]+-\d+)\*\* binds: (\w+)$/.exec(line)
    if (head !== null) rows.push({ id: head[1], binds: head[2], text: '', reason: undefined })
    const row = rows.at(-1)
    if (row === undefined) continue
    if (line.startsWith('> ')) row.text = line.slice(2)
    if (reasonWords.some((words) => line.startsWith(`- ${words}: `))) row.reason = line.slice(2)
  }
  return rows
}

function partsOf(id) {
  return id.slice('MQTT-'.length).split(/[.-]/).map(Number)
}

/** In the order of the standard. */
function byStatement(a, b) {
  const left = partsOf(a.id)
  const right = partsOf(b.id)
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

const sectionOf = (id) => id.slice('MQTT-'.length).split(/[.-]/).slice(0, 2).join('.')
const bindsServer = (row) => row.binds === 'server' || row.binds === 'both'

/** In a page, `|`, `<` and the like would be markup; titles and statements are text. */
const plain = (text) => text.replace(/[\\`*_<>#[\]|]/g, (character) => `\\${character}`)

/** The files whose tests cover a statement: `[path, titles]`. */
function testsOf(row, repository) {
  const files = [...(repository.tests.get(row.id) ?? [])]
  return bindsServer(row) ? files.filter(([path]) => !ofClient(path)) : files
}

function coverageLines(row, repository) {
  const lines = []
  const tests = testsOf(row, repository)
  for (const [path, titles] of tests) {
    const more = titles.length > titlesNamed ? `; and ${titles.length - titlesNamed} more` : ''
    lines.push(`- [${path}](../${path}): ${titles.slice(0, titlesNamed).map(plain).join('; ')}${more}`)
  }
  for (const path of repository.checks.get(row.id) ?? []) lines.push(`- checked in every run: [${path}](../${path})`)
  if (row.reason !== undefined && tests.length === 0) lines.push(`- ${row.reason}`)
  if (lines.length === 0 && bindsServer(row)) lines.push('- **no test yet**')
  return lines
}

/** Of a statement that binds a server: what stands for it. */
function standing(row, repository) {
  if (testsOf(row, repository).length > 0) return 'tested'
  if (row.reason !== undefined) return row.reason.startsWith('left out') ? 'left out' : 'does not arise'
  return repository.checks.has(row.id) ? 'checked' : 'open'
}

function summaryOf(rows, repository) {
  const ofServer = rows.filter(bindsServer)
  const count = (what) => ofServer.filter((row) => standing(row, repository) === what).length
  const everyRun = ofServer.filter((row) => repository.checks.has(row.id)).length
  const enforced = rows.filter((row) => !bindsServer(row) && testsOf(row, repository).length > 0).length
  return [
    `| of ${rows.length} normative statements | |`,
    '|---|---:|',
    `| **bind a server** (${ofServer.filter((row) => row.binds === 'both').length} of them a client too) | **${ofServer.length}** |`,
    `| … covered by tests | ${count('tested')} |`,
    `| … not by a test of their own, but checked in every run | ${count('checked')} |`,
    `| … do not arise: what they are about is not offered, or always is | ${count('does not arise')} |`,
    `| … left out | ${count('left out')} |`,
    `| … without a test yet | ${count('open')} |`,
    `| bind clients only | ${rows.filter((row) => row.binds === 'client').length} |`,
    `| … with tests all the same: the server refuses what breaks them, or our own clients keep them | ${enforced} |`,
    '',
    `${everyRun} of the server's statements are checked in every simulated run, against every packet that clients receive.`,
  ].join('\n')
}

function statementsOf(rows, repository) {
  const lines = []
  let section
  for (const row of rows) {
    if (sectionOf(row.id) !== section) {
      section = sectionOf(row.id)
      lines.push(`## ${section} ${sections[section] ?? ''}`.trimEnd(), '')
    }
    lines.push(`**${row.id}** binds: ${row.binds}`, `> ${row.text}`, '')
    const coverage = coverageLines(row, repository)
    if (coverage.length > 0) lines.push(...coverage, '')
  }
  return lines.join('\n').trimEnd()
}

function pageOf(page, rows, repository) {
  const sorted = [...rows].sort(byStatement)
  const replace = (text, name, content) => {
    const { from, to } = blockOf(text, name)
    return `${text.slice(0, from)}\n\n${content}\n\n${text.slice(to)}`
  }
  const withSummary = replace(page, marks.summary, summaryOf(sorted, repository))
  return replace(withSummary, marks.statements, statementsOf(sorted, repository))
}

function withImported(rows, statements) {
  const known = new Set(rows.map((row) => row.id))
  const added = statements.filter(({ id }) => statementId.test(id) && !known.has(id))
  return [...rows, ...added.map(({ id, text }) => ({ id, binds: 'unclassified', text: text.replaceAll('\n', ' '), reason: undefined }))]
}

function problemsOf(rows, repository) {
  const known = new Set(rows.map((row) => row.id))
  return [
    ...repository.named.filter(({ id }) => !known.has(id)).map(({ id, path, line }) => `${path}:${line}: there is no statement ${id}`),
    ...rows.filter((row) => !bindings.includes(row.binds)).map((row) => `${pagePath}: whom does ${row.id} bind?`),
  ]
}

// The command

const argument = (name) => {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : (process.argv[at + 1] ?? '')
}

function run() {
  let page = firstPage
  try {
    page = readFileSync(join(root, pagePath), 'utf8')
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
  const file = argument('--statements')
  const known = rowsOf(page)
  const rows = file === undefined ? known : withImported(known, JSON.parse(readFileSync(file, 'utf8')))
  const repository = readRepository()
  const problems = problemsOf(rows, repository)
  if (process.argv.includes('--open')) {
    const open = rows.filter((row) => bindsServer(row) && standing(row, repository) === 'open')
    for (const row of open) process.stdout.write(`${row.id} (${row.binds}) ${row.text}\n`)
    return true
  }
  const written = pageOf(page, rows, repository)
  if (process.argv.includes('--check')) {
    if (written !== page) problems.push(`${pagePath} is not what the tests say: run node tools/mqtt-statements.mjs`)
  } else writeFileSync(join(root, pagePath), written)
  for (const problem of problems) process.stdout.write(`${problem}\n`)
  if (problems.length === 0) process.stdout.write(`${pagePath}: ${rows.length} statements\n`)
  return problems.length === 0
}

// The self-test

/** [source, the statements and titles that it names]. */
const titleTests = [
  ["test('removes it [MQTT-3.3.1-6]', () => {", ['MQTT-3.3.1-6 removes it']],
  ["  it('a [MQTT-1.5.4-1] [MQTT-1.5.4-2]', () => {", ['MQTT-1.5.4-1 a', 'MQTT-1.5.4-2 a']],
  ["describe('a [MQTT-1.5.4-1, MQTT-4.2-1]', () => {", ['MQTT-1.5.4-1 a', 'MQTT-4.2-1 a']],
  ['test("it\'s one [MQTT-1.5.4-1]", f)', ["MQTT-1.5.4-1 it's one"]],
  ["test('it\\'s one [MQTT-1.5.4-1]', f)", ["MQTT-1.5.4-1 it's one"]],
  ['test(`$' + '{packet} is [MQTT-1.5.4-1]`, f)', ['MQTT-1.5.4-1 … is']],
  ["test.each(rows)('%s is [MQTT-1.5.4-1]', f)", ['MQTT-1.5.4-1 … is']],
  ["test.each([\n  ['a row [MQTT-1.5.4-1]', 1],\n])('%s', f)", ['MQTT-1.5.4-1 a row']],
  ["test.each([['a row [MQTT-1.5.4-1]', 1]])('%s', f)", ['MQTT-1.5.4-1 a row']],
  ["const rows = [\n  [\n    'a row [MQTT-1.5.4-1]',\n    1,\n  ],\n]", ['MQTT-1.5.4-1 a row']],
  ["const rows = [{ name: 'a row [MQTT-1.5.4-1]' }]", ['MQTT-1.5.4-1 a row']],
  ["test(\n  'on its own line [MQTT-1.5.4-1]',\n  f,\n)", ['MQTT-1.5.4-1 on its own line']],
  ["['broken [MQTT-1.5.4-1] [section 2.1.4]', 1],", ['MQTT-1.5.4-1 broken']],
  // Named, but not by a title, or not of this standard.
  ["expect(text).toBe('a [MQTT-1.5.4-1]')", []],
  ["expect(texts).toEqual(['a [MQTT-1.5.4-1]'])", []],
  ["test.skip('a [MQTT-1.5.4-1]', f)", []],
  ["test.todo('a [MQTT-1.5.4-1]')", []],
  ["// test('a [MQTT-1.5.4-1]', f)", []],
  ["/** [MQTT-1.5.4-1] */\ntest('a', f)", []],
  ["test('a', f) // [MQTT-1.5.4-1]", []],
  ["test('a [v3.1.1 MQTT-3.1.2-22]', f)", []],
]

function selfTest() {
  const failures = []
  for (const [source, expected] of titleTests) {
    const found = titlesOf(source).map(({ id, title }) => `${id} ${title}`)
    if (found.join('\n') !== expected.join('\n'))
      failures.push(`${source}\n  expected ${JSON.stringify(expected)}, got ${JSON.stringify(found)}`)
  }
  const repository = {
    tests: new Map([
      ['MQTT-3.10.1-1', new Map([['model/a.test.ts', ['one *title*', ...'bcdefg']]])],
      ['MQTT-3.9.3-1', new Map([['model/client/b.test.ts', ['a client does']]])],
      ['MQTT-4.6.0-1', new Map([['model/client/b.test.ts', ['a client resends']]])],
    ]),
    checks: new Map([['MQTT-3.9.2-1', ['checks/wire-legal.ts']]]),
    named: [
      { id: 'MQTT-3.10.1-1', path: 'model/a.test.ts', line: 1 },
      { id: 'MQTT-9.9.9-9', path: 'model/a.test.ts', line: 7 },
    ],
  }
  const rows = [
    { id: 'MQTT-3.10.1-1', binds: 'both', text: 'A.', reason: 'left out: no more, since there is a test' },
    { id: 'MQTT-3.9.2-1', binds: 'server', text: 'B.', reason: undefined },
    { id: 'MQTT-3.9.3-1', binds: 'both', text: 'E.', reason: undefined },
    { id: 'MQTT-4.6.0-1', binds: 'client', text: 'F.', reason: undefined },
    { id: 'MQTT-6.0.0-1', binds: 'server', text: 'C.', reason: 'left out: WebSocket' },
    ...withImported([], [{ id: 'MQTT-4.1.0-1', text: 'D.' }]),
  ]
  const page = pageOf(`Kept.\n${firstPage}`, rows, repository)
  const holds = (what, condition) => {
    if (!condition) failures.push(what)
  }
  holds('what a person wrote is kept', page.startsWith('Kept.\n# MQTT 5'))
  holds(
    'the order is that of the standard',
    rowsOf(page)
      .map(({ id }) => id)
      .join() === 'MQTT-3.9.2-1,MQTT-3.9.3-1,MQTT-3.10.1-1,MQTT-4.1.0-1,MQTT-4.6.0-1,MQTT-6.0.0-1',
  )
  holds('a page that is read and written stays as it is', pageOf(page, rowsOf(page), repository) === page)
  holds('titles are text, and only so many', page.includes('): one \\*title\\*; b; c; d; e; and 2 more'))
  holds('a reason goes where there is a test', rowsOf(page)[2].reason === undefined && rowsOf(page)[5].reason === 'left out: WebSocket')
  holds(
    'a test of the client covers what binds clients only',
    page.includes('a client resends') && !page.includes('a client does') && page.includes('| … without a test yet | 1 |'),
  )
  holds('a check is named', page.includes('- checked in every run: [checks/wire-legal.ts](../checks/wire-legal.ts)'))
  holds('a summary counts', page.includes('| … covered by tests | 1 |') && page.includes('| … left out | 1 |'))
  holds('what nobody decided, and what does not exist, is a problem', problemsOf(rows, repository).length === 2)
  for (const failure of failures) process.stdout.write(`self-test: ${failure}\n`)
  const cases = titleTests.length + 9
  process.stdout.write(
    failures.length === 0 ? `self-test: ${cases} cases hold\n` : `self-test: ${failures.length} of ${cases} cases fail\n`,
  )
  return failures.length === 0
}

process.exitCode = (process.argv.includes('--self-test') ? selfTest() : run()) ? 0 : 1
