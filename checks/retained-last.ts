/**
 * `retained-last`: the retained message that a SUBSCRIBE brings was not surely overwritten before that SUBSCRIBE was sent (a register: `retained-register.ts`), and
 * none comes that nobody asked for [MQTT-3.3.1-12], [MQTT-3.3.1-11]; and where the register surely held one when the SUBSCRIBE was sent, one comes within the progress
 * budget after its SUBACK, on that connection [MQTT-3.3.1-9].
 *
 * Which SUBSCRIBE a copy answers is not on the wire: it counts for the earliest that it may answer, each brings one copy of a topic at most, and they are answered in
 * order. A SUBSCRIBE that has had the progress budget in calm is answered; while faults last an answer may come late. A PUBLISH sent again (DUP) is not judged.
 * A copy is demanded at effective QoS 1 or 2, with Retain Handling 0, or 1 where the subscription is surely new; not of shared subscriptions, nor with No Local, nor of
 * a client that limits its packets, nor on topics where a retained message may expire, was sent at QoS 0, or was none of ours (one without payload empties the register).
 * It is judged in calm acts, as `progress` is.
 * Put to the test by every copy on a topic whose value had been overwritten before, and by every copy that was demanded.
 * Left out: clients with Retain As Published are asked for the second half alone, since a live message looks the same; 200 SUBSCRIBEs in a row without calm.
 */
import type { Check, Delivery, Shared } from './check.ts'
import { type Evidence, Findings, seconds } from './promise.ts'
import { NO_ORDER, RetainedRegister } from './retained-register.ts'
import { type Client, type Connection, type Flow, NEVER, NOTHING, type OpenSubscribe, type Topic } from './state.ts'
import { hasWildcards, isShared, matches } from './topic-match.ts'

/** One filter of a SUBSCRIBE that brings retained messages. */
interface Ask {
  readonly serial: number
  readonly filter: string
  readonly connection: Connection
  readonly sentAtUs: number
  ackedAtUs: number
}

/** What a client asked for; by topic, up to which of its asks were answered. */
interface Asker {
  asks: Ask[]
  /** Made with the first. */
  answered: Map<Topic, number> | undefined
  /** It asked more often than is remembered. */
  lost: boolean
}

interface Demand {
  readonly topic: Topic
  readonly subscribe: OpenSubscribe
  /** Of its filter in that SUBSCRIBE. */
  readonly index: number
  subackAtUs: number
}

const KEPT_ASKS = 200

