// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the self-test plants template literals as text
/**
 * Holds the source to the layers and to determinism: no import points up, and nothing in model/ and sim/ asks the real machine for time, chance or order.
 *
 *     node tools/check-arrows.mjs               checks the repository, prints file:line for each offence, exit 1 where there is one
 *     node tools/check-arrows.mjs --self-test   plants each kind of offence and its legal neighbour, and sees that the first is caught and the second is not
 *
 * It reads tokens, not types: comments, strings and regular expressions are blanked first. What it cannot see is a name reached through a value
 * (`const { constructor } = ...`); during a run `sim/ambient.ts` makes the ambient names throw.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * `folders`: what of ours may be imported, besides the folder itself: 'all', 'types', or a list of files. `packages`: names, `node:*` for all of Node's.
 * `only`: packages that just some files of the folder may use. Folders without an entry (bench, gallery, tools) may import anything.
 */
const ports = ['model/host.ts', 'model/world.ts']
/** What reads and writes scenario files; a run itself touches no file. */
const scenarioFiles = /^scenarios\/(load|catalogue|explore|write-schema)\.ts$/
const layers = {
  model: { folders: {}, packages: ['dns-packet'] },
  sim: { folders: { model: ports }, packages: ['seedrandom'] },
  live: { folders: { model: ports }, packages: ['seedrandom', 'node:*'] },
  checks: { folders: { model: 'types', sim: 'types', live: 'types' }, packages: ['mqtt-packet'] },
  scenarios: {
    folders: { model: 'all', sim: 'all', checks: 'all' },
    packages: ['yaml', 'zod', 'fast-check', 'seedrandom'],
    only: { 'node:fs': scenarioFiles, 'node:path': scenarioFiles, 'node:url': scenarioFiles, 'node:crypto': scenarioFiles },
  },
  reports: { folders: { model: 'types', checks: 'all', scenarios: 'all' }, packages: ['node:util'] },
  bin: {
    folders: { model: 'all', sim: 'all', live: 'all', checks: 'all', scenarios: 'all', reports: 'all', dist: 'all' },
    packages: ['commander', 'piscina', 'node:*'],
  },
}

/** Tests may use any package, and besides what their folder may import the model, the simulator and what they test. */
const testFile = /\.(test|test-support|contract)\.tsx?$/
const sourceFile = /\.(ts|tsx|mts|cts|js|mjs|cjs)$/

/** Folders whose code must be a pure function of scenario and seed, and the one file there that has to name what it takes away. */
const pureFolders = ['model', 'sim']
const ambientExceptions = ['sim/ambient.ts']

const forbiddenNames = {
  Date: 'use Host.nowMs or Host.wallMs',
  performance: 'use Host.nowMs',
  setTimeout: 'use Host.setTimer',
  setInterval: 'use Host.setTimer',
  setImmediate: 'use Host.setTimer',
  clearTimeout: 'use Timer.cancel',
  clearInterval: 'use Timer.cancel',
  clearImmediate: 'use Timer.cancel',
  queueMicrotask: 'handlers run to completion; use Host.setTimer',
  Promise: 'continue by callback',
  async: 'continue by callback',
  await: 'continue by callback',
  process: 'ask the Host',
  console: 'record an event',
  Intl: 'its answers differ between machines',
  structuredClone: 'not part of the language; build the value',
  crypto: 'use Host.random',
  fetch: 'use Host.connect',
  require: 'use import',
  globalThis: 'name what you need, by the ports',
  eval: 'write the code down',
  WeakRef: 'when it is cleared is chance',
  FinalizationRegistry: 'when it runs is chance',
}

const forbiddenPatterns = [
  [/\bMath\s*(?:\?\.|\.)\s*random\b/g, 'Math.random', 'use Host.random'],
  [/\bMath\s*(?:\?\.|\.)\s*pow\b/g, 'Math.pow', 'its bits differ between Node versions; multiply in a loop, or shift'],
  [/\bMath\b(?!\s*(?:\?\.|\.))/g, 'Math as a value', 'name the function: Math.floor'],
  [/\*\*/g, '**', 'its bits differ between Node versions; multiply in a loop, or shift'],
  [/\.\s*localeCompare\b/g, 'localeCompare', 'compare by code unit'],
  [/\.\s*toLocale\w+/g, 'toLocale...', 'its answers differ between machines'],
  [/\bimport\s*\.\s*meta\b/g, 'import.meta', 'ask the Host'],
  [/\bfor\s+await\b/g, 'for await', 'continue by callback'],
]

