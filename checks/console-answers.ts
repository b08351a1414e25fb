/**
 * `console-answers`: while a majority of the consoles is in order, each request to the console is answered within its budget, and what it answers is right.
 *
 * Right is: a first level of topics takes publishes from a budget after it was created, and none from a budget after it was deleted; a client that was kicked loses the connection that it had; the
 * clients that are connected are listed; what is found of a topic has all that its publishers had acknowledged before the question, by time what the whole has of that time, and a message asked for by its id is that message; a quota of
 * payload or of messages a second binds from a budget after it was set, nobody who keeps well below the latter is refused for it, and nobody is sent away.
 * What was asked and answered is told by the operator, who is a client of the console; what came of it is seen at the clients' sockets.
 * Put to the test by each request asked while a majority of the consoles had been in order for a budget, and by each publish, connection and message that shows what an answer was worth.
 * An answer that a shard is out of reach is borne while the region is troubled, since the console can only ask its owner. What a change is worth is not judged
 * while a proxy may be cut off from the consoles and not from its clients, nor until two budgets after that; from then on it is judged like one that was answered just then.
 * Left out: quotas of connections and of filters.
 */
import type { Check, Shared } from './check.ts'
import { ConsoleQuotas, QUOTA_EXCEEDED } from './console-quotas.ts'
import { IntervalSet, missingRuns } from './intervals.ts'
import { describeRuns, Findings, NEVER_BEFORE, seconds } from './promise.ts'
import { type Client, type Connection, type Flow, NEVER } from './state.ts'

export interface ConsoleQuestion {
  readonly request: 'createTopic' | 'deleteTopic' | 'setQuotas' | 'findMessages' | 'traceMessage' | 'listClients' | 'kickClient'
  /** The first level, the topic, or the client id that it is about. */
  readonly subject: string
  /** Only what was stored within some time is asked for. */
  readonly isByTime?: boolean
  readonly quotas?: { readonly messagesPerSecond: number; readonly payloadBytes: number }
}

export interface ConsoleAnswer {
  /** `unanswered`: no console has said anything. */
  readonly outcome: string
  /** It is all that there is. */
  readonly isComplete?: boolean
  /** Messages that were found; of `traceMessage` the one that was asked for and the one that came. */
  readonly messages?: readonly { readonly publisher: number; readonly sequence: number }[]
  /** What a query by time has to find, by the answer to one of the whole. */
  readonly expected?: readonly { readonly publisher: number; readonly sequence: number }[]
  /** Ids of the clients that are connected. */
  readonly clients?: readonly string[]
}

/** What an operator tells. */
export interface OperatorView {
  /** @returns a number for the question */
  asked(question: ConsoleQuestion, timeUs: number): number
  answered(question: number, answer: ConsoleAnswer, timeUs: number): void
}

export interface ConsoleAnswers extends Check {
  readonly operator: OperatorView
}

interface Open {
  readonly question: ConsoleQuestion
  readonly askedAtUs: number
  isLate: boolean
  /** When a majority of the consoles had been in order for long enough. */
  readonly isJudged: boolean
  /** Of a topic: what its publishers had acknowledged. */
  readonly acknowledged: readonly { readonly flow: Flow; readonly acked: IntervalSet }[]
  readonly connection: Connection | undefined
  readonly connected: readonly Client[]
}

const CHANGES: ReadonlySet<string> = new Set(['createTopic', 'deleteTopic', 'setQuotas'])
/** Faults after which a proxy serves nobody, or learns of the rules as soon as it is back. */
const WHOLE: ReadonlySet<string> = new Set(['crash', 'power-loss', 'restart', 'disk-loss', 'upgrade', 'scale-in', 'scale-out'])
const WHOLE_FORMS: ReadonlySet<string> = new Set(['power', 'isolated'])

