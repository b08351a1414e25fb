/**
 * Frames of internal calls: length (4), version (1), message number (1), request id (4), body. A frame that does not decode to the last byte,
 * announces more than `MAXIMUM_FRAME_BYTES`, or speaks another version is rejected, and the connection with it: after one wrong byte no later one can be trusted.
 */
import { type Field, Reader, record, Writer } from './codec.ts'
import { hotBodies } from './hot-bodies.ts'
import { type Message, type MessageName, messages } from './messages.ts'

export const FRAME_VERSION = 1
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

/** @param requestId 0 for a notice; a reply carries its request's. */
export function encodeFrame(requestId: number, message: Message): Buffer {
  const shape = shapeOf.get(message.name)!
  writer.begin()
  writer.u32(0)
  writer.u8(FRAME_VERSION)
  writer.u8(shape.number)
  writer.u32(requestId)
  shape.body.write(writer, message)
  writer.patchU32(0, writer.length - 4)
  return writer.finish()
}

export type FrameError = 'too-long' | 'too-short' | 'wrong-version' | 'unknown-message' | 'malformed'

export interface FrameSink {
  onFrame(requestId: number, message: Message): void
}

/** Cuts a byte stream into frames, whatever its chunks. One for each connection. */
export class FrameReader {
  /** Chunks of a frame that is not whole, put together once it is: joining at each chunk would copy a large frame again and again. */
  private held: Buffer[] = []
  private heldBytes = 0
  private neededBytes = 0

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
      const reader = new Reader(bytes, at + 4, end)
      if (reader.u8() !== FRAME_VERSION) return 'wrong-version'
      const shape = shapes[reader.u8()]
      if (shape === undefined) return 'unknown-message'
      const requestId = reader.u32()
      const message = shape.body.read(reader)
      if (!reader.complete()) return 'malformed'
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
