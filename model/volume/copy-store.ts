/**
 * One copy of one volume: its log in segment files `v<volume>/log-<16-digit start offset>.<generation>`, its facts in `CopyMeta`.
 *
 * Promises to the owner:
 * - `durable` is said of bytes only after a sync that began when they, and all before them, were in the file.
 * - What was said to be durable stays, until the owner of a promised epoch cuts it.
 * - No byte of an older epoch is taken once a higher epoch was promised, and a promise outlives power loss.
 * - Writes are taken only over the link that last prepared: what an earlier link still has under way (a cut above all) comes to nothing.
 *
 * Disk discipline:
 * - A segment is begun only when the one before it is synced, so only the last one can be torn.
 * - After a failed sync the kernel may hold clean pages that never reached the disk, and a later success proves nothing (fsyncgate; the port says the
 *   same). Nor does a new process know how its predecessor's syncs ended. So wherever the last segment has to be trusted anew (start, failed sync,
 *   cut) its sound records are written once more into a file of the next generation, that is synced, and only then is the old file removed.
 *   Where two generations are found on start, the lower one is whole and the higher one goes.
 * - The history says that an epoch begins at an offset before its first byte is in the log, and after every byte before it is synced.
 *   An epoch without a byte is dropped on start, so a torn tail never claims an epoch it has not got.
 *
 * Left out: bit rot in older segments is found by who reads them, not by the copy.
 */
import { emit } from '../events.ts'
import type { Host } from '../host.ts'
import type { MessageOf } from '../wire/messages.ts'
import { CopyMeta, type Fact } from './copy-meta.ts'
import { epochAt, lastEpoch } from './epochs.ts'
import { announcedLengthAt, scanRecords } from './log-record.ts'

type Prepared = MessageOf<'volumePrepared'>
type Appended = MessageOf<'volumeAppended'>
type AppendOutcome = Appended['outcome']

interface Segment {
  readonly start: number
  generation: number
  length: number
}

interface SyncWaiter {
  readonly size: number
  readonly done: (ok: boolean) => void
}

const READ_CHUNK_BYTES = 1 << 20
const LONGEST_READ_BYTES = 8 << 20
const RETRY_MS = 100
const LATE_SYNC_MS = 5
const EMPTY = Buffer.alloc(0)

export class CopyStore {
  readonly volume: number
  /** `suspect`: a sync failed; nothing is taken until the owner prepares again. */
  state: 'recovering' | 'serving' | 'suspect' = 'recovering'
  private readonly host: Host
  private readonly segmentBytes: number
  private readonly leaseMs: number
  private readonly prefix: string
  private readonly meta: CopyMeta
  private segments: Segment[] = []
  /** Where the log ends, synced or not. */
  private size = 0
  private durableSize = 0
  private promisedEpoch = 0
  private owner = ''
  /** The link that may write. */
  private writer: object | undefined
  private leaseEndMs = 0
  /** Until when an owner before the promised one may believe in its lease. A process that has just started does not know better than a full lease. */
  private formerLeaseEndMs: number
  private readonly operations: (() => void)[] = []
  private busy = true
  private advancing = false
  private syncing = false
  private readonly syncWaiters: SyncWaiter[] = []

  constructor(host: Host, volume: number, segmentBytes: number, leaseMs: number) {
    this.host = host
    this.volume = volume
    this.segmentBytes = segmentBytes
    this.leaseMs = leaseMs
    this.formerLeaseEndMs = leaseMs
    this.prefix = `v${volume}/log-`
    this.meta = new CopyMeta(host, volume)
    this.recover()
  }

  prepare(link: object, message: MessageOf<'volumePrepare'>, reply: (message: Prepared) => void): void {
    this.enqueue(() => {
      const { epoch, owner } = message
      if (epoch < this.promisedEpoch || (epoch === this.promisedEpoch && owner !== this.owner)) {
        if (this.host.recording) {
          emit(this.host, { kind: 'copy-refused', volume: this.volume, epoch, promisedEpoch: this.promisedEpoch })
        }
        this.host.reached('stale writer refused')
        this.replyPrepared('refused', reply)
        this.finish()
        return
      }
      if (epoch > this.promisedEpoch) this.promise(epoch, owner)
      this.writer = undefined
      this.settle((ok) => {
        const promised: Fact[] = [{ kind: 'promise', epoch, owner }]
        const facts = this.meta.promisedEpoch === epoch && this.meta.owner === owner && this.meta.durable ? [] : promised
        if (!ok) this.endPrepare(false, link, message, reply)
        else if (facts.length === 0) this.endPrepare(true, link, message, reply)
        else this.meta.commit(facts, (saved) => this.endPrepare(saved, link, message, reply))
      })
    })
  }

