/**
 * The strict MQTT codec of the service: cuts a byte stream into frames, decodes each and refuses what the standard does not allow; and encodes packets.
 *
 * Promises: the verdict does not depend on how the bytes were cut; nothing throws on any input; no more is kept of an unfinished frame than came of it,
 * twice over, and never more than the maximum packet size; time grows linearly with bytes. Byte fields of a packet are views of the chunk, or of the
 * frame put together from several. What needs a session or a policy to judge is left to the caller: see `mqtt-decode.ts`.
 */
import { Cursor } from './mqtt-cursor.ts'
import { decodePacket } from './mqtt-decode.ts'
import { type Malformed, rules } from './mqtt-rules.ts'
import type { Packet, ProtocolVersion } from './packets.ts'
import type { Role } from './reason-codes.ts'

export { encodeAcknowledgement, encodePacket, encodePublish } from './mqtt-encode.ts'
export type { Malformed } from './mqtt-rules.ts'

export interface PacketSink {
  onPacket(packet: Packet): void
  /** The last call: after one bad frame nothing behind it can be trusted. */
  onMalformed(problem: Malformed): void
}

const PUBLISH = 3
const serverReceives = [1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15]
const clientReceives = [2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15]
const flagRules: Readonly<Record<number, Malformed>> = {
  6: rules.pubrelFlags,
  8: rules.subscribeFlags,
  10: rules.unsubscribeFlags,
  14: rules.disconnectFlags,
  15: rules.authFlags,
}

function firstByteFlaw(firstByte: number, receiver: Role, version: ProtocolVersion | undefined): Malformed | undefined {
  const type = firstByte >> 4
  const flags = firstByte & 0x0f
  // The flags of CONNECT are judged with its body: what they may be depends on the version.
  if (version === undefined) return type === 1 ? undefined : rules.notConnect
  if (type === 0 || (type === 15 && version !== 5)) return rules.reservedType
  return flagsFlaw(type, flags, version) ?? directionFlaw(type, receiver, version)
}

function flagsFlaw(type: number, flags: number, version: ProtocolVersion): Malformed | undefined {
  if (type === PUBLISH) {
    if ((flags & 0x06) === 0x06) return rules.qos3
    return (flags & 0x0e) === 0x08 ? rules.dupQos0 : undefined
  }
  // MQTT 3.1 says of the flags of other packets that they are not used, or, of those with flags 0010, that DUP may be set.
  if (type === 1 || version === 3) return undefined
  const listed = type === 6 || type === 8 || type === 10 ? 0x02 : 0x00
  return flags === listed ? undefined : (flagRules[type] ?? rules.reservedFlags)
}

function directionFlaw(type: number, receiver: Role, version: ProtocolVersion): Malformed | undefined {
  if (!(receiver === 'server' ? serverReceives : clientReceives).includes(type)) return rules.wrongDirection
  // In 3.x only the client disconnects by a packet.
  return type === 14 && version !== 5 && receiver === 'client' ? rules.wrongDirection : undefined
}

type FirstByteTable = readonly (Malformed | undefined)[]

/** For each receiver and version, what is wrong with each first byte. */
const firstByteTables = new Map<string, FirstByteTable>()

function firstByteTable(receiver: Role, version: ProtocolVersion | undefined): FirstByteTable {
  const key = `${receiver} ${version}`
  let table = firstByteTables.get(key)
  if (table === undefined) {
    table = Array.from({ length: 256 }, (_, firstByte) => firstByteFlaw(firstByte, receiver, version))
    firstByteTables.set(key, table)
  }
  return table
}

const NO_BYTES = Buffer.alloc(0)

/** One for all readers: a packet is decoded without a break. */
const cursor = new Cursor()
const LONGEST_HEADER = 5
/** An unfinished frame gets room for itself at once up to this size; a larger one as its bytes come. */
const FRAME_ROOM_BYTES = 2048

interface PacketReaderOptions {
  /** Whose side this is: the other side's packets are read. */
  readonly receiver: Role
  readonly maximumPacketBytes: number
  /** For a client: what it said in CONNECT. A server learns it. */
  readonly version?: ProtocolVersion
}

export class PacketReader {
  /** On a server undefined until a CONNECT was read. */
  version: ProtocolVersion | undefined
  private readonly receiver: Role
  private readonly maximumPacketBytes: number
  private firstBytes: FirstByteTable
  private state: 'reading' | 'stopped' = 'reading'
  /** What came of a frame that is not whole yet: the first `heldBytes` of `held`. */
  private held = NO_BYTES
  private heldBytes = 0
  /** The whole length of that frame, once its header is there. */
  private frameBytes = 0
  private headerBytes = 0

  constructor(options: PacketReaderOptions) {
    this.receiver = options.receiver
    this.maximumPacketBytes = options.maximumPacketBytes
    this.version = options.version
    this.firstBytes = firstByteTable(options.receiver, options.version)
  }

