/**
 * The part of `console-answers` that is about quotas: from a budget after they were set, no payload above the limit is accepted; of one connection no more messages are accepted than a bucket of a
 * second's worth lets through; whoever keeps below half the rate is not refused for it; and nobody is sent away for it, since a client comes back with all that was not acknowledged.
 * How long a client is made to wait is not judged, nor are messages of QoS 0, of which nobody can see whether they were accepted.
 */
import type { Packet } from 'mqtt-packet'
import { type Findings, seconds } from './promise.ts'
import type { Connection, Publication } from './state.ts'

/** MQTT 5, section 3.4.2.1. */
export const QUOTA_EXCEEDED = 0x97
/** MQTT 5, section 3.14.2.1. */
const MESSAGE_RATE_TOO_HIGH = 0x96

interface Rate {
  second: number
  count: number
  before: number
  /** The most in two seconds one after the other. */
  most: number
  /** When it first published with the quota in force, and what it has sent, and had accepted, of what it first sent since. */
  sinceUs: number | undefined
  sent: number
  accepted: number
  isTooFast: boolean
}

export class ConsoleQuotas {
  private readonly findings: Findings
  private readonly budgetUs: number
  private readonly inForceFromUs: (answeredAtUs: number) => number
  private readonly isOutOfOrder: (machine: string) => boolean
  private limits: { readonly messagesPerSecond: number; readonly payloadBytes: number } | undefined
  private sinceUs = 0
  private rates = new Map<Connection, Rate>()

  /** @param inForceFromUs when quotas that were answered at a time have to be in force everywhere; `Infinity`: nobody can say yet. */
  constructor(
    findings: Findings,
    budgetUs: number,
    inForceFromUs: (answeredAtUs: number) => number,
    isOutOfOrder: (machine: string) => boolean,
  ) {
    this.findings = findings
    this.budgetUs = budgetUs
    this.inForceFromUs = inForceFromUs
    this.isOutOfOrder = isOutOfOrder
  }

  /** Somebody is about to set others. */
  change(): void {
    this.limits = undefined
    this.rates = new Map()
  }

  set(limits: { readonly messagesPerSecond: number; readonly payloadBytes: number }, timeUs: number): void {
    this.limits = limits
    this.sinceUs = timeUs
  }

  published(connection: Connection, timeUs: number): void {
    if (this.limits === undefined || this.limits.messagesPerSecond === 0) return
    let rate = this.rates.get(connection)
    if (rate === undefined) {
      rate = { second: 0, count: 0, before: 0, most: 0, sinceUs: undefined, sent: 0, accepted: 0, isTooFast: false }
      this.rates.set(connection, rate)
    }
    const second = Math.floor(timeUs / 1_000_000)
    if (second !== rate.second) {
      rate.before = second === rate.second + 1 ? rate.count : 0
      rate.count = 0
      rate.second = second
    }
    rate.count++
    rate.most = Math.max(rate.most, rate.before + rate.count)
    // A proxy that has started goes by the planned rules until it has learnt of these.
    if (!this.isInForce(timeUs, connection.startedAtUs + this.budgetUs)) return
    rate.sinceUs ??= timeUs
    rate.sent++
  }

  heard(connection: Connection, packet: Packet, timeUs: number): void {
    if (packet.cmd !== 'disconnect' || packet.reasonCode !== MESSAGE_RATE_TOO_HIGH || this.limits === undefined) return
    this.findings.violated(timeUs, 'a client is sent away for its rate', () => ({
      text: `${connection.client.id} was sent away for publishing too much at ${seconds(timeUs)}: it comes back with all that was not acknowledged, and is sent away again.`,
      evidence: [
        { timeUs: this.sinceUs, text: `the quota of ${this.limits!.messagesPerSecond} messages a second was set` },
        { timeUs, text: `DISCONNECT with reason code 0x96 to ${connection.client.id}` },
      ],
    }))
  }

  /** A publish whose payload is within its quota was answered. */
  judgeRate(connection: Connection, { firstSentAtUs }: Publication, reasonCode: number, timeUs: number): void {
    const rate = this.rates.get(connection)
    const sinceUs = rate?.sinceUs
    if (
      rate === undefined ||
      sinceUs === undefined ||
      this.limits === undefined ||
      firstSentAtUs < sinceUs ||
      sinceUs < this.inForceFromUs(this.sinceUs)
    )
      return
    const { messagesPerSecond } = this.limits
    const most = messagesPerSecond * (1 + (timeUs - sinceUs) / 1_000_000)
    if (rate.sent > most && !rate.isTooFast) {
      rate.isTooFast = true
      this.findings.exercised++
    }
    if (reasonCode === QUOTA_EXCEEDED) {
      this.findings.exercised++
      if (rate.most <= messagesPerSecond / 2) this.refusedBelow(connection, rate, timeUs)
    } else if (reasonCode < 0x80 && ++rate.accepted > most + 1) this.acceptedAbove(connection, rate.accepted, sinceUs, timeUs)
  }

  private refusedBelow(connection: Connection, { most }: Rate, timeUs: number): void {
    this.findings.violated(timeUs, 'a client below its quota is refused', () => ({
      text: `A publish of ${connection.client.id} was refused for a quota at ${seconds(timeUs)}: it had published ${most} messages at most in two seconds, and ${this.limits!.messagesPerSecond} a second are allowed.`,
      evidence: [
        { timeUs: this.sinceUs, text: `the quota of ${this.limits!.messagesPerSecond} messages a second was set` },
        { timeUs, text: `reason code 0x97 to ${connection.client.id}` },
      ],
    }))
  }

  private acceptedAbove(connection: Connection, accepted: number, sinceUs: number, timeUs: number): void {
    if (this.isOutOfOrder(connection.machine)) return
    this.findings.violated(timeUs, 'more messages than the quota are accepted', () => ({
      text: `Of ${connection.client.id} ${accepted} messages were accepted from ${seconds(sinceUs)} to ${seconds(timeUs)}, and ${this.limits!.messagesPerSecond} a second are allowed.`,
      evidence: [
        { timeUs: this.sinceUs, text: `the quota of ${this.limits!.messagesPerSecond} messages a second was set` },
        { timeUs, text: `${accepted} were accepted` },
      ],
    }))
  }

  /** @returns whether the payload decides, so that nothing else need be looked at. */
  judgePayload(connection: Connection, { flow, firstSentAtUs }: Publication, accepted: boolean, timeUs: number): boolean {
    if (this.limits === undefined || flow === undefined) return false
    const { payloadBytes } = this.limits
    if (flow.payloadBytes <= payloadBytes) return false
    if (!this.isInForce(firstSentAtUs)) return true
    this.findings.exercised++
    if (accepted)
      this.findings.violated(timeUs, 'a payload above the quota is accepted', () => ({
        text: `A publish of ${connection.client.id} with ${flow.payloadBytes} bytes was accepted at ${seconds(timeUs)}, and ${payloadBytes} are allowed.`,
        evidence: [
          { timeUs: this.sinceUs, text: `the quota of ${payloadBytes} bytes was set` },
          { timeUs: firstSentAtUs, text: `${connection.client.id} published ${flow.payloadBytes} bytes` },
          { timeUs, text: 'it was accepted' },
        ],
      }))
    return true
  }

  closed(connection: Connection): void {
    this.rates.delete(connection)
  }

  private isInForce(timeUs: number, startedAtUs = 0): boolean {
    return this.limits !== undefined && timeUs >= Math.max(this.inForceFromUs(this.sinceUs), startedAtUs)
  }
}
