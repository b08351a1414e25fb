/** Times as a table of percentiles, and as bars, one for each bucket of the histogram: what a person reads of a `TimeSummary`. At most 80 columns, and nothing depends on colour. */
import type { TimeSummary } from '../checks/histogram.ts'
import { count, duration } from './text.ts'

const NAME_COLUMNS = 24
const CELL_COLUMNS = 10

export type NamedTimes = readonly [name: string, times: TimeSummary]

/** @param counted what the last column counts */
export function timesHead(counted: string): string {
  return `  ${''.padEnd(NAME_COLUMNS)}${cells(['p50', 'p90', 'p99', 'max', counted])}`
}

export function timesRow(name: string, { p50, p90, p99, max, count: times }: TimeSummary): string {
  const values = times === 0 ? ['-', '-', '-', '-'] : [duration(p50), duration(p90), duration(p99), duration(max)]
  return `  ${name.padEnd(NAME_COLUMNS)}${cells([...values, count(times)])}`
}

function cells(values: readonly string[]): string {
  return values.map((value) => value.padStart(CELL_COLUMNS)).join('')
}

const EIGHTHS = '▁▂▃▄▅▆▇█'
/** Upper ends of the columns: 1, 2 and 5 of each power of ten; the first takes all that is shorter, the last all that is longer. */
const COLUMN_ENDS_MS: readonly number[] = Array.from({ length: 18 }, (_, i) => [1, 2, 5][i % 3]! * Number(`1e${Math.floor(i / 3)}`))
const COLUMN = 3
const TICKS: readonly string[] = ['1 ms', '10 ms', '100 ms', '1 s', '10 s', '100 s']

/** The scale above the bars: where a column ends at a power of ten. */
export function barsHead(title: string): string {
  const scale = TICKS.map((tick) => tick.padEnd(3 * COLUMN)).join('')
  return `  ${title.padEnd(NAME_COLUMNS)}${scale}`.trimEnd()
}

/** How the times spread: the highest bar is that of the fullest column, and a column with any time in it has one. */
export function barsRow(name: string, { buckets }: TimeSummary): string {
  const counts = COLUMN_ENDS_MS.map(() => 0)
  for (const { upToMs, count: times } of buckets) {
    const at = COLUMN_ENDS_MS.findIndex((end) => upToMs <= end)
    counts[at < 0 ? counts.length - 1 : at]! += times
  }
  const most = counts.reduce((highest, times) => Math.max(highest, times), 0)
  const bars = counts.map((times) =>
    (times === 0 ? ' ' : EIGHTHS[Math.ceil((times * EIGHTHS.length) / most) - 1]!).repeat(COLUMN - 1).padEnd(COLUMN),
  )
  return `  ${name.padEnd(NAME_COLUMNS)}${bars.join('')}`.trimEnd()
}
