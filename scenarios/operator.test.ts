import { expect, test } from 'vitest'
import { loadScenario, ScenarioProblem } from './load.ts'
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

test.each<[string, RegExp]>([
  [
    '{ at: 9s, createTopic: a, deleteTopic: b }',
    /:2:\d+: console\.0: one request a step, found createTopic and deleteTopic; known: createTopic, /,
  ],
  ['{ at: 9s }', /console\.0: one request a step, found none; known: createTopic, deleteTopic, setQuotas/],
  ['{ at: 9s, kikClient: x }', /unknown key kikClient\. allowed: at, .*Did you mean kickClient\?/],
  ['{ at: 9, kickClient: x }', /console\.0\.at: 9 has no unit/],
  ['{ at: 9s, kickClient: "" }', /console\.0\.kickClient: expected the id of a client, found ""/],
  ['{ at: 9s, createTopic: a, what: b }', /unknown key what\. allowed: at, createTopic/],
  ['kick', /expected at and one request, found "kick"\. known: /],
])('a request %s is refused with a reason', (step, reason) => {
  const load = () => loadScenario(`title: x\nconsole: [ ${step} ]\n`, { file: 'x.yaml', name: 'x' })
  expect(load).toThrow(ScenarioProblem)
  expect(load).toThrow(reason)
})
