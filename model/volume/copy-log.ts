/**
 * The log's bytes of one copy: segment files `v<volume>/log-<16-digit start offset>.<generation>`.
 *
 * - A segment is begun only when the one before it is synced, so only the last one can be torn.
 * - After a failed sync the kernel may hold clean pages that never reached the disk, and a later success proves nothing (fsyncgate; the port says the
 *   same). Nor does a new process know how its predecessor's syncs ended. So wherever the last segment has to be trusted anew (start, failed sync,
 *   cut) its sound records are written once more into a file of the next generation, that is synced, and only then is the old file removed.
 *   Where two generations are found on start, the lower one is whole and the higher one goes.
 *
 * Left out: bit rot in older segments is found by who reads them, not here.
 */
import type { Host } from '../host.ts'
import { announcedLengthAt, scanRecords } from './log-record.ts'

interface Segment {
  readonly start: number
  generation: number
  /** Its file's. */
  name: string
  length: number
}

interface SyncWaiter {
  readonly size: number
  readonly done: (ok: boolean) => void
}

const READ_CHUNK_BYTES = 1 << 20
const LONGEST_READ_BYTES = 8 << 20
const LATE_SYNC_MS = 5
const EMPTY = Buffer.alloc(0)

export class CopyLog {
  /** Where the log ends, synced or not. */
  size = 0
  durableSize = 0
  private readonly host: Host
  private readonly prefix: string
  private readonly segmentBytes: number
  private readonly onSyncFailed: () => void
  private segments: Segment[] = []
  /** A sync failed, and the tail was not written anew since. */
  private hasFailed = false
  private syncing = false
  private readonly syncWaiters: SyncWaiter[] = []

  constructor(host: Host, volume: number, segmentBytes: number, onSyncFailed: () => void) {
    this.host = host
    this.prefix = `v${volume}/log-`
    this.segmentBytes = segmentBytes
    this.onSyncFailed = onSyncFailed
  }

  /** Finds what an earlier process left. Nothing of it may be used until `rewriteTail` has been through it. */
  find(): void {
    const files = this.host.files
    const found: Segment[] = []
    for (const name of files.list(this.prefix)) {
      const [start, generation] = name.slice(this.prefix.length).split('.')
      found.push({ start: Number(start), generation: Number(generation), name, length: files.size(name) })
    }
    found.sort((a, b) => a.start - b.start || a.generation - b.generation)
    this.segments = []
    let broken = false
    for (const segment of found) {
      const last = this.segments[this.segments.length - 1]
      // A higher generation beside a lower one was not finished; a segment behind a hole cannot have been reported durable.
      if (last !== undefined && (broken || segment.start === last.start || last.start + last.length !== segment.start)) {
        broken ||= segment.start !== last.start
        files.remove(segment.name)
      } else this.segments.push(segment)
    }
    const tail = this.segments[this.segments.length - 1]
    this.size = tail === undefined ? 0 : tail.start + tail.length
  }

  /** Adds bytes at the end, and says when they are there: at once, or after a sync where a segment has to be finished first. Not in parallel. */
  append(bytes: Buffer, done: (ok: boolean) => void): void {
    const tail = this.segments[this.segments.length - 1]
    if (tail !== undefined && (tail.length === 0 || tail.length + bytes.length <= this.segmentBytes)) {
      this.appendTo(tail, bytes)
      done(true)
      return
    }
    this.whenSynced(this.size, (synced) => {
      if (synced) {
        if (tail !== undefined) this.host.reached('segment rolled')
        const segment: Segment = { start: this.size, generation: 0, name: this.fileName(this.size, 0), length: 0 }
        this.segments.push(segment)
        this.appendTo(segment, bytes)
      }
      done(synced)
    })
  }

  /** Calls back when all bytes below `size` are synced, or cannot be. */
  whenSynced(size: number, done: (ok: boolean) => void): void {
    if (size <= this.durableSize) {
      done(true)
      return
    }
    if (this.hasFailed) {
      done(false)
      return
    }
    this.syncWaiters.push({ size, done })
    if (this.syncing) return
    this.syncing = true
    if (this.host.perturb('copy-syncs-late')) this.host.setTimer(LATE_SYNC_MS, () => this.sync())
    else this.sync()
  }

  private sync(): void {
    const covered = this.size
    this.host.files.sync(this.segments[this.segments.length - 1]!.name, (error) => {
      this.syncing = false
      if (error !== undefined) {
        this.hasFailed = true
        this.host.reached('sync failed')
        this.onSyncFailed()
        for (const waiter of this.syncWaiters.splice(0)) waiter.done(false)
        return
      }
      this.durableSize = covered
      let covers = 0
      while (covers < this.syncWaiters.length && this.syncWaiters[covers]!.size <= covered) covers++
      for (const waiter of this.syncWaiters.splice(0, covers)) waiter.done(true)
      if (this.syncWaiters.length > 0 && !this.syncing) {
        this.syncing = true
        this.sync()
      }
    })
  }

