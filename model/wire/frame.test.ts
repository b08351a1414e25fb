import fc, { type Arbitrary, type GeneratorValue } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Field, Reader, record, Writer } from './codec.ts'
import { encodeFrame, FRAME_VERSION, type FrameError, FrameReader, MAXIMUM_FRAME_BYTES } from './frame.ts'
import { hotBodies, storedMessage } from './hot-bodies.ts'
import { type Message, type MessageName, messages, storedMessageField } from './messages.ts'

const byte = fc.nat(0xff)
const short = fc.nat(0xffff)
/** Small ones too, since a list reads its count as a u32. */
const word = fc.oneof(fc.nat(3), fc.nat(0xffff_ffff))
const long = fc.oneof(fc.nat(1000), fc.maxSafeNat())
const text = fc.string({ unit: 'binary', maxLength: 10 })
const buffer = fc.uint8Array({ maxLength: 30 }).map((some) => Buffer.from(some))
const arbitraries = { byte, short, word, long, text, buffer }

/**
 * Stands in for a `Reader` and answers each read with an arbitrary value, so that reading a field of the table yields an arbitrary value of it, whatever fields the
 * table may come to hold. Where a field finds an answer impossible (a word that is not in its list, a count beyond what remains) it makes the best of it.
 */
class InventingReader {
  malformed = false
  readonly remaining = 3
  private readonly generate: GeneratorValue

  constructor(generate: GeneratorValue) {
    this.generate = generate
  }

  private invent<K extends keyof typeof arbitraries>(kind: K): (typeof arbitraries)[K] extends Arbitrary<infer T> ? T : never {
    this.malformed = false
    return this.generate(() => arbitraries[kind] as Arbitrary<never>)
  }

  u8 = (): number => this.invent('byte')
  u16 = (): number => this.invent('short')
  u32 = (): number => this.invent('word')
  u53 = (): number => this.invent('long')
  utf8 = (): string => this.invent('text')
  bytes = (): Buffer => this.invent('buffer')

  fail(): void {
    this.malformed = true
  }
}

const names = Object.keys(messages) as MessageName[]

function invented(name: MessageName, generate: GeneratorValue): Message {
  const body = record(messages[name].body as Parameters<typeof record>[0]).read(new InventingReader(generate) as unknown as Reader)
  return { name, ...body } as Message
}

interface Framed {
  readonly requestId: number
  readonly message: Message
}

describe('a body that is written and read by hand', () => {
  const bytesOf = <T>(field: Field<T>, value: T): Buffer => {
    const writer = new Writer().begin()
    field.write(writer, value)
    return writer.finish()
  }

  /** Of whatever value the table can say, and of bytes that are wrong: both find the same amiss. */
  const same = <T>(byHand: Field<T>, byTable: Field<T>): void => {
    fc.assert(
      fc.property(fc.gen(), fc.nat(), fc.nat(0xff), (generate, place, byte) => {
        const value = byTable.read(new InventingReader(generate) as unknown as Reader)
        const bytes = bytesOf(byTable, value)
        expect(bytesOf(byHand, value)).toEqual(bytes)
        expect(byHand.read(new Reader(bytes))).toEqual(value)
        const wrong = Buffer.from(bytes)
        wrong[place % bytes.length] = byte
        for (const buffer of [wrong, bytes.subarray(0, place % bytes.length)]) {
          const [hand, table] = [new Reader(buffer), new Reader(buffer)]
          expect(byHand.read(hand)).toEqual(byTable.read(table))
          expect([hand.malformed, hand.complete()]).toEqual([table.malformed, table.complete()])
        }
      }),
    )
  }

  test.each(Object.keys(hotBodies) as (keyof typeof hotBodies)[])(
    '%s: is byte for byte, and value for value, that of the table',
    (name) => {
      const body = record(messages[name].body as Parameters<typeof record>[0]) as unknown as Field<Message>
      same(hotBodies[name] as unknown as Field<Message>, {
        write: body.write,
        read: (reader) => ({ ...body.read(reader), name }) as Message,
      })
    },
  )

  test('a stored message: is byte for byte, and value for value, that of the table', () => {
    same(storedMessage, storedMessageField)
  })
})

