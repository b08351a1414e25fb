/**
 * Plays a scenario in a virtual world, in acts: `warm-up` (the region starts, clients connect), `faults` (each put in force and taken out at its time),
 * `healed` (every fault is out, from here the liveness promises count), the drain (publishing has stopped) and the audit. The witnesses watch from the
 * first instant to the last; their verdicts make the run's.
 *
 * A run is a pure function of scenario and seed. There is no clock in here: how long it took is for the caller to know.
 */
import { type Checks, createChecks } from '../checks/checks.ts'
import { decodePayload } from '../checks/payload.ts'
import { PROMISED_RETENTION_MS } from '../checks/retention.ts'
import type { ClientFacts } from '../checks/state.ts'
import { SEAL_AT_MESSAGES } from '../model/broker/message-index.ts'
import { detectionBoundMs } from '../model/client/profile.ts'
import { clientProfiles } from '../model/client/profiles.ts'
import { planRegion, type RegionPlan } from '../model/region.ts'
import { ports } from '../model/settings.ts'
import type { Fault } from '../model/world.ts'
import { createSimWorld, type SimWorld } from '../sim/world.ts'
import { type AuditReport, bootAuditor } from './auditor.ts'
import {
  auditorMachine,
  clientMachines,
  INTRUDER_ROLE,
  intruderMachines,
  machinesOf,
  oldestWatchMachine,
  operatorMachine,
  regionSpec,
} from './cast.ts'
import { readCopies } from './copies.ts'
import { gatherFacts } from './facts.ts'
import { gatherFailover } from './failover.ts'
import { type Firing, firingsOf, whatFires } from './fault-plan.ts'
import { isLasting } from './fault-schema.ts'
import { bootFleet, clientIdOf, createFleetStatistics, type FleetClient } from './fleet.ts'
import { bootIntruder, type IntruderListener } from './intruder.ts'
import { bootOldestWatch } from './oldest-watch.ts'
import { bootOperator, type OperatorListener } from './operator.ts'
import { QueueWatch } from './queues.ts'
import { type RunResult, verdictOf } from './result.ts'
import { AUDIT_BUDGET_MS, CLIENTS_STAGGER_SHARE, CLIENTS_START_SHARE, DRAIN_BUDGET_MS, expectations, type Scenario } from './scenario.ts'
import type { Selectable } from './selector.ts'
import { tellStory } from './story.ts'
import { endOfFaultsMs } from './timing.ts'
import { VolumeStrains } from './volume-strains.ts'
import { planClients } from './workload.ts'

export interface RunOptions {
  readonly seed: number
  readonly recording: boolean
  /** False leaves the opening and closing of connections out of the history: nothing of a result follows from them, and in days they get many. */
  readonly recordsConnections?: boolean
  onProgress?(act: string, simulatedSeconds: number): void
  /** Changes what is built: how tests plant a machine that breaks its word. */
  region?(plan: RegionPlan): RegionPlan
  /** Sees the world before its first instant. */
  prepare?(world: SimWorld): void
}

const US_PER_MS = 1000
const US_PER_SECOND = 1_000_000
/** Nothing received for this long: nothing is on its way any more. */
const QUIET_MS = 2000
const LIVELOCKS_BORNE = 5
/** How often it is looked which messages are the oldest, where a run is longer than their retention. */
const LOOKS_PER_RETENTION = 128
const LEAST_LOOK_MS = 1000

class Run {
  private readonly scenario: Scenario
  private readonly options: RunOptions
  private readonly plan: RegionPlan
  private readonly machines: readonly Selectable[]
  private readonly clients: readonly FleetClient[]
  private readonly world: SimWorld
  private readonly statistics = createFleetStatistics()
  private readonly strains: VolumeStrains
  /** What is promised, where the scenario sets nothing else: not what the settings happen to say. */
  private readonly retentionMs: number
  private readonly endOfFaultsUs: number
  private readonly endOfPublishingUs: number
  /** Where recording is on. */
  private readonly queueWatch: QueueWatch | undefined
  private entriesPassed = 0
  private livelocks = 0
  private isDrained = false

  constructor(scenario: Scenario, options: RunOptions) {
    this.scenario = scenario
    this.options = options
    const plan = planRegion(regionSpec(scenario))
    this.plan = options.region?.(plan) ?? plan
    this.machines = machinesOf(scenario, plan)
    this.strains = new VolumeStrains(scenario.volumes.kind, plan.shardCount, this.machines)
    this.queueWatch = options.recording ? new QueueWatch(this.machines) : undefined
    const { warmUp, settle } = scenario.workload
    this.clients = planClients(scenario.clients, {
      startAtMs: warmUp * CLIENTS_START_SHARE,
      connectStaggerMs: warmUp * CLIENTS_STAGGER_SHARE,
    })
    this.world = createSimWorld({
      seed: options.seed,
      recording: options.recording,
      recordsConnections: options.recordsConnections ?? true,
    })
    this.endOfFaultsUs = endOfFaultsMs(scenario) * US_PER_MS
    this.endOfPublishingUs = this.endOfFaultsUs + settle * US_PER_MS
    this.retentionMs = scenario.region.settings.broker?.retentionMs ?? PROMISED_RETENTION_MS
  }

