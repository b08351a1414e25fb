/**
 * What one copy of a volume knows beside the log's bytes: the promise, the epoch history, mark and trim, and whether it is being filled. Kept as facts, one CRC-framed record each,
 * in `v<volume>/meta-<n>`; every file begins with a snapshot of all that held when it was begun.
 *
 * A fact counts once `commit` has said so. After a failed sync nothing in that file is trusted any more: the next commit writes a new file.
 * A new file replaces the older ones only after its own sync, so at every instant the highest file that begins with a whole snapshot holds every fact
 * that was ever reported durable. On start it is read up to its first torn record, and at once replaced by a new file.
 *
 * One commit at a time: whoever uses this orders its calls.
 */
import type { Host } from '../host.ts'
import { bool, list, Reader, record, u32, u53, utf8, type Value } from '../wire/codec.ts'
import { cutEpochs, type EpochStart, trimEpochs } from './epochs.ts'
import { encodeLogRecord, scanRecords } from './log-record.ts'

const SNAPSHOT = 1
const PROMISE = 2
const EPOCH_START = 3
const MARK = 4
const TRIM = 5
const CUT = 6
const RESET = 7
const FILLING = 8

const RECORD_VERSION = 1
const COMPACT_AT_BYTES = 32 * 1024
const LONGEST_FILE_BYTES = 8 << 20

const promiseField = record({ epoch: u32, owner: utf8 })
const epochStartField = record({ epoch: u32, offset: u53 })
const offsetField = record({ offset: u53 })
const fillingField = record({ isFilling: bool })
const snapshotField = record({
  promisedEpoch: u32,
  owner: utf8,
  markOffset: u53,
  trimOffset: u53,
  epochs: list(epochStartField),
  isFilling: bool,
})

export type Fact =
  | ({ readonly kind: 'promise' } & Value<typeof promiseField>)
  | ({ readonly kind: 'epoch-start' } & Value<typeof epochStartField>)
  | { readonly kind: 'mark'; readonly offset: number }
  | { readonly kind: 'trim'; readonly offset: number }
  | { readonly kind: 'cut'; readonly offset: number }
  /** The log was emptied and goes on at `offset`. */
  | { readonly kind: 'reset'; readonly offset: number }
  | ({ readonly kind: 'filling' } & Value<typeof fillingField>)

function encodeFact(fact: Fact): Buffer {
  switch (fact.kind) {
    case 'promise':
      return encodeLogRecord(PROMISE, RECORD_VERSION, (w) => promiseField.write(w, fact))
    case 'epoch-start':
      return encodeLogRecord(EPOCH_START, RECORD_VERSION, (w) => epochStartField.write(w, fact))
    case 'mark':
      return encodeLogRecord(MARK, RECORD_VERSION, (w) => offsetField.write(w, fact))
    case 'trim':
      return encodeLogRecord(TRIM, RECORD_VERSION, (w) => offsetField.write(w, fact))
    case 'cut':
      return encodeLogRecord(CUT, RECORD_VERSION, (w) => offsetField.write(w, fact))
    case 'reset':
      return encodeLogRecord(RESET, RECORD_VERSION, (w) => offsetField.write(w, fact))
    case 'filling':
      return encodeLogRecord(FILLING, RECORD_VERSION, (w) => fillingField.write(w, fact))
  }
}

function decodeFact(type: number, body: Buffer): Fact | undefined {
  const reader = new Reader(body)
  switch (type) {
    case PROMISE:
      return { kind: 'promise', ...promiseField.read(reader) }
    case EPOCH_START:
      return { kind: 'epoch-start', ...epochStartField.read(reader) }
    case MARK:
      return { kind: 'mark', ...offsetField.read(reader) }
    case TRIM:
      return { kind: 'trim', ...offsetField.read(reader) }
    case CUT:
      return { kind: 'cut', ...offsetField.read(reader) }
    case RESET:
      return { kind: 'reset', ...offsetField.read(reader) }
    case FILLING:
      return { kind: 'filling', ...fillingField.read(reader) }
    default:
      return undefined
  }
}

