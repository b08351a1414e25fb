/**
 * Who may get what: topics, flows, subscriptions and the links between them. Links are made when a subscription or a flow appears, both rare, so that a
 * message costs no matching.
 *
 * Promises: an inflow exists for every flow that a subscription in force may match; `dueFrom` says from which sequence on its messages are due. Every doubt
 * (a subscription being replaced or left) makes less due, never more.
 * By a shared subscription nothing is due to its session, but to the group (`groups.ts`).
 * Left out: which retained messages are due (`retained-last`).
 */
import { CLOCK_SHARE } from './calm.ts'
import { appended, NONE } from './collections.ts'
import { SharedGroups } from './groups.ts'
import {
  Client,
  type ClientFacts,
  type Connection,
  Flow,
  FOR_EVER,
  Inflow,
  NEVER,
  NOTHING,
  Session,
  Subscription,
  Topic,
  type WildcardFilter,
} from './state.ts'
import { hasWildcards, isShared, matches, plainFilter } from './topic-match.ts'

const unknownClient: ClientFacts = {
  number: -1,
  version: 4,
  cleanStart: true,
  sessionExpirySeconds: Number.POSITIVE_INFINITY,
  detectionOpenMs: Number.POSITIVE_INFINITY,
  detectionIdleMs: Number.POSITIVE_INFINITY,
}

export class Ledger {
  readonly topics = new Map<string, Topic>()
  readonly clients = new Map<string, Client>()
  readonly groups: SharedGroups
  /** True time of the latest observation. */
  nowUs = 0
  /** Counts faults on the clients' way, applied and healed, restarts included. */
  faultNumber = 0
  /** How long the service keeps a message. */
  retentionUs = Number.POSITIVE_INFINITY
  /** Sums over all messages, for the summary. */
  readonly totals = {
    published: 0,
    publishedAtMostOnce: 0,
    publishedExactlyOnce: 0,
    acknowledged: 0,
    delivered: 0,
    duplicates: 0,
    reconnects: 0,
  }
  private readonly facts: ReadonlyMap<string, ClientFacts>
  private readonly everyFlow: Flow[] = []
  private readonly flowsByPublisher = new Map<number, Flow[]>()
  private readonly flowsByName = new Map<string, Flow[]>()
  private readonly wildcards = new Map<string, WildcardFilter>()
  private activeFlows: Flow[] = []
  private incarnations = 0

  constructor(facts: ReadonlyMap<string, ClientFacts>) {
    this.facts = facts
    this.groups = new SharedGroups(this, new Client('', unknownClient))
  }

  client(id: string): Client {
    let client = this.clients.get(id)
    if (client === undefined) {
      client = new Client(id, this.facts.get(id) ?? unknownClient)
      this.clients.set(id, client)
    }
    return client
  }

  newSession(client: Client): Session {
    return new Session(client, ++this.incarnations)
  }

  topic(name: string): Topic {
    let topic = this.topics.get(name)
    if (topic === undefined) {
      topic = new Topic(name)
      this.topics.set(name, topic)
      for (const wildcard of this.wildcards.values()) {
        if (!matches(plainFilter(wildcard.filter), name)) continue
        wildcard.topics.push(topic)
        if (topic.wildcards === undefined) topic.wildcards = [wildcard]
        else topic.wildcards.push(wildcard)
      }
    }
    return topic
  }

  /** The flow of a publisher to a topic at a QoS, made where there is none. */
  flow(publisher: number, topicName: string, qos: number): Flow {
    const known = this.flowsOf(publisher, topicName)
    for (let i = 0; i < known.length; i++) {
      const flow = known[i]!
      if (flow.qos === qos && flow.topic.name === topicName && flow.publisher === publisher) return flow
    }
    const topic = this.topic(topicName)
    const flow = new Flow(publisher, topic, qos)
    this.everyFlow.push(flow)
    topic.flows = appended(topic.flows as Flow[], flow)
    const byPublisher = this.flowsByPublisher.get(publisher)
    if (byPublisher === undefined) this.flowsByPublisher.set(publisher, [flow])
    else {
      const flows = appended(byPublisher, flow)
      this.flowsByPublisher.set(publisher, flows)
      if (flows.length > FEW_FLOWS) this.indexByName(publisher, flows)
    }
    if (topic.subscriptions !== undefined) for (const subscription of topic.subscriptions) this.link(subscription, flow, 0)
    if (topic.wildcards !== undefined) {
      for (const wildcard of topic.wildcards) for (const subscription of wildcard.subscriptions) this.link(subscription, flow, 0)
    }
    return flow
  }

