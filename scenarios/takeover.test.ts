import { expect, test } from 'vitest'
import { catalogueEntry } from './catalogue.ts'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

function scenario(name: string) {
  const { file, text } = catalogueEntry(name)
  return loadScenario(text, { file, name })
}

/** What strikes the proxies of devices that leave their sockets open, so that they come back while the old connection still stands. */
const scenarios = ['az-isolated', 'az-outage', 'taken-over-thrice', 'takeover'].map(scenario)

test.each(scenarios)(
  'devices that leave their sockets open in $name put a takeover to the test, and nothing leaves through the old connections',
  (each) => {
    const { measures, promises } = runScenario(each, { seed: 1, recording: false })
    expect(measures.takeovers).toBeGreaterThan(5)
    // Without the record copies do not count: this is the sockets' half alone.
    expect(promises.find(({ id }) => id === 'one-owner')).toMatchObject({ verdict: 'held', exercised: measures.takeovers })
  },
)

test('devices that close their sockets have no old connection left when there is a new one', () => {
  expect(runScenario(scenario('proxy-crash'), { seed: 1, recording: false }).measures).toMatchObject({ takeovers: 0 })
})

test('in taken-over-thrice sessions are taken over three times on average', () => {
  const thrice = scenario('taken-over-thrice')
  const { goals } = runScenario(thrice, { seed: 1, recording: false })
  const takeovers = (goals['session taken over by kick'] ?? 0) + (goals['session taken over after the lease ended'] ?? 0)
  expect(takeovers).toBeGreaterThanOrEqual(3 * thrice.clients.reduce((sum, { count }) => sum + count, 0))
})
