/** When a client sends PINGREQ on one connection, and when it takes the silence after it for the end, by the profile's rule [MQTT-3.1.2-20]. */
import { type ClientProfile, pingTimeoutMsOf } from './profile.ts'

const NEVER = Number.POSITIVE_INFINITY
const NO_PING = -1

export class Keepalive {
  private lastSentMs = 0
  private lastAnswerMs = 0
  private pingSentMs = NO_PING
  private openedMs = 0

  get awaitsPingresp(): boolean {
    return this.pingSentMs !== NO_PING
  }

  /** CONNACK accepted. */
  opened(nowMs: number): void {
    this.openedMs = nowMs
    this.lastAnswerMs = nowMs
  }

  sent(nowMs: number): void {
    this.lastSentMs = nowMs
  }

  pingSent(nowMs: number): void {
    this.pingSentMs = nowMs
  }

  pingAnswered(): void {
    this.pingSentMs = NO_PING
  }

  /** What the keepalive counts from came: an answer or, where the profile says so, a packet of any kind. */
  answered(nowMs: number, { keepaliveFrom }: ClientProfile): void {
    this.lastAnswerMs = nowMs
    if (keepaliveFrom !== 'sends-and-answers') this.pingSentMs = NO_PING
  }

  /** When to send PINGREQ or, where it is unanswered, when to give up. */
  dueMs(profile: ClientProfile, keepaliveSeconds: number): number {
    if (keepaliveSeconds === 0) return NEVER
    if (this.pingSentMs !== NO_PING) return this.lookedAtMs(profile, this.pingSentMs + pingTimeoutMsOf(profile, keepaliveSeconds))
    const fromMs = profile.keepaliveFrom === 'answers' ? this.lastAnswerMs : Math.min(this.lastSentMs, this.lastAnswerMs)
    return this.lookedAtMs(profile, fromMs + keepaliveSeconds * 1000)
  }

  private lookedAtMs({ keepaliveCheckMs }: ClientProfile, dueMs: number): number {
    if (keepaliveCheckMs === undefined) return dueMs
    // A sum of fractions may exceed its multiple by a rounding error.
    return this.openedMs + Math.ceil((dueMs - this.openedMs) / keepaliveCheckMs - 1e-6) * keepaliveCheckMs
  }
}