  /** The flow on which this very message was published, at whatever QoS. */
  flowThatSent(publisher: number, topicName: string, sequence: number): Flow | undefined {
    const known = this.flowsOf(publisher, topicName)
    for (let i = 0; i < known.length; i++) {
      const flow = known[i]!
      if (flow.topic.name === topicName && flow.publisher === publisher && flow.sent.has(sequence)) return flow
    }
    return undefined
  }

  /** A few publishers have many topics: theirs are found by name. */
  private flowsOf(publisher: number, topicName: string): readonly Flow[] {
    const flows = this.flowsByPublisher.get(publisher)
    if (flows === undefined) return NONE
    return flows.length <= FEW_FLOWS ? flows : (this.flowsByName.get(`${publisher}/${topicName}`) ?? NONE)
  }

  private indexByName(publisher: number, flows: readonly Flow[]): void {
    // Either the index is begun with all of them, or only the newest is missing from it.
    for (const flow of flows.length === FEW_FLOWS + 1 ? flows : flows.slice(-1)) {
      const key = `${publisher}/${flow.topic.name}`
      const named = this.flowsByName.get(key)
      if (named === undefined) this.flowsByName.set(key, [flow])
      else named.push(flow)
    }
  }

  /** A SUBSCRIBE was sent: from now on the subscription may be in force. */
  request(session: Session, filter: string, qos: number, noLocal: boolean, retainAsPublished: boolean, identifier: number): Subscription {
    let subscription = session.subscription(filter)
    if (subscription === undefined || subscription.gone) {
      if (subscription !== undefined) session.removeSubscription(subscription)
      subscription = new Subscription(session, filter, qos, noLocal)
      session.addSubscription(subscription)
      this.register(subscription)
    } else {
      if (subscription.identifier !== identifier)
        subscription.formerIdentifiers = [...subscription.formerIdentifiers, subscription.identifier]
      subscription.requestedQos = Math.max(qos, subscription.grantedQos)
      subscription.noLocal = subscription.noLocal && noLocal
      subscription.leaving = false
    }
    subscription.asked = true
    subscription.identifier = identifier
    subscription.retainAsPublished = retainAsPublished
    if (retainAsPublished) subscription.everRetainAsPublished = true
    this.eachFlow(subscription, (flow) => this.link(subscription, flow, NOTHING))
    this.changing(subscription, true)
    if (isShared(filter)) this.groups.asked(subscription)
    // Asked for anew at QoS 0: from here on nothing of it need be delivered.
    if (qos === 0 && subscription.grantedQos > 0) this.stopDue(subscription)
    return subscription
  }

  /** Its SUBACK was received. Nothing sent before is due. */
  grant(subscription: Subscription, reasonCode: number): void {
    subscription.asked = false
    if (reasonCode >= 0x80) {
      this.stopDue(subscription)
      // A refusal leaves a former grant in doubt: it may be in force, and nothing is due by it.
      if (subscription.grantedQos < 0) this.remove(subscription)
      else this.groups.left(subscription)
      return
    }
    const before = subscription.grantedQos
    subscription.grantedQos = reasonCode
    subscription.requestedQos = reasonCode
    if (reasonCode === 0) this.stopDue(subscription)
    this.eachFlow(subscription, (flow) => this.link(subscription, flow, before > 0 ? NOTHING : flow.sent.max + 1))
    this.changing(subscription, false)
    if (isShared(subscription.filter)) this.groups.granted(subscription)
  }

