/**
 * Randomness of the virtual world, all of it a function of the seed.
 *
 * Two kinds. Streams (`RandomStreams`): one alea for each (seed, stable name, purpose), made on first use; programs get these. Counted draws
 * (`drawAt`): the i-th number of a key, without any state, for the network and the disks, where a stream per connection and direction would cost more
 * than the connection (docs/decisions/0001-network-draws.md). Either way nobody's numbers depend on how many numbers somebody else took.
 */
import seedrandom from 'seedrandom'
import type { RandomStream } from '../model/host.ts'

/** The package's alea takes 0.45 KB a stream, in closures. It makes the state here, from a seed; the state's steps are Baagøe's three lines. */
class AleaStream implements RandomStream {
  private s0: number
  private s1: number
  private s2: number
  private carry: number

  constructor(seed: string) {
    const { s0, s1, s2, c } = seedrandom.alea(seed, { state: true }).state()
    this.s0 = s0
    this.s1 = s1
    this.s2 = s2
    this.carry = c
  }

  next(): number {
    const step = 2091639 * this.s0 + this.carry * 2.3283064365386963e-10
    this.s0 = this.s1
    this.s1 = this.s2
    this.carry = step | 0
    this.s2 = step - this.carry
    return this.s2
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }
}

export class RandomStreams {
  private readonly streams = new Map<string, RandomStream>()
  private readonly seed: number

  constructor(seed: number) {
    this.seed = seed
  }

  /** The one stream of this name and purpose. It goes on where it was left: a process that starts again does not draw its former numbers again. */
  stream(name: string, purpose: string): RandomStream {
    const key = `${name}/${purpose}`
    let stream = this.streams.get(key)
    if (stream === undefined) {
      stream = new AleaStream(`${this.seed}/${key}`)
      this.streams.set(key, stream)
    }
    return stream
  }
}

/** FNV-1a over the UTF-16 code units, low byte first, then murmur3's finaliser. */
function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193)
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193)
  }
  return mix(hash)
}

/** Murmur3's 32-bit finaliser: every bit of the input moves every bit of the output. */
function mix(value: number): number {
  let hash = value ^ (value >>> 16)
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** The key of a sequence of draws: a name under a seed. */
export function drawKey(seed: number, name: string): number {
  return mix(hashText(name) ^ Math.imul(mix(seed ^ ((seed / 0x100000000) | 0)), 0x9e3779b1))
}

/** A key derived from another one and a number, such as a connection's number or its direction. */
export function derivedKey(key: number, number: number): number {
  return mix(key ^ Math.imul(number + 1, 0x7feb352d))
}

/** The `index`-th draw of a key: 32 bits, signed. */
export function drawAt(key: number, index: number): number {
  return mix(key ^ Math.imul(index + 1, 0x9e3779b1))
}

/** Whether a draw falls within a probability from 0 to 1. */
export function isWithin(draw: number, probability: number): boolean {
  return draw >>> 0 < probability * 0x100000000
}
