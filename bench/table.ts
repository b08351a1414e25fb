/** The rows as a table for people: a figure with its extremes, the floor beside it and the ratio to that, and under each row what else is worth knowing. */
import type { Row } from './harness.ts'
import type { Spread } from './statistics.ts'

export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  const size = Math.abs(value)
  if (size >= 1000)
    return Math.round(value)
      .toString()
      .replace(/\B(?=(\d{3})+$)/g, ',')
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3)
}

function formatSpread({ median, least, most }: Spread): readonly [string, string] {
  return [formatNumber(median), `${formatNumber(least)} - ${formatNumber(most)}`]
}

const shortUnits = { microseconds: 'us', bytes: 'bytes', events: 'events' } as const

const headings = ['measurement', 'variant', 'median', 'unit', 'least - most', 'floor, us', 'floors', 'least - most']
const leftAligned = [true, true, false, true, false, false, false, false]

export function renderTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.measurement,
    row.variant,
    formatSpread(row.figure)[0],
    `${shortUnits[row.measured]} / ${row.per}`,
    formatSpread(row.figure)[1],
    row.floor === undefined ? '' : formatNumber(row.floor.median),
    ...(row.floors === undefined ? ['', ''] : formatSpread(row.floors)),
  ])
  const widths = headings.map((heading, column) => Math.max(heading.length, ...cells.map((row) => row[column]!.length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (leftAligned[column] ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd()
  const lines = [line(headings), widths.map((width) => '-'.repeat(width)).join('  ')]
  rows.forEach((row, index) => {
    lines.push(line(cells[index]!))
    const notes = Object.entries(row.notes).map(([name, value]) => `${name}: ${typeof value === 'number' ? formatNumber(value) : value}`)
    if (notes.length > 0) lines.push(`${' '.repeat(widths[0]! + 2)}${notes.join('; ')}`)
  })
  return `${lines.join('\n')}\n`
}
