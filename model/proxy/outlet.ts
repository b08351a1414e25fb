/**
 * What leaves for one client, and when: nothing but while the owner of its session has confirmed the connection in the present term and holds its word. What is ready
 * meanwhile waits here, CONNACK first [MQTT-3.2.0-1]; messages also wait for room in the connection.
 */
import { emit } from '../events.ts'
import type { Connection } from '../host.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ProxyContext } from './proxy-context.ts'
import type { SubscriberPorts } from './subscriber.ts'

export class Outlet implements SubscriberPorts {
  /** The term of the session's shard in which its owner last confirmed this connection. */
  confirmedTerm = -1
  private readonly context: ProxyContext
  private readonly client: ClientConnection
  private readonly connection: Connection
  private connack: Buffer | undefined
  /** Answers that wait for the session's word. */
  private answers: Buffer[] | undefined
  private backedUp = false
  private suspended = false

  constructor(context: ProxyContext, client: ClientConnection, connection: Connection) {
    this.context = context
    this.client = client
    this.connection = connection
  }

  write(bytes: Buffer): void {
    if (!this.connection.write(bytes)) this.backedUp = true
  }

  onDrain(): void {
    this.backedUp = false
  }

  canSend(): boolean {
    if (!this.client.isConnected) return false
    const domain = this.client.sessionDomain
    return this.confirmedTerm === domain.term && domain.canSpeak(this.context.host.nowMs())
  }

  /** Whether what waits may leave now; says so where that has changed. */
  open(): boolean {
    if (!this.canSend()) {
      this.noteSuspension()
      return false
    }
    if (this.suspended) {
      this.suspended = false
      const { host } = this.context
      if (host.recording) emit(host, { kind: 'session-resumed', clientId: this.client.clientId })
    }
    return true
  }

  noteSuspension(): void {
    if (!this.client.isConnected || this.suspended) return
    this.suspended = true
    const { host } = this.context
    if (host.recording) emit(host, { kind: 'session-suspended', clientId: this.client.clientId })
  }

  welcome(connack: Buffer): void {
    this.connack = connack
  }

  get isWelcomePending(): boolean {
    return this.connack !== undefined
  }

  /** Asks `open` first. @returns true where it left now */
  sendConnack(): boolean {
    if (this.connack === undefined) return false
    this.write(this.connack)
    this.connack = undefined
    return true
  }

  addAnswer(answer: Buffer): void {
    if (this.answers === undefined) this.answers = [answer]
    else this.answers.push(answer)
  }

  /** Asks `open` first. */
  sendAnswers(): void {
    const { answers } = this
    if (answers === undefined) return
    this.answers = undefined
    for (const answer of answers) this.write(answer)
  }

  // What the subscriber asks for

  nowMs(): number {
    return this.context.host.nowMs()
  }

  canDeliver(): boolean {
    return this.connack === undefined && !this.backedUp && this.canSend()
  }

  acknowledge(shard: number, sequence: number): void {
    this.context.acknowledge(shard, this.client.handle, sequence)
  }

  received(shard: number, sequence: number): void {
    this.context.received(shard, this.client.handle, sequence)
  }
}
