/**
 * A second device with the client id of the first: it connects while the other one is at work, listens, and leaves. The devices of a scenario have one
 * connection each, so that what a takeover owes the old connection only shows with this one on the stage.
 *
 * It publishes nothing: a publisher's numbers are one device's.
 */
import { MqttClient } from '../model/client/client.ts'
import { createClientCounters } from '../model/client/counters.ts'
import { clientProfiles } from '../model/client/profiles.ts'
import { Resolver } from '../model/cloud/resolver.ts'
import type { Boot } from '../model/host.ts'
import { defaultRegion, planRegion } from '../model/region.ts'
import { ports } from '../model/settings.ts'
import { INTERNET, type World } from '../model/world.ts'
import { clientIdOf } from '../scenarios/fleet.ts'

const COMES_AT_MS = 10_000
const LEAVES_AT_MS = 12_000

function bootTwin(): Boot {
  const { accessName, dnsServers } = planRegion(defaultRegion)
  return (host) => {
    const client = new MqttClient(
      host,
      {
        clientId: clientIdOf(0),
        profile: clientProfiles.recommended,
        version: 5,
        cleanStart: false,
        sessionExpirySeconds: 3600,
        accessName,
        port: ports.mqtt,
        resolver: new Resolver(host, dnsServers, { cache: 'ttl' }),
        counters: createClientCounters(),
      },
      { onConnected() {}, onReady() {}, onClosed() {}, onMessage() {}, onPublished() {} },
    )
    host.setTimer(COMES_AT_MS, () => client.start())
    host.setTimer(LEAVES_AT_MS, () => client.stop())
    return {}
  }
}

/** Who else is on the stage of a scenario of the gallery. */
export function prepareFor(scenario: string): (world: World) => void {
  return (world) => {
    if (scenario !== 'device-with-a-twin') return
    world.addMachine({ name: 'twin', zone: INTERNET, role: 'client', address: '203.0.200.1', cores: 1, boot: bootTwin() })
  }
}