export function checkRetainedLast({ context, ledger, calm }: Shared): Check {
  const findings = new Findings('retained-last')
  const progressUs = context.budgets.progressMs * 1000
  const registers = new Map<Topic, RetainedRegister>()
  const askers = new Map<Client, Asker>()
  const demands = new Map<Connection, Demand[]>()
  let serials = 0

  const registerOf = (topic: Topic) => {
    let register = registers.get(topic)
    if (register === undefined) {
      register = new RetainedRegister()
      registers.set(topic, register)
    }
    return register
  }

  const written = (flow: Flow, sequence: number, incarnation: number, timeUs: number) => {
    const register = registerOf(flow.topic)
    register.sent(flow, sequence, incarnation, timeUs)
    // Kept for as long as the topic is: what may expire leaves a gap after it.
    if (flow.qos === 0 || flow.expirySeconds !== NOTHING) register.uncertain = true
  }

  const matchesTopic = (filter: string, topic: Topic) => filter === topic.name || matches(filter, topic.name)

  const satisfied = (connection: Connection, topic: Topic) => {
    const open = demands.get(connection)
    const at = open?.findIndex((demand) => demand.topic === topic) ?? -1
    if (at < 0) return
    findings.exercised++
    open!.splice(at, 1)
    if (open!.length === 0) demands.delete(connection)
  }

  const stale = ({ connection, flow, sequence, timeUs }: Delivery, kind: string, why: string, evidence: readonly Evidence[]) => {
    findings.violated(timeUs, kind, () => ({
      text: `${connection.client.id} received message ${sequence} of publisher ${flow.publisher} on ${flow.topic.name} as the retained one at ${seconds(timeUs)}: ${why}.`,
      evidence: [...evidence, { timeUs, text: `PUBLISH ${flow.topic.name} with RETAIN and message ${sequence}` }].sort(
        (a, b) => a.timeUs - b.timeUs,
      ),
    }))
  }

  const judgeCopy = (delivery: Delivery) => {
    const { connection, flow, sequence } = delivery
    const topic = flow.topic
    if (topic.foreignRetained) return
    const register = registerOf(topic)
    if (flow.retained?.has(sequence) !== true) {
      findings.exercised++
      stale(delivery, 'a message that was not retained', 'it was published without RETAIN [MQTT-3.3.1-8]', [])
      return
    }
    const asker = askers.get(connection.client)
    if (delivery.dup || delivery.repeated || asker?.lost === true) return
    const after = asker?.answered?.get(topic) ?? 0
    const open = asker?.asks.filter((ask) => ask.serial > after && matchesTopic(ask.filter, topic)) ?? []
    if (register.overwritten > 0) findings.exercised++
    const latest = open.at(-1)
    if (latest === undefined) {
      stale(delivery, 'a retained message that nobody asked for', 'no SUBSCRIBE of it was open that brings one [MQTT-3.3.1-12]', [])
      return
    }
    const answered = open.find((ask) => register.mayAnswer(flow, sequence, ask.sentAtUs))
    if (answered !== undefined) {
      asker!.answered ??= new Map()
      asker!.answered.set(topic, answered.serial)
      return
    }
    stale(delivery, 'an overwritten retained message', 'a later one had surely taken its place before it subscribed', [
      { timeUs: register.overwrittenAtUs(flow, sequence), text: `a later retained message on ${topic.name} had surely been processed` },
      { timeUs: open[0]!.sentAtUs, text: `SUBSCRIBE ${open[0]!.filter} of ${connection.client.id}, the earliest that this may answer` },
    ])
  }

  const demand = (connection: Connection, topic: Topic, register: RetainedRegister, subscribe: OpenSubscribe, index: number) => {
    if (register.uncertain || topic.foreignRetained || register.heldSinceUs === NEVER || register.heldSinceUs >= subscribe.sentAtUs) return
    const open = demands.get(connection)
    const each: Demand = { topic, subscribe, index, subackAtUs: NEVER }
    if (open === undefined) demands.set(connection, [each])
    else if (!open.some((known) => known.topic === topic)) open.push(each)
  }

  /** What is due once it is granted: the copy may come ahead of the SUBACK. */
  const demandAll = (connection: Connection, subscribe: OpenSubscribe) => {
    if (connection.maximumPacketBytes !== NOTHING) return
    subscribe.subscriptions.forEach(({ filter, noLocal }, index) => {
      const handling = subscribe.retainHandling[index] ?? 0
      if (handling === 2 || isShared(filter) || noLocal || (handling === 1 && subscribe.fresh[index] !== true)) return
      if (hasWildcards(filter)) {
        for (const [topic, register] of registers) if (matches(filter, topic.name)) demand(connection, topic, register, subscribe, index)
      } else {
        const topic = ledger.topics.get(filter)
        const register = topic === undefined ? undefined : registers.get(topic)
        if (register !== undefined) demand(connection, topic!, register, subscribe, index)
      }
    })
  }

  const granted = (connection: Connection, subscribe: OpenSubscribe, codes: readonly number[], timeUs: number) => {
    const open = demands.get(connection)
    if (open === undefined) return
    const kept = open.filter((each) => {
      if (each.subscribe !== subscribe) return true
      const code = codes[each.index] ?? 0x80
      each.subackAtUs = timeUs
      return code === 1 || code === 2
    })
    keep(connection, kept)
  }

  const keep = (connection: Connection, kept: Demand[]) => {
    if (kept.length > 0) demands.set(connection, kept)
    else demands.delete(connection)
  }

  const judgeDemands = (nowUs: number) => {
    for (const [connection, open] of demands) {
      const fromUs = calm.waitsFromUs(connection)
      const late = open.filter(({ subackAtUs }) => subackAtUs !== NEVER && nowUs - Math.max(fromUs, subackAtUs) > progressUs)
      if (late.length === 0 || calm.windowIsFull(connection)) continue
      keep(
        connection,
        open.filter((each) => !late.includes(each)),
      )
      for (const { topic, subscribe, subackAtUs } of late) {
        const register = registers.get(topic)!
        const askedAtUs = subscribe.sentAtUs
        if (register.uncertain || topic.foreignRetained) continue
        findings.exercised++
        findings.violated(nowUs, 'no retained message', () => ({
          text: `${connection.client.id} subscribed at ${seconds(askedAtUs)} to ${topic.name}, which surely had a retained message, and got none by ${seconds(nowUs)}.`,
          evidence: [
            {
              timeUs: register.heldSinceUs,
              text: `a retained message on ${topic.name} was acknowledged; none that empties it was ever sent`,
            },
            { timeUs: askedAtUs, text: `SUBSCRIBE of ${connection.client.id} on connection ${connection.id}` },
            { timeUs: subackAtUs, text: 'SUBACK' },
            { timeUs: nowUs, text: 'no PUBLISH of it with RETAIN has come [MQTT-3.3.1-9]' },
          ],
        }))
      }
    }
  }

  /** What was asked long enough ago, in calm, has been answered. */
  const settleAsks = (nowUs: number) => {
    for (const [client, asker] of askers) {
      const connection = client.current
      if (asker.asks.length === 0 || connection === undefined || calm.windowIsFull(connection)) continue
      const fromUs = Math.max(calm.waitsFromUs(connection), calm.quietFromUs(client.machine))
      asker.asks = asker.asks.filter((ask) => {
        // One of a former connection that was never answered may have been processed then.
        if (ask.ackedAtUs === NEVER && ask.connection === connection) return true
        return nowUs - Math.max(fromUs, ask.ackedAtUs) <= 2 * progressUs
      })
      if (asker.asks.length === 0) askers.delete(client)
    }
  }

  const forget = (connection: Connection) => {
    demands.delete(connection)
  }

  return {
    findings,
    onConnectSent(connection, timeUs) {
      const will = connection.will
      if (will?.retain) written(will.flow, will.sequence, NO_ORDER, timeUs)
    },
    onConnack(connection, present) {
      const asker = askers.get(connection.client)
      // The answers that a session still owed are gone with it.
      if (asker !== undefined && present === false) asker.asks = asker.asks.filter((ask) => ask.sentAtUs >= connection.connectSentAtUs)
    },
    onLeft: forget,
    onClosed: forget,
    onPublishSent(connection, flow, sequence, _publication, kind, timeUs) {
      // At QoS 2 the same use of a packet identifier is written once.
      if ((kind !== 'resent' || flow.qos === 1) && flow.retained?.has(sequence))
        written(flow, sequence, connection.session!.incarnation, timeUs)
    },
    onAnswered(_connection, { flow, sequence, mistakable }, accepted, _first, timeUs) {
      if (!accepted || mistakable || flow?.retained?.has(sequence) !== true) return
      const register = registerOf(flow.topic)
      register.processed(flow, sequence, timeUs, 'acknowledged')
      if (register.heldSinceUs === NEVER) register.heldSinceUs = timeUs
    },
    onSubscribeSent(connection, open, timeUs) {
      open.subscriptions.forEach(({ filter }, index) => {
        if (isShared(filter) || open.retainHandling[index] === 2) return
        let asker = askers.get(connection.client)
        if (asker === undefined) {
          asker = { asks: [], answered: undefined, lost: false }
          askers.set(connection.client, asker)
        }
        if (asker.asks.length >= KEPT_ASKS) {
          asker.lost = true
          asker.asks.shift()
        }
        asker.asks.push({ serial: ++serials, filter, connection, sentAtUs: timeUs, ackedAtUs: NEVER })
      })
      demandAll(connection, open)
    },
    onSubscribed(connection, open, codes, timeUs) {
      for (const ask of askers.get(connection.client)?.asks ?? []) {
        if (ask.connection === connection && ask.sentAtUs <= open.sentAtUs && ask.ackedAtUs === NEVER) ask.ackedAtUs = timeUs
      }
      granted(connection, open, codes, timeUs)
    },
    onUnsubscribeSent(session) {
      for (const connection of demands.keys()) if (connection.session === session) demands.delete(connection)
    },
    onDelivery({ connection, flow, sequence, mayBeRetained, timeUs }) {
      if (flow.retained?.has(sequence) !== true) return
      if (flow.republished?.has(sequence) !== true) registerOf(flow.topic).processed(flow, sequence, timeUs, 'delivered')
      if (mayBeRetained) satisfied(connection, flow.topic)
    },
    onRetainedDelivery(delivery) {
      const { connection, flow, sequence, timeUs } = delivery
      judgeCopy(delivery)
      if (flow.retained?.has(sequence) && flow.republished?.has(sequence) !== true)
        registerOf(flow.topic).processed(flow, sequence, timeUs, 'delivered')
      satisfied(connection, flow.topic)
    },
    onSweep(nowUs) {
      settleAsks(nowUs)
      if (demands.size > 0 && calm.judging && nowUs > calm.judgedFromUs) judgeDemands(nowUs)
    },
  }
}
