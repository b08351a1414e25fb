/**
 * One copy of one volume: the log's bytes (`CopyLog`), the facts about it (`CopyMeta`), and who may write.
 *
 * Promises to the owner:
 * - `durable` is said of bytes only after a sync that began when they, and all before them, were in the file.
 * - What was said to be durable stays, until the owner of a promised epoch cuts it.
 * - No byte of an older epoch is taken once a higher epoch was promised, and a promise outlives power loss.
 * - Writes are taken only over the link that last prepared: what an earlier link still has under way (a cut above all) comes to nothing.
 *
 * The history says that an epoch begins at an offset before its first byte is in the log, and after every byte before it is synced.
 * A cut is durable in the log before it is in the history. Wherever the end of the log was written anew (start, failed sync, cut) the history is then fitted
 * to where the log really ends: a copy that claims an epoch of which it has no byte would be held equal to another past its own end.
 *
 * After a failed sync the copy takes nothing (`suspect`) until the owner prepares again; then it cuts its log back to what is known to be durable.
 */
import { emit } from '../events.ts'
import type { Host } from '../host.ts'
import type { MessageOf } from '../wire/messages.ts'
import { CopyLog } from './copy-log.ts'
import { CopyMeta, type Fact } from './copy-meta.ts'
import { epochAt, lastEpoch } from './epochs.ts'

type Prepared = MessageOf<'volumePrepared'>
type Appended = MessageOf<'volumeAppended'>
type AppendOutcome = Appended['outcome']

const RETRY_MS = 100
const EMPTY = Buffer.alloc(0)

export class CopyStore {
  readonly volume: number
  /** `suspect`: a sync failed; nothing is taken until the owner prepares again. */
  state: 'recovering' | 'serving' | 'suspect' = 'recovering'
  private readonly host: Host
  private readonly leaseMs: number
  private readonly meta: CopyMeta
  private readonly log: CopyLog
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

