/**
 * Before a session has a new connection, whoever holds it falls silent: its proxy confirms that it is done with the client, or the lease of that proxy is over (decision 2).
 *
 * After a handover there is more to wait out: the former owner, who is done, has granted proxies time that no attach has waited for. Takeovers alone wait for it, as nothing else
 * that this owner does can contradict what a proxy says meanwhile.
 */
import { emit } from '../events.ts'
import type { Host } from '../host.ts'
import type { ServiceSettings } from '../settings.ts'
import { outlastingMs } from '../volume/lease.ts'
import type { ProxyLeases } from './proxy-leases.ts'
import type { Session } from './session-table.ts'

export class Takeovers {
  private readonly host: Host
  private readonly settings: ServiceSettings
  private readonly leases: Pick<ProxyLeases, 'silence'>
  private formerGrantsEndMs = 0
  private isServing = false

  constructor(host: Host, settings: ServiceSettings, leases: Pick<ProxyLeases, 'silence'>) {
    this.host = host
    this.settings = settings
    this.leases = leases
  }

  serve(handedOver: boolean): void {
    this.isServing = true
    const { proxy, volume } = this.settings
    if (handedOver) this.formerGrantsEndMs = this.host.nowMs() + outlastingMs(proxy.sessionLeaseMs, volume.maximumClockDriftPpm)
  }

  close(): void {
    this.isServing = false
  }

  /** Whether somebody may still speak for the connection that the log knows. */
  isDueFor(session: Session): boolean {
    return session.connected && (session.link !== undefined || this.formerGrantsLeftMs() > 0)
  }

  begin({ clientId, epoch, handle, link }: Session, silent: () => void): void {
    if (link === undefined) {
      this.afterFormerGrants(silent)
      return
    }
    this.leases.silence(link, { clientId, epoch, handle }, (by) => {
      if (!this.isServing) return
      if (by === 'lease-ended' && this.formerGrantsLeftMs() > 0) {
        this.afterFormerGrants(silent)
        return
      }
      if (this.host.recording) emit(this.host, { kind: 'session-taken-over', clientId, epoch, by })
      this.host.reached(by === 'kicked' ? 'session taken over by kick' : 'session taken over after the lease ended')
      silent()
    })
  }

  private formerGrantsLeftMs(): number {
    return Math.max(0, this.formerGrantsEndMs - this.host.nowMs())
  }

  private afterFormerGrants(done: () => void): void {
    this.host.reached('takeover waited for grants of a former owner')
    this.host.setTimer(this.formerGrantsLeftMs() + 1, () => {
      if (this.isServing) done()
    })
  }
}
