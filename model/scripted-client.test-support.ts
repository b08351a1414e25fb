/**
 * An MQTT client that does what a test says, packet by packet, and keeps what it was told. It has no habits of its own but one: unless told otherwise it answers
 * what it is sent, PUBLISH and the packets of QoS 2.
 */
import type { Address, CloseReason, Connection, ConnectionHandler, Host } from './host.ts'
import { encodeAcknowledgement, encodePacket, type Malformed, PacketReader, type PacketSink } from './wire/mqtt-codec.ts'
import type { Acknowledgement, Connack, Packet, Properties, ProtocolVersion, Publish, QoS, SubscribeRequest, Will } from './wire/packets.ts'

export interface ScriptedConnect {
  readonly version?: ProtocolVersion
  readonly clientId?: string
  readonly cleanStart?: boolean
  readonly keepAliveSeconds?: number
  readonly properties?: Properties
  readonly username?: string
  readonly password?: string
  readonly will?: Will
  /** Whether messages, PUBRECs and PUBRELs are answered by themselves; true by default. */
  readonly acknowledges?: boolean
}

/** What a PUBLISH may have besides topic, payload and QoS. */
export interface ScriptedPublish {
  readonly retain?: boolean
  readonly dup?: boolean
  /** Instead of the next free one. */
  readonly packetId?: number
  readonly properties?: Properties
}

export interface ScriptedFilter {
  readonly filter: string
  readonly qos?: QoS
  readonly noLocal?: boolean
  readonly retainAsPublished?: boolean
  readonly retainHandling?: 0 | 1 | 2
}

type PacketOf<T extends Packet['type'], P = Packet> = P extends { readonly type: infer Types } ? (T extends Types ? P : never) : never

export class ScriptedClient implements ConnectionHandler, PacketSink {
  readonly version: ProtocolVersion
  readonly received: Packet[] = []
  /** When each of `received` came, in ms of the client's host. */
  readonly receivedAtMs: number[] = []
  closed: { readonly reason: CloseReason; readonly atMs: number } | undefined
  acknowledges: boolean
  private readonly host: Host
  private readonly connection: Connection
  private readonly reader: PacketReader
  private nextPacketId = 1

  constructor(host: Host, target: Address, options: ScriptedConnect) {
    this.host = host
    this.version = options.version ?? 4
    this.acknowledges = options.acknowledges ?? true
    this.reader = new PacketReader({ receiver: 'client', maximumPacketBytes: 1 << 24, version: this.version })
    this.connection = host.connect(target, this, options.clientId)
  }

  onData(_connection: Connection, bytes: Buffer): void {
    this.reader.read(bytes, this)
  }

  onClose(_connection: Connection, reason: CloseReason): void {
    this.closed = { reason, atMs: this.host.nowMs() }
  }

  onPacket(packet: Packet): void {
    this.received.push(packet)
    this.receivedAtMs.push(this.host.nowMs())
    if (this.acknowledges) this.answer(packet)
  }

  private answer(packet: Packet): void {
    if (packet.type === 'publish' && packet.qos === 1) this.puback(packet.packetId)
    else if (packet.type === 'publish' && packet.qos === 2) this.acknowledge('pubrec', packet.packetId)
    else if (packet.type === 'pubrec' && packet.reasonCode < 0x80) this.acknowledge('pubrel', packet.packetId)
    else if (packet.type === 'pubrel') this.acknowledge('pubcomp', packet.packetId)
  }

  onMalformed(problem: Malformed): void {
    throw new Error(`the service sent a malformed packet: ${problem.text} [${problem.statement}]`)
  }

  // What it says. As handlers of its machine, so that nothing is sent from outside the world's time.

  send(packet: Packet): void {
    this.sendBytes(encodePacket(packet, this.version))
  }

  sendBytes(bytes: Buffer): void {
    this.host.setTimer(0, () => this.connection.write(bytes))
  }

  connect(options: ScriptedConnect): void {
    this.send({
      type: 'connect',
      version: this.version,
      clientId: options.clientId ?? 'scripted',
      cleanStart: options.cleanStart ?? true,
      keepAliveSeconds: options.keepAliveSeconds ?? 0,
      ...(options.properties === undefined ? {} : { properties: options.properties }),
      ...(options.username === undefined ? {} : { username: options.username }),
      ...(options.password === undefined ? {} : { password: Buffer.from(options.password) }),
      ...(options.will === undefined ? {} : { will: options.will }),
    })
  }

  subscribe(filters: readonly (string | ScriptedFilter)[], subscriptionIdentifier?: number): number {
    const packetId = this.nextPacketId++
    const subscriptions = filters.map((wanted): SubscribeRequest => {
      const given: ScriptedFilter = typeof wanted === 'string' ? { filter: wanted } : wanted
      return { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, ...given }
    })
    const properties = subscriptionIdentifier === undefined ? {} : { properties: { subscriptionIdentifiers: [subscriptionIdentifier] } }
    this.send({ type: 'subscribe', packetId, subscriptions, ...properties })
    return packetId
  }

  unsubscribe(filters: readonly string[]): number {
    const packetId = this.nextPacketId++
    this.send({ type: 'unsubscribe', packetId, filters })
    return packetId
  }

  /** @returns the packet id, 0 for QoS 0. */
  publish(topic: string, payload: string | Buffer, qos: QoS = 1, given: ScriptedPublish = {}): number {
    const packetId = qos === 0 ? 0 : (given.packetId ?? this.nextPacketId++)
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
    this.send({ type: 'publish', topic, payload: bytes, qos, dup: false, retain: false, ...given, packetId })
    return packetId
  }

  acknowledge(type: Acknowledgement['type'], packetId: number, reasonCode = 0): void {
    this.sendBytes(encodeAcknowledgement(type, packetId, reasonCode, this.version))
  }

  puback(packetId: number): void {
    this.acknowledge('puback', packetId)
  }

  ping(): void {
    this.send({ type: 'pingreq' })
  }

  disconnect(properties?: Properties): void {
    this.sayGoodbye(0, properties)
    this.leave()
  }

  /** DISCONNECT, without closing. */
  sayGoodbye(reasonCode = 0, properties?: Properties): void {
    this.send({ type: 'disconnect', reasonCode, ...(properties === undefined ? {} : { properties }) })
  }

  /** The connection ends in order, without a DISCONNECT. */
  leave(): void {
    this.host.setTimer(0, () => this.connection.close())
  }

  // What it was told.

  of<T extends Packet['type']>(type: T): PacketOf<T>[] {
    return this.received.filter((packet) => packet.type === type) as PacketOf<T>[]
  }

  get connack(): Connack | undefined {
    return this.of('connack')[0]
  }

  /** The payloads of the messages that came, as text, in order. */
  get messages(): string[] {
    return this.publishes.map((packet) => packet.payload.toString())
  }

  get publishes(): Publish[] {
    return this.of('publish')
  }

  pubackOf(packetId: number) {
    return this.answerTo(packetId, 'puback')
  }

  answerTo(packetId: number, type: Acknowledgement['type']): Acknowledgement | undefined {
    return this.of(type).find((packet) => packet.packetId === packetId)
  }

  /** When the first packet of a type came. */
  firstAtMs(type: Packet['type']): number {
    const index = this.received.findIndex((packet) => packet.type === type)
    if (index < 0) throw new Error(`no ${type} came`)
    return this.receivedAtMs[index]!
  }

  get nowMs(): number {
    return this.host.nowMs()
  }
}