  append(link: object, message: MessageOf<'volumeAppend'>, reply: (message: Appended) => void): void {
    if (this.busy || this.operations.length > 0) this.enqueue(() => this.takeAppend(link, message, reply))
    else {
      this.busy = true
      this.takeAppend(link, message, reply)
    }
  }

  cut(link: object, message: MessageOf<'volumeCut'>, reply: (message: Appended) => void): void {
    this.enqueue(() => {
      const unfit = this.unfit(link, message.epoch)
      if (unfit !== undefined || message.offset > this.size || message.offset < this.meta.trimOffset) {
        this.endWrite(unfit ?? 'gap', reply)
        return
      }
      this.whenSynced(this.size, (synced) => {
        if (!synced) {
          this.endWrite('failed', reply)
          return
        }
        this.rewriteTail(message.offset, (ok) => {
          if (!ok) {
            this.state = 'suspect'
            this.endWrite('failed', reply)
            return
          }
          this.meta.commit([{ kind: 'cut', offset: message.offset }], (saved) => {
            if (!saved) this.state = 'suspect'
            this.endWrite(saved ? 'durable' : 'failed', reply)
          })
        })
      })
    })
  }

  /** Removes whole segments below the offset; a log that ends below it is emptied and goes on there. */
  trim(link: object, message: MessageOf<'volumeTrim'>, reply: (outcome: 'done' | 'not-owner' | 'fenced') => void): void {
    this.enqueue(() => {
      const { epoch, offset } = message
      if (this.unfit(link, epoch) !== undefined) {
        reply(epoch < this.promisedEpoch ? 'fenced' : 'not-owner')
        this.finish()
        return
      }
      if (offset <= this.meta.trimOffset) {
        reply('done')
        this.finish()
        return
      }
      this.whenSynced(this.size, (synced) => {
        if (!synced) {
          reply('not-owner')
          this.finish()
          return
        }
        this.meta.commit([{ kind: offset > this.size ? 'reset' : 'trim', offset }], (saved) => {
          if (saved) this.dropTrimmed()
          else this.state = 'suspect'
          reply(saved ? 'done' : 'not-owner')
          this.finish()
        })
      })
    })
  }

  /** Reads within one segment, so maybe less than asked for; nothing at the end of the log. */
  read(offset: number, length: number, done: (outcome: 'read' | 'trimmed' | 'failed', bytes: Buffer) => void): void {
    if (this.state === 'recovering') {
      done('failed', EMPTY)
      return
    }
    if (offset < this.meta.trimOffset) {
      done('trimmed', EMPTY)
      return
    }
    const segment = this.segments.findLast((candidate) => candidate.start <= offset)
    const within = segment === undefined ? 0 : segment.start + segment.length - offset
    if (segment === undefined || within <= 0) {
      done('read', EMPTY)
      return
    }
    const wanted = Math.min(length, within, LONGEST_READ_BYTES)
    this.host.files.read(this.nameOf(segment), offset - segment.start, wanted, (error, bytes) => {
      if (error !== undefined || bytes.length !== wanted) done('failed', EMPTY)
      else done('read', bytes)
    })
  }

  /** A lease from now on, for the owner that holds the promise; else what stands against it. */
  grantLease(epoch: number, owner: string): 'granted' | { readonly promisedEpoch: number } {
    if (epoch === this.promisedEpoch && this.state !== 'recovering') {
      if (owner === this.owner) {
        this.leaseEndMs = this.host.nowMs() + this.leaseMs
        return 'granted'
      }
      // Two owners tried the same epoch. A lease is only asked for after a majority has promised, so this one has it, and the one we promised to never will.
      this.promise(epoch, owner)
      this.writer = undefined
    }
    return { promisedEpoch: this.promisedEpoch }
  }

  private promise(epoch: number, owner: string): void {
    this.formerLeaseEndMs = Math.max(this.formerLeaseEndMs, this.leaseEndMs)
    this.leaseEndMs = 0
    this.promisedEpoch = epoch
    this.owner = owner
  }

  private endPrepare(ok: boolean, link: object, message: MessageOf<'volumePrepare'>, reply: (message: Prepared) => void): void {
    const stillPromised = message.epoch === this.promisedEpoch && message.owner === this.owner
    if (ok && stillPromised) {
      this.writer = link
      if (this.host.recording) {
        emit(this.host, { kind: 'copy-promised', volume: this.volume, epoch: message.epoch, owner: message.owner })
      }
    }
    this.replyPrepared(!stillPromised ? 'refused' : ok ? 'promised' : 'failed', reply)
    this.finish()
  }

