import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameCounter } from './frame-counter.ts'

function frame(bodyBytes: number): Buffer {
  const bytes = Buffer.alloc(4 + bodyBytes, 0xee)
  bytes.writeUInt32BE(bodyBytes, 0)
  return bytes
}

describe('a counter of frames', () => {
  test('counts a frame once all of it has come', () => {
    const counter = new FrameCounter()
    const bytes = frame(10)
    expect(counter.count(bytes.subarray(0, 2))).toBe(0)
    expect(counter.count(bytes.subarray(2, 13))).toBe(0)
    expect(counter.count(bytes.subarray(13))).toBe(1)
  })

  test('counts the same however a stream is cut', () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 600 }), { maxLength: 30 })
    fc.assert(
      fc.property(sizes, fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }), (bodies, cuts) => {
        const stream = Buffer.concat(bodies.map(frame))
        const counter = new FrameCounter()
        let counted = 0
        for (let at = 0, i = 0; at < stream.length; i++) {
          const end = Math.min(stream.length, at + cuts[i % cuts.length]!)
          counted += counter.count(stream.subarray(at, end))
          at = end
        }
        expect(counted).toBe(bodies.length)
      }),
    )
  })
})
