/**
 * The part of `console-answers` that is about quotas: from a budget after they were set, no payload above the limit is accepted, whoever publishes more than a bucket of a second's
 * worth could ever let through is sent away, and whoever keeps below half the rate is not.
 */
import type { Packet } from 'mqtt-packet'
import { type Findings, seconds } from './promise.ts'
import type { Connection, Publication } from './state.ts'

/** MQTT 5, section 3.14.2.1. */
const MESSAGE_RATE_TOO_HIGH = 0x96

interface Rate {
  second: number
  count: number
  before: number
  /** The most in two seconds one after the other. */
  most: number
  /** It is to be gone by then. */
  dueUs: number | undefined
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
      rate = { second: 0, count: 0, before: 0, most: 0, dueUs: undefined }
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
    // A full bucket and two seconds of filling.
    if (this.isInForce(timeUs) && rate.before + rate.count > 3 * this.limits.messagesPerSecond) rate.dueUs ??= timeUs + this.budgetUs
  }

  heard(connection: Connection, packet: Packet, timeUs: number): void {
    if (packet.cmd !== 'disconnect' || packet.reasonCode !== MESSAGE_RATE_TOO_HIGH || !this.isInForce(timeUs)) return
    const most = this.rates.get(connection)?.most ?? 0
    const { messagesPerSecond } = this.limits!
    this.findings.exercised++
    if (messagesPerSecond > 0 && most > messagesPerSecond / 2) return
    this.findings.violated(timeUs, 'a client below its quota is sent away', () => ({
      text: `${connection.client.id} was sent away for publishing too much at ${seconds(timeUs)}: it had published ${most} messages at most in two seconds, and ${messagesPerSecond} a second are allowed.`,
      evidence: [
        { timeUs: this.sinceUs, text: `the quota of ${messagesPerSecond} messages a second was set` },
        { timeUs, text: `DISCONNECT with reason code 0x96 to ${connection.client.id}` },
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
    if (this.rates.get(connection)?.dueUs !== undefined) this.findings.exercised++
    this.rates.delete(connection)
  }

  sweep(nowUs: number): void {
    for (const [connection, { dueUs, most }] of this.rates) {
      if (dueUs === undefined || nowUs <= dueUs) continue
      this.rates.delete(connection)
      // They may have been out of force again when it was to be sent away.
      const wasInForce = this.isInForce(dueUs - this.budgetUs)
      if (connection.left || !wasInForce || this.isOutOfOrder(connection.machine)) continue
      this.findings.violated(nowUs, 'a client above its quota is not sent away', () => ({
        text: `${connection.client.id} published ${most} messages within two seconds, and is still connected at ${seconds(nowUs)}; ${this.limits?.messagesPerSecond} a second are allowed.`,
        evidence: [
          { timeUs: this.sinceUs, text: 'the quota was set' },
          { timeUs: nowUs, text: 'its connection is open' },
        ],
      }))
    }
  }

  private isInForce(timeUs: number): boolean {
    return this.limits !== undefined && timeUs >= this.inForceFromUs(this.sinceUs)
  }
}
