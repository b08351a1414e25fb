/**
 * A map for the many that mostly have no entry, or one or two: each client has several of them, and an empty `Map` takes 200 bytes. Up to `FEW` entries stand
 * in one array made to measure, more of them in a `Map`.
 *
 * Iterated in the order of insertion; not to be changed meanwhile.
 */

const FEW = 4

export class SmallMap<K, V> {
  /** Key, value, key, value; shared while empty, and then never written to. */
  private few: (K | V)[] = NONE
  private many: Map<K, V> | undefined = undefined

  get size(): number {
    return this.many === undefined ? this.few.length >> 1 : this.many.size
  }

  get(key: K): V | undefined {
    if (this.many !== undefined) return this.many.get(key)
    const at = this.indexOf(key)
    return at < 0 ? undefined : (this.few[at + 1] as V)
  }

  has(key: K): boolean {
    return this.many === undefined ? this.indexOf(key) >= 0 : this.many.has(key)
  }

  set(key: K, value: V): void {
    if (this.many !== undefined) {
      this.many.set(key, value)
      return
    }
    const at = this.indexOf(key)
    if (at >= 0) this.few[at + 1] = value
    else if (this.few.length === 0) this.few = [key, value]
    else if (this.few.length < 2 * FEW) this.few = this.few.concat([key, value])
    else {
      this.many = new Map(this)
      this.many.set(key, value)
      this.few = NONE
    }
  }

  delete(key: K): boolean {
    if (this.many !== undefined) {
      const found = this.many.delete(key)
      if (this.many.size === 0) this.many = undefined
      return found
    }
    const at = this.indexOf(key)
    if (at < 0) return false
    this.few = this.few.length === 2 ? NONE : this.few.filter((_, index) => index >> 1 !== at >> 1)
    return true
  }

  values(): Iterable<V> {
    return this.many === undefined ? (this.few.filter((_, index) => (index & 1) === 1) as V[]) : this.many.values()
  }

  [Symbol.iterator](): Iterator<[K, V]> {
    if (this.many !== undefined) return this.many[Symbol.iterator]()
    const entries: [K, V][] = []
    for (let at = 0; at < this.few.length; at += 2) entries.push([this.few[at] as K, this.few[at + 1] as V])
    return entries[Symbol.iterator]()
  }

  private indexOf(key: K): number {
    const { few } = this
    for (let at = 0; at < few.length; at += 2) if (few[at] === key) return at
    return -1
  }
}

const NONE: never[] = []
