/**
 * FNV-1a over a text's UTF-16 code units, 32 bits: which shard a name belongs to. Part of the wire contract: every machine must agree on it.
 * Source: Fowler, Noll, Vo, "The FNV Non-Cryptographic Hash Algorithm" (RFC 9923).
 */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193)
  }
  // FNV's low bits of short names that differ in their last digit are alike; fold the high ones in.
  hash ^= hash >>> 16
  return hash >>> 0
}
