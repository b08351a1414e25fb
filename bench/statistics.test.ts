import { describe, expect, test } from 'vitest'
import { spreadOf } from './statistics.ts'

describe('the spread of samples', () => {
  test('is the middle one of an odd number, in order of size and not of text', () => {
    expect(spreadOf([10, 9, 100])).toEqual({ median: 10, least: 9, most: 100 })
  })

  test('lies between the two middle ones of an even number', () => {
    expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2.5, least: 1, most: 4 })
  })

  test('of nothing is an error', () => {
    expect(() => spreadOf([])).toThrow('nothing was measured')
  })
})
