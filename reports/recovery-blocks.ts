/** The parts of the summary that tell how long things took: the way back of clients by its terms, what of it the service took and why, the queues, and acknowledgements without the console. */
import type { TimeSummary } from '../checks/histogram.ts'
import type { Failover } from '../scenarios/failover.ts'
import type { WorkQueue } from '../scenarios/queues.ts'
import type { RunResult } from '../scenarios/result.ts'
import { count, duration, type Paint, wrap } from './text.ts'
import { barsHead, barsRow, type NamedTimes, timesHead, timesRow } from './times-table.ts'

const WIDTH = 100
/** A failover that takes longer is what the clients' recovery is made of, and the reader is told so first. */
const LONG_FAILOVER_MS = 10_000
/** A wait for a core that is worth a line. */
const LONG_WAIT_MS = 10

export function recoveryBlock({ measures, facts }: RunResult, paint: Paint): string {
  const { recovery } = measures
  if (recovery.total.count === 0) return ''
  const rows: readonly NamedTimes[] = [
    ['until served again', recovery.total],
    ['  detection', recovery.detection],
    ['  edge', recovery.edge],
    ['  back-off', recovery.backOff],
    ['  connect', recovery.connect],
    ...(recovery.tls.count > 0 ? [['  TLS handshake', recovery.tls] as const] : []),
    ['  session load', recovery.sessionLoad],
    ['  until messages flow', recovery.service],
  ]
  const shown = (line: string, index: number): string => (index === 0 ? line : paint('dim', line))
  const struck = facts.clientsStruck > 0 ? ` (${count(facts.clientsStruck)} were on a proxy that a fault struck)` : ''
  return [
    `${paint('bold', 'Recovery as clients felt it')}${paint('dim', struck)}`,
    paint('dim', timesHead('clients')),
    ...rows.map(([name, times]) => timesRow(name, times)).map(shown),
    paint('dim', barsHead('how the times spread')),
    ...rows.map(([name, times]) => barsRow(name, times)).map(shown),
    ...again(recovery.again).map((line) => paint('yellow', `  ${line}`)),
  ].join('\n')
}

function again({ count: times, p50, max }: TimeSummary): readonly string[] {
  if (times === 0) return []
  const text = `${count(times)} times a client that had been served after a fault lost its connection later, without another fault: half of them for ${duration(p50)}, the longest for ${duration(max)}.`
  return wrap(text, WIDTH - 2)
}

/** What of the way back the service took, and which settings decide it. */
export function failoverBlock({ failover }: RunResult, paint: Paint): string {
  if (failover === undefined) return ''
  const { shards, ownerlessMs, routesMs, shardFailover, routeRefresh, expiryMs, scanIntervalMs, heartbeatIntervalMs, routePullIntervalMs } =
    failover
  const scan = scanIntervalMs === 0 ? '' : `, looked for every ${duration(scanIntervalMs)} (nameserver.scanIntervalMs)`
  const texts = [
    `${count(shards)} ${shards === 1 ? 'shard was' : 'shards were'} without an owner, for up to ${duration(ownerlessMs)}. A silent broker is given up after ${duration(expiryMs)} (nameserver.expiryMs)${scan}, which the others learn with a heartbeat, every ${duration(heartbeatIntervalMs)} (broker.heartbeatIntervalMs).`,
    `Proxies knew the new owners up to ${duration(routesMs)} later. They ask after an error, and every ${duration(routePullIntervalMs)} (proxy.routePullIntervalMs).`,
  ]
  const lines = texts.flatMap((text) => wrap(text, WIDTH - 2).map((line) => paint('dim', `  ${line}`)))
  const table = [timesHead('times'), timesRow('shard failover', shardFailover), timesRow('route refresh', routeRefresh)]
  return [
    paint('bold', 'Failover of the service'),
    ...reason(failover).map((line) => paint('yellow', `  ${line}`)),
    ...table.map((line) => paint('dim', line)),
    ...lines,
  ].join('\n')
}

/** Why clients were not back within seconds, where the service is the reason. */
function reason({ ownerlessMs, routesMs, expiryMs, heartbeatIntervalMs }: Failover): readonly string[] {
  if (ownerlessMs + routesMs < LONG_FAILOVER_MS) return []
  const silence =
    ownerlessMs < expiryMs - heartbeatIntervalMs
      ? `the fault was over before any nameserver calls a broker dead, after ${duration(expiryMs)} of silence (nameserver.expiryMs)`
      : `nameservers call a broker dead only after ${duration(expiryMs)} of silence (nameserver.expiryMs)`
  const routes = routesMs < LONG_FAILOVER_MS ? '' : `, and proxies learnt the new owners up to ${duration(routesMs)} later`
  return wrap(
    `Why not within seconds: shard failover took ${duration(ownerlessMs)} of it, since ${silence}${routes}. No client can be quicker than that.`,
    WIDTH - 2,
  )
}

/** What stood in line for a core, where that took long enough for anybody to notice. */
export function queuesBlock({ queues }: RunResult, paint: Paint): string {
  const handshakes = (queues?.tlsHandshakes ?? []).filter(({ waits }) => waits.max >= LONG_WAIT_MS)
  const handlers = (queues?.handlers ?? []).filter(({ waits }) => waits.max >= LONG_WAIT_MS)
  if (handshakes.length + handlers.length === 0) return ''
  const rows: readonly NamedTimes[] = [
    ...handshakes.map(({ role, waits }) => [`TLS handshakes, ${role}`, waits] as const),
    ...handlers.map(({ role, waits }) => [`handlers, ${role}`, waits] as const),
  ]
  const peaks = [...handshakes.map((queue) => peakText(queue, 'TLS handshakes')), ...handlers.map((queue) => peakText(queue, 'handlers'))]
  const lines = [
    timesHead('waited'),
    ...rows.map(([name, times]) => timesRow(name, times)),
    barsHead('how the times spread'),
    ...rows.map(([name, times]) => barsRow(name, times)),
    ...peaks.flatMap((text) => wrap(text, WIDTH - 2).map((line) => `  ${line}`)),
  ]
  return [paint('bold', 'Work that waited for a core'), ...lines.map((line) => paint('dim', line))].join('\n')
}

function peakText({ peak, peakMachine, peakAtMs, waits }: WorkQueue, what: string): string {
  return `${peakMachine} had up to ${count(peak)} ${what} in line, at ${(peakAtMs / 1000).toFixed(3)} s; the longest wait was ${duration(waits.max)}.`
}

/** How long acknowledgements took with and without the console, where there were times of both. */
export function controlBlock({ measures: { control } }: RunResult, paint: Paint): string {
  if (control === undefined || control.withoutConsole.count === 0) return ''
  const rows = [timesRow('with the console', control.withConsole), timesRow('without it', control.withoutConsole)]
  return [paint('bold', 'From publish to acknowledgement'), ...[timesHead('publishes'), ...rows].map((line) => paint('dim', line))].join(
    '\n',
  )
}
