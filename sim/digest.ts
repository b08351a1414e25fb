/**
 * The rolling digest of a run: two 32-bit lanes over (time, sequence, kind and machine, hash of the delivered bytes) of every event, so that two
 * runs can be compared by sixteen hex digits. It is always on. Two lanes with different primes make 64 bits; nothing here is meant to withstand
 * someone who looks for collisions.
 */

/** Word-wise FNV-1a with a final mix: four bytes a multiplication. */
export function hashBytes(bytes: Uint8Array): number {
  const length = bytes.length
  let hash = 0x811c9dc5 ^ length
  let at = 0
  for (const end = length - 3; at < end; at += 4) {
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    hash = Math.imul(hash ^ word, 0x01000193)
    hash ^= hash >>> 15
  }
  for (; at < length; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193)
  hash ^= hash >>> 16
  return Math.imul(hash, 0x85ebca6b)
}

export class Digest {
  private first = 0x811c9dc5 | 0
  private second = 0x9e3779b9 | 0

  add(timeUs: number, sequence: number, code: number, hash: number): void {
    const timeHigh = (timeUs / 0x100000000) | 0
    let first = this.first
    first = Math.imul(first ^ (timeUs | 0), 0x01000193)
    first = Math.imul(first ^ timeHigh ^ hash, 0x01000193)
    first = Math.imul(first ^ (sequence | 0), 0x01000193)
    first = Math.imul(first ^ code, 0x01000193)
    this.first = first ^ (first >>> 16)
    let second = this.second
    second = Math.imul(second ^ code, 0x85ebca6b)
    second = Math.imul(second ^ hash, 0xc2b2ae35)
    second = Math.imul(second ^ timeHigh ^ (sequence | 0), 0x85ebca6b)
    second = Math.imul(second ^ (timeUs | 0), 0xc2b2ae35)
    this.second = second ^ (second >>> 15)
  }

  hex(): string {
    return hexOf(this.first) + hexOf(this.second)
  }
}

function hexOf(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0')
}
