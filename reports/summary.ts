/**
 * What a person sees of a run: what happened, in time order; which promises were kept, and for those that were not the proof and the command that plays the
 * run again; how long clients were without service, and where that time went; what became of the messages. At most 100 columns.
 */

import type { PromiseResult, Violation } from '../checks/promise.ts'
import { isAsExpected, type RunResult, type Verdict } from '../scenarios/result.ts'
import { DRAIN_BUDGET_MS, type Expectation } from '../scenarios/scenario.ts'
import type { StoryLine, StoryTone } from '../scenarios/story.ts'
import { controlBlock, failoverBlock, queuesBlock, recoveryBlock } from './recovery-blocks.ts'
import { count, duration, type Paint, painter, wrap } from './text.ts'

export interface SummaryOptions {
  readonly colour: boolean
  /** The command that plays the run again. */
  readonly replay: string
}

const WIDTH = 100
const TIME_COLUMN = 11
const VIOLATIONS_SHOWN = 3

type Style = Parameters<Paint>[0]

const verdictLooks: Readonly<Record<Verdict, { readonly mark: string; readonly words: string; readonly style: Style }>> = {
  held: { mark: '✔', words: 'held', style: 'green' },
  violated: { mark: '✖', words: 'violated', style: 'red' },
  'not-exercised': { mark: '○', words: 'not exercised', style: 'yellow' },
}

const toneLooks: Readonly<Record<StoryTone, { readonly mark: string; readonly style: Style }>> = {
  fault: { mark: '✖', style: 'red' },
  heal: { mark: '✔', style: 'green' },
  notice: { mark: '!', style: 'yellow' },
  move: { mark: '→', style: 'cyan' },
  client: { mark: '●', style: 'magenta' },
  trouble: { mark: '!', style: 'red' },
}

