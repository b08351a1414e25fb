/** `forward`: two connections joined by a machine whose process sees no byte of them. */
import { describe, expect } from 'vitest'
import type { Connection } from '../host.ts'
import { type Bench, type Check, cut, ForwardingTape, type Machine, pattern, Tape, whileMs, writeUntilHeldBack } from './bench.contract.ts'

const joiningPort = 443
const targetPort = 1883
const idleMs = 1000

interface Joined {
  readonly client: Machine
  readonly joint: Machine
  readonly target: Machine
  readonly near: Tape
  /** The handler of the inbound connection, which should hear nothing. */
  readonly inbound: Tape
  readonly told: ForwardingTape
  readonly far: Tape
}

/** A client whose connection a machine joins to a target, in `accept`. */
async function joined(bench: Bench, idleTimeoutMs?: number): Promise<Joined> {
  const client = bench.machine('client-machine')
  const joint = bench.machine('joint-machine')
  const target = bench.machine('target-machine')
  const { tapes } = await target.listen(targetPort)
  const { inbound, told } = await joinAccepted(bench, joint, target, idleTimeoutMs)
  const near = await client.connect(joint.at(joiningPort))
  await bench.until(() => tapes.length > 0, 'the target to accept')
  return { client, joint, target, near, inbound, told, far: tapes[0]! }
}

async function joinAccepted(
  bench: Bench,
  joint: Machine,
  target: Machine,
  idleTimeoutMs?: number,
): Promise<{ inbound: Tape; told: ForwardingTape }> {
  const inbound = new Tape(bench)
  const told = new ForwardingTape(bench)
  await joint.do((host) =>
    host.listen(joiningPort, (connection) => {
      inbound.connection = connection
      told.forwarding = host.forward(connection, target.at(targetPort), told, idleTimeoutMs)
      return inbound
    }),
  )
  return { inbound, told }
}

