import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { QoS } from '../wire/packets.ts'
import { type Bench, message, setUp } from './client-bench.test-support.ts'
import type { FakeConnection, PeerPacket } from './fake-host.ts'
import { clientProfiles } from './profiles.ts'

interface Delivery {
  readonly messageId: number
  readonly payload: string
  state: 'published' | 'released'
}

/** Does everything as the standard says, and expects it of the client. What it sends, and what it is sent, is on its way until the test moves it. */
class PerfectServer {
  /** What it stored, in order, with repetitions where it stored twice. */
  readonly stored: string[] = []
  readonly atLeastOnce = new Set<string>()
  private readonly setsDup: boolean
  private connection: FakeConnection
  private handled = 0
  private onTheWay: PeerPacket[] = []
  private receiveMaximum = 65_535
  private quotaUsed = 0

  // The session.
  private unreleased = new Map<number, string>()
  private deliveries: Delivery[] = []
  private lastId = 0
  /** Texts whose PUBREC the client has been given. */
  private readonly receivedTold = new Set<string>()
  /** When the client was given the PUBREC of an id, counted in PUBRECs. */
  private pubrecOrder = new Map<number, number>()
  private pubrecsTold = 0

  // Of the connection.
  private publishedHere = new Set<number>()
  private lastReleased = -1

  constructor(connection: FakeConnection, setsDup: boolean) {
    this.connection = connection
    this.setsDup = setsDup
    this.handled = connection.seen.length
  }

  /** A new connection; what was on its way is lost. CONNACK was sent and nothing behind it was looked at. */
  reconnected(connection: FakeConnection, sessionPresent: boolean, receiveMaximum: number): void {
    this.connection = connection
    this.handled = 1
    this.receiveMaximum = receiveMaximum
    this.quotaUsed = 0
    this.publishedHere = new Set()
    this.lastReleased = -1
    this.onTheWay = []
    if (!sessionPresent) {
      this.unreleased = new Map()
      this.pubrecOrder = new Map()
      this.deliveries = []
    }
    for (const delivery of this.deliveries) {
      if (delivery.state === 'released') this.send({ cmd: 'pubrel', messageId: delivery.messageId, reasonCode: 0 })
      else this.sendDelivery(delivery, true)
    }
  }

  /** @returns false when it has no free id */
  publish(payload: string): boolean {
    // Few ids, so that each is used for several messages.
    const messageId = (this.lastId % 4) + 1
    if (this.deliveries.some((open) => open.messageId === messageId)) return false
    this.lastId = messageId
    const delivery: Delivery = { messageId, payload, state: 'published' }
    this.deliveries.push(delivery)
    this.sendDelivery(delivery, false)
    return true
  }

  private sendDelivery({ messageId, payload }: Delivery, dup: boolean): void {
    this.send({ cmd: 'publish', topic: 't', payload, qos: 2, messageId, dup, retain: false })
  }

  private send(packet: PeerPacket): void {
    this.onTheWay.push(packet)
  }

  /** @returns false when nothing was on its way to the client */
  moveOneToClient(): boolean {
    const packet = this.onTheWay.shift()
    if (packet === undefined) return false
    if (packet.cmd === 'pubrec') {
      const messageId = packet.messageId as number
      const text = this.unreleased.get(messageId)
      if (text !== undefined) this.receivedTold.add(text)
      this.pubrecOrder.set(messageId, this.pubrecsTold++)
    }
    this.connection.send(packet)
    return true
  }

  /** @returns false when nothing was on its way to the server */
  moveOneToServer(): boolean {
    const packet = this.connection.seen[this.handled]
    if (packet === undefined) return false
    this.handled++
    this.take(packet)
    return true
  }

  private take(packet: PeerPacket): void {
    const messageId = packet.messageId as number
    switch (packet.cmd) {
      case 'publish':
        this.takePublish(packet, messageId)
        return
      case 'pubrel': {
        const order = this.pubrecOrder.get(messageId)
        if (order !== undefined) {
          expect(order).toBeGreaterThan(this.lastReleased)
          this.lastReleased = order
        }
        this.quotaUsed = Math.max(0, this.quotaUsed - 1)
        this.send({ cmd: 'pubcomp', messageId, reasonCode: this.unreleased.delete(messageId) ? 0 : 0x92 })
        return
      }
      case 'pubrec': {
        const delivery = this.deliveries.find((one) => one.messageId === messageId)!
        expect(delivery.state).toBe('published')
        delivery.state = 'released'
        this.send({ cmd: 'pubrel', messageId, reasonCode: 0 })
        return
      }
      case 'pubcomp':
        expect(this.deliveries.find((one) => one.messageId === messageId)?.state).toBe('released')
        this.deliveries = this.deliveries.filter((one) => one.messageId !== messageId)
        return
      default:
        throw new Error(`the client sent ${packet.cmd}`)
    }
  }

