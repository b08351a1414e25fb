import { describe, expect, test } from 'vitest'
import { defaultSettings } from '../model/settings.ts'
import { clientMachines, regionSpec } from './cast.ts'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'
import { planClients } from './workload.ts'

const scenarioOf = (lines: string) => loadScenario(`title: a test\n${lines}`, { name: 'test', file: 'test.yaml' })
const loadBalancerOf = (lines: string) => regionSpec(scenarioOf(lines)).settings.loadBalancer

describe('load-balancer profiles', () => {
  test('put the defaults of a cloud in place of ours, and the settings of the scenario over both', () => {
    expect(loadBalancerOf('')).toEqual(defaultSettings.loadBalancer)
    expect(loadBalancerOf('region: { loadBalancerProfile: tencent-clb }')).toMatchObject({
      probeIntervalMs: 5000,
      unhealthyThreshold: 3,
      healthyThreshold: 3,
      crossZone: true,
    })
    expect(
      loadBalancerOf('region: { loadBalancerProfile: aws-nlb, settings: { loadBalancer: { healthyThreshold: 5, slowStartMs: 0 } } }'),
    ).toMatchObject({ probeIntervalMs: 30_000, unhealthyThreshold: 3, healthyThreshold: 5, slowStartMs: 0, crossZone: false })
  })
})

describe('clients of the virtual network', () => {
  const lines = 'clients: [{ count: 3, access: vpc }, { count: 2 }]\nworkload: { warmUp: 8s, settle: 2s, drain: 3s }\n'

  test('stand inside it, the others on the internet', () => {
    expect(clientMachines(scenarioOf(lines)).map(({ zone, address }) => ({ zone, address }))).toEqual([
      { zone: 'vpc', address: '172.16.113.1' },
      { zone: 'internet', address: '203.0.113.2' },
    ])
  })

  test('are served, by the name that only they have, as those on the internet are by theirs', () => {
    const result = runScenario(scenarioOf(`${lines}expect: [acked-delivered, no-phantom, no-crash]`), { seed: 1, recording: true })
    expect(result.verdict).toBe('held')
    const connected = result.history.filter(({ event }) => event.kind === 'client-connected')
    expect(new Set(connected.map(({ event }) => (event as unknown as { readonly clientId: string }).clientId)).size).toBe(5)
  })
})

test('a group of clients may have another resolver than its profile', () => {
  const cachesOf = (resolver: string) =>
    planClients(scenarioOf(`clients: [{ count: 1${resolver} }]`).clients, { startAtMs: 0, connectStaggerMs: 0 }).map(
      ({ resolverCache }) => resolverCache,
    )
  expect(cachesOf('')).toEqual([undefined])
  expect(cachesOf(', resolver: pinned')).toEqual(['first-address-pinned'])
  expect(cachesOf(', resolver: for-ever')).toEqual(['for-ever'])
})
