/**
 * The operator of a scenario: asks the console, over the network, what the scenario says and when. What came of it goes into the history, and to the checks, for which the operator is a witness: it
 * tells what it asked and what it was answered. Nothing of the run depends on it but what the console does.
 */
import type { ConsoleAnswer, ConsoleQuestion } from '../checks/console-answers.ts'
import { decodePayload } from '../checks/payload.ts'
import { type Asked, ConsoleClient } from '../model/console/console-client.ts'
import type { Quotas } from '../model/console/service-rules.ts'
import { emit } from '../model/events.ts'
import type { Address, Boot, Host } from '../model/host.ts'
import { Reader } from '../model/wire/codec.ts'
import { type MessageOf, storedMessageField } from '../model/wire/messages.ts'
import type { ConsoleStep } from './scenario.ts'

/** Who hears of each question, and of its answer by the number that it gave to the question. */
export interface OperatorListener {
  asked(question: ConsoleQuestion): number
  answered(question: number, answer: ConsoleAnswer): void
}

export interface OperatorConfig {
  readonly consoles: readonly Address[]
  readonly steps: readonly ConsoleStep[]
  /** What `setQuotas` leaves as it was planned. */
  readonly quotas: Quotas
  readonly listener: OperatorListener
}

type PlainRequest = Asked<'createTopic'> | Asked<'deleteTopic'> | Asked<'setQuotas'> | Asked<'kickClient'>

const PAGE = 1000

export function bootOperator(config: OperatorConfig): Boot {
  return (host) => {
    const operator = new Operator(host, config)
    for (const step of config.steps) host.setTimer(step.at, () => operator.take(step))
    return {}
  }
}

class Operator {
  private readonly host: Host
  private readonly config: OperatorConfig
  private readonly client: ConsoleClient

  constructor(host: Host, config: OperatorConfig) {
    this.host = host
    this.config = config
    this.client = new ConsoleClient(host, config.consoles)
  }

  take(step: ConsoleStep): void {
    if ('findMessages' in step) this.find(step.findMessages, () => undefined)
    else if ('traceMessage' in step) this.find(step.traceMessage, (found) => this.traceLast(step.traceMessage, found))
    else if ('listClients' in step) this.list(step.listClients)
    else this.change(questionOf(step, this.config.quotas), requestOf(step, this.config.quotas))
  }

  private change(question: ConsoleQuestion, request: PlainRequest): void {
    const told = this.begin(question)
    this.client.ask(request, (answer) => told({ outcome: answer?.outcome ?? 'unanswered' }))
  }

  private list(limit: number): void {
    const told = this.begin({ request: 'listClients', subject: `${limit} clients` })
    this.client.ask({ name: 'listClients', after: '', limit }, (answer) => {
      const connected = (answer?.clients ?? []).filter((client) => client.connected)
      told({
        outcome: answer?.outcome ?? 'unanswered',
        isComplete: answer?.outcome === 'found' && !answer.more,
        clients: connected.map(({ clientId }) => clientId),
      })
    })
  }

  /** All of a topic, and then what was stored in the middle of that time: the answer by time has to agree with the whole. */
  private find(topic: string, then: (found: MessageOf<'messagesListed'>) => void): void {
    this.findBetween(topic, 0, Number.MAX_SAFE_INTEGER, undefined, (whole) => {
      then(whole)
      const times = whole.messages.map(({ storedAtMs }) => storedAtMs)
      const [fromMs, toMs] = [times[Math.floor(times.length / 3)], times[Math.floor((times.length * 2) / 3)]]
      if (fromMs === undefined || toMs === undefined || whole.more) return
      const within = whole.messages.filter(({ storedAtMs }) => storedAtMs >= fromMs && storedAtMs <= toMs)
      this.findBetween(
        topic,
        fromMs,
        toMs,
        within.map(({ message }) => nameOf(message)),
        () => undefined,
      )
    })
  }

  private findBetween(
    topic: string,
    fromMs: number,
    toMs: number,
    expected: ConsoleAnswer['expected'] | undefined,
    then: (found: MessageOf<'messagesListed'>) => void,
  ): void {
    const told = this.begin({ request: 'findMessages', subject: topic, ...(expected === undefined ? {} : { isByTime: true }) })
    this.client.ask({ name: 'findMessages', topic, fromMs, toMs, afterOffset: 0, limit: PAGE }, (answer) => {
      if (answer === undefined) {
        told({ outcome: 'unanswered' })
        return
      }
      const { outcome, more } = answer
      const messages = answer.messages.map(({ message }) => nameOf(message))
      told({ outcome, isComplete: outcome === 'found' && !more, messages, ...(expected === undefined ? {} : { expected }) })
      then(answer)
    })
  }

  /** By its id, which is its shard and offset. */
  private traceLast(topic: string, { shard, messages }: MessageOf<'messagesListed'>): void {
    const last = messages.at(-1)
    if (last === undefined) return
    const told = this.begin({ request: 'traceMessage', subject: topic })
    this.client.ask({ name: 'traceMessage', shard, offset: last.offset }, (answer) => {
      const outcome = answer?.outcome ?? 'unanswered'
      told({ outcome, messages: [nameOf(last.message), ...(outcome === 'found' ? [nameOf(answer!.message)] : [])] })
    })
  }

  /** @returns what is to be called with the answer */
  private begin(question: ConsoleQuestion): (answer: ConsoleAnswer) => void {
    const { host } = this
    const number = this.config.listener.asked(question)
    const askedMs = host.nowMs()
    return (answer) => {
      this.config.listener.answered(number, answer)
      if (!host.recording) return
      const tookMs = Math.round(host.nowMs() - askedMs)
      emit(host, { kind: 'console-answered', request: question.request, outcome: answer.outcome, tookMs })
    }
  }
}

/** Publisher and sequence of a stored message; what is none of the run's has none. */
function nameOf(stored: Buffer): { readonly publisher: number; readonly sequence: number } {
  return decodePayload(storedMessageField.read(new Reader(stored)).payload) ?? { publisher: -1, sequence: -1 }
}

type PlainStep = Exclude<ConsoleStep, { findMessages: string } | { traceMessage: string } | { listClients: number }>

function questionOf(step: PlainStep, planned: Quotas): ConsoleQuestion {
  const { name } = requestOf(step, planned)
  if ('createTopic' in step) return { request: name, subject: step.createTopic }
  if ('deleteTopic' in step) return { request: name, subject: step.deleteTopic }
  if ('kickClient' in step) return { request: name, subject: step.kickClient }
  const { messagesPerSecond, payloadBytes } = quotasOf(step, planned)
  return { request: name, subject: 'all clients', quotas: { messagesPerSecond, payloadBytes } }
}

function quotasOf({ setQuotas }: Extract<PlainStep, { setQuotas: unknown }>, planned: Quotas): Quotas {
  return {
    connectionsPerProxy: setQuotas.connectionsPerProxy ?? planned.connectionsPerProxy,
    messagesPerSecond: setQuotas.messagesPerSecond ?? planned.messagesPerSecond,
    filtersPerClient: setQuotas.filtersPerClient ?? planned.filtersPerClient,
    payloadBytes: setQuotas.payloadBytes ?? planned.payloadBytes,
  }
}

function requestOf(step: PlainStep, planned: Quotas): PlainRequest {
  if ('createTopic' in step) return { name: 'createTopic', topic: step.createTopic }
  if ('deleteTopic' in step) return { name: 'deleteTopic', topic: step.deleteTopic }
  if ('kickClient' in step) return { name: 'kickClient', clientId: step.kickClient }
  return { name: 'setQuotas', ...quotasOf(step, planned) }
}
