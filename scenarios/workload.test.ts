import { describe, expect, test } from 'vitest'
import type { ClientGroup } from './scenario.ts'
import { planClients } from './workload.ts'

const timing = { startAtMs: 1000, connectStaggerMs: 500 }

function group(fields: Partial<ClientGroup>): ClientGroup {
  return {
    count: 2,
    profile: 'recommended',
    version: 5,
    cleanStart: false,
    sessionExpiry: 3_600_000,
    leavesSocketsOpen: false,
    publish: { qos: 1, every: 1000, payloadBytes: 64 },
    subscribe: { qos: 1, topics: 'ring' },
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
          publish: { qos: 0, every: 250, payloadBytes: 32 },
          subscribe: { qos: 0, topics: 'fan-in' },
        }),
      ],
      timing,
    )
    expect(client).toEqual({
      number: 0,
      profile: 'recommended',
      version: 5,
      cleanStart: false,
      sessionExpirySeconds: 3600,
      leavesSocketsOpen: true,
      subscribe: [{ filter: 'data/+', qos: 0 }],
      publish: { topic: 'data/0', qos: 0, intervalMs: 250, payloadBytes: 32, retain: false },
      startAtMs: 1000,
      connectStaggerMs: 500,
    })
  })

  test('leaves clients that only publish, or only subscribe, at that', () => {
    const [quiet, deaf] = planClients([group({ count: 1, publish: 'none' }), group({ count: 1, subscribe: 'none' })], timing)
    expect(quiet!.publish).toBeUndefined()
    expect(deaf!.subscribe).toEqual([])
  })
})
