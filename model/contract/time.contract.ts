/** Timers, clocks and random streams. */
import { describe, expect, test } from 'vitest'
import type { Timer } from '../host.ts'
import { Bench, type Check, type Machine, type MakeHarness, whileMs } from './bench.contract.ts'

/** A clock that counts microseconds, subtracted in floating point. */
const clockErrorMs = 0.0011

export function timerContract(check: Check): void {
  describe('timers', () => {
    check('fire once each, in the order in which they are due, those of one delay in the order they were set', async (bench) => {
      const machine = bench.machine('a')
      const fired: number[] = []
      const delays = [30, 5, 5, 0, 12.5, 30, 1]
      await machine.do((host) => {
        delays.forEach((delay, index) => {
          host.setTimer(delay, () => fired.push(index))
        })
      })
      await bench.until(() => fired.length >= delays.length, 'all timers to fire')
      await bench.run(whileMs)
      expect(fired).toEqual([3, 6, 1, 2, 4, 0, 5])
    })

    check('never fire before their delay has passed by the clock of the process', async (bench) => {
      const machine = bench.machine('a')
      const waited: { asked: number; took: number }[] = []
      const delays = [0.4, 1, 1.5, 2.9, 7, 19.99]
      await machine.do((host) => {
        for (const asked of delays) {
          const setAtMs = host.nowMs()
          host.setTimer(asked, () => waited.push({ asked, took: host.nowMs() - setAtMs }))
        }
      })
      await bench.until(() => waited.length === delays.length, 'all timers to fire')
      for (const { asked, took } of waited) expect(took).toBeGreaterThanOrEqual(asked - clockErrorMs)
    })

    check('do not fire from inside the call, nor inside the handler that set them', async (bench) => {
      const machine = bench.machine('a')
      const order: string[] = []
      await machine.do((host) => {
        host.setTimer(0, () => {
          bench.called('timer')
          host.setTimer(0, () => order.push('inner'))
          order.push('outer done')
        })
        order.push('set')
      })
      await bench.until(() => order.length >= 3, 'both timers')
      expect(order).toEqual(['set', 'outer done', 'inner'])
    })

    check('do not fire once cancelled, even by a timer due at the same time; cancelling again or late does nothing', async (bench) => {
      const machine = bench.machine('a')
      const fired: string[] = []
      const timers: Timer[] = []
      await machine.do((host) => {
        host.setTimer(5, () => fired.push('cancelled at once')).cancel()
        host.setTimer(10, () => {
          fired.push('first')
          timers[1]!.cancel()
        })
        timers.push(host.setTimer(2, () => fired.push('early')))
        timers.push(host.setTimer(10, () => fired.push('cancelled by the first')))
        host.setTimer(11, () => fired.push('last'))
      })
      await bench.until(() => fired.includes('last'), 'the last timer')
      await machine.do(() => {
        for (const timer of timers) timer.cancel()
      })
      await bench.run(whileMs)
      expect(fired).toEqual(['early', 'first', 'last'])
    })
  })

  describe('clocks', () => {
    check('nowMs counts from the start of the process, never backwards; a restart begins anew', async (bench) => {
      const machine = bench.machine('a')
      const first = await machine.do((host) => host.nowMs())
      await bench.run(300)
      const second = await machine.do((host) => host.nowMs())
      expect(first).toBeGreaterThanOrEqual(0)
      expect(second - first).toBeGreaterThanOrEqual(300 - clockErrorMs)
      bench.world.apply({ kind: 'restart', machines: ['a'] })
      await bench.until(() => machine.hosts.length === 2, 'a second process')
      expect(await machine.do((host) => host.nowMs())).toBeLessThan(second)
    })

    check('wallMs is a time since the epoch', async (bench) => {
      const wallMs = await bench.machine('a').do((host) => host.wallMs())
      expect(wallMs).toBeGreaterThan(Date.UTC(2000, 0, 1))
    })
  })
}

export function randomContract(makeHarness: MakeHarness): void {
  describe('random streams', () => {
    /** What a test draws in a world of its own, with two machines `a` and `b`. */
    async function inWorld<T>(seed: number, body: (a: Machine, b: Machine, bench: Bench) => Promise<T>): Promise<T> {
      const bench = new Bench(makeHarness({ seed, recording: false }))
      try {
        return await body(bench.machine('a'), bench.machine('b'), bench)
      } finally {
        await bench.close()
      }
    }

    const draw = (machine: Machine, purpose: string, count: number) =>
      machine.do((host) => {
        const stream = host.random(purpose)
        return Array.from({ length: count }, () => stream.next())
      })

    test('are equal for equal (seed, machine, purpose) and differ with each of them', async () => {
      const numbers = await inWorld(7, (a) => draw(a, 'x', 20))
      expect(await inWorld(7, (a) => draw(a, 'x', 20))).toEqual(numbers)
      expect(await inWorld(7, (a) => draw(a, 'y', 20))).not.toEqual(numbers)
      expect(await inWorld(7, (_a, b) => draw(b, 'x', 20))).not.toEqual(numbers)
      expect(await inWorld(8, (a) => draw(a, 'x', 20))).not.toEqual(numbers)
    })

    test('are independent: draws from other streams move nobody else', async () => {
      const alone = await inWorld(7, (a) => draw(a, 'x', 20))
      const beside = await inWorld(7, async (a, b) => {
        const first = await draw(a, 'x', 10)
        await draw(a, 'y', 3)
        await draw(b, 'x', 5)
        return [...first, ...(await draw(a, 'x', 10))]
      })
      expect(beside).toEqual(alone)
    })

    test('go on where they were left, in the next process of a machine too', async () => {
      const whole = await inWorld(7, (a) => draw(a, 'x', 20))
      const pieces = await inWorld(7, async (a, _b, bench) => {
        const first = await draw(a, 'x', 10)
        bench.world.apply({ kind: 'restart', machines: ['a'] })
        await bench.until(() => a.hosts.length === 2, 'a second process')
        return [...first, ...(await draw(a, 'x', 10))]
      })
      expect(pieces).toEqual(whole)
    })

    test('stay in [0, 1) and below the bound, and reach all of it', async () => {
      const { numbers, below } = await inWorld(7, (a) =>
        a.do((host) => {
          const stream = host.random('x')
          return {
            numbers: Array.from({ length: 500 }, () => stream.next()),
            below: new Set(Array.from({ length: 500 }, () => stream.below(6))),
          }
        }),
      )
      expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0)
      expect(Math.max(...numbers)).toBeLessThan(1)
      expect(new Set(numbers).size).toBeGreaterThan(450)
      expect([...below].sort()).toEqual([0, 1, 2, 3, 4, 5])
    })
  })
}
