import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { faultPoints } from '../model/fault-points.ts'
import { faultText } from './fault-text.ts'

test('the fault points that a scenario may name are those that are in the code', () => {
  const files = readdirSync('model', { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  const named = files.flatMap((name) =>
    [...readFileSync(`model/${name}`, 'utf8').matchAll(/\bperturb\('([^']+)'\)/g)].map(([, point]) => point!),
  )
  expect([...new Set(named)].sort()).toEqual([...faultPoints].sort())
})

test('a fault point is told in words, of one machine or several', () => {
  const text = (...machines: string[]) => faultText({ kind: 'fault-point', machines, point: 'copy-syncs-late', probability: 1 }, 'applied')
  expect(text('broker-1')).toBe('broker-1 takes the branch copy-syncs-late')
  expect(text('a', 'b', 'c', 'd', 'e')).toBe('a, b, c and 2 others take the branch copy-syncs-late')
})
