/**
 * What a highly available MQTT service says of itself, H1 to H15: what the scenarios of the catalogue put to the test, by these ids.
 * A scenario may name statements of the MQTT 5 standard too, by the ids that the standard gives them.
 */
import { didYouMean } from './nearest.ts'

export const statementIds = ['H1', 'H2', 'H3', 'H4', 'H5', 'H6', 'H7', 'H8', 'H9', 'H10', 'H11', 'H12', 'H13', 'H14', 'H15'] as const
export type StatementId = (typeof statementIds)[number]

export const statements: Readonly<Record<StatementId, string>> = {
  H1: 'A cluster is spread over several AZs by default; who creates it names only the region.',
  H2: 'Several access addresses, as domain names (public and VPC); a name can fail over to other zones at any time.',
  H3: 'When a zone is unavailable, traffic goes to the nodes that are left in the region.',
  H4: "Proxies are stateless. A failed proxy, or a zone's proxies, leave the backend pool by themselves, and a new proxy is set up in their place.",
  H5: 'New connections and requests go to the proxies in the other zones.',
  H6: 'Clients keep one domain name, change no configuration, restart nothing: they see jitter of seconds at most and are reconnected.',
  H7: 'A zone that is back is found healthy by the checks, and its proxies get traffic again gradually.',
  H8: 'Clients cannot reach brokers.',
  H9: "When a broker or its zone fails, the nameservers' routes are updated: the queues of all topics are served by brokers in other zones; all proxies pull the new routes; requests go there.",
  H10: 'The console is one set for the region, spread over zones, and carries no data.',
  H11: "PUBACK (QoS 1) and PUBCOMP (QoS 2) mean: received and persisted on the brokers' cloud disks. (QoS 0 has no acknowledgement and no such promise; our QoS 2 promise starts at PUBREC already.)",
  H12: 'Cloud disks survive the loss of a zone; they have copies and backup points.',
  H13: 'Even when every broker in every zone fails, stored messages remain intact.',
  H14: 'A stored message and its trace (received, stored, delivered to whom, acknowledged when) can be queried.',
  H15: 'Messages are kept three days by default; the period can be set.',
}

/** How the normative statements of MQTT 5 are numbered: MQTT-3.3.1-5. */
const OF_MQTT = /^MQTT-\d+(?:\.\d+)*-\d+$/

export function isStatementId(id: string): id is StatementId {
  return statementIds.some((known) => known === id)
}

/** What is wrong with an id that a scenario names, if anything is. */
export function statementProblem(id: string): string | undefined {
  if (isStatementId(id) || OF_MQTT.test(id)) return undefined
  return `${JSON.stringify(id)} is not a statement. allowed: ${statementIds.join(', ')}, or one of MQTT 5 such as MQTT-3.3.1-5${didYouMean(id, statementIds)}`
}

export interface StatementRow<S> {
  readonly id: StatementId
  readonly sentence: string
  readonly scenarios: readonly S[]
}

/** Which scenarios put each statement to the test, and those that name none of them. */
export function scenariosByStatement<S extends { readonly statements: readonly string[] }>(
  scenarios: readonly S[],
): { readonly byStatement: readonly StatementRow<S>[]; readonly others: readonly S[] } {
  return {
    byStatement: statementIds.map((id) => ({
      id,
      sentence: statements[id],
      scenarios: scenarios.filter((scenario) => scenario.statements.includes(id)),
    })),
    others: scenarios.filter((scenario) => !scenario.statements.some(isStatementId)),
  }
}
