/**
 * `reconnect-in-time`: after a fault every client is served again by fault + D + R. D is how long the client itself takes to notice (its acknowledgement timeout if
 * something was open, else keepalive and ping timeout), or the end of its connection that really arrived; R is the scenario's budget, or that of the client's own group.
 *
 * Served: on an accepted connection, a publish sent on it after the fault is acknowledged, and a message first sent after it is delivered.
 * Every fault on the clients' way, put in force or taken out, starts every client's clock anew, so that a client hit twice has its time from the second hit. One
 * that cannot reach them, such as between two DNS servers, starts none.
 * Put to the test by a client whose connection ended after a fault, or whose traffic then waited for more than a second. A client that kept its connection and
 * sent nothing is not judged: it has no complaint. Neither is one cut off from the whole region, one that said goodbye, or a deadline that the observation does
 * not reach.
 */
import type { Check, Shared } from './check.ts'
import { wantsService } from './check.ts'
import { describeFault } from './disturbance.ts'
import { type Evidence, Findings, seconds } from './promise.ts'
import { type RecoveryMeasures, RecoveryTimes } from './recovery.ts'
import type { Client, Connection } from './state.ts'

/** A client that may have been hit by the latest fault. */
class Suspect {
  readonly client: Client
  readonly faultUs: number
  /** Since which fault it has been without service: an earlier one, where it was not served again before this. For the measures; its clock starts anew. */
  readonly sinceUs: number
  /** It was served after the fault, and lost its connection all the same. */
  isAgain = false
  deadlineUs: number
  /** When its connection first ended after the fault; undefined while it has not. */
  lostUs: number | undefined = undefined
  lostHow = ''
  /** The same after `sinceUs`. */
  goneUs: number | undefined = undefined
  attempts = 0
  /** The connection that it tries, and how long those took that came to nothing. */
  attempt: Connection | undefined = undefined
  triedInVainUs = 0
  /** Of the first publish after the fault: sent, and the one that was acknowledged. */
  firstPublishUs: number | undefined = undefined
  acknowledgedUs: number | undefined = undefined
  acknowledgedAfterUs = 0
  deliveredUs: number | undefined = undefined
  /** Its deadline has passed, and was reported. */
  late = false

  constructor(client: Client, faultUs: number, deadlineUs: number, former?: Suspect) {
    this.client = client
    this.faultUs = faultUs
    this.deadlineUs = deadlineUs
    this.sinceUs = former?.sinceUs ?? faultUs
    this.goneUs = former?.goneUs
    this.triedInVainUs = former?.triedInVainUs ?? 0
  }

  /** It lost its connection and was not served since, or has waited for an acknowledgement for long. */
  isWithoutService(nowUs: number): boolean {
    if (this.lostUs !== undefined) return true
    return this.acknowledgedUs === undefined && this.firstPublishUs !== undefined && nowUs - this.firstPublishUs > STUCK_US
  }

  trying(connection: Connection, timeUs: number): void {
    this.triedInVain(timeUs)
    this.attempt = connection
  }

  triedInVain(timeUs: number): void {
    if (this.attempt !== undefined && this.lostUs !== undefined)
      this.triedInVainUs += Math.max(0, timeUs - Math.max(this.attempt.startedAtUs, this.lostUs))
    this.attempt = undefined
  }
}

/** Traffic that waited for longer counts as stuck. */
const STUCK_US = 1_000_000

export interface ReconnectInTime extends Check {
  recovery(): RecoveryMeasures
}

