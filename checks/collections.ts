/** Lists and maps for a million clients that each hold very little. */

/** The empty list that all share. */
export const NONE: readonly never[] = []

/** Adds to a list that is mostly very short: short ones are made to measure, since `push` makes room for sixteen more. */
export function appended<T>(list: T[] | undefined, item: T): T[] {
  if (list === undefined) return [item]
  if (list.length < 8) return list.concat([item])
  list.push(item)
  return list
}

/** The same list without one item; lists that end up empty share one. */
export function without<T>(list: readonly T[], item: T): readonly T[] {
  if (list.length === 1) return list[0] === item ? NONE : list
  return list.filter((each) => each !== item)
}

/** Packets that wait for an answer, by identifier. Mostly there is none or one, which takes no map. */
export class OpenPackets<T extends { readonly packetId: number }> {
  private one: T | undefined = undefined
  private more: Map<number, T> | undefined = undefined

  get(packetId: number): T | undefined {
    if (this.one !== undefined && this.one.packetId === packetId) return this.one
    return this.more?.get(packetId)
  }

  set(packet: T): void {
    if (this.one === undefined ? this.more === undefined : this.one.packetId === packet.packetId) this.one = packet
    else {
      if (this.more === undefined) this.more = new Map()
      this.more.set(packet.packetId, packet)
    }
  }

  delete(packetId: number): void {
    if (this.one !== undefined && this.one.packetId === packetId) this.one = undefined
    else if (this.more?.delete(packetId) && this.more.size === 0) this.more = undefined
  }

  /** In the order in which they were first set. */
  *values(): IterableIterator<T> {
    if (this.one !== undefined) yield this.one
    if (this.more !== undefined) yield* this.more.values()
  }
}
