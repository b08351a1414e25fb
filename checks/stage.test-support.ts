/**
 * A stage for the tests of the checks: clients whose sockets say what a test wants, as bytes made by `mqtt-packet`, and a clock that the test moves. The
 * "server" does only what it is told, so that a test can plant any fault.
 */
import mqttPacket, { type Packet } from 'mqtt-packet'
import { type Fault, INTERNET } from '../model/world.ts'
import type { CheckContext } from './check.ts'
import { type Checks, createChecks } from './checks.ts'
import { encodePayload } from './payload.ts'
import type { PromiseId, PromiseResult, PromiseVerdict } from './promise.ts'
import type { ClientFacts } from './state.ts'

const defaultFacts: ClientFacts = {
  number: 0,
  version: 4,
  cleanStart: false,
  sessionExpirySeconds: Number.POSITIVE_INFINITY,
  detectionOpenMs: 3000,
  detectionIdleMs: 13_000,
}

const zones = ['az1', 'az2', 'az3']
const roles = ['nameserver', 'broker', 'proxy', 'volume', 'dns', 'load-balancer', 'console', 'instance-group']

type ConnectOptions = {
  readonly present?: boolean
  readonly cleanStart?: boolean
  readonly properties?: Record<string, unknown>
  /** The CONNECT is sent and nothing comes back. */
  readonly unanswered?: boolean
  readonly keepalive?: number
  /** The will's payload is this client's message of that sequence. */
  readonly will?: {
    readonly sequence: number
    readonly topic: string
    readonly qos?: number
    readonly retain?: boolean
    readonly properties?: Record<string, unknown>
  }
}

type SubscribeOptions = {
  readonly packetId?: number
  readonly granted?: number
  readonly retainHandling?: number
  readonly retainAsPublished?: boolean
  readonly noLocal?: boolean
  readonly identifier?: number
  /** No SUBACK comes. */
  readonly unanswered?: boolean
}

export class Stage {
  readonly checks: Checks
  nowMs = 0
  private nextConnection = 1

  constructor(
    clients: readonly ClientFacts[],
    {
      intruders = [],
      ...options
    }: Partial<Pick<CheckContext, 'promises' | 'window3x' | 'retention' | 'rebalanceIntervalMs'>> & {
      readonly intruders?: readonly string[]
    } = {},
  ) {
    const context: CheckContext = {
      clients: new Map(clients.map((facts) => [`client-${facts.number}`, facts])),
      machines: [
        ...zones.flatMap((zone, index) => roles.map((role) => ({ name: `${role}-${index + 1}`, zone, role }))),
        ...zones.map((zone, index) => ({ name: `proxy-${zones.length + index + 1}`, zone, role: 'proxy', standby: true })),
        ...intruders.map((name) => ({ name, zone: INTERNET, role: 'intruder' })),
        ...clients.map(({ number }) => ({ name: `client-machine-${number}`, zone: INTERNET, role: 'client' })),
      ],
      budgets: { reconnectMs: 10_000, routesMs: 5000, progressMs: 5000, consoleMs: 5000, replacementMs: 75_000 },
      window3x: 16,
      loadBalancer: {
        probe: 'tcp',
        probeIntervalMs: 2000,
        probeTimeoutMs: 1000,
        unhealthyThreshold: 2,
        healthyThreshold: 2,
        slowStartMs: 30_000,
        drainMs: 20_000,
        crossZone: true,
      },
      instanceGroup: { probeIntervalMs: 15_000, recheckIntervalMs: 2000, takeBackAfterMs: 60_000 },
      ...options,
    }
    this.checks = createChecks(context)
  }

  get nowUs(): number {
    return this.nowMs * 1000
  }

  wait(ms: number): void {
    this.nowMs += ms
  }

  connection(clientNumber: number, version: 3 | 4 | 5 = 4): StageConnection {
    return new StageConnection(this, this.nextConnection++, clientNumber, version)
  }

