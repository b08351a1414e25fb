/** What the world itself shows: observers, history, goals, its own clock. */
import { describe, expect, test } from 'vitest'
import type { CloseReason, Host } from '../host.ts'
import type { SocketObserver } from '../world.ts'
import type { Check, MakeHarness } from './bench.contract.ts'

export function worldContract(check: Check, makeHarness: MakeHarness): void {
  describe('observers', () => {
    check('of a role see its sockets: label, opening, bytes both ways, who closed', async (bench) => {
      const seen: string[] = []
      const stamps: { timeUs: number; sentAtUs: number }[] = []
      const labels = new Map<number, string>()
      const of = (id: number) => labels.get(id) ?? 'unknown'
      const observer: SocketObserver = {
        onConnect: (id, machine, label) => {
          expect(labels.has(id)).toBe(false)
          labels.set(id, label)
          seen.push(`${label} connect on ${machine}`)
        },
        onOpen: (id) => seen.push(`${of(id)} open`),
        onSent: (id, bytes) => seen.push(`${of(id)} sent ${bytes}`),
        onReceived: (id, bytes, timeUs, sentAtUs) => {
          stamps.push({ timeUs, sentAtUs })
          seen.push(`${of(id)} received ${bytes}`)
        },
        onClosed: (id, reason: CloseReason, by) => seen.push(`${of(id)} closed ${reason} by ${by}`),
      }
      bench.world.observeSockets('watched', observer)
      const watched = bench.machine('watched-machine', { role: 'watched' })
      const server = bench.machine('server-machine')
      const { tapes } = await server.listen(1883, { echo: true })
      const beganUs = bench.world.nowUs()

      const one = await watched.connect(server.at(1883), { label: 'one' })
      await watched.do(() => one.connection!.write(Buffer.from('hello')))
      await bench.until(() => one.text === 'hello', 'the echo')
      await watched.do(() => one.connection!.close())
      const two = await watched.connect(server.at(1883), { label: 'two' })
      await bench.until(() => tapes.length === 2, 'the second connection')
      await server.do(() => tapes[1]!.connection!.reset())
      await bench.until(() => two.closeReason !== undefined, 'the reset')
      await watched.connect(server.at(9), { label: 'three' })

      expect(seen).toEqual([
        'one connect on watched-machine',
        'one open',
        'one sent hello',
        'one received hello',
        'one closed ended by self',
        'two connect on watched-machine',
        'two open',
        'two closed reset by peer',
        'three connect on watched-machine',
        'three closed refused by peer',
      ])
      expect(stamps).toHaveLength(1)
      expect(stamps[0]!.sentAtUs).toBeGreaterThanOrEqual(beganUs)
      expect(stamps[0]!.sentAtUs).toBeLessThanOrEqual(stamps[0]!.timeUs)
      expect(stamps[0]!.timeUs).toBeLessThanOrEqual(bench.world.nowUs())
    })

    check('see processes start and end, and faults come and go, in true time', async (bench) => {
      const seen: string[] = []
      let lastUs = 0
      const note = (text: string, timeUs: number) => {
        expect(timeUs).toBeGreaterThanOrEqual(lastUs)
        lastUs = timeUs
        seen.push(text)
      }
      bench.world.observe({
        onFault: (fault, phase, timeUs) => note(`${fault.kind} ${phase}`, timeUs),
        onProcessStarted: (machine, timeUs) => note(`${machine} started`, timeUs),
        onProcessEnded: (machine, cause, _error, timeUs) => note(`${machine} ended ${cause}`, timeUs),
      })
      const machine = bench.machine('a')
      await machine.do(() => {})
      await bench.run(10)
      const heal = bench.world.apply({ kind: 'crash', machines: ['a'] })
      await bench.run(10)
      heal()
      await bench.until(() => machine.hosts.length === 2, 'the second start')
      await bench.run(10)
      const processes = seen.filter((entry) => entry.startsWith('a '))
      const faults = seen.filter((entry) => entry.startsWith('crash '))
      expect(processes).toEqual(['a started', 'a ended injected', 'a started'])
      expect(faults).toEqual(['crash applied', 'crash healed'])
      expect(seen).toHaveLength(5)
      expect(lastUs).toBeGreaterThanOrEqual(20_000)
    })

    check('find what a process recorded in the history, in order, and its goals counted', async (bench) => {
      const machine = bench.machine('a')
      await machine.do((host) => {
        expect(host.recording).toBe(true)
        for (const kind of ['first', 'second']) host.record({ kind })
        for (const goal of ['b', 'a', 'b']) host.reached(goal)
      })
      const { history } = bench.world
      const own = history.filter((entry) => entry.machine === 'a')
      expect(own.map((entry) => entry.event.kind)).toEqual(['process-started', 'first', 'second'])
      for (const [index, entry] of history.entries()) {
        const before = history[index - 1]
        if (before === undefined) continue
        expect(entry.sequence).toBeGreaterThan(before.sequence)
        expect(entry.timeUs).toBeGreaterThanOrEqual(before.timeUs)
      }
      expect([...bench.world.goals]).toEqual([
        ['b', 2],
        ['a', 1],
      ])
    })

    test('find no history where recording is off', async () => {
      const harness = makeHarness({ seed: 1, recording: false })
      const hosts: Host[] = []
      const boot = (host: Host) => {
        hosts.push(host)
        host.record({ kind: 'unseen' })
        return {}
      }
      harness.world.addMachine({ name: 'a', zone: 'az1', role: 'tested', address: '10.1.0.1', cores: 1, boot })
      await harness.run(5)
      expect(hosts.map((host) => host.recording)).toEqual([false])
      expect(harness.world.history).toEqual([])
      await harness.close()
    })
  })

  describe('a world', () => {
    check('knows its machines, and tells a process which one it runs on', async (bench) => {
      const machine = bench.machine('a', { zone: 'az2', role: 'tested' })
      const self = await machine.do(({ machine: name, zone, address }) => ({ name, zone, address }))
      expect(self).toEqual({ name: 'a', zone: 'az2', address: machine.address })
      expect(bench.world.machines.map(({ name, zone, role, address }) => ({ name, zone, role, address }))).toEqual([
        { name: 'a', zone: 'az2', role: 'tested', address: machine.address },
      ])
    })

    check('calls back at a true time, not before it', async (bench) => {
      const beganUs = bench.world.nowUs()
      const calls: { asked: number; at: number }[] = []
      for (const asked of [beganUs + 20_000, beganUs + 5000]) bench.world.at(asked, () => calls.push({ asked, at: bench.world.nowUs() }))
      expect(calls).toEqual([])
      await bench.until(() => calls.length === 2, 'both calls')
      expect(calls.map((call) => call.asked - beganUs)).toEqual([5000, 20_000])
      for (const call of calls) expect(call.at).toBeGreaterThanOrEqual(call.asked)
    })

    check('counts what it dispatched', async (bench) => {
      const machine = bench.machine('a')
      await machine.do(() => {})
      const before = bench.world.counters()
      await machine.do(() => {})
      const after = bench.world.counters()
      expect(after.events).toBeGreaterThan(before.events)
      expect(after.digest).toMatch(/^[0-9a-f]+$/)
    })
  })
}
