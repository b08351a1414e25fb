/**
 * Counts the frames of internal calls in a byte stream, whatever its chunks, by their lengths alone: a length of 4 bytes, big-endian, before each. Shares no code with the service.
 * Left out: whether a frame is right, which the service judges for itself.
 */

const LENGTH_BYTES = 4

export class FrameCounter {
  /** Bytes of the frame at hand that are still to come, its length included once that is known. */
  private missing = 0
  /** The part of a length that came so far. */
  private length = 0
  private lengthBytes = 0

  /** @returns how many frames begin to be whole with this chunk. */
  count(chunk: Buffer): number {
    let frames = 0
    let at = 0
    while (at < chunk.length) {
      if (this.missing > 0) {
        const taken = Math.min(this.missing, chunk.length - at)
        at += taken
        this.missing -= taken
        if (this.missing === 0) frames++
        continue
      }
      if (this.lengthBytes === 0 && chunk.length - at >= LENGTH_BYTES) {
        this.length = chunk.readUInt32BE(at)
        at += LENGTH_BYTES
      } else {
        this.length = this.length * 256 + chunk[at++]!
        if (++this.lengthBytes < LENGTH_BYTES) continue
      }
      this.missing = this.length
      this.length = 0
      this.lengthBytes = 0
      if (this.missing === 0) frames++
    }
    return frames
  }
}
