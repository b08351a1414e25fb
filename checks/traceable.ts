/**
 * `traceable`: an acknowledged message can be asked for by its id, and its trace agrees with what was seen at the clients' sockets: stored between its publish and the acknowledgement; every
 * client that got it is named; who acknowledged it, over a connection that lasted, is named as having done so, and not before it did; nobody is said to have it who never got it, which
 * goes for a message that expired on the way too; and for nobody who got it is it said to have expired.
 *
 * Judged for a sample of the acknowledged messages, evenly drawn over the whole run by a hash of their names, so that what is kept does not grow with the run; the auditor asks the console for their
 * traces after the last act. A message that may be stored twice, because its publisher sent it again, is judged by all its traces together.
 * Put to the test by each message of the sample that the auditor read back: one that is gone is a matter of `acked-survives`.
 * Left out: deliveries at QoS 0, and of retained messages to new subscribers, of which no account is kept; times while a clock is wrong; a trace that is
 * not whole, once a disk was lost or the retention is over.
 */
import type { Check, Shared } from './check.ts'
import { type Evidence, Findings, seconds } from './promise.ts'
import { type Client, type Connection, type Flow, NEVER, NOTHING } from './state.ts'

export interface Trace {
  /** `unanswered`: no console has said anything. */
  readonly outcome: string
  readonly isWhole: boolean
  /** True times, as far as the auditor's clock is right; 0 where there is none. */
  readonly storedAtUs: number
  readonly deliveries: readonly {
    readonly clientId: string
    readonly state: string
    readonly acknowledgedAtUs: number
  }[]
}

export interface Traceable extends Check {
  /** Whether the auditor is to ask for the trace of this message. */
  wants(publisher: number, sequence: number): boolean
  traced(publisher: number, sequence: number, trace: Trace): void
}

/** What one client had of a message. */
interface Receipt {
  isDelivered: boolean
  /** By its first PUBACK or PUBREC. */
  acknowledgedAtUs: number
  lastAcknowledged: Connection | undefined
  /** It may have come as a retained message as well. */
  isDoubtful: boolean
}

interface Sampled {
  readonly flow: Flow
  readonly sequence: number
  readonly hash: number
  readonly firstSentAtUs: number
  acknowledgedAtUs: number
  readonly receipts: Map<Client, Receipt>
  readonly traces: Trace[]
}

/** A trace costs its shard a look through the log. */
const SAMPLE = 40
const CLOCK_SLACK_US = 1_000_000
/** A connection over which the clients' last words surely arrived. */
const LASTING_US = 5_000_000
const HAVING: ReadonlySet<string> = new Set(['received', 'acknowledged'])