export function forwardContract(check: Check): void {
  describe('forward', () => {
    check('carries 1 MiB each way, whole and in order, past the process that joined the two', async (bench) => {
      const { client, target, near, far, inbound, told } = await joined(bench)
      expect(told.forwarding!.target).toEqual(target.at(targetPort))
      const up = pattern(1 << 20, 1)
      const down = pattern(1 << 20, 2)
      await client.do(() => {
        for (const part of cut(up)) near.connection!.write(part)
      })
      await target.do(() => {
        for (const part of cut(down)) far.connection!.write(part)
      })
      await bench.until(
        () => far.byteCount >= up.length && near.byteCount >= down.length,
        () => `1 MiB each way, got ${far.byteCount} and ${near.byteCount}`,
      )
      expect(far.bytes.equals(up)).toBe(true)
      expect(near.bytes.equals(down)).toBe(true)
      expect(inbound.log).toEqual([])
      expect(told.log).toEqual([])
    })

    check(
      'is forgotten when no byte went either way for its idle time: who sends then gets RST, and the joint is told `timeout`',
      async (bench) => {
        const { client, target, near, far, told } = await joined(bench, idleMs)
        await bench.run(2 * idleMs)
        await client.do(() => near.connection!.write(Buffer.from('late')))
        await bench.until(() => near.closeReason !== undefined && told.log.length > 0, 'the end of the idle joint')
        await target.do(() => far.connection!.write(Buffer.from('late')))
        await bench.until(() => far.closeReason !== undefined, 'the end at the target')
        expect([near.closeReason, far.closeReason, far.byteCount]).toEqual(['reset', 'reset', 0])
        expect(told.log).toEqual(['timeout'])
      },
    )

    check('is kept by bytes one way', async (bench) => {
      const { target, near, far, told } = await joined(bench, idleMs)
      for (let i = 0; i < 8; i++) {
        await bench.run(idleMs / 5)
        await target.do(() => far.connection!.write(Buffer.from('x')))
      }
      await bench.until(() => near.byteCount === 8, 'every byte')
      expect(told.log).toEqual([])
    })

    check('delivers bytes that were sent before the join', async (bench) => {
      const client = bench.machine('client-machine')
      const joint = bench.machine('joint-machine')
      const target = bench.machine('target-machine')
      const { tapes } = await target.listen(targetPort)
      const told = new ForwardingTape(bench)
      const inbound = new Tape(bench)
      let waiting: Connection | undefined
      await joint.do((host) =>
        host.listen(joiningPort, (connection) => {
          connection.pause()
          waiting = connection
          return inbound
        }),
      )
      const near = await client.connect(joint.at(joiningPort))
      const sent = pattern(100_000, 3)
      await client.do(() => near.connection!.write(sent))
      await bench.run(whileMs)
      await joint.do((host) => host.forward(waiting!, target.at(targetPort), told))
      await bench.until(() => (tapes[0]?.byteCount ?? 0) >= sent.length, 'the early bytes')
      expect(tapes[0]!.bytes.equals(sent)).toBe(true)
      expect(inbound.log).toEqual([])
    })

    check('takes over in the middle of a stream: what `onData` got and what the target got are the whole', async (bench) => {
      const client = bench.machine('client-machine')
      const joint = bench.machine('joint-machine')
      const target = bench.machine('target-machine')
      const { tapes } = await target.listen(targetPort)
      const inbound = new Tape(bench)
      const told = new ForwardingTape(bench)
      await joint.do((host) => {
        const first = inbound.onData.bind(inbound)
        inbound.onData = (connection, bytes) => {
          first(connection, bytes)
          host.forward(connection, target.at(targetPort), told)
        }
        host.listen(joiningPort, () => inbound)
      })
      const near = await client.connect(joint.at(joiningPort))
      const sent = pattern(400_000, 4)
      await client.do(() => {
        near.connection!.write(sent)
        near.connection!.close()
      })
      await bench.until(() => tapes[0]?.closeReason !== undefined, 'the end at the target')
      expect(inbound.chunks.length).toBe(1)
      expect(inbound.log).toEqual(['data'])
      expect(Buffer.concat([inbound.bytes, tapes[0]!.bytes]).equals(sent)).toBe(true)
    })

    check('to a target that refuses tells `refused`, and the inbound side is gone', async (bench) => {
      const client = bench.machine('client-machine')
      const joint = bench.machine('joint-machine')
      const target = bench.machine('target-machine')
      const { inbound, told } = await joinAccepted(bench, joint, target)
      const near = await client.connect(joint.at(joiningPort))
      await bench.until(() => near.closeReason !== undefined && told.log.length > 0, 'the refusal')
      await bench.run(whileMs)
      expect(told.log).toEqual(['refused'])
      expect(inbound.log).toEqual([])
    })

    check('sends RST to both sides on `reset`, and `onClose` is not called', async (bench) => {
      const { joint, near, far, told } = await joined(bench)
      await joint.do(() => told.forwarding!.reset())
      await bench.until(() => near.closeReason !== undefined && far.closeReason !== undefined, 'both resets')
      await joint.do(() => told.forwarding!.reset())
      await bench.run(whileMs)
      expect(near.closeReason).toBe('reset')
      expect(far.closeReason).toBe('reset')
      expect(told.log).toEqual([])
    })

    check('ends for both when the client closes: all it had sent arrives first', async (bench) => {
      const { client, near, far, told } = await joined(bench)
      const sent = pattern(500_000, 5)
      await client.do(() => {
        near.connection!.write(sent)
        near.connection!.close()
      })
      await bench.until(() => far.closeReason !== undefined && told.log.length > 0, 'the end')
      expect(far.bytes.equals(sent)).toBe(true)
      expect(far.log).toEqual(['data', 'close ended'])
      expect(told.log).toEqual(['ended'])
      expect(near.log).toEqual(['open'])
    })

    check('ends for both when the target closes: all it had sent arrives first', async (bench) => {
      const { target, near, far, told } = await joined(bench)
      const sent = pattern(500_000, 6)
      await target.do(() => {
        far.connection!.write(sent)
        far.connection!.close()
      })
      await bench.until(() => near.closeReason !== undefined && told.log.length > 0, 'the end')
      expect(near.bytes.equals(sent)).toBe(true)
      expect(near.closeReason).toBe('ended')
      expect(told.log).toEqual(['ended'])
    })

    check('passes a reset of either side on to the other', async (bench) => {
      const first = await joined(bench)
      await first.client.do(() => first.near.connection!.reset())
      await bench.until(() => first.far.closeReason !== undefined && first.told.log.length > 0, 'the reset at the target')
      expect(first.far.closeReason).toBe('reset')
      expect(first.told.log).toEqual(['reset'])

      const near = await first.client.connect(first.joint.at(joiningPort))
      await bench.run(whileMs)
      expect(near.log).toEqual(['open'])
      bench.world.apply({ kind: 'crash', machines: ['target-machine'] })
      await bench.until(() => near.closeReason !== undefined, 'the reset at the client')
      expect(near.closeReason).toBe('reset')
      expect(first.told.log).toEqual(['reset', 'reset'])
    })

    check('dies with the process that joined: both sides get RST', async (bench) => {
      const { near, far, told } = await joined(bench)
      bench.world.apply({ kind: 'crash', machines: ['joint-machine'] })
      await bench.until(() => near.closeReason !== undefined && far.closeReason !== undefined, 'both resets')
      expect(near.closeReason).toBe('reset')
      expect(far.closeReason).toBe('reset')
      expect(told.log).toEqual([])
    })

    check('holds a sender back while the receiver at the other side is paused, either way', async (bench) => {
      const { client, target, near, far } = await joined(bench)
      await target.do(() => far.connection!.pause())
      const up = await writeUntilHeldBack(bench, client, near, pattern(256 * 1024, 7))
      expect(far.byteCount).toBe(0)
      await client.do(() => near.connection!.pause())
      const down = await writeUntilHeldBack(bench, target, far, pattern(256 * 1024, 8))
      expect(near.byteCount).toBe(0)
      await target.do(() => far.connection!.resume())
      await client.do(() => near.connection!.resume())
      await bench.until(
        () => far.byteCount >= up && near.byteCount >= down,
        () => `${up} and ${down} bytes, got ${far.byteCount} and ${near.byteCount}`,
      )
      expect([far.byteCount, near.byteCount]).toEqual([up, down])
    })
  })
}
