/** A run as one JSON object. Its fields are an interface: they are added to, and never change their meaning. */
import type { RunResult } from '../scenarios/result.ts'

export function jsonResult(result: RunResult, replay: string): object {
  const { scenario, seed, verdict, promises, measures, facts, audit, digest, events, simulatedSeconds, wallSeconds, goals } = result
  return {
    scenario,
    seed,
    verdict,
    promises: promises.map(({ id, verdict: found, exercised, violations, violationCount }) => ({
      id,
      verdict: found,
      expected: result.expected[id] ?? null,
      exercised,
      violationCount,
      violations,
    })),
    measures,
    facts,
    failover: result.failover ?? null,
    queues: result.queues ?? null,
    drained: result.drained,
    audit: { topics: audit.topics, messages: audit.messages, unanswered: audit.unanswered.length },
    goals,
    digest,
    events,
    simulatedSeconds,
    wallSeconds,
    replay,
  }
}

/** A run that broke off: nothing was put to the test. */
export function jsonFailure(scenario: string, seed: number, error: string): object {
  return {
    scenario,
    seed,
    verdict: 'not-exercised',
    error,
    promises: [],
    measures: null,
    digest: null,
    events: 0,
    simulatedSeconds: 0,
    wallSeconds: 0,
  }
}
