/**
 * Cuts the TLS handshake off the front of one direction of a connection: records of the type `handshake` (RFC 8446, section 5.1), whatever their content. What comes after them is read as it
 * is: the TLS of the simulation has the cost and the round trips of the real one, and no cryptography. Shares no code with the service.
 */

const HANDSHAKE = 0x16
const HEADER_BYTES = 5

export class TlsRecords {
  /** All of it has passed. */
  isOver = false
  private header: number[] = []
  private missing = 0

  /** @returns what stands behind the handshake, where that begins in this chunk. */
  cut(chunk: Buffer): Buffer | undefined {
    let at = 0
    while (at < chunk.length) {
      if (this.missing > 0) {
        const taken = Math.min(this.missing, chunk.length - at)
        this.missing -= taken
        at += taken
      } else if (this.header.length === 0 && chunk[at] !== HANDSHAKE) {
        this.isOver = true
        return chunk.subarray(at)
      } else {
        this.header.push(chunk[at++]!)
        if (this.header.length < HEADER_BYTES) continue
        this.missing = this.header[3]! * 256 + this.header[4]!
        this.header = []
      }
    }
    return undefined
  }
}
