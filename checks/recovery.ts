/**
 * How long clients were without service, as they felt it, and where the time went. Kept as plain lists of times: one entry for each client and fault that
 * touched it.
 */

export interface TimeSummary {
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly count: number
}

/** Times in ms. The terms add up to the total for clients that lost a connection; one that was only stuck has a service term alone. */
export interface RecoveryMeasures {
  readonly total: TimeSummary
  /** From the fault to the end of the connection, as the client saw it. */
  readonly detection: TimeSummary
  /** From there to the TCP open of the connection that brought service back; nothing where that was open already. */
  readonly backOffAndConnect: TimeSummary
  /** From there to CONNACK. */
  readonly sessionLoad: TimeSummary
  /** From there to a publish acknowledged and a message delivered. */
  readonly service: TimeSummary
}

/** One client's way back, in true time. */
export interface Recovery {
  readonly faultUs: number
  readonly lostUs: number
  readonly openedUs: number
  readonly connackUs: number
  readonly servedUs: number
}

export class RecoveryTimes {
  private readonly total: number[] = []
  private readonly detection: number[] = []
  private readonly backOffAndConnect: number[] = []
  private readonly sessionLoad: number[] = []
  private readonly service: number[] = []

  /** A client that lost its connection. */
  lost(recovery: Recovery): void {
    // The connection that brings service back may be open already: one client tries while it does not know its old connection dead, another was trying when the fault came.
    const openedUs = Math.max(recovery.openedUs, recovery.lostUs)
    this.total.push(recovery.servedUs - recovery.faultUs)
    this.detection.push(recovery.lostUs - recovery.faultUs)
    this.backOffAndConnect.push(openedUs - recovery.lostUs)
    this.sessionLoad.push(recovery.connackUs - openedUs)
    this.service.push(recovery.servedUs - recovery.connackUs)
  }

  /** A client that kept its connection and had to wait. */
  stuck(faultUs: number, servedUs: number): void {
    this.total.push(servedUs - faultUs)
    this.service.push(servedUs - faultUs)
  }

  measures(): RecoveryMeasures {
    return {
      total: summarise(this.total),
      detection: summarise(this.detection),
      backOffAndConnect: summarise(this.backOffAndConnect),
      sessionLoad: summarise(this.sessionLoad),
      service: summarise(this.service),
    }
  }
}

/** Percentiles by nearest rank, in ms. */
function summarise(timesUs: readonly number[]): TimeSummary {
  const sorted = Float64Array.from(timesUs).sort()
  const rank = (share: number) =>
    sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]! / 1000
  return { p50: rank(0.5), p99: rank(0.99), max: rank(1), count: sorted.length }
}