export function checkReconnectInTime({ context, ledger, disturbance }: Shared): ReconnectInTime {
  const findings = new Findings('reconnect-in-time')
  const budgetUsOf = ({ facts }: Client): number => (facts.reconnectMs ?? context.budgets.reconnectMs) * 1000
  const progressUs = context.budgets.progressMs * 1000
  const times = new RecoveryTimes()
  const suspects = new Map<Client, Suspect>()
  let faultUs = -1
  let faultText = ''

  const suspect = (client: Client, timeUs: number, former: Suspect | undefined) => {
    const { detectionOpenMs, detectionIdleMs } = client.facts
    // Who is between two connections may have a connect attempt open.
    const open = client.current === undefined || (client.session?.oldestOpenUs() ?? -1) >= 0
    const detectionUs = (open ? Math.min(detectionOpenMs, detectionIdleMs) : detectionIdleMs) * 1000
    const each = new Suspect(client, timeUs, timeUs + detectionUs + budgetUsOf(client), former)
    suspects.set(client, each)
    if (client.current === undefined) {
      each.lostUs = timeUs
      each.lostHow = 'it had no connection when the fault came'
      each.goneUs ??= timeUs
      each.attempt = client.connections.findLast(({ left }) => !left)
    }
  }

  const story = (each: Suspect, timeUs: number): readonly Evidence[] => {
    const { client } = each
    const evidence: Evidence[] = [{ timeUs: each.faultUs, text: faultText }]
    if (each.lostUs !== undefined && each.lostUs >= each.faultUs) evidence.push({ timeUs: each.lostUs, text: each.lostHow })
    if (client.current !== undefined)
      evidence.push({ timeUs: client.current.connackAtUs, text: `CONNACK on connection ${client.current.id}` })
    if (each.firstPublishUs !== undefined) evidence.push({ timeUs: each.firstPublishUs, text: 'its first publish after the fault' })
    if (each.acknowledgedUs !== undefined)
      evidence.push({ timeUs: each.acknowledgedUs, text: 'a publish sent after the fault was acknowledged' })
    if (each.deliveredUs !== undefined) evidence.push({ timeUs: each.deliveredUs, text: 'a message sent after the fault was delivered' })
    evidence.push({ timeUs: each.deadlineUs, text: `its deadline, after ${each.attempts} connection attempts since the fault` })
    if (timeUs > each.deadlineUs) evidence.push({ timeUs, text: missing(each) ?? 'served' })
    return evidence.sort((a, b) => a.timeUs - b.timeUs)
  }

  /** What a client lacks to be served, in words that group. */
  const missing = (each: Suspect): string | undefined => {
    if (each.client.current === undefined) return 'it has no accepted connection'
    if (each.acknowledgedUs === undefined) return 'no publish was acknowledged'
    if (each.deliveredUs === undefined) return 'no message was delivered'
    return undefined
  }

  /** What was open when the fault came was answered: the answer was on its way. With nothing open only the keepalive notices, until something new is sent. */
  const answeredMeanwhile = (each: Suspect) => {
    const { client } = each
    if (each.lostUs !== undefined || each.firstPublishUs !== undefined || (client.session?.oldestOpenUs() ?? -1) >= 0) return
    each.deadlineUs = Math.max(each.deadlineUs, each.faultUs + client.facts.detectionIdleMs * 1000 + budgetUsOf(client))
  }

  const violated = (each: Suspect, what: string, timeUs: number) => {
    each.late = true
    findings.exercised++
    findings.violated(timeUs, what, () => ({
      text: `${each.client.id} was not served again by ${seconds(each.deadlineUs)} after ${faultText} at ${seconds(each.faultUs)}: ${what}.`,
      evidence: story(each, timeUs),
    }))
  }

  /** Who was away meanwhile has the time that it takes to come back, from then on. */
  const giveTimeAfterAway = (each: Suspect) => {
    for (const { fromMs, toMs } of each.client.facts.away ?? []) {
      if (toMs * 1000 < each.faultUs || fromMs * 1000 > each.deadlineUs) continue
      each.deadlineUs = Math.max(each.deadlineUs, toMs * 1000 + budgetUsOf(each.client))
    }
  }

  const maybeServed = (each: Suspect, timeUs: number) => {
    const connection = each.client.current
    if (each.acknowledgedUs === undefined || each.deliveredUs === undefined || connection === undefined) return
    const waited = each.acknowledgedUs - each.acknowledgedAfterUs > STUCK_US
    if (each.lostUs !== undefined || waited || each.late) {
      if (!each.late) {
        giveTimeAfterAway(each)
        if (timeUs > each.deadlineUs) violated(each, 'it was served too late', timeUs)
        else findings.exercised++
      }
      if (each.lostUs === undefined) times.stuck(each.sinceUs, timeUs)
      else if (each.isAgain) times.lostAgain(each.lostUs, timeUs)
      else {
        const { startedAtUs: startedUs, openedAtUs: openedUs, connackAtUs: connackUs } = connection
        const { sinceUs: faultUs, goneUs: lostUs = each.lostUs, triedInVainUs } = each
        const securedUs = each.client.facts.tls === true ? connection.connectSentAtUs : undefined
        times.lost({ faultUs, lostUs, triedInVainUs, startedUs, openedUs, securedUs, connackUs, servedUs: timeUs })
      }
    }
    suspects.delete(each.client)
  }

  /** Something of a connected client's waits since well before its deadline. */
  const stuck = (each: Suspect): string | undefined => {
    const session = each.client.session
    const sinceUs = each.deadlineUs - progressUs
    if (each.acknowledgedUs === undefined && each.firstPublishUs !== undefined && each.firstPublishUs <= sinceUs)
      return 'no publish was acknowledged'
    if (each.deliveredUs !== undefined || session === undefined) return undefined
    const waits = session.inflows.some(
      ({ flow, pendingSequence, pendingSinceUs }) =>
        flow.faultNumber === ledger.faultNumber && pendingSequence > flow.sentBeforeFault && pendingSinceUs <= sinceUs,
    )
    return waits ? 'no message was delivered' : undefined
  }

  const judge = (nowUs: number) => {
    for (const each of suspects.values()) {
      if (each.late || nowUs <= each.deadlineUs) continue
      giveTimeAfterAway(each)
      if (nowUs <= each.deadlineUs) continue
      const { client } = each
      if (!wantsService(client) || isCutOff(client)) {
        suspects.delete(client)
        continue
      }
      const what = each.lostUs === undefined ? stuck(each) : missing(each)
      if (what === undefined) suspects.delete(client)
      else violated(each, what, each.deadlineUs)
    }
  }

  const isCutOff = (client: Client) => {
    const machine = client.machine
    return machine !== undefined && disturbance.isCutOff(machine)
  }

  const lost = (connection: Connection, how: string, timeUs: number) => {
    const { client } = connection
    if (faultUs < 0 || connection.connackAtUs < 0 || client.retired || client.current !== undefined) return
    let each = suspects.get(client)
    if (each === undefined) {
      // Served after the fault, and lost all the same: its time runs from here.
      each = new Suspect(client, timeUs, timeUs + budgetUsOf(client))
      each.isAgain = true
      suspects.set(client, each)
    }
    each.acknowledgedUs = undefined
    each.deliveredUs = undefined
    each.firstPublishUs = undefined
    if (each.lostUs !== undefined) return
    each.lostUs = timeUs
    each.lostHow = how
    each.goneUs ??= timeUs
    each.deadlineUs = Math.min(each.deadlineUs, timeUs + budgetUsOf(client))
  }

  return {
    findings,
    recovery: () => times.measures(),
    onFault(fault, phase, timeUs) {
      if (!disturbance.isOnClientsWay(fault)) return
      judge(timeUs)
      faultUs = timeUs
      faultText = phase === 'applied' ? describeFault(fault) : `the end of: ${describeFault(fault)}`
      const former = [...suspects.values()].filter((each) => each.isWithoutService(timeUs))
      for (const each of former) each.triedInVain(timeUs)
      const formerOf = new Map(former.map((each) => [each.client, each]))
      suspects.clear()
      for (const client of ledger.clients.values()) if (wantsService(client)) suspect(client, timeUs, formerOf.get(client))
    },
    onConnectStarted(connection, timeUs) {
      const each = suspects.get(connection.client)
      if (each === undefined) return
      each.attempts++
      each.trying(connection, timeUs)
    },
    onLeft: (connection, timeUs) => lost(connection, 'the client gave its connection up', timeUs),
    onClosed(connection: Connection, reason, by, timeUs) {
      const each = suspects.get(connection.client)
      if (each?.attempt === connection) each.triedInVain(timeUs)
      if (!connection.left) lost(connection, by === 'self' ? 'the client closed its connection' : `its connection ended: ${reason}`, timeUs)
    },
    onPublishSent(connection, _flow, _sequence, publication, kind, timeUs) {
      if (suspects.size === 0) return
      const each = suspects.get(connection.client)
      if (each === undefined || publication === undefined) return
      // A client that replays its queue before it subscribes has asked for nothing yet: its time runs from the end of the replay.
      if (kind !== 'new' && connection.session?.subscriptions.length === 0)
        each.deadlineUs = Math.max(each.deadlineUs, timeUs + budgetUsOf(connection.client))
      if (each.firstPublishUs !== undefined) return
      each.firstPublishUs = timeUs
      if (each.lostUs !== undefined) return
      // Something is open from now on: the acknowledgement timeout may notice before the keepalive does.
      each.deadlineUs = Math.min(each.deadlineUs, timeUs + connection.client.facts.detectionOpenMs * 1000 + budgetUsOf(connection.client))
    },
    onAnswered(connection, publication, accepted, _first, timeUs) {
      if (suspects.size === 0 || !accepted) return
      const each = suspects.get(connection.client)
      if (each === undefined || each.acknowledgedUs !== undefined || connection.client.current !== connection) return
      // What is acknowledged on a connection that was accepted after the fault was sent on it, if not for the first time: a client that replays a long
      // queue one by one before it sends anything new is slow by its own habit.
      const sentAtUs = Math.max(publication.firstSentAtUs, connection.connackAtUs)
      if (sentAtUs <= each.faultUs) {
        answeredMeanwhile(each)
        return
      }
      each.acknowledgedUs = timeUs
      each.acknowledgedAfterUs = sentAtUs
      maybeServed(each, timeUs)
    },
    onDelivery({ connection, flow, sequence, timeUs }) {
      if (suspects.size === 0) return
      const each = suspects.get(connection.client)
      if (each === undefined || each.deliveredUs !== undefined || connection.client.current !== connection) return
      if (flow.faultNumber !== ledger.faultNumber || sequence <= flow.sentBeforeFault) return
      each.deliveredUs = timeUs
      maybeServed(each, timeUs)
    },
    onSweep: judge,
  }
}