  /**
   * Makes the log end at `limit`, or before it where a record is not sound, in a newly written and synced last segment.
   * Where it fails, the old last segment still stands, and the same may be tried again; whole segments behind the limit are gone by then, and `size` says so.
   */
  rewriteTail(limit: number, done: (ok: boolean) => void): void {
    const files = this.host.files
    while (this.segments.length > 0 && this.segments[this.segments.length - 1]!.start >= limit) {
      const { name, start } = this.segments.pop()!
      files.remove(name)
      this.endsAt(start)
    }
    const segment = this.segments[this.segments.length - 1]
    if (segment === undefined) {
      this.settledAt(limit === Number.POSITIVE_INFINITY ? 0 : limit)
      done(true)
      return
    }
    if (segment.start + segment.length === limit && limit <= this.durableSize) {
      this.settledAt(limit)
      done(true)
      return
    }
    const from = segment.name
    const generation = segment.generation + 1
    const to = this.fileName(segment.start, generation)
    const length = Math.min(segment.length, limit - segment.start)
    this.copySound(from, to, 0, READ_CHUNK_BYTES, length, (sound) => {
      if (sound === undefined) {
        files.remove(to)
        done(false)
        return
      }
      if (sound === 0) {
        files.remove(from)
        this.segments.pop()
        this.settledAt(segment.start)
        done(true)
        return
      }
      files.sync(to, (error) => {
        if (error !== undefined) {
          files.remove(to)
          done(false)
          return
        }
        files.remove(from)
        segment.generation = generation
        segment.name = to
        segment.length = sound
        this.settledAt(segment.start + sound)
        done(true)
      })
    })
  }

  /** The segment that began at `start` is gone; all before it was synced before it was begun. */
  private endsAt(start: number): void {
    this.size = start
    this.durableSize = Math.min(this.durableSize, start)
  }

  private settledAt(size: number): void {
    this.size = size
    this.durableSize = size
    this.hasFailed = false
  }

  /** Copies whole records of `from` to the new file `to`, up to the first that is not sound. `done` gets their length; undefined: a read failed. */
  private copySound(from: string, to: string, at: number, chunk: number, limit: number, done: (sound: number | undefined) => void): void {
    const wanted = Math.min(chunk, limit - at)
    if (wanted <= 0) {
      done(at)
      return
    }
    this.host.files.read(from, at, wanted, (error, bytes) => {
      if (error !== undefined) {
        done(undefined)
        return
      }
      const scan = scanRecords(bytes, 0)
      if (scan.end > 0) this.host.files.append(to, bytes.subarray(0, scan.end))
      const reachedEnd = bytes.length < wanted || at + wanted >= limit
      if (scan.after === 'torn' || (scan.after === 'incomplete' && reachedEnd)) done(at + scan.end)
      else {
        const next = scan.end > 0 ? READ_CHUNK_BYTES : Math.max(READ_CHUNK_BYTES, announcedLengthAt(bytes, 0))
        this.copySound(from, to, at + scan.end, next, limit, done)
      }
    })
  }

  /** Reads within one segment, so maybe less than asked for; nothing at the end of the log. */
  read(offset: number, length: number, done: (ok: boolean, bytes: Buffer) => void): void {
    const segment = this.segments.findLast((candidate) => candidate.start <= offset)
    const within = segment === undefined ? 0 : segment.start + segment.length - offset
    if (segment === undefined || within <= 0) {
      done(true, EMPTY)
      return
    }
    const wanted = Math.min(length, within, LONGEST_READ_BYTES)
    this.host.files.read(segment.name, offset - segment.start, wanted, (error, bytes) => {
      if (error !== undefined || bytes.length !== wanted) done(false, EMPTY)
      else done(true, bytes)
    })
  }

  /** Removes the segments that lie wholly below the trim offset; the log goes on at the trim offset where all of it does. */
  dropBelow(trimOffset: number): void {
    while (this.segments.length > 0) {
      const first = this.segments[0]!
      const isLast = this.segments.length === 1
      if (first.start + first.length > trimOffset || (isLast && first.start + first.length === trimOffset)) break
      this.host.files.remove(first.name)
      this.segments.shift()
    }
    if (this.size < trimOffset) this.settledAt(trimOffset)
  }

  private appendTo(segment: Segment, bytes: Buffer): void {
    this.host.files.append(segment.name, bytes)
    segment.length += bytes.length
    this.size += bytes.length
  }

  private fileName(start: number, generation: number): string {
    return `${this.prefix}${String(start).padStart(16, '0')}.${generation}`
  }
}
