/**
 * The witnesses' own MQTT decoder: raw bytes of one direction of a connection in, packets out. It shares nothing with the service's codec.
 *
 * Frames are cut here. PUBLISH, its acknowledgements and the pings are decoded in an own walk, since a run is made of them; every other kind goes, as one
 * whole frame, to a parser of `mqtt-packet`, which all connections of a version share: a parser holds nothing between whole frames.
 * A stream that is malformed is dead: it is reported once, with the statement of the MQTT 5 standard, and nothing after it is read.
 * Left out: that every string is well-formed UTF-8, and the strict checks of cold packets that `mqtt-packet` does not do.
 */
import mqttPacket, { type Packet, type Parser } from 'mqtt-packet'

export type AcknowledgementKind = 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'

/** One PUBLISH. The decoder has but one of these: what is to be kept is copied out before returning. */
export class PublishFrame {
  topic = ''
  /** 0 where there is none. */
  topicAlias = 0
  qos = 0
  dup = false
  retain = false
  packetId = 0
  /** Message Expiry Interval, or -1 where there is none. */
  expirySeconds = -1
  /** Subscription identifiers; one list for all, and only the first `identifierCount` of it count. */
  readonly identifiers: number[] = []
  identifierCount = 0
  /** Holds the payload from `payloadStart` to `payloadEnd`. */
  bytes: Buffer = Buffer.alloc(0)
  payloadStart = 0
  payloadEnd = 0
  /** Size of the whole packet. */
  frameBytes = 0
}

export interface FrameSink {
  onPublish(frame: PublishFrame): void
  onAcknowledgement(kind: AcknowledgementKind, packetId: number, reasonCode: number, frameBytes: number): void
  onPing(kind: 'pingreq' | 'pingresp'): void
  /** Any other packet. */
  onPacket(packet: Packet, frameBytes: number): void
  onMalformed(statement: string, text: string): void
}

/** Who states the protocol version of a stream: 0 until CONNECT was seen. */
export interface Versioned {
  readonly version: number
}

/** The bytes of a frame that has not arrived whole. */
export interface PendingBytes {
  readonly chunks: Buffer[]
  bytes: number
  /** When the other end wrote the first of them. */
  readonly sentAtUs: number
}

/** In place of pending bytes: the stream was malformed, nothing more is read. */
export const DEAD_STREAM: PendingBytes = { chunks: [], bytes: 0, sentAtUs: 0 }

const PUBLISH = 3
const acknowledgementKinds: readonly (AcknowledgementKind | undefined)[] = [
  undefined,
  undefined,
  undefined,
  undefined,
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
]
/** Table 2-2: the flags that every kind of packet but PUBLISH must have [MQTT-2.1.3-1]. */
const requiredFlags = [0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0]

