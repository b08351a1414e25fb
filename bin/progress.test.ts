import { describe, expect, test, vi } from 'vitest'
import { Progress } from './progress.ts'

function streamTo(written: string[], isTTY: boolean): NodeJS.WriteStream {
  return { isTTY, columns: 20, write: (text: string) => written.push(text) > 0 } as unknown as NodeJS.WriteStream
}

describe('progress', () => {
  test('says nothing of what is over within a second', () => {
    const written: string[] = []
    const progress = new Progress(streamTo(written, true))
    progress.show(() => 'at work')
    progress.clear()
    expect(written).toEqual([])
  })

  test('writes over one line on a terminal, no wider than it, and takes it away', () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0)
    const written: string[] = []
    const progress = new Progress(streamTo(written, true))
    clock.mockReturnValue(1500)
    progress.show(() => 'at work on something long')
    clock.mockReturnValue(1510)
    progress.show(() => 'too soon')
    clock.mockReturnValue(1700)
    progress.show(() => 'done')
    progress.clear()
    clock.mockRestore()
    expect(written).toEqual(['\r\x1b[Kat work on somethin', '\r\x1b[Kdone', '\r\x1b[K'])
  })

  test('writes a plain line now and then elsewhere', () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0)
    const written: string[] = []
    const progress = new Progress(streamTo(written, false))
    for (const nowMs of [2000, 16_000, 17_000, 32_000]) {
      clock.mockReturnValue(nowMs)
      progress.show(() => `at ${nowMs}`)
    }
    clock.mockRestore()
    expect(written).toEqual(['at 16000\n', 'at 32000\n'])
  })
})