/** @returns the source with comments, strings and regular expressions turned to blanks, quotes and line breaks kept: every position stays what it was. */
function blank(source) {
  const out = source.split('')
  /** For each open `${`, how many braces are open in it. */
  const templates = []
  let at = 0

  const erase = (from, to) => {
    for (let i = from; i < to; i++) if (out[i] !== '\n') out[i] = ' '
  }
  const skipString = (quote) => {
    const start = at++
    while (at < source.length && source[at] !== quote && source[at] !== '\n') at += source[at] === '\\' ? 2 : 1
    erase(start + 1, Math.min(at, source.length))
    at++
  }
  /** From behind a backtick, or the brace that ends a `${}`, to behind the next backtick or `${`. */
  const skipTemplate = () => {
    const start = at
    while (at < source.length) {
      if (source[at] === '\\') at += 2
      else if (source[at] === '`') {
        erase(start, at)
        at++
        return
      } else if (source[at] === '$' && source[at + 1] === '{') {
        erase(start, at)
        at += 2
        templates.push(0)
        return
      } else at++
    }
    erase(start, source.length)
  }
  const skipRegExp = () => {
    const start = at++
    let inClass = false
    while (at < source.length && source[at] !== '\n' && (inClass || source[at] !== '/')) {
      if (source[at] === '\\') at++
      else if (source[at] === '[') inClass = true
      else if (source[at] === ']') inClass = false
      at++
    }
    erase(start + 1, at)
    at++
    while (/[a-z]/.test(source[at] ?? '')) at++
  }
  const regExpMayStart = () => {
    const before = out
      .slice(Math.max(0, at - 200), at)
      .join('')
      .trimEnd()
    return (
      before === '' || /[(,=:[!&|?{};+\-*%<>~^]$/.test(before) || /\b(return|typeof|case|in|of|void|delete|throw|else|do)$/.test(before)
    )
  }

  while (at < source.length) {
    const character = source[at]
    const next = source[at + 1]
    if (character === '/' && next === '/') {
      const start = at
      while (at < source.length && source[at] !== '\n') at++
      erase(start, at)
    } else if (character === '/' && next === '*') {
      const end = source.indexOf('*/', at + 2)
      const start = at
      at = end < 0 ? source.length : end + 2
      erase(start, at)
    } else if (character === "'" || character === '"') skipString(character)
    else if (character === '`') {
      at++
      skipTemplate()
    } else if (character === '/' && regExpMayStart()) skipRegExp()
    else if (character === '{' && templates.length > 0) {
      templates[templates.length - 1]++
      at++
    } else if (character === '}' && templates.length > 0) {
      at++
      if (templates[templates.length - 1] === 0) {
        templates.pop()
        skipTemplate()
      } else templates[templates.length - 1]--
    } else at++
  }
  return out.join('')
}

/** The imports of a file: `{ specifier, typesOnly, at }`; `specifier` undefined where it is no literal. */
function importsOf(source, code) {
  const found = []
  const literalAt = (quoteAt) => {
    const end = code.indexOf(code[quoteAt], quoteAt + 1)
    return source.slice(quoteAt + 1, end)
  }
  const collect = (pattern, typesOnly) => {
    for (const match of code.matchAll(pattern)) {
      found.push({ specifier: literalAt(match.index + match[0].length - 1), typesOnly: typesOnly(match), at: match.index })
    }
  }
  collect(/\bimport\s+(type\s+)?[\w$*{},\s]+?\s*\bfrom\s*['"]/g, (match) => match[1] !== undefined)
  collect(/\bimport\s*['"]/g, () => false)
  collect(/\bexport\s+(type\s+)?(?:\*(?:\s*as\s+[\w$]+)?|\{[^}]*\})\s*from\s*['"]/g, (match) => match[1] !== undefined)
  collect(/(\btypeof\s+)?\bimport\s*\(\s*['"`]/g, (match) => match[1] !== undefined)
  for (const match of code.matchAll(/\bimport\s*\(\s*(?!['"`\s])/g)) found.push({ specifier: undefined, typesOnly: false, at: match.index })
  return found
}

const lineOf = (source, at) => source.slice(0, at).split('\n').length
const folderOf = (path) => path.split('/')[0]
const isNode = (name) => name.startsWith('node:')

function packageAllowed(layer, path, name) {
  if (layer.packages.includes(name) || (isNode(name) && layer.packages.includes('node:*'))) return true
  return layer.only?.[name]?.test(path) === true
}

function checkImport(path, { specifier, typesOnly }) {
  const folder = folderOf(path)
  const layer = layers[folder]
  const isTest = testFile.test(path)
  // Every folder below is open to bin/, so there is nothing to see.
  if (specifier === undefined) return folder === 'bin' ? undefined : 'import of a computed name: which layer it is in cannot be seen'

  if (!specifier.startsWith('.')) {
    const name = isNode(specifier)
      ? specifier
      : specifier
          .split('/')
          .slice(0, specifier.startsWith('@') ? 2 : 1)
          .join('/')
    if (isTest || packageAllowed(layer, path, name)) return undefined
    const where = layer.only?.[name] === undefined ? '' : ` in this file (only in ${layer.only[name].source})`
    return `${folder}/ may not import the package '${name}'${where}; it may import ${layer.packages.join(', ')}`
  }

  const target = posix.normalize(posix.join(posix.dirname(path), specifier))
  if (target.startsWith('..')) return `'${specifier}' leaves the repository`
  if (testFile.test(target) && !isTest) return `'${target}' is a test`
  const targetFolder = folderOf(target)
  if (targetFolder === folder || (isTest && (targetFolder === 'model' || targetFolder === 'sim'))) return undefined
  const allowed = layer.folders[targetFolder]
  if (allowed === undefined) return `${folder}/ may not import ${targetFolder}/ ('${target}'): the arrow points up, or past a port`
  if (allowed === 'all') return undefined
  if (allowed === 'types') {
    return typesOnly || isTest ? undefined : `${folder}/ may import only types of ${targetFolder}/ ('${target}'): write \`import type\``
  }
  return allowed.includes(target) ? undefined : `${folder}/ may import of ${targetFolder}/ only ${allowed.join(' and ')}, not '${target}'`
}

/** Whether the name at `at` is a property or key of that name (`host.process`, `{ process: ... }`), not the ambient thing. */
function isProperty(code, at, length) {
  const before = code.slice(Math.max(0, at - 80), at)
  if (/(?:^|[^.])\.\s*$/.test(before) || /\?\.\s*$/.test(before) || /#$/.test(before)) return true
  if (/(?:\?|\bcase)\s*$/.test(before)) return false
  return /^\s*\??:/.test(code.slice(at + length)) || isMethod(code, at + length)
}

/** Whether parameters and then a body or a return type follow: the declaration of a method, not a call. */
function isMethod(code, from) {
  if (code[from] !== '(') return false
  let depth = 0
  for (let at = from; at < code.length; at++) {
    if (code[at] === '(') depth++
    else if (code[at] === ')' && --depth === 0) return /^\s*[{:]/.test(code.slice(at + 1))
  }
  return false
}

function checkNames(source, code) {
  const problems = []
  for (const match of code.matchAll(/(?<![\w$])[A-Za-z_$][\w$]*/g)) {
    const name = match[0]
    if (!Object.hasOwn(forbiddenNames, name) || isProperty(code, match.index, name.length)) continue
    problems.push({ line: lineOf(source, match.index), text: `'${name}' is forbidden here: ${forbiddenNames[name]}` })
  }
  for (const [pattern, name, instead] of forbiddenPatterns) {
    for (const match of code.matchAll(pattern))
      problems.push({ line: lineOf(source, match.index), text: `'${name}' is forbidden here: ${instead}` })
  }
  return problems
}

/** @returns the offences of one file, in order of line. */
function checkSource(path, source) {
  if (layers[folderOf(path)] === undefined) return []
  const code = blank(source)
  const problems = []
  for (const found of importsOf(source, code)) {
    const text = checkImport(path, found)
    if (text !== undefined) problems.push({ line: lineOf(source, found.at), text })
  }
  const isPure = pureFolders.includes(folderOf(path)) && !testFile.test(path) && !ambientExceptions.includes(path)
  if (isPure) problems.push(...checkNames(source, code))
  return problems.sort((a, b) => a.line - b.line)
}

function filesUnder(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesUnder(path)
    return sourceFile.test(entry.name) && !entry.name.endsWith('.d.ts') ? [path] : []
  })
}

function checkRepository(root) {
  const files = Object.keys(layers).flatMap((folder) => filesUnder(join(root, folder)))
  let offences = 0
  for (const file of files.sort()) {
    const path = relative(root, file).replaceAll('\\', '/')
    for (const { line, text } of checkSource(path, readFileSync(file, 'utf8'))) {
      offences++
      process.stdout.write(`${path}:${line}: ${text}\n`)
    }
  }
  process.stdout.write(
    offences === 0 ? `${files.length} files: every arrow points down\n` : `${offences} offences in ${files.length} files\n`,
  )
  return offences === 0
}

/** [path, source, the lines on which an offence is expected]. */
const selfTests = [
  // Arrows
  ['model/a.ts', "import { x } from '../sim/kernel.ts'", [1]],
  ['model/a.ts', "import type { X } from '../sim/kernel.ts'", [1]],
  ['model/a.ts', "\nexport { x } from '../checks/x.ts'", [2]],
  ['model/a.ts', "export * from '../live/x.ts'", [1]],
  ['model/a.ts', "export type { X } from '../bin/x.ts'", [1]],
  ['model/a.ts', "const x = () => import('../bin/main.ts')", [1]],
  ['model/a.ts', 'const x = import(name)', [1]],
  ['model/a.ts', "import '../live/patch.ts'", [1]],
  ['model/a/b.ts', "import {\n  x,\n  y,\n} from '../../scenarios/runner.ts'", [1]],
  ['model/a/b.ts', "import { x } from '../host.ts'\nimport type { Y } from './c.ts'", []],
  [
    'model/a.ts',
    "// import { x } from '../sim/kernel.ts'\n/* import '../sim/kernel.ts' */\nconst s = \"import { x } from '../sim/kernel.ts'\"",
    [],
  ],
  ['model/a.ts', "import { x } from '../../elsewhere/x.ts'", [1]],
  ['sim/a.ts', "import type { Host } from '../model/host.ts'\nimport { INTERNET } from '../model/world.ts'", []],
  ['sim/a.ts', "import { emit } from '../model/events.ts'", [1]],
  ['live/a.ts', "import type { ServiceEvent } from '../model/events.ts'", [1]],
  ['live/a.ts', "import { x } from '../sim/world.ts'", [1]],
  ['checks/a.ts', "import { INTERNET } from '../model/world.ts'", [1]],
  ['checks/a.ts', "import { type Fault } from '../model/world.ts'", [1]],
  ['checks/a.ts', "import type { Fault } from '../model/world.ts'", []],
  ['checks/a.ts', "import type { Scenario } from '../scenarios/scenario.ts'", [1]],
  ['scenarios/a.ts', "import { x } from '../checks/x.ts'\nimport { y } from '../sim/world.ts'\nimport { z } from '../model/region.ts'", []],
  ['scenarios/a.ts', "import { x } from '../live/world.ts'", [1]],
  ['scenarios/a.ts', "import { x } from '../reports/summary.ts'", [1]],
  ['reports/a.ts', "import { defaultSettings } from '../model/settings.ts'", [1]],
  ['reports/a.ts', "import { x } from '../bin/main.ts'", [1]],
  ['bin/a.ts', "import { x } from '../reports/summary.ts'\nimport { y } from '../live/world.ts'", []],
  ['bin/a.ts', "import { x } from '../bench/x.ts'", [1]],
  ['bin/a.js', 'const x = await import(built.href)', []],
  ['bench/a.ts', "import { x } from '../bin/main.ts'\nimport 'node:fs'", []],
  // Packages
  ['model/a.ts', "import { decode } from 'dns-packet'", []],
  ['model/a.ts', "import { parser } from 'mqtt-packet'", [1]],
  ['model/a.ts', "import { readFileSync } from 'node:fs'", [1]],
  ['model/a.ts', "import type { Socket } from 'node:net'", [1]],
  ['model/a.ts', "import fs from 'fs'", [1]],
  ['sim/a.ts', "import seedrandom from 'seedrandom'\nimport { alea } from 'seedrandom/lib/alea.js'", []],
  ['sim/a.ts', "import { x } from 'dns-packet'", [1]],
  ['live/a.ts', "import { createServer } from 'node:net'", []],
  ['checks/a.ts', "import { parser } from 'mqtt-packet'", []],
  ['checks/a.ts', "import { x } from 'node:util'", [1]],
  ['scenarios/a.ts', "import { x } from '@scope/name/deep'", [1]],
  ['scenarios/runner.ts', "import { readFileSync } from 'node:fs'", [1]],
  ['scenarios/load.ts', "import { readFileSync } from 'node:fs'", []],
  ['reports/a.ts', "import { styleText } from 'node:util'", []],
  // Tests
  ['model/a.test.ts', "import { x } from '../sim/world.ts'\nimport { parser } from 'mqtt-packet'\nconst t = Date.now()", []],
  ['model/a.test.ts', "import { x } from '../checks/x.ts'", [1]],
  ['live/a.e2e.test.ts', "import { x } from '../model/proxy/proxy.ts'\nimport mqtt from 'mqtt'", []],
  ['model/a.ts', "import { hold } from './host.contract.ts'", [1]],
  // Names
  ['model/a.ts', 'const now = Date.now()', [1]],
  ['sim/a.ts', '\n\nconst now = new Date()', [3]],
  ['sim/ambient.ts', 'globalThis.Date = refuse', []],
  ['live/a.ts', 'const now = Date.now()', []],
  ['model/a.ts', 'const x = Math.random()', [1]],
  ['model/a.ts', 'const { random } = Math', [1]],
  ['model/a.ts', "const x = Math['random']()", [1]],
  ['model/a.ts', 'const x = Math.floor(1.5) * Math.max(1, 2)', []],
  ['model/a.ts', 'const x = 2 ** 3', [1]],
  ['model/a.ts', 'x **= 3', [1]],
  ['model/a.ts', 'const x = Math.pow(2, 3)', [1]],
  ['model/a.ts', '/** x ** 2 */\nconst x = 2 * 3 // 2 ** 3\nconst y = "2 ** 3"', []],
  ['model/a.ts', 'const x = `${a ** b} ** not this`', [1]],
  ['model/a.ts', 'const x = `${ `${Date.now()}` } Date ${ {a: {b: 1}} } Date`', [1]],
  ['model/a.ts', 'const x = `Date.now() ${y} Math.random()`', []],
  ['model/a.ts', 'const x = /Date\\/[/]Math.random()/.test(y)\nconst z = a / b / Date', [2]],
  ['model/a.ts', 'setTimeout(f, 1)', [1]],
  ['model/a.ts', 'host.setTimer(1, f)\ntimer.setTimeout(f)', []],
  ['model/a.ts', 'async function f() {}', [1]],
  ['model/a.ts', 'const x: Promise<void> = y', [1]],
  ['model/a.ts', 'const x = await y', [1]],
  ['model/a.ts', 'const x = process.env.HOME', [1]],
  ['model/a.ts', 'const x = machine.process\ninterface M { readonly process: Process; process?: 1 }\nconst m = { process: 1 }', []],
  ['model/a.ts', 'const x = yes ? process : no', [1]],
  ['model/a.ts', 'class C {\n  fetch(x: () => void): void {}\n  private process(y) { this.fetch(y) }\n}', []],
  ['model/a.ts', 'const x = yes ? fetch(y) : no\nfetch(y)\nif (fetch(y)) { }', [1, 2, 3]],
  ['model/a.ts', 'const { process } = this', [1]],
  ['model/a.ts', 'const x = [...process.argv]', [1]],
  ['model/a.ts', 'names.sort((a, b) => a.localeCompare(b))', [1]],
  ['model/a.ts', 'n.toLocaleString()', [1]],
  ['model/a.ts', 'new Intl.NumberFormat()', [1]],
  ['model/a.ts', "console.log('x')", [1]],
  ['model/a.ts', 'performance.now()', [1]],
  ['model/a.ts', 'queueMicrotask(f)\nsetImmediate(f)\nstructuredClone(x)', [1, 2, 3]],
  ['model/a.ts', 'const dateOf = 1, Dated = 2, my_Date = 3, $Date = 4', []],
]

function selfTest() {
  let failures = 0
  for (const [path, source, expected] of selfTests) {
    const lines = [...new Set(checkSource(path, source).map(({ line }) => line))]
    if (lines.join() === expected.join()) continue
    failures++
    process.stdout.write(`self-test: ${path}\n${source}\n  expected offences on lines [${expected}], got [${lines}]\n`)
  }
  process.stdout.write(
    failures === 0 ? `self-test: ${selfTests.length} cases hold\n` : `self-test: ${failures} of ${selfTests.length} cases fail\n`,
  )
  return failures === 0
}

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const passed = process.argv.includes('--self-test') ? selfTest() : checkRepository(root)
process.exitCode = passed ? 0 : 1
