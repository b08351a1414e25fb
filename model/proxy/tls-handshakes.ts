/**
 * The TLS handshakes of a proxy: each costs a millisecond of a core, some hundred times what a packet does, and after an outage they come by the thousand. They wait in a line of their own
 * and are done one by one, each in a turn of its own between other handlers, so that the clients that are served, the brokers and the probes do not wait behind all of them. A client that has
 * gone meanwhile costs nothing.
 *
 * TLS is modelled as its cost and its round trips (`wire/tls-flights.ts`); the price of all of a handshake is paid when its ClientHello is answered. A client may speak either plain MQTT or this
 * on the one port: the first octet tells.
 */
import { emit } from '../events.ts'
import type { CloseReason, Connection, ConnectionHandler, Host } from '../host.ts'
import { TLS_HANDSHAKE, TlsEnd } from '../wire/tls-flights.ts'

/** Who is told of the connection once it is known how it is spoken. */
export interface TlsClient extends ConnectionHandler {
  isClosed(): boolean
  /** What it sent is neither MQTT nor a handshake as it is modelled here. */
  onForeignTls(): void
}

interface Waiting {
  readonly connection: SecuredConnection
  readonly answer: Buffer
  readonly sinceMs: number
}

export class TlsHandshakes {
  private readonly host: Host
  private line: Waiting[] = []
  private done = 0
  /** Those in the line whose client has gone. */
  private gone = 0
  private turning = false

  constructor(host: Host) {
    this.host = host
  }

  /** The handler for a new connection: it takes the first octets, and hands over to `client`. */
  begin(client: TlsClient): ConnectionHandler {
    return new SecuredConnection(this, client)
  }

  wait(connection: SecuredConnection, answer: Buffer): void {
    this.line.push({ connection, answer, sinceMs: this.host.nowMs() })
    this.turn()
  }

  leave(): void {
    this.gone++
  }

  private turn(): void {
    if (this.turning) return
    this.turning = true
    this.host.setTimer(0, () => {
      this.turning = false
      this.doNext()
      if (this.done < this.line.length) this.turn()
      else this.clear()
    })
  }

  private doNext(): void {
    const { host, line } = this
    while (this.done < line.length) {
      const { connection, answer, sinceMs } = line[this.done++]!
      if (connection.hasGone) this.gone--
      if (connection.hasGone || connection.isClosed) continue
      host.work('tls-handshake', 1)
      connection.answer(answer)
      if (host.recording)
        emit(host, { kind: 'tls-handshake-done', waitedMs: host.nowMs() - sinceMs, waiting: line.length - this.done - this.gone })
      return
    }
  }

  private clear(): void {
    this.line = []
    this.done = 0
    this.gone = 0
  }
}

class SecuredConnection implements ConnectionHandler {
  /** Its client closed it while it waited in the line. */
  hasGone = false
  private readonly handshakes: TlsHandshakes
  private readonly client: TlsClient
  private connection: Connection | undefined
  private end: TlsEnd | undefined
  private isWaiting = false

  constructor(handshakes: TlsHandshakes, client: TlsClient) {
    this.handshakes = handshakes
    this.client = client
  }

  get isClosed(): boolean {
    return this.client.isClosed()
  }

  onData(connection: Connection, bytes: Buffer): void {
    if (this.end === undefined) {
      if (bytes[0] !== TLS_HANDSHAKE) {
        this.handOver(connection, bytes)
        return
      }
      this.end = new TlsEnd()
      this.connection = connection
    }
    const progress = this.end.read(bytes)
    if (progress.kind === 'waiting') return
    if (progress.kind === 'not-ours') {
      this.client.onForeignTls()
      return
    }
    const { answer, done, rest } = progress
    if (done) {
      if (answer !== undefined) connection.write(answer)
      this.handOver(connection, rest)
    } else if (answer !== undefined) {
      this.isWaiting = true
      this.handshakes.wait(this, answer)
    }
  }

  onClose(connection: Connection, reason: CloseReason): void {
    if (this.isWaiting) {
      this.hasGone = true
      this.handshakes.leave()
    }
    this.client.onClose(connection, reason)
  }

  answer(flight: Buffer): void {
    this.isWaiting = false
    this.connection!.write(flight)
  }

  private handOver(connection: Connection, bytes: Buffer): void {
    connection.handler = this.client
    if (bytes.length > 0) this.client.onData(connection, bytes)
  }
}
