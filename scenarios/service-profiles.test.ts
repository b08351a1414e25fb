import { describe, expect, test } from 'vitest'
import { serviceProfileNames, standsAfterMs } from '../model/service-profiles.ts'
import { defaultSettings } from '../model/settings.ts'
import { regionSpec } from './cast.ts'
import { catalogueEntry } from './catalogue.ts'
import { loadScenario } from './load.ts'
import { runScenario } from './runner.ts'

const azOutage = (...set: readonly string[]) =>
  loadScenario(catalogueEntry('az-outage').text, { file: 'az-outage.yaml', name: 'az-outage', set })
const rocketmq = 'region.profile=rocketmq-defaults'

describe('the profile of a region', () => {
  test('is `seconds` unless something is said, which is the default of every setting', () => {
    expect(regionSpec(azOutage()).settings).toEqual(defaultSettings)
    expect(regionSpec(azOutage('region.profile=seconds')).settings).toEqual(defaultSettings)
    expect(serviceProfileNames).toEqual(['seconds', 'rocketmq-defaults'])
  })

  test('`rocketmq-defaults` puts the open defaults of RocketMQ in their place, and leaves what it has no word for', () => {
    const { settings } = regionSpec(azOutage(rocketmq))
    // Two minutes, a scan every 5 s, registered every 30 s, refreshed every 20 s, asked for 3 s, kept for 72 hours.
    expect(settings.nameserver).toMatchObject({ expiryMs: 120_000, scanIntervalMs: 5000 })
    expect(settings.broker).toMatchObject({ heartbeatIntervalMs: 30_000, retentionMs: 259_200_000 })
    expect(settings.proxy).toMatchObject({ routePullIntervalMs: 20_000, requestTimeoutMs: 3000 })
    expect(settings.volume).toEqual(defaultSettings.volume)
    expect(settings.broker.takeoverStaggerMs).toBe(defaultSettings.broker.takeoverStaggerMs)
  })

  test("is overruled by the scenario's own settings", () => {
    const { settings } = regionSpec(azOutage(rocketmq, 'region.settings.nameserver.expiryMs=10000'))
    expect(settings.nameserver).toMatchObject({ expiryMs: 10_000, scanIntervalMs: 5000 })
  })

  test('gives the region the time that it takes to stand, and everything else comes so much later', () => {
    const laterMs = standsAfterMs['rocketmq-defaults']
    const [plain, later] = [azOutage(), azOutage(rocketmq)]
    expect(later.workload).toEqual({ ...plain.workload, warmUp: plain.workload.warmUp + laterMs })
    expect(later.faults.map(({ at }) => at)).toEqual(plain.faults.map(({ at }) => at + laterMs))
    const away = 'clients=[{count: 3, away: [{at: 20s, for: 5s}]}]'
    expect(azOutage(rocketmq, away).clients[0]!.away[0]!.at).toBe(20_000 + laterMs)
  })

  test('that is not known is refused, with those that are', () => {
    expect(() => azOutage('region.profile=rocketmq')).toThrow(/allowed: seconds, rocketmq-defaults/)
  })
})

describe('az-outage', () => {
  const small = 'clients=[{count: 20}]'

  test('is over within seconds by `seconds`, and by `rocketmq-defaults` lasts as long as the outage, for want of an owner', () => {
    const inSeconds = runScenario(azOutage(small), { seed: 7, recording: true })
    const byRocketmq = runScenario(azOutage(small, rocketmq), { seed: 7, recording: true })

    expect(inSeconds.verdict).toBe('held')
    expect(inSeconds.failover!.ownerlessMs).toBeLessThan(6000)
    // The power is back after 30 s, long before anybody would have called the broker silent.
    expect(byRocketmq.failover!.ownerlessMs).toBeGreaterThan(29_000)
    expect(byRocketmq.failover).toMatchObject({ expiryMs: 120_000, heartbeatIntervalMs: 30_000, routePullIntervalMs: 20_000 })
    expect(byRocketmq.promises.find(({ id }) => id === 'reconnect-in-time')?.verdict).toBe('violated')
    expect(byRocketmq.promises.filter(({ verdict }) => verdict === 'violated').map(({ id }) => id)).not.toContain('acked-survives')
  }, 60_000)
})
