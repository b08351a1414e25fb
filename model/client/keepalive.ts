/** When a client sends PINGREQ on one connection, and when it takes the silence after it for the end, by the profile's rule [MQTT-3.1.2-20]. */
import { type ClientProfile, pingTimeoutMsOf } from './profiles.ts'

const NEVER = Number.POSITIVE_INFINITY
const NO_PING = -1

export class Keepalive {
  private lastSentMs = 0
  private lastAnswerMs = 0
  private pingSentMs = NO_PING

  get awaitsPingresp(): boolean {
    return this.pingSentMs !== NO_PING
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

  answered(nowMs: number, { keepaliveFrom }: ClientProfile): void {
    this.lastAnswerMs = nowMs
    if (keepaliveFrom === 'answers') this.pingSentMs = NO_PING
  }

  /** When to send PINGREQ or, where it is unanswered, when to give up. */
  dueMs(profile: ClientProfile, keepaliveSeconds: number): number {
    if (keepaliveSeconds === 0) return NEVER
    if (this.pingSentMs !== NO_PING) return this.pingSentMs + pingTimeoutMsOf(profile, keepaliveSeconds)
    const fromMs = profile.keepaliveFrom === 'answers' ? this.lastAnswerMs : Math.min(this.lastSentMs, this.lastAnswerMs)
    return fromMs + keepaliveSeconds * 1000
  }
}
