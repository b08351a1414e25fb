import { expect, test } from 'vitest'
import type { Row } from './harness.ts'
import { formatNumber, renderTable } from './table.ts'

const timed: Row = {
  measurement: 'network',
  variant: '1 connection',
  per: 'chunk',
  measured: 'microseconds',
  figure: { median: 0.5, least: 0.25, most: 2 },
  floor: { median: 16, least: 15, most: 17 },
  floors: { median: 0.03125, least: 0.015, most: 0.13 },
  samples: 3,
  notes: { 'chunks/s': 2_000_000 },
}

test('a row that was timed shows figure, floor and ratio, and its notes below', () => {
  const [, , line, notes] = renderTable([timed]).split('\n')
  expect(line!.split(/ {2,}/)).toEqual(['network', '1 connection', '0.500', 'us / chunk', '0.250 - 2.00', '16.0', '0.031', '0.015 - 0.130'])
  expect(notes!.trim()).toBe('chunks/s: 2,000,000')
})

test('a row without a floor leaves those columns empty', () => {
  const { floor: _floor, floors: _floors, ...rest } = timed
  const [, , line] = renderTable([{ ...rest, measured: 'bytes', figure: { median: 4096, least: 4000, most: 5000 }, notes: {} }]).split('\n')
  expect(line!.split(/ {2,}/)).toEqual(['network', '1 connection', '4,096', 'bytes / chunk', '4,000 - 5,000'])
})

test('numbers keep three figures, and thousands are told apart', () => {
  expect([1_234_567.8, 999.6, 12.34, 1.234, 0.0123].map(formatNumber)).toEqual(['1,234,568', '1000', '12.3', '1.23', '0.012'])
})
