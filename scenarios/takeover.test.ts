import { expect, test } from 'vitest'
import { catalogueEntry, catalogueNames } from './catalogue.ts'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const scenarios = catalogueNames()
  .map((name) => {
    const { file, text } = catalogueEntry(name)
    return loadScenario(text, { file, name })
  })
  .filter(({ clients }) => clients.some(({ leavesSocketsOpen }) => leavesSocketsOpen))

test.each(scenarios)(
  'devices that leave their sockets open in $name put a takeover to the test, and nothing leaves through the old connections',
  (scenario) => {
    const { measures, promises } = runScenario(scenario, { seed: 1, recording: false })
    expect(measures.takeovers).toBeGreaterThan(5)
    // Without the record copies do not count: this is the sockets' half alone.
    expect(promises.find(({ id }) => id === 'one-owner')).toMatchObject({ verdict: 'held', exercised: measures.takeovers })
  },
)

test('there are such scenarios, and in the others every old connection is closed before there is a new one', () => {
  expect(scenarios.map(({ name }) => name)).toEqual(['az-isolated', 'az-outage', 'taken-over-thrice', 'takeover'])
  const { file, text } = catalogueEntry('proxy-crash')
  expect(runScenario(loadScenario(text, { file, name: 'proxy-crash' }), { seed: 1, recording: false }).measures).toMatchObject({
    takeovers: 0,
  })
})

test('in taken-over-thrice sessions are taken over three times on average', () => {
  const scenario = scenarios.find(({ name }) => name === 'taken-over-thrice')!
  const { goals } = runScenario(scenario, { seed: 1, recording: false })
  const takeovers = (goals['session taken over by kick'] ?? 0) + (goals['session taken over after the lease ended'] ?? 0)
  expect(takeovers).toBeGreaterThanOrEqual(3 * scenario.clients.reduce((sum, { count }) => sum + count, 0))
})
