import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { FileError, Files, Host } from '../host.ts'
import type { MessageOf } from '../wire/messages.ts'
import { CopyStore } from './copy-store.ts'
import type { EpochStart } from './epochs.ts'
import { encodeLogRecord } from './log-record.ts'

const DIRTY = 0
const DURABLE = 1
/** A sync over it failed: later ones pass it over. */
const LOST = 2

type Fate = 'keep' | 'drop' | 'tear'

/** A disk small enough to be cruel: it knows of each byte whether it would survive, and does its work only when told to. */
class Disk implements Files {
  readonly contents = new Map<string, { cache: Buffer; marks: Uint8Array }>()
  failingSyncs = 0
  private pending: (() => void)[] = []
  private readonly running: { name: string; length: number }[] = []

  append(name: string, bytes: Buffer): void {
    const file = this.contents.get(name) ?? { cache: Buffer.alloc(0), marks: new Uint8Array() }
    const marks = new Uint8Array(file.cache.length + bytes.length)
    marks.set(file.marks)
    this.contents.set(name, { cache: Buffer.concat([file.cache, bytes]), marks })
  }

  sync(name: string, done: (error: FileError | undefined) => void): void {
    const run = { name, length: this.size(name) }
    this.running.push(run)
    this.pending.push(() => {
      this.running.splice(this.running.indexOf(run), 1)
      const fails = this.endSync(run)
      done(fails ? 'failed' : undefined)
    })
  }

  read(name: string, offset: number, length: number, done: (error: FileError | undefined, bytes: Buffer) => void): void {
    this.pending.push(() => {
      const file = this.contents.get(name)
      if (file === undefined) done('not-found', Buffer.alloc(0))
      else done(undefined, Buffer.from(file.cache.subarray(offset, offset + length)))
    })
  }

  size(name: string): number {
    return this.contents.get(name)?.cache.length ?? 0
  }

  cutTail(): void {
    throw new Error('not used')
  }

  list(prefix: string): readonly string[] {
    return [...this.contents.keys()].filter((name) => name.startsWith(prefix)).sort()
  }

  remove(name: string): void {
    this.contents.delete(name)
  }

  later(callback: () => void): void {
    this.pending.push(callback)
  }

  /** Does up to `count` pieces of work. */
  work(count: number): void {
    for (let i = 0; i < count && this.pending.length > 0; i++) this.pending.shift()!()
  }

  /** The process ends; a sync that runs ends without it. */
  kill(): void {
    this.pending = []
    for (const run of this.running.splice(0)) this.endSync(run)
  }

  losePower(fateOf: () => Fate): void {
    this.pending = []
    this.running.length = 0
    for (const [name, { cache, marks }] of [...this.contents]) {
      const after = Buffer.alloc(cache.length)
      let end = 0
      for (let at = 0; at < cache.length; ) {
        let next = at
        while (next < cache.length && (marks[next] === DURABLE) === (marks[at] === DURABLE)) next++
        const fate = marks[at] === DURABLE ? 'keep' : fateOf()
        const kept = fate === 'keep' ? next : fate === 'drop' ? at : at + ((next - at) >> 1)
        cache.copy(after, at, at, kept)
        if (kept > at) end = kept
        at = next
      }
      if (end === 0) this.contents.delete(name)
      else this.contents.set(name, { cache: after.subarray(0, end), marks: new Uint8Array(end).fill(DURABLE) })
    }
  }

  private endSync(run: { name: string; length: number }): boolean {
    const fails = this.failingSyncs > 0
    if (fails) this.failingSyncs--
    const marks = this.contents.get(run.name)?.marks
    if (marks !== undefined) for (let at = 0; at < run.length; at++) if (marks[at] === DIRTY) marks[at] = fails ? LOST : DURABLE
    return fails
  }
}