  private replyPrepared(outcome: Prepared['outcome'], reply: (message: Prepared) => void): void {
    reply({
      name: 'volumePrepared',
      outcome,
      promisedEpoch: this.promisedEpoch,
      size: this.durableSize,
      markOffset: this.meta.markOffset,
      trimOffset: this.meta.trimOffset,
      epochs: this.meta.epochs,
      leaseRemainingMs: Math.max(0, Math.ceil(this.formerLeaseEndMs - this.host.nowMs())),
    })
  }

  /** Why this link and epoch may not write, if so. */
  private unfit(link: object, epoch: number): AppendOutcome | undefined {
    if (epoch < this.promisedEpoch) {
      if (this.host.recording) {
        emit(this.host, { kind: 'copy-refused', volume: this.volume, epoch, promisedEpoch: this.promisedEpoch })
      }
      this.host.reached('stale writer refused')
      return 'refused'
    }
    if (this.state !== 'serving') return 'failed'
    return epoch > this.promisedEpoch || link !== this.writer ? 'gap' : undefined
  }

  private takeAppend(link: object, message: MessageOf<'volumeAppend'>, reply: (message: Appended) => void): void {
    const { dataEpoch, offset, markOffset, bytes } = message
    const end = offset + bytes.length
    const unfit = this.unfit(link, message.epoch)
    if (unfit !== undefined) {
      this.endWrite(unfit, reply)
      return
    }
    const repeated = end <= this.size && offset >= this.meta.trimOffset && epochAt(this.meta.epochs, offset) === dataEpoch
    if (
      bytes.length === 0 ||
      dataEpoch > message.epoch ||
      !(repeated || (offset === this.size && dataEpoch >= lastEpoch(this.meta.epochs)))
    ) {
      this.endWrite('gap', reply)
      return
    }
    const facts: Fact[] = []
    if (!repeated && dataEpoch > lastEpoch(this.meta.epochs)) facts.push({ kind: 'epoch-start', epoch: dataEpoch, offset })
    if (markOffset > this.meta.markOffset) facts.push({ kind: 'mark', offset: markOffset })
    if (facts.length === 0) {
      if (repeated) this.replyWhenSynced(end, reply)
      else this.write(bytes, reply)
      return
    }
    this.whenSynced(this.size, (synced) => {
      if (!synced) {
        this.endWrite('failed', reply)
        return
      }
      this.meta.commit(facts, (saved) => {
        if (!saved) {
          this.state = 'suspect'
          this.endWrite('failed', reply)
        } else if (repeated) this.replyWhenSynced(end, reply)
        else this.write(bytes, reply)
      })
    })
  }

  private write(bytes: Buffer, reply: (message: Appended) => void): void {
    const tail = this.segments[this.segments.length - 1]
    if (tail === undefined || (tail.length > 0 && tail.length + bytes.length > this.segmentBytes)) {
      this.whenSynced(this.size, (synced) => {
        if (!synced) {
          this.endWrite('failed', reply)
          return
        }
        if (tail !== undefined) this.host.reached('segment rolled')
        const segment: Segment = { start: this.size, generation: 0, length: 0 }
        this.segments.push(segment)
        this.writeTo(segment, bytes, reply)
      })
    } else this.writeTo(tail, bytes, reply)
  }

  private writeTo(segment: Segment, bytes: Buffer, reply: (message: Appended) => void): void {
    this.host.files.append(this.nameOf(segment), bytes)
    segment.length += bytes.length
    this.size += bytes.length
    this.replyWhenSynced(this.size, reply)
  }

  /** The log has the bytes; the operation is over, its answer waits for the sync. */
  private replyWhenSynced(end: number, reply: (message: Appended) => void): void {
    this.whenSynced(end, (ok) => this.replyAppended(ok ? 'durable' : 'failed', reply))
    this.finish()
  }

  private endWrite(outcome: AppendOutcome, reply: (message: Appended) => void): void {
    this.replyAppended(outcome, reply)
    this.finish()
  }

  private replyAppended(outcome: AppendOutcome, reply: (message: Appended) => void): void {
    reply({ name: 'volumeAppended', outcome, promisedEpoch: this.promisedEpoch, size: this.durableSize })
  }

