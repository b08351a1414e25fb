/**
 * Puts the witnesses and the checks together: what a runner plugs into a World, feeds with the auditor's findings, and asks for verdicts at the end.
 */
import type { HistoryEntry, SocketObserver, WorldObserver } from '../model/world.ts'
import { checkAckedDelivered } from './acked-delivered.ts'
import { checkAckedSurvives } from './acked-survives.ts'
import { Ages } from './ages.ts'
import { checkBrokersPrivate, type StrangersView } from './brokers-private.ts'
import { Calm } from './calm.ts'
import type { Act, Check, CheckContext, CopyLog, OldestMessage, Shared } from './check.ts'
import { checkConsoleAnswers, type OperatorView } from './console-answers.ts'
import { type ControlMeasures, checkControlIsolated } from './control-isolated.ts'
import { Disturbance } from './disturbance.ts'
import { Ledger } from './ledger.ts'
import { checkNoAmplification } from './no-amplification.ts'
import { checkNoCrash } from './no-crash.ts'
import { checkNoPhantom } from './no-phantom.ts'
import { checkOneOwner } from './one-owner.ts'
import { checkProgress } from './progress.ts'
import { type PromiseId, type PromiseResult, promiseIds } from './promise.ts'
import { checkPublisherOrder } from './publisher-order.ts'
import { checkQos0AtMostOnce } from './qos0-at-most-once.ts'
import { checkQos2ExactlyOnce } from './qos2-exactly-once.ts'
import { checkReadmission } from './readmission.ts'
import { checkReconnectInTime } from './reconnect-in-time.ts'
import type { RecoveryMeasures } from './recovery.ts'
import { checkReplaced } from './replaced.ts'
import { checkRetainedLast } from './retained-last.ts'
import { checkRetention } from './retention.ts'
import { checkRoutesConverge } from './routes-converge.ts'
import { checkSessionKept } from './session-kept.ts'
import { checkSpread } from './spread.ts'
import type { TierRole } from './tiers.ts'
import { checkTraceable, type Trace } from './traceable.ts'
import { checkWillOnce } from './will-once.ts'
import { checkWireLegal } from './wire-legal.ts'
import { Witness } from './witness.ts'

export interface Measures {
  readonly messagesPublished: number
  /** Of these at QoS 0, which nobody acknowledges. */
  readonly messagesPublishedAtMostOnce: number
  /** And at QoS 2. */
  readonly messagesPublishedExactlyOnce: number
  readonly messagesAcknowledged: number
  /** First deliveries. */
  readonly messagesDelivered: number
  /** Deliveries to a session that had the message already. */
  readonly duplicates: number
  /** Acknowledged, asked for by the auditor, and not read back. */
  readonly lost: number
  /** Accepted connections of a client beyond its first. */
  readonly reconnects: number
  /** Of these while another accepted one of the client's was still open at it. */
  readonly takeovers: number
  /** Wills that some subscriber received. */
  readonly willsFired: number
  readonly recovery: RecoveryMeasures
  /** Undefined in a region without a console. */
  readonly control: ControlMeasures | undefined
}

export interface Auditor {
  /** A message was read back. `payloadOk`: it is, byte for byte, what its header says. */
  stored(topic: string, publisher: number, sequence: number, payloadOk: boolean): void
  /** All of a topic was read back. */
  complete(topic: string): void
  failed(topic: string, why: string): void
  /** What a look during the run found to be the oldest message of a topic. */
  oldest(topic: string, oldest: OldestMessage | undefined, askedUs: number, timeUs: number): void
  /** Whether the trace of a message is to be asked for. */
  wantsTrace(publisher: number, sequence: number): boolean
  traced(publisher: number, sequence: number, trace: Trace): void
}

export interface Checks {
  /** Of clients. */
  readonly sockets: SocketObserver
  /** Of the region's machines, by their role; empty where nobody counts what they are asked. */
  readonly tiers: ReadonlyMap<TierRole, SocketObserver>
  /** Of machines that try to reach what clients may not. */
  readonly intruders: SocketObserver
  /** And what came of their datagrams. */
  readonly strangers: StrangersView
  /** Of the load balancers, one for each check that looks at their probes. */
  readonly balancers: readonly SocketObserver[]
  readonly operator: OperatorView
  readonly world: WorldObserver
  readonly auditor: Auditor
  onEntry(entry: HistoryEntry): void
  onAct(act: Act, timeUs: number): void
  /** The durable bytes of a volume's copies, from an offset that they have in common. */
  copies(volume: number, logs: readonly CopyLog[]): void
  finish(timeUs: number): readonly PromiseResult[]
  /** Whole after `finish`. */
  measures(): Measures
  /** Topics with messages of QoS above 0 that were acknowledged, sorted by code unit: what the auditor has to read back. */
  acknowledgedTopics(): readonly string[]
}

/** Those that use `Calm`. */
const promisesWithDeadlines: readonly PromiseId[] = [
  'progress',
  'session-kept',
  'will-once',
  'retained-last',
  'wire-legal',
  'control-isolated',
  'console-answers',
]

