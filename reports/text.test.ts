import { describe, expect, test } from 'vitest'
import { duration, painter, wrap } from './text.ts'

describe('text for a terminal', () => {
  test('is broken at spaces, and a word that is too long stays whole', () => {
    expect(wrap('a zone goes dark', 8)).toEqual(['a zone', 'goes', 'dark'])
    expect(wrap('a connection-closed event', 6)).toEqual(['a', 'connection-closed', 'event'])
    expect(wrap('', 10)).toEqual([])
  })

  test('is coloured only where that is wanted, whatever the environment says', () => {
    expect(painter(false)('red', 'no')).toBe('no')
    expect(painter(true)('red', 'yes')).toBe('\x1b[31myes\x1b[39m')
  })

  test.each([
    [0.25, '0.3 ms'],
    [99.6, '100 ms'],
    [1234, '1.23 s'],
    [123_456, '123 s'],
  ])('shows %d ms as %s', (ms, text) => {
    expect(duration(ms)).toBe(text)
  })
})