  private whenSynced(size: number, done: (ok: boolean) => void): void {
    if (size <= this.durableSize) {
      done(true)
      return
    }
    if (this.state === 'suspect') {
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
    this.host.files.sync(this.nameOf(this.segments[this.segments.length - 1]!), (error) => {
      this.syncing = false
      if (error !== undefined) {
        this.state = 'suspect'
        this.host.reached('sync failed')
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

  /** Before a promise is answered: everything in the log durable, and a log that a failed sync made suspect cut to what is known to be. */
  private settle(done: (ok: boolean) => void): void {
    this.whenSynced(this.size, (synced) => {
      if (synced && this.state === 'serving') {
        done(true)
        return
      }
      const offset = this.durableSize
      this.rewriteTail(offset, (ok) => {
        if (!ok) {
          done(false)
          return
        }
        this.meta.commit([{ kind: 'cut', offset }], (saved) => {
          if (saved) {
            this.state = 'serving'
            this.host.reached('copy repaired after a failed sync')
          }
          done(saved)
        })
      })
    })
  }

  /**
   * Makes the log end at `limit`, or before it where a record is not sound, in a newly written and synced last segment.
   * Where it fails, the old file still stands, and the same may be tried again.
   */
  private rewriteTail(limit: number, done: (ok: boolean) => void): void {
    const files = this.host.files
    while (this.segments.length > 0 && this.segments[this.segments.length - 1]!.start >= limit) {
      files.remove(this.nameOf(this.segments.pop()!))
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
    const from = this.nameOf(segment)
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
        segment.length = sound
        this.settledAt(segment.start + sound)
        done(true)
      })
    })
  }

  private settledAt(size: number): void {
    this.size = size
    this.durableSize = size
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

  /** Removes the segments that lie wholly below the trim offset; the log goes on at the trim offset where all of it does. */
  private dropTrimmed(): void {
    const trimOffset = this.meta.trimOffset
    while (this.segments.length > 0) {
      const first = this.segments[0]!
      const isLast = this.segments.length === 1
      if (first.start + first.length > trimOffset || (isLast && first.start + first.length === trimOffset)) break
      this.host.files.remove(this.nameOf(first))
      this.segments.shift()
    }
    if (this.size < trimOffset) this.settledAt(trimOffset)
  }

  private recover(): void {
    this.meta.load((ok) => {
      if (!ok) {
        this.host.setTimer(RETRY_MS, () => this.recover())
        return
      }
      if (this.meta.promisedEpoch > this.promisedEpoch) {
        this.promisedEpoch = this.meta.promisedEpoch
        this.owner = this.meta.owner
      }
      this.findSegments()
      this.recoverTail()
    })
  }

  private findSegments(): void {
    const files = this.host.files
    const found: Segment[] = []
    for (const name of files.list(this.prefix)) {
      const [start, generation] = name.slice(this.prefix.length).split('.')
      found.push({ start: Number(start), generation: Number(generation), length: files.size(name) })
    }
    found.sort((a, b) => a.start - b.start || a.generation - b.generation)
    this.segments = []
    let broken = false
    for (const segment of found) {
      const last = this.segments[this.segments.length - 1]
      // A higher generation beside a lower one was not finished; a segment behind a hole cannot have been reported durable.
      if (last !== undefined && (broken || segment.start === last.start || last.start + last.length !== segment.start)) {
        broken ||= segment.start !== last.start
        files.remove(this.nameOf(segment))
      } else this.segments.push(segment)
    }
  }

  private recoverTail(): void {
    const tail = this.segments[this.segments.length - 1]
    const foundSize = tail === undefined ? 0 : tail.start + tail.length
    this.rewriteTail(Number.POSITIVE_INFINITY, (ok) => {
      if (!ok) {
        this.host.setTimer(RETRY_MS, () => this.recoverTail())
        return
      }
      if (this.size < foundSize) {
        this.host.reached('torn tail cut')
        if (this.host.recording) {
          emit(this.host, { kind: 'copy-torn-tail-cut', volume: this.volume, fromSize: foundSize, toSize: this.size })
        }
      }
      this.recoverFacts()
    })
  }

  private recoverFacts(): void {
    const { trimOffset } = this.meta
    const fact: Fact = this.size < trimOffset ? { kind: 'reset', offset: trimOffset } : { kind: 'cut', offset: this.size }
    this.meta.commit([fact], (saved) => {
      if (!saved) {
        this.host.setTimer(RETRY_MS, () => this.recoverFacts())
        return
      }
      this.dropTrimmed()
      this.state = 'serving'
      this.finish()
    })
  }

  /** Operations that change facts or files run one after the other, in order of arrival. Each ends with `finish`. */
  private enqueue(operation: () => void): void {
    this.operations.push(operation)
    this.advance()
  }

  private finish(): void {
    this.busy = false
    this.advance()
  }

  private advance(): void {
    if (this.advancing) return
    this.advancing = true
    while (!this.busy) {
      const operation = this.operations.shift()
      if (operation === undefined) break
      this.busy = true
      operation()
    }
    this.advancing = false
  }

  private nameOf(segment: Segment): string {
    return this.fileName(segment.start, segment.generation)
  }

  private fileName(start: number, generation: number): string {
    return `${this.prefix}${String(start).padStart(16, '0')}.${generation}`
  }
}
