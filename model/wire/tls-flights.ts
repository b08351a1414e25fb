/**
 * TLS as cost and round trips: the flights of a full handshake, one record each, of the size and in the order of the real ones, with nothing in them. One round trip with TLS 1.3
 * (RFC 8446, section 2), two with TLS 1.2 (RFC 5246, section 7.3). The first octet is the record type `handshake` (RFC 8446, section 5.1), which begins no MQTT packet, so that a listener can
 * tell the two apart; what follows the handshake is not encrypted.
 *
 * Left out: cryptography, certificates, resumption and alerts. A real ClientHello is not understood.
 */

export type TlsVersion = '1.2' | '1.3'

/** RFC 8446, section 5.1: ContentType handshake. CONNECT begins with 0x10. */
export const TLS_HANDSHAKE = 0x16

const HEADER_BYTES = 5

/** What both ends send in turn, the client first. Sizes are those of a chain of two ECDSA certificates, the client's ClientHello with its usual extensions. */
const sizes: Readonly<Record<TlsVersion, readonly number[]>> = {
  // ClientHello; ServerHello to Finished; Finished.
  '1.3': [517, 2300, 74],
  // ClientHello; ServerHello, Certificate, ServerKeyExchange, ServerHelloDone; ClientKeyExchange, ChangeCipherSpec, Finished; ChangeCipherSpec, Finished.
  '1.2': [220, 2200, 126, 51],
}

function flight(version: TlsVersion, index: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes[0] = TLS_HANDSHAKE
  // The version of the record layer (RFC 8446, section 5.1), then the length of what follows.
  bytes[1] = 3
  bytes[2] = 3
  bytes.writeUInt16BE(size - HEADER_BYTES, 3)
  bytes[HEADER_BYTES] = version === '1.3' ? 4 : 3
  bytes[HEADER_BYTES + 1] = index
  return bytes
}

const flights: Readonly<Record<TlsVersion, readonly Buffer[]>> = {
  '1.3': sizes['1.3'].map((size, index) => flight('1.3', index, size)),
  '1.2': sizes['1.2'].map((size, index) => flight('1.2', index, size)),
}

/** What a call of `TlsEnd.read` came to. */
type TlsProgress =
  /** More has to come. */
  | { readonly kind: 'waiting' }
  /** A flight of the other end is whole; the own answer to it is `answer`, where there is one. `rest` is what came behind it. */
  | { readonly kind: 'answer'; readonly answer: Buffer | undefined; readonly done: boolean; readonly rest: Buffer }
  | { readonly kind: 'not-ours' }

const waiting: TlsProgress = { kind: 'waiting' }
const notOurs: TlsProgress = { kind: 'not-ours' }

/** One end of a handshake: takes the other's flights in, and says what to answer. */
export class TlsEnd {
  private version: TlsVersion | undefined
  /** Which flight is read next. */
  private next = 0
  private pending: Buffer | undefined

  /** @param version that of a client; a server takes the one that it is offered */
  constructor(version?: TlsVersion) {
    this.version = version
    if (version !== undefined) this.next = 1
  }

  read(chunk: Buffer): TlsProgress {
    const bytes = this.pending === undefined ? chunk : Buffer.concat([this.pending, chunk])
    this.pending = bytes
    if (bytes.length <= HEADER_BYTES) return bytes[0] === TLS_HANDSHAKE ? waiting : notOurs
    const version = this.version ?? (bytes[HEADER_BYTES] === 4 ? '1.3' : '1.2')
    const expected = flights[version][this.next]
    if (expected === undefined || !startsAlike(bytes, expected)) return notOurs
    if (bytes.length < expected.length) return waiting
    this.version = version
    this.pending = undefined
    const ours = flights[version][this.next + 1]
    this.next += 2
    // The server of TLS 1.3 and the client of TLS 1.2 have the last word of the other end to wait for.
    const done = this.next >= flights[version].length
    return { kind: 'answer', answer: ours, done, rest: bytes.subarray(expected.length) }
  }
}

/** The client's first flight. */
export function clientHello(version: TlsVersion): Buffer {
  return flights[version][0]!
}

function startsAlike(bytes: Buffer, expected: Buffer): boolean {
  const length = Math.min(bytes.length, expected.length)
  return bytes.compare(expected, 0, length, 0, length) === 0
}