export function checkConsoleAnswers(shared: Shared): ConsoleAnswers {
  const { context, disturbance, ledger, calm, ages } = shared
  const findings = new Findings('console-answers')
  const budgetUs = context.budgets.consoleMs * 1000
  const consoles = context.machines.filter(({ role }) => role === 'console')
  const open = new Map<number, Open>()
  /** First levels that the operator has changed; undefined while nobody can know. */
  const levels = new Map<string, { readonly exists: boolean; readonly sinceUs: number } | undefined>()
  const kicked = new Map<Connection, { readonly askedAtUs: number; readonly dueUs: number }>()
  let questions = 0
  /** Since when a majority of the consoles is in order; `Infinity` while it is not. */
  let majoritySinceUs = NEVER_BEFORE
  let blurred = 0
  let blurredUntilUs = NEVER_BEFORE

  /** When what was answered at this time has to be in force everywhere; `Infinity`: nobody can say yet. */
  const inForceFromUs = (answeredAtUs: number) =>
    blurred > 0 ? Number.POSITIVE_INFINITY : Math.max(answeredAtUs, blurredUntilUs) + budgetUs
  const quotas = new ConsoleQuotas(findings, budgetUs, inForceFromUs, (machine) => {
    const own = disturbance.machine(machine)
    return own === undefined || disturbance.isDisturbed(own)
  })

  const look = (timeUs: number) => {
    const inOrder = consoles.filter((machine) => !disturbance.isDisturbed(machine)).length
    const isMajority = inOrder > consoles.length / 2
    if (!isMajority) majoritySinceUs = Number.POSITIVE_INFINITY
    else if (majoritySinceUs === Number.POSITIVE_INFINITY) majoritySinceUs = timeUs
  }

  const wrong = ({ question, askedAtUs }: Open, timeUs: number, kind: string, text: string) => {
    findings.violated(timeUs, kind, () => ({
      text: `The operator asked the console for ${question.request} of ${question.subject} at ${seconds(askedAtUs)}; ${text}.`,
      evidence: [...disturbance.before(timeUs), { timeUs: askedAtUs, text: `asked for ${question.request}` }, { timeUs, text }],
    }))
  }

  const isTroubled = (sinceUs: number) => disturbance.isTroubled || calm.quietFromUs(undefined) > sinceUs

  const judgeMessages = (each: Open, answer: ConsoleAnswer, timeUs: number) => {
    if (answer.isComplete !== true || answer.messages === undefined) return
    if (answer.expected !== undefined && namesOf(answer.expected) !== namesOf(answer.messages))
      wrong(
        each,
        timeUs,
        'a query by time disagrees',
        `by time ${answer.messages.length} messages were found, where the whole has ${answer.expected.length}`,
      )
    for (const { flow, acked } of each.acknowledged) {
      const found = new IntervalSet()
      for (const { publisher, sequence } of answer.messages) if (publisher === flow.publisher) found.add(sequence)
      const { runs, count } = missingRuns(acked, found, ages.mayBeGoneUpTo(flow, timeUs) + 1, 5)
      findings.exercised += acked.size
      if (count === 0) continue
      const which = `${count} acknowledged messages of publisher ${flow.publisher} (sequence ${describeRuns(runs)})`
      wrong(each, timeUs, 'acknowledged messages are not found', `the answer lacks ${which}`)
    }
  }

  const judge = (each: Open, answer: ConsoleAnswer, timeUs: number) => {
    const { question, askedAtUs, connection } = each
    const { outcome } = answer
    if (outcome === 'unanswered' || outcome === 'out-of-reach' || outcome === 'partial' || outcome === 'unreachable') {
      const isBorne = !CHANGES.has(question.request) && isTroubled(askedAtUs)
      if (each.isJudged && !isBorne && !each.isLate) wrong(each, timeUs, 'the console cannot answer', `the answer was: ${outcome}`)
      return
    }
    switch (question.request) {
      case 'findMessages':
        judgeMessages(each, answer, timeUs)
        return
      case 'traceMessage': {
        const [asked, came] = answer.messages ?? []
        if (asked !== undefined && (asked.publisher !== came?.publisher || asked.sequence !== came.sequence))
          wrong(
            each,
            timeUs,
            'a message is not found by its id',
            `the message of sequence ${asked.sequence} was not found by its id: ${outcome}`,
          )
        return
      }
      case 'kickClient':
        if (outcome === 'kicked' && connection !== undefined && !connection.closed && !connection.left)
          kicked.set(connection, { askedAtUs, dueUs: timeUs + budgetUs })
        return
      case 'listClients': {
        if (answer.isComplete !== true) return
        const listed = new Set(answer.clients)
        const missing = each.connected.find(
          (client) => !listed.has(client.id) && client.current !== undefined && stoodSince(client, askedAtUs),
        )
        findings.exercised += each.connected.length
        if (missing !== undefined)
          wrong(each, timeUs, 'a connected client is not listed', `${missing.id} is connected, and not listed as that`)
        return
      }
      default:
    }
  }

  /** Connected for so long, by what the witness sees, that the service has to know it. */
  const stoodSince = (client: Client, timeUs: number) => {
    const { current } = client
    return (
      current !== undefined &&
      current.connackAtUs !== NEVER &&
      current.connackAtUs <= timeUs - budgetUs &&
      calm.quietFromUs(current.machine) <= timeUs
    )
  }

  return {
    findings,
    operator: {
      asked(question, timeUs) {
        const { request, subject } = question
        const topic = request === 'findMessages' && question.isByTime !== true ? ledger.topics.get(subject) : undefined
        const client = request === 'kickClient' ? ledger.clients.get(subject) : undefined
        const isJudged = timeUs >= majoritySinceUs + budgetUs
        if (isJudged) findings.exercised++
        open.set(++questions, {
          question,
          askedAtUs: timeUs,
          isLate: false,
          isJudged,
          acknowledged: (topic?.flows ?? []).filter(({ qos }) => qos > 0).map((flow) => ({ flow, acked: flow.acked.copy() })),
          connection: client?.current,
          connected: request === 'listClients' ? [...ledger.clients.values()].filter((each) => stoodSince(each, timeUs)) : [],
        })
        if (request === 'createTopic' || request === 'deleteTopic') levels.set(subject, undefined)
        if (request === 'setQuotas') quotas.change()
        return questions
      },
      answered(number, answer, timeUs) {
        const each = open.get(number)
        if (each === undefined) return
        open.delete(number)
        judge(each, answer, timeUs)
        const { request, subject } = each.question
        const isOnly = ![...open.values()].some(({ question }) => question.request !== 'findMessages' && question.subject === subject)
        if (answer.outcome !== 'done' || !isOnly) return
        if (request === 'createTopic' || request === 'deleteTopic')
          levels.set(subject, { exists: request === 'createTopic', sinceUs: timeUs })
        if (request === 'setQuotas' && each.question.quotas !== undefined) quotas.set(each.question.quotas, timeUs)
      },
    },
    onFault(fault, phase, timeUs) {
      look(timeUs)
      const isWhole = WHOLE.has(fault.kind) || (fault.kind === 'zone-outage' && WHOLE_FORMS.has(fault.form))
      const isOnEdge =
        fault.kind === 'zone-outage' ||
        context.machines.some((machine) => (machine.role === 'proxy' || machine.role === 'console') && names(fault, machine.name))
      if (isWhole || !isOnEdge) return
      blurred += phase === 'applied' ? 1 : -1
      blurredUntilUs = timeUs + 2 * budgetUs
    },
    onProcessStarted: (_machine, timeUs) => look(timeUs),
    onProcessEnded: (_machine, _cause, _error, timeUs) => look(timeUs),
    onPublishSent: (connection, _flow, _sequence, _publication, _kind, timeUs) => quotas.published(connection, timeUs),
    onServerPacket: (connection, packet, _frameBytes, timeUs) => quotas.heard(connection, packet, timeUs),
    onAnswered(connection, publication, accepted, _first, timeUs, reasonCode) {
      const { flow, firstSentAtUs } = publication
      if (flow === undefined) return
      if (quotas.judgePayload(connection, publication, accepted, timeUs)) return
      quotas.judgeRate(connection, publication, reasonCode, timeUs)
      const name = flow.topic.name.split('/', 1)[0]!
      const level = levels.get(name)
      if (level === undefined || firstSentAtUs < inForceFromUs(level.sinceUs)) return
      findings.exercised++
      if (accepted === level.exists || (!accepted && reasonCode === QUOTA_EXCEEDED)) return
      const [is, did] = level.exists ? ['created', 'refused'] : ['deleted', 'accepted']
      findings.violated(timeUs, `a topic that was ${is} is ${did}`, () => ({
        text: `The console had ${is} the first level ${name} by ${seconds(level.sinceUs)}, and a publish of ${connection.client.id} to ${flow.topic.name}, first sent at ${seconds(firstSentAtUs)}, was ${did}.`,
        evidence: [
          { timeUs: level.sinceUs, text: `the console answered that ${name} is ${is}` },
          { timeUs: firstSentAtUs, text: `${connection.client.id} published to ${flow.topic.name}` },
          { timeUs, text: `it was ${did}` },
        ],
      }))
    },
    onClosed(connection, _reason, by) {
      quotas.closed(connection)
      if (kicked.delete(connection) && by === 'peer') findings.exercised++
    },
    onLeft: (connection) => {
      kicked.delete(connection)
    },
    onSweep(nowUs) {
      for (const each of open.values()) {
        if (each.isLate || nowUs - each.askedAtUs <= budgetUs) continue
        each.isLate = true
        const isBorne = !CHANGES.has(each.question.request) && isTroubled(each.askedAtUs)
        if (each.isJudged && !isBorne && majoritySinceUs <= each.askedAtUs)
          wrong(each, nowUs, 'the console does not answer in time', 'there was no answer in time')
      }
      for (const [connection, { askedAtUs, dueUs }] of kicked) {
        if (nowUs <= dueUs) continue
        kicked.delete(connection)
        if (isTroubled(askedAtUs) || disturbance.isCutOff(connection.machine)) continue
        findings.violated(nowUs, 'a client that was kicked is still there', () => ({
          text: `${connection.client.id} was kicked, asked for at ${seconds(askedAtUs)}, and its connection is still open at ${seconds(nowUs)}.`,
          evidence: [
            { timeUs: connection.connackAtUs, text: `${connection.client.id} was connected` },
            { timeUs: dueUs - budgetUs, text: 'the console answered that it was kicked' },
            { timeUs: nowUs, text: 'its connection is open' },
          ],
        }))
      }
    },
  }
}

function namesOf(messages: readonly { readonly publisher: number; readonly sequence: number }[]): string {
  return messages.map(({ publisher, sequence }) => `${publisher}/${sequence}`).join()
}

/** Whether a fault is one of this machine, or on a way from or to it. */
function names(fault: object, machine: string): boolean {
  return ['machines', 'from', 'to'].some((key) =>
    ((fault as Record<string, unknown>)[key] as readonly string[] | undefined)?.includes(machine),
  )
}