  /** No callback any more, also when called from inside one. What is held is let go. */
  stop(): void {
    this.state = 'stopped'
    this.held = NO_BYTES
    this.heldBytes = 0
  }

  /** Takes the next bytes of the stream and tells `sink` of each packet that they complete. The bytes are never written to again. */
  read(chunk: Buffer, sink: PacketSink): void {
    if (this.state === 'stopped') return
    let at = this.heldBytes > 0 ? this.completeHeld(chunk, sink) : 0
    while (at < chunk.length && this.isReading()) {
      if (!this.readHeader(chunk, at, chunk.length, sink)) return
      const end = at + this.frameBytes
      if (this.frameBytes === 0 || end > chunk.length) {
        this.hold(chunk, at)
        break
      }
      this.finish(chunk, at, end, sink)
      at = end
    }
  }

  /** A call, since the state changes behind the back of a loop that calls a sink. */
  private isReading(): boolean {
    return this.state === 'reading'
  }

  /**
   * Reads the fixed header at `start` as far as it is there, and sets `frameBytes` (0 when it is not whole) and `headerBytes`.
   * @returns false when it is refused
   */
  private readHeader(bytes: Buffer, start: number, available: number, sink: PacketSink): boolean {
    this.frameBytes = 0
    const firstByte = bytes[start]!
    const flaw = this.firstBytes[firstByte]
    if (flaw !== undefined) return this.refuse(flaw, sink)
    let remaining = 0
    for (let i = 1; i < LONGEST_HEADER; i++) {
      if (start + i >= available) return true
      const byte = bytes[start + i]!
      remaining |= (byte & 0x7f) << (7 * (i - 1))
      if (byte >= 0x80) continue
      if (byte === 0 && i > 1) return this.refuse(rules.lengthNotMinimal, sink)
      this.headerBytes = i + 1
      this.frameBytes = i + 1 + remaining
      if (this.frameBytes <= this.maximumPacketBytes) return true
      return this.refuse(this.receiver === 'server' ? rules.tooLargeForServer : rules.tooLargeForClient, sink)
    }
    return this.refuse(rules.lengthTooLong, sink)
  }

  private refuse(flaw: Malformed, sink: PacketSink): false {
    this.stop()
    sink.onMalformed(flaw)
    return false
  }

  /** Decodes the frame of `bytes[start, end)` and hands it over. */
  private finish(bytes: Buffer, start: number, end: number, sink: PacketSink): void {
    cursor.begin(bytes, start + this.headerBytes, end)
    const packet = decodePacket(cursor, bytes[start]!, this.version, this.receiver)
    if (packet === undefined) {
      this.refuse(cursor.flaw!, sink)
      return
    }
    if (packet.type === 'connect' && this.version === undefined) {
      this.version = packet.version
      this.firstBytes = firstByteTable(this.receiver, packet.version)
    }
    sink.onPacket(packet)
  }

  /** Keeps the end of a chunk, in which a frame begins. */
  private hold(chunk: Buffer, from: number): void {
    const bytes = chunk.length - from
    const wanted = this.frameBytes === 0 ? LONGEST_HEADER : Math.min(this.frameBytes, Math.max(FRAME_ROOM_BYTES, 2 * bytes))
    this.held = Buffer.allocUnsafe(wanted)
    chunk.copy(this.held, 0, from)
    this.heldBytes = bytes
  }

  /** Adds to the frame that is held, and hands it over if it is whole. @returns how much of the chunk was used */
  private completeHeld(chunk: Buffer, sink: PacketSink): number {
    let used = 0
    // A header that is not whole has room for five bytes, and is read again with each: at most four times.
    while (this.frameBytes === 0) {
      if (used === chunk.length) return used
      this.held[this.heldBytes] = chunk[used]!
      this.heldBytes += 1
      used += 1
      if (!this.readHeader(this.held, 0, this.heldBytes, sink)) return used
    }
    const taken = Math.min(this.frameBytes - this.heldBytes, chunk.length - used)
    this.makeRoom(this.heldBytes + taken)
    chunk.copy(this.held, this.heldBytes, used, used + taken)
    this.heldBytes += taken
    used += taken
    if (this.heldBytes < this.frameBytes) return used
    const frame = this.held
    const end = this.frameBytes
    this.held = NO_BYTES
    this.heldBytes = 0
    this.finish(frame, 0, end, sink)
    return used
  }

  /** Doubles the room, so that many small chunks are copied twice at most on the whole; never beyond the frame. */
  private makeRoom(bytes: number): void {
    if (bytes <= this.held.length) return
    const larger = Buffer.allocUnsafe(Math.min(this.frameBytes, Math.max(FRAME_ROOM_BYTES, 2 * bytes)))
    this.held.copy(larger, 0, 0, this.heldBytes)
    this.held = larger
  }
}