  private takePublish(packet: PeerPacket, messageId: number): void {
    const text = String(packet.payload)
    if (packet.qos !== 0) {
      expect(++this.quotaUsed).toBeLessThanOrEqual(this.receiveMaximum)
      // What is still open has its id to itself; on a connection nothing is published twice.
      expect(this.publishedHere.has(messageId)).toBe(false)
      this.publishedHere.add(messageId)
    }
    if (packet.qos === 1) {
      expect(this.unreleased.has(messageId)).toBe(false)
      this.atLeastOnce.add(text)
      this.quotaUsed--
      this.publishedHere.delete(messageId)
      this.send({ cmd: 'puback', messageId, reasonCode: 0 })
    } else if (packet.qos === 2) {
      expect(this.receivedTold.has(text)).toBe(false)
      const open = this.unreleased.get(messageId)
      if (open === undefined) {
        this.stored.push(text)
        this.unreleased.set(messageId, text)
      } else {
        expect(open).toBe(text)
        expect(packet.dup).toBe(this.setsDup)
      }
      this.send({ cmd: 'pubrec', messageId, reasonCode: 0 })
    }
  }

  /** An id that was released is free for another message on the same connection. */
  forgetCompleted(): void {
    for (const messageId of this.publishedHere) if (!this.unreleased.has(messageId)) this.publishedHere.delete(messageId)
  }
}

const some = fc.integer({ min: 1, max: 6 })
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('client publishes' as const), qos: fc.constantFrom<QoS>(0, 1, 2, 2, 2) }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'server publishes' } as const) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('to the server' as const), packets: some }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('to the client' as const), packets: some }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('loss' as const),
      how: fc.constantFrom('reset' as const, 'drop' as const, 'disconnect' as const),
      sessionLost: fc.boolean(),
      receiveMaximum: fc.integer({ min: 1, max: 8 }),
      publishedMeanwhile: fc.integer({ min: 0, max: 2 }),
    }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

interface Outcome {
  readonly published: { readonly once: string[]; readonly atLeastOnce: string[] }
  readonly server: PerfectServer
  readonly sentByServer: string[]
  readonly bench: Bench
}

function play(steps: readonly Step[], profileName: 'recommended' | 'mqtt.js', sessionsLast: boolean): Outcome {
  const profile = clientProfiles[profileName]
  const bench = setUp({ profile, version: 5, cleanStart: false, sessionExpirySeconds: 3600 })
  const server = new PerfectServer(bench.accept(), profile.resendSetsDup)
  const published = { once: [] as string[], atLeastOnce: [] as string[] }
  const sentByServer: string[] = []
  let count = 0
  const publish = (qos: QoS): void => {
    const text = `m${count++}`
    bench.client.publish(message(text, qos))
    if (qos === 1) published.atLeastOnce.push(text)
    else if (qos === 2) published.once.push(text)
  }
  for (const one of steps) {
    if (one.kind === 'client publishes') publish(one.qos)
    else if (one.kind === 'server publishes') {
      const text = `s${count++}`
      if (server.publish(text)) sentByServer.push(text)
    } else if (one.kind === 'to the server') for (let left = one.packets; left > 0 && server.moveOneToServer(); left--);
    else if (one.kind === 'to the client') for (let left = one.packets; left > 0 && server.moveOneToClient(); left--);
    else {
      if (one.how === 'reset') bench.host.last.die('reset')
      else bench.client.goAway(one.how)
      for (let left = one.publishedMeanwhile; left > 0; left--) publish(2)
      bench.client.comeBack()
      bench.host.advance(1000)
      const sessionPresent = sessionsLast || !one.sessionLost
      const connection = bench.accept({ sessionPresent, properties: { receiveMaximum: one.receiveMaximum } })
      server.reconnected(connection, sessionPresent, one.receiveMaximum)
    }
    server.forgetCompleted()
  }
  while (server.moveOneToServer() || server.moveOneToClient()) server.forgetCompleted()
  return { published, server, sentByServer, bench }
}

const messagesOf = ({ told }: Bench) => told.filter((text) => text.startsWith('message')).map((text) => text.split(' ')[2])

describe.each(['recommended', 'mqtt.js'] as const)('with losses at any point, the %s client', (profile) => {
  test('has each QoS 2 message once, and the server has each publication once, while the session lasts [MQTT-4.3.3-10] [MQTT-4.3.3-12]', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { published, server, sentByServer, bench } = play(steps, profile, true)
        expect(server.stored).toEqual(published.once)
        expect([...server.atLeastOnce]).toEqual(published.atLeastOnce)
        expect(messagesOf(bench)).toEqual(sentByServer)
        expect(bench.client.unacknowledged).toBe(0)
        expect(bench.told.filter((text) => text.startsWith('published'))).toHaveLength(published.once.length + published.atLeastOnce.length)
        expect(bench.counters).toMatchObject({ protocolViolations: 0, unexpectedAcknowledgements: 0 })
      }),
      { numRuns: 500 },
    )
  })

  test('gets every publication through, each told of once, where sessions are lost too', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { published, server, bench } = play(steps, profile, false)
        expect([...new Set(server.stored)].sort()).toEqual([...published.once].sort())
        expect([...server.atLeastOnce].sort()).toEqual([...published.atLeastOnce].sort())
        expect(new Set(messagesOf(bench)).size).toBe(messagesOf(bench).length)
        expect(bench.client.unacknowledged).toBe(0)
        expect(bench.told.filter((text) => text.startsWith('published'))).toHaveLength(published.once.length + published.atLeastOnce.length)
        expect(bench.counters.protocolViolations).toBe(0)
      }),
      { numRuns: 500 },
    )
  })
})
