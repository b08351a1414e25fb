/**
 * The load of the reference scenario: three zones with one machine of each role, 300 clients, each with one QoS 1 message a second to one subscriber. All
 * measurements that play a region take it from here and change one thing of it.
 */
import { loadScenario } from '../scenarios/load.ts'
import type { Scenario, ScenarioFile } from '../scenarios/scenario.ts'

export const reference = { clients: 300, protocolVersion: 5, payloadBytes: 64, messagesPerSecond: 300 } as const

/** What the reference scenario is to reach, of one core. */
export const aimMessagesPerSecond = 30_000

export interface Load {
  readonly clients: number
  /** Of all clients together; 0: they only listen. */
  readonly messagesPerSecond: number
  readonly seconds: number
  readonly shards?: number
  /** `mqtt.js` has a keepalive of 60 s, `recommended` of 10 s. */
  readonly profile?: 'recommended' | 'mqtt.js'
  readonly warmUpSeconds?: number
}

export const defaultWarmUpSeconds = 10

/** A scenario without faults; the `faults` act is the stretch of steady load. */
export function scenarioOf(load: Load): Scenario {
  const { clients, messagesPerSecond, seconds, shards, profile = 'recommended', warmUpSeconds = defaultWarmUpSeconds } = load
  const file: ScenarioFile = {
    title: `${clients} clients, ${messagesPerSecond} messages a second`,
    ...(shards === undefined ? {} : { region: { topicShards: shards, sessionShards: shards } }),
    clients: [
      {
        count: clients,
        profile,
        publish:
          messagesPerSecond === 0
            ? 'none'
            : { qos: 1, every: `${(clients * 1000) / messagesPerSecond}ms`, payloadBytes: reference.payloadBytes },
      },
    ],
    workload: { warmUp: `${warmUpSeconds}s`, duration: `${seconds}s`, settle: '0s', drain: '5s' },
  }
  return loadScenario(JSON.stringify(file), { file: 'bench', name: 'bench' })
}