/** Tables 3-4 to 3-7: the reason codes besides 0 that PUBACK and PUBREC, and PUBREL and PUBCOMP, may have. */
const publishReasons: readonly number[] = [0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
const releaseReasons: readonly number[] = [0x92]

interface Malformed {
  readonly statement: string
  readonly text: string
}

const malformedPublishProperties: Malformed = { statement: 'MQTT-2.2.2-1', text: 'PUBLISH whose properties do not fit their length' }

export class Decoder {
  /** When the other end wrote the first byte of the packet at hand. */
  frameSentAtUs = 0
  private readonly publish = new PublishFrame()
  private readonly parsers = new Map<number, Parser>()
  private parsed: Packet | undefined = undefined
  private parseError: string | undefined = undefined
  private propertiesEnd = 0

  /** Reads `chunk` behind what was pending, tells `sink` of every whole packet, and returns what is pending then. */
  decode(pending: PendingBytes | undefined, chunk: Buffer, sentAtUs: number, stream: Versioned, sink: FrameSink): PendingBytes | undefined {
    if (pending === DEAD_STREAM) return pending
    let bytes = chunk
    this.frameSentAtUs = sentAtUs
    if (pending !== undefined) {
      pending.chunks.push(chunk)
      pending.bytes += chunk.length
      // Joined only when a frame is whole, or while the header that says so is short: many small chunks of a large packet must not turn quadratic.
      if (pending.bytes > 16 && pending.bytes < announcedBytes(pending.chunks)) return pending
      bytes = Buffer.concat(pending.chunks, pending.bytes)
      this.frameSentAtUs = pending.sentAtUs
    }
    let at = 0
    while (at < bytes.length) {
      // Fixed header: type and flags, then the remaining length in one to four bytes.
      let position = at + 1
      let remaining = 0
      let shift = 0
      let whole = false
      while (position < bytes.length && shift < 28) {
        const byte = bytes[position++]!
        remaining += (byte & 0x7f) * (1 << shift)
        shift += 7
        if (byte < 0x80) {
          whole = true
          break
        }
      }
      if (!whole) {
        if (shift >= 28) {
          sink.onMalformed('MQTT-1.5.5-1', 'a remaining length of more than four bytes')
          return DEAD_STREAM
        }
        break
      }
      const end = position + remaining
      if (end > bytes.length) break
      const malformed = this.frame(bytes, at, position, end, stream.version, sink)
      if (malformed !== undefined) {
        sink.onMalformed(malformed.statement, malformed.text)
        return DEAD_STREAM
      }
      at = end
      this.frameSentAtUs = sentAtUs
    }
    if (at === bytes.length) return undefined
    const rest = bytes.subarray(at)
    return { chunks: [rest], bytes: rest.length, sentAtUs: this.frameSentAtUs }
  }

  private frame(bytes: Buffer, start: number, body: number, end: number, version: number, sink: FrameSink): Malformed | undefined {
    const head = bytes[start]!
    const type = head >> 4
    if (type === PUBLISH) return this.publishFrame(bytes, start, body, end, version, sink)
    if ((head & 0x0f) !== requiredFlags[type])
      return { statement: 'MQTT-2.1.3-1', text: `a packet of type ${type} with flags ${head & 0x0f}` }
    const kind = acknowledgementKinds[type]
    if (kind !== undefined) return acknowledgementFrame(kind, bytes, start, body, end, version, sink)
    if (type === 12 || type === 13) {
      if (end !== body) return { statement: 'MQTT-2.1.4', text: 'a ping packet with a payload' }
      sink.onPing(type === 12 ? 'pingreq' : 'pingresp')
      return undefined
    }
    return this.coldFrame(bytes.subarray(start, end), type, version, sink)
  }

  private publishFrame(bytes: Buffer, start: number, body: number, end: number, version: number, sink: FrameSink): Malformed | undefined {
    const head = bytes[start]!
    const frame = this.publish
    frame.qos = (head >> 1) & 3
    frame.dup = (head & 8) !== 0
    frame.retain = (head & 1) !== 0
    if (frame.qos === 3) return { statement: 'MQTT-3.3.1-4', text: 'PUBLISH with both QoS bits set' }
    if (frame.dup && frame.qos === 0) return { statement: 'MQTT-3.3.1-2', text: 'PUBLISH with QoS 0 and DUP' }
    const topicEnd = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!)
    let at = topicEnd
    if (frame.qos > 0) {
      if (at + 2 > end) return { statement: 'MQTT-3.3.2-1', text: 'PUBLISH that ends within its header' }
      frame.packetId = (bytes[at]! << 8) | bytes[at + 1]!
      if (frame.packetId === 0) return { statement: 'MQTT-2.2.1-4', text: 'PUBLISH with packet identifier 0' }
      at += 2
    } else frame.packetId = 0
    frame.topicAlias = 0
    frame.expirySeconds = -1
    frame.identifierCount = 0
    // Not `at > end` alone: a body shorter than its two length bytes reads undefined, which makes the sums NaN.
    if (!(at <= end)) return { statement: 'MQTT-3.3.2-1', text: 'PUBLISH that ends within its header' }
    if (version === 5) {
      if (!this.publishProperties(bytes, at, end)) return malformedPublishProperties
      at = this.propertiesEnd
    }
    frame.topic = bytes.toString('utf8', body + 2, topicEnd)
    if (frame.topic === '' && frame.topicAlias === 0) return { statement: 'MQTT-4.7.3-1', text: 'PUBLISH with an empty topic name' }
    for (let i = body + 2; i < topicEnd; i++) {
      const code = bytes[i]!
      if (code === 0x23 || code === 0x2b)
        return { statement: 'MQTT-3.3.2-2', text: `PUBLISH with a wildcard in its topic name '${frame.topic}'` }
      if (code === 0) return { statement: 'MQTT-1.5.4-2', text: 'PUBLISH with U+0000 in its topic name' }
    }
    frame.bytes = bytes
    frame.payloadStart = at
    frame.payloadEnd = end
    frame.frameBytes = end - start
    sink.onPublish(frame)
    return undefined
  }

  /** Walks the properties that PUBLISH may have (table 2-4), sets the alias, the expiry, the identifiers and `propertiesEnd`; false when they are malformed. */
  private publishProperties(bytes: Buffer, start: number, end: number): boolean {
    let at = start
    const length = readVariable(bytes, at, end)
    if (length < 0) return false
    at += variableBytes(length)
    const last = at + length
    if (last > end) return false
    this.propertiesEnd = last
    while (at < last) {
      const id = bytes[at++]!
      if (id === 0x01) at += 1
      else if (id === 0x02) {
        if (at + 4 > last) return false
        this.publish.expirySeconds = bytes.readUInt32BE(at)
        at += 4
      } else if (id === 0x23) {
        this.publish.topicAlias = (bytes[at]! << 8) | bytes[at + 1]!
        if (this.publish.topicAlias === 0) return false
        at += 2
      } else if (id === 0x0b) {
        const value = readVariable(bytes, at, last)
        if (value <= 0) return false
        this.publish.identifiers[this.publish.identifierCount++] = value
        at += variableBytes(value)
      } else if (id === 0x03 || id === 0x08 || id === 0x09) at += 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
      else if (id === 0x26) {
        at += 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
        at += 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
      } else return false
    }
    return at === last
  }

  private coldFrame(frame: Buffer, type: number, version: number, sink: FrameSink): Malformed | undefined {
    // CONNECT states its version itself, and a parser that has read one keeps it: it gets a parser of its own.
    const key = type === 1 ? 0 : version
    let parser = this.parsers.get(key)
    if (parser === undefined) {
      parser = mqttPacket.parser(key === 0 ? {} : { protocolVersion: version })
      parser.on('packet', (packet) => {
        this.parsed = packet
      })
      parser.on('error', (error: Error) => {
        this.parseError = error.message
      })
      this.parsers.set(key, parser)
    }
    this.parsed = undefined
    this.parseError = undefined
    let rest = 0
    try {
      rest = parser.parse(frame)
    } catch (error) {
      // Some malformed packets make mqtt-packet throw a RangeError instead of reporting.
      this.parseError = String(error)
    }
    const packet = this.parsed as Packet | undefined
    const parseError = this.parseError as string | undefined
    if (parseError !== undefined || packet === undefined || rest !== 0) {
      this.parsers.delete(key)
      return {
        statement: 'MQTT-4.13.1-1',
        text: `a packet of type ${type} that cannot be parsed: ${parseError ?? 'its length does not fit'}`,
      }
    }
    sink.onPacket(packet, frame.length)
    return undefined
  }
}

