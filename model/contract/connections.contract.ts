/** Byte streams: listen, connect, write, pause, close, reset. */
import { describe, expect } from 'vitest'
import type { Host } from '../host.ts'
import { type Bench, type Check, connected, cut, pattern, Tape, whileMs, writeUntilHeldBack } from './bench.contract.ts'

export function connectionContract(check: Check): void {
  describe('opening', () => {
    check('tells the connecting side alone, and each side who the other is', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      expect(near.log).toEqual(['open'])
      expect(far.log).toEqual([])
      expect(near.connection!.remote).toEqual(server.at(1883))
      expect(far.connection!.remote.host).toBe(client.address)
    })

    check('to a port where nobody listens ends by `refused`, without `onOpen`', async (bench) => {
      const client = bench.machine('client-machine')
      const server = bench.machine('server-machine')
      const tape = await client.connect(server.at(1883))
      await bench.run(whileMs)
      expect(tape.log).toEqual(['close refused'])
    })

    check('is refused once the listener closed, and accepted connections are left alone', async (bench) => {
      const client = bench.machine('client-machine')
      const server = bench.machine('server-machine')
      const far = new Tape(bench)
      const listener = await server.do((host) => host.listen(1883, () => far))
      const before = await client.connect(server.at(1883))
      await server.do(() => listener.close())
      const after = await client.connect(server.at(1883))
      await client.do(() => before.connection!.write(Buffer.from('still here')))
      await bench.until(() => far.text === 'still here', 'bytes on the accepted connection')
      expect(after.log).toEqual(['close refused'])
      expect(before.log).toEqual(['open'])
    })

    check('on a port that is taken throws, and works again once the port was given back', async (bench) => {
      const server = bench.machine('server-machine')
      const other = bench.machine('other-machine')
      const tape = new Tape(bench)
      const listener = await server.do((host) => host.listen(1883, () => tape))
      await expect(server.do((host) => host.listen(1883, () => tape))).rejects.toThrow()
      await other.do((host) => host.listen(1883, () => tape))
      await server.do(() => listener.close())
      await server.do((host) => host.listen(1883, () => tape))
    })

    check('that `accept` answers with undefined is reset', async (bench) => {
      const client = bench.machine('client-machine')
      const server = bench.machine('server-machine')
      await server.do((host) => host.listen(1883, () => undefined))
      const tape = await client.connect(server.at(1883))
      await bench.until(() => tape.closeReason !== undefined, 'the reset')
      expect(tape.closeReason).toBe('reset')
    })

    check('that was closed before it opened tells nothing', async (bench) => {
      const client = bench.machine('client-machine')
      const server = bench.machine('server-machine')
      await server.listen(1883)
      const tapes = [new Tape(bench), new Tape(bench), new Tape(bench)]
      await client.do((host) => {
        host.connect(server.at(1883), tapes[0]!).close()
        host.connect(server.at(1883), tapes[1]!).reset()
        host.connect(server.at(1884), tapes[2]!).close()
      })
      await bench.run(whileMs)
      expect(tapes.map((tape) => tape.log)).toEqual([[], [], []])
    })
  })

  describe('bytes', () => {
    check('written before the connection is open arrive', async (bench) => {
      const client = bench.machine('client-machine')
      const server = bench.machine('server-machine')
      const { tapes } = await server.listen(1883)
      const tape = new Tape(bench)
      await client.do((host) => host.connect(server.at(1883), tape).write(Buffer.from('early')))
      await bench.until(() => tapes[0]?.text === 'early', 'the bytes')
      expect(tape.log).toEqual(['open'])
    })

    check('of 1 MiB in odd cuts arrive whole and in order, both ways at once', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const up = pattern(1 << 20, 1)
      const down = pattern(1 << 20, 2)
      await client.do(() => {
        for (const part of cut(up)) near.connection!.write(part)
      })
      await server.do(() => {
        for (const part of cut(down)) far.connection!.write(part)
      })
      await bench.until(
        () => far.byteCount >= up.length && near.byteCount >= down.length,
        () => `1 MiB each way, got ${far.byteCount} and ${near.byteCount}`,
      )
      expect(far.bytes.equals(up)).toBe(true)
      expect(near.bytes.equals(down)).toBe(true)
    })

    check('come back from an echo', async (bench) => {
      const { client, near } = await connected(bench, { echo: true })
      const sent = pattern(10_000, 3)
      await client.do(() => near.connection!.write(sent))
      await bench.until(() => near.byteCount >= sent.length, 'the echo')
      expect(near.bytes.equals(sent)).toBe(true)
    })

    check('go to the handler that is in place when they come, and none is lost when it is replaced', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const second = new Tape(bench)
      const sent = pattern(300_000, 4)
      await server.do(() => {
        const first = far.onData.bind(far)
        far.onData = (connection, bytes) => {
          first(connection, bytes)
          connection.handler = second
        }
      })
      await client.do(() => {
        for (const part of cut(sent)) near.connection!.write(part)
        near.connection!.close()
      })
      await bench.until(() => second.closeReason !== undefined, 'the end at the second handler')
      expect(far.chunks.length).toBe(1)
      expect(far.log).toEqual(['data'])
      expect(Buffer.concat([far.bytes, second.bytes]).equals(sent)).toBe(true)
      expect(second.closeReason).toBe('ended')
    })
  })

  describe('back-pressure', () => {
    check('holds a writer back while the reader is paused; all arrives after `resume`, and `onDrain` tells', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      await server.do(() => far.connection!.pause())
      const block = pattern(256 * 1024, 5)
      const written = await writeUntilHeldBack(bench, client, near, block)
      expect(far.byteCount).toBe(0)

      const drains = near.log.length
      await server.do(() => far.connection!.resume())
      await bench.until(
        () => far.byteCount >= written && near.log.length > drains,
        () => `${written} bytes and a drain, got ${far.byteCount}`,
      )
      expect(near.log.at(-1)).toBe('drain')
      const whole = Buffer.concat(Array.from({ length: written / block.length }, () => block))
      expect(far.bytes.equals(whole)).toBe(true)
    })

    check('by `pause` stops `onData` at once, also from inside `onData`', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const sent = pattern(400_000, 6)
      const first = far.onData.bind(far)
      far.onData = (connection, bytes) => {
        first(connection, bytes)
        connection.pause()
      }
      await client.do(() => near.connection!.write(sent))
      await bench.until(() => far.chunks.length > 0, 'the first bytes')
      await bench.run(whileMs)
      expect(far.chunks.length).toBe(1)
      far.onData = first
      await server.do(() => far.connection!.resume())
      await bench.until(() => far.byteCount >= sent.length, 'the rest')
      expect(far.bytes.equals(sent)).toBe(true)
    })

    check('does not hold back the other direction', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      await server.do(() => {
        far.connection!.pause()
        far.connection!.write(Buffer.from('downstream'))
      })
      await client.do(() => near.connection!.write(Buffer.from('upstream')))
      await bench.until(() => near.text === 'downstream', 'bytes from the paused side')
      expect(far.byteCount).toBe(0)
    })
  })

  describe('the end', () => {
    check('by `close`: all that was written arrives, then `ended`; the closing side hears nothing more', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const sent = pattern(300_000, 7)
      await client.do(() => {
        near.connection!.write(sent)
        near.connection!.close()
      })
      await bench.until(() => far.closeReason !== undefined, 'the end')
      await server.do(() => far.connection!.write(Buffer.from('too late')))
      await bench.run(whileMs)
      expect(far.bytes.equals(sent)).toBe(true)
      expect(far.log).toEqual(['data', 'close ended'])
      expect(near.log).toEqual(['open'])
    })

    check('by `close` waits for a paused reader: the bytes first, then `ended`', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      await server.do(() => far.connection!.pause())
      await client.do(() => {
        near.connection!.write(Buffer.from('last words'))
        near.connection!.close()
      })
      await bench.run(whileMs)
      expect(far.log).toEqual([])
      await server.do(() => far.connection!.resume())
      await bench.until(() => far.closeReason !== undefined, 'the end')
      expect(far.text).toBe('last words')
      expect(far.log).toEqual(['data', 'close ended'])
    })

    check('by `close` before the handshake is done: what was written still arrives', async (bench) => {
      const client = bench.machine('client-machine')
      const server = bench.machine('server-machine')
      const { tapes } = await server.listen(1883)
      const tape = new Tape(bench)
      await client.do((host) => {
        const connection = host.connect(server.at(1883), tape)
        connection.write(Buffer.from('hello and goodbye'))
        connection.close()
      })
      await bench.until(() => tapes[0]?.closeReason !== undefined, 'the end')
      expect(tapes[0]!.text).toBe('hello and goodbye')
      expect(tapes[0]!.closeReason).toBe('ended')
      expect(tape.log).toEqual([])
    })

    check('by `close` leaves the closing side deaf to what the peer still sends', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      let stopped = false
      const stream = (host: Host) => {
        if (stopped) return
        far.connection!.write(pattern(1000, 9))
        host.setTimer(1, () => stream(host))
      }
      await server.do(stream)
      await bench.until(() => near.byteCount > 0, 'the stream')
      await client.do(() => near.connection!.close())
      const heard = near.byteCount
      await bench.until(() => far.closeReason !== undefined, 'the end')
      stopped = true
      await bench.run(whileMs)
      expect(near.byteCount).toBe(heard)
      expect(near.log).toEqual(['open', 'data'])
    })

    check('from both sides at once tells neither', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      await closeAtOnce(bench, near, far)
      await client.do(() => near.connection!.close())
      await server.do(() => far.connection!.reset())
      await bench.run(whileMs)
      expect(near.log).toEqual(['open'])
      expect(far.log).toEqual([])
    })

    check('by `reset`: the peer is told `reset`, the side that did it nothing', async (bench) => {
      const { client, near, far } = await connected(bench)
      await client.do(() => near.connection!.reset())
      await bench.until(() => far.closeReason !== undefined, 'the reset')
      await bench.run(whileMs)
      expect(far.log).toEqual(['close reset'])
      expect(near.log).toEqual(['open'])
    })

    check('is final: writing, pausing and closing a connection that is gone do nothing', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      await client.do(() => near.connection!.close())
      await bench.until(() => far.closeReason !== undefined, 'the end')
      for (const [machine, tape] of [[client, near] as const, [server, far] as const]) {
        await machine.do(() => {
          tape.connection!.write(Buffer.from('nobody there'))
          tape.connection!.pause()
          tape.connection!.resume()
          tape.connection!.close()
          tape.connection!.reset()
        })
      }
      await bench.run(whileMs)
      expect(near.log).toEqual(['open'])
      expect(far.log).toEqual(['close ended'])
    })

    check('from inside `onData` is the last that is told', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const first = far.onData.bind(far)
      far.onData = (connection, bytes) => {
        first(connection, bytes)
        connection.close()
      }
      await client.do(() => {
        for (const part of cut(pattern(200_000, 8))) near.connection!.write(part)
      })
      await bench.until(() => near.closeReason !== undefined, 'the end')
      await server.do(() => {})
      await bench.run(whileMs)
      expect(far.chunks.length).toBe(1)
      expect(far.log).toEqual(['data'])
    })
  })
}

/** Both ends close in one instant of the test, before either can have heard of the other. */
async function closeAtOnce(bench: Bench, near: Tape, far: Tape): Promise<void> {
  near.connection!.close()
  far.connection!.close()
  await bench.run(whileMs)
}
