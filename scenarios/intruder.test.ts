import { expect, test } from 'vitest'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const scenario = loadScenario(
  `
title: Somebody dials what clients may not reach
clients: [{ count: 2 }]
intruders:
  - { from: internet, dials: broker }
  - { from: vpc, dials: console }
workload: { settle: 4s, drain: 3s }
expect: [brokers-private]
`,
  { file: 'intruder.yaml', name: 'intruder' },
)

test('each machine of the role is dialled in turn, from where the scenario says, and none is reached', () => {
  const { promises, history, verdict } = runScenario(scenario, { seed: 1, recording: true })
  const opened = history.flatMap(({ event }) => {
    const { kind, from, to } = event as { readonly kind: string; readonly from?: string; readonly to?: string }
    return kind === 'connection-opened' && from?.startsWith('intruder') === true ? [`${from} ${to}`] : []
  })
  expect([...new Set(opened)].sort()).toEqual([
    'intruder-1 broker-1',
    'intruder-1 broker-2',
    'intruder-1 broker-3',
    'intruder-2 console-1',
    'intruder-2 console-2',
    'intruder-2 console-3',
  ])
  // With each connection to a broker goes a datagram.
  const datagrams = opened.filter((each) => each.startsWith('intruder-1')).length
  expect(promises.find(({ id }) => id === 'brokers-private')).toMatchObject({ verdict: 'held', exercised: opened.length + datagrams })
  expect(verdict).toBe('held')
})
