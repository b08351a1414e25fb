/**
 * The event queue: what happens next in the virtual world, in the order of (time, sequence).
 *
 * A 4-ary heap on typed arrays beside a table of slots that holds what an event is about; events for the present instant skip the heap
 * and wait in a FIFO. Both are read together, so the order is always that of (time, sequence), and a sequence number is given to every event at
 * its scheduling. Cancelling is lazy: the slot is emptied, the entry goes when it comes up, or when more than half of the heap is empty.
 *
 * Left out: moving an event. Cancel it and schedule another.
 */

/** What an event is addressed to. Events carry a payload and a number instead of a closure, so that scheduling allocates nothing. */
export interface EventTarget {
  fire(kind: number, payload: unknown, argument: number): void
  /** In words, for a person who compares two runs. */
  describe(kind: number, payload: unknown, argument: number): string
}

const initialCapacity = 1024
/** Below this many cancelled entries it is not worth building the heap anew. */
const compactionFloor = 64

export class EventQueue {
  /** Time of the event that was taken last, or later where `advanceTo` said so. */
  nowUs = 0

  /** The event that `next` has taken. */
  code = 0
  target: EventTarget | undefined = undefined
  payload: unknown = undefined
  argument = 0
  sequence = 0

  private capacity = initialCapacity
  private size = 0
  private times = new Float64Array(initialCapacity)
  private sequences = new Float64Array(initialCapacity)
  private slots = new Int32Array(initialCapacity)

  private nextSequence = 1
  private cancelledInHeap = 0

  /** Ring of the events of this instant; its length is a power of two. */
  private ringSlots = new Int32Array(initialCapacity)
  private ringSequences = new Float64Array(initialCapacity)
  private ringHead = 0
  private ringCount = 0

  private slotCapacity = initialCapacity
  private slotsUsed = 0
  private freeSlots = new Int32Array(initialCapacity)
  private freeCount = 0
  private codes = new Int32Array(initialCapacity)
  private arguments = new Float64Array(initialCapacity)
  private generations = new Int32Array(initialCapacity)
  private inHeap = new Uint8Array(initialCapacity)
  private readonly targets: (EventTarget | undefined)[] = []
  private readonly payloads: unknown[] = []

  /** Entries waiting, the cancelled ones that are still to be cleared away included. */
  get length(): number {
    return this.size + this.ringCount
  }

  /**
   * Schedules an event and returns its slot; with `generationOf` that slot names the event until it is taken.
   * `code` is the caller's own (a machine and a kind).
   */
  push(timeUs: number, code: number, target: EventTarget, payload: unknown, argument: number): number {
    const slot = this.freeCount > 0 ? this.freeSlots[--this.freeCount]! : this.newSlot()
    this.codes[slot] = code
    this.arguments[slot] = argument
    this.targets[slot] = target
    this.payloads[slot] = payload
    const sequence = this.nextSequence++
    if (timeUs > this.nowUs) {
      this.inHeap[slot] = 1
      if (this.size === this.capacity) this.growHeap()
      this.siftUp(this.size++, timeUs, sequence, slot)
    } else {
      if (timeUs !== this.nowUs) throw new Error(`an event was scheduled for ${timeUs} us, and it is ${this.nowUs} us already`)
      this.inHeap[slot] = 0
      if (this.ringCount === this.ringSlots.length) this.growRing()
      const at = (this.ringHead + this.ringCount++) & (this.ringSlots.length - 1)
      this.ringSlots[at] = slot
      this.ringSequences[at] = sequence
    }
    return slot
  }

  generationOf(slot: number): number {
    return this.generations[slot]!
  }

  /** Cancels the event that got this slot and generation; does nothing once it was taken. */
  cancel(slot: number, generation: number): void {
    if (this.generations[slot] !== generation || this.targets[slot] === undefined) return
    this.targets[slot] = undefined
    this.payloads[slot] = undefined
    if (this.inHeap[slot] === 0) return
    this.cancelledInHeap++
    if (this.cancelledInHeap > compactionFloor && this.cancelledInHeap * 2 > this.size) this.compact()
  }

  /** Takes the next event that is due by `untilUs` into the fields of this object, and moves time to it. */
  next(untilUs: number): boolean {
    for (;;) {
      let slot: number
      if (this.ringCount > 0 && !this.heapComesFirst()) {
        if (this.nowUs > untilUs) return false
        const head = this.ringHead
        slot = this.ringSlots[head]!
        this.sequence = this.ringSequences[head]!
        this.ringHead = (head + 1) & (this.ringSlots.length - 1)
        this.ringCount--
        if (this.targets[slot] === undefined) {
          this.release(slot)
          continue
        }
      } else {
        if (this.size === 0 || this.times[0]! > untilUs) return false
        slot = this.slots[0]!
        if (this.targets[slot] === undefined) {
          this.cancelledInHeap--
          this.removeLeast()
          this.release(slot)
          continue
        }
        this.nowUs = this.times[0]!
        this.sequence = this.sequences[0]!
        this.removeLeast()
      }
      this.code = this.codes[slot]!
      this.argument = this.arguments[slot]!
      this.target = this.targets[slot]
      this.payload = this.payloads[slot]
      this.targets[slot] = undefined
      this.payloads[slot] = undefined
      this.release(slot)
      return true
    }
  }

