import { describe, expect, test } from 'vitest'
import { loadScenario } from './load.ts'
import type { ClientGroup } from './scenario.ts'
import { accessRules, planClients } from './workload.ts'

const timing = { startAtMs: 1000, connectStaggerMs: 500 }

function group(fields: Partial<ClientGroup>): ClientGroup {
  return {
    count: 2,
    profile: 'recommended',
    version: 5,
    cleanStart: false,
    access: 'public',
    leavesSocketsOpen: false,
    publish: { qos: 1, every: 1000, payloadBytes: 64, retain: false },
    subscribe: { qos: 1, topics: 'ring', noLocal: false },
    away: [],
    ...fields,
  }
}

describe('planClients', () => {
  test('numbers clients through all groups and closes the ring over them', () => {
    const clients = planClients([group({}), group({ profile: 'mqtt.js', version: 4, count: 1 })], timing)
    expect(clients.map(({ number, profile }) => [number, profile])).toEqual([
      [0, 'recommended'],
      [1, 'recommended'],
      [2, 'mqtt.js'],
    ])
    expect(clients.map(({ publish }) => publish?.topic)).toEqual(['data/0', 'data/1', 'data/2'])
    expect(clients.map(({ subscribe }) => subscribe)).toEqual([
      [{ filter: 'data/2', qos: 1 }],
      [{ filter: 'data/0', qos: 1 }],
      [{ filter: 'data/1', qos: 1 }],
    ])
  })

  test('gives each client what its group says', () => {
    const [client] = planClients(
      [
        group({
          count: 1,
          leavesSocketsOpen: true,
          sessionExpiry: 60_000,
          keepalive: 5000,
          publish: { qos: 2, every: 250, payloadBytes: 32, retain: true, expiry: 30_000 },
          subscribe: { qos: 0, topics: 'fan-in', again: 500, noLocal: true },
          will: { qos: 2, retain: true, delay: 4000 },
          away: [{ at: 12_000, for: 3000, ending: 'drop' }],
        }),
      ],
      timing,
    )
    expect(client).toEqual({
      number: 0,
      profile: 'recommended',
      version: 5,
      cleanStart: false,
      sessionExpirySeconds: 60,
      keepaliveSeconds: 5,
      leavesSocketsOpen: true,
      username: 'user-0',
      password: 'secret of client-0',
      subscribe: [{ filter: 'data/+', qos: 0, noLocal: true }],
      subscribeAgainMs: 500,
      publish: { topic: 'data/0', qos: 2, intervalMs: 250, payloadBytes: 32, retain: true, expirySeconds: 30 },
      will: { qos: 2, retain: true, delaySeconds: 4 },
      away: [{ atMs: 12_000, forMs: 3000, ending: 'drop' }],
      awayStaggerMs: 1000,
      startAtMs: 1000,
      connectStaggerMs: 500,
    })
  })

  test('leaves clients that only publish, or only subscribe, at that', () => {
    const [quiet, deaf] = planClients([group({ count: 1, publish: 'none' }), group({ count: 1, subscribe: 'none' })], timing)
    expect(quiet!.publish).toBeUndefined()
    expect(deaf!.subscribe).toEqual([])
  })

  test('keeps a session for an hour where nothing else is said, and names the group of a shared subscription', () => {
    const [ring, wills] = planClients(
      [
        group({ count: 1, subscribe: { qos: 1, topics: 'ring', share: 'workers', noLocal: false } }),
        group({ count: 1, subscribe: { qos: 2, topics: 'wills', noLocal: false } }),
      ],
      timing,
    )
    expect(ring).toMatchObject({ sessionExpirySeconds: 3600, subscribe: [{ filter: '$share/workers/data/1', qos: 1 }] })
    expect(wills!.subscribe).toEqual([{ filter: 'will/+', qos: 2 }])
  })
})

describe('accessRules', () => {
  const text = `
title: x
clients:
  - { count: 1, will: {} }
  - { count: 1, publish: none, subscribe: { topics: fan-in, share: workers } }
`
  const rules = (...set: readonly string[]) => accessRules(loadScenario(text, { file: 'x.yaml', name: 'x', set }))

  test('let each client do what it does and nothing else, on topics that were created', () => {
    expect(rules()).toEqual({
      access: 'permissions',
      topicCreation: 'console',
      topics: new Set(['data', 'probe', 'will']),
      users: new Map([
        [
          'user-0',
          {
            username: 'user-0',
            password: 'secret of client-0',
            publish: ['data/0', 'will/client-0', 'probe/client-0'],
            subscribe: ['data/1', 'probe/client-0'],
          },
        ],
        [
          'user-1',
          { username: 'user-1', password: 'secret of client-1', publish: ['probe/client-1'], subscribe: ['data/+', 'probe/client-1'] },
        ],
      ]),
    })
  })

  test('may be open, and topics come about by themselves', () => {
    expect(rules('region.access=open', 'region.topicCreation=auto')).toEqual({
      access: 'open',
      topicCreation: 'auto',
      topics: new Set(),
      users: new Map(),
    })
  })
})

describe('TLS', () => {
  test('is that of 1.3 where it is just asked for, none by default, and nothing else', () => {
    const clientsOf = (clients: string) =>
      planClients(loadScenario(`title: t\nclients: [${clients}]`, { file: 't.yaml', name: 't' }).clients, timing).map(({ tls }) => tls)
    expect(clientsOf('{ count: 1, tls: true }, { count: 1 }, { count: 1, tls: false }, { count: 1, tls: "1.2" }')).toEqual([
      '1.3',
      undefined,
      undefined,
      '1.2',
    ])
    expect(() => clientsOf('{ count: 1, tls: "1.1" }')).toThrow('allowed: true, false, "1.2", "1.3"')
  })
})
