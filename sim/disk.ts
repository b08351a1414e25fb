/**
 * A machine's disk: files, and the time that syncs and reads take. It outlives processes; what a power loss leaves is in `file.ts`.
 *
 * A sync or read waits for the transfer of its bytes, one after the other on one disk, and for a latency that overlaps with others'. Faults: a
 * stall (what begins waits until it is over) and syncs that fail. Sizes, listings, appends and cuts work on the cache and take no time; removing is durable at once.
 *
 * Left out: a limit to the size, torn removals, bit rot and misdirected writes (faults of a later stage).
 */
import type { FileError, Files } from '../model/host.ts'
import type { Runnable } from './compute.ts'
import { DISK, kindsPerMachine } from './event-kinds.ts'
import { SimFile } from './file.ts'
import { type DelayTable, delayOf, delayTable, type Percentiles, withTail } from './latency.ts'
import type { Machine } from './machine.ts'
import type { EventTarget } from './queue.ts'
import { derivedKey, drawAt, drawKey, isWithin } from './random.ts'

export interface DiskModel {
  readonly sync: Percentiles
  readonly read: Percentiles
  readonly bytesPerSecond: number
}

export const defaultDisk: DiskModel = { sync: withTail(1000), read: withTail(100), bytesPerSecond: 200_000_000 }

const noBytes = Buffer.alloc(0)

/** The process that called, as far as the disk needs to know it. */
export interface DiskUser {
  readonly isAlive: boolean
}

/** A sync or a read under way. */
class DiskOperation implements EventTarget, Runnable {
  readonly file: SimFile | undefined
  readonly bytes: number
  private readonly disk: SimDisk
  private readonly user: DiskUser
  private readonly name: string
  private readonly covers: number
  private readonly result: Buffer
  private readonly done: (error: FileError | undefined, bytes: Buffer) => void
  private readonly powerEpoch: number
  private error: FileError | undefined

  constructor(
    disk: SimDisk,
    user: DiskUser,
    fields: {
      readonly name: string
      readonly file: SimFile | undefined
      readonly bytes: number
      /** Which operations a sync makes durable; -1 for a read. */
      readonly covers: number
      readonly result: Buffer
      readonly error: FileError | undefined
      readonly done: (error: FileError | undefined, bytes: Buffer) => void
    },
  ) {
    this.disk = disk
    this.user = user
    this.name = fields.name
    this.file = fields.file
    this.bytes = fields.bytes
    this.covers = fields.covers
    this.result = fields.result
    this.error = fields.error
    this.done = fields.done
    this.powerEpoch = disk.powerEpoch
  }

  get isSync(): boolean {
    return this.covers >= 0
  }

  fail(): void {
    this.error ??= 'failed'
  }

  fire(kind: number): void {
    if (this.powerEpoch !== this.disk.powerEpoch) return
    if (this.isSync && this.file !== undefined) this.disk.complete(this.name, this.file, this.covers, this.error)
    if (this.user.isAlive) this.disk.machine.dispatch(this, kind, undefined, 0)
  }

  run(): void {
    this.disk.machine.enter()
    this.done(this.error, this.result)
    this.disk.machine.leave()
  }

  describe(): string {
    return `${this.isSync ? 'sync' : 'read'} of ${this.name}, ${this.error ?? `${this.bytes} bytes`}`
  }
}

export class SimDisk {
  readonly machine: Machine
  /** Grows with each power loss: what was under way before never completes. */
  powerEpoch = 0
  private readonly files = new Map<string, SimFile>()
  private readonly syncTable: DelayTable
  private readonly readTable: DelayTable
  private readonly bytesPerUs: number
  private readonly key: number
  private readonly crashKey: number
  private operations = 0
  private transferFreeUs = 0
  private stalls = 0
  private stalled: DiskOperation[] = []
  private readonly failureProbabilities: number[] = []

  constructor(machine: Machine, model: DiskModel, seed: number) {
    this.machine = machine
    this.syncTable = delayTable(model.sync)
    this.readTable = delayTable(model.read)
    this.bytesPerUs = model.bytesPerSecond / 1_000_000
    this.key = drawKey(seed, `disk/${machine.spec.name}`)
    this.crashKey = derivedKey(this.key, 1)
  }

  /** The files as a process sees them. */
  filesFor(user: DiskUser): Files {
    return new SimFiles(this, user)
  }

  file(name: string): SimFile | undefined {
    return this.files.get(name)
  }

  fileToWrite(name: string): SimFile {
    let file = this.files.get(name)
    if (file === undefined) {
      file = new SimFile()
      this.files.set(name, file)
    }
    return file
  }

  remove(name: string): void {
    this.files.delete(name)
  }