/** The whole story of one run. */
export function renderSummary(result: RunResult, options: SummaryOptions): string {
  const paint = painter(options.colour)
  const parts = [
    heading(result, paint),
    ...(result.story.length > 0 ? [storyBlock(result.story, paint)] : []),
    promisesBlock(result, options, paint),
    recoveryBlock(result, paint),
    failoverBlock(result, paint),
    queuesBlock(result, paint),
    controlBlock(result, paint),
    messagesBlock(result, paint),
    verdictBlock(result, options, paint),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

/** One of many runs. `nameWidth`: of the longest of their names. */
export function renderLine(result: RunResult, options: { readonly colour: boolean; readonly nameWidth: number }): string {
  const paint = painter(options.colour)
  const { mark, words, style } = verdictLooks[result.verdict]
  const { measures } = result
  const recovery = measures.recovery.total
  const facts = [
    `${count(measures.messagesAcknowledged)} acknowledged`,
    `${count(measures.lost)} lost`,
    ...(recovery.count > 0 ? [`${count(recovery.count)} back, worst ${duration(recovery.max)}`] : []),
  ]
  const wrong = unexpected(result).map((promise) => promise.id)
  const tail = result.verdict === 'held' ? facts.join(', ') : wrong.join(', ')
  return `${paint(style, mark)} ${result.scenario.padEnd(options.nameWidth)} seed ${String(result.seed).padEnd(4)} ${paint(style, words.padEnd(8))} ${tail}`
}

/** The sum of many runs. */
export function renderTally(
  runs: readonly { readonly scenario: string; readonly verdict: Verdict | 'broken' }[],
  seconds: number,
  options: Pick<SummaryOptions, 'colour'>,
): string {
  const paint = painter(options.colour)
  const words: readonly (readonly [Verdict | 'broken', string, Style])[] = [
    ['held', 'held', 'green'],
    ['violated', 'violated', 'red'],
    ['not-exercised', 'not exercised', 'yellow'],
    ['broken', 'broken off', 'red'],
  ]
  const parts = words.flatMap(([verdict, word, style]) => {
    const found = runs.filter((run) => run.verdict === verdict).length
    return found > 0 ? [paint(style, `${count(found)} ${word}`)] : []
  })
  return `\n${count(runs.length)} runs in ${seconds.toFixed(1)} s: ${parts.join(', ')}`
}

function heading(result: RunResult, paint: Paint): string {
  const seed = `seed ${result.seed}`
  const room = WIDTH - result.scenario.length - seed.length - 4
  const title = result.title.length > room ? `${result.title.slice(0, room - 1)}…` : result.title
  const gap = ' '.repeat(Math.max(2, WIDTH - result.scenario.length - 2 - title.length - seed.length))
  const lines = [`${paint('bold', result.scenario)}  ${title}${gap}${paint('dim', seed)}`]
  if (result.description !== '') lines.push(...wrap(result.description, WIDTH - 2).map((line) => paint('dim', `  ${line}`)))
  return lines.join('\n')
}

function storyBlock(story: readonly StoryLine[], paint: Paint): string {
  const indent = ' '.repeat(TIME_COLUMN + 4)
  const lines = story.flatMap(({ timeUs, tone, text }) => {
    const { mark, style } = toneLooks[tone]
    const time = `${(timeUs / 1e6).toFixed(3)} s`.padStart(TIME_COLUMN)
    const strong = tone === 'fault' || tone === 'heal' || tone === 'client'
    return wrap(text, WIDTH - TIME_COLUMN - 4).map((line, index) => {
      const shown = strong ? paint(style, line) : line
      return index === 0 ? `${paint('dim', time)}  ${paint(style, mark)} ${shown}` : `${indent}${shown}`
    })
  })
  return [paint('bold', 'What happened'), ...lines].join('\n')
}

/** Promises that are not as the scenario expects them. */
function unexpected(result: RunResult): readonly PromiseResult[] {
  return result.promises.filter((promise) => !isAsExpected(promise, result.expected[promise.id]))
}

function violationExpected(expectation: Exclude<Expectation, 'held'>): string {
  return expectation === 'violated' ? 'a violation was expected' : `expected were 1 to ${count(expectation.violatedAtMost)} violations`
}

function promisesBlock(result: RunResult, options: SummaryOptions, paint: Paint): string {
  const lines = result.promises.map((promise) => {
    const expectation = result.expected[promise.id]
    const { mark, words, style } = verdictLooks[promise.verdict]
    const asExpected = isAsExpected(promise, expectation)
    const isDoomed = expectation !== undefined && expectation !== 'held'
    const look: Style = asExpected && promise.verdict === 'not-exercised' ? 'dim' : isDoomed && asExpected ? 'green' : style
    const notes = [
      ...(promise.exercised > 0 ? [`tested ${count(promise.exercised)} ${promise.exercised === 1 ? 'time' : 'times'}`] : []),
      ...(promise.violationCount > 0
        ? [`violated ${count(promise.violationCount)} ${promise.violationCount === 1 ? 'time' : 'times'}`]
        : []),
      ...(isDoomed ? [asExpected ? 'as expected' : violationExpected(expectation)] : []),
      ...(expectation === 'held' && promise.verdict === 'not-exercised' ? ['but the scenario expects it to be put to the test'] : []),
    ]
    const found = notes.length === 0 ? paint(look, words) : `${paint(look, words.padEnd(14))} ${paint('dim', notes.join(', '))}`
    return `  ${paint(look, mark)} ${promise.id.padEnd(20)} ${found}`
  })
  const proofs = result.promises.flatMap((promise) => proof(promise, result.notPromised[promise.id], options, paint))
  return [paint('bold', 'Promises'), ...lines, ...proofs].join('\n')
}

/** What proves that a promise was broken, for a few cases that differ. */
function proof(promise: PromiseResult, notPromised: string | undefined, options: SummaryOptions, paint: Paint): readonly string[] {
  const bySignature = new Map<string, Violation>()
  for (const violation of promise.violations) if (!bySignature.has(violation.signature)) bySignature.set(violation.signature, violation)
  const shown = [...bySignature.values()].slice(0, VIOLATIONS_SHOWN)
  if (shown.length === 0) return []
  const lines = shown.flatMap((violation) => [
    '',
    ...wrap(violation.text, WIDTH - 4).map((line, index) => `${index === 0 ? `  ${paint('red', '✖')} ` : '    '}${paint('red', line)}`),
    ...violation.evidence.flatMap(({ timeUs, text }) => {
      const time = Number.isFinite(timeUs) ? `${(timeUs / 1e6).toFixed(3)} s` : ''
      return text
        .split('\n')
        .flatMap((part) => wrap(part, WIDTH - TIME_COLUMN - 6))
        .map((line, index) => `    ${paint('dim', (index === 0 ? time : '').padStart(TIME_COLUMN))}  ${line}`)
    }),
  ])
  const more = promise.violationCount - shown.length
  const rest = more > 0 ? [`    ${paint('dim', `… and ${count(more)} more of ${promise.id}`)}`] : []
  const excuse = notPromised === undefined ? [] : wrap(notPromised, WIDTH - 4).map((line) => `    ${paint('yellow', line)}`)
  return [...lines, ...rest, ...excuse, `    ${paint('dim', 'replay'.padStart(TIME_COLUMN))}  ${options.replay}`]
}

function messagesBlock({ measures, audit, drained }: RunResult, paint: Paint): string {
  const columns: readonly (readonly [string, number, Style | undefined])[] = [
    ['published', measures.messagesPublished, undefined],
    ['acknowledged', measures.messagesAcknowledged, undefined],
    ['delivered', measures.messagesDelivered, undefined],
    ['duplicated', measures.duplicates, undefined],
    ['lost', measures.lost, measures.lost > 0 ? 'red' : 'green'],
  ]
  const names = columns.map(([name]) => name.padStart(14)).join('')
  const values = columns
    .map(([, value, style]) => (style === undefined ? count(value).padStart(14) : paint(style, count(value).padStart(14))))
    .join('')
  const unread = audit.unanswered.length
  const audited =
    unread > 0
      ? [`  ${paint('red', `the auditor could not read ${count(unread)} of ${count(audit.topics)} topics`)}`]
      : [paint('dim', `  the auditor read ${count(audit.messages)} messages of ${count(audit.topics)} topics back over the network`)]
  const { messagesPublishedAtMostOnce: qos0, messagesPublishedExactlyOnce: qos2, willsFired } = measures
  const apart = [
    ...(qos0 > 0 ? [`${count(qos0)} of them at QoS 0`] : []),
    ...(qos2 > 0 ? [`${count(qos2)} ${qos0 > 0 ? '' : 'of them '}at QoS 2`] : []),
    ...(willsFired > 0 ? [`${count(willsFired)} wills fired`] : []),
  ]
  const kinds = apart.length > 0 ? [paint('dim', `  ${apart.join(', ')}`)] : []
  const moving = drained
    ? []
    : [`  ${paint('red', `the drain was not over after ${DRAIN_BUDGET_MS / 1000} s: messages still moved, and may count as lost`)}`]
  return [paint('bold', 'Messages'), paint('dim', names), values, ...kinds, ...moving, ...audited].join('\n')
}

function verdictBlock(result: RunResult, options: SummaryOptions, paint: Paint): string {
  const { mark, words, style } = verdictLooks[result.verdict]
  const { simulatedSeconds, wallSeconds, events, digest } = result
  const numbers = `${simulatedSeconds.toFixed(0)} simulated seconds in ${wallSeconds.toFixed(2)} s, ${count(events)} events, digest ${digest}`
  const lines = [`${paint([style, 'bold'] as Style, `${mark} ${words.toUpperCase()}`)}  ${paint('dim', numbers)}`]
  if (result.verdict !== 'held') {
    const wrong = unexpected(result).map((promise) => `${promise.id} ${verdictLooks[promise.verdict].words}`)
    lines.push(...wrap(wrong.join(', '), WIDTH - 2).map((line) => `  ${line}`), `  replay: ${options.replay}`)
  }
  return lines.join('\n')
}
