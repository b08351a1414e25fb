/** Who publishes and subscribes to what: turns a scenario's groups of clients into single clients, numbered through from 0. */
import type { FleetClient } from './fleet.ts'
import type { ClientGroup } from './scenario.ts'

export interface WorkloadTiming {
  readonly startAtMs: number
  /** Clients connect spread at random over this long. */
  readonly connectStaggerMs: number
}

/** The topic that a client publishes to. */
function topicOf(client: number): string {
  return `data/${client}`
}

/** All clients of a scenario in the order of their numbers. The ring runs through all groups, so that clients of different habits and versions meet. */
export function planClients(groups: readonly ClientGroup[], timing: WorkloadTiming): readonly FleetClient[] {
  const count = groups.reduce((sum, group) => sum + group.count, 0)
  const clients: FleetClient[] = []
  for (const group of groups) {
    for (let left = group.count; left > 0; left--) {
      const number = clients.length
      clients.push({
        number,
        profile: group.profile,
        version: group.version,
        cleanStart: group.cleanStart,
        sessionExpirySeconds: Math.round(group.sessionExpiry / 1000),
        leavesSocketsOpen: group.leavesSocketsOpen,
        subscribe:
          group.subscribe === 'none' ? [] : [{ filter: filterOf(group.subscribe.topics, number, count), qos: group.subscribe.qos }],
        publish:
          group.publish === 'none'
            ? undefined
            : {
                topic: topicOf(number),
                qos: group.publish.qos,
                intervalMs: group.publish.every,
                payloadBytes: group.publish.payloadBytes,
                retain: false,
              },
        ...timing,
      })
    }
  }
  return clients
}

/** `ring`: the topic of the client before, so that each message has one subscriber. `fan-in`: every topic. */
function filterOf(topics: 'ring' | 'fan-in', number: number, count: number): string {
  return topics === 'ring' ? topicOf((number + count - 1) % count) : 'data/+'
}
