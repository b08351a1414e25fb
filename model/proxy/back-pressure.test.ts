/** Clients that send and do not read: the proxy keeps no more for them than a bound, and loses nothing of what it took. */
import { describe, expect, test } from 'vitest'
import type { Connection, ConnectionHandler } from '../host.ts'
import { Stage } from '../region-stage.test-support.ts'
import { encodePacket, type Malformed, PacketReader, type PacketSink } from '../wire/mqtt-codec.ts'
import type { Packet, ProtocolVersion } from '../wire/packets.ts'

/** Sends the same packet for as long as its own machine takes it, and reads when it is told to. */
class Talker implements ConnectionHandler, PacketSink {
  readonly received: Packet[] = []
  sent = 0
  isClosed = false
  private readonly stage: Stage
  private readonly connection: Connection
  private readonly reader: PacketReader
  private readonly next: (count: number) => Buffer
  private left: number

  constructor(stage: Stage, version: ProtocolVersion, count: number, next: (count: number) => Buffer) {
    this.stage = stage
    this.left = count
    this.next = next
    this.reader = new PacketReader({ receiver: 'client', maximumPacketBytes: 1 << 20, version })
    this.connection = stage.clientHost.connect(stage.proxyAddress(1), this)
    this.connection.write(encodePacket({ type: 'connect', version, clientId: 'talker', cleanStart: true, keepAliveSeconds: 10 }, version))
    stage.until(() => this.received.length > 0, 'CONNACK')
    this.received.pop()
  }

  talk(): void {
    this.connection.pause()
    this.stage.clientHost.setTimer(0, () => this.onDrain())
  }

  listen(): void {
    this.connection.resume()
  }

  onDrain(): void {
    while (this.left > 0) {
      this.left--
      if (!this.connection.write(this.next(++this.sent))) return
    }
  }

  onData(_connection: Connection, bytes: Buffer): void {
    this.reader.read(bytes, this)
  }

  onClose(): void {
    this.isClosed = true
  }

  onPacket(packet: Packet): void {
    this.received.push(packet)
  }

  onMalformed(problem: Malformed): void {
    throw new Error(problem.text)
  }
}

describe('a client that does not read', () => {
  const publish = (qos: 1 | 2) => (count: number) =>
    encodePacket(
      { type: 'publish', topic: 'a', payload: Buffer.alloc(0), qos, dup: false, retain: false, packetId: 1 + (count % 60_000) },
      4,
    )

  test.each([
    ['PINGREQ', 'pingresp', 1_000_000, () => encodePacket({ type: 'pingreq' }, 4)],
    ['PUBREL', 'pubcomp', 250_000, (count: number) => encodePacket({ type: 'pubrel', packetId: 1 + (count % 60_000), reasonCode: 0 }, 4)],
  ] as const)(
    'is not read either, as soon as too many answers to %s wait for it, and has all of them later',
    (_name, answer, count, next) => {
      const stage = new Stage()
      const talker = new Talker(stage, 4, count, next)
      talker.talk()
      stage.run(10_000)
      const taken = talker.sent
      expect(taken).toBeLessThan(count * 0.6)
      // It is read no further, however long it waits; nobody can say that it is silent.
      stage.run(40_000)
      expect([talker.sent, talker.isClosed]).toEqual([taken, false])
      talker.listen()
      stage.until(() => talker.received.length === count, `every ${answer}`, 120_000)
      expect(talker.received.every(({ type }) => type === answer)).toBe(true)
    },
  )

  test('is read while what waits for it is little: its PUBACKs make room', () => {
    const stage = new Stage()
    const talker = new Talker(stage, 4, 1500, publish(1))
    talker.talk()
    stage.run(20_000)
    expect([talker.sent, stage.stored('a').length]).toEqual([1500, 1500])
  })
})

describe('a client that asks faster than it can be served', () => {
  test('is not read while answers wait for its session, and has all of them later', () => {
    const stage = new Stage({ settings: { proxy: { unreachableCloseMs: 60_000 } } })
    const count = 200_000
    const talker = new Talker(stage, 4, count, () => encodePacket({ type: 'pingreq' }, 4))
    const heal = stage.part(['proxy-1'], stage.brokers)
    // The proxy's word for the session runs out.
    stage.run(stage.settings.proxy.sessionLeaseMs + 500)
    talker.talk()
    talker.listen()
    stage.run(2000)
    expect(talker.sent).toBeLessThan(count)
    expect(talker.received).toEqual([])
    heal()
    stage.until(() => talker.received.length === count, 'every PINGRESP', 60_000)
  })

  test('by SUBSCRIBE is not read while too many wait for their turn, and has each answered, in order', () => {
    const stage = new Stage()
    const count = 1000
    const talker = new Talker(stage, 4, count, (packetId) =>
      encodePacket(
        {
          type: 'subscribe',
          packetId,
          subscriptions: [
            { filter: `${'x'.repeat(1000)}/${packetId % 20}`, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
          ],
        },
        4,
      ),
    )
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    const heal = stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs: 400, lossProbability: 0 })
    talker.talk()
    talker.listen()
    stage.run(5000)
    expect(talker.sent).toBeLessThan(count)
    heal()
    stage.until(() => talker.received.length === count, 'every SUBACK', 120_000)
    expect(talker.received.map((packet) => packet.type === 'suback' && packet.packetId)).toEqual(
      Array.from({ length: count }, (_, index) => index + 1),
    )
  })

  test('by SUBSCRIBEs that are all refused has them answered, however many they are', () => {
    const stage = new Stage()
    const first = encodePacket({ type: 'unsubscribe', packetId: 1, filters: ['none'] }, 4)
    const refused = (packetId: number) =>
      encodePacket(
        {
          type: 'subscribe',
          packetId,
          subscriptions: [
            { filter: packetId === 2 ? 'a' : '$share/g', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 },
          ],
        },
        4,
      )
    const talker = new Talker(stage, 4, 20_000, (count) => (count === 1 ? first : refused(count)))
    const volumes = stage.plan.machines.filter((machine) => machine.role === 'volume').map((machine) => machine.name)
    stage.apply({ kind: 'link', from: stage.brokers, to: volumes, addedLatencyMs: 400, lossProbability: 0 })
    talker.talk()
    talker.listen()
    stage.until(() => talker.received.length === 20_000, 'every answer', 60_000)
    expect(talker.isClosed).toBe(false)
  })
})
