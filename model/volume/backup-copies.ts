/**
 * The backups of one volume, as its owner keeps them: other copy servers that follow the log up to its last backup point, and count for nothing else.
 *
 * A point is taken every `backupIntervalMs`, once something was written since the last: it ends with a `BACKUP_POINT` record and carries the mark and the
 * trim that hold there, so that it can be replayed by itself. Promises: a backup is always a prefix of the log, of durable records only; a point that was told
 * of (`backup-taken`) is durable on the backup copies that are named.
 * The log itself is trimmed only up to where the backups in reach have it: a backup need not give up its point to get the next.
 * Left out: points older than the last. A backup that fell behind the trim goes on at the trim, and is of use again once it has caught up.
 */
import { emit } from '../events.ts'
import type { Timer } from '../host.ts'
import type { CopyLinks } from './copy-links.ts'
import { CopyStream, type StreamOwner } from './copy-stream.ts'
import type { EpochStart } from './epochs.ts'
import { BACKUP_POINT } from './log-record.ts'
import type { LogTail } from './log-tail.ts'

/** The volume, as its backups need it. */
export interface BackupSource extends StreamOwner {
  append(type: number, version: number, writeBody: (writer: { u53(value: number): void }) => void): number
  readonly endOffset: number
  whenDurable(done: () => void): void
}

export class BackupCopies implements StreamOwner {
  readonly streams: readonly CopyStream[]
  sendableOffset = 0
  durableOffset = 0
  trimOffset = 0
  announcedMark = 0
  /** A backup is asked for what it has, and never taken to have everything. */
  readonly wholeOffset = 0
  private readonly links: CopyLinks
  private readonly source: BackupSource
  private timer: Timer | undefined
  /** Where the log ended when a point was last taken, or found. */
  private takenAt = 0
  /** Who has which point, as last told. */
  private told = ''

  constructor(links: CopyLinks, backups: readonly number[], source: BackupSource) {
    this.links = links
    this.source = source
    this.streams = backups.map((copy) => new CopyStream(links, copy, this))
  }

  get volume(): number {
    return this.source.volume
  }

  get epoch(): number {
    return this.source.epoch
  }

  get history(): readonly EpochStart[] {
    return this.source.history
  }

  get tail(): LogTail {
    return this.source.tail
  }

  /** A log was chosen, which ends here: the backups are made equal to it before they get more. */
  begin(size: number, trimOffset: number, markOffset: number): void {
    this.sendableOffset = size
    this.trimOffset = trimOffset
    this.announcedMark = markOffset
  }

  /** The volume is served: from now on points are taken. */
  start(): void {
    if (this.streams.length === 0) return
    this.takenAt = this.source.endOffset
    this.take()
    this.arm()
  }

  /** The log is not to be trimmed beyond this. While no backup is in reach it stays as it is. */
  trimLimit(): number {
    if (this.streams.length === 0) return Number.POSITIVE_INFINITY
    const inReach = this.inReach()
    return inReach.length === 0 ? 0 : Math.min(...inReach.map(({ acked }) => acked))
  }

  close(): void {
    this.timer?.cancel()
    for (const stream of this.streams) stream.close()
  }

  fetch(...call: Parameters<StreamOwner['fetch']>): void {
    this.source.fetch(...call)
  }

  onPrepared(stream: CopyStream): void {
    this.source.onPrepared(stream)
  }

  onRefused(stream: CopyStream, promisedEpoch: number): void {
    this.source.onRefused(stream, promisedEpoch)
  }

  onProgress(stream: CopyStream): void {
    this.source.onProgress(stream)
    this.tell()
  }

  onDropped(stream: CopyStream): void {
    this.source.onDropped(stream)
  }

  private arm(): void {
    this.timer = this.links.host.setTimer(this.links.settings.backupIntervalMs, () => {
      if (this.source.endOffset > this.takenAt || this.source.trimOffset > this.trimOffset) this.mark()
      this.arm()
    })
  }

  private mark(): void {
    const { host } = this.links
    this.source.append(BACKUP_POINT, 1, (writer) => writer.u53(Math.max(0, Math.floor(host.wallMs()))))
    const end = this.source.endOffset
    this.takenAt = end
    this.source.whenDurable(() => {
      if (end > this.sendableOffset) this.take(end)
    })
  }

  private take(end = this.source.durableOffset): void {
    this.sendableOffset = Math.max(this.sendableOffset, end)
    this.durableOffset = this.sendableOffset
    this.trimOffset = this.source.trimOffset
    this.announcedMark = this.source.announcedMark
    for (const stream of this.streams) {
      stream.pump()
      stream.trim()
    }
  }

  private tell(): void {
    const { host, names } = this.links
    if (this.durableOffset === 0 || !host.recording) return
    const having = this.inReach()
      .filter((stream) => stream.acked >= this.durableOffset)
      .map((stream) => names[stream.copy]!)
    const told = `${this.durableOffset} ${having.join(' ')}`
    if (having.length === 0 || told === this.told) return
    this.told = told
    emit(host, { kind: 'backup-taken', volume: this.volume, epoch: this.epoch, offset: this.durableOffset, copies: having })
  }

  private inReach(): readonly CopyStream[] {
    return this.streams.filter(({ state }) => state === 'live' || state === 'catching-up')
  }
}
