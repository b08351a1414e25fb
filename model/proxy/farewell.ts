/**
 * The last moment of a connection whose client said DISCONNECT: our side is closed once the session shard knows of the end, so that a client which waits for the close knows
 * that its will is gone and its session as it asked; or after a second, or when the client closes itself. Nothing that still comes is read [MQTT-3.14.4-1].
 */
import type { Connection, ConnectionHandler, Host, Timer } from '../host.ts'

const LONGEST_MS = 1000

export class Farewell implements ConnectionHandler {
  private readonly connection: Connection
  private readonly timer: Timer
  private state: 'waiting' | 'over' = 'waiting'

  constructor(host: Host, connection: Connection) {
    this.connection = connection
    connection.handler = this
    this.timer = host.setTimer(LONGEST_MS, () => this.end())
  }

  onData(): void {}

  onClose(): void {
    this.state = 'over'
    this.timer.cancel()
  }

  end(): void {
    if (this.state === 'over') return
    this.state = 'over'
    this.timer.cancel()
    this.connection.close()
  }
}
