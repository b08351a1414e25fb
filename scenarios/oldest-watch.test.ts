import { expect, test } from 'vitest'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const played = (settle: string) => {
  const scenario = loadScenario(
    `
title: Kept for twenty seconds
region: { topicShards: 1, sessionShards: 1, settings: { broker: { retentionMs: 20000, segmentAgeMs: 2000 } } }
clients: [{ count: 2, publish: { every: 1s } }]
workload: { settle: ${settle}, drain: 2s }
`,
    { file: 'kept.yaml', name: 'kept' },
  )
  const { promises, history } = runScenario(scenario, { seed: 1, recording: true })
  const started = history.flatMap(({ event, machine }) => (event.kind === 'process-started' ? [machine] : []))
  return { retention: promises.find(({ id }) => id === 'retention')!, started }
}

test('where messages pass their retention during a run, it is judged at every look, and not at the end alone', () => {
  const { retention, started } = played('80s')
  expect(retention.verdict).toBe('held')
  expect(retention.exercised).toBeGreaterThan(100)
  expect(started.filter((machine) => machine === 'oldest-watch').length).toBe(1)
})

test('nobody looks in a run that is shorter than the retention', () => {
  expect(played('2s').started).not.toContain('oldest-watch')
})