export function createChecks(context: CheckContext): Checks {
  const ledger = new Ledger(context.clients)
  const disturbance = new Disturbance(context.machines)
  if (context.retention !== undefined) ledger.retentionUs = context.retention.retentionMs * 1000
  const calm = new Calm(ledger, disturbance, context)
  const ages = new Ages(ledger, disturbance, context)
  const shared: Shared = { context, ledger, disturbance, calm, ages }
  const ackedSurvives = checkAckedSurvives(shared)
  const oneOwner = checkOneOwner(shared)
  const reconnectInTime = checkReconnectInTime(shared)
  const willOnce = checkWillOnce(shared)
  const noAmplification = checkNoAmplification(shared)
  const controlIsolated = checkControlIsolated(shared)
  const brokersPrivate = checkBrokersPrivate(shared)
  const consoleAnswers = checkConsoleAnswers(shared)
  const replaced = checkReplaced(shared)
  const readmission = checkReadmission(shared)
  const traceable = checkTraceable(shared)
  const all: Readonly<Record<PromiseId, Check>> = {
    'acked-survives': ackedSurvives,
    'acked-delivered': checkAckedDelivered(shared),
    'qos2-exactly-once': checkQos2ExactlyOnce(shared),
    'qos0-at-most-once': checkQos0AtMostOnce(shared),
    'publisher-order': checkPublisherOrder(),
    'no-phantom': checkNoPhantom(shared),
    'session-kept': checkSessionKept(shared),
    'one-owner': oneOwner,
    'will-once': willOnce,
    'retained-last': checkRetainedLast(shared),
    'reconnect-in-time': reconnectInTime,
    'routes-converge': checkRoutesConverge(shared),
    progress: checkProgress(shared),
    'wire-legal': checkWireLegal(shared),
    'no-crash': checkNoCrash(),
    'no-amplification': noAmplification,
    retention: checkRetention(shared),
    'control-isolated': controlIsolated,
    readmission,
    'brokers-private': brokersPrivate,
    'console-answers': consoleAnswers,
    replaced,
    traceable,
    spread: checkSpread(shared),
  }
  const checks = (context.promises ?? promiseIds).map((id) => all[id])
  // Its listening costs something, and only deadlines need it.
  const judgesDeadlines = checks.some(({ findings }) => promisesWithDeadlines.includes(findings.id))
  const witness = new Witness(ledger, [...(judgesDeadlines ? [calm] : []), ages, ...checks])
  const losesStore = (machine: string, timeUs: number) => {
    if (disturbance.machine(machine)?.role === 'client') witness.storeLost(machine, timeUs)
  }

  const world: WorldObserver = {
    onFault(fault, phase, timeUs) {
      witness.tick(timeUs)
      if (disturbance.isOnClientsWay(fault)) ledger.faultNumber++
      disturbance.onFault(fault, phase, timeUs)
      for (const check of checks) check.onFault?.(fault, phase, timeUs)
    },
    onProcessStarted(machine, timeUs) {
      witness.tick(timeUs)
      disturbance.onProcessStarted(machine, timeUs)
      for (const check of checks) check.onProcessStarted?.(machine, timeUs)
    },
    onProcessEnded(machine, cause, error, timeUs) {
      witness.tick(timeUs)
      disturbance.onProcessEnded(machine, timeUs)
      losesStore(machine, timeUs)
      for (const check of checks) check.onProcessEnded?.(machine, cause, error, timeUs)
    },
    onPowerLost(machine, _lostFiles, timeUs) {
      witness.tick(timeUs)
      losesStore(machine, timeUs)
      for (const check of checks) check.onPowerLost?.(machine, timeUs)
    },
  }

  return {
    sockets: witness,
    tiers: checks.includes(noAmplification) ? noAmplification.tiers : new Map(),
    intruders: brokersPrivate.intruders,
    strangers: brokersPrivate.strangers,
    balancers: [replaced, readmission].filter((check) => checks.includes(check)).map(({ balancers }) => balancers),
    operator: consoleAnswers.operator,
    world,
    auditor: {
      stored(topic, publisher, sequence, payloadOk) {
        for (const check of checks) check.onAudited?.(topic, publisher, sequence, payloadOk)
      },
      complete(topic) {
        for (const check of checks) check.onAuditEnded?.(topic, undefined)
      },
      failed(topic, why) {
        for (const check of checks) check.onAuditEnded?.(topic, why)
      },
      oldest(topic, oldest, askedUs, timeUs) {
        for (const check of checks) check.onOldest?.(topic, oldest, askedUs, timeUs)
      },
      wantsTrace: (publisher, sequence) => traceable.wants(publisher, sequence),
      traced: (publisher, sequence, trace) => traceable.traced(publisher, sequence, trace),
    },
    onEntry(entry) {
      for (const check of checks) check.onEntry?.(entry)
    },
    onAct(act, timeUs) {
      witness.tick(timeUs)
      calm.onAct(act, timeUs)
      ages.onAct(act, timeUs)
      for (const check of checks) check.onAct?.(act, timeUs)
    },
    copies(volume, logs) {
      for (const check of checks) check.onCopies?.(volume, logs)
    },
    finish(timeUs) {
      witness.tick(timeUs)
      witness.sweep(timeUs)
      for (const check of checks) check.finish?.(timeUs)
      return checks.map((check) => check.findings.result())
    },
    measures() {
      const { published, publishedAtMostOnce, publishedExactlyOnce, acknowledged, delivered, duplicates, reconnects } = ledger.totals
      return {
        messagesPublished: published,
        messagesPublishedAtMostOnce: publishedAtMostOnce,
        messagesPublishedExactlyOnce: publishedExactlyOnce,
        messagesAcknowledged: acknowledged,
        messagesDelivered: delivered,
        duplicates,
        lost: ackedSurvives.lost(),
        reconnects,
        takeovers: oneOwner.takeovers(),
        willsFired: willOnce.fired(),
        recovery: reconnectInTime.recovery(),
        control: context.machines.some(({ role }) => role === 'console') ? controlIsolated.acknowledgements() : undefined,
      }
    },
    acknowledgedTopics() {
      const topics: string[] = []
      for (const topic of ledger.topics.values())
        if (topic.flows.some((flow) => flow.qos > 0 && flow.acked.max >= 0)) topics.push(topic.name)
      return topics.sort()
    },
  }
}
