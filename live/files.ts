/**
 * A machine's disk as one flat directory: a file's name is encoded, so that `v3/log-0` stays one name and none leads out of the directory.
 *
 * Promised: `append`, `cutTail` and `remove` reach the system at once, so that what was appended can be read and survives the process; `sync` is fsync
 * of the file, and of the directory after the file was created; callbacks come in the order of the calls on one name, never from inside
 * the call. Syncs that wait while one runs share the next one. A write that failed is told by the next `sync`, once.
 *
 * Left out: what a power loss would have taken. `durableBytes` is what a `sync` covered, as far as it is still there; files found at the start count as durable.
 */
import {
  closeSync,
  constants,
  fsync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { FileError, Files } from '../model/host.ts'

type Outcome = { readonly error: FileError | undefined; readonly bytes: Buffer }

/** One call whose callback is still to come. */
interface Waiting {
  outcome: Outcome | undefined
  readonly done: (outcome: Outcome) => void
  /** A sync that no fsync covers yet. */
  unstarted: boolean
}

interface LiveFile {
  readonly name: string
  readonly path: string
  /** Undefined where there is no such file (any more). */
  descriptor: number | undefined
  size: number
  durableSize: number
  /** Whether the directory was synced since the file was made. */
  entryDurable: boolean
  failure: FileError | undefined
  /** The descriptor that an fsync is running on. */
  syncing: number | undefined
  readonly waiting: Waiting[]
  draining: boolean
}

const nothing = Buffer.alloc(0)

export class LiveDisk {
  readonly #directory: string
  readonly #directoryDescriptor: number
  readonly #files = new Map<string, LiveFile>()
  readonly #onSynced: (file: string, size: number) => void
  #closing: (() => void) | undefined

  constructor(directory: string, onSynced: (file: string, size: number) => void) {
    mkdirSync(directory, { recursive: true })
    this.#directory = directory
    this.#directoryDescriptor = openSync(directory, constants.O_RDONLY)
    this.#onSynced = onSynced
    for (const entry of readdirSync(directory)) {
      const file = emptyFile(directory, decodeURIComponent(entry))
      file.size = statSync(file.path).size
      file.durableSize = file.size
      file.entryDurable = true
      file.descriptor = openFile(file.path)
      this.#files.set(file.name, file)
    }
  }

  /** The disk as one process sees it: its callbacks go through `deliver`. */
  filesFor(deliver: (callback: () => void) => void): Files {
    return {
      append: (name, bytes) => this.#append(name, bytes),
      sync: (name, done) => this.#sync(name, (outcome) => deliver(() => done(outcome.error))),
      read: (name, offset, length, done) =>
        this.#wait(this.#entry(name), this.#read(name, offset, length), (outcome) => deliver(() => done(outcome.error, outcome.bytes))),
      size: (name) => this.#files.get(name)?.size ?? 0,
      cutTail: (name, size) => this.#cutTail(name, size),
      list: (prefix) => this.#list(prefix),
      remove: (name) => this.#remove(name),
    }
  }

  durableBytes(name: string): Buffer {
    const file = this.#files.get(name)
    return file === undefined ? nothing : this.#read(name, 0, file.durableSize).bytes
  }

  durableFiles(prefix: string): readonly string[] {
    return this.#list(prefix).filter((name) => this.#files.get(name)?.entryDurable)
  }

  /** Waits for running syncs and closes all files. No process may use the disk any more. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#closing = resolve
      this.#closeWhenIdle()
    })
  }

  #entry(name: string): LiveFile {
    let file = this.#files.get(name)
    if (file === undefined) {
      file = emptyFile(this.#directory, name)
      this.#files.set(name, file)
    }
    return file
  }

  #append(name: string, bytes: Buffer): void {
    const file = this.#entry(name)
    try {
      file.descriptor ??= openFile(file.path)
      for (let written = 0; written < bytes.length; ) {
        const count = writeSync(file.descriptor, bytes, written, bytes.length - written, file.size)
        written += count
        file.size += count
      }
    } catch (error) {
      file.failure ??= fileError(error)
    }
  }

  #read(name: string, offset: number, length: number): Outcome {
    const file = this.#files.get(name)
    if (file?.descriptor === undefined) return { error: 'not-found', bytes: nothing }
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, file.size - offset)))
    try {
      let count = 0
      while (count < bytes.length) {
        const more = readSync(file.descriptor, bytes, count, bytes.length - count, offset + count)
        if (more === 0) break
        count += more
      }
      return { error: undefined, bytes: bytes.subarray(0, count) }
    } catch (error) {
      return { error: fileError(error), bytes: nothing }
    }
  }

  #cutTail(name: string, size: number): void {
    const file = this.#files.get(name)
    if (file?.descriptor === undefined || size >= file.size) return
    try {
      ftruncateSync(file.descriptor, size)
      file.size = size
      file.durableSize = Math.min(file.durableSize, size)
    } catch (error) {
      file.failure ??= fileError(error)
    }
  }

  #list(prefix: string): readonly string[] {
    const names: string[] = []
    for (const file of this.#files.values()) if (file.descriptor !== undefined && file.name.startsWith(prefix)) names.push(file.name)
    return names.sort()
  }

  #remove(name: string): void {
    const file = this.#files.get(name)
    if (file?.descriptor === undefined) return
    unlinkSync(file.path)
    fsyncSync(this.#directoryDescriptor)
    if (file.syncing !== file.descriptor) closeSync(file.descriptor)
    file.descriptor = undefined
    file.size = 0
    file.durableSize = 0
    file.entryDurable = false
    file.failure = undefined
    this.#forgetIfIdle(file)
  }

  #sync(name: string, done: (outcome: Outcome) => void): void {
    const file = this.#entry(name)
    if (file.failure !== undefined) {
      const error = file.failure
      file.failure = undefined
      this.#wait(file, { error, bytes: nothing }, done)
    } else if (file.descriptor === undefined) {
      this.#wait(file, { error: 'not-found', bytes: nothing }, done)
    } else {
      file.waiting.push({ outcome: undefined, done, unstarted: true })
      this.#startSync(file)
    }
  }

  #startSync(file: LiveFile): void {
    if (file.syncing !== undefined) return
    const covered = file.waiting.filter((waiting) => waiting.unstarted)
    if (covered.length === 0) return
    for (const waiting of covered) waiting.unstarted = false
    const { descriptor, size } = file
    if (descriptor === undefined) {
      this.#settle(file, covered, undefined)
      return
    }
    file.syncing = descriptor
    const whole = (failure: Error | null) => {
      file.syncing = undefined
      const error = failure === null ? undefined : fileError(failure)
      if (file.descriptor === descriptor) {
        if (error === undefined) {
          file.entryDurable = true
          file.durableSize = Math.min(size, file.size)
          this.#onSynced(file.name, file.durableSize)
        }
      } else {
        closeSync(descriptor)
      }
      this.#settle(file, covered, error)
      this.#startSync(file)
      this.#closeWhenIdle()
    }
    const needsEntry = !file.entryDurable
    fsync(descriptor, (failure) => {
      if (failure === null && needsEntry) fsync(this.#directoryDescriptor, whole)
      else whole(failure)
    })
  }

  #settle(file: LiveFile, covered: readonly Waiting[], error: FileError | undefined): void {
    for (const waiting of covered) waiting.outcome = { error, bytes: nothing }
    this.#drainSoon(file)
  }

  #wait(file: LiveFile, outcome: Outcome, done: (outcome: Outcome) => void): void {
    file.waiting.push({ outcome, done, unstarted: false })
    this.#drainSoon(file)
  }

  #drainSoon(file: LiveFile): void {
    if (file.draining) return
    file.draining = true
    setImmediate(() => {
      file.draining = false
      for (let first = file.waiting[0]; first?.outcome !== undefined; first = file.waiting[0]) {
        file.waiting.shift()
        first.done(first.outcome)
      }
      this.#forgetIfIdle(file)
      this.#closeWhenIdle()
    })
  }

  #forgetIfIdle(file: LiveFile): void {
    if (file.descriptor !== undefined || file.failure !== undefined || file.waiting.length > 0 || file.syncing !== undefined) return
    if (this.#files.get(file.name) === file) this.#files.delete(file.name)
  }

  #closeWhenIdle(): void {
    if (this.#closing === undefined) return
    for (const file of this.#files.values()) if (file.syncing !== undefined || file.waiting.length > 0 || file.draining) return
    for (const file of this.#files.values()) if (file.descriptor !== undefined) closeSync(file.descriptor)
    closeSync(this.#directoryDescriptor)
    this.#closing()
    this.#closing = undefined
  }
}

function emptyFile(directory: string, name: string): LiveFile {
  return {
    name,
    path: join(directory, encodeName(name)),
    descriptor: undefined,
    size: 0,
    durableSize: 0,
    entryDurable: false,
    failure: undefined,
    syncing: undefined,
    waiting: [],
    draining: false,
  }
}

function openFile(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644)
}

/** Also at the start of a name, where a dot would make `.` and `..`. */
function encodeName(name: string): string {
  if (name === '') throw new RangeError('expected a file name, got an empty one')
  return encodeURIComponent(name).replace(/^\./, '%2E')
}

function fileError(error: unknown): FileError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return code === 'ENOSPC' || code === 'EDQUOT' ? 'full' : 'failed'
}
