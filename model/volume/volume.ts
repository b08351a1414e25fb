/**
 * A volume as its owner uses it: an append-only log on copies in several zones, of which a majority must have synced a record before it counts.
 *
 *     preparing → repairing → reading → waiting-lease → attached → releasing        lost, from any of them
 *
 * - preparing: a majority of all copies promises our epoch. After that no older owner can make anything durable.
 * - repairing: of their logs the one with the greatest (last epoch, size) holds every record ever reported durable (as in Raft's election, section 5.4.1);
 *   a majority is made equal to it. Should that copy go before a majority is, the choice is made anew, which is harmless as nothing of our epoch exists yet.
 * - reading: an epoch-begin record goes out. What former epochs left counts only once that is durable on a majority (Raft, section 5.4.2).
 *   Meanwhile the log is replayed from the newest mark.
 * - waiting-lease: until no former owner can believe in its lease, and we have our own. Where the chosen log ends with the word that its last owner is done
 *   (`EPOCH_END`) there is nobody to wait for: an owner after that one would have its own first record on a majority, and so in this log.
 * - attached: appends are batched and sent to every copy that follows; others are caught up in the background. Without a majority for two leases, it is lost.
 * - releasing: handed over in order. The lease is not used any more, the last record says so, and once that is durable the volume is closed.
 *
 * Which copies a volume has is its placement's to say (`kinds.ts`). One with backups (`backup-copies.ts`) is attached only when a backup has answered too: should the
 * copy have less than the backup, its disk was lost, and the log goes on from the backup point (`RESTORED`). A copy that is blank says nothing of what was durable, nor
 * does one that began blank and is not filled yet (`copy-stream.ts`): they are not counted, unless nobody has anything.
 *
 * A record whose append was not reported durable may be in the log or not after the next attach; either way it is the same on all copies.
 * Left out: copies that join or leave; a disk that is lost takes the copy's promises with it, so a zombie owner could get its promise once more.
 * A restore that is interrupted while the backup that it began from goes dark may end at the other's point.
 */
import { emit } from '../events.ts'
import type { Timer } from '../host.ts'
import { Reader, type Writer } from '../wire/codec.ts'
import { BackupCopies, type BackupSource } from './backup-copies.ts'
import { CopyHealth } from './copy-health.ts'
import type { CopyLinks, CopyLinkUser } from './copy-links.ts'
import { CopyStream } from './copy-stream.ts'
import { type EpochStart, lastEpoch } from './epochs.ts'
import { type Leaseholder, ownersShareMs } from './lease.ts'
import {
  announcedLengthAt,
  BACKUP_POINT,
  EPOCH_BEGIN,
  EPOCH_BEGIN_LATEST,
  EPOCH_END,
  encodeLogRecord,
  RESTORED,
  scanRecords,
} from './log-record.ts'
import { LogTail } from './log-tail.ts'

export type VolumeState = 'preparing' | 'repairing' | 'reading' | 'waiting-lease' | 'attached' | 'releasing' | 'lost'
/** `destroyed`: the only copy has come back without what it had. */
export type LossReason = 'refused' | 'unreachable' | 'destroyed'

export interface VolumeListener {
  /** Replay: each record from the mark on (or from where the log begins), in order, before `onAttached`; the volume's own records are left out, but for `RESTORED`. */
  onReplay(offset: number, type: number, version: number, body: Buffer): void
  /** A majority repaired, epoch-begin durable, the former owner's lease waited out. */
  onAttached(): void
  /** Refused by a higher epoch, or no majority for too long while attaching. The last callback; the object is of no more use. */
  onLost(reason: LossReason, promisedEpoch: number): void
}