  /** UNSUBSCRIBE was sent. */
  leave(session: Session, filter: string): void {
    const subscription = session.subscription(filter)
    if (subscription === undefined) return
    subscription.leaving = true
    this.stopDue(subscription)
    this.changing(subscription, true)
    if (isShared(filter)) this.groups.left(subscription)
  }

  /** UNSUBACK was received: only messages published before may still come [MQTT-3.10.4-2, -3]. */
  left(session: Session, filter: string): void {
    const subscription = session.subscription(filter)
    if (subscription?.leaving) this.remove(subscription)
  }

  /** The session ended, or may have: nothing more is due to it. `surely`: the service knows it. */
  end(session: Session, surely: boolean): void {
    session.ended = true
    for (const subscription of session.subscriptions) if (isShared(subscription.filter)) this.groups.ended(subscription, surely)
  }

  /** Whether a session may get more than one copy of a message: by a shared subscription, and by another besides. */
  mayGetSeveral(inflow: Inflow): boolean {
    if (inflow.groups === undefined) return false
    return (
      inflow.groups.length > 1 || inflow.session.subscriptions.some((each) => !isShared(each.filter) && this.matchesFlow(each, inflow.flow))
    )
  }

  /** Whether a subscription that was asked for on a connection without CONNACK may be in force for a flow. */
  mayBeLoose({ session, flow }: Inflow): boolean {
    return session.client.looseFilters?.some((filter) => matches(plainFilter(filter), flow.topic.name)) === true
  }

  /** Whether a session may have ended by now, as far as the witness knows: it expired, or a CONNECT that ends it is not answered. */
  mayHaveEnded(session: Session): boolean {
    const { client, expirySeconds } = session
    if (session.ended || client.session !== session || client.strayEnd) return true
    if (expirySeconds !== FOR_EVER && this.nowUs - session.lastProofUs >= expirySeconds * 1_000_000 * CLOCK_SHARE) return true
    return client.connections.some(
      (each) => each.connackAtUs === NEVER && each.connectSentAtUs !== NEVER && (each.cleanStart || each.expirySeconds === 0),
    )
  }

  /** Whether live messages may come with RETAIN. */
  mayKeepRetain(inflow: Inflow): boolean {
    return inflow.session.subscriptions.some((each) => each.everRetainAsPublished && this.matchesFlow(each, inflow.flow))
  }

  /** The subscriptions of its session that may be in force for a flow. */
  covering(inflow: Inflow): readonly Subscription[] {
    return inflow.session.subscriptions.filter((each) => this.covers(each, inflow.flow))
  }

  /** Those that ever were, of this session. */
  everCovered(inflow: Inflow): readonly Subscription[] {
    return inflow.session.subscriptions.filter((each) => this.matchesFlow(each, inflow.flow))
  }

  /** The options of a subscription begin or cease to be in doubt. */
  private changing(subscription: Subscription, inDoubt: boolean): void {
    for (const inflow of subscription.session.inflows) {
      if (!this.matchesFlow(subscription, inflow.flow)) continue
      const covering = this.covering(inflow)
      const doubtful = inDoubt || covering.some((each) => each.asked || each.leaving)
      inflow.constantFrom = doubtful ? NOTHING : inflow.flow.sent.max + 1
      inflow.grantedQos = -1
      for (const { grantedQos } of covering) if (grantedQos > inflow.grantedQos) inflow.grantedQos = grantedQos
    }
  }

  private remove(subscription: Subscription): void {
    subscription.gone = true
    this.changing(subscription, false)
    if (isShared(subscription.filter)) this.groups.gone(subscription)
    for (const inflow of subscription.session.inflows) {
      const covered = subscription.session.subscriptions.some((each) => each !== subscription && this.covers(each, inflow.flow))
      if (covered || !this.matchesFlow(subscription, inflow.flow)) continue
      inflow.maximumQos = -1
      inflow.leftoverUpTo = inflow.flow.sent.max
    }
  }

