/** Chunks of bytes that wait in order, each with the time at which a program wrote it. Made only where something waits. */

export interface Chunk {
  readonly bytes: Buffer
  readonly writtenAtUs: number
}

export class ChunkQueue {
  /** Bytes that wait. */
  bytes = 0
  private chunks: Chunk[] = []
  private head = 0

  push(bytes: Buffer, writtenAtUs: number): void {
    this.chunks.push({ bytes, writtenAtUs })
    this.bytes += bytes.length
  }

  first(): Chunk | undefined {
    return this.chunks[this.head]
  }

  takeFirst(): Chunk | undefined {
    const chunk = this.chunks[this.head]
    if (chunk === undefined) return undefined
    this.head++
    this.bytes -= chunk.bytes.length
    if (this.head > 64 && this.head * 2 > this.chunks.length) {
      this.chunks = this.chunks.slice(this.head)
      this.head = 0
    }
    return chunk
  }

  /** Takes that many bytes off the first chunk, which is longer. */
  cutFirst(size: number): void {
    const chunk = this.chunks[this.head]!
    this.chunks[this.head] = { bytes: chunk.bytes.subarray(size), writtenAtUs: chunk.writtenAtUs }
    this.bytes -= size
  }
}
