import { describe, expect, test } from 'vitest'
import { didYouMean, nearest } from './nearest.ts'

describe('the nearest known word', () => {
  const known = ['zone', 'form', 'at', 'for', 'az-outage', 'az-isolated', 'broker-crash']

  test.each([
    ['zon', 'zone'],
    ['az-outge', 'az-outage'],
    ['az-uotage', 'az-outage'],
    ['AZ-Outage', 'az-outage'],
    ['brokercrash', 'broker-crash'],
    ['az-iso', 'az-isolated'],
    ['fro', 'for'],
  ])('of %s is %s', (word, expected) => {
    expect(nearest(word, known)).toBe(expected)
  })

  test('is none where too much would have to change', () => {
    expect(nearest('hurricane', known)).toBeUndefined()
    expect(didYouMean('hurricane', known)).toBe('')
  })
})
