/**
 * `control-isolated`: no data-plane request waits on the console, and acknowledgements take as long with and without it: at the median and at the p99 at most one and a half times as long
 * without it, and 5 ms.
 *
 * Compared are publishes of QoS 1 and 2, from the first sending to PUBACK or PUBREC, that began and ended while every console was in order, and those while every console was out of order (dead, or hanging with its connections open) or
 * cut from something; both only while nothing else troubles the region or the client. And while there is no console, a CONNECT or SUBSCRIBE that is not answered within the progress
 * budget, or a CONNECT that the client gives up unanswered, is a request that waits.
 * Put to the test by publishes of both kinds, 100 at least of each; a region without a console, or whose console was never wholly out of order, puts nothing to the test.
 * Left out: what the console itself is asked for, and times in which only some consoles are out of order.
 */
import type { Check, Shared } from './check.ts'
import { LatencyHistogram, type TimeSummary } from './histogram.ts'
import { Findings, NEVER_BEFORE, seconds } from './promise.ts'
import { type Connection, NEVER } from './state.ts'

const LEAST_SAMPLES = 100
const BORNE_FACTOR = 1.5
const BORNE_US = 5000
const COMPARED = [
  { quantile: 0.5, share: 'two' },
  { quantile: 0.99, share: 'a hundred' },
] as const
/** A CONNECT that was given up sooner was not waited for. */
const GIVEN_UP_AFTER_US = 1_000_000

export interface ControlMeasures {
  /** From publish to acknowledgement, in ms, with every console in order and with none. */
  readonly withConsole: TimeSummary
  readonly withoutConsole: TimeSummary
}

export interface ControlIsolated extends Check {
  acknowledgements(): ControlMeasures
}

interface OpenRequest {
  readonly connection: Connection
  readonly what: 'CONNECT' | 'SUBSCRIBE'
  readonly sentAtUs: number
}

type Phase = 'with' | 'without' | 'neither'

export function checkControlIsolated({ context, disturbance, calm }: Shared): ControlIsolated {
  const findings = new Findings('control-isolated')
  const consoles = context.machines.filter(({ role }) => role === 'console')
  const waitUs = context.budgets.progressMs * 1000
  const latencies = { with: new LatencyHistogram(), without: new LatencyHistogram() }
  /** By connection, and by SUBSCRIBE. */
  const open = new Map<object, OpenRequest>()
  let phase: Phase = consoles.length === 0 ? 'neither' : 'with'
  let phaseFromUs = NEVER_BEFORE

  const look = (timeUs: number) => {
    if (consoles.length === 0) return
    const disturbed = consoles.filter((machine) => disturbance.isDisturbed(machine)).length
    const now: Phase = disturbed === 0 ? 'with' : disturbed === consoles.length ? 'without' : 'neither'
    if (now === phase) return
    phase = now
    phaseFromUs = timeUs
    open.clear()
  }

  /** Whether nothing but the console was out of order since then. */
  const counts = (connection: Connection, sinceUs: number) =>
    phase !== 'neither' && sinceUs >= phaseFromUs && calm.quietFromUs(connection.machine) <= sinceUs

  const waited = ({ connection, what, sentAtUs }: OpenRequest, timeUs: number, how: string) => {
    findings.violated(timeUs, `a ${what} waits while there is no console`, () => ({
      text: `${connection.client.id} sent ${what} at ${seconds(sentAtUs)}, while there was no console, and ${how} by ${seconds(timeUs)}.`,
      evidence: [
        { timeUs: phaseFromUs, text: 'from then on every console was out of order' },
        { timeUs: sentAtUs, text: `${connection.client.id} sent ${what} on connection ${connection.id}` },
        { timeUs, text: how },
      ],
    }))
  }

  const answered = (key: object, timeUs: number) => {
    const request = open.get(key)
    if (request === undefined) return
    open.delete(key)
    if (timeUs - request.sentAtUs > waitUs && counts(request.connection, request.sentAtUs)) waited(request, timeUs, 'it was not answered')
  }

  const asked = (key: object, request: OpenRequest) => {
    if (phase === 'without' && !request.connection.left) open.set(key, request)
  }

  return {
    findings,
    acknowledgements: () => ({ withConsole: latencies.with.summary(), withoutConsole: latencies.without.summary() }),
    onFault: (_fault, _phase, timeUs) => look(timeUs),
    onProcessStarted: (_machine, timeUs) => look(timeUs),
    onProcessEnded: (_machine, _cause, _error, timeUs) => look(timeUs),
    onConnectSent: (connection, timeUs) => asked(connection, { connection, what: 'CONNECT', sentAtUs: timeUs }),
    onSubscribeSent: (connection, subscribe, timeUs) => asked(subscribe, { connection, what: 'SUBSCRIBE', sentAtUs: timeUs }),
    onConnack: (connection, _present, _knowledge, _former, timeUs) => answered(connection, timeUs),
    onSubscribed: (_connection, subscribe, _codes, timeUs) => answered(subscribe, timeUs),
    onClosed(connection, _reason, by, timeUs) {
      const request = open.get(connection)
      for (const [key, each] of open) if (each.connection === connection) open.delete(key)
      if (request === undefined || by !== 'self' || connection.connackAtUs !== NEVER || connection.serverEnded !== undefined) return
      if (timeUs - request.sentAtUs >= GIVEN_UP_AFTER_US && counts(connection, request.sentAtUs)) waited(request, timeUs, 'it gave up')
    },
    onAnswered(connection, { firstSentAtUs }, _accepted, _first, timeUs) {
      if (phase === 'neither' || connection.connackAtUs > firstSentAtUs || !counts(connection, firstSentAtUs)) return
      latencies[phase].add(timeUs - firstSentAtUs)
    },
    onSweep(nowUs) {
      for (const [key, request] of open) {
        if (nowUs - request.sentAtUs <= waitUs) continue
        open.delete(key)
        if (!request.connection.left && counts(request.connection, request.sentAtUs)) waited(request, nowUs, 'it was not answered')
      }
    },
    finish(timeUs) {
      const { with: before, without } = latencies
      if (before.count < LEAST_SAMPLES || without.count < LEAST_SAMPLES) return
      findings.exercised = without.count
      for (const { quantile, share } of COMPARED) {
        const [tookUs, tookWithoutUs] = [before.quantile(quantile), without.quantile(quantile)]
        if (tookWithoutUs <= tookUs * BORNE_FACTOR + BORNE_US) continue
        findings.violated(timeUs, 'acknowledgements take longer without the console', () => ({
          text: `Without the console one acknowledgement in ${share} took ${seconds(tookWithoutUs)} or more, with it ${seconds(tookUs)}.`,
          evidence: [
            ...disturbance.before(timeUs),
            {
              timeUs,
              text: `${before.count} acknowledgements with every console in order, one in ${share} took ${seconds(tookUs)} or more`,
            },
            { timeUs, text: `${without.count} with every console out of order, one in ${share} took ${seconds(tookWithoutUs)} or more` },
          ],
        }))
      }
    },
  }
}
