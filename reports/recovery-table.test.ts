import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { profileNames } from '../model/client/profiles.ts'
import { connectionEndings, type ProfileRecovery, profileHabits, recoveryOf } from '../scenarios/profile-recovery.ts'
import { renderProfilePage } from './recovery-table.ts'

const page = readFileSync(new URL('../docs/client-profiles.md', import.meta.url), 'utf8')

/** The first cells of the rows of each table, by the table's heading. */
function profilesOf(text: string): ReadonlyMap<string, readonly string[]> {
  const tables = new Map<string, string[]>()
  let heading = ''
  for (const line of text.split('\n')) {
    if (line.startsWith('## ')) heading = line.slice(3)
    const first = /^\| ([a-z][\w.-]*) \|/.exec(line)?.[1]
    if (first !== undefined && first !== 'profile') tables.set(heading, [...(tables.get(heading) ?? []), first])
  }
  return tables
}

const times = (ms: number) => ({ p50: ms, p99: ms, max: 2 * ms, count: 3 })
const recovery = {
  total: times(5000),
  detection: times(3000),
  backOffAndConnect: times(1500),
  edge: times(1000),
  backOff: times(400),
  connect: times(100),
  tls: { p50: 0, p99: 0, max: 0, count: 0 },
  sessionLoad: times(50),
  service: times(450),
  again: times(700),
} as unknown as ProfileRecovery['recovery']

describe('the page of client profiles', () => {
  test('that is in the docs has every profile of the code in each of its tables, and no other', () => {
    const tables = profilesOf(page)
    expect(tables.size).toBe(1 + connectionEndings.length)
    for (const [heading, profiles] of tables) expect(profiles, heading).toEqual(profileNames)
  })

  test('that is in the docs tells the habits as the code has them', () => {
    const rendered = renderProfilePage(profileHabits(), [], 1)
    const habits = (text: string) => text.slice(text.indexOf('## Habits'), text.indexOf('In the tables below'))
    expect(habits(page)).toBe(habits(rendered))
  })

  test('says how it is made', () => {
    expect(page).toContain('npm run build && node tools/client-profiles.mjs')
    expect(page).toContain("npx squall run az-outage --seed 1 --set 'clients=[")
  })

  test('has the median and the longest of each term that clients of the page have', () => {
    const rows = connectionEndings.map((ending): ProfileRecovery => ({ profile: 'hivemq', ending, recovery }))
    const rendered = renderProfilePage(profileHabits(), rows, 1)
    expect(rendered).toContain(
      '| profile | clients | until served again | detection | edge | back-off | connect | session load | until messages flow |',
    )
    expect(rendered).toContain(
      '| hivemq | 3 | 5.00 s, 10.00 s | 3.00 s, 6.00 s | 1.00 s, 2.00 s | 400 ms, 800 ms | 100 ms, 200 ms | 50 ms, 100 ms | 450 ms, 900 ms |',
    )
  })
})

describe('how a connection ends', () => {
  test('shows in where the time goes: a blackhole in detection, a reset in finding a living address, a crash in neither', () => {
    const [blackhole, reset, crash] = connectionEndings.map((ending) => recoveryOf('paho-go', ending, 1, 30).recovery)
    for (const each of [blackhole, reset, crash]) expect(each!.total.count).toBeGreaterThan(3)
    expect(blackhole!.detection.max).toBeGreaterThan(35_000)
    expect(blackhole!.detection.max).toBeLessThanOrEqual(45_000)
    expect(reset!.detection.p50).toBeLessThan(1000)
    expect(crash!.detection.max).toBeLessThan(1000)
    expect(blackhole!.total.max).toBeGreaterThan(3 * crash!.total.max)
    expect(Math.abs(reset!.total.max - crash!.total.max)).toBeGreaterThan(1000)
  }, 120_000)
})