const ATTACH_TIMEOUT_MS = 6000
/** An attach that gives up earlier leaves a lease of its own behind, which the next one waits for in vain. */
const ATTACH_TIMEOUT_LEASES = 2
/** How long a majority of promises waits for the rest: enough for a copy that is alive, nothing to a client. */
const GRACE_MS = 10
const LONG_GRACE_MS = 200
/** How long an attach that finds a blank copy waits for the backups that it has not heard. Below the attach's own patience. */
const BACKUP_GRACE_MS = 3000
const REPLAY_CHUNK_BYTES = 256 * 1024
const READ_RETRY_MS = 50
const BATCHES_IN_FLIGHT = 3
const KEPT_TAIL_BYTES = 4 << 20

interface Waiter {
  readonly offset: number
  readonly done: () => void
}

export class Volume implements BackupSource, CopyLinkUser, Leaseholder {
  readonly volume: number
  readonly epoch: number
  state: VolumeState = 'preparing'
  history: EpochStart[] = []
  tail = new LogTail(0)
  sendableOffset = 0
  durableOffset = 0
  trimOffset = 0
  /** The mark that appends carry. */
  announcedMark = 0
  /** The former owner said that it was done, so nothing was waited for. */
  handedOver = false
  private readonly links: CopyLinks
  private readonly listener: VolumeListener
  /** To the copies. */
  private readonly streams: readonly CopyStream[]
  private readonly backups: BackupCopies
  private readonly everyStream: readonly CopyStream[]
  private readonly majority: number
  private readonly health: CopyHealth
  private closed = false
  private highestPromise = 0
  /** The copy whose log was chosen, and that log's size. */
  private best: CopyStream | undefined
  private baseSize = 0
  /** The chosen log is a backup's, and the copy had less. */
  private isRestore = false
  /** The wall time in the last record of the chosen log, where that is a backup point. */
  private pointAtMs = 0
  private graceTimer: Timer | undefined
  private attachTimer: Timer | undefined
  private leaseWaitTimer: Timer | undefined
  private flushTimer: Timer | undefined
  private wakeTimer: Timer | undefined
  private readonly waiters: Waiter[] = []
  private nextWaiter = 0
  /** Ends of the batches sent and not yet durable. */
  private readonly batchEnds: number[] = []
  private readonly leaseGrants: number[]
  private leaseGrantedMs = Number.NEGATIVE_INFINITY
  private leaseEndMs = Number.NEGATIVE_INFINITY
  private wantedMark = 0
  private wantedMarkAt = 0
  /** Once this offset is durable, so is `announcedMark` on the copies that have it. */
  private markCarriedAt = Number.POSITIVE_INFINITY
  private durableMark = 0
  private wantedTrim = 0

  /** Tries to become the owner of the volume under this epoch. */
  static attach(links: CopyLinks, volume: number, epoch: number, listener: VolumeListener): Volume {
    const attached = new Volume(links, volume, epoch, listener)
    attached.start()
    return attached
  }

  private constructor(links: CopyLinks, volume: number, epoch: number, listener: VolumeListener) {
    this.links = links
    this.volume = volume
    this.epoch = epoch
    this.listener = listener
    this.highestPromise = epoch
    const { copies, backups } = links.placement(volume)
    this.streams = copies.map((copy) => new CopyStream(links, copy, this))
    this.backups = new BackupCopies(links, backups, this)
    this.everyStream = [...this.streams, ...this.backups.streams]
    this.majority = Math.floor(this.streams.length / 2) + 1
    this.leaseGrants = links.links.map(() => Number.NEGATIVE_INFINITY)
    this.health = new CopyHealth(
      links.host,
      this,
      links.settings.slowCopyMs,
      this.streams.map((stream) => ({ stream, name: links.names[stream.copy]! })),
    )
  }

  /** Where the next record will stand. */
  get endOffset(): number {
    return this.tail.end
  }

  get wholeOffset(): number {
    return Math.max(this.baseSize, this.durableOffset)
  }

  get markOffset(): number {
    return this.announcedMark
  }