  constructor(host: Host, volume: number, segmentBytes: number, leaseMs: number) {
    this.host = host
    this.volume = volume
    this.leaseMs = leaseMs
    this.formerLeaseEndMs = leaseMs
    this.log = new CopyLog(host, volume, segmentBytes, () => {
      this.state = 'suspect'
    })
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
      if (unfit !== undefined || message.offset > this.log.size || message.offset < this.meta.trimOffset) {
        this.endWrite(unfit ?? 'gap', reply)
        return
      }
      this.log.whenSynced(this.log.size, (synced) => {
        if (!synced) {
          this.endWrite('failed', reply)
          return
        }
        this.log.rewriteTail(message.offset, (ok) => {
          if (!ok) {
            this.state = 'suspect'
            this.endWrite('failed', reply)
            return
          }
          this.fitFacts((saved) => {
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
      this.log.whenSynced(this.log.size, (synced) => {
        if (!synced) {
          reply('not-owner')
          this.finish()
          return
        }
        this.meta.commit([{ kind: offset > this.log.size ? 'reset' : 'trim', offset }], (saved) => {
          if (saved) this.log.dropBelow(this.meta.trimOffset)
          else this.state = 'suspect'
          reply(saved ? 'done' : 'not-owner')
          this.finish()
        })
      })
    })
  }

  /** Remembers that the log is being filled, or that it lacks nothing any more. */
  fill(link: object, message: MessageOf<'volumeFilling'>, reply: (outcome: 'done' | 'not-owner' | 'fenced') => void): void {
    this.enqueue(() => {
      const { epoch, isFilling } = message
      if (this.unfit(link, epoch) !== undefined) {
        reply(epoch < this.promisedEpoch ? 'fenced' : 'not-owner')
        this.finish()
        return
      }
      this.meta.commit([{ kind: 'filling', isFilling }], (saved) => {
        if (!saved) this.state = 'suspect'
        reply(saved ? 'done' : 'not-owner')
        this.finish()
      })
    })
  }

  /** May give less than was asked for; nothing at the end of the log. */
  read(offset: number, length: number, done: (outcome: 'read' | 'trimmed' | 'failed', bytes: Buffer) => void): void {
    if (this.state === 'recovering') done('failed', EMPTY)
    else if (offset < this.meta.trimOffset) done('trimmed', EMPTY)
    else this.log.read(offset, length, (ok, bytes) => done(ok ? 'read' : 'failed', bytes))
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
      size: this.log.durableSize,
      markOffset: this.meta.markOffset,
      trimOffset: this.meta.trimOffset,
      epochs: this.meta.epochs,
      leaseRemainingMs: Math.max(0, Math.ceil(this.formerLeaseEndMs - this.host.nowMs())),
      isFilling: this.meta.isFilling,
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
    const repeated = end <= this.log.size && offset >= this.meta.trimOffset && epochAt(this.meta.epochs, offset) === dataEpoch
    if (
      bytes.length === 0 ||
      dataEpoch > message.epoch ||
      !(repeated || (offset === this.log.size && dataEpoch >= lastEpoch(this.meta.epochs)))
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
    this.log.whenSynced(this.log.size, (synced) => {
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
    this.log.append(bytes, (ok) => {
      if (ok) this.replyWhenSynced(this.log.size, reply)
      else this.endWrite('failed', reply)
    })
  }

  /** The log has the bytes; the operation is over, its answer waits for the sync. */
  private replyWhenSynced(end: number, reply: (message: Appended) => void): void {
    this.log.whenSynced(end, (ok) => this.replyAppended(ok ? 'durable' : 'failed', reply))
    this.finish()
  }

  private endWrite(outcome: AppendOutcome, reply: (message: Appended) => void): void {
    this.replyAppended(outcome, reply)
    this.finish()
  }

  private replyAppended(outcome: AppendOutcome, reply: (message: Appended) => void): void {
    reply({ name: 'volumeAppended', outcome, promisedEpoch: this.promisedEpoch, size: this.log.durableSize })
  }

  /** Before a promise is answered: everything in the log durable, and a log that a failed sync made suspect cut to what is known to be. */
  private settle(done: (ok: boolean) => void): void {
    this.log.whenSynced(this.log.size, (synced) => {
      if (synced && this.state === 'serving') {
        done(true)
        return
      }
      this.log.rewriteTail(this.log.durableSize, (ok) => {
        if (!ok) {
          done(false)
          return
        }
        this.fitFacts((saved) => {
          if (saved) {
            this.state = 'serving'
            this.host.reached('copy repaired after a failed sync')
          }
          done(saved)
        })
      })
    })
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
      this.log.find()
      this.recoverTail()
    })
  }

  private recoverTail(): void {
    const foundSize = this.log.size
    this.log.rewriteTail(Number.POSITIVE_INFINITY, (ok) => {
      if (!ok) {
        this.host.setTimer(RETRY_MS, () => this.recoverTail())
        return
      }
      if (this.log.size < foundSize) {
        this.host.reached('torn tail cut')
        if (this.host.recording) {
          emit(this.host, { kind: 'copy-torn-tail-cut', volume: this.volume, fromSize: foundSize, toSize: this.log.size })
        }
      }
      this.recoverFacts()
    })
  }

  private recoverFacts(): void {
    this.fitFacts((saved) => {
      if (!saved) {
        this.host.setTimer(RETRY_MS, () => this.recoverFacts())
        return
      }
      this.state = 'serving'
      this.finish()
    })
  }

  /** The log's end was written anew: the history ends where it does, and a trim that a failed sync or a restart kept from the log is done. */
  private fitFacts(done: (saved: boolean) => void): void {
    const { trimOffset } = this.meta
    const fact: Fact = this.log.size < trimOffset ? { kind: 'reset', offset: trimOffset } : { kind: 'cut', offset: this.log.size }
    this.meta.commit([fact], (saved) => {
      if (saved) this.log.dropBelow(trimOffset)
      done(saved)
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
}
