import { expect, test } from 'vitest'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const scenario = loadScenario(
  `
title: An operator at work while a console is away
clients:
  - count: 6
console:
  - { at: 10s, createTopic: pumps }
  - { at: 12s, setQuotas: { messagesPerSecond: 1000 } }
  - { at: 13s, listClients: 100 }
  - { at: 14s, findMessages: data/0 }
  - { at: 15s, kickClient: nobody }
  - { at: 16s, traceMessage: data/0 }
faults:
  - { kind: crash, machines: console-1, at: 9s, for: 8s }
`,
  { file: 'operator.yaml', name: 'operator' },
)

test('the requests of a scenario go to the console, whichever one is there, and what came of them is in the history', () => {
  const { history, story, verdict } = runScenario(scenario, { seed: 1, recording: true })
  const answers = history.filter(({ event }) => event.kind === 'console-answered').map(({ machine, event }) => ({ machine, ...event }))
  expect(answers).toMatchObject([
    { machine: 'operator', request: 'createTopic', outcome: 'done' },
    { machine: 'operator', request: 'setQuotas', outcome: 'done' },
    { machine: 'operator', request: 'listClients', outcome: 'found' },
    { machine: 'operator', request: 'findMessages', outcome: 'found' },
    { machine: 'operator', request: 'findMessages', outcome: 'found' },
    { machine: 'operator', request: 'kickClient', outcome: 'not-connected' },
    { machine: 'operator', request: 'findMessages', outcome: 'found' },
    { machine: 'operator', request: 'traceMessage', outcome: 'found' },
    { machine: 'operator', request: 'findMessages', outcome: 'found' },
  ])
  expect(story.map(({ text }) => text).join('\n')).toContain("the console answers the operator's setQuotas: done")
  expect(verdict).toBe('held')
})

test('the checks hear of each request and of what came of it', () => {
  const { promises } = runScenario(scenario, { seed: 1, recording: false })
  expect(promises.find(({ id }) => id === 'console-answers')).toMatchObject({ verdict: 'held', exercised: expect.any(Number) })
})

test('a request that is later than all else lengthens the run', () => {
  const text =
    'title: x\nclients: [{ count: 2 }]\nconsole: [{ at: 40s, createTopic: pumps }]\nworkload: { duration: 1s, settle: 1s, drain: 1s }\n'
  const { history } = runScenario(loadScenario(text, { file: 'operator.yaml', name: 'operator' }), { seed: 1, recording: true })
  const answers = history.filter(({ event }) => event.kind === 'console-answered').map(({ event }) => event)
  expect(answers).toMatchObject([{ request: 'createTopic', outcome: 'done' }])
})

test('a first level of topics that is none is refused where it stands', () => {
  const text = 'title: x\nconsole: [ { at: 1s, createTopic: a/b } ]\n'
  expect(() => loadScenario(text, { file: 'operator.yaml', name: 'operator' })).toThrow(/console/)
})