function hostOn(disk: Disk): Host {
  const host: Partial<Host> = {
    files: disk,
    recording: false,
    nowMs: () => 0,
    perturb: () => false,
    reached: () => {},
    setTimer: (_delayMs, callback) => {
      disk.later(callback)
      return { cancel: () => {} }
    },
  }
  return host as Host
}

const record = (filler: number, size: number) => encodeLogRecord(9, 1, (writer) => writer.raw(Buffer.alloc(size, filler)))

/** One owner after the other on one copy, with a model of what the copy must hold. */
class Harness {
  readonly disk = new Disk()
  epoch = 0
  link: object = {}
  /** What the owner of the day holds to be the log, and the epoch of each byte. */
  log = Buffer.alloc(0)
  epochs: number[] = []
  ackedSize = 0
  /** Where the copy takes part: prepared, and every answer so far was `durable`. */
  sent: number | undefined
  answered: MessageOf<'volumePrepared'> | undefined
  private unanswered = 0
  private store = this.boot()
  private life = 0

  boot(): CopyStore {
    return new CopyStore(hostOn(this.disk), 0, 200, 3000)
  }

  restart(): void {
    this.life++
    this.sent = undefined
    this.store = this.boot()
  }

  prepare(epoch: number): void {
    this.epoch = epoch
    this.link = {}
    this.sent = undefined
    this.unanswered = 0
    const life = this.life
    const { link } = this
    this.store.prepare(link, { name: 'volumePrepare', volume: 0, epoch, owner: `owner-${epoch}` }, (reply) => {
      if (life !== this.life || link !== this.link || reply.outcome !== 'promised') return
      this.answered = reply
      this.checkPrepared(reply)
      this.log = this.log.subarray(0, reply.size)
      this.epochs = this.epochs.slice(0, reply.size)
      this.sent = reply.size
    })
  }

  private checkPrepared(reply: MessageOf<'volumePrepared'>): void {
    expect(reply.size).toBeGreaterThanOrEqual(this.ackedSize)
    expect(reply.size).toBeLessThanOrEqual(this.log.length)
    expect(this.borders(this.log.length)).toContain(reply.size)
    const epochs: EpochStart[] = []
    for (let at = 0; at < reply.size; at++)
      if (at === 0 || this.epochs[at] !== this.epochs[at - 1]) epochs.push({ epoch: this.epochs[at]!, offset: at })
    expect(reply.epochs).toEqual(epochs)
    this.ackedSize = reply.size
  }

  /** Offsets between records, up to `end`. */
  borders(end: number): number[] {
    const positions = [0]
    for (let at = 0; at < end; positions.push(at)) at += this.log.readUInt32BE(at) + 8
    return positions
  }

  /** `lag`: how many epochs ago the bytes were written, as in a log that is filled up from another copy. */
  append(size: number, lag: number): void {
    if (this.sent === undefined) return
    const dataEpoch = Math.max(this.epoch - lag, this.epochs.at(-1) ?? 1)
    const bytes = record(this.epoch + this.log.length, size)
    const offset = this.log.length
    this.log = Buffer.concat([this.log, bytes])
    this.epochs = [...this.epochs, ...Array.from({ length: bytes.length }, () => dataEpoch)]
    const { link, life, epoch } = this
    const message = { name: 'volumeAppend', volume: 0, epoch, dataEpoch, offset, markOffset: 0, bytes } as const
    this.unanswered++
    this.store.append(link, message, (reply) => {
      if (life !== this.life || link !== this.link) return
      this.unanswered--
      if (reply.outcome === 'durable') this.ackedSize = Math.max(this.ackedSize, reply.size)
      else this.sent = undefined
    })
  }