  /** A connection that is open and accepted. */
  connected(clientNumber: number, version: 3 | 4 | 5 = 4, options: ConnectOptions = {}): StageConnection {
    const connection = this.connection(clientNumber, version)
    connection.connect(options)
    return connection
  }

  apply(fault: Fault): void {
    this.checks.world.onFault!(fault, 'applied', this.nowUs)
  }

  heal(fault: Fault): void {
    this.checks.world.onFault!(fault, 'healed', this.nowUs)
  }

  record(machine: string, event: { readonly kind: string } & Record<string, unknown>): void {
    this.checks.onEntry({ timeUs: this.nowUs, sequence: 0, machine, event })
  }

  finish(): ReadonlyMap<PromiseId, PromiseResult> {
    return new Map(this.checks.finish(this.nowUs).map((result) => [result.id, result]))
  }

  verdict(id: PromiseId): PromiseVerdict {
    return this.result(id).verdict
  }

  result(id: PromiseId): PromiseResult {
    const result = this.finish().get(id)
    if (result === undefined) throw new Error(`${id} was not checked`)
    return result
  }
}

export class StageConnection {
  readonly id: number
  readonly number: number
  private readonly stage: Stage
  private readonly version: 3 | 4 | 5

  constructor(stage: Stage, id: number, clientNumber: number, version: 3 | 4 | 5) {
    this.stage = stage
    this.id = id
    this.number = clientNumber
    this.version = version
    stage.checks.sockets.onConnect(id, `client-machine-${clientNumber}`, `client-${clientNumber}`, stage.nowUs)
  }

  get clientId(): string {
    return `client-${this.number}`
  }

  send(packet: object): void {
    this.stage.checks.sockets.onSent(this.id, mqttPacket.generate(packet as Packet, { protocolVersion: this.version }), this.stage.nowUs)
  }

  /** The server's packet arrives now; it was written `agoMs` ago. */
  receive(packet: object, agoMs = 0): void {
    this.receiveBytes(mqttPacket.generate(packet as Packet, { protocolVersion: this.version }), agoMs)
  }

  receiveBytes(bytes: Buffer, agoMs = 0): void {
    this.stage.checks.sockets.onReceived(this.id, bytes, this.stage.nowUs, this.stage.nowUs - agoMs * 1000)
  }

  open(): void {
    this.stage.checks.sockets.onOpen(this.id, this.stage.nowUs)
  }

  connect(options: ConnectOptions = {}): void {
    this.open()
    this.send({
      cmd: 'connect',
      clientId: this.clientId,
      protocolId: this.version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: this.version,
      clean: options.cleanStart ?? false,
      keepalive: options.keepalive ?? 10,
      ...(options.will === undefined
        ? {}
        : { will: { qos: 1, ...options.will, payload: encodePayload(this.number, options.will.sequence, 32) } }),
      ...(this.version === 5 ? { properties: { sessionExpiryInterval: 3600, ...options.properties } } : {}),
    })
    if (options.unanswered !== true) this.connack(options.present ?? false)
  }

  connack(present: boolean, agoMs = 0): void {
    this.receive({ cmd: 'connack', sessionPresent: present, returnCode: 0, reasonCode: 0 }, agoMs)
  }

  subscribe(filter: string, qos = 1, packetId = 60_000, granted = qos): void {
    this.send({ cmd: 'subscribe', messageId: packetId, subscriptions: [{ topic: filter, qos, nl: false, rap: false, rh: 0 }] })
    this.receive({ cmd: 'suback', messageId: packetId, granted: [granted] })
  }

  /** SUBSCRIBE with all its options, and its SUBACK. */
  subscribeWith(filter: string, qos: number, options: SubscribeOptions = {}): void {
    const messageId = options.packetId ?? 60_000
    const { retainHandling: rh = 0, retainAsPublished: rap = false, noLocal: nl = false } = options
    const properties = options.identifier === undefined ? {} : { properties: { subscriptionIdentifier: options.identifier } }
    this.send({ cmd: 'subscribe', messageId, subscriptions: [{ topic: filter, qos, nl, rap, rh }], ...properties })
    if (options.unanswered !== true) this.receive({ cmd: 'suback', messageId, granted: [options.granted ?? qos] })
  }