const someFrames: Arbitrary<readonly Framed[]> = fc
  .tuple(fc.gen(), fc.array(fc.tuple(fc.constantFrom(...names), fc.nat(0xffff_ffff)), { minLength: 1, maxLength: 4 }))
  .map(([generate, heads]) => heads.map(([name, requestId]) => ({ requestId, message: invented(name, generate) })))

const encoded = (frames: readonly Framed[]): Buffer =>
  Buffer.concat(frames.map(({ requestId, message }) => encodeFrame(requestId, message)))

function read(chunks: readonly Buffer[]): { readonly frames: Framed[]; readonly error: FrameError | undefined } {
  const reader = new FrameReader()
  const frames: Framed[] = []
  for (const chunk of chunks) {
    const error = reader.read(chunk, { onFrame: (requestId, message) => frames.push({ requestId, message }) })
    if (error !== undefined) return { frames, error }
  }
  return { frames, error: undefined }
}

function cutInto(bytes: Buffer, places: readonly number[]): Buffer[] {
  const cuts = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b)
  return [...cuts, bytes.length].map((cut, i) => bytes.subarray(i === 0 ? 0 : cuts[i - 1], cut))
}

const oneByOne = (bytes: Buffer): Buffer[] => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))

describe('messages', () => {
  test.each(names)('%s comes back as it was', (name) => {
    fc.assert(
      fc.property(fc.gen(), fc.nat(0xffff_ffff), (generate, requestId) => {
        const message = invented(name, generate)
        expect(read([encodeFrame(requestId, message)])).toEqual({ frames: [{ requestId, message }], error: undefined })
      }),
      { numRuns: 25 },
    )
  })

  test('the inventions reach every word of a list, absent and present, empty lists and full ones', () => {
    const seen = new Set<string>()
    fc.assert(
      fc.property(fc.gen(), (generate) => {
        const message = invented('volumePrepared', generate) as Extract<Message, { name: 'volumePrepared' }>
        seen.add(message.outcome)
        seen.add(message.epochs.length === 0 ? 'no epochs' : 'epochs')
      }),
      { numRuns: 1000 },
    )
    expect([...seen].sort()).toEqual(['epochs', 'failed', 'no epochs', 'promised', 'refused'])
  })

  test('every number is used once and fits its byte', () => {
    const numbers = Object.values(messages).map((entry) => entry.number)
    expect(new Set(numbers).size).toBe(numbers.length)
    for (const number of numbers) expect(number).toBeLessThanOrEqual(0xff)
  })
})