  /** As an owner that took another copy's log, which parts from this one's at `position`. */
  cut(position: number): void {
    if (this.sent === undefined || this.unanswered > 0) return
    this.sent = undefined
    this.ackedSize = Math.min(this.ackedSize, position)
    const { link, life, epoch } = this
    this.store.cut(link, { name: 'volumeCut', volume: 0, epoch, offset: position }, (reply) => {
      if (life !== this.life || link !== this.link || reply.outcome !== 'durable') return
      expect(reply.size).toBe(position)
      this.log = this.log.subarray(0, position)
      this.epochs = this.epochs.slice(0, position)
      this.sent = position
    })
  }

  readAll(): Buffer {
    let read = Buffer.alloc(0)
    for (let at = -1; at < read.length; ) {
      at = read.length
      this.store.read(at, 64, (outcome, bytes) => {
        expect(outcome).toBe('read')
        read = Buffer.concat([read, bytes])
      })
      this.disk.work(1000)
    }
    return read
  }

  /** The faults are over: the copy recovers, and holds what it must. */
  conclude(): void {
    this.disk.failingSyncs = 0
    this.disk.work(10_000)
    this.answered = undefined
    this.prepare(this.epoch + 1)
    this.disk.work(10_000)
    expect(this.answered).toBeDefined()
    expect(this.readAll().equals(this.log)).toBe(true)
    this.append(5, 0)
    this.disk.work(10_000)
    expect(this.ackedSize).toBe(this.log.length)
  }
}

const fates = fc.infiniteStream(fc.constantFrom<Fate>('keep', 'drop', 'tear'))

type Command = { run: (harness: Harness) => void; text: string }
const named = (text: string, run: (harness: Harness) => void): Command => ({ run, text })

const commands = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.tuple(fc.nat(90), fc.nat(2)).map(([size, lag]) => named(`append ${size} ${lag}`, (h) => h.append(size, lag))),
    },
    { weight: 8, arbitrary: fc.integer({ min: 1, max: 6 }).map((count) => named(`work ${count}`, (h) => h.disk.work(count))) },
    { weight: 2, arbitrary: fc.constant(named('work all', (h) => h.disk.work(1000))) },
    { weight: 3, arbitrary: fc.constant(named('prepare', (h) => h.prepare(h.epoch + 3))) },
    { weight: 2, arbitrary: fc.constant(named('prepare again', (h) => h.epoch > 0 && h.prepare(h.epoch))) },
    {
      weight: 2,
      arbitrary: fc.nat(100).map((share) =>
        named(`cut ${share}`, (h) => {
          const positions = h.borders(h.sent ?? 0)
          const position = positions[Math.floor((share / 101) * positions.length)]!
          if (h.sent !== undefined) h.cut(position)
        }),
      ),
    },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: 3 }).map((count) => named(`fail ${count}`, (h) => (h.disk.failingSyncs = count))) },
    {
      weight: 2,
      arbitrary: fc.constant(
        named('kill', (h) => {
          h.disk.kill()
          h.restart()
        }),
      ),
    },
    {
      weight: 2,
      arbitrary: fates.map((stream) =>
        named('power', (h) => {
          h.disk.losePower(() => stream.next().value)
          h.restart()
        }),
      ),
    },
  ),
  { minLength: 5, maxLength: 80, size: 'max' },
)