  /** Queues a record. It is sent at the end of the handler's turn, or when an earlier batch is done. @returns its offset. */
  append(type: number, version: number, writeBody: (writer: Writer) => void): number {
    const offset = this.tail.end
    if (this.state === 'lost' || this.state === 'releasing') return offset
    if (this.state !== 'attached') throw new Error(`append to volume ${this.volume} while it is ${this.state}`)
    this.tail.append(encodeLogRecord(type, version, writeBody))
    if (this.flushTimer === undefined && this.batchEnds.length < BATCHES_IN_FLIGHT) {
      this.flushTimer = this.links.host.setTimer(0, () => {
        this.flushTimer = undefined
        this.flush()
      })
    }
    return offset
  }

  /** Calls back, in order, once all that was appended so far is durable; never after `onLost`. */
  whenDurable(done: () => void): void {
    if (this.state === 'lost') return
    const offset = this.tail.end
    this.waiters.push({ offset, done })
    if (offset <= this.durableOffset && this.wakeTimer === undefined) {
      this.wakeTimer = this.links.host.setTimer(0, () => {
        this.wakeTimer = undefined
        this.wake()
      })
    }
  }

  /**
   * A checkpoint begins at this offset and is complete with what was appended so far: a later attach may replay from there. It is told to the copies with the
   * first append after all of it is durable.
   */
  mark(offset: number): void {
    this.wantedMark = offset
    this.wantedMarkAt = this.tail.end
    this.announceMark()
  }

  /** Nothing before the offset is needed any more. Takes effect as far as a durable mark allows. */
  trim(offset: number): void {
    this.wantedTrim = Math.max(this.wantedTrim, offset)
    this.applyTrim()
  }

  /**
   * Reads durable records from `offset` on: whole ones, at least one, and otherwise at most `length` bytes, maybe fewer.
   * Undefined: there is nothing, or no copy could be read.
   */
  read(offset: number, length: number, done: (bytes: Buffer | undefined) => void): void {
    const inMemory = this.tail.at(offset, this.durableOffset)
    if (inMemory !== undefined) {
      const scan = scanRecords(inMemory.length > length ? inMemory.subarray(0, length) : inMemory, 0)
      const bytes = inMemory.subarray(0, scan.end > 0 ? scan.end : announcedLengthAt(inMemory, 0))
      this.links.host.setTimer(0, () => done(bytes))
    } else if (offset >= this.durableOffset || offset < this.trimOffset || this.closed) {
      this.links.host.setTimer(0, () => done(undefined))
    } else this.fetch(offset, length, this.durableOffset, undefined, done)
  }

  /** Whether what depends on being the only owner may be said now. */
  leaseValid(): boolean {
    return this.leaseRemainingMs() > 0
  }

  leaseRemainingMs(): number {
    return this.state === 'attached' && !this.closed ? Math.max(0, this.leaseEndMs - this.links.host.nowMs()) : 0
  }

  /** Every copy has all there is. */
  isWhole(): boolean {
    return (
      this.state === 'attached' &&
      this.health.health === 'whole' &&
      this.streams.every((stream) => stream.state === 'live' && !stream.isFilling)
    )
  }

  /** Hands the volume over: from now on nothing is said in its name, and the next owner need not wait. `done` once that is durable; the volume is closed then. */
  release(done: () => void): void {
    if (this.state !== 'attached') {
      this.close()
      this.links.host.setTimer(0, done)
      return
    }
    this.state = 'releasing'
    this.tail.append(encodeLogRecord(EPOCH_END, 1, (writer) => writer.u32(this.epoch)))
    this.whenDurable(() => {
      if (this.links.host.recording) emit(this.links.host, { kind: 'volume-released', volume: this.volume, epoch: this.epoch })
      this.close()
      done()
    })
    this.flush()
  }

