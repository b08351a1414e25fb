/** Feeds the checks with many messages as fast as bytes can be made: each published, acknowledged, delivered and acknowledged again, with a gap now and then. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { encodePayload } from './payload.ts'
import { clients, Stage, type StageConnection } from './stage.test-support.ts'

const PUBLISHERS = 50
/** Every so many messages one is neither acknowledged nor delivered. */
const GAP_EVERY = 10_000

function publishBytes(topic: Buffer, publisher: number, sequence: number, packetId: number): Buffer {
  const payload = encodePayload(publisher, sequence, 32)
  const remaining = 2 + topic.length + 2 + payload.length
  const bytes = Buffer.allocUnsafe(2 + remaining)
  bytes[0] = 0x32
  bytes[1] = remaining
  bytes.writeUInt16BE(topic.length, 2)
  topic.copy(bytes, 4)
  bytes.writeUInt16BE(packetId, 4 + topic.length)
  payload.copy(bytes, 6 + topic.length)
  return bytes
}

export class Flood {
  readonly stage = new Stage(clients(PUBLISHERS + 1))
  private readonly publishers: StageConnection[] = []
  private readonly topics: Buffer[] = []
  private readonly subscriber: StageConnection
  private sent = 0

  constructor() {
    this.subscriber = this.stage.connected(PUBLISHERS)
    this.subscriber.subscribe('data/#')
    for (let n = 0; n < PUBLISHERS; n++) {
      this.publishers.push(this.stage.connected(n))
      this.topics.push(Buffer.from(`data/${n}`))
    }
  }

  /** Sends messages until `total` were sent since the beginning. */
  until(total: number): void {
    const sockets = this.stage.checks.sockets
    for (; this.sent < total; this.sent++) {
      const n = this.sent % PUBLISHERS
      const sequence = Math.floor(this.sent / PUBLISHERS)
      const packetId = (sequence % 60_000) + 1
      this.stage.nowMs = Math.floor(this.sent / 3)
      const bytes = publishBytes(this.topics[n]!, n, sequence, packetId)
      sockets.onSent(this.publishers[n]!.id, bytes, this.stage.nowUs)
      if (this.sent % GAP_EVERY === GAP_EVERY - 1) continue
      const acknowledgement = Buffer.from([0x40, 2, packetId >> 8, packetId & 0xff])
      sockets.onReceived(this.publishers[n]!.id, acknowledgement, this.stage.nowUs, this.stage.nowUs)
      // One identifier space for all publishers at the subscriber; each is free again at once.
      sockets.onReceived(this.subscriber.id, bytes, this.stage.nowUs, this.stage.nowUs)
      sockets.onSent(this.subscriber.id, acknowledgement, this.stage.nowUs)
    }
  }
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes on the heap after a collection. */
export function heapBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}
