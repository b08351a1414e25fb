/**
 * The operator of a scenario: asks the console, over the network, what the scenario says and when. What came of it goes into the history; nothing of the run depends on it but what the
 * console does.
 */
import { ConsoleClient, type ConsoleRequest } from '../model/console/console-client.ts'
import type { Quotas } from '../model/console/service-rules.ts'
import { emit } from '../model/events.ts'
import type { Address, Boot } from '../model/host.ts'
import type { MessageOf } from '../model/wire/messages.ts'
import type { ConsoleStep } from './scenario.ts'

export interface OperatorConfig {
  readonly consoles: readonly Address[]
  readonly steps: readonly ConsoleStep[]
  /** What `setQuotas` leaves as it was planned. */
  readonly quotas: Quotas
}

const PAGE = 1000

export function bootOperator({ consoles, steps, quotas }: OperatorConfig): Boot {
  return (host) => {
    const client = new ConsoleClient(host, consoles)
    for (const step of steps) {
      host.setTimer(step.at, () => {
        const request = requestOf(step, quotas)
        const askedMs = host.nowMs()
        client.ask(request, (answer) => {
          if (!host.recording) return
          const tookMs = Math.round(host.nowMs() - askedMs)
          emit(host, { kind: 'console-answered', request: request.name, outcome: answer?.outcome ?? 'unanswered', tookMs })
        })
      })
    }
    return {}
  }
}

function requestOf(step: ConsoleStep, planned: Quotas): MessageOf<Exclude<ConsoleRequest, 'traceMessage'>> {
  if ('createTopic' in step) return { name: 'createTopic', topic: step.createTopic }
  if ('deleteTopic' in step) return { name: 'deleteTopic', topic: step.deleteTopic }
  if ('listClients' in step) return { name: 'listClients', after: '', limit: step.listClients }
  if ('kickClient' in step) return { name: 'kickClient', clientId: step.kickClient }
  if ('findMessages' in step) {
    return { name: 'findMessages', topic: step.findMessages, fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, afterOffset: 0, limit: PAGE }
  }
  const { connectionsPerProxy, messagesPerSecond, filtersPerClient, payloadBytes } = step.setQuotas
  return {
    name: 'setQuotas',
    connectionsPerProxy: connectionsPerProxy ?? planned.connectionsPerProxy,
    messagesPerSecond: messagesPerSecond ?? planned.messagesPerSecond,
    filtersPerClient: filtersPerClient ?? planned.filtersPerClient,
    payloadBytes: payloadBytes ?? planned.payloadBytes,
  }
}