  /** Stops using the volume; no further callback. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.state = 'lost'
    this.waiters.length = 0
    this.nextWaiter = 0
    this.links.unregister(this)
    this.links.leases.remove(this)
    for (const stream of this.streams) stream.close()
    this.backups.close()
    for (const timer of [this.graceTimer, this.attachTimer, this.leaseWaitTimer, this.flushTimer, this.wakeTimer]) timer?.cancel()
  }

  // What links, leases and streams tell.

  onLinkUp(copy: number): void {
    this.streamTo(copy)?.prepare()
  }

  onLinkDown(copy: number): void {
    this.streamTo(copy)?.onLinkDown()
    if (this.state === 'attached') this.health.look()
  }

  isCopy(copy: number): boolean {
    return this.streams.some((stream) => stream.copy === copy)
  }

  wantsLease(): boolean {
    return this.state !== 'preparing' && this.state !== 'lost'
  }

  onLeaseRefused(promisedEpoch: number): void {
    this.lose('refused', promisedEpoch)
  }

  onLeaseGranted(copy: number, sentAtMs: number): void {
    this.leaseGrants[copy] = Math.max(this.leaseGrants[copy]!, sentAtMs)
    const { leaseMs, maximumClockDriftPpm } = this.links.settings
    this.leaseGrantedMs = this.majorityOf((stream) => this.leaseGrants[stream.copy]!)
    this.leaseEndMs = this.leaseGrantedMs + ownersShareMs(leaseMs, maximumClockDriftPpm)
    this.advance()
  }

  /** An owner out of reach of its copies for a whole lease beyond its own gives up: others, who may reach them, cannot know while it only keeps its name with the nameservers. */
  onLeaseInterval(): void {
    if (this.state !== 'attached' && this.state !== 'releasing') return
    this.health.look()
    if (this.links.host.nowMs() <= this.leaseGrantedMs + 2 * this.links.settings.leaseMs) return
    this.links.host.reached('owner out of reach of its copies gave up')
    this.lose('unreachable', this.highestPromise)
  }

  onPrepared(stream: CopyStream): void {
    if (this.state === 'preparing') {
      this.considerPromises()
      return
    }
    const isBackup = !this.streams.includes(stream)
    if (!isBackup && this.streams.length === 1 && stream.prepared!.size < this.durableOffset) {
      this.links.host.reached('only copy came back without its log')
      this.lose('destroyed', this.highestPromise)
      return
    }
    if (isBackup) {
      stream.follow()
      return
    }
    this.trimOffset = Math.max(this.trimOffset, Math.min(stream.prepared!.trimOffset, this.durableOffset))
    stream.follow()
    if (this.state === 'attached') this.health.look()
    if (this.state === 'waiting-lease') this.advance()
  }

  onRefused(stream: CopyStream, promisedEpoch: number): void {
    this.highestPromise = Math.max(this.highestPromise, promisedEpoch)
    // A backup that knows of a higher epoch says that somebody tries; only the copies say that he got it.
    if (this.state !== 'preparing' && !this.streams.includes(stream)) return
    const refusals = this.streams.filter((other) => other === stream || other.state === 'refused').length
    if (promisedEpoch > this.epoch || refusals > this.streams.length - this.majority) this.lose('refused', this.highestPromise)
    else if (this.state === 'preparing') this.considerPromises()
  }

  onProgress(): void {
    if (this.closed) return
    if (this.state === 'repairing') this.advance()
    else {
      this.countDurable()
      this.applyTrim()
    }
  }

  onDropped(stream: CopyStream): void {
    if (this.state !== 'repairing' || stream !== this.best) return
    this.links.host.reached('chosen log lost during repair')
    this.state = 'preparing'
    this.best = undefined
    this.isRestore = false
    for (const other of this.everyStream) {
      other.acked = 0
      if (other !== stream) other.prepare()
    }
  }

