/** Life and death of processes. */
import { describe, expect } from 'vitest'
import type { Host } from '../host.ts'
import { type Bench, type Check, connected, pattern, Tape, whileMs, writeUntilHeldBack } from './bench.contract.ts'

export function processContract(check: Check): void {
  describe('a process that is killed', () => {
    check('is called back by nothing again: timers, bytes, connections, files', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const late: string[] = []
      await server.do((host) => {
        for (const delay of [0, 1, 20]) host.setTimer(delay, () => late.push('timer'))
        host.files.append('f', Buffer.from('bytes'))
        host.files.sync('f', () => late.push('sync'))
        host.files.read('f', 0, 1, () => late.push('read'))
        host.connect(client.at(1), new Tape(bench)).handler = {
          onOpen: () => late.push('open'),
          onData: () => late.push('data'),
          onClose: () => late.push('close'),
        }
        near.connection!.write(Buffer.from('on its way'))
        bench.world.apply({ kind: 'crash', machines: [server.name] })
      })
      await bench.run(whileMs * 2)
      expect(late).toEqual([])
      expect(far.log).toEqual([])
    })

    check('has its connections reset by its kernel, and new ones refused, until it is started again', async (bench) => {
      const { client, server, near } = await connected(bench)
      const heal = bench.world.apply({ kind: 'crash', machines: [server.name] })
      await bench.until(() => near.closeReason !== undefined, 'the reset')
      expect(near.closeReason).toBe('reset')
      expect((await client.connect(server.at(1883))).log).toEqual(['close refused'])
      const former = server.hosts.length
      heal()
      heal()
      await bench.until(() => server.hosts.length > former, 'a new process')
      const { tapes } = await server.listen(1883)
      expect((await client.connect(server.at(1883))).log).toEqual(['open'])
      await bench.until(() => tapes.length === 1, 'the accepted connection')
      expect(server.hosts.length).toBe(former + 1)
    })

    check('leaves to its kernel what it had closed in order: all that was written arrives, then `ended`', async (bench) => {
      const { client, near, far } = await connected(bench)
      await client.do(() => {
        near.connection!.write(Buffer.from('my last will'))
        near.connection!.close()
        bench.world.apply({ kind: 'crash', machines: [client.name] })
      })
      await bench.until(() => far.closeReason !== undefined, 'the end')
      expect(far.text).toBe('my last will')
      expect(far.closeReason).toBe('ended')
    })

    check('gets a boot id that grows with each start', async (bench) => {
      const machine = bench.machine('a')
      await machine.do(() => {})
      bench.world.apply({ kind: 'restart', machines: ['a'] })
      await bench.until(() => machine.hosts.length === 2, 'a second process')
      bench.world.apply({ kind: 'crash', machines: ['a'] })()
      await bench.until(() => machine.hosts.length === 3, 'a third process')
      const [first, second, third] = machine.hosts.map((host) => host.bootId)
      expect(second!).toBeGreaterThan(first!)
      expect(third!).toBeGreaterThan(second!)
    })

    check('leaves other machines as they are', async (bench) => {
      const { client, server, near, far } = await connected(bench, { echo: true })
      bench.machine('bystander')
      bench.world.apply({ kind: 'crash', machines: ['bystander'] })
      await client.do(() => near.connection!.write(Buffer.from('unmoved')))
      await bench.until(() => near.text === 'unmoved', 'the echo')
      expect(far.text).toBe('unmoved')
      expect(server.hosts.length).toBe(1)
    })
  })

  describe('a handler that throws', () => {
    const ended = (bench: Bench) => {
      const ends: { machine: string; cause: string; error: string | undefined }[] = []
      bench.world.observe({ onProcessEnded: (machine, cause, error) => ends.push({ machine, cause, error }) })
      return ends
    }

    check('in a timer ends its process alone; its peers see it as a crash', async (bench) => {
      const ends = ended(bench)
      const { client, server, near } = await connected(bench)
      const late: string[] = []
      await server.do((host) => {
        host.setTimer(1, () => {
          throw new Error('a planted fault')
        })
        host.setTimer(5, () => late.push('timer'))
      })
      await bench.until(() => near.closeReason !== undefined, 'the reset')
      expect(near.closeReason).toBe('reset')
      expect(ends).toHaveLength(1)
      expect(ends[0]).toMatchObject({ machine: server.name, cause: 'threw' })
      expect(ends[0]!.error).toContain('a planted fault')
      await bench.run(whileMs)
      expect(late).toEqual([])
      expect(await client.do((host) => host.nowMs())).toBeGreaterThan(0)
    })

    check('in `accept`, in `onData` or at boot ends its process too', async (bench) => {
      const ends = ended(bench)
      const client = bench.machine('client-machine')
      const inAccept = bench.machine('in-accept')
      const inData = bench.machine('in-data')
      bench.machine('at-boot', {
        boot: () => {
          throw new Error('thrown at boot')
        },
      })
      await inAccept.do((host) =>
        host.listen(1883, () => {
          throw new Error('thrown in accept')
        }),
      )
      await inData.do((host) =>
        host.listen(1883, () => ({
          onData: () => {
            throw new Error('thrown in onData')
          },
          onClose: () => {},
        })),
      )
      const first = await client.connect(inAccept.at(1883))
      const second = await client.connect(inData.at(1883))
      await client.do(() => second.connection!.write(Buffer.from('x')))
      await bench.until(() => first.closeReason === 'reset' && second.closeReason === 'reset', 'both resets')
      expect(ends.map((end) => end.machine).sort()).toEqual(['at-boot', 'in-accept', 'in-data'])
      for (const end of ends) {
        expect(end.cause).toBe('threw')
        expect(end.error).toMatch(/thrown (at boot|in accept|in onData)/)
      }
    })
  })

  describe('a process that is stopped', () => {
    check('is asked first, and ends when it says that it is done', async (bench) => {
      const ends: string[] = []
      const asked: string[] = []
      bench.world.observe({ onProcessEnded: (machine, cause) => ends.push(`${machine} ${cause}`) })
      const machine = bench.machine('a', {
        boot: (host) => ({
          stop: (done, withinMs) => {
            asked.push(`stop within ${withinMs}`)
            host.setTimer(300, done)
          },
        }),
      })
      await machine.do(() => {})
      bench.world.stop('a', 5000)
      await bench.run(10)
      expect(asked).toEqual(['stop within 5000'])
      expect(ends).toEqual([])
      await bench.until(() => ends.length > 0, 'the end')
      expect(ends).toEqual(['a stopped'])
    })

    check('is ended when it takes longer than it was given', async (bench) => {
      const ends: string[] = []
      bench.world.observe({ onProcessEnded: (machine, cause) => ends.push(`${machine} ${cause}`) })
      const machine = bench.machine('a', { boot: () => ({ stop: () => {} }) })
      await machine.do(() => {})
      bench.world.stop('a', 300)
      await bench.run(10)
      expect(ends).toEqual([])
      await bench.until(() => ends.length > 0, 'the end')
      expect(ends).toEqual(['a stopped'])
    })
  })

  describe('an upgrade, and machines that come and go', () => {
    const spec = { zone: 'az1', role: 'tested', cores: 1 } as const

    check('an upgrade stops the process in order and starts the next version after a while, with its files', async (bench) => {
      const log: string[] = []
      const runs = (version: string) => (host: Host) => {
        log.push(`${version} is version ${host.version} and finds ${host.files.size('kept')}`)
        host.files.append('kept', Buffer.from('x'))
        return {
          stop: (done: () => void) => {
            log.push(`${version} stops`)
            host.setTimer(50, done)
          },
        }
      }
      bench.world.addMachine({ ...spec, name: 'a', address: '10.1.0.77', boot: runs('first'), upgraded: runs('second') })
      await bench.run(20)
      bench.world.apply({ kind: 'upgrade', machines: ['a'], graceMs: 5000, downMs: 100 })
      await bench.until(() => !bench.world.isRunning('a'), 'the end of the first version')
      await bench.until(() => bench.world.isRunning('a'), 'the start of the second version')
      await bench.run(10)
      expect(log).toEqual(['first is version 1 and finds 0', 'first stops', 'second is version 2 and finds 1'])
      const starts = bench.world.history.flatMap(({ event }) => (event.kind === 'process-started' ? [event] : []))
      expect(starts).toEqual([
        { kind: 'process-started', bootId: 1 },
        { kind: 'process-started', bootId: 2, version: 2 },
      ])
    })

    check('a machine that is scaled in stops in order and never comes back, not after a crash either', async (bench) => {
      const ends: string[] = []
      bench.world.observe({ onProcessEnded: (machine, cause) => ends.push(`${machine} ${cause}`) })
      const machine = bench.machine('a')
      await machine.do(() => {})
      bench.world.apply({ kind: 'scale-in', machines: ['a'], graceMs: 300 })
      await bench.until(() => ends.length > 0, 'the end')
      bench.world.apply({ kind: 'crash', machines: ['a'] })()
      await bench.run(100)
      expect([ends, bench.world.isRunning('a'), machine.hosts.length]).toEqual([['a stopped'], false, 1])
    })

    check('a machine that stands by starts when it is scaled out, once', async (bench) => {
      let starts = 0
      const boot = () => {
        starts++
        return {}
      }
      bench.world.addMachine({ ...spec, name: 'a', address: '10.1.0.77', boot, standby: true })
      await bench.run(50)
      expect([starts, bench.world.isRunning('a')]).toEqual([0, false])
      for (let i = 0; i < 2; i++) bench.world.apply({ kind: 'scale-out', machines: ['a'] })
      await bench.until(() => starts > 0, 'the start')
      await bench.run(50)
      expect([starts, bench.world.isRunning('a')]).toEqual([1, true])
    })
  })

  describe('floating addresses', () => {
    const floating = '10.1.0.99'
    const port = 443

    /** Two machines that echo, of which the first has the address, and a client. */
    const holders = async (bench: Bench) => {
      const first = bench.machine('first', { floatingAddresses: [floating] })
      const second = bench.machine('second')
      const servers = { first: await first.listen(port, { echo: true }), second: await second.listen(port, { echo: true }) }
      const client = bench.machine('client')
      const controller = bench.machine('controller', { role: 'instance-group' })
      const control = await controller.do((host) => host.machines!)
      return { servers, client, controller, control }
    }

    check('reach the machine that has them, until they are moved to another; connections made before go on', async (bench) => {
      const { servers, client, controller, control } = await holders(bench)
      expect(control.holderOf(floating)).toBe('first')
      const before = await client.connect({ host: floating, port })
      await bench.until(() => servers.first.tapes.length === 1, 'the first machine to accept')
      await controller.do(() => control.moveAddress(floating, 'second'))
      expect(control.holderOf(floating)).toBe('second')
      const after = await client.connect({ host: floating, port })
      await client.do(() => {
        before.connection!.write(Buffer.from('on the old way'))
        after.connection!.write(Buffer.from('new'))
      })
      await bench.until(() => before.byteCount === 14 && after.byteCount === 3, 'the echoes')
      expect([servers.first.tapes.length, servers.second.tapes.length]).toEqual([1, 1])
      await controller.do(() => control.moveAddress(floating, 'first'))
      await client.connect({ host: floating, port })
      await bench.until(() => servers.first.tapes.length === 2, 'the first machine to accept again')
    })

    check('are moved by name, and none but those', async (bench) => {
      const { client, controller, control } = await holders(bench)
      await expect(controller.do(() => control.moveAddress(floating, 'nowhere'))).rejects.toThrow('nowhere')
      await expect(controller.do(() => control.moveAddress(client.address, 'second'))).rejects.toThrow('no floating address')
      await expect(controller.do(() => control.holderOf('10.1.0.98'))).rejects.toThrow('10.1.0.98 is no floating address')
    })
  })

  describe('start and stop of machines', () => {
    const spec = { zone: 'az1', role: 'tested', cores: 1, address: '10.1.0.77', name: 'spare', standby: true } as const

    /** A machine that stands by, and a controller that knows its state. */
    const spareIn = async (bench: Bench) => {
      const log: string[] = []
      const boot = (host: Host) => {
        log.push(`started ${host.bootId}`)
        return {
          stop: (done: () => void) => {
            log.push('asked')
            host.setTimer(100, done)
          },
        }
      }
      bench.world.addMachine({ ...spec, boot })
      bench.world.observe({ onProcessEnded: (_machine, cause) => log.push(cause) })
      const controller = bench.machine('controller', { role: 'instance-group' })
      const control = await controller.do((host) => host.machines!)
      return { log, controller, control, state: () => control.state('spare') }
    }

    check('are for the instance group alone', async (bench) => {
      const { controller } = await spareIn(bench)
      expect(await bench.machine('other').do((host) => host.machines)).toBeUndefined()
      await expect(controller.do((host) => host.machines!.state('nowhere'))).rejects.toThrow('nowhere')
    })

    check('a machine that stands by starts after its start-up, and stands by again once it has stopped in order', async (bench) => {
      const { log, control, controller, state } = await spareIn(bench)
      expect(state()).toBe('standby')
      const beganUs = bench.world.nowUs()
      await controller.do(() => {
        control.start('spare', 200)
        control.start('spare', 1)
        expect(state()).toBe('starting')
      })
      await bench.run(100)
      expect(log).toEqual([])
      await bench.until(() => bench.world.isRunning('spare'), 'the start')
      expect(bench.world.nowUs() - beganUs).toBeGreaterThanOrEqual(200_000)
      expect(state()).toBe('in-service')
      await controller.do(() => {
        control.stop('spare', 5000)
        expect(state()).toBe('stopping')
        expect(log).toEqual(['started 1'])
      })
      await bench.until(() => state() === 'standby', 'the end')
      await controller.do(() => control.start('spare', 0))
      await bench.until(() => bench.world.isRunning('spare'), 'the second start')
      expect(log).toEqual(['started 1', 'asked', 'stopped', 'started 2'])
    })

    check('a start is called off by a stop, and none but machines planned to stand by are stopped', async (bench) => {
      const { log, control, controller, state } = await spareIn(bench)
      const other = bench.machine('other')
      await controller.do(() => {
        control.start('spare', 50)
        control.stop('spare', 1000)
        control.stop('other', 1000)
        control.start('other', 0)
      })
      await bench.run(150)
      expect([log, state(), control.state('other'), other.hosts.length]).toEqual([[], 'standby', 'in-service', 1])
    })

    check(
      'a crash that is over does not start a machine that stands by again, and one that is scaled in never comes back',
      async (bench) => {
        const { log, control, controller, state } = await spareIn(bench)
        await controller.do(() => control.start('spare', 0))
        await bench.until(() => bench.world.isRunning('spare'), 'the start')
        const heal = bench.world.apply({ kind: 'crash', machines: ['spare'] })
        expect(state()).toBe('in-service')
        await controller.do(() => control.stop('spare', 1000))
        await bench.until(() => state() === 'standby', 'standing by')
        heal()
        await bench.run(50)
        expect([log, state()]).toEqual([['started 1', 'injected'], 'standby'])
        bench.world.apply({ kind: 'scale-in', machines: ['spare'], graceMs: 100 })
        await controller.do(() => control.start('spare', 0))
        await bench.run(50)
        expect([bench.world.isRunning('spare'), state()]).toEqual([false, 'retired'])
      },
    )
  })

  describe('other faults', () => {
    check('a connection reset tells both ends once, and leaves other connections alone', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const other = bench.machine('other-machine')
      await other.listen(1883)
      const spared = [await other.connect(server.at(1883)), await client.connect(other.at(1883))]
      bench.world.apply({ kind: 'connection-reset', from: [client.name], to: [server.name] })
      await bench.until(() => near.closeReason !== undefined && far.closeReason !== undefined, 'both resets')
      await bench.run(whileMs)
      expect(near.log).toEqual(['open', 'close reset'])
      expect(far.log).toEqual(['close reset'])
      expect(spared.map((tape) => tape.log)).toEqual([['open'], ['open']])
      expect((await client.connect(server.at(1883))).log).toEqual(['open'])
    })

    check('a paused process runs nothing, while its kernel accepts and buffers; all comes after the pause', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const fired: string[] = []
      await server.do((host) => {
        host.setTimer(200, () => fired.push('timer'))
        host.setTimer(205, () => fired.push('second timer'))
      })
      const heal = bench.world.apply({ kind: 'pause', machines: [server.name] })
      const opened = await client.connect(server.at(1883))
      expect(opened.log).toEqual(['open'])
      await client.do(() => {
        near.connection!.write(Buffer.from('during the pause'))
        near.connection!.close()
      })
      await bench.run(300)
      expect(fired).toEqual([])
      expect(far.log).toEqual([])
      heal()
      await bench.until(() => far.closeReason !== undefined && fired.length === 2, 'what had waited')
      expect(fired).toEqual(['timer', 'second timer'])
      expect(far.text).toBe('during the pause')
      expect(far.closeReason).toBe('ended')
    })

    check('a paused process holds back who sends to it', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const heal = bench.world.apply({ kind: 'pause', machines: [server.name] })
      const written = await writeUntilHeldBack(bench, client, near, pattern(256 * 1024, 1))
      expect(far.byteCount).toBe(0)
      heal()
      await bench.until(
        () => far.byteCount >= written,
        () => `${written} bytes, got ${far.byteCount}`,
      )
      expect(far.byteCount).toBe(written)
    })

    check('a process killed while paused runs nothing of what had waited', async (bench) => {
      const { client, server, near, far } = await connected(bench)
      const heal = bench.world.apply({ kind: 'pause', machines: [server.name] })
      await client.do(() => near.connection!.write(Buffer.from('never read')))
      await bench.run(20)
      bench.world.apply({ kind: 'crash', machines: [server.name] })
      heal()
      await bench.until(() => near.closeReason !== undefined, 'the reset')
      await bench.run(whileMs)
      expect(near.closeReason).toBe('reset')
      expect(far.log).toEqual([])
    })
  })
}