describe('frames', () => {
  test('are the same for any chunks', () => {
    fc.assert(
      fc.property(someFrames, fc.array(fc.nat(2000), { maxLength: 6 }), (frames, places) => {
        const bytes = encoded(frames)
        expect(read(cutInto(bytes, places))).toEqual({ frames, error: undefined })
        expect(read(oneByOne(bytes))).toEqual({ frames, error: undefined })
      }),
      { numRuns: 150 },
    )
  })

  test('of random and of damaged bytes never throw, end, and get the same verdict for any chunks', () => {
    const damaged = fc
      .tuple(someFrames, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }), fc.nat(20))
      .map(([frames, changes, missing]) => {
        const bytes = encoded(frames)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        return bytes.subarray(0, Math.max(0, bytes.length - missing))
      })
    const random = fc.uint8Array({ maxLength: 60 }).map((some) => Buffer.concat([Buffer.from([0, 0, 0, some.length, FRAME_VERSION]), some]))
    fc.assert(
      fc.property(
        fc.oneof({ weight: 3, arbitrary: damaged }, { weight: 1, arbitrary: random }),
        fc.array(fc.nat(2000), { maxLength: 6 }),
        (bytes, places) => {
          const whole = read([bytes])
          expect(read(cutInto(bytes, places))).toEqual(whole)
          expect(read(oneByOne(bytes))).toEqual(whole)
        },
      ),
      { numRuns: 500 },
    )
  })

  const pong = encodeFrame(7, { name: 'pong', grantMs: 1, serving: [{ shard: 2, epoch: 9 }] })

  function changedPong(change: (bytes: Buffer) => void): Buffer {
    const bytes = Buffer.from(pong)
    change(bytes)
    return bytes
  }

  test('have the layout that is written down', () => {
    expect(pong.toString('hex')).toBe('00000014' + '01' + '1f' + '00000007' + '00000001' + '00000001' + '0002' + '00000009')
  })

  test.each<[FrameError, string, Buffer]>([
    ['too-long', 'a length above the maximum', changedPong((bytes) => bytes.writeUInt32BE(MAXIMUM_FRAME_BYTES + 1, 0)).subarray(0, 4)],
    ['too-short', 'a length that leaves no room for the header', changedPong((bytes) => bytes.writeUInt32BE(5, 0))],
    ['wrong-version', 'a version two releases away', changedPong((bytes) => bytes.writeUInt8(3, 4))],
    ['wrong-version', 'no version at all', changedPong((bytes) => bytes.writeUInt8(0, 4))],
    ['unknown-message', 'a number that no message has', changedPong((bytes) => bytes.writeUInt8(0, 5))],
    ['malformed', 'a list longer than the frame', changedPong((bytes) => bytes.writeUInt32BE(2, 14))],
    ['malformed', 'bytes behind the last field', Buffer.concat([changedPong((bytes) => bytes.writeUInt32BE(21, 0)), Buffer.from([0])])],
  ])('%s: %s', (error, _name, bytes) => {
    expect(read([pong, bytes])).toEqual({
      frames: [{ requestId: 7, message: { name: 'pong', grantMs: 1, serving: [{ shard: 2, epoch: 9 }] } }],
      error,
    })
    expect(read(oneByOne(bytes)).error).toBe(error)
  })

  test('are understood by the version before and by the one after, and a checksum is looked at by who knows of it', () => {
    const message: Message = { name: 'pong', grantMs: 1, serving: [{ shard: 2, epoch: 9 }] }
    const readBy = (program: number, bytes: Buffer) => {
      const frames: Framed[] = []
      const error = new FrameReader(program).read(bytes, { onFrame: (requestId, read) => frames.push({ requestId, message: read }) })
      return error ?? frames
    }
    const whole = [
      { requestId: 7, message },
      { requestId: 8, message },
    ]
    const written = (program: number) => Buffer.concat([encodeFrame(7, message, program), encodeFrame(8, message, program)])
    for (const [writer, reader] of [1, 2, 3].flatMap((a) => [1, 2, 3].map((b) => [a, b] as const))) {
      expect([writer, reader, readBy(reader, written(writer))]).toEqual([writer, reader, whole])
    }
    expect(written(2).length - written(1).length).toBe(8)
    for (let at = 6; at < written(2).length / 2; at++) {
      const bytes = written(2)
      bytes[at]! ^= 1
      expect([at, readBy(2, bytes)]).toEqual([at, 'wrong-checksum'])
    }
    const noRoom = Buffer.from([0, 0, 0, 6, 2, 31, 0, 0, 0, 7])
    expect(readBy(2, noRoom)).toBe('wrong-checksum')
  })

  test('a frame announced and not sent takes no room', () => {
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 20 }, () => {
      const reader = new FrameReader()
      expect(
        reader.read(
          changedPong((bytes) => bytes.writeUInt32BE(MAXIMUM_FRAME_BYTES, 0)),
          { onFrame: () => undefined },
        ),
      ).toBeUndefined()
      return reader
    })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20)
    expect(readers).toHaveLength(20)
  })
})
