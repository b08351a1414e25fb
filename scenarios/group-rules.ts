/**
 * Which settings of a group of clients go together: what the format can say and the protocol cannot, such as a Message Expiry Interval in MQTT 3.1.1. One sentence
 * for each, at the key that is too much. What is legal and has no effect is let through only where it is harmless.
 */
import { formatDuration } from './fields.ts'
import type { ClientGroup, Scenario } from './scenario.ts'

export interface GroupProblem {
  readonly path: readonly (string | number)[]
  readonly text: string
}

const versionNames = { 3: '3.1', 4: '3.1.1', 5: '5' } as const

export function groupProblems(scenario: Scenario): readonly GroupProblem[] {
  return scenario.clients.flatMap((group, index) =>
    [...versionProblems(group), ...subscriptionProblems(group), ...awayProblems(group, scenario.workload.warmUp)].map(({ path, text }) => ({
      path: ['clients', index, ...path],
      text,
    })),
  )
}

/** What came with MQTT 5. */
function versionProblems(group: ClientGroup): readonly GroupProblem[] {
  if (group.version === 5) return []
  const { publish, subscribe, will, away } = group
  const given: readonly (readonly [boolean, readonly (string | number)[], string])[] = [
    [group.sessionExpiry !== undefined, ['sessionExpiry'], 'a session expiry'],
    [publish !== 'none' && publish.expiry !== undefined, ['publish', 'expiry'], 'a message expiry'],
    [subscribe !== 'none' && subscribe.share !== undefined, ['subscribe', 'share'], 'a shared subscription'],
    [subscribe !== 'none' && subscribe.noLocal, ['subscribe', 'noLocal'], 'no local'],
    [(will?.delay ?? 0) > 0, ['will', 'delay'], 'a delay of the will'],
    ...away.map(({ ending }, i) => [ending === 'disconnect-with-will', ['away', i, 'ending'], 'a DISCONNECT with will'] as const),
  ]
  return given
    .filter(([isGiven]) => isGiven)
    .map(([, path, what]) => ({ path, text: `${what} needs version 5, and these clients have version ${versionNames[group.version]}` }))
}

function subscriptionProblems({ subscribe }: ClientGroup): readonly GroupProblem[] {
  if (subscribe === 'none' || subscribe.share === undefined) return []
  const problems: GroupProblem[] = []
  if (subscribe.again !== undefined) {
    const text = 'a shared subscription is sent no retained messages (MQTT 5, section 4.8.2), so there is nothing to subscribe again for'
    problems.push({ path: ['subscribe', 'again'], text })
  }
  if (subscribe.noLocal) {
    problems.push({ path: ['subscribe', 'noLocal'], text: 'no local on a shared subscription is a protocol error [MQTT-3.8.3-4]' })
  }
  return problems
}

function awayProblems({ away, will }: ClientGroup, warmUpMs: number): readonly GroupProblem[] {
  const problems: GroupProblem[] = []
  let freeFromMs = warmUpMs
  for (const [index, period] of away.entries()) {
    if (period.at < freeFromMs) {
      const why = index === 0 ? 'when the warm-up is over' : 'when the time before is over'
      problems.push({
        path: ['away', index, 'at'],
        text: `clients can go away from ${formatDuration(freeFromMs)} on, ${why}, found ${formatDuration(period.at)}`,
      })
    }
    freeFromMs = period.at + period.for
    if (period.ending === 'disconnect-with-will' && will === undefined)
      problems.push({ path: ['away', index, 'ending'], text: 'these clients have no will. allowed: disconnect, drop' })
  }
  return problems
}