  play(): RunResult {
    const { scenario, world, options } = this
    const { budgets, workload } = scenario
    const { settings } = regionSpec(scenario)
    const checks = createChecks({
      clients: new Map(
        this.clients.map((client) => [
          clientIdOf(client.number),
          { ...factsOf(client, settings.proxy.maximumKeepaliveSeconds), ...this.budgetOf(client.number) },
        ]),
      ),
      machines: this.machines,
      budgets: {
        reconnectMs: budgets.reconnect,
        routesMs: budgets.routes,
        progressMs: budgets.progress,
        consoleMs: budgets.console,
        replacementMs: budgets.replacement,
      },
      window3x: settings.proxy.window3x,
      loadBalancer: settings.loadBalancer,
      instanceGroup: settings.instanceGroup,
      rebalanceIntervalMs: settings.broker.rebalanceIntervalMs,
      retention: {
        retentionMs: this.retentionMs,
        segmentMessages: SEAL_AT_MESSAGES,
        segmentMs: settings.broker.segmentAgeMs,
        shardOfTopic: (topic) => this.plan.shardOfTopic(topic),
      },
    })
    this.observe(checks)
    options.prepare?.(world)
    this.build(checks)
    this.scheduleFaults()

    checks.onAct('warm-up', 0)
    this.advance(checks, 'warm-up', workload.warmUp * US_PER_MS)
    checks.onAct('faults', world.nowUs())
    this.advance(checks, 'faults', this.endOfFaultsUs)
    checks.onAct('healed', world.nowUs())
    this.advance(checks, 'healed', this.endOfPublishingUs)
    this.drain(checks)
    checks.onAct('drained', world.nowUs())
    const audit = this.audit(checks)
    for (let volume = 0; volume < this.plan.shardCount; volume++) checks.copies(volume, readCopies(world, volume))
    const promises = checks.finish(world.nowUs())

    const expected = expectations(scenario)
    const { digest, events } = world.counters()
    const failover = gatherFailover(world.history, world.machines, settings)
    return {
      scenario: scenario.name,
      title: scenario.title,
      description: scenario.story.trim(),
      seed: options.seed,
      verdict: verdictOf(promises, expected),
      promises,
      notPromised: Object.fromEntries(
        promises.flatMap(({ id, verdict }) => {
          const line = verdict === 'violated' ? this.strains.notPromised(id) : undefined
          return line === undefined ? [] : [[id, line]]
        }),
      ),
      expected: Object.fromEntries(expected),
      measures: checks.measures(),
      facts: gatherFacts(world.history, world.machines),
      ...(failover === undefined ? {} : { failover }),
      ...(this.queueWatch === undefined ? {} : { queues: this.queueWatch.queues(world.history) }),
      drained: this.isDrained,
      audit,
      digest,
      events,
      simulatedSeconds: world.nowUs() / US_PER_SECOND,
      wallSeconds: 0,
      story: options.recording ? tellStory(world.history, world.machines) : [],
      history: world.history,
      goals: Object.fromEntries(world.goals),
    }
  }

  private build(checks: Checks): void {
    const { world, plan, statistics } = this
    for (const machine of plan.machines) world.addMachine(machine)
    for (const { name, zone, role, address, firstClient, count, group } of clientMachines(this.scenario)) {
      const boot = bootFleet({
        clients: this.clients.slice(firstClient, firstClient + count),
        accessName: plan.accessNames[this.scenario.clients[group]!.access],
        port: ports.mqtt,
        dnsServers: plan.dnsServers,
        publishUntilMs: this.endOfPublishingUs / US_PER_MS,
        statistics,
      })
      world.addMachine({ name, zone, role, address, cores: 1, boot })
    }
    for (const { dials, ...machine } of intruderMachines(this.scenario)) {
      const dialled = plan.machines.filter(({ role, standby }) => role === dials && standby !== true)
      const listener: IntruderListener = {
        sent: (by, target) => checks.strangers.sent(by, target, world.nowUs()),
        answered: (by, target, bytes) => checks.strangers.answered(by, target, bytes, world.nowUs()),
      }
      world.addMachine({ ...machine, cores: 1, boot: bootIntruder({ dials, machines: dialled, listener }) })
    }
    if (this.retentionMs * US_PER_MS < this.endOfPublishingUs) this.watchTheOldest(checks)
    const { console: steps } = this.scenario
    if (steps.length === 0) return
    const listener: OperatorListener = {
      asked: (question) => checks.operator.asked(question, world.nowUs()),
      answered: (question, answer) => checks.operator.answered(question, answer, world.nowUs()),
    }
    world.addMachine({
      ...operatorMachine,
      cores: 1,
      boot: bootOperator({ consoles: plan.consoles, steps, quotas: plan.quotas, listener }),
    })
  }

