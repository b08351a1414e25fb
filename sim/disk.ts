/**
 * A machine's disk: files, and the time that syncs and reads take. It outlives processes; what a power loss leaves is in `file.ts`.
 *
 * A sync or read waits for the transfer of its bytes, one after the other on one disk, and for a latency that overlaps with others'. Sizes, listings, appends and cuts
 * work on the cache and take no time; removing is durable at once.
 *
 * Faults: a stall (what begins waits until it is over), a slow disk, syncs that fail, find no room, or claim a success that is none, sectors that are written to a
 * wrong place, bits that flip, and the loss of all of it. Each kind has draws of its own.
 *
 * Left out: a limit to the size other than the fault, torn removals, damage to names and sizes.
 */
import type { FileError, Files } from '../model/host.ts'
import { product, type Runnable } from './compute.ts'
import { DISK, DISK_DAMAGED, kindsPerMachine } from './event-kinds.ts'
import { SimFile, sectorBytes } from './file.ts'
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
  /** It will say that it has succeeded, and do nothing. */
  private lies = false
  /** One of its sectors goes to a place that this draw chooses. */
  misdirectedBy: number | undefined = undefined

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

  fail(error: FileError): void {
    this.error ??= error
  }

  /** One that fails says so. */
  lie(): void {
    this.lies = this.error === undefined
  }

  fire(kind: number): void {
    if (this.powerEpoch !== this.disk.powerEpoch) return
    if (this.isSync && this.file !== undefined && !this.lies) {
      this.disk.complete(this.name, this.file, this.covers, this.error, this.misdirectedBy)
    }
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
  private readonly lieProbabilities: number[] = []
  private readonly misdirectionProbabilities: number[] = []
  private readonly slowdowns: number[] = []
  private fullReasons = 0
  private readonly lieKey: number
  private readonly misdirectionKey: number
  private readonly rotKey: number
  private rotten = 0

  constructor(machine: Machine, model: DiskModel, seed: number) {
    this.machine = machine
    this.syncTable = delayTable(model.sync)
    this.readTable = delayTable(model.read)
    this.bytesPerUs = model.bytesPerSecond / 1_000_000
    this.key = drawKey(seed, `disk/${machine.spec.name}`)
    this.crashKey = derivedKey(this.key, 1)
    this.lieKey = derivedKey(this.key, 2)
    this.misdirectionKey = derivedKey(this.key, 3)
    this.rotKey = derivedKey(this.key, 4)
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
  complete(name: string, file: SimFile, covers: number, error: FileError | undefined, misdirectedBy: number | undefined): void {
    if (error !== undefined) {
      file.syncFailed(covers)
      return
    }
    const sizeBefore = file.durableSize
    const size = file.syncSucceeded(covers)
    if (misdirectedBy !== undefined) this.misdirect(file, sizeBefore, misdirectedBy)
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
    return held(this.failureProbabilities, probability)
  }

  lie(probability: number): () => void {
    return held(this.lieProbabilities, probability)
  }

  misdirectWrites(probability: number): () => void {
    return held(this.misdirectionProbabilities, probability)
  }

  slow(factor: number): () => void {
    return held(this.slowdowns, factor)
  }

  fill(): () => void {
    this.fullReasons++
    return () => {
      this.fullReasons--
    }
  }

  /** Flips so many bits of what is durable. A disk that holds nothing has nothing to rot. */
  rot(bits: number): void {
    for (let i = 0; i < bits; i++) {
      const index = this.rotten++
      const place = this.durablePlace(drawAt(this.rotKey, index * 2))
      if (place === undefined) return
      const { file, offset } = place
      const byte = Buffer.from(file.read(offset, 1))
      byte[0]! ^= 1 << (drawAt(this.rotKey, index * 2 + 1) & 7)
      file.damage(offset, byte)
      this.noteDamage(offset)
    }
  }

  /** All that was on it is gone. @returns the names of the files that were. */
  erase(): readonly string[] {
    this.powerEpoch++
    this.stalled = []
    const names = this.list('', false)
    this.files.clear()
    return names
  }

  /** Of what became durable since the file had `sizeBefore` bytes, one sector is missing, and stands elsewhere. */
  private misdirect(file: SimFile, sizeBefore: number, draw: number): void {
    const grownBy = file.durableSize - sizeBefore
    if (grownBy <= 0) return
    const sectors = Math.ceil(file.durableSize / sectorBytes) - Math.floor(sizeBefore / sectorBytes)
    const sector = Math.floor(sizeBefore / sectorBytes) + ((draw >>> 1) % sectors)
    const from = Math.max(sizeBefore, sector * sectorBytes)
    const bytes = file.durableBytes().subarray(from, Math.min(file.durableSize, (sector + 1) * sectorBytes))
    const wrong = this.durablePlace(Math.imul(draw, 0x7feb352d) ^ (draw >>> 15))
    file.damage(from, Buffer.alloc(bytes.length))
    this.noteDamage(from)
    if (wrong === undefined) return
    wrong.file.damage(wrong.offset - (wrong.offset % sectorBytes), bytes)
    this.noteDamage(wrong.offset)
  }

  /** The place of one of all durable bytes, each equally likely. */
  private durablePlace(draw: number): { readonly file: SimFile; readonly offset: number } | undefined {
    const files = this.list('', true).map((name) => this.files.get(name)!)
    let total = 0
    for (const file of files) total += file.durableSize
    if (total === 0) return undefined
    let at = Math.floor(((draw >>> 0) / 0x100000000) * total)
    for (const file of files) {
      if (at < file.durableSize) return { file, offset: at }
      at -= file.durableSize
    }
    return undefined
  }

  private noteDamage(offset: number): void {
    this.machine.kernel.note(this.machine.index * kindsPerMachine + DISK_DAMAGED, offset)
  }

  private mayGoWrong(operation: DiskOperation, index: number): void {
    const { failureProbabilities, lieProbabilities, misdirectionProbabilities } = this
    if (failureProbabilities.length > 0 && isWithin(drawAt(this.key, index * 2 + 1), Math.max(...failureProbabilities)))
      operation.fail('failed')
    if (this.fullReasons > 0 && operation.bytes > 0) operation.fail('full')
    if (lieProbabilities.length > 0 && isWithin(drawAt(this.lieKey, index), Math.max(...lieProbabilities))) operation.lie()
    if (misdirectionProbabilities.length > 0) {
      const draw = drawAt(this.misdirectionKey, index * 2)
      if (isWithin(draw, Math.max(...misdirectionProbabilities))) operation.misdirectedBy = drawAt(this.misdirectionKey, index * 2 + 1)
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
    const slowdown = this.slowdowns.length === 0 ? 1 : product(this.slowdowns)
    this.transferFreeUs = Math.max(this.transferFreeUs, startUs) + Math.ceil((operation.bytes / this.bytesPerUs) * slowdown)
    const latencyUs = delayOf(operation.isSync ? this.syncTable : this.readTable, drawAt(this.key, index * 2))
    let atUs = this.transferFreeUs + Math.round(latencyUs * slowdown)
    if (operation.isSync) this.mayGoWrong(operation, index)
    const { file } = operation
    if (file !== undefined) {
      if (atUs < file.lastCompletionUs) atUs = file.lastCompletionUs
      file.lastCompletionUs = atUs
    }
    kernel.schedule(atUs, this.machine.index * kindsPerMachine + DISK, operation, undefined, 0)
  }
}

/** Keeps a number in a list until the returned function is called. */
function held(list: number[], value: number): () => void {
  list.push(value)
  return () => {
    list.splice(list.indexOf(value), 1)
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
