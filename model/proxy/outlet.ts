/**
 * What leaves for one client, and when: nothing but while the owner of its session has confirmed the connection in the present term and holds its word. What is ready
 * meanwhile waits here, CONNACK first [MQTT-3.2.0-1]; messages also wait for room in the connection. Answers do not; but a client with too many answers that it does not
 * take, or that wait here, is not read until they have left.
 */
import { emit } from '../events.ts'
import type { Connection } from '../host.ts'
import type { ClientConnection } from './client-connection.ts'
import { holding } from './holding.ts'
import type { ProxyContext } from './proxy-context.ts'
import type { SubscriberPorts } from './subscriber.ts'

/** So many packets are owed to a client that is still read. */
const OWED_LIMIT = 100

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
  /** Packets written since there was no room. */
  private writtenWithoutRoom = 0
  private suspended = false

  constructor(context: ProxyContext, client: ClientConnection, connection: Connection) {
    this.context = context
    this.client = client
    this.connection = connection
  }

  write(bytes: Buffer): void {
    if (this.backedUp) {
      this.writtenWithoutRoom++
      this.holdBack()
    }
    if (!this.connection.write(bytes)) this.backedUp = true
  }

  onDrain(): void {
    this.backedUp = false
    this.writtenWithoutRoom = 0
    this.holdBack()
  }

  /** Reads from the client or not, by how much is owed to it. */
  private holdBack(): void {
    if (!this.client.isConnected) return
    if (this.writtenWithoutRoom + (this.answers?.length ?? 0) > OWED_LIMIT) this.client.hold(holding.answers)
    else this.client.readOn(holding.answers)
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
    this.holdBack()
  }

  /** Asks `open` first. */
  sendAnswers(): void {
    const { answers } = this
    if (answers === undefined) return
    this.answers = undefined
    for (const answer of answers) this.write(answer)
    this.holdBack()
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

  expired(shard: number, sequence: number): void {
    this.context.expired(shard, this.client.handle, sequence)
  }

  received(shard: number, sequence: number): void {
    this.context.received(shard, this.client.handle, sequence)
  }
}