  private watchTheOldest(checks: Checks): void {
    const { world, plan } = this
    const boot = bootOldestWatch({
      nameservers: plan.nameservers,
      settings: regionSpec(this.scenario).settings,
      intervalMs: Math.max(LEAST_LOOK_MS, this.retentionMs / LOOKS_PER_RETENTION),
      topics: () => checks.acknowledgedTopics(),
      shardOfTopic: (topic) => plan.shardOfTopic(topic),
      onOldest: (topic, oldest, tookMs) => {
        const { publisher, sequence } = (oldest === undefined ? undefined : decodePayload(oldest.payload)) ?? {
          publisher: -1,
          sequence: -1,
        }
        if (oldest !== undefined && publisher < 0) return
        const nowUs = world.nowUs()
        checks.auditor.oldest(topic, oldest === undefined ? undefined : { publisher, sequence }, nowUs - tookMs * US_PER_MS, nowUs)
      },
    })
    world.addMachine({ ...oldestWatchMachine, cores: 1, boot })
  }

  private scheduleFaults(): void {
    const { world } = this
    const endOfFaultsMs = this.endOfFaultsUs / US_PER_MS
    for (const firing of firingsOf(this.scenario.faults, endOfFaultsMs)) world.at(firing.atMs * US_PER_MS, () => this.fire(firing))
  }

  private fire(firing: Firing): void {
    const { world, machines, options } = this
    const due = whatFires(firing, {
      machines,
      seed: options.seed,
      isRunning: (machine) => world.isRunning(machine),
      isOn: (machine) => world.isOn(machine),
    })
    if ('wanted' in due) {
      world.foundNobody(due.kind, due.wanted)
      return
    }
    const lasts = isLasting(firing.planned)
    const put = (fault: Fault) => {
      const heal = world.apply(fault)
      if (lasts) world.at(firing.endMs * US_PER_MS, heal)
    }
    for (const { afterMs, fault } of due) {
      const atMs = firing.atMs + afterMs
      if (afterMs === 0) put(fault)
      else if (!lasts || atMs < firing.endMs) world.at(atMs * US_PER_MS, () => put(fault))
    }
  }

  /** That of the client's group, where it has one of its own. */
  private budgetOf(number: number): Pick<ClientFacts, 'reconnectMs'> {
    let first = 0
    for (const { count, reconnectBudget } of this.scenario.clients) {
      if (number < first + count) return reconnectBudget === undefined ? {} : { reconnectMs: reconnectBudget }
      first += count
    }
    return {}
  }

  /** The checks hear of entries, faults and processes in the order in which they came. */
  private observe(checks: Checks): void {
    const { world } = this
    world.observeSockets('client', checks.sockets)
    world.observeSockets(INTRUDER_ROLE, checks.intruders)
    for (const balancers of checks.balancers) world.observeSockets('load-balancer', balancers)
    for (const [role, tier] of checks.tiers) world.observeSockets(role, tier)
    world.observe({
      onFault: (...event) => {
        this.passEntries(checks)
        this.strains.onFault(event[0], event[1])
        checks.world.onFault?.(...event)
      },
      onProcessStarted: (...event) => {
        this.passEntries(checks)
        checks.world.onProcessStarted?.(...event)
      },
      onProcessEnded: (...event) => {
        this.passEntries(checks)
        checks.world.onProcessEnded?.(...event)
      },
      onPowerLost: (...event) => {
        this.passEntries(checks)
        checks.world.onPowerLost?.(...event)
      },
    })
    const { queueWatch } = this
    if (queueWatch !== undefined) world.observe({ onWaited: (...event) => queueWatch.waited(...event) })
  }

  /** Publishing is over: what is on its way arrives. A subscriber with a long queue gets the time it takes, as long as messages still move. */
  private drain(checks: Checks): void {
    const { world, statistics } = this
    this.advance(checks, 'drain', this.endOfPublishingUs + this.scenario.workload.drain * US_PER_MS)
    const giveUpUs = world.nowUs() + DRAIN_BUDGET_MS * US_PER_MS
    for (let before = -1; !this.isDrained && world.nowUs() < giveUpUs; ) {
      before = statistics.counters.received
      this.advance(checks, 'drain', world.nowUs() + QUIET_MS * US_PER_MS)
      this.isDrained = statistics.counters.received === before
    }
  }

  private passEntries(checks: Checks): void {
    const { history } = this.world
    while (this.entriesPassed < history.length) checks.onEntry(history[this.entriesPassed++]!)
  }