  /** Reads whole records of our log from the copies that have them, one after the other until one gives sound bytes. */
  fetch(offset: number, length: number, limit: number, except: CopyStream | undefined, done: (bytes: Buffer | undefined) => void): void {
    const sources = this.everyStream.filter((stream) => stream !== except && stream.link.up && stream.acked > offset)
    sources.sort((a, b) => Number(b.state === 'live') - Number(a.state === 'live') || a.copy - b.copy)
    const ask = (index: number, wanted: number): void => {
      const source = sources[index]
      if (source === undefined) {
        done(undefined)
        return
      }
      // Beyond `acked` a copy may have what is not ours.
      const available = Math.min(limit, source.acked) - offset
      const asked = Math.min(wanted, available)
      source.link.request(
        { name: 'volumeRead', volume: this.volume, offset, length: asked },
        this.links.settings.requestTimeoutMs,
        (outcome) => {
          if (this.closed) return
          if (outcome.kind === 'reply' && outcome.message.outcome === 'read' && outcome.message.bytes.length > 0) {
            const { bytes } = outcome.message
            const scan = scanRecords(bytes, 0)
            if (scan.end > 0) {
              done(bytes.subarray(0, scan.end))
              return
            }
            const needed = announcedLengthAt(bytes, 0)
            if (scan.after === 'incomplete' && asked < needed && needed <= available) {
              ask(index, needed)
              return
            }
            if (scan.after === 'torn') this.links.host.reached('rotten record found')
          }
          ask(index + 1, wanted)
        },
      )
    }
    ask(0, length)
  }

  // Attaching.

  private start(): void {
    const { host } = this.links
    if (!this.links.register(this)) {
      this.attachTimer = host.setTimer(0, () => this.lose('refused', this.epoch))
      return
    }
    const timeoutMs = Math.max(ATTACH_TIMEOUT_MS, ATTACH_TIMEOUT_LEASES * this.links.settings.leaseMs)
    this.attachTimer = host.setTimer(timeoutMs, () => this.lose('unreachable', this.highestPromise))
    this.links.leases.add(this)
    for (const stream of this.everyStream) stream.prepare()
  }

  private streamTo(copy: number): CopyStream | undefined {
    return this.everyStream.find((stream) => stream.copy === copy)
  }

  /** Whether what has promised holds every record ever reported durable. */
  private isQuorum(): boolean {
    const promised = this.streams.filter(({ state }) => state === 'prepared')
    if (promised.length < this.majority) return false
    const { streams: backups } = this.backups
    if (backups.length > 0 && backups.every(({ state }) => state !== 'prepared')) return false
    const isNew = promised.every((stream) => stream.isBlank)
    const whole = promised.filter((stream) => !stream.isBlank && !stream.isFilling).length
    return isNew || whole >= this.majority || promised.length === this.streams.length
  }

  private considerPromises(): void {
    if (!this.isQuorum()) return
    const restoreMayBeDue = this.backups.streams.length > 0 && this.streams.every((stream) => stream.isBlank || stream.isFilling)
    const waitedFor = restoreMayBeDue
      ? (stream: CopyStream) => stream.state !== 'prepared'
      : (stream: CopyStream) => stream.state === 'preparing'
    if (!this.everyStream.some(waitedFor)) this.choose()
    else if (this.graceTimer === undefined) {
      const graceMs = this.links.host.perturb('volume-waits-for-all-promises') ? LONG_GRACE_MS : GRACE_MS
      const waitMs = restoreMayBeDue ? BACKUP_GRACE_MS : graceMs
      this.graceTimer = this.links.host.setTimer(waitMs, () => {
        this.graceTimer = undefined
        this.choose()
      })
    }
  }

