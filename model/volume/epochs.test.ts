import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { commonPrefix, cutEpochs, type EpochStart, epochAt, epochEndAt, lastEpoch, trimEpochs } from './epochs.ts'

/** A log in which each byte is the number of the epoch that wrote it. */
function historyOf(bytes: readonly number[]): EpochStart[] {
  return bytes.flatMap((epoch, offset) => (offset > 0 && bytes[offset - 1] === epoch ? [] : [{ epoch, offset }]))
}

/**
 * Logs as the protocol makes them: each owner takes some copy's log, cut anywhere, as its own; appends; and replicates any part of it to any copies.
 */
const logs = fc
  .array(
    fc.record({
      from: fc.nat(2),
      cut: fc.nat(20),
      append: fc.integer({ min: 1, max: 6 }),
      to: fc.array(fc.nat(6), { minLength: 3, maxLength: 3 }),
    }),
    {
      maxLength: 8,
    },
  )
  .map((owners) => {
    const copies: number[][] = [[], [], []]
    owners.forEach(({ from, cut, append, to }, index) => {
      const base = copies[from]!.slice(0, cut)
      const log = [...base, ...Array.from({ length: append }, () => index + 1)]
      to.forEach((length, copy) => {
        if (length > 0) copies[copy] = log.slice(0, base.length + length)
      })
    })
    return copies
  })

describe('epoch histories', () => {
  test('say where two logs part', () => {
    fc.assert(
      fc.property(logs, (copies) => {
        for (const a of copies) {
          for (const b of copies) {
            let same = 0
            while (same < a.length && same < b.length && a[same] === b[same]) same++
            expect(commonPrefix(historyOf(a), a.length, historyOf(b), b.length)).toBe(same)
          }
        }
      }),
    )
  })

  test('follow cuts, and know the epoch of each byte', () => {
    fc.assert(
      fc.property(logs, fc.nat(20), (copies, size) => {
        for (const log of copies) {
          const cut = log.slice(0, size)
          const epochs = cutEpochs(historyOf(log), cut.length)
          expect(epochs).toEqual(historyOf(cut))
          expect(lastEpoch(epochs)).toBe(cut.at(-1) ?? 0)
          cut.forEach((epoch, offset) => {
            expect(epochAt(epochs, offset)).toBe(epoch)
            const end = epochEndAt(epochs, offset)
            expect(end === Number.POSITIVE_INFINITY ? cut.length : end).toBe(cut.lastIndexOf(epoch) + 1)
          })
        }
      }),
    )
  })

  test('keep, when trimmed, what the bytes from the offset on belong to', () => {
    fc.assert(
      fc.property(logs, fc.nat(20), (copies, offset) => {
        for (const log of copies) {
          const trimmed = trimEpochs(historyOf(log), offset)
          for (let at = offset; at < log.length; at++) expect(epochAt(trimmed, at)).toBe(log[at])
        }
      }),
    )
  })

  test('of a log that was emptied and went on in the middle of an epoch still match', () => {
    const whole = [
      { epoch: 3, offset: 0 },
      { epoch: 7, offset: 700 },
    ]
    expect(commonPrefix(whole, 1500, [{ epoch: 7, offset: 1000 }], 1200)).toBe(1200)
    expect(commonPrefix(whole, 1500, [{ epoch: 5, offset: 1000 }], 1200)).toBe(0)
  })
})