describe('a copy', () => {
  test('keeps what it called durable, in order and with its epochs, through kills, power losses and failed syncs', () => {
    fc.assert(
      fc.property(commands, (list) => {
        const harness = new Harness()
        harness.disk.work(100)
        for (const command of list) command.run(harness)
        harness.conclude()
      }),
      { numRuns: 800 },
    )
  })

  test('does not take a sync for good that succeeds after one failed', () => {
    const harness = new Harness()
    harness.disk.work(100)
    harness.prepare(1)
    harness.disk.work(100)
    harness.append(10, 0)
    harness.disk.work(100)
    harness.disk.failingSyncs = 1
    harness.append(10, 0)
    harness.disk.work(100)
    expect(harness.sent).toBeUndefined()
    harness.prepare(2)
    harness.disk.work(100)
    expect(harness.answered?.size).toBe(20)
    harness.append(12, 0)
    harness.disk.work(100)
    expect(harness.ackedSize).toBe(42)
    harness.disk.losePower(() => 'drop')
    harness.restart()
    harness.conclude()
  })

  test('claims no epoch of which it has no byte, where a cut over several segments failed half way', () => {
    const harness = new Harness()
    harness.disk.work(100)
    for (const epoch of [2, 3, 4]) {
      harness.prepare(epoch)
      harness.disk.work(100)
      harness.append(80, 0)
      harness.append(80, 0)
      harness.disk.work(100)
    }
    expect(harness.disk.list('v0/log-')).toHaveLength(3)
    harness.prepare(6)
    harness.disk.work(100)
    harness.disk.failingSyncs = 1
    harness.cut(90)
    harness.disk.work(100)
    expect(harness.sent).toBeUndefined()
    harness.prepare(7)
    harness.disk.work(100)
    // The segments of epochs 3 and 4 are gone; the cut within the first one failed.
    expect(harness.answered).toMatchObject({ outcome: 'promised', size: 180, epochs: [{ epoch: 2, offset: 0 }] })
    harness.conclude()
  })

  test('goes on at the trim offset after the sync failed that was to record it', () => {
    const disk = new Disk()
    const store = new CopyStore(hostOn(disk), 0, 100, 3000)
    const link = {}
    const outcomes: string[] = []
    const prepare = { name: 'volumePrepare', volume: 0, epoch: 1, owner: 'a' } as const
    const append = { name: 'volumeAppend', volume: 0, epoch: 1, dataEpoch: 1, offset: 0, markOffset: 0, bytes: record(1, 10) } as const
    store.prepare(link, prepare, ({ outcome, size }) => outcomes.push(`${outcome} ${size}`))
    store.append(link, append, ({ outcome, size }) => outcomes.push(`${outcome} ${size}`))
    disk.work(100)
    disk.failingSyncs = 1
    store.trim(link, { name: 'volumeTrim', volume: 0, epoch: 1, offset: 1000 }, (outcome) => outcomes.push(outcome))
    store.prepare(link, prepare, ({ outcome, size, trimOffset }) => outcomes.push(`${outcome} ${size} ${trimOffset}`))
    store.append(link, { ...append, offset: 1000 }, ({ outcome, size }) => outcomes.push(`${outcome} ${size}`))
    disk.work(100)
    expect(outcomes).toEqual(['promised 0', 'durable 20', 'not-owner', 'promised 1000 1000', 'durable 1020'])
  })

  test('refuses an older owner for good, power loss or not', () => {
    const harness = new Harness()
    harness.disk.work(100)
    harness.prepare(5)
    harness.disk.work(100)
    expect(harness.answered?.promisedEpoch).toBe(5)
    harness.disk.losePower(() => 'drop')
    harness.restart()
    harness.answered = undefined
    harness.prepare(4)
    harness.disk.work(100)
    expect(harness.answered).toBeUndefined()
  })

  test('takes nothing over a link that prepared before another one did', () => {
    const disk = new Disk()
    const store = new CopyStore(hostOn(disk), 0, 1000, 3000)
    const [former, latter] = [{}, {}]
    const outcomes: string[] = []
    const prepare = { name: 'volumePrepare', volume: 0, epoch: 1, owner: 'a' } as const
    const bytes = record(1, 10)
    const append = { name: 'volumeAppend', volume: 0, epoch: 1, dataEpoch: 1, offset: 0, markOffset: 0, bytes } as const
    store.prepare(former, prepare, ({ outcome }) => outcomes.push(outcome))
    store.prepare(latter, prepare, ({ outcome }) => outcomes.push(outcome))
    store.append(latter, append, ({ outcome }) => outcomes.push(outcome))
    store.cut(former, { name: 'volumeCut', volume: 0, epoch: 1, offset: 0 }, ({ outcome }) => outcomes.push(outcome))
    store.append(latter, append, ({ outcome }) => outcomes.push(outcome))
    store.append(latter, { ...append, offset: 5 }, ({ outcome }) => outcomes.push(outcome))
    disk.work(100)
    expect([...outcomes].sort()).toEqual(['durable', 'durable', 'gap', 'gap', 'promised', 'promised'])
  })

  test('knows through a loss of power that it is being filled, and that it is no more', () => {
    const disk = new Disk()
    const link = {}
    let store = new CopyStore(hostOn(disk), 0, 1000, 3000)
    const answers: string[] = []
    const prepare = (epoch: number): void => {
      const message = { name: 'volumePrepare', volume: 0, epoch, owner: 'a' } as const
      store.prepare(link, message, ({ outcome, size, isFilling }) => answers.push(`${outcome} ${size} ${isFilling}`))
      disk.work(100)
    }
    const fill = (epoch: number, isFilling: boolean, by: object = link): void => {
      store.fill(by, { name: 'volumeFilling', volume: 0, epoch, isFilling }, (outcome) => answers.push(outcome))
      disk.work(100)
    }
    const losePower = (): void => {
      disk.losePower(() => 'drop')
      store = new CopyStore(hostOn(disk), 0, 1000, 3000)
      disk.work(100)
    }
    prepare(1)
    disk.failingSyncs = 1
    fill(1, true)
    losePower()
    prepare(1)
    fill(1, true)
    losePower()
    prepare(2)
    const append = { name: 'volumeAppend', volume: 0, epoch: 2, dataEpoch: 1, offset: 0, markOffset: 0, bytes: record(1, 10) } as const
    store.append(link, append, ({ outcome, size }) => answers.push(`${outcome} ${size}`))
    disk.work(100)
    fill(1, false)
    fill(2, false, {})
    losePower()
    prepare(2)
    fill(2, false)
    losePower()
    prepare(2)
    expect(answers).toEqual([
      ...['promised 0 false', 'not-owner', 'promised 0 false', 'done', 'promised 0 true', 'durable 20'],
      ...['fenced', 'not-owner', 'promised 20 true', 'done', 'promised 20 false'],
    ])
  })

  test('removes whole segments below the trim offset, and skips to it when its log ends below', () => {
    const disk = new Disk()
    const link = {}
    let store = new CopyStore(hostOn(disk), 0, 100, 3000)
    const sizes: number[] = []
    const prepare = (): void => {
      store.prepare(link, { name: 'volumePrepare', volume: 0, epoch: 1, owner: 'a' }, ({ size, trimOffset }) =>
        sizes.push(trimOffset, size),
      )
      disk.work(100)
    }
    prepare()
    for (let i = 0; i < 5; i++) {
      store.append(
        link,
        { name: 'volumeAppend', volume: 0, epoch: 1, dataEpoch: 1, offset: i * 60, markOffset: 0, bytes: record(i, 50) },
        ({ outcome }) => expect(outcome).toBe('durable'),
      )
      disk.work(100)
    }
    expect(disk.list('v0/log-')).toHaveLength(5)
    store.trim(link, { name: 'volumeTrim', volume: 0, epoch: 1, offset: 180 }, (outcome) => expect(outcome).toBe('done'))
    disk.work(100)
    expect(disk.list('v0/log-')).toEqual(['v0/log-0000000000000180.0', 'v0/log-0000000000000240.0'])
    store.trim(link, { name: 'volumeTrim', volume: 0, epoch: 1, offset: 1000 }, (outcome) => expect(outcome).toBe('done'))
    disk.work(100)
    expect(disk.list('v0/log-')).toEqual([])
    prepare()
    disk.losePower(() => 'drop')
    store = new CopyStore(hostOn(disk), 0, 100, 3000)
    prepare()
    expect(sizes).toEqual([0, 0, 1000, 1000, 1000, 1000])
  })
})