export function checkTraceable({ context, disturbance, ledger, ages }: Shared): Traceable {
  const findings = new Findings('traceable')
  const sample = new Map<number, Sampled>()
  /** Above every hash that may still get into the sample. */
  let limit = 0x1_0000_0000
  /** When some clock was first set wrong. */
  let areClocksRight = true
  const unsubscribed = new Set<Client>()
  let lasting: ReadonlySet<Connection> = new Set()
  /** A log may have lost some of its beginning, or of its end. */
  let mayBeCut = false

  const find = (publisher: number, sequence: number): Sampled | undefined =>
    hashOf(publisher, sequence) < limit ? sample.get(keyOf(publisher, sequence)) : undefined

  const receiptOf = ({ receipts }: Sampled, client: Client): Receipt => {
    let receipt = receipts.get(client)
    if (receipt === undefined) {
      receipt = { isDelivered: false, acknowledgedAtUs: NEVER, lastAcknowledged: undefined, isDoubtful: false }
      receipts.set(client, receipt)
    }
    return receipt
  }

  const dropHighest = () => {
    limit = 0
    for (const { hash } of sample.values()) limit = Math.max(limit, hash)
    for (const [key, { hash }] of sample) if (hash === limit) sample.delete(key)
  }

  const violated = (each: Sampled, timeUs: number, kind: string, text: string, more: readonly Evidence[] = []) => {
    const { flow, sequence, firstSentAtUs, acknowledgedAtUs } = each
    findings.violated(timeUs, kind, () => ({
      text: `Message ${sequence} of publisher ${flow.publisher} to ${flow.topic.name}: ${text}.`,
      evidence: [
        { timeUs: firstSentAtUs, text: 'its publisher sent it' },
        { timeUs: acknowledgedAtUs, text: 'it was acknowledged' },
        ...more,
        { timeUs, text },
      ],
    }))
  }

  const judge = (each: Sampled, timeUs: number) => {
    const { flow, traces, firstSentAtUs, acknowledgedAtUs } = each
    const found = traces.filter(({ outcome }) => outcome === 'found')
    if (found.length < traces.length) {
      const { outcome } = traces.find((trace) => trace.outcome !== 'found')!
      violated(each, timeUs, 'no trace of an acknowledged message', `its trace was asked for by its id, and the answer was: ${outcome}`)
      return
    }
    const isInTime = ({ storedAtUs }: Trace) =>
      storedAtUs >= firstSentAtUs - CLOCK_SLACK_US && storedAtUs <= acknowledgedAtUs + CLOCK_SLACK_US
    if (areClocksRight && !found.some(isInTime)) {
      violated(each, timeUs, 'a trace tells a wrong time', `its trace says that it was stored at ${seconds(found[0]!.storedAtUs)}`)
    }
    for (const [client, receipt] of each.receipts) {
      judgeReceipt(each, client, receipt, found, timeUs)
      judgeExpiry(each, client, receipt, found, timeUs)
    }
    if (ages.mayBeGoneUpTo(flow, timeUs) >= each.sequence) return
    for (const { deliveries } of found) {
      for (const { clientId, state } of deliveries) {
        const client = ledger.clients.get(clientId)
        const receipt = client === undefined ? undefined : each.receipts.get(client)
        if (!HAVING.has(state) || receipt?.isDelivered || receipt?.isDoubtful) continue
        if (client !== undefined && (unsubscribed.has(client) || takesLittle(client))) continue
        violated(
          each,
          timeUs,
          'a trace claims a delivery that never was',
          `its trace says that ${clientId} has it (${state}), and ${clientId} never got it`,
        )
      }
    }
  }

  const judgeReceipt = (each: Sampled, client: Client, receipt: Receipt, found: readonly Trace[], timeUs: number) => {
    if (receipt.isDoubtful || receipt.acknowledgedAtUs === NEVER || (mayBeCut && found.some(({ isWhole }) => !isWhole))) return
    const told = found.flatMap(({ deliveries }) => deliveries.filter(({ clientId }) => clientId === client.id))
    const proof: Evidence = { timeUs: receipt.acknowledgedAtUs, text: `${client.id} had it, and acknowledged it` }
    if (told.length === 0) {
      violated(each, timeUs, 'a delivery is missing from a trace', `its trace says nothing of ${client.id}, which acknowledged it`, [proof])
      return
    }
    const having = told.filter(({ state }) => HAVING.has(state))
    if (having.length === 0) {
      if (receipt.lastAcknowledged === undefined || !lasting.has(receipt.lastAcknowledged)) return
      violated(
        each,
        timeUs,
        'an acknowledgement is missing from a trace',
        `its trace calls its delivery to ${client.id} ${told[0]!.state}`,
        [proof],
      )
      return
    }
    const early = having.find((one) => one.acknowledgedAtUs > 0 && one.acknowledgedAtUs < receipt.acknowledgedAtUs - CLOCK_SLACK_US)
    if (!areClocksRight || early === undefined) return
    const text = `its trace says that ${client.id} acknowledged it at ${seconds(early.acknowledgedAtUs)}`
    violated(each, timeUs, 'a trace tells a wrong time', text, [proof])
  }

  /** What has expired is not sent any more [MQTT-3.3.2-5], and what was sent does not expire. */
  const judgeExpiry = (each: Sampled, client: Client, receipt: Receipt, found: readonly Trace[], timeUs: number) => {
    if (!receipt.isDelivered || receipt.isDoubtful) return
    const told = found.flatMap(({ deliveries }) => deliveries.filter(({ clientId }) => clientId === client.id))
    if (told.length === 0 || told.some(({ state }) => state !== 'expired')) return
    violated(each, timeUs, 'a trace denies a delivery', `its trace says that it expired before it was sent to ${client.id}, which got it`)
  }

  return {
    findings,
    wants: (publisher, sequence) => (find(publisher, sequence)?.acknowledgedAtUs ?? NEVER) !== NEVER,
    traced(publisher, sequence, trace) {
      find(publisher, sequence)?.traces.push(trace)
    },
    onPublishSent(_connection, flow, sequence, publication, kind, timeUs) {
      if (publication === undefined || kind === 'resent') return
      const key = keyOf(flow.publisher, sequence)
      if (kind === 'republished') {
        sample.delete(key)
        return
      }
      const hash = hashOf(flow.publisher, sequence)
      if (hash >= limit) return
      sample.set(key, { flow, sequence, hash, firstSentAtUs: timeUs, acknowledgedAtUs: NEVER, receipts: new Map(), traces: [] })
      if (sample.size > SAMPLE) dropHighest()
    },
    onAnswered(_connection, { flow, sequence }, accepted, first, timeUs) {
      if (flow === undefined) return
      const each = find(flow.publisher, sequence)
      if (each === undefined) return
      if (!accepted) sample.delete(keyOf(flow.publisher, sequence))
      else if (first) each.acknowledgedAtUs = timeUs
    },
    onDelivery({ flow, sequence, qos, session, mayBeRetained }) {
      const each = find(flow.publisher, sequence)
      if (each === undefined) return
      const receipt = receiptOf(each, session.client)
      if (mayBeRetained || qos === 0) receipt.isDoubtful = true
      receipt.isDelivered = true
    },
    onRetainedDelivery({ flow, sequence, session }) {
      const each = find(flow.publisher, sequence)
      if (each !== undefined) receiptOf(each, session.client).isDoubtful = true
    },
    onAcknowledgementSent(connection, { flow, sequence }, timeUs) {
      const each = flow === undefined ? undefined : find(flow.publisher, sequence)
      if (each === undefined) return
      const receipt = receiptOf(each, connection.client)
      if (receipt.acknowledgedAtUs === NEVER) receipt.acknowledgedAtUs = timeUs
      receipt.lastAcknowledged = connection
    },
    onUnsubscribeSent(session) {
      unsubscribed.add(session.client)
    },
    onFault(fault, phase) {
      if (phase === 'applied' && (fault.kind === 'clock-jump' || fault.kind === 'clock-drift')) areClocksRight = false
      if (fault.kind === 'disk-loss') mayBeCut = true
    },
    onAct(act, timeUs) {
      if (act !== 'drained') return
      if (context.retention !== undefined && timeUs > context.retention.retentionMs * 1000) mayBeCut = true
      const now = [...ledger.clients.values()].map(({ current }) => current)
      lasting = new Set(
        now.filter(
          (connection): connection is Connection =>
            connection !== undefined &&
            connection.connackAtUs !== NEVER &&
            connection.connackAtUs <= timeUs - LASTING_US &&
            !disturbance.isCutOff(connection.machine),
        ),
      )
    },
    finish(timeUs) {
      for (const each of sample.values()) {
        if (each.traces.length === 0 || each.acknowledgedAtUs === NEVER) continue
        findings.exercised++
        judge(each, timeUs)
      }
    },
  }
}

/** What is larger than a client takes is not delivered to it [MQTT-3.1.2-25]. */
function takesLittle({ current }: Client): boolean {
  return current === undefined || current.maximumPacketBytes !== NOTHING
}

function keyOf(publisher: number, sequence: number): number {
  return publisher * 0x1_0000_0000 + sequence
}

/** Thirty-two bits, evenly spread (the finalizer of MurmurHash3, by A. Appleby). */
function hashOf(publisher: number, sequence: number): number {
  let hash = Math.imul(publisher + 1, 0x9e37_79b1) ^ sequence
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