  /** Lets the world run on to each full second, when the checks look at what waits, and somebody may watch. */
  private advance(checks: Checks, act: string, untilUs: number, done?: () => boolean): void {
    const { world, options } = this
    while (world.nowUs() < untilUs && done?.() !== true) {
      const nextSecondUs = (Math.floor(world.nowUs() / US_PER_SECOND) + 1) * US_PER_SECOND
      this.runWorld(Math.min(untilUs, nextSecondUs), done)
      this.passEntries(checks)
      options.onProgress?.(act, world.nowUs() / US_PER_SECOND)
    }
  }

  /** A livelock has ended its process, which `no-crash` has seen: the run goes on without it, as the region would, unless it happens again and again. */
  private runWorld(untilUs: number, done: (() => boolean) | undefined): void {
    try {
      this.world.run(untilUs, done)
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('livelock')) || ++this.livelocks > LIVELOCKS_BORNE) throw error
    }
  }

  private audit(checks: Checks): AuditReport {
    const { world, plan } = this
    const topics = checks.acknowledgedTopics()
    let report: AuditReport | undefined
    const boot = bootAuditor({
      nameservers: plan.nameservers,
      settings: regionSpec(this.scenario).settings,
      topics,
      shardOfTopic: (topic) => plan.shardOfTopic(topic),
      budgetMs: AUDIT_BUDGET_MS,
      onMessage: (topic, { payload }) => {
        const decoded = decodePayload(payload)
        checks.auditor.stored(topic, decoded?.publisher ?? -1, decoded?.sequence ?? -1, decoded !== undefined)
      },
      consoles: plan.consoles,
      wantsTrace: ({ payload }) => {
        const decoded = decodePayload(payload)
        return decoded !== undefined && checks.auditor.wantsTrace(decoded.publisher, decoded.sequence)
      },
      onTrace: ({ payload }, trace, wallMs) => {
        const { publisher, sequence } = decodePayload(payload)!
        const trueUs = (timeMs: number) => (timeMs === 0 ? 0 : (timeMs - wallMs) * US_PER_MS + world.nowUs())
        checks.auditor.traced(publisher, sequence, {
          outcome: trace?.outcome ?? 'unanswered',
          isWhole: trace?.isWhole === true,
          storedAtUs: trueUs(trace?.storedAtMs ?? 0),
          deliveries: (trace?.deliveries ?? []).map(({ clientId, state, acknowledgedAtMs }) => ({
            clientId,
            state,
            acknowledgedAtUs: trueUs(acknowledgedAtMs),
          })),
        })
      },
      onDone: (done) => {
        report = done
      },
    })
    world.addMachine({ ...auditorMachine, cores: 1, boot })
    this.advance(checks, 'audit', world.nowUs() + (AUDIT_BUDGET_MS + 5000) * US_PER_MS, () => report !== undefined)
    const ended = report ?? { topics: topics.length, messages: 0, unanswered: topics, malformed: [] }
    const unanswered = new Set(ended.unanswered)
    for (const topic of topics) {
      const wrong = ended.malformed.find((problem) => problem.startsWith(`${topic}: `))
      if (unanswered.has(topic)) checks.auditor.failed(topic, 'not answered in time')
      else if (wrong !== undefined) checks.auditor.failed(topic, wrong)
      else checks.auditor.complete(topic)
    }
    return ended
  }
}

/** What the checks are told of a client. */
function factsOf(client: FleetClient, maximumKeepaliveSeconds: number): ClientFacts {
  const profile = clientProfiles[client.profile]
  const { number, version, cleanStart } = client
  const ownKeepaliveSeconds = client.keepaliveSeconds ?? profile.keepaliveSeconds
  // Server Keep Alive is used instead of the client's own [MQTT-3.1.2-21].
  const keepaliveSeconds = version === 5 ? Math.min(ownKeepaliveSeconds, maximumKeepaliveSeconds) : ownKeepaliveSeconds
  return {
    number,
    version,
    cleanStart,
    // MQTT 3.x: a session that is not clean has no expiry [MQTT 3.1.1, section 3.1.2.4].
    sessionExpirySeconds: version === 5 ? client.sessionExpirySeconds : cleanStart ? 0 : Number.POSITIVE_INFINITY,
    detectionOpenMs: detectionBoundMs(profile, true, keepaliveSeconds),
    detectionIdleMs: detectionBoundMs(profile, false, keepaliveSeconds),
    tls: client.tls !== undefined,
    away: client.away.map(({ atMs, forMs }) => ({ fromMs: atMs, toMs: atMs + forMs + client.awayStaggerMs })),
  }
}

export function runScenario(scenario: Scenario, options: RunOptions): RunResult {
  return new Run(scenario, options).play()
}
