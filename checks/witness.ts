/**
 * The witness: sees the raw bytes at every client's socket, decodes both directions (`from-client.ts`, `from-server.ts`), keeps the state of `state.ts`, and
 * tells the checks what was published, acknowledged and delivered.
 *
 * A connection that a client left open when it began another tells nothing but what the server still said over it: nobody takes that in.
 *
 * A client whose process ends or whose machine loses power has lost its memory (`storeLost`); its session is the service's to keep all the same.
 */
import type { CloseReason } from '../model/host.ts'
import type { SocketObserver } from '../model/world.ts'
import type { Hearing } from './check.ts'
import { DEAD_STREAM, Decoder } from './decoder.ts'
import { FromClient } from './from-client.ts'
import { FromServer } from './from-server.ts'
import type { Ledger } from './ledger.ts'
import { type Listeners, listeners } from './sides.ts'
import { type Client, Connection, NEVER } from './state.ts'

const SWEEP_INTERVAL_US = 1_000_000

export class Witness implements SocketObserver {
  private readonly ledger: Ledger
  private readonly hear: Listeners
  private readonly connections = new Map<number, Connection>()
  private readonly decoder = new Decoder()
  private readonly toServer: FromClient
  private readonly toClient: FromServer
  private nextSweepUs = SWEEP_INTERVAL_US

  constructor(ledger: Ledger, checks: readonly Hearing[]) {
    this.ledger = ledger
    this.hear = listeners(checks)
    this.toServer = new FromClient(ledger, this.hear)
    this.toClient = new FromServer(ledger, this.hear, this.decoder)
  }

  /** True time goes on; every observation calls this first. */
  tick(timeUs: number): void {
    this.ledger.nowUs = timeUs
    if (timeUs < this.nextSweepUs) return
    this.nextSweepUs = timeUs + SWEEP_INTERVAL_US
    this.sweep(timeUs)
  }

  sweep(timeUs: number): void {
    this.ledger.sweep(timeUs)
    for (const check of this.hear.sweep) check.onSweep(timeUs)
  }

  /** A process of a machine ended, or its power failed. */
  storeLost(machine: string, timeUs: number): void {
    for (const client of this.ledger.clients.values()) {
      if (client.machine !== machine) continue
      for (const check of this.hear.storeLost) check.onStoreLost(client, timeUs)
    }
  }

  onConnect(connectionId: number, machine: string, label: string, timeUs: number): void {
    this.tick(timeUs)
    const client = this.ledger.client(label)
    const connection = new Connection(connectionId, client, machine, timeUs)
    this.connections.set(connectionId, connection)
    this.leave(client, machine, timeUs)
    client.connecting(connection)
    client.retired = false
    client.machine = machine
    for (const check of this.hear.connectStarted) check.onConnectStarted(connection, timeUs)
  }

  /** A device that begins another connection has done with the one it had, though it may leave it open. Two machines may have one client id. */
  private leave(client: Client, machine: string, timeUs: number): void {
    for (const connection of client.connections) {
      if (connection.left || connection.machine !== machine) continue
      connection.left = true
      if (client.current !== connection) continue
      client.current = undefined
      for (const check of this.hear.left) check.onLeft(connection, timeUs)
    }
  }

  onOpen(connectionId: number, timeUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    connection.openedAtUs = timeUs
    for (const check of this.hear.connectionOpened) check.onConnectionOpened(connection, timeUs)
  }

  onSent(connectionId: number, bytes: Buffer, timeUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    const packets = connection.tlsToServer === undefined ? bytes : behindTls(connection, 'tlsToServer', bytes)
    if (packets === undefined) return
    this.toServer.connection = connection
    this.toServer.timeUs = timeUs
    connection.toServer = this.decoder.decode(connection.toServer, packets, timeUs, connection, this.toServer)
  }

  onReceived(connectionId: number, bytes: Buffer, timeUs: number, sentAtUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    const packets = connection.tlsToClient === undefined ? bytes : behindTls(connection, 'tlsToClient', bytes)
    if (packets === undefined) return
    this.toClient.connection = connection
    this.toClient.timeUs = timeUs
    connection.toClient = this.decoder.decode(connection.toClient, packets, sentAtUs, connection, this.toClient)
  }

  onClosed(connectionId: number, reason: CloseReason, by: 'self' | 'peer', timeUs: number): void {
    this.tick(timeUs)
    const connection = this.connections.get(connectionId)
    if (connection === undefined) return
    this.connections.delete(connectionId)
    connection.closed = true
    connection.toServer = DEAD_STREAM
    connection.toClient = DEAD_STREAM
    const client = connection.client
    client.disconnected(connection)
    if (client.current === connection) client.current = undefined
    if (connection.connackAtUs === NEVER) this.closedUnaccepted(connection)
    else if (client.current === undefined && connection.session === client.session && connection.session?.expirySeconds === 0) {
      this.ledger.end(connection.session, false)
    }
    if (connection.clientDisconnected && client.connections.length === 0) client.retired = true
    for (const check of this.hear.closed) check.onClosed(connection, reason, by, timeUs)
  }

  /** What it sent may still be processed, or have been. */
  private closedUnaccepted(connection: Connection): void {
    const client = connection.client
    if (connection.serverEnded !== undefined || connection.connectSentAtUs === NEVER) return
    if (connection.cleanStart || connection.expirySeconds === 0) client.strayEnd = true
    for (const subscription of connection.session?.subscriptions ?? []) {
      if (client.looseFilters === undefined) client.looseFilters = []
      if (!client.looseFilters.includes(subscription.filter)) client.looseFilters.push(subscription.filter)
    }
  }
}

/** What of a chunk stands behind the handshake; from there on the direction is read as it is. */
function behindTls(connection: Connection, direction: 'tlsToServer' | 'tlsToClient', bytes: Buffer): Buffer | undefined {
  const records = connection[direction]!
  const rest = records.cut(bytes)
  if (records.isOver) connection[direction] = undefined
  return rest
}