export class CopyMeta {
  promisedEpoch = 0
  owner = ''
  markOffset = 0
  trimOffset = 0
  epochs: readonly EpochStart[] = []
  /** The log began empty where others had one already, and may still lack what was durable there. */
  isFilling = false
  /** The facts in memory are all durable. False from the start on, and after a failed commit, until one succeeds. */
  durable = false
  private readonly host: Host
  private readonly prefix: string
  private fileNumber = 0
  private fileBytes = 0

  constructor(host: Host, volume: number) {
    this.host = host
    this.prefix = `v${volume}/meta-`
  }

  /** Reads what an earlier process left; nothing is written yet. */
  load(done: (ok: boolean) => void): void {
    const names = this.host.files.list(this.prefix)
    const numbers = names.map((name) => Number(name.slice(this.prefix.length))).sort((a, b) => b - a)
    this.fileNumber = numbers[0] ?? 0
    const next = (index: number): void => {
      const number = numbers[index]
      if (number === undefined) {
        done(true)
        return
      }
      this.host.files.read(this.prefix + number, 0, LONGEST_FILE_BYTES, (error, bytes) => {
        if (error !== undefined) done(false)
        else if (this.replay(bytes)) done(true)
        else next(index + 1)
      })
    }
    next(0)
  }

  /** Takes the facts over at once, and says later whether they, and all before them, are durable. */
  commit(facts: readonly Fact[], done: (ok: boolean) => void): void {
    for (const fact of facts) this.apply(fact)
    if (!this.durable || this.fileBytes > COMPACT_AT_BYTES) {
      this.renew(done)
      return
    }
    const bytes = facts.length === 1 ? encodeFact(facts[0]!) : Buffer.concat(facts.map(encodeFact))
    const name = this.prefix + this.fileNumber
    this.host.files.append(name, bytes)
    this.fileBytes += bytes.length
    this.host.files.sync(name, (error) => {
      if (error !== undefined) this.durable = false
      done(error === undefined)
    })
  }

  private renew(done: (ok: boolean) => void): void {
    const files = this.host.files
    this.durable = false
    this.fileNumber++
    const name = this.prefix + this.fileNumber
    const bytes = encodeLogRecord(SNAPSHOT, RECORD_VERSION, (w) => snapshotField.write(w, this))
    files.append(name, bytes)
    this.fileBytes = bytes.length
    files.sync(name, (error) => {
      if (error !== undefined) {
        done(false)
        return
      }
      for (const other of files.list(this.prefix)) if (other !== name) files.remove(other)
      this.durable = true
      done(true)
    })
  }

  private replay(bytes: Buffer): boolean {
    let whole = false
    scanRecords(bytes, 0, (at, type, _version, body) => {
      if (at > 0) {
        const fact = decodeFact(type, body)
        if (fact !== undefined) this.apply(fact)
        return
      }
      if (type !== SNAPSHOT) return
      const snapshot = snapshotField.read(new Reader(body))
      this.promisedEpoch = snapshot.promisedEpoch
      this.owner = snapshot.owner
      this.markOffset = snapshot.markOffset
      this.trimOffset = snapshot.trimOffset
      this.epochs = snapshot.epochs
      this.isFilling = snapshot.isFilling
      whole = true
    })
    return whole
  }

  private apply(fact: Fact): void {
    switch (fact.kind) {
      case 'promise':
        this.promisedEpoch = fact.epoch
        this.owner = fact.owner
        break
      case 'epoch-start':
        this.epochs = [...cutEpochs(this.epochs, fact.offset), { epoch: fact.epoch, offset: fact.offset }]
        break
      case 'mark':
        this.markOffset = fact.offset
        break
      case 'trim':
        this.trimOffset = fact.offset
        this.epochs = trimEpochs(this.epochs, fact.offset)
        break
      case 'cut':
        this.epochs = cutEpochs(this.epochs, fact.offset)
        if (this.markOffset > fact.offset) this.markOffset = 0
        break
      case 'reset':
        this.trimOffset = fact.offset
        this.epochs = []
        break
      case 'filling':
        this.isFilling = fact.isFilling
    }
  }
}
