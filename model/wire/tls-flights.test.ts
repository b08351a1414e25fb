import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientHello, TLS_HANDSHAKE, TlsEnd, type TlsVersion } from './tls-flights.ts'

interface Outcome {
  readonly done: boolean
  readonly answers: readonly Buffer[]
  readonly rest: Buffer
}

/** Feeds bytes in chunks of the given sizes, over and over. */
function feed(end: TlsEnd, bytes: Buffer, sizes: readonly number[]): Outcome {
  const answers: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!
    const progress = end.read(bytes.subarray(at, at + size))
    at += size
    if (progress.kind === 'not-ours') throw new Error('not understood')
    if (progress.kind === 'waiting') continue
    if (progress.answer !== undefined) answers.push(progress.answer)
    if (progress.done) return { done: true, answers, rest: Buffer.concat([progress.rest, bytes.subarray(at)]) }
  }
  return { done: false, answers, rest: Buffer.alloc(0) }
}

const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 })

describe('a TLS handshake', () => {
  test.each<[TlsVersion, number]>([
    ['1.3', 1],
    ['1.2', 2],
  ])('of %s takes the client %d round trips before it may speak', (version, roundTrips) => {
    const [client, server] = [new TlsEnd(version), new TlsEnd()]
    let toServer: Buffer | undefined = clientHello(version)
    let trips = 0
    for (let done = false; !done; trips++) {
      const [toClient] = feed(server, toServer!, [10_000]).answers
      const answer = client.read(toClient!)
      if (answer.kind !== 'answer') throw new Error(answer.kind)
      ;({ done } = answer)
      toServer = answer.answer
    }
    expect(trips).toBe(roundTrips)
  })

  test('comes to the same however its bytes are cut, and what stands behind it is left whole', () => {
    fc.assert(
      fc.property(fc.constantFrom<TlsVersion>('1.2', '1.3'), sizes, fc.uint8Array({ maxLength: 50 }), (version, chunks, behind) => {
        const server = new TlsEnd()
        const first = feed(server, clientHello(version), chunks)
        const client = new TlsEnd(version)
        const second = feed(client, first.answers[0]!, chunks)
        const last = feed(server, Buffer.concat([second.answers[0]!, behind]), chunks)
        expect([first.done, last.done, last.rest]).toEqual([false, true, Buffer.from(behind)])
      }),
    )
  })

  test('that is a real one is not taken for one', () => {
    const real = Buffer.from(clientHello('1.3'))
    // The random of a ClientHello.
    real.fill(0x5a, 11, 43)
    expect(new TlsEnd().read(real)).toEqual({ kind: 'not-ours' })
    expect(new TlsEnd().read(Buffer.from('GET / HTTP/1.1'))).toEqual({ kind: 'not-ours' })
    expect(clientHello('1.2')[0]).toBe(TLS_HANDSHAKE)
  })
})
