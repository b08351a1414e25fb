/**
 * Frames of internal calls: length (4), version (1), message number (1), request id (4), body, and from version 2 on a CRC-32C of all that the length counts before it (4).
 * A frame that does not decode to the last byte, announces more than `MAXIMUM_FRAME_BYTES`, or fails its checksum is rejected, and the connection with it: after one wrong byte
 * no later one can be trusted.
 *
 * A process speaks the version of its program (`Host.version`) and understands that, the one before and the one after, as they are side by side during a rolling upgrade. A version may add to the
 * end of a frame only, so that the one before takes what it knows and leaves the rest; what is further away is rejected.
 */
import { type Field, Reader, record, Writer } from './codec.ts'
import { crc32c } from './crc32.ts'
import { hotBodies } from './hot-bodies.ts'
import { type Message, type MessageName, messages } from './messages.ts'

export const FRAME_VERSION = 1
/** The highest that is written: programs of later versions than this have added nothing to frames. */
const LATEST_VERSION = 2
const CHECKED_SINCE = 2
const CHECKSUM_BYTES = 4
export const MAXIMUM_FRAME_BYTES = 16 << 20
const HEADER_BYTES = 10

interface Shape {
  readonly name: MessageName
  readonly number: number
  /** Of the message with its name, which is not on the wire. */
  readonly body: Field<Message>
}

function bodyOf(name: MessageName): Field<Message> {
  const hot = (hotBodies as Partial<Record<MessageName, unknown>>)[name]
  if (hot !== undefined) return hot as Field<Message>
  const body = record(messages[name].body as Parameters<typeof record>[0])
  return {
    write: (w, message) => body.write(w, message as never),
    read: (r) => {
      const message = body.read(r) as { name?: MessageName }
      message.name = name
      return message as Message
    },
  }
}

const shapes: (Shape | undefined)[] = []
const shapeOf = new Map<MessageName, Shape>()
for (const [name, entry] of Object.entries(messages)) {
  const shape: Shape = { name: name as MessageName, number: entry.number, body: bodyOf(name as MessageName) }
  if (shapes[entry.number] !== undefined) throw new Error(`message number ${entry.number} is given twice`)
  shapes[entry.number] = shape
  shapeOf.set(shape.name, shape)
}

const writer = new Writer()

/** What a program of this version writes. */
function spokenBy(programVersion: number): number {
  return Math.min(programVersion, LATEST_VERSION)
}

/**
 * @param requestId 0 for a notice; a reply carries its request's.
 * @param programVersion of who sends it
 */
export function encodeFrame(requestId: number, message: Message, programVersion = FRAME_VERSION): Buffer {
  const shape = shapeOf.get(message.name)!
  const version = spokenBy(programVersion)
  writer.begin()
  writer.u32(0)
  writer.u8(version)
  writer.u8(shape.number)
  writer.u32(requestId)
  shape.body.write(writer, message)
  if (version >= CHECKED_SINCE) writer.u32(crc32c(writer.view(4)))
  writer.patchU32(0, writer.length - 4)
  return writer.finish()
}

export type FrameError = 'too-long' | 'too-short' | 'wrong-version' | 'wrong-checksum' | 'unknown-message' | 'malformed'

export interface FrameSink {
  onFrame(requestId: number, message: Message): void
}

/** Cuts a byte stream into frames, whatever its chunks. One for each connection. */
export class FrameReader {
  /** Chunks of a frame that is not whole, put together once it is: joining at each chunk would copy a large frame again and again. */
  private held: Buffer[] = []
  private heldBytes = 0
  private neededBytes = 0
  private readonly version: number

  /** @param programVersion of who reads */
  constructor(programVersion = FRAME_VERSION) {
    this.version = spokenBy(programVersion)
  }

  /** Tells `sink` of each whole frame. @returns what was wrong with the first bad one, after which the stream is of no more use. */
  read(chunk: Buffer, sink: FrameSink): FrameError | undefined {
    const bytes = this.join(chunk)
    if (bytes === undefined) return undefined
    let at = 0
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at)
      if (length > MAXIMUM_FRAME_BYTES) return 'too-long'
      if (length < HEADER_BYTES - 4) return 'too-short'
      if (bytes.length - at - 4 < length) break
      const end = at + 4 + length
      const version = bytes[at + 4]!
      if (version === 0 || Math.abs(version - this.version) > 1) return 'wrong-version'
      const isChecked = version >= CHECKED_SINCE && version <= this.version
      const bodyEnd = isChecked ? end - CHECKSUM_BYTES : end
      if (isChecked && (length < HEADER_BYTES - 4 + CHECKSUM_BYTES || bytes.readUInt32BE(bodyEnd) !== crc32c(bytes, at + 4, bodyEnd)))
        return 'wrong-checksum'
      const reader = new Reader(bytes, at + 5, bodyEnd)
      const shape = shapes[reader.u8()]
      if (shape === undefined) return 'unknown-message'
      const requestId = reader.u32()
      const message = shape.body.read(reader)
      if (version > this.version ? reader.malformed : !reader.complete()) return 'malformed'
      sink.onFrame(requestId, message)
      at = end
    }
    if (at < bytes.length) this.hold(bytes, at)
    return undefined
  }

  /** @returns the bytes to read from, or undefined while the frame at hand is not whole. */
  private join(chunk: Buffer): Buffer | undefined {
    if (this.heldBytes === 0) return chunk
    this.held.push(chunk)
    this.heldBytes += chunk.length
    if (this.heldBytes < this.neededBytes) return undefined
    const bytes = Buffer.concat(this.held, this.heldBytes)
    this.held = []
    this.heldBytes = 0
    return bytes
  }

  private hold(bytes: Buffer, at: number): void {
    const rest = at === 0 ? bytes : bytes.subarray(at)
    this.held = [rest]
    this.heldBytes = rest.length
    this.neededBytes = rest.length < 4 ? 4 : 4 + rest.readUInt32BE(0)
  }
}