  private choose(): void {
    this.graceTimer?.cancel()
    this.graceTimer = undefined
    if (this.state !== 'preparing' || !this.isQuorum()) return
    const promised = this.everyStream.filter((stream) => stream.state === 'prepared')
    let best = promised[0]!
    for (const stream of promised) {
      const [a, b] = [stream.prepared!, best.prepared!]
      const difference = lastEpoch(a.epochs) - lastEpoch(b.epochs) || a.size - b.size
      if (difference > 0) best = stream
    }
    const chosen = best.prepared!
    this.best = best
    // Copies come before backups among those that promised, so a backup is only chosen for having more.
    this.isRestore = !this.streams.includes(best)
    this.baseSize = chosen.size
    this.history = [...chosen.epochs]
    this.tail = new LogTail(chosen.size)
    this.sendableOffset = chosen.size
    for (const { prepared } of promised) {
      const { markOffset, trimOffset } = prepared!
      // Marks and trims are of what was durable, which the chosen log holds.
      if (markOffset <= chosen.size) this.announcedMark = Math.max(this.announcedMark, markOffset)
      if (trimOffset <= chosen.size) this.trimOffset = Math.max(this.trimOffset, trimOffset)
    }
    this.durableMark = this.announcedMark
    this.backups.begin(chosen.size, this.trimOffset, this.announcedMark)
    this.state = 'repairing'
    this.links.leases.renew()
    // The chosen copy first: the others fetch from it.
    best.follow()
    for (const stream of promised) if (stream !== best && !this.closed) stream.follow()
    this.advance()
  }

  /** Takes the next step of attaching, where what it waits for is there. */
  private advance(): void {
    if (this.state === 'repairing' && this.majorityOf((stream) => stream.acked) >= this.baseSize) {
      if (this.streams.some((stream) => stream.wasRepaired)) this.links.host.reached('log repaired at attach')
      this.beginEpoch()
    }
    if (this.state === 'waiting-lease') this.considerServing()
  }

  private beginEpoch(): void {
    this.state = 'reading'
    this.history.push({ epoch: this.epoch, offset: this.baseSize })
    const program = this.links.host.version
    const version = Math.min(program, EPOCH_BEGIN_LATEST)
    this.tail.append(
      encodeLogRecord(this.isRestore ? RESTORED : EPOCH_BEGIN, version, (writer) => {
        writer.u32(this.epoch)
        if (version >= 2) writer.u32(program)
      }),
    )
    this.flush()
    this.replay(Math.max(this.announcedMark, this.trimOffset))
  }

  private replay(offset: number): void {
    if (this.state !== 'reading') return
    if (offset >= this.baseSize) {
      this.replayed()
      return
    }
    this.fetch(offset, REPLAY_CHUNK_BYTES, this.baseSize, undefined, (bytes) => {
      if (bytes === undefined) {
        this.links.host.setTimer(READ_RETRY_MS, () => this.replay(offset))
        return
      }
      const { records } = scanRecords(bytes, 0, (at, type, version, body) => {
        if (this.state !== 'reading') return
        this.handedOver = type === EPOCH_END
        this.pointAtMs = type === BACKUP_POINT ? new Reader(body).u53() : 0
        if (type === EPOCH_BEGIN && version > this.links.host.version) this.links.host.reached('epoch of a later version replayed')
        const isOurs = type === EPOCH_BEGIN || type === EPOCH_END || type === BACKUP_POINT
        if (!isOurs) this.listener.onReplay(offset + at, type, version, body)
      })
      this.links.host.work('record', records)
      this.replay(offset + bytes.length)
    })
  }

  private replayed(): void {
    const { host } = this.links
    if (this.isRestore) {
      this.handedOver = false
      this.listener.onReplay(this.baseSize, RESTORED, 1, EMPTY)
      host.reached('volume restored from its backup point')
      if (host.recording) {
        const { volume, epoch, baseSize: offset, pointAtMs } = this
        emit(host, { kind: 'volume-restored', volume, epoch, offset, pointAtMs, from: this.links.names[this.best!.copy]! })
      }
    }
    this.state = 'waiting-lease'
    this.considerServing()
  }