function acknowledgementFrame(
  kind: AcknowledgementKind,
  bytes: Buffer,
  start: number,
  body: number,
  end: number,
  version: number,
  sink: FrameSink,
): Malformed | undefined {
  const length = end - body
  if (length < 2 || (version !== 5 && length !== 2)) return { statement: 'MQTT-2.2.1-5', text: `${kind} of ${length} bytes` }
  const packetId = (bytes[body]! << 8) | bytes[body + 1]!
  if (packetId === 0) return { statement: 'MQTT-2.2.1-5', text: `${kind} with packet identifier 0` }
  const reasonCode = length >= 3 ? bytes[body + 2]! : 0
  if (reasonCode !== 0) {
    const known = kind === 'puback' || kind === 'pubrec' ? publishReasons : releaseReasons
    if (!known.includes(reasonCode)) return { statement: 'MQTT-3.4.2-1', text: `${kind} with unknown reason code ${reasonCode}` }
  }
  if (length >= 4) {
    const properties = readVariable(bytes, body + 3, end)
    if (properties < 0 || body + 3 + variableBytes(properties) + properties !== end) {
      return { statement: 'MQTT-2.2.2-1', text: `${kind} whose properties do not fit their length` }
    }
  }
  sink.onAcknowledgement(kind, packetId, reasonCode, end - start)
  return undefined
}

/** A variable byte integer, or -1 where it is cut off or longer than four bytes. */
function readVariable(bytes: Buffer, start: number, end: number): number {
  let value = 0
  for (let i = 0; i < 4; i++) {
    if (start + i >= end) return -1
    const byte = bytes[start + i]!
    value += (byte & 0x7f) * (1 << (7 * i))
    if (byte < 0x80) return value
  }
  return -1
}

function variableBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4
}

/** How long the frame at the start of these chunks will be, header included; 0 while the header is not whole. */
function announcedBytes(chunks: readonly Buffer[]): number {
  let remaining = 0
  let index = 0
  for (let c = 0; c < chunks.length; c++) {
    const chunk = chunks[c]!
    for (let i = 0; i < chunk.length; i++) {
      if (index > 0) {
        remaining += (chunk[i]! & 0x7f) * (1 << (7 * (index - 1)))
        if (chunk[i]! < 0x80) return remaining + index + 1
        if (index === 4) return 0
      }
      index++
    }
  }
  return 0
}
