/**
 * What one console has promised and accepted (`rules-register.ts`), kept on its own disk: `console/rules-<n>`, a CRC-framed record for each state, the last sound one counts.
 *
 * A state counts once `commit` has said so. After a failed sync nothing in that file is trusted any more, and the next commit begins a new file; so does the first one of a process.
 * A new file replaces the older ones only after its own sync.
 * Left out: a disk that is lost takes its promises with it, as with the copies of a volume.
 */
import type { Host } from '../host.ts'
import { encodeLogRecord, scanRecords } from '../volume/log-record.ts'
import { optional, Reader, record, u53 } from '../wire/codec.ts'
import { type RulesDocument, rulesField } from '../wire/messages.ts'

const PREFIX = 'console/rules-'
const STATE = 2
const RECORD_VERSION = 1
const COMPACT_AT_BYTES = 256 * 1024
const LONGEST_FILE_BYTES = 8 << 20

const stateField = record({ promisedBallot: u53, acceptedBallot: u53, accepted: optional(rulesField) })

export interface AcceptorState {
  /** No lower ballot is answered any more. */
  readonly promisedBallot: number
  /** 0 where nothing was accepted yet. */
  readonly acceptedBallot: number
  readonly accepted: RulesDocument | undefined
}

export class RulesFile {
  private readonly host: Host
  private fileNumber = 0
  private fileBytes = 0
  private isSound = false

  constructor(host: Host) {
    this.host = host
  }

  /** Reads what an earlier process left. `failed`: it could not be read, so nothing may be promised. */
  load(done: (state: AcceptorState | 'failed') => void): void {
    const { files } = this.host
    const numbers = files
      .list(PREFIX)
      .map((name) => Number(name.slice(PREFIX.length)))
      .sort((a, b) => b - a)
    this.fileNumber = numbers[0] ?? 0
    const next = (index: number): void => {
      const number = numbers[index]
      if (number === undefined) {
        done({ promisedBallot: 0, acceptedBallot: 0, accepted: undefined })
        return
      }
      files.read(PREFIX + number, 0, LONGEST_FILE_BYTES, (error, bytes) => {
        const state = error === undefined ? lastState(bytes) : undefined
        if (error !== undefined) done('failed')
        else if (state === undefined) next(index + 1)
        else done(state)
      })
    }
    next(0)
  }

  /** One at a time. */
  commit(state: AcceptorState, done: (isDurable: boolean) => void): void {
    const { files } = this.host
    const isNew = !this.isSound || this.fileBytes > COMPACT_AT_BYTES
    if (isNew) {
      this.fileNumber++
      this.fileBytes = 0
    }
    const name = PREFIX + this.fileNumber
    const bytes = encodeLogRecord(STATE, RECORD_VERSION, (writer) => stateField.write(writer, state))
    this.fileBytes += bytes.length
    files.append(name, bytes)
    files.sync(name, (error) => {
      this.isSound = error === undefined
      if (this.isSound && isNew) for (const other of files.list(PREFIX)) if (other !== name) files.remove(other)
      done(this.isSound)
    })
  }
}

function lastState(bytes: Buffer): AcceptorState | undefined {
  let state: AcceptorState | undefined
  scanRecords(bytes, 0, (_at, type, _version, body) => {
    if (type === STATE) state = stateField.read(new Reader(body))
  })
  return state
}