  private considerServing(): void {
    const { host } = this.links
    if (this.durableOffset === 0) return // our epoch's first record is not durable yet
    const nowMs = host.nowMs()
    // Every majority that could uphold a former lease shares a copy with any majority that has promised, so the majority that is free first will do.
    const freeAtMs = -this.majorityOf((stream) => -stream.formerLeaseEndMs)
    if (this.handedOver) host.reached('attached without waiting for a former lease')
    else if (freeAtMs > nowMs) {
      this.leaseWaitTimer?.cancel()
      this.leaseWaitTimer = host.setTimer(Math.ceil(freeAtMs - nowMs), () => this.advance())
      return
    }
    if (this.leaseEndMs <= nowMs) return
    this.attachTimer?.cancel()
    this.state = 'attached'
    const repairedCopies = this.streams.filter((stream) => stream.wasRepaired).length
    if (host.recording) {
      emit(host, { kind: 'volume-attached', volume: this.volume, epoch: this.epoch, size: this.tail.end, repairedCopies })
    }
    this.listener.onAttached()
    this.backups.start()
  }

  private lose(reason: LossReason, promisedEpoch: number): void {
    if (this.closed) return
    this.close()
    const { host } = this.links
    if (host.recording) emit(host, { kind: 'volume-lost', volume: this.volume, epoch: this.epoch, reason })
    this.listener.onLost(reason, Math.max(promisedEpoch, this.epoch))
  }

  // Serving.

  private flush(): void {
    if (this.sendableOffset === this.tail.end) return
    this.announceMark()
    this.sendableOffset = this.tail.end
    this.batchEnds.push(this.tail.end)
    if (this.announcedMark > this.durableMark && this.markCarriedAt === Number.POSITIVE_INFINITY) this.markCarriedAt = this.tail.end
    for (const stream of this.streams) stream.pump()
  }

  private countDurable(): void {
    const durable = Math.min(
      this.majorityOf((stream) => stream.acked),
      this.tail.end,
    )
    // Until a record of our own epoch is durable, nothing is.
    if (durable <= this.durableOffset || durable <= this.baseSize) return
    this.durableOffset = durable
    while (this.batchEnds.length > 0 && this.batchEnds[0]! <= durable) this.batchEnds.shift()
    if (durable >= this.markCarriedAt) {
      this.durableMark = this.announcedMark
      this.markCarriedAt = Number.POSITIVE_INFINITY
    }
    this.tail.release(durable, KEPT_TAIL_BYTES)
    if (this.state === 'waiting-lease') this.considerServing()
    this.wake()
    if (this.closed) return
    this.applyTrim()
    if (this.flushTimer === undefined && this.batchEnds.length < BATCHES_IN_FLIGHT) this.flush()
  }

  private wake(): void {
    while (this.nextWaiter < this.waiters.length && this.waiters[this.nextWaiter]!.offset <= this.durableOffset) {
      const { done } = this.waiters[this.nextWaiter++]!
      done()
    }
    if (this.nextWaiter === this.waiters.length || this.nextWaiter > 1024) {
      this.waiters.splice(0, this.nextWaiter)
      this.nextWaiter = 0
    }
  }

  private announceMark(): void {
    if (this.wantedMark <= this.announcedMark || this.wantedMarkAt > this.durableOffset) return
    if (this.markCarriedAt !== Number.POSITIVE_INFINITY) return // one at a time
    this.announcedMark = this.wantedMark
  }

  private applyTrim(): void {
    if (this.state !== 'attached') return
    const bound = this.announcedMark > 0 || this.wantedMark > 0 ? this.durableMark : this.durableOffset
    const offset = Math.min(this.wantedTrim, this.durableOffset, bound)
    if (offset <= this.trimOffset || offset > this.backups.trimLimit()) return
    this.trimOffset = offset
    for (const stream of this.streams) stream.trim()
  }

  /** The greatest value that a majority of the streams reaches. */
  private majorityOf(value: (stream: CopyStream) => number): number {
    let greatest = Number.NEGATIVE_INFINITY
    for (const stream of this.streams) {
      const candidate = value(stream)
      if (candidate <= greatest) continue
      let reached = 0
      for (const other of this.streams) if (value(other) >= candidate) reached++
      if (reached >= this.majority) greatest = candidate
    }
    return greatest
  }
}

const EMPTY = Buffer.alloc(0)
