/** The kinds of volume, as a scenario chooses them, under the loss of a zone and of a disk. */
import { describe, expect, test } from 'vitest'
import { catalogueEntry } from './catalogue.ts'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const few = ['clients=[{count: 12, cleanStart: false}]']

function play(name: string, set: readonly string[]) {
  const { text, file } = catalogueEntry(name)
  return runScenario(loadScenario(text, { file, name, set: [...few, ...set] }), { seed: 1, recording: true })
}

function verdictOn(result: ReturnType<typeof play>, id: string) {
  return result.promises.find((promise) => promise.id === id)!.verdict
}

describe('a zone outage', () => {
  test('with zonal volumes is a violation, and the run says that such volumes do not promise otherwise', () => {
    const result = play('az-outage', ['volumes.kind=zonal'])
    expect(result.verdict).toBe('violated')
    expect(verdictOn(result, 'reconnect-in-time')).toBe('violated')
    expect(result.notPromised['reconnect-in-time']).toContain('zonal volumes do not promise this')
    // Dark is not lost: what was acknowledged is there when the zone is back.
    expect(verdictOn(result, 'acked-survives')).toBe('held')
  })

  test('with replicated volumes keeps every promise', () => {
    const result = play('az-outage', ['volumes.kind=replicated'])
    expect(result.verdict).toBe('held')
    expect(result.notPromised).toEqual({})
  })
})

describe('a lost disk', () => {
  const lost = 'faults=[{kind: disk-loss, machines: volume-2, at: 14s, for: 2s}]'

  test('costs zonal volumes what came after the backup point, which the story tells, and nothing that is delivered is wrong', () => {
    const result = play('az-outage', ['volumes.kind=zonal', 'volumes.backupInterval=5s', lost])
    expect(verdictOn(result, 'acked-survives')).toBe('violated')
    expect(result.notPromised['acked-survives']).toContain('its last backup point')
    expect(result.story.some(({ text }) => /goes back to its backup point of .* what came after is lost/.test(text))).toBe(true)
    for (const id of ['no-phantom', 'wire-legal', 'no-crash']) expect(verdictOn(result, id)).toBe('held')
  })

  test('costs regional volumes nothing', () => {
    expect(play('az-outage', [lost, 'expect=[acked-survives, acked-delivered]']).verdict).toBe('held')
  })
})