  /** Moves time on where nothing is due before. */
  advanceTo(timeUs: number): void {
    if (timeUs > this.nowUs) this.nowUs = timeUs
  }

  private heapComesFirst(): boolean {
    return this.size > 0 && this.times[0]! <= this.nowUs && this.sequences[0]! < this.ringSequences[this.ringHead]!
  }

  private newSlot(): number {
    if (this.slotsUsed === this.slotCapacity) {
      this.slotCapacity *= 2
      this.freeSlots = grown(this.freeSlots, new Int32Array(this.slotCapacity))
      this.codes = grown(this.codes, new Int32Array(this.slotCapacity))
      this.arguments = grown(this.arguments, new Float64Array(this.slotCapacity))
      this.generations = grown(this.generations, new Int32Array(this.slotCapacity))
      this.inHeap = grown(this.inHeap, new Uint8Array(this.slotCapacity))
    }
    this.targets.push(undefined)
    this.payloads.push(undefined)
    return this.slotsUsed++
  }

  private release(slot: number): void {
    this.generations[slot] = (this.generations[slot]! + 1) | 0
    this.freeSlots[this.freeCount++] = slot
  }

  private growHeap(): void {
    this.capacity *= 2
    this.times = grown(this.times, new Float64Array(this.capacity))
    this.sequences = grown(this.sequences, new Float64Array(this.capacity))
    this.slots = grown(this.slots, new Int32Array(this.capacity))
  }

  private growRing(): void {
    const count = this.ringCount
    const slots = new Int32Array(this.ringSlots.length * 2)
    const sequences = new Float64Array(slots.length)
    for (let i = 0; i < count; i++) {
      const at = (this.ringHead + i) & (this.ringSlots.length - 1)
      slots[i] = this.ringSlots[at]!
      sequences[i] = this.ringSequences[at]!
    }
    this.ringSlots = slots
    this.ringSequences = sequences
    this.ringHead = 0
  }

  private removeLeast(): void {
    const last = --this.size
    if (last > 0) this.siftDown(0, this.times[last]!, this.sequences[last]!, this.slots[last]!)
  }

  private siftUp(from: number, time: number, sequence: number, slot: number): void {
    const { times, sequences, slots } = this
    let at = from
    while (at > 0) {
      const parent = (at - 1) >> 2
      const parentTime = times[parent]!
      if (parentTime < time || (parentTime === time && sequences[parent]! < sequence)) break
      times[at] = parentTime
      sequences[at] = sequences[parent]!
      slots[at] = slots[parent]!
      at = parent
    }
    times[at] = time
    sequences[at] = sequence
    slots[at] = slot
  }

  private siftDown(from: number, time: number, sequence: number, slot: number): void {
    const { times, sequences, slots, size } = this
    let at = from
    for (;;) {
      const first = at * 4 + 1
      if (first >= size) break
      const end = Math.min(first + 4, size)
      let least = first
      let leastTime = times[first]!
      for (let child = first + 1; child < end; child++) {
        const childTime = times[child]!
        if (childTime < leastTime || (childTime === leastTime && sequences[child]! < sequences[least]!)) {
          least = child
          leastTime = childTime
        }
      }
      if (time < leastTime || (time === leastTime && sequence < sequences[least]!)) break
      times[at] = leastTime
      sequences[at] = sequences[least]!
      slots[at] = slots[least]!
      at = least
    }
    times[at] = time
    sequences[at] = sequence
    slots[at] = slot
  }

  /** Throws the cancelled entries out and builds the heap anew: the order of (time, sequence) is total, so nobody can tell. */
  private compact(): void {
    let kept = 0
    for (let i = 0; i < this.size; i++) {
      const slot = this.slots[i]!
      if (this.targets[slot] === undefined) {
        this.release(slot)
        continue
      }
      this.times[kept] = this.times[i]!
      this.sequences[kept] = this.sequences[i]!
      this.slots[kept] = slot
      kept++
    }
    this.size = kept
    this.cancelledInHeap = 0
    for (let i = (kept - 2) >> 2; i >= 0; i--) this.siftDown(i, this.times[i]!, this.sequences[i]!, this.slots[i]!)
  }
}

function grown<T extends Int32Array | Float64Array | Uint8Array>(from: T, to: T): T {
  to.set(from)
  return to
}