  private stopDue(subscription: Subscription): void {
    for (const inflow of subscription.session.inflows) {
      if (!this.matchesFlow(subscription, inflow.flow)) continue
      const other = subscription.session.subscriptions.some(
        (each) => each !== subscription && each.grantedQos > 0 && this.makesDue(each, inflow.flow),
      )
      inflow.dueFrom = other ? inflow.flow.sent.max + 1 : NOTHING
      inflow.extraDue = undefined
    }
  }

  /** A message was published anew: due, though its sequence is below `dueFrom`, where a subscription is in force now. */
  republished(flow: Flow, sequence: number, incarnation: number): void {
    if (flow.republished === undefined) flow.republished = new Map()
    flow.republished.set(sequence, incarnation)
    for (const inflow of flow.inflows ?? []) inflow.addExtraDue(sequence)
  }

  /** A PUBACK or PUBREC below 0x80. */
  acknowledged(flow: Flow, sequence: number, timeUs: number): boolean {
    if (sequence < flow.acked.max && sequence < flow.lateAck) flow.lateAck = sequence
    flow.lastAckUs = timeUs
    if (!flow.active) {
      flow.active = true
      this.activeFlows.push(flow)
    }
    return flow.acked.add(sequence)
  }

  inflow(session: Session, flow: Flow): Inflow {
    let inflow = session.inflowOf(flow)
    if (inflow === undefined) {
      inflow = new Inflow(session, flow)
      session.addInflow(inflow)
      flow.inflows = withLiving(flow.inflows, inflow)
      // Without a message yet, whatever is in force now is so for all; a SUBSCRIBE that is still open says otherwise in a moment.
      if (flow.sent.max < 0) inflow.constantFrom = 0
    }
    return inflow
  }

  /** Looks which acknowledged messages are due and not delivered; costs only for flows with acknowledgements since, or with something missing. */
  sweep(nowUs: number): void {
    const flows = this.activeFlows
    this.activeFlows = []
    for (const flow of flows) {
      let waiting = false
      for (const inflow of flow.inflows ?? []) {
        if (inflow.session.ended) continue
        if (flow.lateAck < inflow.settled) inflow.settled = flow.lateAck
        const missing = lowestUndelivered(inflow)
        if (missing !== inflow.pendingSequence) {
          inflow.pendingSequence = missing
          inflow.pendingSinceUs = nowUs
        }
        if (missing >= 0) waiting = true
      }
      flow.lateAck = NOTHING
      flow.active = waiting
      if (waiting) this.activeFlows.push(flow)
    }
  }

  /** Flows that something is waited for on. */
  waitingFlows(): readonly Flow[] {
    return this.activeFlows
  }

  /** Every flow there is, in the order in which they came. */
  flows(): readonly Flow[] {
    return this.everyFlow
  }

  private register(subscription: Subscription): void {
    const filter = subscription.filter
    const plain = plainFilter(filter)
    if (!hasWildcards(plain)) {
      const topic = this.topic(plain)
      topic.subscriptions = withLiving(topic.subscriptions, subscription)
      return
    }
    let wildcard = this.wildcards.get(filter)
    if (wildcard === undefined) {
      wildcard = { filter, subscriptions: [], topics: [] }
      this.wildcards.set(filter, wildcard)
      for (const topic of this.topics.values()) {
        if (!matches(plain, topic.name)) continue
        wildcard.topics.push(topic)
        if (topic.wildcards === undefined) topic.wildcards = [wildcard]
        else topic.wildcards.push(wildcard)
      }
    }
    wildcard.subscriptions = withLiving(wildcard.subscriptions, subscription)
  }

  eachFlow(subscription: Subscription, visit: (flow: Flow) => void): void {
    const plain = plainFilter(subscription.filter)
    if (!hasWildcards(plain)) {
      for (const flow of this.topics.get(plain)?.flows ?? NONE) visit(flow)
      return
    }
    for (const topic of this.wildcards.get(subscription.filter)?.topics ?? []) for (const flow of topic.flows) visit(flow)
  }

