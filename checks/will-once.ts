/**
 * `will-once`: a will is never published twice to one subscriber session; never when DISCONNECT 0x00 was surely processed, nor while its connection goes on, nor
 * when its session was surely resumed before the Will Delay Interval had passed [MQTT-3.1.3-9], nor before that; once, in time, when the end was surely abnormal.
 * In all other cases either is right. It is seen at subscribers of its topic.
 *
 * DISCONNECT 0x00 was surely processed when it left on an accepted connection that the client had not given up and the server not ended, and no fault on this
 * client's way was in force, came or went, and no process there died or came back, within five seconds before or after.
 * The end was surely abnormal when an accepted connection ended, by whomever, without that packet: dropped, by DISCONNECT 0x04, with the client's process or
 * power. Where a CONNECT without a clean start followed and the will has a delay, it may have been cancelled, and either is right; unless the delay surely was over
 * when that CONNECT was sent, counted from when the service must have noticed the end or all is quiet.
 * In time: keepalive * 1.5 after the end (when the service must have noticed) or once all is quiet, whichever is later; plus the delay (or session expiry where that
 * is shorter) and the progress budget. Judged for sessions granted QoS 1 or 2 before the service last spoke on the connection, since when it may have published, and due
 * without a break, when they are connected; ages of a delay may stand still while nobody owns the shard, so that it counts in full from when all is quiet.
 * Put to the test by every abnormal end that some such session heard of or should have, and by every sure DISCONNECT 0x00 that such a session listened to.
 * Left out: wills with QoS 0, with an expiry or without keepalive are never demanded; which of several equal payloads came.
 */
import { CLOCK_SHARE } from './calm.ts'
import type { Check, Delivery, Shared } from './check.ts'
import { mayBeTooLarge } from './ledger.ts'
import { type Evidence, Findings, seconds } from './promise.ts'
import { type Client, type Connection, type Flow, type Inflow, NEVER, NOTHING, type Session, type Will } from './state.ts'

export interface WillOnce extends Check {
  /** Wills that some subscriber received. */
  fired(): number
}

/** For how long all must have been quiet before a DISCONNECT, and stay so after it. */
const SETTLED_US = 5_000_000
/** How many former wills of a client are remembered once nothing more is expected of them. */
const REMEMBERED = 4

/** What becomes of the will of one connection. */
class Fate {
  readonly connection: Connection
  readonly will: Will
  state: 'open' | 'goodbye' | 'discarded' | 'abnormal' | 'unknown' = 'open'
  endedAtUs = NEVER
  endedHow = ''
  delayUs: number
  /** A CONNECT that may have resumed its session before it was due was sent; one that ends the session was. */
  mayBeCancelled = false
  sessionMayEnd = false
  /** The session was surely resumed in time. */
  cancelledAtUs = NEVER
  /** Sessions that it is due to and has not reached. */
  awaiting: Set<Inflow> | undefined = undefined
  /** The packet identifier under which each session got it. */
  copies: Map<Session, number> | undefined = undefined
  reported = false

  constructor(connection: Connection, will: Will) {
    this.connection = connection
    this.will = will
    this.delayUs = Math.min(will.delaySeconds, connection.expirySeconds) * 1_000_000
  }
}

