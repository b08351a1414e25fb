/**
 * Which attempt of which proxy opens a session. The same attempt, come again, is the same connection: it gets the same answer, and never two wills.
 * Left out: lost attempts are known to their shard's owner only, not to the next one.
 */
import type { Host } from '../host.ts'

export interface Attempt {
  readonly proxy: string
  readonly bootId: number
  readonly handle: number
}

export function isSameAttempt(a: Attempt, b: Attempt): boolean {
  return a.handle === b.handle && a.bootId === b.bootId && a.proxy === b.proxy
}

/** Longer than any proxy goes on trying to open a session. */
const KEPT_MS = 60_000

/** Attempts whose connection was given up and whose will has fired. A proxy that has not heard of their success may still come back with one. */
export class LostAttempts {
  private readonly host: Host
  /** By client, in the order of being lost. */
  private readonly attempts = new Map<string, { readonly attempt: Attempt; readonly lostAtMs: number }>()

  constructor(host: Host) {
    this.host = host
  }

  add(clientId: string, { proxy, bootId, handle }: Attempt): void {
    const lostAtMs = this.host.nowMs()
    for (const [known, entry] of this.attempts) {
      if (entry.lostAtMs + KEPT_MS > lostAtMs) break
      this.attempts.delete(known)
    }
    this.attempts.delete(clientId)
    this.attempts.set(clientId, { attempt: { proxy, bootId, handle }, lostAtMs })
  }

  has(clientId: string, attempt: Attempt): boolean {
    const known = this.attempts.get(clientId)
    return known !== undefined && isSameAttempt(known.attempt, attempt)
  }
}