  list(prefix: string, durableOnly: boolean): string[] {
    const names: string[] = []
    for (const [name, file] of this.files) if (name.startsWith(prefix) && (!durableOnly || file.isDurable)) names.push(name)
    return names.sort()
  }

  durableBytes(name: string): Buffer {
    const file = this.files.get(name)
    return file?.isDurable === true ? file.durableBytes() : noBytes
  }

  sync(user: DiskUser, name: string, done: (error: FileError | undefined) => void): void {
    const file = this.files.get(name)
    const { covers, bytes } = file?.beginSync() ?? { covers: 0, bytes: 0 }
    const error = file === undefined ? 'not-found' : undefined
    this.begin(new DiskOperation(this, user, { name, file, bytes, covers, result: noBytes, error, done }))
  }

  read(user: DiskUser, name: string, offset: number, length: number, done: (error: FileError | undefined, bytes: Buffer) => void): void {
    const file = this.files.get(name)
    const result = file?.read(offset, length) ?? noBytes
    const error = file === undefined ? 'not-found' : undefined
    this.begin(new DiskOperation(this, user, { name, file, bytes: result.length, covers: -1, result, error, done }))
  }

  /** A sync has come to its end. */
  complete(name: string, file: SimFile, covers: number, error: FileError | undefined): void {
    if (error !== undefined) {
      file.syncFailed(covers)
      return
    }
    const size = file.syncSucceeded(covers)
    if (size !== undefined) this.machine.history.synced(this.machine.spec.name, name, size)
  }

  /** @returns the names of the files that lost bytes. */
  losePower(): readonly string[] {
    this.powerEpoch++
    this.transferFreeUs = 0
    this.stalled = []
    const key = derivedKey(this.crashKey, this.powerEpoch)
    const lost: string[] = []
    for (const name of this.list('', false)) {
      const file = this.files.get(name)!
      const fileKey = drawKey(key, name)
      if (file.losePower((index) => drawAt(fileKey, index))) lost.push(name)
      file.lastCompletionUs = 0
      if (!file.isDurable) this.files.delete(name)
    }
    return lost
  }

  stall(): () => void {
    this.stalls++
    return () => {
      this.stalls--
      if (this.stalls > 0) return
      const waiting = this.stalled
      this.stalled = []
      for (const operation of waiting) this.begin(operation)
    }
  }

  failSyncs(probability: number): () => void {
    this.failureProbabilities.push(probability)
    return () => {
      this.failureProbabilities.splice(this.failureProbabilities.indexOf(probability), 1)
    }
  }

  private begin(operation: DiskOperation): void {
    if (this.stalls > 0) {
      this.stalled.push(operation)
      return
    }
    const { kernel } = this.machine
    const index = this.operations++
    const startUs = kernel.departureUs()
    this.transferFreeUs = Math.max(this.transferFreeUs, startUs) + Math.ceil(operation.bytes / this.bytesPerUs)
    let atUs = this.transferFreeUs + delayOf(operation.isSync ? this.syncTable : this.readTable, drawAt(this.key, index * 2))
    if (operation.isSync && this.failureProbabilities.length > 0) {
      if (isWithin(drawAt(this.key, index * 2 + 1), Math.max(...this.failureProbabilities))) operation.fail()
    }
    const { file } = operation
    if (file !== undefined) {
      if (atUs < file.lastCompletionUs) atUs = file.lastCompletionUs
      file.lastCompletionUs = atUs
    }
    kernel.schedule(atUs, this.machine.index * kindsPerMachine + DISK, operation, undefined, 0)
  }
}

/** A process's way to the disk: closed once the process has ended. */
class SimFiles implements Files {
  private readonly disk: SimDisk
  private readonly user: DiskUser

  constructor(disk: SimDisk, user: DiskUser) {
    this.disk = disk
    this.user = user
  }

  append(name: string, bytes: Buffer): void {
    if (this.user.isAlive) this.disk.fileToWrite(name).append(bytes)
  }

  sync(name: string, done: (error: FileError | undefined) => void): void {
    if (this.user.isAlive) this.disk.sync(this.user, name, done)
  }

  read(name: string, offset: number, length: number, done: (error: FileError | undefined, bytes: Buffer) => void): void {
    if (this.user.isAlive) this.disk.read(this.user, name, offset, length, done)
  }

  size(name: string): number {
    return this.disk.file(name)?.size ?? 0
  }

  cutTail(name: string, size: number): void {
    if (this.user.isAlive) this.disk.file(name)?.cutTail(size)
  }

  list(prefix: string): readonly string[] {
    return this.disk.list(prefix, false)
  }

  remove(name: string): void {
    if (this.user.isAlive) this.disk.remove(name)
  }
}