export function checkWillOnce({ context, ledger, disturbance, calm }: Shared): WillOnce {
  const findings = new Findings('will-once')
  const progressUs = context.budgets.progressMs * 1000
  const byClient = new Map<Client, Fate[]>()
  const byFlow = new Map<Flow, Map<number, Fate>>()
  /** Those that something is still to be found out about. */
  const pending = new Set<Fate>()
  let fired = 0

  const violated = (fate: Fate, timeUs: number, kind: string, text: string, last: string) => {
    if (fate.reported) return
    fate.reported = true
    findings.exercised++
    const { connection, will } = fate
    const client = connection.client.id
    findings.violated(timeUs, kind, () => {
      const evidence: Evidence[] = [
        {
          timeUs: connection.connectSentAtUs,
          text: `CONNECT of ${client} with will ${will.sequence} on ${will.flow.topic.name}, delay ${will.delaySeconds} s`,
        },
        ...disturbance.before(timeUs),
        { timeUs, text: last },
      ]
      if (fate.endedAtUs !== NEVER) evidence.push({ timeUs: fate.endedAtUs, text: fate.endedHow })
      if (will.seenAtUs !== NEVER && will.seenAtUs < timeUs)
        evidence.push({ timeUs: will.seenAtUs, text: 'a subscriber received it first' })
      return {
        text: `The will of ${client} from ${seconds(connection.connectSentAtUs)} ${text}.`,
        evidence: evidence.sort((a, b) => a.timeUs - b.timeUs),
      }
    })
  }

  const fatesOf = (client: Client) => byClient.get(client) ?? []

  const forgetOld = (client: Client, fates: Fate[]) => {
    while (fates.length > REMEMBERED) {
      const at = fates.findIndex((fate) => fate.state !== 'open' && !pending.has(fate))
      if (at < 0) return
      const { flow, sequence } = fates[at]!.will
      const ofFlow = byFlow.get(flow)
      if (ofFlow?.get(sequence) === fates[at]) ofFlow!.delete(sequence)
      fates.splice(at, 1)
    }
    byClient.set(client, fates)
  }

  /** When the service surely still held the connection for alive. */
  const lastServedUs = (connection: Connection) => Math.max(connection.connackSentAtUs, connection.lastSpokenUs)

  const isDue = ({ session, dueFrom, flow }: Inflow) => !session.ended && dueFrom !== NOTHING && flow.qos > 0

  const listeners = (will: Will) => (will.flow.inflows ?? []).filter((inflow) => inflow.session.client.id !== '' && isDue(inflow))

  /** The service may have ended the connection, and published the will, long before the client saw the end. */
  const listenedAt = (inflow: Inflow, timeUs: number) =>
    ledger.covering(inflow).some(({ grantedAtUs, grantedQos }) => grantedQos > 0 && grantedAtUs !== NEVER && grantedAtUs <= timeUs)

  /** By when the service must have noticed the end of the connection. */
  const noticedUs = (fate: Fate) => fate.endedAtUs + fate.connection.keepaliveSeconds * 1_500_000

  const endAbnormally = (fate: Fate, how: string, timeUs: number) => {
    const { connection, will } = fate
    fate.endedAtUs = timeUs
    fate.endedHow = how
    fate.state = connection.connackAtUs === NEVER ? 'unknown' : 'abnormal'
    // The expiry that a DISCONNECT stated counts.
    const expirySeconds = connection.session?.expirySeconds ?? connection.expirySeconds
    fate.delayUs = Math.min(will.delaySeconds, expirySeconds) * 1_000_000
    if (fate.state === 'unknown' || (fate.mayBeCancelled && will.delaySeconds > 0) || will.expires || connection.keepaliveSeconds === 0)
      return
    const publishableUs = lastServedUs(connection)
    const awaiting = new Set(listeners(will).filter((inflow) => listenedAt(inflow, publishableUs)))
    for (const session of fate.copies?.keys() ?? []) for (const each of awaiting) if (each.session === session) awaiting.delete(each)
    if (awaiting.size > 0) {
      fate.awaiting = awaiting
      pending.add(fate)
    } else if (fate.copies !== undefined) findings.exercised++
  }

  const end = (connection: Connection, how: string, timeUs: number) => {
    if (connection.will === undefined) return
    const fate = fatesOf(connection.client).find((each) => each.connection === connection)
    if (fate === undefined || fate.state !== 'open') return
    if (connection.goodbye !== 0) {
      endAbnormally(fate, how, timeUs)
      return
    }
    fate.endedAtUs = connection.goodbyeAtUs
    fate.endedHow = 'DISCONNECT 0x00'
    const rival = connection.client.connections.some((each) => each !== connection)
    const heard = connection.connackAtUs !== NEVER && !connection.left && connection.serverEnded === undefined && !rival
    const quiet = calm.quietFromUs(connection.machine, SETTLED_US) <= connection.goodbyeAtUs
    fate.state = heard && quiet ? 'goodbye' : 'unknown'
    if (fate.state === 'goodbye') pending.add(fate)
  }

  const arrived = (delivery: Delivery, retained: boolean) => {
    const { flow, sequence, session, timeUs, connection, packetId, qos, dup, repeated } = delivery
    if (flow.wills?.has(sequence) !== true) return
    const fate = byFlow.get(flow)?.get(sequence)
    if (fate === undefined) return
    const { will } = fate
    if (will.seenAtUs === NEVER) {
      will.seenAtUs = timeUs
      fired++
      seen(fate, timeUs)
    }
    if (retained) return
    if (fate.awaiting !== undefined) {
      for (const each of fate.awaiting) if (each.session === session) fate.awaiting.delete(each)
      if (fate.awaiting.size === 0) {
        fate.awaiting = undefined
        pending.delete(fate)
        findings.exercised++
      }
    }
    const before = fate.copies?.get(session)
    if (before === undefined) {
      if (fate.copies === undefined) fate.copies = new Map()
      fate.copies.set(session, packetId)
      return
    }
    if (repeated || (qos > 0 && dup && packetId === before)) return
    if (delivery.mayBeRetained || ledger.mayGetSeveral(delivery.inflow)) return
    violated(
      fate,
      timeUs,
      'published twice',
      `reached ${session.client.id} twice`,
      `PUBLISH on connection ${connection.id} of ${session.client.id}, a second copy`,
    )
  }

  /** A subscriber has it for the first time. */
  const seen = (fate: Fate, timeUs: number) => {
    if (fate.state === 'discarded') {
      violated(
        fate,
        timeUs,
        'published after DISCONNECT 0x00',
        'was published, though the client took its leave [MQTT-3.14.4-3]',
        'a subscriber received it',
      )
    } else if (fate.cancelledAtUs !== NEVER) resumed(fate, timeUs)
    else if (fate.delayUs > 0 && !fate.sessionMayEnd && !fate.connection.client.strayEnd && fate.connection.connackAtUs !== NEVER) {
      if (timeUs < lastServedUs(fate.connection) + fate.delayUs * CLOCK_SHARE) {
        violated(
          fate,
          timeUs,
          'published before its delay',
          'was published before its delay had passed [MQTT-3.1.2-8]',
          'a subscriber received it',
        )
      }
    }
  }

  const resumed = (fate: Fate, timeUs: number) => {
    violated(
      fate,
      timeUs,
      'published though the session was resumed in time',
      `was published, though the session was resumed at ${seconds(fate.cancelledAtUs)}, before its delay had passed [MQTT-3.1.3-9]`,
      'a subscriber has received it',
    )
  }

  /** By when the service must have published a will with a delay. */
  const delayOverUs = (fate: Fate) => calm.overAtUs(noticedUs(fate), fate.delayUs / 1_000_000)

  const judgeGoodbye = (fate: Fate, nowUs: number) => {
    if (calm.quietFromUs(fate.connection.machine, SETTLED_US) > fate.endedAtUs) {
      fate.state = 'unknown'
      pending.delete(fate)
      return
    }
    if (nowUs < fate.endedAtUs + SETTLED_US) return
    fate.state = 'discarded'
    pending.delete(fate)
    if (fate.will.seenAtUs !== NEVER) seen(fate, nowUs)
    else if (listeners(fate.will).length > 0) findings.exercised++
  }

  const judgeAwaited = (fate: Fate, nowUs: number) => {
    const dueUs = Math.max(noticedUs(fate), calm.quietFromUs(undefined)) + fate.delayUs
    if (nowUs <= dueUs + progressUs) return
    for (const inflow of fate.awaiting!) {
      const { session } = inflow
      const connection = session.client.current
      if (!isDue(inflow) || (session.client.strayEnd && session.expirySeconds > 0)) {
        fate.awaiting!.delete(inflow)
        continue
      }
      if (
        connection === undefined ||
        connection.session !== session ||
        calm.windowIsFull(connection) ||
        mayBeTooLarge(inflow.flow, connection)
      )
        continue
      if (nowUs <= Math.max(dueUs, calm.waitsFromUs(connection), calm.quietFromUs(connection.machine)) + progressUs) continue
      fate.awaiting!.delete(inflow)
      violated(
        fate,
        nowUs,
        'not published',
        `never reached ${session.client.id}, though its connection ended without a goodbye at ${seconds(fate.endedAtUs)}`,
        `${session.client.id} is connected, and it has not come`,
      )
    }
    if (fate.awaiting!.size > 0) return
    fate.awaiting = undefined
    pending.delete(fate)
  }

  return {
    findings,
    fired: () => fired,
    onConnectSent(connection, timeUs) {
      for (const fate of fatesOf(connection.client)) {
        if (fate.connection === connection) continue
        if (connection.cleanStart) fate.sessionMayEnd = true
        else if (fate.will.delaySeconds > 0 && !(fate.state === 'abnormal' && timeUs > delayOverUs(fate))) {
          fate.mayBeCancelled = true
          if (fate.awaiting !== undefined) pending.delete(fate)
          fate.awaiting = undefined
        }
      }
      const will = connection.will
      if (will === undefined) return
      const fate = new Fate(connection, will)
      const ofFlow = byFlow.get(will.flow)
      if (ofFlow === undefined) byFlow.set(will.flow, new Map([[will.sequence, fate]]))
      else ofFlow.set(will.sequence, fate)
      const fates = fatesOf(connection.client) as Fate[]
      fates.push(fate)
      forgetOld(connection.client, fates)
    },
    onConnack(connection, present, _knowledge, _former, timeUs) {
      for (const fate of fatesOf(connection.client)) {
        // The service may have granted a shorter session than was asked for.
        if (fate.connection === connection) fate.delayUs = Math.min(fate.will.delaySeconds, connection.expirySeconds) * 1_000_000
        if (
          !present ||
          connection.cleanStart ||
          fate.connection === connection ||
          fate.delayUs === 0 ||
          fate.sessionMayEnd ||
          fate.connection.connackAtUs === NEVER
        )
          continue
        if (fate.connection.connackSentAtUs > connection.connackSentAtUs || fate.cancelledAtUs !== NEVER) continue
        if (connection.connackSentAtUs - lastServedUs(fate.connection) >= fate.delayUs * CLOCK_SHARE) continue
        fate.cancelledAtUs = connection.connackSentAtUs
        if (fate.will.seenAtUs !== NEVER) resumed(fate, timeUs)
      }
    },
    onSpoken(connection, sentAtUs, timeUs) {
      const will = connection.will
      if (will === undefined || will.seenAtUs === NEVER || sentAtUs <= will.seenAtUs) return
      const fate = fatesOf(connection.client).find((each) => each.connection === connection)
      if (fate === undefined) return
      violated(
        fate,
        timeUs,
        'published while its connection goes on',
        `was published while its connection goes on [MQTT-3.1.2-8]`,
        `the server still wrote ${connection.lastSpoken} on connection ${connection.id}`,
      )
    },
    onStoreLost(client, timeUs) {
      for (const connection of client.connections)
        if (connection.machine === client.machine) end(connection, `the client's process or power was lost`, timeUs)
    },
    onClosed: (connection, reason, by, timeUs) =>
      end(connection, `its connection ended: ${reason}, by ${by === 'self' ? 'the client' : 'the other side'}`, timeUs),
    onUnsubscribeSent(session) {
      for (const fate of pending) {
        for (const each of fate.awaiting ?? []) if (each.session === session) fate.awaiting!.delete(each)
        if (fate.awaiting?.size === 0) {
          fate.awaiting = undefined
          pending.delete(fate)
        }
      }
    },
    onDelivery: (delivery) => arrived(delivery, false),
    onRetainedDelivery: (delivery) => arrived(delivery, true),
    onSweep(nowUs) {
      for (const fate of pending) {
        if (fate.state === 'goodbye') judgeGoodbye(fate, nowUs)
        else if (fate.awaiting !== undefined) judgeAwaited(fate, nowUs)
      }
    },
  }
}
