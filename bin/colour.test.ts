import { afterEach, describe, expect, test, vi } from 'vitest'
import { wantsColour } from './colour.ts'

afterEach(() => vi.unstubAllEnvs())

const stream = (isTTY: boolean): NodeJS.WriteStream => ({ isTTY }) as NodeJS.WriteStream

function under(environment: Readonly<Record<string, string | undefined>>, isTTY: boolean): boolean {
  for (const name of ['NO_COLOR', 'FORCE_COLOR', 'TERM']) vi.stubEnv(name, environment[name])
  return wantsColour(stream(isTTY))
}

describe('colour', () => {
  test('is for terminals', () => {
    expect(under({ TERM: 'xterm' }, true)).toBe(true)
    expect(under({ TERM: 'xterm' }, false)).toBe(false)
    expect(under({ TERM: 'dumb' }, true)).toBe(false)
  })

  test('is never used where NO_COLOR is set, unless to nothing', () => {
    expect(under({ NO_COLOR: '1', FORCE_COLOR: '1' }, true)).toBe(false)
    expect(under({ NO_COLOR: '' }, true)).toBe(true)
  })

  test('can be forced', () => {
    expect(under({ FORCE_COLOR: '1' }, false)).toBe(true)
    expect(under({ FORCE_COLOR: '0' }, true)).toBe(false)
  })
})
