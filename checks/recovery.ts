/**
 * How long clients were without service, as they felt it, and where the time went. Kept as plain lists of times: one entry for each client and fault that
 * touched it.
 */
import { summarise, type TimeSummary } from './histogram.ts'

/** Times in ms. The terms add up to the total for clients that lost a connection; one that was only stuck has a service term alone. */
export interface RecoveryMeasures {
  readonly total: TimeSummary
  /** From the fault to the end of the connection, as the client saw it. */
  readonly detection: TimeSummary
  /** From there to the TCP open of the connection that brought service back; nothing where that was open already. */
  readonly backOffAndConnect: TimeSummary
  /** Its parts: attempts that led nowhere, such as to an address of a dark zone or to a proxy that could not answer; the time in which nothing was tried; and from the SYN to the TCP open. */
  readonly edge: TimeSummary
  readonly backOff: TimeSummary
  readonly connect: TimeSummary
  /** Of clients that connect over TLS: from there to the CONNECT; the handshake, with its wait for a core. */
  readonly tls: TimeSummary
  /** From there to CONNACK. */
  readonly sessionLoad: TimeSummary
  /** From there to a publish acknowledged and a message delivered. */
  readonly service: TimeSummary
  /** Of clients that were served again, and lost their connection once more without another fault: from then until they were served. In none of the terms. */
  readonly again: TimeSummary
}

/** One client's way back, in true time. */
export interface Recovery {
  readonly faultUs: number
  readonly lostUs: number
  /** How long it had an attempt under way that came to nothing, since it knew its connection lost. */
  readonly triedInVainUs: number
  /** When it began the connection that brought service back. */
  readonly startedUs: number
  readonly openedUs: number
  /** When its TLS handshake was done; undefined without TLS. */
  readonly securedUs?: number | undefined
  readonly connackUs: number
  readonly servedUs: number
}

export class RecoveryTimes {
  private readonly total: number[] = []
  private readonly detection: number[] = []
  private readonly backOffAndConnect: number[] = []
  private readonly edge: number[] = []
  private readonly backOff: number[] = []
  private readonly connect: number[] = []
  private readonly tls: number[] = []
  private readonly sessionLoad: number[] = []
  private readonly service: number[] = []
  private readonly again: number[] = []

  /** A client that lost its connection. */
  lost(recovery: Recovery): void {
    // The connection that brings service back may be open already: one client tries while it does not know its old connection dead, another was trying when the fault came.
    const openedUs = Math.max(recovery.openedUs, recovery.lostUs)
    this.total.push(recovery.servedUs - recovery.faultUs)
    this.detection.push(recovery.lostUs - recovery.faultUs)
    this.backOffAndConnect.push(openedUs - recovery.lostUs)
    const startedUs = Math.max(recovery.startedUs, recovery.lostUs)
    const edgeUs = Math.min(recovery.triedInVainUs, Math.max(0, startedUs - recovery.lostUs))
    this.edge.push(edgeUs)
    this.backOff.push(startedUs - recovery.lostUs - edgeUs)
    this.connect.push(openedUs - startedUs)
    const securedUs = Math.max(recovery.securedUs ?? openedUs, openedUs)
    if (recovery.securedUs !== undefined) this.tls.push(securedUs - openedUs)
    this.sessionLoad.push(recovery.connackUs - securedUs)
    this.service.push(recovery.servedUs - recovery.connackUs)
  }

  /** A client that kept its connection and had to wait. */
  stuck(faultUs: number, servedUs: number): void {
    this.total.push(servedUs - faultUs)
    this.service.push(servedUs - faultUs)
  }

  /** A client that was served already, and lost its connection again. */
  lostAgain(lostUs: number, servedUs: number): void {
    this.again.push(servedUs - lostUs)
  }

  measures(): RecoveryMeasures {
    return {
      total: summarise(this.total),
      detection: summarise(this.detection),
      backOffAndConnect: summarise(this.backOffAndConnect),
      edge: summarise(this.edge),
      backOff: summarise(this.backOff),
      connect: summarise(this.connect),
      tls: summarise(this.tls),
      sessionLoad: summarise(this.sessionLoad),
      service: summarise(this.service),
      again: summarise(this.again),
    }
  }
}
