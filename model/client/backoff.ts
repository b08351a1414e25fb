/** The waits between the rounds of one outage, by a profile's policy. Made when a connection is lost, dropped when CONNACK accepts the next one. */
import type { RandomStream } from '../host.ts'
import type { ReconnectPolicy } from './profile.ts'

export class Backoff {
  private readonly policy: ReconnectPolicy
  private readonly lostAtMs: number
  private ceilingMs = 0
  private begun = false

  constructor(policy: ReconnectPolicy, lostAtMs: number) {
    this.policy = policy
    this.lostAtMs = lostAtMs
  }

  /** The wait before the next round. `random` is asked for only where the policy has jitter. */
  nextMs(nowMs: number, random: () => RandomStream): number {
    const policy = this.policy
    if (policy.kind === 'fixed') return policy.periodMs
    if (policy.firstAtOnce && !this.begun) {
      this.begun = true
      return 0
    }
    const capMs = nowMs - this.lostAtMs < policy.earlyForMs ? policy.earlyCapMs : policy.capMs
    this.ceilingMs = Math.min(this.ceilingMs === 0 ? policy.firstMs : this.ceilingMs * 2, capMs)
    const { jitter } = policy
    if (jitter === 'none') return this.ceilingMs
    if (jitter === 'full') return random().next() * this.ceilingMs
    return (jitter.fromShare + random().next() * (jitter.toShare - jitter.fromShare)) * this.ceilingMs
  }
}