  pubrec(packetId: number, reasonCode = 0): void {
    this.receive({ cmd: 'pubrec', messageId: packetId, reasonCode })
  }

  pubrel(packetId: number): void {
    this.send({ cmd: 'pubrel', messageId: packetId, reasonCode: 0 })
  }

  pubcomp(packetId: number): void {
    this.receive({ cmd: 'pubcomp', messageId: packetId, reasonCode: 0 })
  }

  /** A publish of QoS 2 with all that follows. */
  publishExactlyOnce(topic: string, sequence: number, packetId: number, retain = false): void {
    this.publish(topic, sequence, { qos: 2, packetId, retain })
    this.pubrec(packetId)
    this.pubrel(packetId)
    this.pubcomp(packetId)
  }

  /** What follows on a delivery of QoS 2. */
  completeDelivery(packetId: number): void {
    this.send({ cmd: 'pubrec', messageId: packetId, reasonCode: 0 })
    this.receive({ cmd: 'pubrel', messageId: packetId, reasonCode: 0 })
    this.send({ cmd: 'pubcomp', messageId: packetId, reasonCode: 0 })
  }

  disconnect(reasonCode = 0): void {
    this.send({ cmd: 'disconnect', reasonCode })
    this.close('self', 'ended')
  }

  unsubscribe(filter: string, packetId = 60_001): void {
    this.send({ cmd: 'unsubscribe', messageId: packetId, unsubscriptions: [filter] })
    this.receive({ cmd: 'unsuback', messageId: packetId, granted: [0] })
  }

  publish(
    topic: string,
    sequence: number,
    options: { qos?: number; packetId?: number; dup?: boolean; size?: number; retain?: boolean; properties?: object } = {},
  ): void {
    const qos = options.qos ?? 1
    const payload = encodePayload(this.number, sequence, options.size ?? 32)
    const messageId = qos === 0 ? undefined : (options.packetId ?? (sequence % 65_535) + 1)
    this.send({
      cmd: 'publish',
      topic,
      qos,
      messageId,
      dup: options.dup ?? false,
      retain: options.retain ?? false,
      payload,
      ...propertiesOf(options),
    })
  }

  puback(sequence: number, agoMs = 0): void {
    this.receive({ cmd: 'puback', messageId: (sequence % 65_535) + 1, reasonCode: 0 }, agoMs)
  }

  /** A message from `publisher` is delivered to this client, which acknowledges it unless told otherwise. */
  deliver(
    topic: string,
    publisher: number,
    sequence: number,
    options: {
      qos?: number
      packetId?: number
      dup?: boolean
      acknowledge?: boolean
      size?: number
      agoMs?: number
      payload?: Buffer
      retain?: boolean
      properties?: object
    } = {},
  ): void {
    const qos = options.qos ?? 1
    const messageId = qos === 0 ? undefined : (options.packetId ?? (sequence % 65_535) + 1)
    const payload = options.payload ?? encodePayload(publisher, sequence, options.size ?? 32)
    const { dup = false, retain = false } = options
    this.receive({ cmd: 'publish', topic, qos, messageId, dup, retain, payload, ...propertiesOf(options) }, options.agoMs)
    if (qos === 1 && options.acknowledge !== false) this.send({ cmd: 'puback', messageId, reasonCode: 0 })
  }

  close(by: 'self' | 'peer' = 'peer', reason: 'ended' | 'reset' | 'timeout' = 'reset'): void {
    this.stage.checks.sockets.onClosed(this.id, reason, by, this.stage.nowUs)
  }
}

function propertiesOf(options: { readonly properties?: object }): object {
  return options.properties === undefined ? {} : { properties: options.properties }
}

/** Clients with these numbers, all alike. */
export function clients(count: number, facts: Partial<ClientFacts> = {}): ClientFacts[] {
  return Array.from({ length: count }, (_, number) => ({ ...defaultFacts, ...facts, number }))
}