  /** Joins a subscription and a flow that it matches; messages from `dueFrom` on are due by it once it is granted. */
  private link(subscription: Subscription, flow: Flow, dueFrom: number): void {
    if (subscription.gone || subscription.session.ended || !this.covers(subscription, flow)) return
    const inflow = this.inflow(subscription.session, flow)
    if (subscription.asked || subscription.leaving) inflow.constantFrom = NOTHING
    if (isShared(subscription.filter)) this.groups.link(subscription, inflow, dueFrom)
    if (subscription.grantedQos > inflow.grantedQos) inflow.grantedQos = subscription.grantedQos
    if (subscription.requestedQos > inflow.maximumQos) inflow.maximumQos = subscription.requestedQos
    if (subscription.grantedQos > 0 && this.makesDue(subscription, flow) && dueFrom < inflow.dueFrom) {
      inflow.dueFrom = dueFrom
      if (dueFrom < inflow.settled) inflow.settled = dueFrom
    }
  }

  /** May it be in force for this flow? */
  private covers(subscription: Subscription, flow: Flow): boolean {
    return !subscription.gone && this.matchesFlow(subscription, flow) && !isForbiddenLoop(subscription, flow)
  }

  private makesDue(subscription: Subscription, flow: Flow): boolean {
    return !subscription.leaving && flow.qos > 0 && !isShared(subscription.filter) && this.covers(subscription, flow)
  }

  private matchesFlow(subscription: Subscription, flow: Flow): boolean {
    return subscription.filter === flow.topic.name || matches(plainFilter(subscription.filter), flow.topic.name)
  }
}

const FEW_FLOWS = 8

/** No Local: a client's own messages are not sent back to it [MQTT-3.8.3-3]. */
function isForbiddenLoop(subscription: Subscription, flow: Flow): boolean {
  return subscription.noLocal && subscription.session.client.facts.number === flow.publisher
}

/** The lowest due and acknowledged message that was not delivered, or -1. */
export function lowestUndelivered(inflow: Inflow): number {
  const { flow, delivered, extraDue } = inflow
  if (extraDue !== undefined) {
    for (let at = extraDue.firstMissingFrom(delivered, 0); at >= 0; at = extraDue.firstMissingFrom(delivered, at + 1)) {
      if (flow.acked.has(at)) return at
    }
  }
  if (inflow.dueFrom === NOTHING) return NEVER
  const missing = flow.acked.firstMissingFrom(delivered, Math.max(inflow.dueFrom, inflow.settled))
  inflow.settled = missing >= 0 ? missing : flow.acked.max + 1
  return missing
}

/** Whether a message of the flow may have expired by now. */
export function mayExpire(flow: Flow, nowUs: number): boolean {
  return flow.expirySeconds !== FOR_EVER && nowUs >= flow.expirySeconds * 1_000_000
}

/** Whether the lowest message that an inflow waits for may be past its retention, or any after it. */
export function mayBePastRetention(inflow: Inflow, retentionUs: number, nowUs: number): boolean {
  return inflow.pendingSequence >= 0 && nowUs - inflow.pendingSinceUs >= retentionUs
}

/** Room for the header of a PUBLISH and the properties that the service adds. */
const HEADER_ROOM_BYTES = 256

/** Whether a message of the flow may be larger than a client takes [MQTT-3.1.2-25]. */
export function mayBeTooLarge(flow: Flow, connection: Connection): boolean {
  if (connection.maximumPacketBytes === NOTHING) return false
  return flow.payloadBytes < 0 || flow.payloadBytes + flow.topic.name.length * 3 + HEADER_ROOM_BYTES > connection.maximumPacketBytes
}

/** Adds to a list whose members end one day, and drops the ended ones now and then, so that it stays near the size of the living. */
function withLiving<T extends { readonly session: Session }>(list: T[] | undefined, item: T): T[] {
  const length = list === undefined ? 0 : list.length
  if (length < 4 || (length & (length - 1)) !== 0) return appended(list, item)
  return appended(
    list!.filter((each) => !each.session.ended),
    item,
  )
}
